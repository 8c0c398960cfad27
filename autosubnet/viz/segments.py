"""The dependency graph: segments, which of them are groups, and which were chosen (OTOv3, Figures 1b, 1c and 2)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from textwrap import wrap

from autosubnet.errors import GroupError
from autosubnet.graph.dependency import DependencyGraph, Segment
from autosubnet.graph.groups import Group, Refusal
from autosubnet.graph.vertex import Vertex
from autosubnet.ops.kind import Kind
from autosubnet.viz.boxes import Box, Link, links_to
from autosubnet.viz.layout import lay_out
from autosubnet.viz.names import operators
from autosubnet.viz.picture import Picture
from autosubnet.viz.style import FAINT, INK, KINDS, REMOVED, Legend, Look, row, shape_text, shorten, table, text

_LONGEST_NAME = 40
_REASON_WIDTH = 48
_WIDTH = 22  # of a segment's box, in lines of text


class _State(Enum):
    GROUP = "group: can be removed (thick border)"
    CHOSEN = "chosen: zero, removed (dashed)"
    REFUSED = "refused: looks removable, but is not (folded corner)"
    KEPT = "stays: has parameters, is no group"
    BARE = "no parameters (thin border; joints are ellipses)"


_LOOKS: Mapping[_State, Look] = {
    _State.GROUP: KINDS[Kind.STEM],
    _State.CHOSEN: REMOVED,
    _State.REFUSED: replace(KINDS[Kind.UNKNOWN], shape="note"),
    _State.KEPT: Look("#cfd8e1", "#52606d", 1.2, "box"),
    _State.BARE: KINDS[Kind.ACCESSORY],
}


@dataclass(frozen=True)
class _Drawn:
    """A segment with what is known of it."""

    segment: Segment
    vertices: tuple[Vertex, ...]
    groups: tuple[Group, ...]
    chosen: tuple[Group, ...]
    scores: tuple[float, ...]
    reason: str | None

    @property
    def state(self) -> _State:
        if self.groups:
            return _State.CHOSEN if self.chosen == self.groups else _State.GROUP
        if self.reason is not None:
            return _State.REFUSED
        return _State.KEPT if self.segment.variables else _State.BARE

    @property
    def is_joint(self) -> bool:
        return len(self.vertices) == 1 and self.vertices[0].kind is Kind.JOINT and self.state is _State.BARE


def draw_segments(
    graph: DependencyGraph,
    groups: Sequence[Group],
    *,
    chosen: Collection[str] = (),
    scores: Mapping[str, float] | None = None,
    refused: Iterable[Refusal] = (),
) -> Picture:
    """Return a picture of the segments with their operators, groups, parameters and scores.

    Args:
        graph: what to draw.
        groups: the removable structures; their segments are coloured.
        chosen: names of the groups that are redundant or removed; they are dashed and grey.
        scores: redundancy scores by the groups' names.
        refused: segments that are no groups though they look it, with the reason.

    Raises:
        GroupError: a chosen or scored group is not among ``groups``.
        ExportError: the package ``graphviz`` is not installed.
    """
    scores = scores or {}
    names = {group.name for group in groups}
    if unknown := sorted({*chosen, *scores} - names):
        raise GroupError(f"no group is named {unknown[0]!r}; the groups are {', '.join(sorted(names)) or 'none'}")
    reasons = {refusal.segment: refusal.reason for refusal in refused}
    by_segment: dict[str, list[Group]] = {}
    for group in groups:
        for name in group.segments:
            by_segment.setdefault(name, []).append(group)
    drawn = {}
    for segment in graph.segments:
        own = by_segment.get(segment.name, [])
        drawn[segment.name] = _Drawn(
            segment,
            vertices=tuple(graph.vertex[name] for name in segment.vertices),
            groups=tuple(own),
            chosen=tuple(group for group in own if group.name in chosen),
            scores=tuple(scores[group.name] for group in own if group.name in scores),
            reason=reasons.get(segment.name),
        )
    return lay_out(_boxes(graph, drawn), _legend(drawn.values()))


def _boxes(graph: DependencyGraph, drawn: Mapping[str, _Drawn]) -> list[Box]:
    """Return a box for each segment and for each end of the graph, in topological order."""
    home = {vertex: segment.name for segment in graph.segments for vertex in segment.vertices}
    first = {segment.vertices[0]: segment.name for segment in graph.segments}
    boxes = []
    for vertex in graph.vertices:
        sources = links_to([home.get(name, name) for name in vertex.inputs])
        if vertex.name in first:
            boxes.append(_segment_box(drawn[first[vertex.name]], sources))
        elif vertex.name not in home:
            boxes.append(_end_box(vertex, sources))
    return boxes


def _end_box(vertex: Vertex, links: Sequence[Link]) -> Box:
    shape = shape_text(vertex.shape)
    words = [text(vertex.name), *([text(shape, size=9, color=FAINT)] if shape else [])]
    label = table([row(each, align="center") for each in words], padding=0)
    return Box(vertex.name, tuple(links), label, lines=3, width=8, attributes=KINDS[vertex.kind].attributes())


def _segment_box(drawn: _Drawn, links: Sequence[Link]) -> Box:
    name, gone = drawn.segment.name, drawn.state is _State.CHOSEN
    tooltip = " → ".join(drawn.segment.vertices) + (f"\n{drawn.reason}" if drawn.reason else "")
    if drawn.is_joint:
        words = [text(drawn.vertices[0].label), text(shape_text(drawn.vertices[0].shape), size=9, color=FAINT)]
        look = KINDS[Kind.JOINT]
    else:
        words = _words(drawn)
        look = _LOOKS[drawn.state]
    attributes = look.attributes() | {"tooltip": tooltip} | ({"style": "dashed"} if gone else {})
    label = table([row(each, align="center") for each in words], padding=1)
    width = 8 if drawn.is_joint else _WIDTH
    return Box(name, tuple(links), label, lines=len(words) + 1, width=width, attributes=attributes, faded=gone)


def _words(drawn: _Drawn) -> list[str]:
    color = REMOVED.edge if drawn.state is _State.CHOSEN else INK
    details = [operators([vertex.label for vertex in drawn.vertices])]
    if drawn.groups:
        details.append(f"{sum(group.num_params for group in drawn.groups):,} parameters")
    elif drawn.segment.variables:
        details.append(f"{len(drawn.segment.variables)} parameter tensors")
    if len(drawn.groups) > 1:
        details.append(f"{len(drawn.chosen)} of {len(drawn.groups)} groups chosen")
    if drawn.scores:
        low, high = min(drawn.scores), max(drawn.scores)
        details.append(f"redundancy {low:.3f}" + (f" to {high:.3f}" if high > low else ""))
    if drawn.state is _State.REFUSED:
        details += wrap(f"refused: {drawn.reason}", _REASON_WIDTH)
    title = text(shorten(drawn.segment.name, _LONGEST_NAME), bold=True, color=color)
    return [title, *(text(words, size=9, color=color) for words in details)]


def _legend(drawn: Collection[_Drawn]) -> Legend:
    states = {each.state for each in drawn}
    rows = [
        row(text(state.value, size=10), _LOOKS[state], dashed=state is _State.CHOSEN)
        for state in _State
        if state in states
    ]
    count, chosen = sum(len(each.groups) for each in drawn), sum(len(each.chosen) for each in drawn)
    groups = f"{count} groups, {chosen} of them chosen" if chosen else f"{count} groups"
    return Legend(f"Dependency graph: {len(drawn)} segments, {groups}", tuple(rows))
