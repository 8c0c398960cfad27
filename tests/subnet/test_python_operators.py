"""Every operator of Python on tensors, between a sum that loses a term and the output."""

from __future__ import annotations

import operator
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import autosubnet
from subnet.checks import example, left, same, settled, shrink, zero

X = example(4, 6)

SMOOTH: dict[str, Callable[[Tensor], Tensor]] = {
    "y ** 2": lambda y: y**2,
    "2 ** y": lambda y: 2.0**y,
    "y ** y": lambda y: (y * y + 1.0) ** y,
    "1 - y": lambda y: 1 - y,
    "1 / y": lambda y: 1 / (y * y + 1),
    "y / 3": lambda y: y / 3,
    "2 * y": lambda y: 2 * y,
    "1 + y": lambda y: 1 + y,
    "-y": operator.neg,
    "+y": operator.pos,
    "abs(y)": abs,
    "y @ y": lambda y: y @ y.transpose(0, 1) @ y,
    "y *= 2": lambda y: operator.imul(y, 2),
    "y += 1": lambda y: operator.iadd(y, 1),
    "y -= 1": lambda y: operator.isub(y, 1),
    "y /= 2": lambda y: operator.itruediv(y, 2),
    "y.add_(1)": lambda y: y.add_(1),
    "y.mul_(2)": lambda y: y.mul_(2),
    "y.clamp_(min=0)": lambda y: y.clamp_(min=0),
    "y.relu_()": lambda y: y.relu_(),
    "y.neg_()": lambda y: y.neg_(),
}
STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "y // 1": lambda y: y // 0.1,
    "3 // y": lambda y: 3 // (y * y + 0.1),
    "y % 2": lambda y: y % 2,
    "3 % y": lambda y: 3 % (y * y + 1),
    "y > 0": lambda y: (y > 0) * y,
    "0 < y": lambda y: (y > 0) * y,
    "not": lambda y: ~(y > 0) * y,
    "and": lambda y: ((y > 0) & (y < 1)) * y,
    "or": lambda y: ((y > 1) | (y < 0)) * y,
    "xor": lambda y: ((y > 0) ^ (y < -1)) * y,
    "==": lambda y: (y == y) * y,
    "!=": lambda y: (y != 0) * y,
}


class Applied(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.a, self.b, self.head = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.function(self.a(x) + self.b(x)))


@pytest.mark.parametrize("function", SMOOTH.values(), ids=SMOOTH)
def test_operator(function: Callable[[Tensor], Tensor]) -> None:
    # A matrix product over the batch would be another function at another batch size: it is allowed here.
    subnet = shrink(settled(Applied(function), X), (X,), "b")
    assert left(subnet) == {"a", "head"}


@pytest.mark.parametrize("function", STEPS.values(), ids=STEPS)
def test_operator_with_steps(function: Callable[[Tensor], Tensor]) -> None:
    """Some of these have no derivative: only outputs are compared."""
    model = settled(Applied(function), X)
    zero(model, ["a"])
    subnet = autosubnet.remove_zeros(model, X)
    assert left(subnet) == {"b", "head"}
    same(model, subnet, (X,))
    same(model, subnet, (example(3, 6, seed=9),))


@pytest.mark.parametrize("function", SMOOTH.values(), ids=SMOOTH)
def test_operator_on_a_zero(function: Callable[[Tensor], Tensor]) -> None:
    """Both terms zero: what the operator makes of a zero must not get lost."""

    class Beside(Applied):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :2] + super().forward(x)

    model = settled(Beside(function), X)
    subnet = shrink(model, (X,), "a", "b")
    assert {"a", "b"} & left(subnet) == set()


NUMBERS: dict[str, Callable[[int], int]] = {
    "-n": operator.neg,
    "2 n - n": lambda n: 2 * n - n,
    "1 n": lambda n: 1 * n,
    "(n + 1) // 1": lambda n: (n + 1) // 1,
}


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_arithmetic_on_sizes_beside_a_cut(number: Callable[[int], int]) -> None:
    """Numbers have no channels: what is tied elsewhere is cut all the same."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(6, 4), nn.Linear(6, 3), nn.Linear(7, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = self.head(torch.cat([self.a(x), self.b(x)], 1))
            return y[number(x.shape[0]) :].sum() + y

    subnet = shrink(settled(Net(), X), (X,), "b")
    assert subnet.get_parameter("head.weight").shape == (2, 4)
