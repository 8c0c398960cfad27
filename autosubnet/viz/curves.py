"""Plots of a search over paths: how architecture weights and accuracy move (SparseNAS, Figures 4, 7 and 8)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autosubnet.errors import ExportError
from autosubnet.ops.kind import Kind
from autosubnet.viz.style import FAINT, KINDS

_MOST = 6  # moments that a page shows beside each other


def heat_maps(
    weights: Sequence[Sequence[Sequence[float]]],
    moments: Sequence[str],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> Figure:
    """Return heat maps of one matrix of weights at several moments; exact zeros are crossed out.

    Args:
        weights: the matrix at each moment, rows of columns.
        moments: what each is called.
        rows: names of the rows.
        columns: names of the columns.
        title: of the figure.
    """
    places = _spread(len(weights))
    highest = max(abs(value) for place in places for row in weights[place] for value in row) or 1.0
    figure = Figure(figsize=(1.6 + 1.9 * len(places), 1.5 + 0.24 * len(rows)), layout="constrained")
    axes = figure.subplots(1, len(places), sharey=True, squeeze=False)[0]
    for axis, place in zip(axes, places, strict=True):
        matrix = [[abs(value) for value in row] for row in weights[place]]
        image = axis.imshow(matrix, cmap="Blues", vmin=0, vmax=highest, aspect="auto")
        zeros = [(x, y) for y, row in enumerate(matrix) for x, value in enumerate(row) if value == 0]
        if zeros:
            axis.scatter(*zip(*zeros, strict=True), marker="x", s=14, linewidths=0.8, color="#b8450c")
        axis.set_title(moments[place], fontsize=9)
        axis.set_xticks(range(len(columns)), columns, rotation=90, fontsize=7)
    axes[0].set_yticks(range(len(rows)), rows, fontsize=7)
    figure.colorbar(image, ax=axes, shrink=0.7, label="size of the weight")
    figure.suptitle(f"{title} (crosses: exactly zero)", fontsize=10)
    return figure


def score_by_lambda(lams: Sequence[float], scores: Sequence[float], zero_shares: Sequence[float], label: str) -> Figure:
    """Return a validation score and the share of paths at zero along the path of lambda.

    Args:
        lams: strength of the penalty in each epoch.
        scores: at its end.
        zero_shares: 0 to 1, at its end.
        label: what the score is.
    """
    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axis = figure.subplots()
    axis.plot(lams, scores, color=KINDS[Kind.STEM].edge, marker="o", markersize=3)
    axis.set_xlabel("lambda")
    axis.set_ylabel(label, color=KINDS[Kind.STEM].edge)
    other = axis.twinx()
    other.plot(lams, [100 * each for each in zero_shares], color="#b8450c", linestyle="--")
    other.set_ylabel("paths at zero (%)", color="#b8450c")
    other.set_ylim(0, 100)
    axis.grid(color=FAINT, alpha=0.2)
    axis.xaxis.set_major_locator(MaxNLocator(6))
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure; the suffix says in which format.

    Raises:
        ExportError: a place where nothing can be written.
    """
    try:
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror}") from error


def _spread(count: int) -> list[int]:
    """Return which moments are shown: the first, the last, and some between."""
    shown = min(count, _MOST)
    return sorted({round(each * (count - 1) / max(shown - 1, 1)) for each in range(shown)})
