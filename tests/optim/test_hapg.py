"""HAPG and AdamHAPG against their equations, at what derive() writes, and at what they refuse."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from autosubnet.errors import AutoSubnetWarning, GroupError, InputError, NonFiniteError
from autosubnet.graph.groups import ParameterSlice
from autosubnet.optim import HAPG, AdamHAPG

from .nodes import GROUPS, Nodes, Transcript, train
from .toy import cut, entries, group, whole

BOTH: list[tuple[type[HAPG], dict[str, Any]]] = [
    (HAPG, {"lr": 0.02}),
    (AdamHAPG, {"lr": 0.02, "betas": (0.5, 0.999)}),
]


@pytest.mark.parametrize(("kind", "options"), BOTH)
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_equations(kind: type[HAPG], options: dict[str, Any], alpha: float) -> None:
    model = Nodes()
    options = {**options, "lam": 0.3, "alpha": alpha}
    optimizer = kind(model, GROUPS, params=model.parameters(), **options)
    transcript = Transcript(model, GROUPS, **options)
    named = dict(model.named_parameters())
    zeros = 0
    for step in range(100):
        optimizer.zero_grad()
        model.loss(step).backward()
        transcript.step(model)
        optimizer.step()
        assert transcript.difference(named, transcript.a) <= 1e-12
        for key, values in (("prox", transcript.x), ("v", transcript.v)):
            assert transcript.difference({n: optimizer.state[p][key] for n, p in named.items()}, values) <= 1e-12
        zeros += sum(v == 0 for v in transcript.x.values())
    assert zeros > 20


@pytest.mark.parametrize(("kind", "options"), BOTH)
def test_only_the_groups_parameters_are_trained_by_default(kind: type[HAPG], options: dict[str, Any]) -> None:
    model = Nodes()
    before = model.bias.detach().clone()
    optimizer = kind(model, GROUPS, **options)
    train(model, optimizer, range(5))
    assert all(map(torch.equal, optimizer.param_groups[0]["params"], (model.edges, model.first, model.second)))
    assert torch.equal(model.bias, before)
    assert optimizer.groups == GROUPS


def test_parameters_without_a_gradient() -> None:
    model = Nodes()
    optimizer = HAPG(model, GROUPS, params=model.parameters(), lr=0.1, lam=1.0, alpha=1.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer.step()
    assert torch.equal(model.bias, before["bias"])
    shrunk = before["first"].sign() * (before["first"].abs() - 0.1).clamp(min=0)
    torch.testing.assert_close(model.first, nn.Parameter(shrunk), rtol=0, atol=1e-15)
    assert torch.equal(model.edges[5], before["edges"][5])


@pytest.mark.parametrize(("kind", "options"), BOTH)
def test_derive_writes_the_zeros_that_momentum_hides(kind: type[HAPG], options: dict[str, Any]) -> None:
    model = Nodes()
    optimizer = kind(model, GROUPS, **options, lam=0.4)
    assert optimizer.derive() == ()
    hidden = 0
    for step in range(40):
        train(model, optimizer, range(step, step + 1))
        proximal = optimizer.state[model.edges]["prox"]
        hidden += int(((proximal == 0) & (model.edges != 0)).sum())
    assert hidden
    zero = optimizer.derive()
    state = optimizer.state[model.edges]
    assert torch.equal(model.edges, state["prox"])
    assert (model.edges == 0).any()
    assert not state["v"].any()
    for each in GROUPS:
        masks = entries(model, [each])
        assert (each.name in zero) == all(not model.get_parameter(n).detach()[m].any() for n, m in masks.items())
    after = [p.detach().clone() for p in model.parameters()]
    assert optimizer.derive() == zero
    assert all(map(torch.equal, after, model.parameters()))


CHAIN = {
    "a": [cut("edges", 0, 2, 3, 4), ParameterSlice("first")],  # all of b
    "b": [ParameterSlice("second")],  # all of c
}


def test_derive_zeroes_what_leaves_zero_nodes() -> None:
    model = Nodes()
    optimizer = HAPG(model, GROUPS, lr=0.02, lam=0.1)
    train(model, optimizer, range(5))
    assert optimizer.derive(CHAIN) == ()
    with torch.no_grad():
        for tensor in (model.edges, optimizer.state[model.edges]["prox"], optimizer.state[model.edges]["v"]):
            tensor[:2] = 0
    assert optimizer.derive() == ("a",)
    assert model.first.all()
    assert optimizer.derive(CHAIN) == ("a", "b", "c")
    assert not model.edges[:5].any()
    assert model.edges[5].all()
    assert not model.first.any()
    assert not model.second.any()
    assert optimizer.derive() == ("a", "b", "c")


@pytest.mark.parametrize(
    ("outgoing", "message"),
    [
        ({"x": []}, "outgoing names a group 'x' that does not exist"),
        ({"a": [ParameterSlice("nobody")]}, "group 'a' holds 'nobody', which is no parameter"),
        ({"a": [cut("edges", 0, 6)]}, "at indices that it does not have"),
        ({"a": [ParameterSlice("bias")]}, "holds 'bias', which this optimizer does not train"),
    ],
)
def test_outgoing_weights_that_do_not_exist(outgoing: Any, message: str) -> None:
    model = Nodes()
    optimizer = HAPG(model, GROUPS)
    train(model, optimizer, range(3))
    with unchanged(model, optimizer), pytest.raises(GroupError, match=message):
        optimizer.derive(outgoing)


@contextmanager
def unchanged(model: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    before = [p.detach().clone() for p in model.parameters()], str(optimizer.state_dict())
    yield
    assert all(p.equal(q) for p, q in zip(before[0], model.parameters(), strict=True))
    assert str(optimizer.state_dict()) == before[1]


@pytest.mark.parametrize(("kind", "options"), BOTH)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nothing_changes_where_something_is_not_finite(kind: type[HAPG], options: dict[str, Any], bad: float) -> None:
    model = Nodes()
    optimizer = kind(model, GROUPS, params=model.parameters(), **options)
    train(model, optimizer, range(3))
    model.loss(3).backward()
    assert model.bias.grad is not None
    model.bias.grad[0] = bad
    with unchanged(model, optimizer), pytest.raises(NonFiniteError, match="the gradient of parameter 'bias' is NaN"):
        optimizer.step()
    model.bias.grad.zero_()
    model.first.data[0] = -math.inf
    with pytest.raises(NonFiniteError, match="the weight of parameter 'first' is NaN"):
        optimizer.step()
    assert model.bias.isfinite().all()


@pytest.mark.parametrize(("kind", "options"), BOTH)
@pytest.mark.parametrize("name", ["lr", "lam"])
def test_options_that_are_set_later_are_checked_too(kind: type[HAPG], options: dict[str, Any], name: str) -> None:
    model = Nodes()
    optimizer = kind(model, GROUPS, **options)
    train(model, optimizer, range(2))
    optimizer.param_groups[0][name] = math.inf
    model.loss(2).backward()
    with unchanged(model, optimizer), pytest.raises(InputError, match=f"{name} is inf"):
        optimizer.step()


def frozen(model: Nodes) -> Nodes:
    model.first.requires_grad_(False)
    return model


def as_integers(model: Nodes) -> Nodes:
    model.second = nn.Parameter(torch.ones(1, dtype=torch.long), requires_grad=False)
    return model


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda m: HAPG(m, [group("g", *whole("nobody"))]), GroupError, "'nobody', which is no parameter of the model"),
        (lambda m: HAPG(m, [group("g", cut("edges", 2, 0))]), GroupError, "at indices that it does not have"),
        (lambda m: HAPG(m, [GROUPS[0], group("a", *whole("first"))]), GroupError, "two groups have one name"),
        (lambda m: HAPG(m, [group("g")]), GroupError, "group 'g' has no entries"),
        (lambda m: HAPG(m, [*GROUPS, group("d", cut("edges", 1, 0))]), GroupError, "'b' and 'd' share an entry"),
        (lambda m: HAPG(frozen(m), GROUPS), GroupError, "parameter 'first' belongs to a group, but .* is frozen"),
        (lambda m: HAPG(as_integers(m), GROUPS), GroupError, "parameter 'second' .* is not floating point"),
        (lambda m: HAPG(m, []), InputError, "there are no groups"),
        (lambda m: HAPG(m, GROUPS, params=[m.edges, m.first]), InputError, "'second' belongs to a group but is not in"),
        (lambda m: HAPG(m, GROUPS, params=[m.edges, m.second]), InputError, "group 'b' has parameters in two of"),
        (lambda m: HAPG(m, GROUPS, params=[1.0]), InputError, "params do not fit"),
        (lambda m: HAPG(m, GROUPS, lr=-1.0), InputError, "lr is -1.0"),
        (lambda m: HAPG(m, GROUPS, lr=math.nan), InputError, "lr is nan"),
        (lambda m: HAPG(m, GROUPS, lam=-1.0), InputError, "lam is -1.0"),
        (lambda m: HAPG(m, GROUPS, lr=math.inf), InputError, "lr is inf"),
        (lambda m: HAPG(m, GROUPS, lam=math.inf), InputError, "lam is inf"),
        (lambda m: AdamHAPG(m, GROUPS, eps=math.inf), InputError, "eps is inf"),
        (lambda m: HAPG(m, GROUPS, alpha=1.5), InputError, "alpha is 1.5"),
        (lambda m: AdamHAPG(m, GROUPS, betas=(0.5, 1.0)), InputError, r"betas is \(0.5, 1.0\)"),
        (lambda m: AdamHAPG(m, GROUPS, eps=0.0), InputError, "eps is 0.0"),
        (lambda m: AdamHAPG(m, GROUPS, metric="mean"), InputError, "metric is 'mean'"),
        (lambda m: AdamHAPG(m, GROUPS, betas=(0.9, 0.999)), AutoSubnetWarning, "long runs diverge"),
    ],
)
def test_refusals(make: Callable[[Nodes], HAPG], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(Nodes())


def test_single_precision_and_several_types() -> None:
    model = Nodes()
    model.first.data = model.first.data.float()
    model.second.data = model.second.data.bfloat16()
    optimizer = AdamHAPG(model, GROUPS, lr=0.02, lam=0.3, metric="diagonal")
    for _ in range(300):
        optimizer.zero_grad()
        sum((p.double() - 3).square().sum() for p in model.parameters()).backward()
        optimizer.step()
    assert [p.dtype for p in model.parameters()] == [torch.float64, torch.float32, torch.bfloat16, torch.float64]
    for p, close in ((model.edges[:5], 0.1), (model.first, 0.1), (model.second, 0.5)):
        # Where all entries of a group are x: 2 (x - 3) + lam * alpha + lam * (1 - alpha) * sqrt(n) / sqrt(n) = 0.
        assert (p - 2.85).abs().max() < close


HALVES = (torch.float16, torch.bfloat16)


def small_gradients(model: nn.Module, step: int) -> None:
    """Some are zero, and the squares of the others are nothing in half precision."""
    for p in model.parameters():
        sizes = torch.linspace(-1, 1, p.numel()).view_as(p) + 0.1 * math.sin(step)
        p.grad = (1e-4 * sizes * (sizes.abs() > 0.5)).to(p.dtype)


@pytest.mark.parametrize(("kind", "options"), [*BOTH, (AdamHAPG, {"lr": 0.02, "metric": "diagonal"})])
@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_is_stepped_in_single(kind: type[HAPG], options: dict[str, Any], dtype: torch.dtype) -> None:
    """As single precision, but for the rounding of the weights; and resumed bit for bit."""
    half, single = Nodes().to(dtype), Nodes().to(dtype).float()
    optimizers = [kind(model, GROUPS, **options, lam=1e-4, warmup_steps=3) for model in (half, single)]
    other = Nodes().to(dtype)
    resumed = kind(other, GROUPS)
    for step in range(20):
        if step == 11:
            other.load_state_dict(half.state_dict())
            resumed.load_state_dict(optimizers[0].state_dict())
        for model, optimizer in zip((half, single, other), (*optimizers, resumed), strict=True):
            if model is not other or step >= 11:
                small_gradients(model, step)
                optimizer.step()
    assert all(map(torch.equal, half.parameters(), other.parameters()))
    assert {value.dtype for value in optimizers[0].proximal().values()} == {dtype}
    assert optimizers[0].derive() == resumed.derive() == optimizers[1].derive()
    for p, q in zip(half.parameters(), single.parameters(), strict=True):
        assert p.dtype == dtype
        assert torch.allclose(p.float(), q, rtol=0, atol=20 * 2 * torch.finfo(dtype).eps)


def test_weights_of_another_type_in_the_place_of_the_old() -> None:
    model = Nodes().float()
    optimizer = AdamHAPG(model, GROUPS, lr=0.02, lam=1e-4)
    for step, dtype in enumerate((torch.float32, torch.float16, torch.bfloat16, torch.float32)):
        model.load_state_dict({name: p.to(dtype) for name, p in model.state_dict().items()}, assign=True)
        small_gradients(model, step)
        optimizer.step()
        state = {key: value for key, value in optimizer.state[model.edges].items() if key != "step"}
        assert {value.dtype for value in state.values()} == {torch.float32}
        assert model.edges.isfinite().all()
