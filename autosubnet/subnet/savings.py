"""What each group saves by itself, as an estimate in a time that does not grow with the graph.

Dead with a group is what becomes wholly zero with it, and what only such readers have. A layer that gets zero
channels counts as dead by their share: these are cut where that is exact. :class:`autosubnet.subnet.cost.Costs`
counts exactly, one set at a time; this is for the order in which groups are tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import fx

from autosubnet.graph.groups import Group
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation
from autosubnet.subnet.cost import zeros_of


def savings(
    view: GraphView, groups: Sequence[Group], costs: Mapping[str, Mapping[str, float]]
) -> dict[str, list[float]]:
    """Return, by the name of a cost, what each group saves of it.

    Args:
        view: the graph.
        groups: what is removed, one at a time.
        costs: by name, what each node costs; nodes that cost nothing may be missing.
    """
    propagation = Propagation(view)
    found: dict[str, list[float]] = {name: [] for name in costs}
    for group in groups:
        undo = propagation.update(zeros_of(view, [group]))
        shares = _dead(view, propagation, propagation.changed(undo))
        propagation.undo(undo)
        for name, table in costs.items():
            found[name].append(sum(share * table.get(node.name, 0.0) for node, share in shares.items()))
    return found


def _dead(view: GraphView, propagation: Propagation, changed: Sequence[fx.Node]) -> dict[fx.Node, float]:
    """Return which share of each node dies where these have become zero, wholly or in part."""
    dead = {node: 1.0 for node in changed if propagation.is_zero(node)}
    pending = list(dead)
    while pending:
        for source in pending.pop().all_input_nodes:
            if source not in dead and source.op != "placeholder" and all(user in dead for user in source.users):
                dead[source] = 1.0
                pending.append(source)
    for node in changed:
        mask = propagation.masks[node]
        if node not in dead and isinstance(mask, np.ndarray):
            for user in node.users:
                if user not in dead and view.variables.get(user):
                    dead[user] = float(mask.mean())
    return dead
