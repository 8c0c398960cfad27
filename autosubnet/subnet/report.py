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
        training_notes: why train mode is not equal, such as a random operation that was removed.
        constant_outputs: outputs that no longer depend on any input and were kept as constants.
        max_difference: largest absolute difference of outputs seen in verification, ``None`` if not verified.
        relative_difference: the same over the variation of the output over inputs.
        dtype: the dtype in which it was verified.
        capture_notes: what the graph holds fixed of the model, such as the batch size or a value that was read.
    """

    num_params: tuple[int, int]
    removed_vertices: tuple[str, ...]
    removed_params: tuple[str, ...]
    kept: Mapping[str, Mapping[int, tuple[int, ...]]]
    training_notes: tuple[str, ...] = ()
    constant_outputs: tuple[str, ...] = ()
    max_difference: float | None = None
    relative_difference: float | None = None
    dtype: str | None = None
    capture_notes: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know, in sentences."""
        return (*self.capture_notes, *self.training_notes, *map(constant, self.constant_outputs))


def constant(output: str) -> str:
    """Return a sentence on an output that became constant."""
    return f"output {output!r} no longer depends on any input and was kept as a constant"
