"""Groups of parameter slices that are removed together (GeZIG, OTOv3 Section 3.1; ZIG, OTOv2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ParameterSlice:
    """Some entries of one parameter.

    Attributes:
        name: as in ``model.named_parameters()``.
        dim: the dimension that ``indices`` count, or ``None`` for the whole parameter.
        indices: increasing positions along ``dim``, or ``None`` for the whole parameter.
    """

    name: str
    dim: int | None = None
    indices: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Group:
    """A structure that can be removed: its slices zero make its output zero for every input.

    Attributes:
        name: that of its segment, or of the first of several.
        kind: ``"gezig"`` for whole operators, ``"zig"`` for channels, ``"paths"`` for the weights of a joint's paths.
        slices: what must be zero; slices of different groups may overlap.
        num_params: number of scalar parameters in the slices.
        segments: names of the segments that it removes; several where these share parameters.
    """

    name: str
    kind: Literal["gezig", "zig", "paths"]
    slices: tuple[ParameterSlice, ...]
    num_params: int
    segments: tuple[str, ...]


@dataclass(frozen=True)
class Refusal:
    """A segment that has trainable variables and joints behind it, but is no group.

    Attributes:
        segment: name of the segment.
        reason: one sentence that names the vertex or parameter that stands in the way.
    """

    segment: str
    reason: str
