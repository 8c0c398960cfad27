"""The live view of a search over paths: how far it is, and how large the weight of every path is."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from autosubnet.training.path_loop import Epoch
from autosubnet.training.path_problem import PathProblem
from autosubnet.training.results import tell_score

_SHADES = "▁▂▃▄▅▆▇█"
_WIDEST = 72


class PathView:
    """A progress bar above the weights at the end of the last epoch, a row a parameter's row, a block a path.

    The block's height is the size of the weight as a part of the largest; an exact zero is a dot.

    Args:
        epochs: how many there will be.
        console: where it is shown.
    """

    def __init__(self, epochs: int, console: Console) -> None:
        self.epochs = epochs
        self.progress = Progress(
            TextColumn("[bold]{task.description}"), BarColumn(bar_width=24), TaskProgressColumn(),
            TimeRemainingColumn(), console=console,
        )  # fmt: skip
        self.task = self.progress.add_task("search", total=None)
        self.shown = 0
        self.live = Live(self.progress, console=console, refresh_per_second=4)

    def __enter__(self) -> PathView:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()
        if not self.progress.console.is_terminal:
            self.progress.console.print()  # into a file, rich ends without a new line

    def show(self, problem: PathProblem, epochs: Sequence[Epoch], step: int) -> None:
        """Show how far a search is; see :func:`autosubnet.training.path_experiment.run`."""
        total = self.epochs * problem.steps
        self.progress.update(self.task, completed=step, total=total, description=problem.title)
        if len(epochs) == self.shown:
            return
        self.shown, last = len(epochs), epochs[-1]
        status = (
            f"epoch {len(epochs)} of {self.epochs}, lambda {last.lam:.3g}, loss {last.loss:.3f}, "
            f"{problem.measure} {tell_score(problem.measure, last.score)}, {last.zero_paths} of {last.num_paths} paths "
            f"and {len(last.zero_nodes)} nodes at zero"
        )
        self.live.update(Group(self.progress, Text(status, style="cyan"), weight_table(last)), refresh=True)


def weight_table(epoch: Epoch) -> Table:
    """Return the path weights of an epoch as rows of blocks."""
    rows = [(name, row) for name, value in epoch.weights.items() for row in _rows(value)]
    if all(len(row) == 1 for _, row in rows):  # a scalar a path, as on any model: those into one joint in a row
        joints: dict[str, list[float]] = {}
        for name, row in rows:
            joints.setdefault(name.rpartition(".")[0], []).extend(row)
        rows = list(joints.items())
    largest = max((abs(value) for _, row in rows for value in row), default=0.0) or 1.0
    table = Table(box=None, pad_edge=False, show_header=False)
    before = ""
    for name, row in rows:
        blocks = "".join(_block(value, largest) for value in row[:_WIDEST])
        table.add_row(Text(name if name != before else "", style="bold"), Text(blocks, style="blue"))
        before = name
    return table


def _rows(value: Any) -> list[list[float]]:
    """Return a scalar, a vector or a matrix as rows."""
    if not isinstance(value, list):
        return [[value]]
    return [row if isinstance(row, list) else [row] for row in value]


def _block(value: float, largest: float) -> str:
    if value == 0:
        return "·"
    return _SHADES[min(int(abs(value) / largest * len(_SHADES)), len(_SHADES) - 1)]
