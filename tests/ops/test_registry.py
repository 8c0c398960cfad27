"""Which rule an operator has, and which modules are one vertex."""

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.nn.utils import parametrizations

from autosubnet import AutoSubnet, remove_zeros
from autosubnet.errors import RuleError
from autosubnet.ops import Rule, register_rule, registry
from autosubnet.ops.call import Call
from autosubnet.ops.effects import must_stay
from autosubnet.ops.elementwise import KeepsZero
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask
from autosubnet.ops.registry import is_leaf, rule_of
from autosubnet.ops.rule import Tie, ZerosOf


@pytest.fixture(autouse=True)
def own_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_modules", "_functions", "_methods"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))


class Doubling(nn.Module):
    """A module of the user's own, with a weight and code that a trace would look into."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight * 2


class DoublingRule(Rule):
    kind = Kind.ACCESSORY

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        return zeros(call.input) | zeros(call.tensors["weight"])


class Summed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.twice = nn.Linear(4, 4), nn.Linear(4, 4), Doubling()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(x) + self.twice(self.b(x))


def node(op: str, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
    graph = fx.Graph()
    x = graph.placeholder("x")
    return graph.create_node(op, target, (x, *args), kwargs)


def test_a_rule_is_found_by_module_function_and_method() -> None:
    relu = registry._functions[F.relu]
    assert rule_of(node("call_function", F.relu), None) is relu
    assert rule_of(node("call_method", "relu"), None) is relu
    assert rule_of(node("call_module", "act"), nn.ReLU()) is relu


def test_what_is_not_known_claims_nothing() -> None:
    for each in (node("call_function", torch.fft.fft), node("call_method", "fmod_"), node("call_function", print)):
        rule = rule_of(each, None)
        assert rule.kind is Kind.UNKNOWN
        assert tuple(rule.ties(Call(each, None, {}))) == ()


def test_a_subclass_does_not_inherit_the_rule() -> None:
    class Shifted(nn.ReLU):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input) + 1

    assert rule_of(node("call_module", "act"), Shifted()).kind is Kind.UNKNOWN
    assert not is_leaf(Shifted())


def test_a_rule_for_a_module_of_the_users_own_makes_it_a_leaf() -> None:
    assert not is_leaf(Doubling())
    register_rule(DoublingRule(), modules=[Doubling])
    assert is_leaf(Doubling())
    assert rule_of(node("call_module", "double"), Doubling()).kind is Kind.ACCESSORY


def test_a_rule_by_qualified_name() -> None:
    register_rule(DoublingRule(), modules=[f"{Doubling.__module__}.{Doubling.__qualname__}"])
    assert is_leaf(Doubling())


def test_the_users_rule_takes_part() -> None:
    register_rule(DoublingRule(), modules=[Doubling])

    torch.manual_seed(0)
    model = Summed().double()
    x = torch.randn(3, 4, dtype=torch.float64)
    oto = AutoSubnet(model, x)
    assert oto.graph.vertex["twice"].kind is Kind.ACCESSORY
    with torch.no_grad():
        model.twice.weight.zero_()
    subnet = remove_zeros(model, x)
    assert {name for name, _ in subnet.named_parameters()} == {"a.weight", "a.bias"}
    assert torch.equal(subnet(x), model(x))


def test_the_users_rule_for_functions_and_methods() -> None:
    register_rule(KeepsZero(), functions=[torch.special.bessel_j1], methods=["bessel_j1"])
    function = rule_of(node("call_function", torch.special.bessel_j1), None)
    assert function.kind is Kind.ACCESSORY
    assert rule_of(node("call_method", "bessel_j1"), None) is function


class TooWide(DoublingRule):
    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        return np.ones((1, 5), dtype=bool)


class NoMask(DoublingRule):
    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        return True  # type: ignore[return-value]  # what a beginner writes


class NoSuchWeight(DoublingRule):
    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        return zeros(call.tensors["scale"])


class BadTies(DoublingRule):
    def ties(self, call: Call) -> Iterator[Tie]:
        raise IndexError("list index out of range")
        yield


WRONG = {
    TooWide: r"TooWide\.zeros\(\) of 'twice' returns no mask that broadcasts to its output of shape \(3, 4\)",
    NoMask: r"NoMask\.zeros\(\) of 'twice' returns no mask",
    NoSuchWeight: r"NoSuchWeight\.zeros\(\) of 'twice' raises KeyError: 'scale'",
    BadTies: r"BadTies\.ties\(\) of 'twice' raises IndexError: list index out of range",
}


@pytest.mark.parametrize("rule", WRONG)
def test_a_wrong_rule_is_named(rule: type[Rule]) -> None:
    register_rule(rule(), modules=[Doubling])
    model = Summed()
    with torch.no_grad():
        model.twice.weight[0] = 0.0
    with pytest.raises(RuleError, match=WRONG[rule]):
        remove_zeros(model, torch.randn(3, 4))


LEAVES = [nn.Linear(2, 2), nn.ReLU(), nn.LSTM(2, 2), nn.MultiheadAttention(4, 2), nn.Bilinear(2, 2, 2)]


@pytest.mark.parametrize("module", LEAVES, ids=lambda each: type(each).__name__)
def test_leaves(module: nn.Module) -> None:
    assert is_leaf(module)


def hooked() -> nn.Module:
    module = nn.Linear(2, 2)
    module.register_forward_hook(lambda *_: None)
    return module


def hooked_before() -> nn.Module:
    module = nn.Linear(2, 2)
    module.register_forward_pre_hook(lambda *_: None)
    return module


def with_a_forward_of_its_own() -> nn.Module:
    module = nn.Linear(2, 2)
    module.forward = lambda x: x
    return module


NOT_LEAVES = {
    "hook": hooked,
    "pre-hook": hooked_before,
    "own forward": with_a_forward_of_its_own,
    "parametrized": lambda: parametrizations.weight_norm(nn.Linear(2, 2)),
    "container": lambda: nn.Sequential(nn.Linear(2, 2)),
    "transformer": lambda: nn.TransformerEncoderLayer(4, 2),
    "own class": Doubling,
}


@pytest.mark.parametrize("name", NOT_LEAVES)
def test_no_leaves(name: str) -> None:
    assert not is_leaf(NOT_LEAVES[name]())


STAYS: list[tuple[fx.Node, nn.Module | None, bool]] = [
    (node("call_module", "m"), nn.Dropout(0.5), True),
    (node("call_module", "m"), nn.Dropout(0.0), False),
    (node("call_module", "m"), nn.BatchNorm1d(4), True),
    (node("call_module", "m"), nn.BatchNorm1d(4, track_running_stats=False), False),
    (node("call_module", "m"), nn.ReLU(), False),
    (node("call_module", "m"), nn.RReLU(), True),
    (node("call_function", F.dropout, 0.5), None, True),
    (node("call_function", F.dropout), None, True),
    (node("call_function", F.dropout, p=0.0), None, False),
    (node("call_function", F.rrelu, 0.0, 0.5, True), None, True),
    (node("call_function", torch.rand_like), None, True),
    (node("call_function", operator.add, 1), None, False),
]


@pytest.mark.parametrize(("each", "module", "stays"), STAYS, ids=[str(i) for i, _ in enumerate(STAYS)])
def test_what_stays_though_nobody_reads_it(each: fx.Node, module: nn.Module | None, stays: bool) -> None:
    assert must_stay(each, module) is stays
