"""Small networks that a random plan may use as layers, so that its graph has nested modules, parameters and methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SqueezeExcite(nn.Module):
    """Scale channels by a gate computed from their means, ``[B, C, H, W]``; convolutions or linear layers."""

    def __init__(self, width: int, linear: bool) -> None:
        super().__init__()
        self.linear = linear
        self.reduce = nn.Linear(width, 2) if linear else nn.Conv2d(width, 2, 1)
        self.expand = nn.Linear(2, width) if linear else nn.Conv2d(2, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3)) if self.linear else F.adaptive_avg_pool2d(x, 1)
        gate = self.expand(F.silu(self.reduce(mean))).sigmoid()
        return x * (gate.view(x.size(0), -1, 1, 1) if self.linear else gate)


class MultiheadAttention(nn.Module):
    """``nn.MultiheadAttention`` from ``query`` to ``context``, ``[B, T, D]``."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)

    def forward(self, query: Tensor, context: Tensor | None = None) -> Tensor:
        context = query if context is None else context
        return self.attention(query, context, context, need_weights=False)[0]


class SplitHeads(nn.Module):
    """The projections of an attention layer: separate ones, or a joint one that is chunked."""

    def __init__(self, width: int, heads: int, joint: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width) if joint else None
        self.q, self.k, self.v = (nn.Identity() if joint else nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.heads, -1).transpose(1, 2)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = (x, x, x) if self.qkv is None else self.qkv(x).chunk(3, dim=-1)
        q, k, v = (self.split(f(part)) for f, part in zip((self.q, self.k, self.v), parts, strict=True))
        return q, k, v

    def join(self, x: Tensor) -> Tensor:
        return self.out(x.transpose(1, 2).flatten(2))


class ScaledDotProduct(SplitHeads):
    """Attention by ``F.scaled_dot_product_attention``, ``[B, T, D]``."""

    def __init__(self, width: int, heads: int, joint: bool, dropout: float) -> None:
        super().__init__(width, heads, joint)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        dropout = self.dropout if self.training else 0.0
        return self.join(F.scaled_dot_product_attention(*self.project(x), dropout_p=dropout))


class HandAttention(SplitHeads):
    """Attention by two products and a softmax, ``[B, T, D]``; if it is causal, later tokens get a score of -inf."""

    def __init__(self, width: int, heads: int, joint: bool, causal: bool) -> None:
        super().__init__(width, heads, joint)
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x)
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
        if self.causal:
            later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        return self.join(torch.matmul(scores.softmax(dim=-1), v))


class TokenMixing(nn.Module):
    """A linear layer over the tokens, ``[B, T, D]`` (as in MLP-Mixer)."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.mix = nn.Linear(tokens, tokens)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(x.transpose(1, 2)).transpose(1, 2)


class TokenConv(nn.Module):
    """A one-dimensional convolution along the tokens, ``[B, T, D]``."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, padding=1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.permute(0, 2, 1)).permute(0, 2, 1)


class PixelLinear(nn.Module):
    """A linear layer over the channels of an image, put last and back (as in ConvNeXt): it then lies channels-last."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GatedLinear(nn.Module):
    """SwiGLU: ``out(silu(a) * b)`` with ``a`` and ``b`` the halves of one projection, ``[B, T, D]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.up(x).chunk(2, axis=-1)
        return self.out(F.silu(gate) * value)


class Position(nn.Module):
    """Add a bare parameter, ``[B, T, D]``."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


class LayerScale(nn.Module):
    """Multiply by a bare parameter along the last dimension."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class ClassToken(nn.Module):
    """Put a learnt token ahead of the others, ``[B, T, D]`` to ``[B, T + 1, D]``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)


class FunctionalDropout(nn.Module):
    """``F.dropout`` that reads ``self.training``."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, self.training)


class HandMadeDropPath(nn.Module):
    """Stochastic depth as people write it: operations that only train mode runs."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.keep = 1 - p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        return x * x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(self.keep) / self.keep


class Damped(nn.Module):
    """Scale in eval mode alone."""

    def forward(self, x: Tensor) -> Tensor:
        return x if self.training else x * 0.75


def batch_norm(*, sync: bool = False, **options: Any) -> nn.Module:
    """Return a norm over images whose statistics are of one process or of all."""
    return nn.SyncBatchNorm(**options) if sync else nn.BatchNorm2d(**options)


class TokenBatchNorm(nn.Module):
    """``nn.BatchNorm1d`` over the channels of tokens, ``[B, T, D]``."""

    def __init__(self, width: int, affine: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class Dead(nn.Module):
    """Dead at birth: a layer that nobody calls, and a parameter of which the result is not read."""

    def __init__(self) -> None:
        super().__init__()
        self.uncalled = nn.Linear(2, 2)
        self.unread = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        (x * self.unread).sum()
        return x


class Hidden(nn.Module):
    """Compute with a number of numpy's, which no graph can follow; returns one tensor twice, in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = x * self.scale * torch.from_numpy(np.array(0.75))
        return {"value": y, "flat": y.view(-1)}


class Outside(nn.Module):
    """What comes out of a module that cannot be followed, written in place and read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = Hidden()

    def forward(self, x: Tensor) -> Tensor:
        out = self.hidden(x.contiguous())
        out["value"].mul_(0.5)
        return out["value"] + out["flat"].view(x.shape)
