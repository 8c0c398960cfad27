"""Random operations: what draws in eval mode stays, what draws in train mode alone is noted where it goes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from probes import redraw
from torch import Tensor, nn

import autosubnet
from autosubnet import AutoSubnet, remove_zeros
from autosubnet.errors import CaptureError

from .checks import example, left, report_of, same, settled, shrink, zero


class Net(nn.Module):
    """A branch through ``drop`` beside a plain one, and dropout behind their sum."""

    def __init__(self, drop: Callable[[Any, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.drop = drop
        self.a, self.b, self.c, self.head = (nn.Linear(6, 6) for _ in range(4))
        self.last = nn.Dropout(0.3)
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x) + self.c(self.drop(self, self.b(x)))
        return self.head(self.last(y))


class Opaque(nn.Module):
    """Cannot be followed, and draws in train mode."""

    def forward(self, x: Tensor) -> Tensor:
        scale = 1.0 + torch.rand(()).item() if self.training else 1.0
        return Scale.apply(x, scale)


class Scale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x * scale

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.scale, None


IN_TRAINING: dict[str, Callable[[], Net]] = {
    "Dropout": lambda: Net(lambda m, x: m.d(x), d=nn.Dropout(0.3)),
    "AlphaDropout": lambda: Net(lambda m, x: m.d(x), d=nn.AlphaDropout(0.3)),
    "FeatureAlphaDropout": lambda: Net(lambda m, x: m.d(x), d=nn.FeatureAlphaDropout(0.3)),
    "LSTM": lambda: Net(lambda m, x: m.d(x)[0], d=nn.LSTM(6, 6, 2, dropout=0.3, batch_first=True)),
    "gumbel_softmax": lambda: Net(lambda m, x: F.gumbel_softmax(x, dim=-1) if m.training else x.softmax(-1)),
    "an opaque module": lambda: Net(lambda m, x: m.d(x), d=Opaque()),
}
ALWAYS: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "dropout": lambda m, x: F.dropout(x, 0.2),
    "noise": lambda m, x: x + torch.randn_like(x),
    "a product with noise": lambda m, x: x * torch.rand_like(x),
    "noise that nobody reads": lambda m, x: (torch.randn(3), x)[1],
    "bernoulli": lambda m, x: x * torch.bernoulli(torch.full_like(x, 0.5)),
    "bernoulli in place": lambda m, x: x * torch.empty_like(x).bernoulli_(0.5),
    "noise in place": lambda m, x: x * x.new_zeros(x.shape).normal_(),
}


@pytest.mark.parametrize("name", IN_TRAINING)
def test_a_random_operation_that_goes_is_noted(name: str) -> None:
    x = example(3, 5, 6)
    model = settled(IN_TRAINING[name](), x)
    subnet = shrink(model, (x,), "c", train=False)
    assert "c" not in left(subnet)
    assert any("random operation" in note for note in report_of(subnet).training_notes)
    stays = shrink(settled(IN_TRAINING[name](), x), (x,))
    assert report_of(stays).training_notes == ()


@pytest.mark.parametrize("name", ALWAYS)
@pytest.mark.parametrize("gone", ["", "b", "c", "b c"])
def test_what_draws_in_eval_mode_stays(name: str, gone: str) -> None:
    """Without it, later draws were others."""
    x = example(4, 6)
    model = settled(Net(lambda m, y: F.dropout(ALWAYS[name](m, y), 0.2)), x)
    # Where c alone goes, b lives on for the draws only: without a gradient, where the original's is zero and decays.
    subnet = shrink(model, (x,), *gone.split(), train=gone != "c")
    torch.manual_seed(5)
    expected = [model.eval()(x), torch.rand(3)]
    torch.manual_seed(5)
    got = [subnet.eval()(x), torch.rand(3)]
    for a, b in zip(expected, got, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_the_order_of_draws_that_one_mode_has_alone() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = (nn.Linear(6, 6) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                r, y = torch.rand_like(x), self.a(x)
            else:
                y = self.a(x)
                y, r = y + torch.randn_like(x), torch.rand_like(x)
            return self.head(y * r + self.b(x))

    x = example(4, 6)
    model = settled(Net(), x)
    subnet = remove_zeros(model, x)
    same(model, subnet, redraw((x,), 5, 1))


@pytest.mark.parametrize("source", ["random", "numpy"])
def test_a_branch_by_a_random_number_is_reported(source: str) -> None:
    def draw() -> Any:
        return {"random": random.random, "numpy": np.random.rand}[source]()

    class LayerDrop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            for layer in self.layers:
                if not (self.training and bool(draw() < 0.5)):
                    x = x + layer(x)
            return x

    before = random.getstate(), np.random.get_state()[1].tolist()
    oto = AutoSubnet(LayerDrop(), torch.randn(3, 6))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    what = "random numbers of Python or numpy"
    assert any(what in note for note in oto.notes)


def test_a_number_that_is_infinite_in_one_mode_only() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            y = y.masked_fill(y > 1.5, float("inf") if self.training else 0.0)
            return self.head(y.sigmoid())

    x = example(8, 6) * 3
    model = settled(Masked(), x)
    subnet = remove_zeros(model, x)
    same(model, subnet, (x,))
    assert subnet(x).isfinite().all()


def test_a_learned_query_without_a_batch() -> None:
    class Pool(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query = nn.Parameter(torch.randn(1, 1, 2, 6))
            self.k, self.v, self.c = (nn.Linear(6, 6) for _ in range(3))
            self.head = nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            k, v = self.k(x)[:, None], self.v(x)[:, None]
            pooled = F.scaled_dot_product_attention(self.query, k, v)
            return self.head(torch.cat([pooled[:, 0].mean(1), self.c(x).mean(1)], -1))

    x = example(3, 5, 6)
    for gone in ("v", "k", "c"):
        shrink(settled(Pool(), x), (x,), gone)


def test_nothing_but_numbers() -> None:
    x = example(3, 6)
    assert torch.equal(remove_zeros(nn.ReLU(), x)(x), x.relu())
    model = settled(nn.Sequential(nn.Linear(6, 6), nn.Tanh()), x)
    zero(model, ["0"])
    with pytest.warns(autosubnet.errors.AutoSubnetWarning):
        empty = remove_zeros(model, x)
    assert not list(empty.parameters())
    assert torch.equal(remove_zeros(empty, x)(x), torch.zeros(3, 6, dtype=torch.float64))


def test_a_factor_of_a_sum_that_is_a_size() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            return torch.add(self.a(x), self.b(x), alpha=x.shape[1])

    x = example(3, 4, 6)
    for gone in ("a", "b"):
        shrink(settled(Net(), x), (x,), gone, sizes=(example(3, 7, 6),))


def test_code_that_lost_its_reader_in_one_mode_leaves_no_parameters() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            if self.training:
                F.dropout(self.a(x), 0.5) * 0
            return self.b(x) + self.c(x)

    x = example(4, 6)
    shrink(settled(Net(), x), (x,), "c", train=False)


def test_a_batch_that_is_iterated_is_refused() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([row.tanh() for row in x])

    with pytest.raises(CaptureError, match="on other inputs"):
        AutoSubnet(Net(), example(3, 6))
