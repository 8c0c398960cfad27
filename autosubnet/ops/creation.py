"""Operators that make a tensor anew: from sizes, filled with a number or drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import fx

from autosubnet.ops.call import Call, is_plain
from autosubnet.ops.kind import Kind
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Rule
from autosubnet.ops.sizes import Expression, Sizes


class Fresh(Rule):
    """A new tensor that reads no value of another, at most its sizes.

    Nothing is claimed of zeros: those that a construction leaves behind would be found again by the next.
    """

    kind = Kind.ACCESSORY

    def __init__(self, *, random: bool = False, blank: bool = False) -> None:
        self.random = random
        self.blank = blank

    def edges(self, call: Call) -> tuple[fx.Node, ...]:
        """None: no value reaches the result."""
        return ()

    def is_random(self, call: Call) -> bool:
        """Whether it is drawn at random."""
        return self.random

    def is_blank(self, call: Call) -> bool:
        """Whether it is full of zeros."""
        return self.blank


class FreshLike(Fresh):
    """A new tensor of the sizes of another."""

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression]:
        """Those of the other."""
        return list(sizes.of(call.input))


class Filled(Fresh):
    """A new tensor of one number, or of such as are written out.

    Args:
        position: of the number among the arguments.
        name: of that argument.
    """

    def __init__(self, position: int, name: str = "fill_value") -> None:
        super().__init__()
        self.position, self.name = position, name

    def edges(self, call: Call) -> tuple[fx.Node, ...]:
        """The number, where that is computed."""
        number = self._number(call)
        return (number,) if isinstance(number, fx.Node) else ()

    def is_blank(self, call: Call) -> bool:
        """Whether the number is zero."""
        return is_plain(self._number(call)) and not np.any(self._number(call))

    def _number(self, call: Call) -> Any:
        return call.argument(self.position, self.name)


class FilledLike(Filled, FreshLike):
    """A new tensor of one number, and of the sizes of another."""


class Sample(Rule):
    """Draws at random by what it reads."""

    def is_random(self, call: Call) -> bool:
        """Always."""
        return True


register(FreshLike(blank=True), functions=[torch.zeros_like])
register(FreshLike(), functions=[torch.ones_like, torch.empty_like])
register(FilledLike(1), functions=[torch.full_like])
register(FreshLike(random=True), functions=[torch.rand_like, torch.randn_like, torch.randint_like])
register(Fresh(blank=True), functions=[torch.zeros], methods=["new_zeros"])
register(Fresh(), functions=[torch.ones, torch.empty], methods=["new_ones", "new_empty"])
register(Filled(0, "data"), functions=[torch.tensor])
register(Filled(1), functions=[torch.full])
register(Filled(2), methods=["new_full"])
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
