"""Zero propagation before a judge that knows nothing of its rules; and the judge, on zeros that are known."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from adversarial.test_adversarial import SPECIMENS
from adversarial.test_adversarial import prepared as prepared_specimen
from judge import Verdict, judge, scatter
from plans import build
from random_models import draw_plan
from subnet.checks import settled, zero
from torch import Tensor, nn

from autosubnet import AutoSubnet
from autosubnet.capture import Inputs, Trace, capture
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation, values_of
from autosubnet.ops.arithmetic import Sum
from autosubnet.ops.elementwise import KeepsZero, LosesZero, Softmax
from autosubnet.ops.normalization import BatchNorm, GroupNorm
from autosubnet.ops.rule import known

IMAGE = (3, 4, 5, 5)


def claims_of(trace: Trace) -> dict[str, Any]:
    view = GraphView(trace)
    return {node.name: mask for node, mask in Propagation(view, values_of(view)).masks.items()}


def check_sound(trace: Trace, **effort: int) -> Verdict:
    verdict = judge(trace, **effort)
    wrong = verdict.refutes(claims_of(trace))
    assert not wrong, "\n".join(wrong)
    return verdict


@pytest.mark.parametrize("seed", range(60))
def test_random_models(seed: int) -> None:
    plan = draw_plan(random.Random(seed).choice)
    model, inputs = build(plan)
    trace = capture(model, Inputs.of(inputs))
    AutoSubnet(model, inputs).random_set_zero_groups(0.5, seed=seed)
    unjudged = check_sound(trace).unjudged
    made = any(step.op == "behind_where" for step in plan.steps)  # it has the logarithm of what is negative
    assert made or not unjudged, "valid groups at zero make NaN"
    scatter(model, seed)
    check_sound(trace)


@pytest.mark.parametrize("specimen", SPECIMENS, ids=[each.name.replace(" ", "-") for each in SPECIMENS])
def test_specimens(specimen: Any) -> None:
    model, inputs = prepared_specimen(specimen)
    trace = capture(model, Inputs.of(inputs))
    zero(model, specimen.zeros)
    if len(trace.graph.nodes) > 1000:
        check_sound(trace, draws=2, gradients=1)
        return
    check_sound(trace)
    scatter(model, len(specimen.name))
    check_sound(trace)


class Net(nn.Module):
    """A convolution ``a`` on the input, what comes of it, and a convolution ``b`` beside it."""

    def __init__(self, body: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.a, self.b = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


def traced(body: Callable[..., Any], *zeros: str, **parts: nn.Module) -> Trace:
    x = torch.randn(IMAGE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    model = settled(Net(body, **parts), x)
    zero(model, zeros)
    return capture(model, Inputs.of(x))


def zeros_of_last(verdict: Verdict) -> np.ndarray:
    return list(verdict.zero.values())[-1][0]


def share(trace: Trace) -> float:
    return float(zeros_of_last(judge(trace)).mean())


def test_a_zero_is_seen_through_what_keeps_it() -> None:
    assert share(traced(lambda m, x: m.a(x).relu(), "a")) == 1
    assert share(traced(lambda m, x: m.a(x).relu())) == 0
    assert share(traced(lambda m, x: m.a(x).sigmoid(), "a")) == 0
    assert share(traced(lambda m, x: torch.cat([m.a(x), m.b(x)], 1), "b")) == 0.5


def test_channels_are_told_apart() -> None:
    trace = traced(lambda m, x: m.a(x))
    with torch.no_grad():
        for parameter in trace.model.a.parameters():
            parameter[2] = 0
    assert zeros_of_last(judge(trace)).all((0, 2, 3)).tolist() == [False, False, True, False]


def test_running_statistics_are_no_zeros() -> None:
    """Not even where training has not begun."""
    trace = traced(lambda m, x: m.norm(m.a(x)), "a", "norm.bias", norm=nn.BatchNorm2d(4))
    trace.model.norm.running_mean.zero_()
    assert share(trace) == 0


def test_memory_as_it_was_found_is_no_zero() -> None:
    assert share(traced(lambda m, x: torch.empty_like(x))) == 0


def test_both_modes_must_agree() -> None:
    for zeros, expected in (("a", False), ("b", False), ("a b", True)):
        trace = traced(lambda m, x: (m.a(x) if m.training else m.b(x)).relu(), *zeros.split())
        assert judge(trace).zero["relu"][0].all() == expected


def test_a_value_that_is_zero_but_has_a_gradient_is_no_zero() -> None:
    trace = traced(lambda m, x: x - x.detach())
    assert zeros_of_last(judge(trace, gradients=0)).all()
    verdict = judge(trace, gradients=1)
    assert not zeros_of_last(verdict).any()
    assert verdict.accidents == 2 * np.prod(IMAGE)


def test_gradients_of_zero_parameters_do_not_count() -> None:
    trace = traced(lambda m, x: m.a(x) * m.b(x), "b")
    assert judge(trace).accidents == 0
    assert share(trace) == 1


def test_an_activation_that_is_off_at_usual_inputs_is_no_zero() -> None:
    """No gradient shows it, but large inputs do."""
    trace = traced(lambda m, x: (x - 100).relu())
    assert zeros_of_last(judge(trace, draws=2, gradients=0)).all()
    assert share(trace) < 1


def test_no_verdict_on_what_is_computed_from_nan() -> None:
    verdict = judge(traced(lambda m, x: (m.a(x) / m.b(x)).isnan() * x, "a", "b"))
    assert verdict.unjudged == ["div", "isnan", "mul"]
    assert not verdict.refutes(dict.fromkeys(verdict.zero, np.zeros((1,) * 4, dtype=bool)))


def test_a_mask_of_minus_infinity_is_judged() -> None:
    trace = traced(lambda m, x: m.a(x).masked_fill(x > 0, -torch.inf).softmax(1) * m.b(x), "b")
    verdict = judge(trace)
    assert not verdict.unjudged
    assert zeros_of_last(verdict).all()


def passes_input(rule: Any, call: Any, zeros: Any) -> Any:
    return zeros(call.input)


def zero_where_either_is(rule: Any, call: Any, zeros: Any) -> Any:
    return zeros(call.operands[0]) | zeros(call.operands[1])


WRONG = [
    (LosesZero, passes_input, traced(lambda m, x: m.a(x).sigmoid(), "a")),
    (Softmax, passes_input, traced(lambda m, x: m.a(x).softmax(1), "a")),
    (BatchNorm, passes_input, traced(lambda m, x: m.norm(m.a(x)), "a", "norm.bias", norm=nn.BatchNorm2d(4))),
    (GroupNorm, passes_input, traced(lambda m, x: m.norm(m.a(x)), "a", norm=nn.GroupNorm(2, 4))),
    (Sum, zero_where_either_is, traced(lambda m, x: m.a(x) + m.b(x), "a")),
    (Sum, lambda rule, call, zeros: known(call, True), traced(lambda m, x: x - x.detach())),
    (KeepsZero, lambda rule, call, zeros: known(call, True), traced(lambda m, x: m.a(x).relu())),
]


@pytest.mark.parametrize(("rule", "zeros", "trace"), WRONG)
def test_a_wrong_rule_is_caught(monkeypatch: pytest.MonkeyPatch, rule: Any, zeros: Any, trace: Trace) -> None:
    assert not judge(trace).refutes(claims_of(trace))
    monkeypatch.setattr(rule, "zeros", zeros)
    assert judge(trace).refutes(claims_of(trace))
