"""A small model whose groups are whole parameters, overlapping slices, and slices in two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from autosubnet.errors import BudgetError
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.optim import H2SPG
from autosubnet.optim.target import SelectFunction, Target


class Toy(nn.Module):
    """Three convolutional branches into a concat with a norm, a table, and a head; ``unused`` never gets a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU())
        self.middle = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.ReLU())
        self.right = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.ReLU())
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)
        self.table = nn.Parameter(torch.randn(4, 5) / 4)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.left(x), self.middle(x), self.right(x)], 1)
        return self.head(self.norm(joined).relu().mean((2, 3))) + self.table.sum(0)


def whole(*names: str) -> tuple[ParameterSlice, ...]:
    return tuple(ParameterSlice(name) for name in names)


def cut(name: str, dim: int, *indices: int) -> ParameterSlice:
    return ParameterSlice(name, dim, indices)


def norm_slices(*indices: int) -> tuple[ParameterSlice, ...]:
    return cut("norm.weight", 0, *indices), cut("norm.bias", 0, *indices)


def group(name: str, *slices: ParameterSlice) -> Group:
    return Group(name, "gezig", slices, 0, (name,))


GROUPS = (
    group("left", *whole("left.0.weight", "left.0.bias", "left.1.weight", "left.1.bias"), *norm_slices(0, 1, 2)),
    group("middle", *whole("middle.0.weight", "middle.0.bias", "middle.1.weight", "middle.1.bias"), *norm_slices(3, 4)),
    group("right", *whole("right.0.weight", "right.1.weight", "right.1.bias"), *norm_slices(6, 7)),
    group("seam", *norm_slices(4, 5, 6), cut("head.weight", 1, 4, 5, 6)),
    group("cross", cut("table", 0, 1, 2), cut("table", 1, 0, 3)),
    group("column", cut("table", 1, 3, 4), *whole("unused", "head.bias")),
)


def ranked(scores: Sequence[float]) -> list[int]:
    """Positions, most redundant first."""
    return sorted(range(len(scores)), key=lambda i: -scores[i])


def first(scores: Sequence[float], target: Target, taken: Sequence[int] = ()) -> list[int]:
    """Every set is valid."""
    return [*taken, *(i for i in ranked(scores) if i not in taken)][: target.num_groups]


def not_all_branches(scores: Sequence[float], target: Target, taken: Sequence[int] = ()) -> list[int]:
    """One of the three branches must stay, as a connectivity check would demand."""
    chosen = [*taken]
    k = target.num_groups or 0
    for i in (i for i in ranked(scores) if i not in taken):
        if len(chosen) < k and not {0, 1, 2} <= {*chosen, i}:
            chosen.append(i)
    if len(chosen) < k:
        raise BudgetError(f"{k} groups cannot be removed together; at most {len(chosen)} can")
    return chosen


def make_toy(seed: int = 0) -> Toy:
    torch.manual_seed(seed)
    return Toy().double()


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    return (
        torch.randn(6, 2, 4, 4, generator=generator, dtype=torch.float64),
        torch.randint(0, 5, (6,), generator=generator),
    )


def make(model: nn.Module, select: SelectFunction = first, **options: Any) -> H2SPG:
    defaults: dict[str, Any] = {"lr": 0.05, "warmup_steps": 5, "projection_steps": 8}
    return H2SPG(model, GROUPS, select, **(defaults | options))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x, y = batch(step)
        optimizer.zero_grad()
        cross_entropy(model(x), y).backward()
        optimizer.step()


def entries(model: nn.Module, groups: Sequence[Group]) -> dict[str, Tensor]:
    """The union of the groups' slices as masks over the parameters, by slow loops."""
    masks = {name: torch.zeros(p.shape, dtype=torch.bool) for name, p in model.named_parameters()}
    for g in groups:
        for s in g.slices:
            for i in [...] if s.dim is None else s.indices or ():
                masks[s.name][... if i is ... else (slice(None),) * (s.dim or 0) + (i,)] = True
    return {name: mask for name, mask in masks.items() if mask.any()}


def is_zero(model: nn.Module, groups: Sequence[Group]) -> bool:
    """Bit for bit: a negative zero or a denormal number is not."""
    parameters = dict(model.named_parameters())
    return all(
        not parameters[name].detach()[mask].view(torch.int64).any() for name, mask in entries(model, groups).items()
    )


VARIANTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("sgd", {"momentum": 0.9, "weight_decay": 0.01}),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.01, "nesterov": True, "foreach": True}),
    ("adam", {"weight_decay": 0.01, "amsgrad": True, "lr": 0.01}),
    ("adamw", {"weight_decay": 0.1, "lr": 0.01}),
    ("adamw", {"weight_decay": 0.1, "lr": 0.01, "foreach": False}),
)
