"""Layers that are not what their class says."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune


class DoubledConv(nn.Conv2d):
    """A convolution by its class, and twice that by its forward."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class DoubledLinear(nn.Linear):
    """A linear layer by its class, and twice that by its forward."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class ShiftedNorm(nn.LayerNorm):
    """A norm by its class, and one more by its forward."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class ShiftedBatchNorm(nn.BatchNorm2d):
    """A norm by its class, and one more by its forward."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


class Standardised(nn.Conv2d):
    """A convolution whose weights are standardised in each call."""

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(input, weight / (1 + weight.std((1, 2, 3), keepdim=True)), self.bias)


def lazy_conv(in_channels: int, **options: Any) -> nn.Module:
    """Return a lazy convolution that has seen its input."""
    conv = nn.LazyConv2d(**options)
    conv(torch.zeros(1, in_channels, 4, 4))
    return conv


def lazy_linear(in_features: int, **options: Any) -> nn.Module:
    """Return a lazy linear layer that has seen its input."""
    linear = nn.LazyLinear(**options)
    linear(torch.zeros(1, in_features))
    return linear


def odd_conv(kind: str, **options: Any) -> nn.Module:
    """Return a convolution that is not what its class says."""
    classes = {"subclass": DoubledConv, "standardised": Standardised, "lazy": lazy_conv}
    if kind in classes:
        return classes[kind](**options)
    conv = nn.Conv2d(**options)
    if kind == "strided":
        conv.weight = nn.Parameter(conv.weight.detach().permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0))
        return conv
    return changed(conv, kind)


def odd_linear(kind: str, **options: Any) -> nn.Module:
    """Return a linear layer that is not what its class says."""
    classes = {"subclass": DoubledLinear, "lazy": lazy_linear}
    if kind in classes:
        return classes[kind](**options)
    linear = nn.Linear(**options)
    if kind == "strided":
        linear.weight = nn.Parameter(linear.weight.detach().T.contiguous().T)
        return linear
    return changed(linear, kind)


def odd_norm(kind: str, width: int, images: bool) -> nn.Module:
    """Return a norm that is not what its class says: of batches of images, or of single tokens."""
    if kind == "subclass":
        return ShiftedBatchNorm(width) if images else ShiftedNorm(width)
    norm = nn.BatchNorm2d(width) if images else nn.LayerNorm(width)
    if kind == "pruned":
        return prune.l1_unstructured(norm, "weight", amount=1)
    return changed(norm, kind)


def changed(layer: nn.Module, kind: str) -> nn.Module:
    """Return a layer with a hook, a mask or another way to its weight."""
    if kind == "hook":
        layer.register_forward_hook(lambda module, arguments, result: result * 0.5)
    elif kind == "pre_hook":
        layer.register_forward_pre_hook(lambda module, arguments: (arguments[0] * 2,))
    elif kind == "pruned":
        prune.ln_structured(layer, "weight", amount=1, n=2, dim=0)
    elif kind.startswith("old_"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            getattr(nn.utils, kind.removeprefix("old_"))(layer)
    else:
        getattr(parametrizations, kind)(layer)
    return layer
