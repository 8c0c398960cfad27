"""The files of a saved folder, which may come from anyone: read without waiting, without a pickle, in little memory."""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from autosubnet.errors import ExportError
from autosubnet.export.values import Json

LARGEST_TEXT = 32 * 2**20
"""Bytes of a JSON file: 100,000 vertices need half of it, and what is made to fill memory takes 25 times its size."""


def read_json(path: Path) -> Json:
    """Return what a JSON file holds; each key is there once and each number is finite.

    Raises:
        ExportError: there is no such file, it is too large, or no such JSON.
    """
    try:
        _require_regular(path)
        with path.open("rb") as file:
            content = file.read(LARGEST_TEXT + 1)
        if len(content) > LARGEST_TEXT:
            raise ValueError(f"it has more than {LARGEST_TEXT:,} bytes")
        return json.loads(
            content.decode("utf-8"), object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite
        )
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(f"cannot read {path}: {error}; give a folder that autosubnet.save wrote") from error


def fingerprint(path: Path) -> dict[str, Json]:
    """Return the size of a file in bytes and its SHA-256, by which :func:`read_weights` knows it again."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def read_weights(path: Path, names: Collection[str], expected: Json) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file, which must have these names and the ``expected`` fingerprint.

    Raises:
        ExportError: there is no such file, it is not the one that was saved, or no safetensors file.
    """
    try:
        _require_regular(path)
        size = expected.get("bytes") if isinstance(expected, dict) else None
        if path.stat().st_size != size:
            raise ValueError(f"it has {path.stat().st_size:,} bytes, and the graph was saved with {size!r:.40}")
        if fingerprint(path) != expected:
            raise ValueError("it was altered: it has another SHA-256 than the graph was saved with")
        with safe_open(path, framework="pt") as file:
            strange = sorted(set(file.keys()) ^ set(names))
            if strange:
                raise ValueError(f"weights and graph disagree about the tensors {', '.join(strange[:5])[:300]}")
            # Copies, for the tensors would go on lying in the file, which may change, at places that slow down sums.
            return {name: file.get_tensor(name).clone() for name in names}
    except (OSError, ValueError, MemoryError, SafetensorError) as error:
        raise ExportError(f"cannot read {path}: {error}; save the network again") from error


def _require_regular(path: Path) -> None:
    """A pipe would wait for ever, and a device never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no regular file")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:80]!r} is there twice")
        found[key] = value
    return found


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is no number of JSON")
    return value
