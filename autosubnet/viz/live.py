"""The live view of a search in a notebook: the phase, the scores, and the chosen groups falling to zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from autosubnet.errors import ExportError
from autosubnet.graph.groups import Group
from autosubnet.optim import H2SPG

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CHOSEN, _OTHER = "#b8450c", "#8cc5ea"


class Live:
    """What a search has done so far, as a picture that is drawn again at each :meth:`update`.

    In Jupyter the picture stays in its place; the last one is what a saved notebook shows, with no widget needed.

    Args:
        optimizer: what trains, in a single process.

    Attributes:
        steps: at which it was updated.
        scores: redundancy scores by the groups' names, at these steps.
        norms: Euclidean norms of the groups' slices by their names, at these steps.
    """

    def __init__(self, optimizer: H2SPG) -> None:
        self.optimizer = optimizer
        self.steps: list[int] = []
        self.scores: list[dict[str, float]] = []
        self.norms: list[dict[str, float]] = []
        self._handle: Any = None

    def update(self) -> None:
        """Record where the search stands, and in Jupyter show it.

        Waits for the device, and draws for about a tenth of a second: call it each 20 steps or more.

        Raises:
            ExportError: the package ``matplotlib`` is not installed.
        """
        step = self.optimizer.progress().step
        if step not in self.steps:
            groups = self.optimizer.groups
            names = [group.name for group in groups]
            self.steps.append(step)
            self.scores.append(dict(zip(names, self.optimizer.scores.tolist(), strict=True)) if step else {})
            self.norms.append(dict(zip(names, group_norms(self.optimizer.named_parameters, groups), strict=True)))
        self._show()

    @property
    def history(self) -> list[tuple[int, Mapping[str, float]]]:
        """Steps with the scores at them."""
        return list(zip(self.steps, self.scores, strict=True))

    def figure(self) -> Figure:
        """Return the scores and the norms over the steps, the chosen groups in orange.

        Raises:
            ExportError: the package ``matplotlib`` is not installed.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as missing:
            raise ExportError("the live view needs matplotlib; pip install 'autosubnet[jupyter]'") from missing
        progress = self.optimizer.progress()
        figure = Figure(figsize=(9, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        chosen = set(progress.chosen)
        # The chosen groups last, on top of the others.
        for name in sorted((group.name for group in self.optimizer.groups), key=lambda name: name in chosen):
            look = {"color": _CHOSEN if name in chosen else _OTHER, "linewidth": 1.2, "marker": ".", "markersize": 3}
            scored = [(step, scores[name]) for step, scores in self.history if name in scores]
            left.plot([step for step, _ in scored], [score for _, score in scored], **look)
            right.plot(self.steps, [norms[name] for norms in self.norms], **look)
        left.set_title("redundancy score of each group", fontsize=9)
        right.set_title("norm of each group", fontsize=9)
        right.set_ylim(bottom=0)
        for axis in (left, right):
            axis.set_xlabel("step", fontsize=8)
            axis.tick_params(labelsize=8)
            axis.grid(alpha=0.2)
        of = f" of {progress.total}" if progress.total is not None else ""
        figure.suptitle(
            f"{progress.phase}, step {progress.step}{of}: of {progress.num_groups} groups {progress.num_chosen} chosen "
            f"(orange), {progress.num_zero} of them zero",
            fontsize=10,
        )
        return figure

    def _repr_svg_(self) -> str:
        text = StringIO()
        self.figure().savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()

    def _show(self) -> None:
        try:
            from IPython.core.getipython import get_ipython
            from IPython.display import display
        except ImportError:
            return
        if get_ipython() is None:
            return
        if self._handle is None:
            self._handle = display(self, display_id=True)  # type: ignore[no-untyped-call]  # IPython has no types
        else:
            self._handle.update(self)


@torch.no_grad()
def group_norms(parameters: Mapping[str, Tensor], groups: Sequence[Group]) -> list[float]:
    """Return the Euclidean norm of the entries of each group."""
    squares = []
    for group in groups:
        total = torch.zeros((), dtype=torch.float64)
        for each in group.slices:
            value = parameters[each.name].detach()
            if each.dim is not None and each.indices is not None:
                value = value.index_select(each.dim, torch.tensor(each.indices, device=value.device))
            total = total + value.double().square().sum().cpu()
        squares.append(total)
    return [float(square.sqrt()) for square in squares]
