"""What a construction did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Report:
    """What was removed, and how the result was checked.

    Attributes:
        num_params: number of scalar parameters before and after.
        removed_vertices: vertices of the trace graph that are gone.
        removed_params: parameters that are gone entirely.
        kept: for each parameter or buffer that was sliced: dimension -> surviving indices.
        notes: what the user should know, such as a random operation that was removed.
        max_difference: largest absolute difference of outputs seen in verification, ``None`` if not verified.
        relative_difference: the same over the variation of the output over inputs.
        dtype: the dtype in which it was verified.
    """

    num_params: tuple[int, int]
    removed_vertices: tuple[str, ...]
    removed_params: tuple[str, ...]
    kept: Mapping[str, Mapping[int, tuple[int, ...]]]
    notes: tuple[str, ...] = ()
    max_difference: float | None = None
    relative_difference: float | None = None
    dtype: str | None = None
