"""Boxes to DOT: columns side by side, frames around modules, numbered discs where a link was cut, a legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING

from autosubnet.errors import ExportError
from autosubnet.viz.boxes import Box, Link, share
from autosubnet.viz.columns import fold
from autosubnet.viz.picture import Picture
from autosubnet.viz.render import INSTALL_HINT
from autosubnet.viz.style import CANVAS, FAINT, FONT, INK, LINE, REMOVED, Legend, text

if TYPE_CHECKING:
    from graphviz import Digraph

_FADED = {"style": "dashed", "color": REMOVED.edge}
_SHARED = {"color": f"{LINE}:{CANVAS}:{LINE}", "penwidth": "1.2"}
_DISC = {"shape": "circle", "style": "filled", "fillcolor": INK, "color": INK, "fontcolor": "white",
         "fontsize": "10", "width": "0.24", "fixedsize": "true", "margin": "0"}  # fmt: skip
_FRAME = {"labeljust": "l", "peripheries": "1", "style": "rounded,filled", "color": "#cbd5df",
          "fillcolor": CANVAS, "penwidth": "0.8", "margin": "8"}  # fmt: skip


def lay_out(boxes: Sequence[Box], legend: Legend) -> Picture:
    """Return the picture of ``boxes``, in topological order, with ``legend`` beside them.

    Raises:
        ExportError: the package ``graphviz`` is not installed.
    """
    boxes = share(boxes)
    columns = fold(boxes)
    discs = _number_cuts(columns)
    if any(link.shared for box in boxes for link in box.links):
        legend = legend.with_note("double line: reads all that the box above it reads")
    if discs:
        legend = legend.with_note("discs: goes on at the same number")
    graph = _digraph(len(columns) + 1)
    with graph.subgraph(name="cluster legend") as first:
        first.attr(peripheries="0")
        first.node("the legend", label=legend.label(), shape="plain")
    for number, column in enumerate(columns, start=1):
        # A frame of its own, unseen, keeps a column together and in its place: parts are packed in their order.
        with graph.subgraph(name=f"cluster column {number}") as piece:
            piece.attr(peripheries="0")
            _draw_column(piece, number, column, discs)
    return Picture(graph.source)


def _digraph(columns: int) -> Digraph:
    try:
        from graphviz import Digraph
    except ImportError as missing:
        raise ExportError(f"pictures need the package graphviz; install it by {INSTALL_HINT}") from missing
    font = {"fontname": FONT, "fontsize": "11", "fontcolor": INK}
    return Digraph(
        graph_attr={"bgcolor": "white", "pack": "18", "packmode": f"array_it{columns}", "nodesep": "0.18",
                    "ranksep": "0.28", "splines": "true", **font},
        node_attr={"margin": "0.1,0.05", "height": "0.26", "width": "0.4", **font},
        edge_attr={"color": LINE, "arrowsize": "0.55", "penwidth": "0.9"},
    )  # fmt: skip


def _number_cuts(columns: Sequence[Sequence[Box]]) -> dict[Link, str]:
    """Return a number for everything that is read in another column than it is made in."""
    home = {box.name: index for index, column in enumerate(columns) for box in column}
    cut = [
        link
        for index, column in enumerate(columns)
        for box in column
        for link in box.links
        if home[link.source] != index
    ]
    return {link: str(number) for number, link in zip(count(1), dict.fromkeys(cut), strict=False)}


def _draw_column(graph: Digraph, number: int, column: Sequence[Box], discs: Mapping[Link, str]) -> None:
    _draw_boxes(graph, number, column)
    inside = {box.name: box for box in column}
    for link, disc in discs.items():
        if link.source in inside:
            graph.node(f"to {disc}", label=disc, **_DISC)
            graph.edge(_id(link.source), f"to {disc}", **_line(link, faded=inside[link.source].faded))
        elif any(link in box.links for box in column):
            graph.node(f"from {disc} {number}", label=disc, **_DISC)
    for box in column:
        for link in box.links:
            source = inside.get(link.source)
            tail = _id(link.source) if source else f"from {discs[link]} {number}"
            graph.edge(tail, _id(box.name), **_line(link, faded=box.faded or (source is not None and source.faded)))


def _line(link: Link, *, faded: bool) -> Mapping[str, str]:
    if link.shared:
        return _SHARED
    return _FADED if faded else {}


def _draw_boxes(graph: Digraph, number: int, column: Sequence[Box]) -> None:
    frames: dict[str, list[Box]] = {}
    for box in column:
        frames.setdefault(box.frame, []).append(box)
    for name, members in frames.items():
        if name == "":
            _draw_nodes(graph, members)
            continue
        with graph.subgraph(name=f"cluster {number} {name}") as frame:
            frame.attr(label=f"<{text(name, size=10, color=FAINT, bold=True)}>", **_FRAME)
            _draw_nodes(frame, members)


def _draw_nodes(graph: Digraph, boxes: Sequence[Box]) -> None:
    for box in boxes:
        graph.node(_id(box.name), label=box.label, **box.attributes)


def _id(name: str) -> str:
    """Return the name of a node; a colon would stand for a port."""
    return name.replace(":", ".")
