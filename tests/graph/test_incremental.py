"""Masks that are kept up to date are those that are computed from scratch, after any changes and taking them back."""

import random
from typing import Any

import pytest
import torch
from random_models import random_model
from torch import Tensor, nn

from autosubnet import AutoSubnet
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.graph.suspicion import SuspectedConstants, SuspectedZeros
from autosubnet.graph.validity import Validity
from autosubnet.graph.view import GraphView
from autosubnet.ops.masks import compress, same

CHANGES = 12


class Concats(nn.Module):
    """Concats of concats and of blocks that occur several times, with layers and norms between them."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        choose = random.Random(seed)
        self.reads: list[list[int]] = []
        self.layers = nn.ModuleList()
        widths = [4, 4]
        for _ in range(choose.randint(6, 14)):
            reads = [choose.randrange(len(widths)) for _ in range(choose.choice((1, 1, 2, 3, 4)))]
            width = sum(widths[each] for each in reads)
            layer = nn.Conv1d(width, choose.choice((1, 2, 4)), 1) if len(reads) == 1 else nn.BatchNorm1d(width)
            self.layers.append(layer)
            self.reads.append(reads)
            widths.append(layer.out_channels if len(reads) == 1 else width)
        self.last = nn.Conv1d(sum(widths[-3:]), 3, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        values = [x, y]
        for layer, reads in zip(self.layers, self.reads, strict=True):
            values.append(layer(torch.cat([values[each] for each in reads], 1)))
        return self.last(torch.cat(values[-3:], 1))


def some_slices(view: GraphView, choose: random.Random) -> Group:
    """Return random parameters, whole or some of their rows, as a group."""
    slices = []
    for name in choose.sample(list(view.parameters), min(len(view.parameters), choose.randint(1, 4))):
        rows = view.parameters[name].shape[0]
        some = tuple(sorted(choose.sample(range(rows), choose.randint(1, rows))))
        slices.append(ParameterSlice(name) if choose.random() < 0.5 else ParameterSlice(name, 0, some))
    return Group("some", "gezig", tuple(slices), 0, ("some",))


def plain(mask: Any) -> Any:
    """Return a mask in its smallest form: which one it has is not part of the claim."""
    return tuple(map(plain, mask)) if isinstance(mask, tuple) else mask if mask is None else compress(mask)


def check(oto: AutoSubnet, seed: int) -> int:
    """Change and take back at random, comparing each time; return in how many masks something is claimed."""
    view, choose = oto._view.in_example, random.Random(seed)
    validity, undo = exhaustive(view), []
    claims = 0
    for _ in range(CHANGES):
        if undo and choose.random() < 0.35:
            validity.propagation.undo(undo.pop())
        else:
            undo.append(validity.add(some_slices(view, choose)))
        fresh = SuspectedZeros(view, validity.propagation.parameters)
        kept = [(fresh.masks, validity.propagation.masks)]
        kept += [
            (SuspectedConstants(view, fresh, source).masks, each.masks) for source, each in validity.dependences.items()
        ]
        for expected, got in kept:
            wrong = [node.name for node in view.nodes if not same(plain(expected[node]), plain(got[node]))]
            assert not wrong, f"not as from scratch: {wrong}"
            claims += sum(bool(mask.any()) for mask in expected.values() if hasattr(mask, "any"))
    return claims


def exhaustive(view: GraphView) -> Validity:
    """Return one that follows every change to its end, though an output is lost on the way."""
    validity = Validity(view)
    validity.vital, validity.all_vital = dict.fromkeys(validity.vital, frozenset()), frozenset()
    return validity


@pytest.mark.parametrize("seed", range(40))
def test_a_check_that_ends_early_says_the_same(seed: int) -> None:
    oto, choose = AutoSubnet(*random_model(seed)), random.Random(seed)
    for _ in range(4):
        order = choose.sample(oto.groups, len(oto.groups))
        early, full = Validity(oto._view), exhaustive(oto._view)
        assert [early.try_add(group) for group in order] == [full.try_add(group) for group in order]
        assert early.propagation.masks.keys() == full.propagation.masks.keys()
        for node, mask in full.propagation.masks.items():
            assert same(plain(mask), plain(early.propagation.masks[node])), node


def test_what_is_refused_is_not_followed_to_the_end() -> None:
    """Else the choice among many groups would take the square of their number."""

    class Either(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.a(x) + self.b(x))

    looked_at = []
    for length in (20, 200):
        oto = AutoSubnet(nn.Sequential(*(Either() for _ in range(length))), torch.randn(2, 4))
        validity = Validity(oto._view)
        assert validity.try_add(oto.groups[0])
        undo = validity.add(oto.groups[1])
        assert not validity.is_valid()
        looked_at.append(len(undo))
    assert looked_at[0] == looked_at[1]


@pytest.mark.parametrize("seed", range(12))
def test_on_concats(seed: int) -> None:
    torch.manual_seed(seed)
    assert check(AutoSubnet(Concats(seed), (torch.randn(3, 4, 4), torch.randn(3, 4, 4))), seed)


@pytest.mark.parametrize("seed", range(12))
def test_on_random_models(seed: int) -> None:
    assert check(AutoSubnet(*random_model(seed)), seed)
