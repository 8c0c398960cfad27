"""A small model of architecture weights, and SparseNAS' Eq. 6 to 10 on it, written down entry by entry."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autosubnet.graph.groups import Group, ParameterSlice

from .toy import cut, group, whole

Position = tuple[str, int]


class Nodes(nn.Module):
    """Weights of paths in a matrix and in two vectors; ``bias`` and the matrix' last row are in no group."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)

        def weights(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=generator, dtype=torch.float64))

        rows = torch.Generator().manual_seed(0)
        self.edges, self.first, self.second = weights(6, 3), weights(4), weights(1)
        self.bias = weights(2)
        self.pull = [torch.randn(40, *size, generator=rows, dtype=torch.float64) for size in ((25,), ())]

    def loss(self, step: int = 0) -> Tensor:
        """Least squares, on other rows in other steps."""
        rows, goal = self.pull
        mine = torch.arange(step * 7, step * 7 + 20) % 40
        everything = torch.cat([p.flatten() for p in self.parameters()])
        return (rows[mine] @ everything - goal[mine]).square().mean() / 2


GROUPS = (
    group("a", cut("edges", 0, 0, 1)),
    group("b", cut("edges", 0, 2, 3, 4), *whole("first")),
    group("c", *whole("second")),
)


def train(model: Nodes, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        optimizer.zero_grad()
        model.loss(step).backward()
        optimizer.step()


def members(groups: Sequence[Group], model: nn.Module) -> list[list[Position]]:
    """The entries of each group as parameter name and position, by slow loops."""

    def entries(piece: ParameterSlice) -> Iterator[Position]:
        p = dict(model.named_parameters())[piece.name]
        grid = torch.arange(p.numel()).view(p.shape)
        for i in [...] if piece.dim is None else piece.indices or ():
            yield from ((piece.name, int(k)) for k in grid[i].flatten())

    return [[e for piece in g.slices for e in entries(piece)] for g in groups]


class Transcript:
    """HAPG, or AdamHAPG with ``betas``, in Python's numbers.

    Attributes:
        a: A_t by entry.
        x: Prox(z_t).
        v: v_t.
    """

    def __init__(self, model: nn.Module, groups: Sequence[Group], **options: Any) -> None:
        self.a = {(n, i): v for n, p in model.named_parameters() for i, v in enumerate(p.detach().flatten().tolist())}
        self.x, self.v = dict(self.a), dict.fromkeys(self.a, 0.0)
        self.first, self.second = dict.fromkeys(self.a, 0.0), dict.fromkeys(self.a, 0.0)
        self.groups, self.options, self.t = members(groups, model), options, 0

    def step(self, model: nn.Module) -> None:
        lr, lam, alpha = (self.options[name] for name in ("lr", "lam", "alpha"))
        self.t += 1
        t = self.t
        g = {(n, i): v for n, p in model.named_parameters() for i, v in enumerate(p.grad.flatten().tolist())}
        if "betas" in self.options:
            b1, b2 = self.options["betas"]
            self.first = {k: b1 * m + (1 - b1) * g[k] for k, m in self.first.items()}
            self.second = {k: b2 * s + (1 - b2) * g[k] ** 2 for k, s in self.second.items()}
            eta = {k: lr / (math.sqrt(s / (1 - b2**t)) + 1e-8) for k, s in self.second.items()}
            g = {k: m / (1 - b1**t) for k, m in self.first.items()}
        else:
            eta = dict.fromkeys(g, lr)
        z = {k: self.a[k] - eta[k] * g[k] for k in self.a}  # Eq. 6
        self.x = dict(z)
        for group_ in self.groups:
            soft = {k: math.copysign(max(abs(z[k]) - eta[k] * lam * alpha, 0.0), z[k]) for k in group_}  # Eq. 9
            norm = math.hypot(*soft.values())
            threshold = math.sqrt(len(group_)) * statistics.median(eta[k] for k in group_) * lam * (1 - alpha)
            for k in group_:  # Eq. 10
                self.x[k] = max(1 - threshold / norm, 0.0) * soft[k] if norm else 0.0
        u, u_before = (max(0.0, (s - 2) / (s + 1)) for s in (t, t - 1))
        self.v = {k: self.x[k] - self.a[k] + u_before * self.v[k] for k in self.a}  # Eq. 7
        self.a = {k: self.x[k] + u * self.v[k] for k in self.a}  # Eq. 8

    def difference(self, tensors: dict[str, Tensor], values: dict[Position, float]) -> float:
        return max(abs(tensors[n].flatten()[i].item() - v) for (n, i), v in values.items())
