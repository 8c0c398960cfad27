"""Convolutions that are not what their class says."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune


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
