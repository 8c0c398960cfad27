"""Modules that cannot be followed: one vertex each, whatever they return, and removable where a bound is proved."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import promises
import pytest
import removal
import torch
from torch import Tensor, nn

from autosubnet import AutoSubnet


@dataclass
class Pair:
    first: Tensor
    rest: Any = None


@dataclass
class Output(OrderedDict[str, Any]):
    """Both a dataclass and a dict, as are those of Hugging Face."""

    last: Tensor
    hidden: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        self.update(last=self.last, hidden=self.hidden)


MAKES: dict[str, Any] = {
    "dict": lambda a, b, c: {"a": a, "bs": [b, {"c": c}], "n": 3},
    "dataclass": lambda a, b, c: Pair(a, Pair(b, (c,))),
    "both": lambda a, b, c: Output(a, (b, c)),
}
TAKES: dict[str, Any] = {
    "dict": lambda out: (out["a"], out["bs"][0], out["bs"][1]["c"]),
    "dataclass": lambda out: (out.first, out.rest.first, out.rest.rest[0]),
    "both": lambda out: (out.last, out["hidden"][0], out.hidden[1]),
}


def outside(x: Tensor) -> Tensor:
    """Compute what no graph can follow."""
    return torch.from_numpy(x.detach().numpy() * 2)


class Inner(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Any:
        y = self.layer(x)
        return MAKES[self.kind](y, outside(y), y + outside(y))


class Outer(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner = Inner(kind)
        self.p, self.q = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = TAKES[self.inner.kind](self.inner(x))
        return self.p(a + b) + self.q(c) + x


@pytest.mark.parametrize("kind", MAKES)
@pytest.mark.parametrize("number", [0, 1])
def test_what_it_returns_is_taken_apart(kind: str, number: int) -> None:
    torch.manual_seed(0)
    model = Outer(kind).double()
    oto = AutoSubnet(model, torch.randn(3, 6, dtype=torch.float64))
    assert {group.name for group in oto.groups} == {"p", "q"}
    removal.set_zero(model, [oto.groups[number]])
    before = copy.deepcopy(model)
    subnet = oto.construct_subnet()
    assert {name.partition(".")[0] for name, _ in subnet.named_parameters()} == {"inner", oto.groups[1 - number].name}
    promises.equal_outputs(before, subnet, oto.example_inputs)


def test_it_is_told_why_it_was_not_followed() -> None:
    notes = AutoSubnet(Outer("dict"), torch.randn(3, 6)).notes
    assert len(notes) == 2
    assert notes[1].startswith("not followed: module 'inner', since a tensor of shape (3, 6) of unknown origin enters")
    assert "test_opaque.py:" in notes[1]


class Branch(nn.Module):
    """A layer that no graph can follow, and perhaps a norm behind it."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.body, self.norm = nn.Sequential(nn.Linear(6, 6), Outside()), norm

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.body(x))


class Outside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + outside(x) + 1


def test_a_norm_bounds_it() -> None:
    torch.manual_seed(0)
    model = Branch(nn.BatchNorm1d(6)).double()
    oto = AutoSubnet(model, torch.randn(3, 6, dtype=torch.float64))
    assert len(oto.groups) == 1
    assert {each.name for each in oto.groups[0].slices} == {name for name, _ in model.named_parameters()}
    oto.random_set_zero_groups(1.0)
    subnet = oto.construct_subnet()
    assert list(subnet.parameters()) == []
    promises.equal_outputs(copy.deepcopy(model), subnet, oto.example_inputs)


def test_nothing_bounds_it() -> None:
    oto = AutoSubnet(Branch(nn.Identity()), torch.randn(3, 6))
    assert oto.groups == ()
    assert [each.reason for each in oto.refused] == ["'body_1' (in module 'body.1'): nothing is known about its values"]
