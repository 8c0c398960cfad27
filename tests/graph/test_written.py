"""Validity counts with the entries of written memory, with zeros made out of nothing, and with choices."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from autosubnet import AutoSubnet
from autosubnet.capture.trace import TensorInfo
from autosubnet.ops.assignment import Assignment

from .test_suspicion import Gated


class Four(nn.Module):
    """Four layers of the same width."""

    def __init__(self, body: Callable[..., Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.c, self.head = (nn.Linear(4, 4) for _ in range(4))
        self.token = nn.Parameter(torch.randn(1, 1, 4))
        self.body = body

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.head(self.body(self, *inputs))


def into_zeros(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[:, :] = x
    return y


def by_halves(x: Tensor) -> Tensor:
    y = torch.ones_like(x)
    y[:, :2] = x[:, :2]
    y[:, 2:] = x[:, 2:]
    return y


def by_rows(x: Tensor) -> Tensor:
    y = x.new_ones(4, x.shape[0])
    for column in range(4):
        y[column] = x[:, column]
    return y.t()


def over_a_half_read_before(x: Tensor) -> Tensor:
    y = x * 2
    half = y[:, 2:] + 0
    y[..., 2:] = half * 3
    return y


class IntoBuffer(nn.Module):
    """A buffer keeps the mean of what it gets, and is read."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kept", torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        self.kept[:] = x.detach().mean(0)
        return self.kept * torch.ones_like(x)


@pytest.mark.parametrize("write", [into_zeros, by_halves, by_rows, over_a_half_read_before, IntoBuffer()])
def test_memory_is_as_dead_as_all_that_is_assigned_to_it(write: Callable[[Tensor], Tensor]) -> None:
    oto = AutoSubnet(Gated(write), torch.randn(3, 4))
    assert {group.name for group in oto.groups} == {"a", "b", "c"}
    assert oto.is_valid(["b"])
    assert oto.is_valid(["c"])
    assert not oto.is_valid(["b", "c"])


def half_of_ones(x: Tensor) -> Tensor:
    y = torch.ones_like(x)
    y[:, :2] = x[:, :2]
    return y


def at_both_ends(m: Any, x: Tensor) -> Tensor:
    """Each mode assigns the two to other places."""
    y = torch.zeros(x.shape[0], 2, 4)
    first, second = m.a(x) * x, m.b(x) * x
    if m.training:
        y[:, 0] = first
        y[:, 1] = second
    else:
        y[:, 1] = first
        y[:, 0] = second
    return y[:, 0] * m.c(x)


@pytest.mark.parametrize("removed", ["a", "b"])
def test_each_mode_has_assignments_of_its_own(removed: str) -> None:
    assert not AutoSubnet(Four(at_both_ends), torch.randn(3, 4)).is_valid([removed])


def strided(m: Any, x: Tensor) -> Tensor:
    """Along a dimension whose size varies."""
    y = x.new_zeros(x.shape[0], 2 * x.shape[1], 4)
    y[:, ::2] = m.a(x) * x
    y[:, 1::2] = m.b(x) * x
    return y[:, ::2] * m.c(x)


def test_steps_along_a_size_that_varies() -> None:
    oto = AutoSubnet(Four(strided), torch.randn(2, 3, 4))
    assert not oto.is_valid(["a"])


def test_what_nothing_is_assigned_to_lives_on() -> None:
    assert AutoSubnet(Gated(half_of_ones), torch.randn(3, 4)).is_valid(["b", "c"])


def sequence(m: Any, x: Tensor) -> Tensor:
    """A class token, and what mixes it with the rest."""
    y = x.new_empty(x.shape[0], x.shape[1] + 1, 4)
    y[:, :1] = m.token
    y[:, 1:] = m.a(x)
    y = y + m.b(y.mean(1, keepdim=True))
    return y[:, 0]


def test_a_token_that_is_assigned_its_place_stays_connected() -> None:
    oto = AutoSubnet(Four(sequence), torch.randn(2, 3, 4))
    assert not oto.is_valid(["b"])


