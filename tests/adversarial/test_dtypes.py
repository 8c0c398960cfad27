"""Models of every dtype and of several, complex numbers, integers and autocast."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from subnet.checks import left, zero
from torch import Tensor, fx, nn

import autosubnet
from autosubnet.errors import CaptureError, VerificationError

from .making import equal, example, network, without
from .specimen import ROWS, TOKENS

EVERY = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def softmax_in_float32(m: Any, x: Tensor) -> Tensor:
    """Attention as in the models of Hugging Face."""
    weights = F.softmax(m.a(x) @ x.mT, dim=-1, dtype=torch.float32).to(x.dtype)
    return x + weights @ (m.b(x) + m.c(x))


def norm_in_float32(m: Any, x: Tensor) -> Tensor:
    """RMSNorm as in Llama."""
    wide = x.to(torch.float32)
    wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)
    return m.a(wide.to(x.dtype)) + m.b(x)


def sigmoid_in_float32(m: Any, x: Tensor) -> Tensor:
    return m.a(x) + m.b(x).float().sigmoid().to(x.dtype)


def concat(m: Any, x: Tensor) -> Tensor:
    return m.mix(torch.cat([m.a(x), m.b(x)], -1))


@pytest.mark.parametrize("dtype", EVERY)
@pytest.mark.parametrize("body", [softmax_in_float32, norm_in_float32, sigmoid_in_float32])
def test_islands_of_another_dtype(body: Any, dtype: torch.dtype) -> None:
    model, x = network(body, dtype), example(*TOKENS, dtype=dtype)
    subnet = without(model, x, "b")
    assert "b" not in left(subnet)
    assert all(torch.equal(p, model.get_parameter(n)) for n, p in subnet.named_parameters())
    equal(model, subnet, x)


@pytest.mark.parametrize("dtype", EVERY)
def test_every_dtype_behind_a_concat(dtype: torch.dtype) -> None:
    model, x = network(concat, dtype, mix=nn.Linear(12, 6)), example(*ROWS, dtype=dtype)
    subnet = without(model, x, "b")
    assert torch.equal(subnet.get_parameter("mix.weight"), model.mix.weight[:, :6])
    equal(model, subnet, x, tolerance=8 * torch.finfo(dtype).eps)


class Island(nn.Module):
    """A wide float32 network within a float64 model."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.a, self.b, self.mix = nn.Linear(6, width), nn.Linear(6, width), nn.Linear(2 * width, width)
        self.head = nn.Linear(width, 3).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(torch.cat([self.b(x.float()), self.a(x.float())], 1)).double())


def test_an_island_rounds_as_its_own_dtype_does() -> None:
    torch.manual_seed(0)
    model, x = Island(1024).eval(), example(200, 6)
    subnet = without(model, x, "b")
    assert left(subnet) == {"a", "mix", "head"}
    equal(model, subnet, x, tolerance=1e-5)


def test_a_model_that_takes_one_dtype_only() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            raise TypeError(f"{x.dtype} instead of torch.float32")
        return m.a(x) + m.b(x)

    model, x = network(body, torch.float32), example(*ROWS, dtype=torch.float32)
    equal(model, without(model, x, "b"), x)


class Words(nn.Module):
    """The only input is integers: a zero takes its sizes from them, and its dtype from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.zero = nn.Embedding(9, 6), nn.Embedding(9, 6)
        self.mix, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.table(ids) + self.mix(self.zero(ids)).tanh())


@pytest.mark.parametrize("dtype", EVERY)
def test_zeros_that_follow_integers(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model, ids = Words().to(dtype).eval(), torch.arange(12).reshape(3, 4) % 9
    subnet = without(model, ids, "zero")
    assert "zero" not in left(subnet)
    equal(model, subnet, ids)
    equal(model, subnet, ids[:2, :3])


def test_integers_beside_numbers_do_not_blunt_the_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "c", 1.01)
    for body in (lambda m, x: (x.argmax(1), m.a(x) + m.b(x)), lambda m, x: (m.a(x) + m.b(x), x.argmax(1))):
        model = network(lambda m, x: m.a(x) + m.b(x))
        model.forward = lambda x, m=model, body=body: (*body(m, x), m.c(x))
        with pytest.raises(VerificationError, match="differs"):
            without(model, example(*ROWS), "b")


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.complex(self.a(x) + self.b(x), self.c(x)) + torch.complex(x, self.b(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_complex_outputs(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model, x = Complex().to(dtype).eval(), example(*ROWS, dtype=dtype)
    subnet = without(model, x, "b")
    assert left(subnet) == {"a", "c"}
    equal(model, subnet, x)


@pytest.mark.parametrize("name", ["a", "c"])
@pytest.mark.parametrize("factor", [3.0, 1.01])
def test_both_parts_of_complex_outputs_are_verified(name: str, factor: float, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    spoil(monkeypatch, name, factor)
    with pytest.raises(VerificationError, match="differs"):
        without(Complex().double().eval(), example(*ROWS), "b")


def spoil(monkeypatch: pytest.MonkeyPatch, name: str, factor: float) -> None:
    """From now on every constructed network is wrong: the weight of one of its layers is scaled."""
    module = import_module("autosubnet.subnet.construct")
    emit = module.emit

    def spoiled(plan: Any) -> fx.GraphModule:
        subnet: fx.GraphModule = emit(plan)
        subnet.get_parameter(f"{name}.weight").data.mul_(factor)
        return subnet

    monkeypatch.setattr(module, "emit", spoiled)


@pytest.mark.parametrize("captured_within", [False, True])
@pytest.mark.parametrize("name", ["sum", "gate", "norm"])
def test_autocast_around_both(name: str, captured_within: bool) -> None:
    bodies: dict[str, Any] = {
        "sum": lambda m, x: m.a(x) + m.b(x),
        "gate": lambda m, x: m.a(x) * m.b(x).sigmoid(),
        "norm": lambda m, x: (m.a(x) + m.norm(m.b(x))).tanh(),
    }
    model, x = network(bodies[name], torch.float32, norm=nn.LayerNorm(6)), example(*ROWS, dtype=torch.float32)
    zero(model, ["b", "norm"])
    with torch.autocast("cpu", torch.bfloat16, enabled=captured_within):
        subnet = autosubnet.remove_zeros(model, (x,))
    assert not left(subnet) & {"b", "norm"}
    with torch.autocast("cpu", torch.bfloat16):
        equal(model, subnet, x, tolerance=torch.finfo(torch.bfloat16).eps)


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return self.a(x)


def test_autocast_in_a_module_of_its_own() -> None:
    model = network(lambda m, x: m.inner(x).float() + m.b(x), torch.float32, inner=Autocast())
    x = example(*ROWS, dtype=torch.float32)
    subnet = without(model, x, "b")
    assert left(subnet) == {"stem", "inner.a", "head"}
    equal(model, subnet, x)


def test_autocast_in_forward_itself_is_refused_by_name() -> None:
    model = network(lambda m, x: x, torch.float32)
    inner = Autocast()
    with pytest.raises(CaptureError, match="autocast"):
        autosubnet.remove_zeros(inner, (example(*ROWS, dtype=torch.float32),))
    assert not model.training
