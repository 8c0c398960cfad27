"""From zero entries to the plan of the smaller network: erase, cut, and again where something has to stay after all."""

from __future__ import annotations

from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation
from autosubnet.ops.masks import Mask
from autosubnet.subnet.cut import cuts
from autosubnet.subnet.emit import Plan
from autosubnet.subnet.erase import Place, erase
from autosubnet.subnet.going import going


def make_plan(view: GraphView, zeros: dict[str, Mask]) -> Plan:
    """Decide what goes where some entries of the parameters are zero.

    Args:
        view: the graph.
        zeros: masks of the parameters that have zeros, by name.
    """
    propagation = Propagation(view, zeros)
    if seen := _told_by_sign(propagation):
        propagation = Propagation(view, {name: mask for name, mask in zeros.items() if name not in seen})
    uncuttable: set[Place] = set()
    while True:
        erasure = erase(propagation, uncuttable)
        plan = Plan(view, propagation, erasure, cuts(propagation, erasure))
        if failed := _failed(plan):
            uncuttable |= failed  # these blocks stay as explicit zeros; all else is decided again
        elif not propagation.changed(propagation.update(going(plan))):
            return plan  # else something went for zeros that stay, and training would go on from those


def _told_by_sign(propagation: Propagation) -> set[str]:
    """Return parameters from which zeros come that an operator tells from minus zero: they are computed as before."""
    view = propagation.view
    found = [
        pole
        for node, call in view.calls.items()
        if view.rules[node].tells_sign(call)
        for pole in view.rules[node].poles(call)
        if propagation.masks[pole].any()
    ]
    for node in found:  # and all that they are computed from
        found += [each for each in node.all_input_nodes if each not in found]
    return {name for node in found for name in view.variables[node]}


def _failed(plan: Plan) -> set[Place]:
    """Return the zero blocks that could not be cut out of their concats."""
    failed = set()
    for node in {concat for _, concat in plan.erasure.cut}:
        gone = plan.gone(node)
        possible = plan.view.rules[node].drops(plan.view.calls[node], gone) is not None
        cut_out = {plan.erasure.resolve(block) for block in gone} if possible else set()
        blocks = {plan.erasure.resolve(block) for block in plan.view.rules[node].absorbs(plan.view.calls[node])}
        failed |= {(block, node) for block in blocks - cut_out if (block, node) in plan.erasure.cut}
    return failed
