"""Collapsing: the vertices of a closed module drawn as one box."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from autosubnet.graph.dependency import DependencyGraph
from autosubnet.graph.vertex import Vertex
from autosubnet.ops.kind import Kind
from autosubnet.viz.boxes import Box, links_to
from autosubnet.viz.layout import lay_out
from autosubnet.viz.names import frames, own_name, scope
from autosubnet.viz.picture import Picture
from autosubnet.viz.style import FAINT, KINDS, Legend, Look, row, shape_text, shorten, table, text

_CLOSED = Look("#ffffff", "#52606d", 1.8, "box3d")
_LONGEST_NAME = 26
_WIDTH = 13  # of a box, in lines of text


@dataclass(frozen=True)
class Part:
    """What is drawn as one box.

    Attributes:
        module: path of the closed module, ``""`` for a vertex on its own.
        vertices: in topological order.
    """

    module: str
    vertices: tuple[Vertex, ...]


def collapse(graph: DependencyGraph, closed: Collection[str]) -> list[Part]:
    """Return the vertices in topological order, those that follow one another in a closed module as one part.

    A module whose vertices others interrupt becomes several parts: as one it could read what it makes.

    Args:
        graph: what is drawn.
        closed: paths of modules; of nested ones the outermost counts.
    """
    runs: list[tuple[str, list[Vertex]]] = []
    for vertex in graph.vertices:
        module = _outermost(vertex.module, closed)
        if module and runs and runs[-1][0] == module:
            runs[-1][1].append(vertex)
        else:
            runs.append((module, [vertex]))
    return [Part(module if vertices[1:] else "", tuple(vertices)) for module, vertices in runs]


def draw_parts(parts: Sequence[Part], title: str) -> Picture:
    """Return a picture with one box a part; in the SVG the box of part 3 is of the class ``part3``.

    Raises:
        ExportError: the package ``graphviz`` is not installed.
    """
    home = {vertex.name: part.vertices[0].name for part in parts for vertex in part.vertices}
    framed = frames([part.module.rpartition(".")[0] if part.module else scope(part.vertices[0]) for part in parts])
    boxes = []
    for number, (part, frame) in enumerate(zip(parts, framed, strict=True)):
        name = part.vertices[0].name
        sources = [home[source] for vertex in part.vertices for source in vertex.inputs]
        look = _CLOSED if part.module else KINDS[part.vertices[0].kind]
        tooltip = part.module or name
        boxes.append(
            Box(
                name=name,
                links=links_to([source for source in sources if source != name]),
                label=table([row(words, align="center") for words in _words(part)], padding=0),
                lines=3,
                width=_WIDTH,
                attributes={**look.attributes(), "class": f"part{number}", "tooltip": tooltip},
                frame=frame,
            )
        )
    return lay_out(boxes, Legend(title, ()))


def _outermost(module: str, closed: Collection[str]) -> str:
    names = module.split(".")
    prefixes = (".".join(names[:count]) for count in range(1, len(names) + 1))
    return next((prefix for prefix in prefixes if prefix in closed), "")


def _words(part: Part) -> list[str]:
    first, last = part.vertices[0], part.vertices[-1]
    if part.module:
        title, detail = part.module.rpartition(".")[2], f"{len(part.vertices)} vertices"
    else:
        title, detail = first.label, own_name(first)
        if first.kind in (Kind.INPUT, Kind.OUTPUT):
            title, detail = first.name, ""
    shape = shape_text(last.shape) if last.kind is not Kind.OUTPUT else ""
    below = [shorten(detail, _LONGEST_NAME), shape]
    return [
        text(shorten(title, _LONGEST_NAME), bold=True),
        *(text(each, size=9, color=FAINT) for each in below if each),
    ]
