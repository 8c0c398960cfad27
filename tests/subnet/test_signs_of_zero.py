"""Operators that tell minus zero from zero: what a removed part leaves is plus zero."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import autosubnet
from autosubnet import AutoSubnet
from subnet.checks import zero

SIGNED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "atan2": torch.atan2,
    "arctan2": lambda a, b: a.arctan2(b),
    "copysign": lambda a, b: torch.copysign(b, a),
    "signbit": lambda a, b: b * torch.signbit(a),
    "view": lambda a, b: b * (a.view(torch.int32) >= 0),
}


class Signed(nn.Module):
    """A zero with the sign of the input, in front of an operator."""

    def __init__(self, body: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c, self.head = (nn.Linear(4, 4) for _ in range(4))
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.a(x).relu() * x, self.b(x)) + self.c(x))


@pytest.mark.parametrize("name", SIGNED)
def test_what_they_read_is_computed_as_before(name: str) -> None:
    """Example inputs above zero do not show the difference, so that verification would not see it."""
    model = Signed(SIGNED[name])
    zero(model, ["a", "c"])
    subnet = autosubnet.remove_zeros(model, torch.rand(3, 4))
    assert not [each for each, _ in subnet.named_parameters() if each.startswith("c.")]
    x = -torch.rand(3, 4)
    assert torch.equal(subnet(x), model(x))
    assert not torch.equal(model(x), model(-x))


@pytest.mark.parametrize("name", SIGNED)
def test_a_group_that_would_reach_them_is_refused(name: str) -> None:
    oto = AutoSubnet(Signed(SIGNED[name]), torch.randn(3, 4))
    assert "a" not in [group.name for group in oto.groups]
    assert re.search(rf"'{name}' .*: it tells minus zero from zero", str(oto.explain("a")))
