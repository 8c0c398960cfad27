"""The cases of parametrized tests, by what they are called."""

from __future__ import annotations

import inspect
import itertools
from collections import ChainMap
from collections.abc import Callable
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any


def readable(value: Any) -> str:
    """Return what to call a parameter of a case."""
    return str(getattr(value, "name", None) or getattr(value, "__name__", value)).removeprefix("torch.")


def cases(test: Callable[..., None]) -> dict[str, dict[str, Any]]:
    """Return the arguments of every case of a parametrized test, by what the case is called."""
    axes = []
    for mark in [each for each in getattr(test, "pytestmark", []) if each.name == "parametrize"]:
        names, values = mark.args
        names = names if isinstance(names, str) else tuple(names)
        rows = [{names: row} if isinstance(names, str) else dict(zip(names, row, strict=True)) for row in values]
        ids = mark.kwargs.get("ids")
        labels = list(ids) if ids and not callable(ids) else ["-".join(map(readable, row.values())) for row in rows]
        axes.append(list(zip(labels, rows, strict=True)))
    found: dict[str, dict[str, Any]] = {}
    for chosen in itertools.product(*axes):
        label = "-".join(each for each, _ in chosen)
        found[f"{label}{len(found)}" if label in found else label] = dict(ChainMap(*(row for _, row in chosen)))
    return found


def named(test: Callable[..., None], glob: str) -> dict[str, dict[str, Any]]:
    """Return the cases whose names a glob matches."""
    return {case: arguments for case, arguments in cases(test).items() if fnmatchcase(case, glob)}


def collected(module: ModuleType) -> list[Callable[..., None]]:
    """Return the tests of a module."""
    return [each for name, each in inspect.getmembers(module, inspect.isfunction) if name.startswith("test_")]