def sequence_with_its_token_last(m: Any, x: Tensor) -> Tensor:
    """The same the other way round: where the token lies varies with the length."""
    y = torch.cat([m.a(x), m.token.expand(x.shape[0], -1, -1)], 1)
    y = y + m.b(y.mean(1, keepdim=True))
    return y[:, -1]


def test_a_token_at_the_end_stays_connected() -> None:
    oto = AutoSubnet(Four(sequence_with_its_token_last), torch.randn(2, 3, 4))
    assert not oto.is_valid(["b"])


def side_by_side(m: Any, x: Tensor, z: Tensor) -> Tensor:
    y = torch.empty(x.shape[0], 8)
    y[:, :4] = m.a(x)
    y[:, 4:] = m.b(z)
    first, second = y.chunk(2, 1)
    return m.c(first) + second


def test_inputs_that_lie_side_by_side_stay_connected() -> None:
    """What is left reads the second half alone, which is the second input's."""
    oto = AutoSubnet(Four(side_by_side), (torch.randn(3, 4), torch.randn(3, 4)))
    assert "c" in {group.name for group in oto.groups}
    assert not oto.is_valid(["c"])


BLANK: dict[str, tuple[Callable[..., Tensor], list[str]]] = {
    "zeros_like": (lambda m, x: torch.where(x > 0, m.b(x), torch.zeros_like(x)) + m.c(x), ["b", "c"]),
    "masked_fill": (lambda m, x: m.b(x).masked_fill(x > 0, torch.tensor(0.0)) + m.c(x), ["b", "c"]),
    "product": (lambda m, x: (w := m.a(x).softmax(1)) * m.b(x) + w * torch.zeros_like(x), ["b"]),
    "full": (lambda m, x: (w := m.a(x).softmax(1)) * m.b(x) + w * torch.full((1, 4), 0), ["b"]),
    "full_like": (lambda m, x: (w := m.a(x).softmax(1)) * m.b(x) + w * torch.full_like(x, 0), ["b"]),
    "new_full": (lambda m, x: (w := m.a(x).softmax(1)) * m.b(x) + w * x.new_full((1, 4), 0.0), ["b"]),
    "new_zeros": (lambda m, x: (w := m.a(x).softmax(1)) * m.b(x) + w * x.new_zeros(1, 4), ["b"]),
    "zeros": (lambda m, x: (w := m.a(x).softmax(1)) * m.b(x) + w * torch.zeros(1, 4), ["b"]),
}


@pytest.mark.parametrize("name", BLANK)
def test_zeros_made_out_of_nothing_connect_nothing(name: str) -> None:
    body, removed = BLANK[name]
    assert not AutoSubnet(Four(body), torch.randn(3, 4)).is_valid(removed)


@pytest.mark.parametrize(
    "made",
    [
        torch.ones_like,
        lambda x: torch.full((1, 4), 2.0),
        lambda x: torch.tensor(0.5),
        lambda x: torch.tensor(data=0.5),
        lambda x: torch.full((1, 4), fill_value=0.5),
    ],
)
def test_what_is_made_and_not_zero_does(made: Callable[[Tensor], Tensor]) -> None:
    body = BLANK["product"][0]
    assert not AutoSubnet(Four(body), torch.randn(3, 4)).is_valid(["b"])
    oto = AutoSubnet(Four(lambda m, x: (w := m.a(x).softmax(1)) * m.b(x) + w * made(x)), torch.randn(3, 4))
    assert oto.is_valid(["b"])


CHOICES: dict[str, tuple[Callable[..., Tensor], list[str]]] = {
    "where": (lambda m, x: torch.where(m.a(x) > 0, m.b(x), m.c(x)), ["a", "c"]),
    "where-a-number": (lambda m, x: torch.where(m.a(x) > 0, m.b(x), 0.0) + m.c(x), ["a", "c"]),
    "masked-fill": (lambda m, x: m.b(x).masked_fill(m.a(x) < 0, 0.0) + m.c(x), ["a", "c"]),
    "product": (lambda m, x: torch.where(m.a(x) > 0, m.b(x), m.c(x)) * x, ["a", "c"]),
}


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_that_nothing_decides_may_be_the_dead_one(name: str) -> None:
    body, removed = CHOICES[name]
    assert not AutoSubnet(Four(body), torch.randn(3, 4)).is_valid(removed)


