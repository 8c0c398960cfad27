"""Networks with buffers that a random plan may use as layers: tables, numbers that index, and what is averaged."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TablePosition(nn.Module):
    """Add what a small network makes of a table of coordinates, ``[B, T, D]`` (relative positions as in Swin v2)."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(2, 6)
        self.out = nn.Linear(6, width, bias=False)
        coordinates = torch.arange(tokens) - tokens / 3
        self.table = nn.Buffer(torch.stack([coordinates, coordinates.square() / tokens], dim=-1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(F.gelu(self.hidden(self.table)))


class Rotary(nn.Module):
    """Turn pairs of channels by angles in a complex buffer, ``[B, T, D]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.turns = nn.Buffer(torch.polar(torch.ones(width // 2), torch.arange(width // 2) + 1.0))

    def forward(self, x: Tensor) -> Tensor:
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())
        return torch.view_as_real(pairs * self.turns).flatten(-2)


class Monitor(nn.Module):
    """Count the calls and average what it sees in buffers, and pass it on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = nn.Buffer(torch.zeros((), dtype=torch.int64))
        self.average = nn.Buffer(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
            self.average.lerp_(x.detach().mean(), 0.1)
        return x


class Centred(nn.Module):
    """Scale by a running average of magnitudes, which train mode updates ahead of reading it."""

    def __init__(self) -> None:
        super().__init__()
        self.average = nn.Buffer(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.average.mul_(0.9).add_(0.1 * x.detach().abs().mean())
        return x / (0.5 + self.average)


class Shuffle(nn.Module):
    """Put channels into the order of an integer buffer, ``[B, C, H, W]`` or ``[B, T, C]``."""

    def __init__(self, width: int, dim: int, select: bool) -> None:
        super().__init__()
        self.dim = dim
        self.select = select
        self.order = nn.Buffer(torch.arange(width).roll(width // 2 - 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.select:
            return x.index_select(self.dim, self.order)
        return x[:, self.order] if self.dim == 1 else x[:, :, self.order]


class Watched(nn.Module):
    """Add a norm to what its statistics scale, ``[B, C, H, W]`` or ``[B, T, C]``: a zero norm goes on counting."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.transpose(1, self.dim)
        y = self.norm(channels.flatten(2)).view(channels.shape).transpose(1, self.dim)
        return x / (1 + self.norm.running_var.mean()) + y


class IndexedPosition(nn.Module):
    """Add rows of a table of parameters by the numbers in a buffer, ``[B, T, D]`` (as biases of windows are)."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(2 * tokens, width))
        self.index = nn.Buffer(torch.arange(tokens) * 2 % (2 * tokens - 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table[self.index.view(-1)].view(1, x.shape[1], -1)
