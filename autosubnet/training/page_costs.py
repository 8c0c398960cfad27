"""What each operator of a network costs, as lines of a page."""

from __future__ import annotations

from autosubnet.api import AutoSubnet
from autosubnet.graph.vertex import Vertex
from autosubnet.subnet.report import Report
from autosubnet.viz.report import CostLine
from autosubnet.viz.style import shape_text


def cost_lines(oto: AutoSubnet, report: Report | None = None) -> tuple[CostLine, ...]:
    """Return a line for each vertex that costs something.

    Args:
        oto: the network.
        report: of what was constructed from it, for what became of each; without one, nothing is said of that.
    """
    costs = oto.compute_vertex_costs()
    return tuple(
        CostLine(
            vertex.name,
            vertex.label,
            shape_text(vertex.shape),
            costs[vertex.name]["num_params"],
            costs[vertex.name]["flops"] / 2,
            _fate(vertex, report) if report else "",
        )
        for vertex in oto.graph.vertices
        if any(costs[vertex.name].values())
    )


def _fate(vertex: Vertex, report: Report) -> str:
    if vertex.name in report.removed_vertices:
        return "removed"
    return "narrowed" if any(name in report.kept for name in vertex.variables) else "kept"
