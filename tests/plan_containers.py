"""Networks in the containers of ``nn`` that a random plan may use as layers, ``[..., C]`` to ``[..., C]``."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelsLast(nn.Module):
    """What works on the last dimension, for images as well: channels are put last and back."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def last(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.last(x.movedim(self.dim, -1)).movedim(-1, self.dim)


class Nested(ChannelsLast):
    """Modules in lists in dicts in sequences, and parameters in a list and in a dict."""

    def __init__(self, in_features: int, out_features: int, dim: int) -> None:
        super().__init__(dim)
        first = nn.Sequential(nn.Sequential(nn.Linear(in_features, 5), nn.Tanh()), nn.Linear(5, out_features))
        self.ways = nn.ModuleDict(
            {"long": nn.ModuleList([first]), "short": nn.ModuleList([nn.Linear(in_features, out_features)])}
        )
        self.scales = nn.ParameterList([torch.ones(out_features) for _ in range(2)])
        self.shifts = nn.ParameterDict({"last": torch.zeros(out_features)})

    def last(self, x: Tensor) -> Tensor:
        results = []
        for ways in self.ways.values():
            y = x
            for way in ways:
                y = way(y)
            results.append(y)
        long, short = (y * scale for y, scale in zip(results, self.scales, strict=True))
        return long + (short + self.shifts["last"])


class Contraction(ChannelsLast):
    """A layer written as an einsum that contracts channels with a bare parameter."""

    def __init__(self, in_features: int, out_features: int, dim: int) -> None:
        super().__init__(dim)
        self.weight = nn.Parameter(torch.ones(in_features, out_features))

    def last(self, x: Tensor) -> Tensor:
        return torch.einsum("...i,ij->...j", x, self.weight)


class Fan(ChannelsLast):
    """A concat of many narrow ways."""

    def __init__(self, in_features: int, out_features: int, ways: int, dim: int) -> None:
        super().__init__(dim)
        self.ways = nn.ModuleList(nn.Linear(in_features, 1) for _ in range(ways))
        self.out = nn.Linear(ways, out_features)

    def last(self, x: Tensor) -> Tensor:
        return self.out(torch.cat([way(x) for way in self.ways], dim=-1))


class Chain(nn.Module):
    """Many vertices in a row."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.length):
            x = (x * 1.01).sin()
        return x
