"""What came out of a search over paths: as data, and as the lines of a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from autosubnet.training.path_loop import Epoch
from autosubnet.training.results import tell_difference, tell_score
from autosubnet.viz.report import Row


@dataclass(frozen=True)
class PathResult:
    """What a search over paths left, and what it takes to repeat it.

    Attributes:
        num_params: scalar parameters of the supernet and of the derived network.
        multiply_adds: the same, for one image, or for one step of the recurrent cell.
        measure: what the score is.
        score: on the test data, of the derived supernet and of the network constructed from it.
        paths: how many there were and are.
        nodes: the same.
        max_difference: largest difference of an output of the two, over the checked inputs.
        epochs: what each ended with.
        seconds: duration of the search.
        settings: the arguments.
        command: what was typed.
        environment: see :func:`autosubnet.training.measure.environment`.
    """

    num_params: tuple[int, int]
    multiply_adds: tuple[int, int]
    measure: str
    score: tuple[float, float]
    paths: tuple[int, int]
    nodes: tuple[int, int]
    max_difference: float | None
    epochs: tuple[Epoch, ...]
    seconds: float
    settings: Mapping[str, str | int | float | None]
    command: str
    environment: Mapping[str, str]

    def rows(self) -> tuple[Row, ...]:
        """Return the comparison, one line a quantity."""
        (p, q), (f, g) = self.num_params, self.multiply_adds
        before, after = (tell_score(self.measure, each) for each in self.score)
        return (
            Row("paths", str(self.paths[0]), str(self.paths[1]), ""),
            Row("nodes", str(self.nodes[0]), str(self.nodes[1]), ""),
            Row("parameters", f"{p:,}", f"{q:,}", f"{q / p:.0%} are left"),
            Row("multiply-adds", f"{f / 1e6:.2f} M", f"{g / 1e6:.2f} M", f"{g / f:.0%} are left"),
            Row(f"{self.measure}, weights inherited", before, after, ""),
            Row("largest output difference", "", tell_difference(self.max_difference), ""),
        )
