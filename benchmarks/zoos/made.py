"""Common to all sources: what they make, inputs that a model takes, and values as after training."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

Made = tuple[nn.Module, dict[str, Any]]  # a model, and keyword arguments for it


def images(model: nn.Module, sides: Iterable[int]) -> dict[str, Any]:
    """Return two images of the first side that the model trains on: small ones take less time."""
    forward = next(iter(inspect.signature(model.forward).parameters))
    for side in sides:
        inputs = {forward: torch.randn(2, 3, side, side)}
        try:
            with torch.no_grad():
                copy.deepcopy(model).train()(**inputs)
        except Exception:  # noqa: BLE001  # too small for it: what it raises is its own
            continue
        return inputs
    raise ValueError(f"no image of {tuple(sides)} pixels fits")


@torch.no_grad()
def trained(module: nn.Module, inputs: dict[str, Any]) -> None:
    """Give a network what training would: no zeros of birth, and running statistics of what it sees.

    Else it may be constant once its shortcuts are removed, or vary by less than rounding.
    """
    for parameter in module.parameters():
        if parameter.is_floating_point() and not parameter.any():
            parameter.normal_(std=0.1)
    norms = [each for each in module.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    momenta = [each.momentum for each in norms]
    for norm in norms:
        norm.momentum = 1.0
    module.train()(**inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
