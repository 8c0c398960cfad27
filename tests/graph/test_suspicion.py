"""Validity doubts what it cannot look into: written memory, operators without a rule and comparisons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosubnet import AutoSubnet


class Opaque(nn.Module):
    """Numbers of numpy's decide: no graph can follow."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.from_numpy(np.ones(1, dtype=np.float32))


class Gated(nn.Module):
    """A product, one of whose factors is what ``hidden`` makes of a joint; the input may be overwritten."""

    def __init__(
        self, hidden: Callable[[Tensor], Tensor], joint: Callable[[Tensor, Tensor], Tensor] = torch.add
    ) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = (nn.Linear(4, 4) for _ in range(4))
        self.hidden, self.joint = hidden, joint

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.a(x) * self.hidden(self.joint(self.b(x), self.c(x)))[:, :4])


def clamped(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :2].clamp_(-1, 1)
    return x


def clamped_without_gradient(x: Tensor) -> Tensor:
    x = x.clone()
    with torch.no_grad():
        x[:, :2].clamp_(-1, 1)
    return x


def copied_over_ones(x: Tensor) -> Tensor:
    return torch.ones_like(x).copy_(x)


def copied_behind_a_view(x: Tensor) -> Tensor:
    y = torch.ones_like(x)
    view = y[:, :]
    y.copy_(x)
    return view


class Sampled(nn.Module):
    """An operator without a rule that reads what is constant besides."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("grid", torch.zeros(3, 1, 1, 2))

    def forward(self, x: Tensor) -> Tensor:
        return F.grid_sample(x[:, :, None, None].expand(-1, -1, 3, 3), self.grid, align_corners=False)[:, :, 0, 0]


def above_a_threshold(x: Tensor) -> Tensor:
    return (x.abs() > 0.01).to(x.dtype)


HIDDEN = [
    clamped,
    clamped_without_gradient,
    copied_over_ones,
    copied_behind_a_view,
    above_a_threshold,
    Sampled(),
    Opaque(),
]


@pytest.mark.parametrize("hidden", HIDDEN)
def test_zeros_that_cannot_be_followed_end_a_dependence(hidden: Callable[[Tensor], Tensor]) -> None:
    """A product with what zeros were written to, or an operator without a rule or a comparison got, may be zero."""
    oto = AutoSubnet(Gated(hidden), torch.randn(3, 4))
    assert {group.name for group in oto.groups} == {"a", "b", "c"}
    assert oto.is_valid(["b"])
    assert oto.is_valid(["c"])
    assert not oto.is_valid(["b", "c"])


def multiplied(x: Tensor) -> Tensor:
    return torch.cumprod(x, 1)


def half_written(x: Tensor) -> Tensor:
    x = x * 1.0
    x[:, 4:] += 1
    return x


@pytest.mark.parametrize("hidden", [half_written, multiplied, nn.LocalResponseNorm(1).eval(), Opaque()])
def test_a_part_that_is_zero_is_enough_behind_them(hidden: Callable[[Tensor], Tensor]) -> None:
    """The half of a concat that the product reads: behind the operator none knows which it is."""

    def of_three_dims(x: Tensor) -> Tensor:
        return hidden(x[:, :, None])[:, :, 0]

    read = of_three_dims if isinstance(hidden, nn.LocalResponseNorm) else hidden
    oto = AutoSubnet(Gated(read, lambda b, c: torch.cat([b, c], 1)), torch.randn(3, 4))
    assert not oto.is_valid(["b"])


class WritesInput(nn.Module):
    """Its second input is scratch memory."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x: Tensor, scratch: Tensor) -> Tensor:
        scratch.copy_(self.b(x) + self.c(x))
        return self.head(self.a(x) * scratch)


def test_an_input_that_zeros_are_written_to_is_zero() -> None:
    oto = AutoSubnet(WritesInput(), (torch.randn(3, 4), torch.randn(3, 4)))
    assert oto.is_valid(["b"])
    assert oto.is_valid(["c"])
    assert not oto.is_valid(["b", "c"])


def of_its_shape(x: Tensor) -> Tensor:
    y = torch.ones_like(x)
    y[:, :2] = 2.0
    return y


def test_what_only_has_the_shape_of_zeros_is_not_suspect() -> None:
    oto = AutoSubnet(Gated(of_its_shape), torch.randn(3, 4))
    assert oto.is_valid(["b", "c"])


def test_what_was_zero_before_makes_nothing_suspect() -> None:
    """A concat with zeros that are always there goes into an operator without a rule."""
    oto = AutoSubnet(Gated(lambda x: torch.cumprod(torch.cat([x, 0 * x], 1), 1)), torch.randn(3, 4))
    assert oto.is_valid(["b"])
    assert not oto.is_valid(["b", "c"])


class TokenInMemory(nn.Module):
    """A class token learns of the sequence beside it from ``mix`` alone, and is read from memory that is written."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.patches, self.mix, self.head = (nn.Linear(4, 4) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.cat([self.token.expand(x.shape[0], 1, 4), self.patches(x)], 1)
        tokens = (tokens + self.mix(tokens.mean(1, keepdim=True))).clone()
        tokens[:, 1:] *= 2
        return self.head(tokens[:, 0])


def test_a_token_in_written_memory_stays_connected() -> None:
    oto = AutoSubnet(TokenInMemory(), torch.randn(2, 3, 4))
    assert "mix" in {group.name for group in oto.groups}
    assert not oto.is_valid(["mix"])
