"""The operators that a random plan may use: layers (modules) and functions (everything else).

A few layers are small networks of their own (squeeze-excite, attention), so that the graph under test also
has nested modules, bare parameters and tensor methods in it.
"""

from __future__ import annotations

import functools
import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune


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
    """Attention by two products and a softmax, ``[B, T, D]``."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.project(x)
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)
        return self.join(torch.matmul(weights, v))


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
        gate, value = self.up(x).chunk(2, dim=-1)
        return self.out(F.silu(gate) * value)


class Position(nn.Module):
    """Add a bare parameter, ``[B, T, D]``."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(1, tokens, width))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


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


class TokenBatchNorm(nn.Module):
    """``nn.BatchNorm1d`` over the channels of tokens, ``[B, T, D]``."""

    def __init__(self, width: int, affine: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


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


class Doubled(nn.Conv2d):
    """A convolution by its class, and twice that by its forward."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Standardised(nn.Conv2d):
    """A convolution whose weights are standardised in each call."""

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(input, weight / (1 + weight.std((1, 2, 3), keepdim=True)), self.bias)


def lazy(in_channels: int, **options: Any) -> nn.Module:
    """Return a lazy convolution that has seen its input."""
    conv = nn.LazyConv2d(**options)
    conv(torch.zeros(1, in_channels, 4, 4))
    return conv


def odd_conv(kind: str, **options: Any) -> nn.Module:
    """Return a convolution that is not what its class says."""
    classes = {"subclass": Doubled, "standardised": Standardised, "lazy": lazy}
    if kind in classes:
        return classes[kind](**options)
    conv = nn.Conv2d(**options)
    if kind == "hook":
        conv.register_forward_hook(lambda module, arguments, result: result * 0.5)
    elif kind == "pre_hook":
        conv.register_forward_pre_hook(lambda module, arguments: (arguments[0] * 2,))
    elif kind == "pruned":
        prune.ln_structured(conv, "weight", amount=1, n=2, dim=0)
    elif kind == "strided":
        conv.weight = nn.Parameter(conv.weight.detach().permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0))
    elif kind.startswith("old_"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            getattr(nn.utils, kind.removeprefix("old_"))(conv)
    else:
        getattr(parametrizations, kind)(conv)
    return conv


LAYERS: dict[str, Callable[..., nn.Module]] = {
    "conv": nn.Conv2d,
    "odd_conv": odd_conv,
    "instance_norm": nn.InstanceNorm2d,
    "token_batch_norm": TokenBatchNorm,
    "rotary": Rotary,
    "monitor": Monitor,
    "outside": Outside,
    "conv_transpose": nn.ConvTranspose2d,
    "batch_norm": nn.BatchNorm2d,
    "group_norm": nn.GroupNorm,
    "layer_norm": nn.LayerNorm,
    "rms_norm": nn.RMSNorm,
    "linear": nn.Linear,
    "embedding": nn.Embedding,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "prelu": nn.PReLU,
    "glu": nn.GLU,
    "max_pool": nn.MaxPool2d,
    "avg_pool": nn.AvgPool2d,
    "dropout": nn.Dropout,
    "dropout2d": nn.Dropout2d,
    "f_dropout": FunctionalDropout,
    "drop_path": HandMadeDropPath,
    "damped": Damped,
    "squeeze_excite": SqueezeExcite,
    "mha": MultiheadAttention,
    "sdpa": ScaledDotProduct,
    "hand_attention": HandAttention,
    "token_mixing": TokenMixing,
    "token_conv": TokenConv,
    "pixel_linear": PixelLinear,
    "swiglu": GatedLinear,
    "position": Position,
    "table_position": TablePosition,
    "layer_scale": LayerScale,
    "class_token": ClassToken,
}


def one_minus(x: Tensor) -> Tensor:
    return 1 - x


def zero_minus(x: Tensor) -> Tensor:
    return 0 - x


def add_in_place(x: Tensor, y: Tensor) -> Tensor:
    x += y
    return x


def relu_on_view(x: Tensor) -> Tensor:
    """Change the first half of the channels through a view of ``x``, and return ``x``."""
    x[:, : x.shape[1] // 2].relu_()
    return x


def set_first_channels(x: Tensor, y: Tensor, dim: int) -> Tensor:
    """Write the first half of the channels of ``y`` over those of a copy of ``x``."""
    x, half = x.clone(), (*(slice(None),) * dim, slice(x.shape[dim] // 2))
    x[half] = y[half]
    return x


def nobody_reads(x: Tensor) -> Tensor:
    """Compute something for nobody, and return ``x``."""
    x.tanh().sum()
    return x


def total(*tensors: Tensor) -> Tensor:
    return functools.reduce(operator.add, tensors)


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "one_minus": one_minus,
    "zero_minus": zero_minus,
    "add": total,
    "add_alpha": lambda x, y: torch.add(x, y, alpha=0.5),
    "iadd": add_in_place,
    "add_": lambda x, y: x.add_(y),
    "sub": operator.sub,
    "mul": operator.mul,
    "rsub": torch.rsub,
    "python_sum": lambda *tensors: sum(tensors),
    # A choice alone might never fall on what is left: the lesser of 0 and a ReLU is 0.
    "maximum": lambda x, y: torch.maximum(x, y) + 0.1 * (x + y),
    "minimum": lambda x, y: torch.minimum(x, y) + 0.1 * (x + y),
    "ratio": lambda x, y: x / (1 + y.abs()),
    "where": lambda x, y: torch.where(x > y, x * 0.5, y) + 0.1 * (x + y),
    "lerp": lambda x, y: torch.lerp(x, y, 0.25),
    "addcmul": lambda x, y, z: torch.addcmul(x, y, z, value=0.5),
    "masked": lambda x, y: x * (y > 0) + 0.1 * (x + y),  # with other ways for x and for the gradient of y
    "einsum": lambda x, y: torch.einsum("bi...,bi...->bi...", x, y),
    "baddbmm": lambda x, y: torch.baddbmm(x, (y @ y.mT).softmax(-1), y, alpha=0.5),
    "view_add": lambda x, y: (x.flatten(1) + y.flatten(1)).view(x.shape),
    "set_first_channels": set_first_channels,
    "nobody_reads": nobody_reads,
    "single_precision": lambda x: x.float().sin().to(x.dtype),
    "cat": lambda *tensors, dim: torch.cat(tensors, dim=dim),
    "stack_sum": lambda *tensors, dim: torch.stack(tensors, dim=dim).sum(dim),
    "stack_mean": lambda *tensors, dim: torch.stack(tensors, dim=dim).mean(dim=dim),
    "stack_max": lambda *tensors, dim: torch.stack(tensors, dim=dim).amax(dim) + 0.1 * total(*tensors),
    "relu_": F.relu_,
    "leaky_relu_": F.leaky_relu_,
    "relu_on_view": relu_on_view,
    "f_sigmoid": torch.sigmoid,
    "f_glu": F.glu,
    "upsample": lambda x, like: F.interpolate(x, size=like.shape[-2:], mode="nearest"),
    "pool_to_pixel": lambda x: F.adaptive_avg_pool2d(x, 1),
    "flatten": lambda x: torch.flatten(x, 1),
    "pixel_view": lambda x: x.view(x.size(0), -1, 1, 1),
    "to_tokens": lambda x: x.flatten(2).transpose(1, 2),
    "mean_token": lambda x: x.mean(dim=1, keepdim=True),
    "mean_of_tokens": lambda x: x.mean(1),
    "first_token": lambda x: x[:, 0],
}
