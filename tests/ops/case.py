"""A case of the rule contract: a small model whose forward calls one operator on partially zero tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Body = Callable[[Any, Tensor, Tensor], Any]  # (the model, a, b) -> what the operator returns
Parts = Callable[[], Mapping[str, Any]]
IMAGE = (2, 4, 6, 6)
TOKENS = (2, 5, 4)
ROWS = (3, 4)


@dataclass(frozen=True)
class Case:
    """An operator, and a call of it.

    Attributes:
        operator: a module class, a function, or the name of a method of a tensor.
        body: calls it on ``a`` and perhaps ``b``, of shape ``shape``, whose zeros are unlike each other.
        shape: of the example input, batch first.
        parts: modules and tensors that the body uses, set as attributes of the model.
        keeps: whether the output must be claimed zero where every parameter is zero.
        note: what is special about this call.
    """

    operator: Any
    body: Body
    shape: tuple[int, ...] = IMAGE
    parts: Parts = dict
    keeps: bool = True
    note: str = ""

    @property
    def name(self) -> str:
        operator = self.operator
        name = f"Tensor.{operator}" if isinstance(operator, str) else f"{operator.__module__}.{operator.__name__}"
        return f"{name}-{self.note.replace(' ', '-')}" if self.note else name

    def model(self) -> Model:
        torch.manual_seed(0)
        return Model(self).double()

    def draw(self, seed: int) -> Tensor:
        return torch.randn(self.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Model(nn.Module):
    """Two tensors that are zero where their masks are (and their shifts), into the operator."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.body = case.body
        inner = case.shape[1:]
        channels = (inner[0], *(1,) * (len(inner) - 1)) if len(inner) != 2 else (1, inner[1])
        self.mask_a = nn.Parameter(torch.randn(channels))
        self.shift_a = nn.Parameter(torch.randn(channels))
        self.mask_b = nn.Parameter(torch.randn(inner))
        for name, part in case.parts().items():
            setattr(self, name, part)

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x * self.mask_a + self.shift_a, (x + 1) * self.mask_b)


def of_module(make: Callable[[], nn.Module], shape: tuple[int, ...] = IMAGE, **options: Any) -> Case:
    """Return the case of a leaf module on one tensor."""
    return Case(type(make()), lambda m, a, b: m.op(a), shape, lambda: {"op": make()}, **options)


def unary(operator: Any, *args: Any, shape: tuple[int, ...] = IMAGE, **options: Any) -> Case:
    """Return the case of a function or method of one tensor with fixed further arguments."""
    if isinstance(operator, str):
        return Case(operator, lambda m, a, b: getattr(a, operator)(*args), shape, **options)
    return Case(operator, lambda m, a, b: operator(a, *args), shape, **options)


def binary(operator: Any, *args: Any, shape: tuple[int, ...] = IMAGE, **options: Any) -> Case:
    """Return the case of a function or method of two tensors."""
    if isinstance(operator, str):
        return Case(operator, lambda m, a, b: getattr(a, operator)(b, *args), shape, **options)
    return Case(operator, lambda m, a, b: operator(a, b, *args), shape, **options)


def weights(**shapes: tuple[int, ...]) -> Parts:
    """Return parts that are parameters of these shapes."""
    return lambda: {name: nn.Parameter(torch.randn(shape)) for name, shape in shapes.items()}


@torch.no_grad()
def sprinkle(model: nn.Module, seed: int) -> None:
    """Draw all parameters, then set random slices of them to zero: the same indices in every dimension of one size."""
    generator = torch.Generator().manual_seed(seed)
    chosen: dict[int, Tensor] = {}
    for parameter in model.parameters():
        if not parameter.is_floating_point():
            continue
        parameter.copy_(torch.randn(parameter.shape, generator=generator))
        if _flip(generator, 0.15):
            parameter.zero_()
        for dim, size in enumerate(parameter.shape):
            if size not in chosen:
                chosen[size] = torch.randperm(size, generator=generator)[: (size + 1) // 2]
            if _flip(generator, 0.6) and size > 1:
                parameter.index_fill_(dim, chosen[size], 0)
        if _flip(generator, 0.15):
            parameter.mul_(torch.rand(parameter.shape, generator=generator) < 0.5)
    if seed % 2 and hasattr(model, "shift_a"):  # else nothing that reads ``a`` would ever see a zero
        model.shift_a.zero_()
        channels = int(torch.tensor(model.mask_a.shape).argmax())
        model.mask_a.index_fill_(channels, chosen[model.mask_a.shape[channels]], 0)


@torch.no_grad()
def clear(model: nn.Module) -> None:
    """Set every parameter to zero."""
    for parameter in model.parameters():
        parameter.zero_()


def _flip(generator: torch.Generator, probability: float) -> bool:
    return float(torch.rand((), generator=generator)) < probability