def test_a_choice_between_the_living_is_none_to_doubt() -> None:
    oto = AutoSubnet(Four(CHOICES["where"][0]), torch.randn(3, 4))
    assert oto.is_valid(["a"])
    assert oto.is_valid(["b"])
    assert not oto.is_valid(["b", "c"])


MOVED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "roll": lambda a, b: torch.cat([a, b], 1).roll(4, 1)[:, 4:],
    "flip": lambda a, b: torch.cat([a, b], 1).flip(1)[:, 4:],
    "repeat": lambda a, b: torch.cat([a, b], 1).repeat(1, 2)[:, 8:12],
    "gather": lambda a, b: torch.cat([a, b], 1).gather(1, torch.arange(4).expand(a.shape[0], 4)),
    "index_select": lambda a, b: torch.cat([a, b], 1).index_select(1, torch.arange(4)),
    "narrow": lambda a, b: torch.cat([a, b], 1).narrow(1, 0, 4),
    "unfold": lambda a, b: torch.cat([a, b], 1).unfold(1, 4, 4)[:, 0],
    "table": lambda a, b: torch.cat([a, b], 1)[:, torch.tensor([3, 2, 1, 0])],
    "list": lambda a, b: torch.cat([a, b], 1)[:, [3, 2, 1, 0]],
    "cumsum": lambda a, b: torch.cat([a, b], 1).cumsum(1)[:, :4],
    "pad": lambda a, b: F.pad(torch.cat([a, b], 1), (1, 0))[:, 1:5],
    "select": lambda a, b: torch.stack([a, b], 1).select(1, 0),
    "slice of the batch": lambda a, b: torch.cat([b, a])[a.shape[0] :],
    "resize": lambda a, b: F.interpolate(torch.stack([a, b], -1), 1)[..., 0],
    "steps of a convolution": lambda a, b: F.conv1d(torch.stack([a, b], -1), torch.eye(4)[..., None], stride=2)[..., 0],
    "transposed convolution": lambda a, b: F.conv_transpose1d(
        torch.stack([a, b, b], -1), torch.eye(4)[..., None].repeat(1, 1, 2), stride=2, padding=2
    )[..., 0],
    "steps of a maximum": lambda a, b: F.max_pool1d(torch.stack([a, b], -1), 1, 2)[..., 0],
    "end of an average": lambda a, b: F.avg_pool1d(torch.stack([a, a, b], -1), 2)[..., 0],
    "rows of a table": lambda a, b: F.embedding(torch.zeros(a.shape[0], dtype=torch.long), torch.stack([a, b]).mean(1)),
    "where": lambda a, b: torch.where(torch.tensor([True, False]), torch.stack([a, b], -1), 0.0).sum(-1),
    "masked_fill": lambda a, b: torch.stack([a, b], -1).masked_fill(torch.tensor([False, True]), 0.0).sum(-1),
}
FOLLOWED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "unbind": lambda a, b: torch.stack([a, b], 1).unbind(1)[0],
    "unflatten": lambda a, b: torch.cat([a, b], 1).unflatten(1, (2, 4)).permute(1, 0, 2)[0],
    "chunk along the batch": lambda a, b: torch.cat([a, b]).chunk(2)[0],
    "split along the batch": lambda a, b: torch.cat([b, a]).split(a.shape[0])[1],
    "view of the batch": lambda a, b: torch.cat([a, b]).view(2, -1, 4)[0],
}


