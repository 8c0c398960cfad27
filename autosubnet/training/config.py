"""The settings of an experiment as a TOML file: every run leaves one in its folder, and ``--config`` takes it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import tomli_w
from pydantic import TypeAdapter, ValidationError

from autosubnet.errors import InputError
from autosubnet.training.cell_settings import CellSettings, RecurrentSettings
from autosubnet.training.path_settings import PathSettings
from autosubnet.training.settings import Settings

AnySettings = TypeVar("AnySettings", bound=Settings | PathSettings | CellSettings | RecurrentSettings)


@dataclass(frozen=True)
class Given:
    """A value that was given to a setting; ``place`` says where, for a message: ``"--epochs"``."""

    value: Any
    place: str


def write_config(settings: Settings | PathSettings | CellSettings | RecurrentSettings, path: Path) -> None:
    """Write settings as TOML, without those that are ``None``; paths are absolute, so that they hold everywhere."""
    said = {name: value for name, value in asdict(settings).items() if value is not None}
    table = {name: str(value.resolve()) if isinstance(value, Path) else value for name, value in said.items()}
    path.write_text(tomli_w.dumps(table), "utf-8")


def read_config(path: Path) -> dict[str, Given]:
    """Read settings by name, whatever they are.

    Raises:
        InputError: the file cannot be read, or is not TOML.
    """
    try:
        text = path.read_text("utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); pass the config.toml of a run.") from error
    except ValueError as error:  # of bytes that are no text, or no TOML
        raise InputError(f"{path} is no TOML: {error}.") from error
    return {name: Given(value, f"{path}, {_line(text, name)}{name}") for name, value in table.items()}


def make_settings(kind: type[AnySettings], given: Mapping[str, Given], to: str) -> AnySettings:
    """Return settings, with defaults for what was not given.

    Args:
        kind: which. Its first field says what the experiment is about, and must be given.
        given: values by name.
        to: what the settings are for, for a message.

    Raises:
        InputError: an unknown name, or a value of a wrong type or out of range, with its place.
    """
    known = [field.name for field in fields(kind)]
    for name, each in given.items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else "leave it out."
            raise InputError(f"{each.place} says nothing to {to}; {hint}")
    if known[0] not in given:
        raise InputError(f"{known[0].upper()} is missing; give it on the command line, or in the file of --config.")
    try:
        return TypeAdapter(kind).validate_python({name: each.value for name, each in given.items()})
    except ValidationError as error:
        fault = error.errors()[0]
        wrong = given[str(fault["loc"][0])]
        raise InputError(f"{wrong.place} is {wrong.value!r}: {fault['msg']}.") from error


def _line(text: str, name: str) -> str:
    """Return the line that gives a value to a name, for a message; nothing where no single line does."""
    start = re.compile(rf"""\s*\[*["']?{re.escape(name)}\b""")
    found = [number for number, line in enumerate(text.splitlines(), 1) if start.match(line)]
    return f"line {found[0]}: " if len(found) == 1 else ""
