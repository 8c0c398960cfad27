"""What a group is, in words."""

from __future__ import annotations

from autosubnet.graph.dependency import DependencyGraph
from autosubnet.graph.groups import Group
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
    segment = graph.segment[group.segment]
    whole = [each.name for each in group.slices if each.indices is None]
    parts = [f"{each.name}[{len(each.indices)}]" for each in group.slices if each.indices is not None]
    lines = [
        f"{group.name}: {len(segment.vertices)} vertices, {group.num_params} parameters",
        f"  zero: {', '.join(whole)}",
    ]
    if parts:
        lines.append(f"  and, behind concats, the channels that it fills of: {', '.join(parts)}")
    lines += _proof(view, group, segment.vertices)
    readers = ", ".join(segment.outgoing)
    lines.append(f"  read by: {readers}, which goes on without it")
    if score is not None:
        lines.append(f"  redundancy score: {score:.4f}")
    return "\n".join(lines)


def _proof(view: GraphView, group: Group, vertices: tuple[str, ...]) -> list[str]:
    """Name the first vertex from which on everything is zero, and what else becomes zero."""
    propagation = Propagation(view)
    whole = [each.name for each in group.slices if each.indices is None]
    undo = propagation.update({name: uniform(view.parameters[name].ndim, True) for name in whole})
    nodes = {node.name: node for node in view.nodes}
    zero = [name for name in vertices if propagation.is_zero(nodes[name])]
    last_alive = max((i for i, name in enumerate(vertices) if name not in zero), default=-1)
    start = vertices[last_alive + 1]
    beyond = [
        node.name
        for node in propagation.changed(undo)
        if node.name not in vertices and node.meta["data"] and propagation.is_zero(node)
    ]
    lines = [f"  proof: {start} is zero for every input, and so is every vertex up to {vertices[-1]}"]
    if beyond:
        lines.append(f"  also zero then: {', '.join(beyond)}")
    return lines
