"""What a group is, in words."""

from __future__ import annotations

from collections.abc import Sequence

from autosubnet.graph.dependency import DependencyGraph, Segment
from autosubnet.graph.groups import Group
from autosubnet.graph.naming import described
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation
from autosubnet.ops.masks import uniform


def explain(view: GraphView, graph: DependencyGraph, group: Group, score: float | None) -> str:
    """Return a group's parameters, the proof that its output is zero, its score, and what dies with it.

    Args:
        view: the trace.
        graph: its segments.
        group: one of its groups.
        score: its redundancy score so far, if it was scored.
    """
    segments = [graph.segment[name] for name in group.segments]
    whole = [each.name for each in group.slices if each.indices is None]
    parts = [f"{each.name}[{len(each.indices)}]" for each in group.slices if each.indices is not None]
    lines = [
        f"{group.name}: {sum(len(each.vertices) for each in segments)} vertices, {group.num_params} parameters",
        f"  zero: {', '.join(whole)}",
    ]
    if parts:
        lines.append(f"  and, behind concats, the channels that it fills of: {', '.join(parts)}")
    if segments[1:]:
        lines.append(f"  of segments that share parameters: {', '.join(group.segments)}")
    lines += _proof(view, group, segments)
    readers = list(dict.fromkeys(reader for segment in segments for reader in segment.outgoing))
    nodes = {node.name: node for node in view.nodes}
    firsts = [graph.segment[each].vertices[0] if each in graph.segment else each for each in readers]
    names = [described(nodes[each]) if each in nodes else each for each in firsts]
    lines.append(f"  read by: {', '.join(names)}, which {'go' if readers[1:] else 'goes'} on without it")
    if score is not None:
        lines.append(f"  redundancy score: {score:.4f}")
    return "\n".join(lines)


def _proof(view: GraphView, group: Group, segments: Sequence[Segment]) -> list[str]:
    """Name, by segment, the first vertex from which on everything is zero, and what else becomes zero."""
    propagation = Propagation(view)
    whole = [each.name for each in group.slices if each.indices is None]
    undo = propagation.update({name: uniform(view.parameters[name].ndim, True) for name in whole})
    nodes = {node.name: node for node in view.nodes}
    lines = []
    for segment in segments:
        alive = [number for number, name in enumerate(segment.vertices) if not propagation.is_zero(nodes[name])]
        start, end = (nodes[segment.vertices[place]] for place in (max(alive, default=-1) + 1, -1))
        upto = "" if start is end else f", and so is every vertex up to {described(end)}"
        lines.append(f"  proof: {described(start)} is zero for every input{upto}")
    own = {name for segment in segments for name in segment.vertices}
    beyond = [
        described(node)
        for node in propagation.changed(undo)
        if node.name not in own and node.meta["data"] and propagation.is_zero(node)
    ]
    if beyond:
        lines.append(f"  also zero then: {', '.join(beyond)}")
    return lines
