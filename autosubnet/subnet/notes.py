"""What a person should know of a construction: where train mode differs, and which outputs are constant."""

from __future__ import annotations

from collections.abc import Iterator

from autosubnet.capture.trace import MODES, outputs_of
from autosubnet.graph.dependence import Dependence
from autosubnet.subnet.emit import Plan


def training_notes(plan: Plan) -> Iterator[str]:
    """Yield why train mode is not equal: random operations that went, statistics that lost a call, hooks."""
    view, live = plan.view, plan.erasure.live
    random = [node for node in view.calls if node.meta["draws"]]
    stateful = [node for node in view.calls if view.rules[node].is_stateful(view.calls[node])]
    written = {name for node in stateful if node in live for name in view.buffers_of(node)}
    for node in random:
        if node not in live:
            yield f"random operation {node.name!r} was removed: later draws differ in train mode"
        elif node in plan.cuts:
            yield f"random operation {node.name!r} was narrowed: its draws differ in train mode"
    for node in stateful:
        shared = written & view.buffers_of(node)
        if node not in live and shared:
            module = min(shared).rpartition(".")[0]
            yield f"module {module!r} lost a call: its buffers differ in train mode"
    for name, parameter in view.parameters.items():
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            yield f"parameter {name!r} has hooks on its gradient, which stay behind: register them on the subnet's own"


def constant_outputs(plan: Plan) -> Iterator[str]:
    """Yield the names of outputs that no longer depend on any input."""
    inputs = [node for node in plan.view.nodes if node.op == "placeholder" and node.meta["data"]]
    dependences = [Dependence(plan.view, plan.propagation, node) for node in inputs]
    outputs = dict.fromkeys(node for mode in MODES for node in outputs_of(plan.view.trace.graph, mode))
    for node in outputs:
        if node.meta["data"] and not any(each.depends(node) for each in dependences):
            yield node.name
