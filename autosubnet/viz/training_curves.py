"""Plots of a training: its loss and, of a search with H2SPG, scores and zero groups (OTOv3, Algorithm 3)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autosubnet.ops.kind import Kind
from autosubnet.viz.style import FAINT, KINDS

_BLUE, _RED = KINDS[Kind.STEM].edge, "#b8450c"
_MOST_NAMES = 12  # lines that still get their names beside them
_APART = 0.07  # of the height of a plot, from one name to the next


def training_curves(losses: Sequence[float], scores: Sequence[float] = (), measure: str = "") -> Figure:
    """Return the mean training loss of every epoch and, where there is one, what was measured at its end."""
    figure = Figure(figsize=(10.0 if scores else 5.6, 3.0), layout="constrained")
    first, *others = figure.subplots(1, 2 if scores else 1, squeeze=False)[0]
    _draw_loss(first, losses)
    for axis in others:
        _style(axis, measure, len(scores))
        axis.plot(range(1, len(scores) + 1), scores, color=_RED, marker="o", markersize=3)
    return figure


def search_curves(
    losses: Sequence[float],
    zero: Sequence[int],
    scores: Sequence[Mapping[str, float]],
    phases: Sequence[str],
    removed: Collection[str],
) -> Figure:
    """Return loss, number of zero groups and redundancy scores by epoch; the projection phase is shaded.

    Args:
        losses: mean training loss of every epoch.
        zero: groups at zero at its end.
        scores: by the name of a group, at its end.
        phases: of the step that follows it; the first epoch begins in the warm-up.
        removed: names of the groups that were chosen.
    """
    figure = Figure(figsize=(10.0, 3.0), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    _draw_loss(first, losses)
    _style(second, "groups at zero", len(losses))
    second.step(range(len(zero) + 1), [0, *zero], where="post", color=_RED)
    second.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    _style(third, "redundancy score", len(losses))
    for name in scores[0]:
        color, line = (_RED, "--") if name in removed else (_BLUE, "-")
        third.plot(range(1, len(losses) + 1), [each[name] for each in scores], color=color, linestyle=line)
    _name_lines(third, scores[-1], removed, len(losses))
    for axis in (first, second, third):
        for epoch, phase in enumerate(phases, start=1):
            if phase == "projection":
                axis.axvspan(epoch, epoch + 1, color=FAINT, alpha=0.12, linewidth=0)
    return figure


def _draw_loss(axis: Axes, losses: Sequence[float]) -> None:
    _style(axis, "training loss", len(losses))
    axis.plot(range(1, len(losses) + 1), losses, color=_BLUE, marker="o", markersize=3)


def _style(axis: Axes, label: str, epochs: int) -> None:
    axis.set_title(label, fontsize=10, loc="left")
    axis.set_xlabel("epoch", fontsize=9)
    axis.tick_params(labelsize=8)
    axis.set_xlim(0, epochs + 0.5)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.grid(color=FAINT, alpha=0.2)
    axis.spines[["top", "right"]].set_visible(False)


def _name_lines(axis: Axes, last: Mapping[str, float], removed: Collection[str], epochs: int) -> None:
    """Write the names of a few lines beside their ends, moved apart; of many, what their colours mean."""
    if len(last) > _MOST_NAMES:
        axis.set_title("redundancy score (dashed: removed)", fontsize=10, loc="left")
        return
    low, high = axis.get_ylim()
    place = low
    for name in sorted(last, key=lambda name: last[name]):
        place = max(last[name], place + _APART * (high - low))
        axis.annotate(
            name, (epochs, last[name]), (1.02, (place - low) / (high - low)), textcoords="axes fraction",
            fontsize=7, va="center", color=_RED if name in removed else _BLUE, annotation_clip=False,
        )  # fmt: skip
