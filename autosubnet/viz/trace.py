"""The trace graph, its vertices coloured by kind (OTOv3, Section 3.1 and Figure 1a)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from autosubnet.errors import InputError
from autosubnet.graph.dependency import DependencyGraph
from autosubnet.graph.vertex import Vertex
from autosubnet.ops.kind import Kind
from autosubnet.viz.boxes import Box, links_to
from autosubnet.viz.layout import lay_out
from autosubnet.viz.names import frames, own_name, scope
from autosubnet.viz.picture import Picture
from autosubnet.viz.style import FAINT, INK, KINDS, REMOVED, TITLE, Legend, row, shape_text, shorten, table, text

_CHAINED = frozenset({Kind.STEM, Kind.ACCESSORY})
_LONGEST_CHAIN = 12
_LONGEST_NAME = 26
_WIDTH = 13  # of a box, in lines of text
_ABOUT = {
    Kind.STEM: "stem: mixes channels by its parameters (thick border)",
    Kind.JOINT: "joint: several tensors in, one out (ellipse)",
    Kind.ACCESSORY: "accessory: one tensor in (thin border)",
    Kind.UNKNOWN: "unknown: nothing is claimed of it (octagon)",
    Kind.INPUT: "input and output (houses)",
}


def draw_trace(graph: DependencyGraph, *, removed: Collection[str] = frozenset()) -> Picture:
    """Return a picture of every vertex, coloured by kind, with its operator and the shape of its output.

    Stems and accessories that follow one another stand in one box; frames are modules.

    Args:
        graph: what to draw.
        removed: names of the vertices that a construction took away; they are dashed and grey.

    Raises:
        InputError: a removed vertex is not in the graph.
        ExportError: the package ``graphviz`` is not installed.
    """
    if unknown := sorted(set(removed) - graph.vertex.keys()):
        raise InputError(f"no vertex of the graph is named {unknown[0]!r}; oto.graph.vertices holds their names")
    framed = dict(zip(graph.vertex, frames([scope(vertex) for vertex in graph.vertices]), strict=True))
    chains = _chains(graph, framed, removed)
    home = {vertex.name: chain[0].name for chain in chains for vertex in chain}
    boxes = [
        Box(
            name=chain[0].name,
            links=links_to([home[name] for name in chain[0].inputs]),
            label=_label(chain, framed[chain[0].name], chain[0].name in removed),
            lines=len(chain) + 1,
            width=_WIDTH,
            attributes=_attributes(chain, chain[0].name in removed),
            frame=framed[chain[0].name],
            faded=chain[0].name in removed,
        )
        for chain in chains
    ]
    return lay_out(boxes, _legend(graph, len(removed)))


def _chains(graph: DependencyGraph, framed: dict[str, str], removed: Collection[str]) -> list[list[Vertex]]:
    readers = Counter(name for vertex in graph.vertices for name in vertex.inputs)
    home: dict[str, list[Vertex]] = {}
    chains: list[list[Vertex]] = []
    for vertex in graph.vertices:
        chain = home.get(vertex.inputs[0]) if len(vertex.inputs) == 1 else None
        if chain is None or not _continues(chain, vertex, readers, framed, removed):
            chain = []
            chains.append(chain)
        chain.append(vertex)
        home[vertex.name] = chain
    return chains


def _continues(
    chain: Sequence[Vertex],
    vertex: Vertex,
    readers: Counter[str],
    framed: dict[str, str],
    removed: Collection[str],
) -> bool:
    last = chain[-1]
    return (
        {last.kind, vertex.kind} <= _CHAINED
        and readers[last.name] == 1
        and len(chain) < _LONGEST_CHAIN
        and framed[last.name] == framed[vertex.name]
        and (last.name in removed) == (vertex.name in removed)
    )


def _attributes(chain: Sequence[Vertex], gone: bool) -> dict[str, str]:
    if chain[0].kind in _CHAINED:
        return {"shape": "plain", "tooltip": " → ".join(vertex.name for vertex in chain)}
    look = KINDS[chain[0].kind]
    attributes = look.attributes() | {"tooltip": chain[0].name}
    return attributes | ({"style": "dashed", "color": REMOVED.edge} if gone else {})


def _label(chain: Sequence[Vertex], frame: str, gone: bool) -> str:
    first = chain[0]
    faint = REMOVED.edge if gone else FAINT
    if first.kind not in _CHAINED:
        shape = "" if first.kind is Kind.OUTPUT else shape_text(first.shape)
        below = [row(text(shape, size=9, color=faint), align="center")] if shape else []
        return table([row(_words(first, gone), align="center"), *below], padding=0)
    inner = scope(first).removeprefix(frame).lstrip(".")
    rows = [row(text(shorten(inner, _LONGEST_NAME), size=9, color=faint), TITLE)] if inner and len(chain) > 1 else []
    before = None
    for vertex in chain:
        shape = shape_text(vertex.shape) if vertex.shape != before else ""
        words = _words(vertex, gone) + (f"   {text(shape, size=9, color=faint)}" if shape else "")
        rows.append(row(words, REMOVED if gone else KINDS[vertex.kind], dashed=gone))
        before = vertex.shape
    return table(rows)


def _words(vertex: Vertex, gone: bool) -> str:
    """Return the operator, and its name where that says more."""
    ends = vertex.kind in (Kind.INPUT, Kind.OUTPUT)
    name = shorten(own_name(vertex), _LONGEST_NAME)
    label = text(name if ends else vertex.label, bold=vertex.kind is Kind.STEM, color=REMOVED.edge if gone else INK)
    if ends or name.rstrip("0123456789_").lower() == vertex.label.lower():
        return label
    return f"{label} {text(name, size=9, color=REMOVED.edge if gone else FAINT)}"


def _legend(graph: DependencyGraph, removed: int) -> Legend:
    present = {vertex.kind for vertex in graph.vertices}
    rows = [row(text(words, size=10), KINDS[kind]) for kind, words in _ABOUT.items() if kind in present]
    gone = f", {removed} of them removed" if removed else ""
    if removed:
        rows.append(row(text("removed (dashed)", size=10, color=REMOVED.edge), REMOVED, dashed=True))
    return Legend(f"Trace graph: {len(graph.vertices)} vertices{gone}", tuple(rows))
