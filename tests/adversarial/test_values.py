"""Zeros at birth, signs of zero, the smallest numbers and infinities."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from probes import largest, parameters
from subnet.checks import check, left, settled, zero
from torch import Tensor, nn

import autosubnet
from autosubnet import AutoSubnet
from autosubnet.errors import AutoSubnetWarning, NonFiniteError, VerificationError

from . import values
from .making import equal, example, network, without
from .specimen import IMAGE, ROWS, TOKENS

EVERY = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


# ---------------------------------------------------------------- zero at birth


class Residual(nn.Module):
    """ResNet with ``zero_init_residual``: the last BatchNorm's weight is zero, and its bias always is."""

    born = "norm.weight"
    gone = frozenset({"a", "norm"})

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.head = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.norm(self.a(x)))


class Scaled(nn.Module):
    """LayerScale."""

    born = "gamma"
    gone = frozenset({"", "a"})

    def __init__(self) -> None:
        super().__init__()
        self.a, self.head, self.gamma = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 3, 1), nn.Parameter(torch.ones(6, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.gamma * self.a(x).tanh())


class Adapted(nn.Module):
    """LoRA: the second factor is zero and has a gradient; the first is not zero and has none."""

    born = "up.weight"
    gone = frozenset({"up", "down"})

    def __init__(self) -> None:
        super().__init__()
        self.a, self.down, self.up = nn.Conv2d(6, 3, 1), nn.Conv2d(6, 2, 1, bias=False), nn.Conv2d(2, 3, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + 0.5 * self.up(self.down(x))


def newborn(kind: Any) -> Any:
    model = settled(kind(), example(*IMAGE))
    zero(model, ["norm.bias", "norm.weight"] if kind is Residual else [kind.born])
    return model


BORN = pytest.mark.parametrize("kind", [Residual, Scaled, Adapted])


@BORN
def test_zeros_at_birth_do_not_change_the_groups(kind: Any) -> None:
    born, trained = (AutoSubnet(m, example(*IMAGE)) for m in (newborn(kind), settled(kind(), example(*IMAGE))))
    assert born.groups == trained.groups
    assert born.groups
    assert all(born.is_valid([each]) == trained.is_valid([each]) for each in born.groups)


@BORN
def test_zeros_at_birth_are_compiled_away_while_they_are_zero(kind: Any) -> None:
    x = example(*IMAGE)
    model = newborn(kind)
    subnet = autosubnet.remove_zeros(model, (x,))
    assert not left(subnet) & kind.gone
    check(model, subnet, (x,))


@BORN
def test_zeros_at_birth_that_were_trained_stay(kind: Any) -> None:
    """Zero but live: the first step of training makes them something else, and nothing of that is lost."""
    x = example(*IMAGE)
    model = newborn(kind)
    model(x).square().sum().backward()
    gradient = model.get_parameter(kind.born).grad
    assert gradient is not None
    assert gradient.all()
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    model.zero_grad()
    subnet = autosubnet.remove_zeros(model, (x,))
    assert left(subnet) >= kind.gone
    check(model, subnet, (x,))


def test_a_head_that_is_zero_at_birth() -> None:
    x = example(*ROWS)
    model = settled(network(lambda m, x: m.a(x) + m.b(x)), x)
    groups = AutoSubnet(model, x).groups
    zero(model, ["head"])
    oto = AutoSubnet(model, x)
    assert oto.groups == groups
    with pytest.warns(AutoSubnetWarning, match="head"):
        subnet = oto.construct_subnet()
    equal(model, subnet, x)
    with torch.no_grad():
        model.head.weight.add_(1)
    assert left(oto.construct_subnet()) == {"stem", "a", "b", "head"}


# ---------------------------------------------------------------- signs and small numbers


def test_minus_zero_counts_as_zero() -> None:
    model = network(lambda m, x: m.a(x) * m.b(x).cos() + m.c(x))
    for name in ("b", "c"):
        zero(model, [name])
        for parameter in model.get_submodule(name).parameters():
            parameter.data.neg_()
            assert parameter.signbit().all()
    subnet = autosubnet.remove_zeros(model, (example(*ROWS),))
    assert left(subnet) == {"stem", "a", "head"}
    equal(model, subnet, example(*ROWS))


@pytest.mark.parametrize("dtype", EVERY)
def test_the_smallest_number_is_not_zero(dtype: torch.dtype) -> None:
    model = network(lambda m, x: m.a(x) + m.b(x), dtype)
    zero(model, ["b"])
    model.b.weight.data[2, 3] = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    assert model.b.weight.count_nonzero() == 1
    x = example(*ROWS, dtype=dtype)
    subnet = autosubnet.remove_zeros(model, (x,))
    assert left(subnet) == {"stem", "a", "b", "head"}
    assert torch.equal(subnet.get_parameter("b.weight"), model.b.weight)
    equal(model, subnet, x)


@pytest.mark.parametrize(
    "body",
    [
        lambda m, x: torch.atan2(m.b(x) - x.relu(), -x.abs() - 1),
        lambda m, x: torch.atan2(m.b(x) + -x.relu(), -x.abs() - 1),
        lambda m, x: torch.copysign(x, m.b(x) - x.relu()),
    ],
    ids=["atan2 of a difference", "atan2 of a sum", "copysign"],
)
def test_who_asks_for_the_sign_of_zero_gets_no_wrong_answer(body: Any) -> None:
    """0 + -0 is 0, and 0 - 0 is 0, but without the term that is zero both are -0."""
    model, x = network(body), example(*ROWS)
    try:
        subnet = without(model, x, "b")
    except VerificationError as error:
        assert "differs" in str(error)  # noqa: PT017  # a refusal is as good
    else:
        equal(model, subnet, x)


# ---------------------------------------------------------------- infinities


@pytest.mark.parametrize("value", [complex(float("nan"), 0), complex(0, float("inf"))])
def test_a_complex_weight_that_is_no_number_is_refused_by_name(value: complex) -> None:
    model = network(lambda m, x: (m.a(x) * m.turn).real + m.b(x))
    model.turn = nn.Parameter(torch.ones(6, dtype=torch.complex128))
    equal(model, without(model, example(*ROWS), "b"), example(*ROWS))
    model.turn.data[2] = value
    with pytest.raises(NonFiniteError, match="parameter 'turn' holds NaN or infinite values"):
        autosubnet.remove_zeros(model, (example(*ROWS),))


def test_what_is_finite_beside_an_infinite_gate_is_equal() -> None:
    """0 * inf is NaN in the model: nothing is promised of it, but of its neighbours."""
    model = network(lambda m, x: x + m.b(x) * (800 * x).exp())
    subnet, x = without(model, example(*ROWS), "b"), example(40, 6)
    finite = torch.isfinite(model(x))
    assert finite.any()
    assert not finite.all()
    assert torch.isfinite(subnet(x)).all()
    equal(model, subnet, x)


@pytest.mark.parametrize("name", ["a", "b", "c"])
def test_a_row_that_is_masked_out(name: str) -> None:
    """A softmax over nothing but -inf is NaN, with or without the zeros."""

    def body(m: Any, x: Tensor) -> Tensor:
        scores = (m.a(x) @ m.b(x).mT).masked_fill(x[:, :, :1] > 0, values.INFINITE)
        return x + scores.softmax(-1) @ m.c(x)

    model, x = network(body), example(*TOKENS)
    assert 0 < torch.isfinite(model(x)).float().mean() < 1
    equal(model, without(model, x, name), x)


def test_outputs_that_overflow_for_some_inputs() -> None:
    model = network(lambda m, x: m.a(x).mul(900).exp() + m.b(x))
    subnet, x = without(model, example(*ROWS), "b"), example(40, 6)
    assert 0 < torch.isfinite(model(x)).float().mean() < 1
    assert torch.equal(torch.isfinite(model(x)), torch.isfinite(subnet(x)))
    equal(model, subnet, x)


@pytest.mark.parametrize("body", [lambda m, x: x + m.b(x) / m.b(x).abs(), lambda m, x: x + m.b(x) * m.b(x).log()])
def test_a_model_that_returns_nothing_finite_is_refused(body: Any) -> None:
    with pytest.raises(VerificationError, match="no finite number"):
        without(network(body), example(*ROWS), "b")


@pytest.mark.parametrize(
    ("function", "infinite"),
    [
        (torch.sqrt, True),
        (lambda y: y.abs() ** 0.5, True),
        (lambda y: F.lp_pool1d(y[:, None], 2, 2, ceil_mode=True).repeat(1, 1, 2)[:, 0], False),
        (lambda y: y.norm(dim=-1, keepdim=True), False),
        (lambda y: y.std(-1, keepdim=True), False),
        (lambda y: F.normalize(y, dim=-1), False),
    ],
    ids=["sqrt", "a power of one half", "Lp pooling", "norm", "std", "normalize"],
)
def test_gradients_are_equal_where_those_of_the_model_are_finite(function: Any, infinite: bool) -> None:
    """The slope of these at zero is infinite or chosen by convention: the subnet has no NaN where the model has."""
    model, x = network(lambda m, x: m.a(x) + function(m.b(x))), example(*ROWS)
    subnet = without(model, x, "b")
    assert "b" not in left(subnet)
    equal(model, subnet, x)
    for module in (model, subnet):
        module(x).square().sum().backward()
    originals = parameters(model)
    assert infinite == any(not torch.isfinite(originals[n].grad).all() for n, _ in subnet.named_parameters())
    for name, parameter in subnet.named_parameters():
        expected, got = originals[name].grad, parameter.grad
        assert torch.isfinite(got).all()
        finite = torch.isfinite(expected)
        assert largest(expected[finite] - got[finite]) <= 1e-9 * largest(got), name
    assert torch.isfinite(originals["head.weight"].grad).all()
