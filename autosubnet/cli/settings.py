"""What the options of a command and the file of ``--config`` say together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from autosubnet.training.config import Given, read_config

Config = Annotated[
    Path | None,
    typer.Option(help="a TOML file with these settings, such as the config.toml of a run; what is typed wins"),
]
_OF_THE_RUN = ("config", "out", "resume", "as_json")


def told(arguments: Mapping[str, Any]) -> dict[str, Given]:
    """Return the settings among a command's arguments, and those of the file for what was not typed.

    Raises:
        InputError: see :func:`autosubnet.training.config.read_config`.
    """
    file = arguments["config"]
    typed = {
        name: Given(value, f"--{name.replace('_', '-')}")
        for name, value in arguments.items()
        if value is not None and name not in _OF_THE_RUN
    }
    return (read_config(file) if file is not None else {}) | typed
