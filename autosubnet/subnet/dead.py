"""What goes when a set of groups goes: their own vertices, and all that nobody reads any more."""

from __future__ import annotations

from collections.abc import Iterable

from autosubnet.graph.groups import Group
from autosubnet.graph.view import GraphView
from autosubnet.subnet.cost import zeros_of
from autosubnet.subnet.planning import make_plan


def removed_with(view: GraphView, groups: Iterable[Group]) -> tuple[str, ...]:
    """Return the names of the vertices that a construction removes if ``groups``, and nothing else, are zero."""
    live = make_plan(view, zeros_of(view, groups)).erasure.live
    return tuple(node.name for node in view.nodes if node.meta["data"] and node not in live)