@pytest.mark.parametrize("name", [*MOVED, *FOLLOWED])
def test_what_is_moved_is_as_dead_as_it_was(name: str) -> None:
    """A product with it is dead too."""
    move = {**MOVED, **FOLLOWED}[name]
    oto = AutoSubnet(Four(lambda m, x: m.c(x) * move(m.a(x) * x, m.b(x) * x)), torch.randn(3, 4))
    assert not oto.is_valid(["a"])


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_lies_beside_it_is_alive(name: str) -> None:
    move = FOLLOWED[name]
    assert AutoSubnet(Four(lambda m, x: m.c(x) * move(m.a(x) * x, m.b(x) * x)), torch.randn(3, 4)).is_valid(["b"])


MIXED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "average": lambda a, b: F.avg_pool1d(torch.stack([a, b], -1), 2)[..., 0],
    "maximum": lambda a, b: F.max_pool1d(torch.stack([a, b, b], -1), 3, 2, 1)[..., 0],
    "adaptive": lambda a, b: F.adaptive_avg_pool1d(torch.stack([a, b, b], -1), 1)[..., 0],
    "convolution": lambda a, b: F.conv1d(torch.stack([a, b], -1), torch.ones(4, 4, 2), stride=2)[..., 0],
    "convolution of the same size": lambda a, b: F.conv1d(torch.stack([a, b], -1), torch.ones(4, 4, 3), padding="same")[
        ..., 0
    ],
    "where": lambda a, b: torch.where(torch.tensor([[True], [False]]).repeat(2, 1), torch.stack([a, b], -1), 0).sum(-1),
}


@pytest.mark.parametrize("name", MIXED)
def test_what_reads_all_reads_the_living(name: str) -> None:
    oto = AutoSubnet(Four(lambda m, x: m.c(x) * MIXED[name](m.a(x) * x, m.b(x) * x)), torch.randn(3, 4))
    assert oto.is_valid(["a"])
    assert not oto.is_valid(["a", "b"])


class Named(nn.Module):
    """Returns a dict, by code that no graph can follow."""

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": x * torch.from_numpy(np.ones(1, dtype=np.float32))}


class WithNamed(Four):
    def __init__(self) -> None:
        super().__init__(lambda m, x: m.c(x) * m.named(m.a(x) + m.b(x))["out"])
        self.named = Named()


def test_what_a_module_returns_by_name_is_as_dead_as_all_of_it() -> None:
    oto = AutoSubnet(WithNamed(), torch.randn(3, 4))
    assert oto.is_valid(["a"])
    assert not oto.is_valid(["a", "b"])


SIZES = (3, 4, 5)
INDICES: list[tuple[Any, ...]] = [
    (0,),
    (-1,),
    (slice(None),),
    (slice(1, None),),
    (slice(None), 2),
    (slice(None), slice(None, -1)),
    (..., slice(1, 4, 2)),
    (1, ..., 3),
    (slice(0, 2), slice(None), slice(2, 3)),
    (..., 0),
    (slice(5, None),),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("seed", range(20))
def test_masks_behind_an_assignment_are_those_of_full_arrays(index: tuple[Any, ...], seed: int) -> None:
    choose, draw = random.Random(seed), np.random.default_rng(seed)
    tensor = fx.Graph().placeholder("x")
    tensor.meta["value"] = TensorInfo(SIZES, torch.float32, (20, 5, 1))
    before = draw.random([choose.choice([1, size]) for size in SIZES]) < 0.5
    region = np.empty(SIZES)[index].shape
    trimmed = region[choose.randrange(len(region) + 1) :]
    value = draw.random([choose.choice([1, size]) for size in trimmed]) < 0.5
    if choose.random() < 0.3:
        value = value.reshape(*[1] * (len(region) + 1 - value.ndim), *value.shape)  # torch lets such sizes lead
    expected = np.broadcast_to(before, SIZES).copy()
    expected[index] = np.broadcast_to(value.reshape(value.shape[max(0, value.ndim - len(region)) :]), region)
    mask = Assignment(tensor, index, None).written(before, value)
    assert (np.broadcast_to(mask, SIZES) == expected).all()
