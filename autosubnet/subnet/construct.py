"""Zeros away: the compiler from a model and its zeros to the smaller, equal network (OTOv3, Section 3.3)."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import fx

from autosubnet.capture import Trace
from autosubnet.errors import NonFiniteError
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation, values_of
from autosubnet.subnet.cut import cuts
from autosubnet.subnet.emit import Plan, emit
from autosubnet.subnet.erase import erase
from autosubnet.subnet.report import Report
from autosubnet.subnet.verify import verify


def construct(trace: Trace, *, check: bool = True) -> fx.GraphModule:
    """Return the network without what its zeros make superfluous; the model is left as it is.

    Args:
        trace: the captured model; its parameters' present values decide.
        check: whether to run both on the example inputs and compare.

    Returns:
        A ``GraphModule`` with its own copies of the surviving tensors, under their old names, in the mode of
        the model. ``.meta["autosubnet"]`` holds the :class:`Report`.

    Raises:
        NonFiniteError: a weight is NaN or infinite.
        VerificationError: the result differs from the model.
    """
    view = GraphView(trace)
    _require_finite(view)
    plan = _plan(view)
    subnet = emit(plan)
    subnet.train(trace.model.training)
    report = _report(plan, subnet)
    if check:
        result = verify(trace, subnet, compare_training=not report.notes)
        report = replace(report, **result)
    subnet.meta["autosubnet"] = report
    return subnet


def _require_finite(view: GraphView) -> None:
    named = [(name, p) for name, p in view.parameters.items() if p.is_floating_point()]
    norms = torch._foreach_norm([p.detach() for _, p in named], float("inf"))
    for (name, _), norm in zip(named, norms, strict=True):
        if not torch.isfinite(norm):
            raise NonFiniteError(f"parameter {name!r} holds NaN or infinite values; restore it before constructing")


def _plan(view: GraphView) -> Plan:
    propagation = Propagation(view, values_of(view))
    uncuttable: set[tuple[fx.Node, fx.Node]] = set()
    while True:
        erasure = erase(propagation, uncuttable)
        plan = Plan(view, erasure, cuts(propagation, erasure))
        failed = _failed(plan)
        if not failed:
            return plan
        uncuttable |= failed  # these blocks stay as explicit zeros; all else is decided again


def _failed(plan: Plan) -> set[tuple[fx.Node, fx.Node]]:
    failed = set()
    for node in {concat for _, concat in plan.erasure.cut}:
        gone = {plan.erasure.resolve(block) for block in plan.gone(node)}
        blocks = {block for block, concat in plan.erasure.cut if concat is node}
        possible = plan.view.rules[node].drops(plan.view.calls[node], plan.gone(node)) is not None
        failed |= {(block, node) for block in blocks if block not in gone or not possible}
    return failed


def _report(plan: Plan, subnet: fx.GraphModule) -> Report:
    view = plan.view
    left = {name for name, _ in subnet.named_parameters(remove_duplicate=False)}
    removed = [node for node in view.nodes if node.meta["data"] and node not in plan.erasure.live]
    kept = {value: plan.kept(value) for value in dict.fromkeys(v for v, _ in plan.cuts) if isinstance(value, str)}
    return Report(
        num_params=(
            sum(p.numel() for p in view.parameters.values()),
            sum(p.numel() for p in subnet.parameters()),
        ),
        removed_vertices=tuple(node.name for node in removed),
        removed_params=tuple(name for name in view.parameters if name not in left),
        kept={name: dims for name, dims in kept.items() if name in left or name in dict(subnet.named_buffers())},
        notes=tuple(_notes(plan, removed)),
    )


def _notes(plan: Plan, removed: list[fx.Node]) -> list[str]:
    view = plan.view
    notes = []
    for node in removed:
        if node not in view.calls:
            continue
        call, rule = view.calls[node], view.rules[node]
        if rule.is_random(call):
            notes.append(f"random operation {node.name!r} was removed: later draws differ in train mode")
        elif rule.is_stateful(call) and any(n.target == node.target and n in plan.erasure.live for n in view.nodes):
            notes.append(f"module {node.target!r} lost a call: its running statistics differ in train mode")
    for node in view.trace.graph.output_node().all_input_nodes:
        if plan.erasure.resolve(node) in plan.erasure.explicit:
            notes.append(f"output {node.name!r} is zero for every input and was kept as a constant")
    for node in plan.erasure.live:
        if node in view.calls and view.rules[node].is_random(view.calls[node]) and _narrowed(plan, node):
            notes.append(f"random operation {node.name!r} was narrowed: its draws differ in train mode")
    return notes


def _narrowed(plan: Plan, node: fx.Node) -> bool:
    return any(value is node for value, _ in plan.cuts)
