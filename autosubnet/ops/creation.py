"""Operators that make a tensor anew: from sizes, filled with a number or drawn at random."""

from __future__ import annotations

import torch
from torch import fx

from autosubnet.ops.call import Call
from autosubnet.ops.kind import Kind
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Rule
from autosubnet.ops.sizes import Expression, Sizes


class Fresh(Rule):
    """A new tensor that reads no value of another, at most its sizes.

    Nothing is claimed of zeros: those that a construction leaves behind would be found again by the next.
    """

    kind = Kind.ACCESSORY

    def __init__(self, *, random: bool = False) -> None:
        self.random = random

    def edges(self, call: Call) -> tuple[fx.Node, ...]:
        """None: no value reaches the result."""
        return ()

    def is_random(self, call: Call) -> bool:
        """Whether it is drawn at random."""
        return self.random


class FreshLike(Fresh):
    """A new tensor of the sizes of another."""

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression]:
        """Those of the other."""
        return list(sizes.of(call.input))


class Sample(Rule):
    """Draws at random by what it reads."""

    def is_random(self, call: Call) -> bool:
        """Always."""
        return True


register(FreshLike(), functions=[torch.zeros_like, torch.ones_like, torch.full_like, torch.empty_like])
register(FreshLike(random=True), functions=[torch.rand_like, torch.randn_like, torch.randint_like])
register(Fresh(), functions=[torch.zeros, torch.ones, torch.empty], methods=["new_zeros", "new_ones", "new_empty"])
register(Fresh(random=True), functions=[torch.rand, torch.randn, torch.randint, torch.randperm])
register(
    Sample(),
    functions=[torch.bernoulli, torch.multinomial, torch.normal, torch.poisson],
    methods=[
        "bernoulli",
        "multinomial",
        "bernoulli_",
        "normal_",
        "uniform_",
        "random_",
        "exponential_",
        "geometric_",
        "cauchy_",
        "log_normal_",
    ],
)
