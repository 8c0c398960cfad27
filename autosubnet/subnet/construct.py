"""Zeros away: the compiler from a model and its zeros to the smaller, equal network (OTOv3, Section 3.3)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import torch
from torch import fx

from autosubnet.capture import Trace
from autosubnet.errors import InputError, NonFiniteError
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import values_of
from autosubnet.subnet.emit import Plan, emit
from autosubnet.subnet.notes import constant_outputs, training_notes
from autosubnet.subnet.planning import make_plan
from autosubnet.subnet.report import Report
from autosubnet.subnet.running import Draws
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
        InputError: a weight is on the meta device.
        NonFiniteError: a weight is NaN or infinite.
        VerificationError: the result differs from the model.
    """
    view = GraphView(trace)
    _require_finite(view)
    plan = make_plan(view, values_of(view))
    subnet = emit(plan)
    subnet.train(trace.model.training)
    report = _report(plan, subnet)
    if check:
        result = verify(trace, subnet, draws=_draws(plan), kept=None if report.training_notes else report.kept)
        report = replace(report, **result)
    subnet.meta["autosubnet"] = report
    return subnet


def _require_finite(view: GraphView) -> None:
    for name, parameter in view.parameters.items():
        if parameter.is_meta:
            raise InputError(f"parameter {name!r} is on the meta device, without values; load them before constructing")
    named = [(name, p) for name, p in view.parameters.items() if p.dtype.is_signed and p.numel()]
    if not named:
        return
    norms = torch._foreach_norm([p.detach() for _, p in named], float("inf"))
    for (name, _), norm in zip(named, norms, strict=True):
        if not torch.isfinite(norm):
            raise NonFiniteError(f"parameter {name!r} holds NaN or infinite values; restore it before constructing")


def _draws(plan: Plan) -> Draws | None:
    """Return how train mode can be compared: not at all where an operation draws fewer numbers than before."""
    random = [node for node in plan.view.calls if node.meta["draws"]]
    live = plan.erasure.live
    if any(node in live and node in plan.cuts for node in random):
        return None
    return "in order" if all(node in live for node in random) else "each anew"


def _report(plan: Plan, subnet: fx.GraphModule) -> Report:
    view = plan.view
    left = {name for name, _ in subnet.named_parameters(remove_duplicate=False)}
    names: dict[str, set[str]] = defaultdict(set)  # all names of a tied tensor by its first
    for name, first in view.trace.canonical.items():
        names[first].add(name)
    sliced = [value for value in plan.cuts if isinstance(value, str)]
    present = left | {name for name, _ in subnet.named_buffers(remove_duplicate=False)}
    return Report(
        num_params=(
            sum(p.numel() for p in view.parameters.values()),
            sum(p.numel() for p in subnet.parameters()),
        ),
        removed_vertices=tuple(n.name for n in view.nodes if n.meta["data"] and n not in plan.erasure.live),
        removed_params=tuple(name for name in view.parameters if not left.intersection(names[name])),
        kept={name: plan.kept(first) for first in sorted(sliced) for name in sorted(names[first] & present)},
        capture_notes=view.trace.notes,
        training_notes=tuple(training_notes(plan)),
        constant_outputs=tuple(constant_outputs(plan)),
    )
