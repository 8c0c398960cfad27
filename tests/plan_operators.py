"""The operators that a random plan may use: layers (modules) and functions (everything else)."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable

import plan_buffers as buffers
import plan_containers as containers
import plan_modules as own
import torch
import torch.nn.functional as F
from odd_layers import odd_conv, odd_linear, odd_norm
from torch import Tensor, nn

LAYERS: dict[str, Callable[..., nn.Module]] = {
    "conv": nn.Conv2d,
    "odd_conv": odd_conv,
    "odd_linear": odd_linear,
    "odd_norm": odd_norm,
    "nested": containers.Nested,
    "contraction": containers.Contraction,
    "fan": containers.Fan,
    "chain": containers.Chain,
    "instance_norm": nn.InstanceNorm2d,
    "token_batch_norm": own.TokenBatchNorm,
    "rotary": buffers.Rotary,
    "identity": nn.Identity,
    "monitor": buffers.Monitor,
    "dead": own.Dead,
    "outside": own.Outside,
    "conv_transpose": nn.ConvTranspose2d,
    "batch_norm": own.batch_norm,
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
    "f_dropout": own.FunctionalDropout,
    "drop_path": own.HandMadeDropPath,
    "damped": own.Damped,
    "squeeze_excite": own.SqueezeExcite,
    "mha": own.MultiheadAttention,
    "sdpa": own.ScaledDotProduct,
    "hand_attention": own.HandAttention,
    "token_mixing": own.TokenMixing,
    "token_conv": own.TokenConv,
    "pixel_linear": own.PixelLinear,
    "swiglu": own.GatedLinear,
    "position": own.Position,
    "table_position": buffers.TablePosition,
    "indexed_position": buffers.IndexedPosition,
    "centred": buffers.Centred,
    "shuffle": buffers.Shuffle,
    "watched": buffers.Watched,
    "layer_scale": own.LayerScale,
    "class_token": own.ClassToken,
}


def one_minus(x: Tensor) -> Tensor:
    return 1 - x


def zero_minus(x: Tensor) -> Tensor:
    return 0 - x


def add_on_view(x: Tensor, y: Tensor) -> Tensor:
    """Add to the first half of the channels through a view of ``x``, and return ``x``."""
    half = x[:, : x.shape[1] // 2]
    half += y[:, : x.shape[1] // 2]
    return x


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


def set_in_place(x: Tensor, y: Tensor, dim: int) -> Tensor:
    """Write the first half of the channels of ``y`` over those of ``x``."""
    half = (*(slice(None),) * dim, slice(x.shape[dim] // 2))
    x[half] = y[half]
    return x


def part_written(x: Tensor, y: Tensor, dim: int) -> Tensor:
    """Join both, add to the half that is ``y``, and multiply the halves."""
    joined = torch.cat([x, y], dim)
    joined.narrow(dim, x.shape[dim], y.shape[dim]).add_(1)
    first, second = joined.chunk(2, dim)
    return first * second


def unrecorded(x: Tensor) -> Tensor:
    """Bound the first half of the channels of a copy, which autograd does not see: the gradient is that of all."""
    x = x.clone()
    with torch.no_grad():
        x[:, : x.shape[1] // 2].clamp_(-1, 1)
    return x


def island(x: Tensor) -> Tensor:
    """Compute in float32, by operations that round alike wherever an entry lies."""
    y = x.float()
    return (y / (1 + y.abs())).to(x.dtype)


def nobody_reads(x: Tensor) -> Tensor:
    """Compute something for nobody, and return ``x``."""
    x.tanh().sum()
    return x


def overflowing(x: Tensor) -> Tensor:
    """Add the signs of what is more than rounding, by way of infinities that are clamped."""
    most = torch.finfo(x.dtype).max
    return x + 0.1 * (F.hardshrink(x.detach(), 0.01) * most * most).clamp(-1, 1)


def behind_where(x: Tensor) -> Tensor:
    """Add logarithms where there are any: those of the others, which are no numbers, are not chosen."""
    y = x.detach() - 0.1  # at zero the logarithm would have a pole, which validity keeps away from
    return x + 0.1 * torch.where(y > 0.1, y.log(), 0.5)


def total(*tensors: Tensor) -> Tensor:
    return functools.reduce(operator.add, tensors)


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "one_minus": one_minus,
    "zero_minus": zero_minus,
    "overflowing": overflowing,
    "behind_where": behind_where,
    "add": total,
    "add_alpha": lambda x, y, alpha: torch.add(x, y, alpha=alpha),
    "sub_alpha": lambda x, y, alpha: torch.sub(x, y, alpha=alpha),
    "mixed_add": lambda x, y: ((x.float() + y) / 3).to(x.dtype),  # a third in the dtype that both give
    "mixed_mul": lambda x, y: (x * y.float() / 3).to(x.dtype),
    "iadd": add_in_place,
    "iadd_on_view": add_on_view,
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
    "masked": lambda x, y: x * (y > 0.01) + 0.1 * (x + y),  # with other ways for x and for the gradient of y
    "einsum": lambda x, y: torch.einsum("bi...,bi...->bi...", x, y),
    "baddbmm": lambda x, y: torch.baddbmm(x, (y @ y.mT).softmax(-1), y, alpha=0.5),
    "view_add": lambda x, y: (x.flatten(1) + y.flatten(1)).view(x.shape),
    "set_first_channels": set_first_channels,
    "set_in_place": set_in_place,
    "part_written": part_written,
    "island": island,
    "nobody_reads": nobody_reads,
    "unrecorded": unrecorded,
    "single_precision": lambda x: x.float().sin().to(x.dtype),
    "cat": lambda *tensors, dim: torch.cat(tensors, dim=dim),
    "stack_sum": lambda *tensors, dim: torch.stack(tensors, dim=dim).sum(dim),
    "stack_mean": lambda *tensors, dim: torch.stack(tensors, axis=dim).mean(axis=dim),
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
    "mean_token": lambda x: x.mean(axis=1, keepdims=True),
    "mean_of_tokens": lambda x: x.mean(1),
    "first_token": lambda x: x[:, 0],
}
