"""The phases of H2SPG (OTOv3 Algorithm 3), and where a run stands in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from autosubnet.errors import InputError
from autosubnet.optim.target import Target

if TYPE_CHECKING:
    from rich.table import Table

Phase = Literal["warm-up", "projection", "training"]


@dataclass(frozen=True)
class Schedule:
    """Lengths of the phases in steps.

    Attributes:
        warmup: steps that only score.
        projection: steps after them, at whose end the chosen groups are zero.
        total: steps of the whole training, if known.
        periods: parts of the projection phase, each with a choice of its own.
    """

    warmup: int
    projection: int
    total: int | None
    periods: int = 1

    def phase(self, step: int) -> Phase:
        """Phase of the step that follows ``step`` completed ones."""
        if step < self.warmup:
            return "warm-up"
        return "projection" if step < self.end else "training"

    @property
    def end(self) -> int:
        """Number of steps after which the chosen groups are zero."""
        return self.warmup + self.projection

    @property
    def choices(self) -> list[int]:
        """Numbers of steps after which groups are chosen: as many as there are periods."""
        return [self.warmup + self.projection * period // self.periods for period in range(self.periods)]

    def scores(self, step: int) -> bool:
        """Whether the step that follows ``step`` completed ones still counts for a choice."""
        return step < self.choices[-1]

    def steps_left(self, step: int) -> int:
        """Steps of a period that are left after ``step`` completed ones, in the projection phase."""
        return min(each for each in (*self.choices, self.end) if each > step) - step


def make_schedule(total: int | None, warmup: int | None, projection: int | None, periods: int = 1) -> Schedule:
    """The phases from what the user gave; by default a quarter of all steps each for warm-up and projection.

    Raises:
        InputError: numbers below 1, phases longer than the training, more periods than steps of the projection phase,
            or too little said to tell.
    """
    numbers = {"total_steps": total, "warmup_steps": warmup, "projection_steps": projection}
    for name, value in {**numbers, "selection_periods": periods}.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"{name} is {value!r}; it must be a whole number of at least 1")
    if total is None and (warmup is None or projection is None):
        raise InputError(
            "the phases are not known: pass total_steps (optimizer steps of the whole training), "
            "or both warmup_steps and projection_steps"
        )
    default = max(1, (total or 0) // 4)
    schedule = Schedule(warmup or default, projection or default, total, periods)
    if periods > schedule.projection:
        raise InputError(f"selection_periods is {periods}, of a projection phase of {schedule.projection} steps")
    if total is not None and schedule.end > total:
        raise InputError(
            f"warm-up ({schedule.warmup} steps) and projection ({schedule.projection} steps) do not fit into "
            f"total_steps={total}; shorten them, or train longer"
        )
    return schedule


@dataclass(frozen=True)
class Progress:
    """Where a run of H2SPG stands.

    Attributes:
        phase: of the next step: ``"warm-up"``, ``"projection"`` or ``"training"``.
        target: what is to be reached.
        step: completed steps.
        total: steps of the whole training, if known.
        num_groups: number of groups there are.
        num_chosen: number of groups chosen to become zero; 0 until the warm-up ends.
        num_zero: number of chosen groups that are zero.
        chosen: names of the chosen groups, in the order of choice, then most redundant first.
        zero: names of those of them that are zero.
        group_sparsity: zero groups over all groups, in [0, 1].
        num_params: scalar parameters of the model.
        num_zero_params: those of them that the zero groups hold at zero; what dies with them is not counted.
    """

    phase: Phase
    target: Target
    step: int
    total: int | None
    num_groups: int
    num_chosen: int
    num_zero: int
    chosen: tuple[str, ...]
    zero: tuple[str, ...]
    group_sparsity: float
    num_params: int
    num_zero_params: int

    @property
    def _steps(self) -> str:
        return f"step {self.step}" if self.total is None else f"step {self.step} of {self.total}"

    def __str__(self) -> str:
        steps = self._steps
        if not self.num_groups:
            return f"{self.phase}, {steps}: no removable groups, plain training"
        if self.phase == "warm-up":
            return f"{self.phase}, {steps}: scoring {self.num_groups} groups"
        zero = f"{self.num_zero} of {self.num_chosen} chosen groups are zero"
        return f"{self.phase}, {steps}: {zero}, group sparsity {self.group_sparsity:.0%}"

    def __rich__(self) -> Table:
        """Return a table of it for ``rich.print``."""
        from rich.markup import escape
        from rich.table import Table

        table = Table("H2SPG", f"{self.phase}, {self._steps}")
        waiting = [name for name in self.chosen if name not in self.zero]
        table.add_row("target", str(self.target))
        table.add_row("groups", f"{self.num_groups}, {self.num_chosen} chosen, {self.num_zero} at zero")
        table.add_row("parameters", f"{self.num_params:,}, {self.num_zero_params:,} at zero")
        table.add_row("at zero", escape(", ".join(self.zero)) or "none")
        if waiting:
            table.add_row("on their way", escape(", ".join(waiting)))
        return table
