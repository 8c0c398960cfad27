"""The torch optimizers that H2SPG builds on ("SGD or its variants", OTOv3 Section 3.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from autosubnet.errors import InputError
from autosubnet.optim.sharding import is_split

VARIANTS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def make_base(variant: str, params: Any, options: Mapping[str, Any]) -> torch.optim.Optimizer:
    """A torch optimizer by name.

    Args:
        variant: a key of ``VARIANTS``.
        params: what that optimizer takes: parameters, or dicts of them with their own options.
        options: its keyword arguments.

    Raises:
        InputError: an unknown variant, or what torch's optimizer refuses, in its words.
    """
    if variant not in VARIANTS:
        raise InputError(f"variant is {variant!r}; it must be one of {', '.join(map(repr, VARIANTS))}")
    for name in ("maximize", "differentiable"):
        if options.get(name):
            raise InputError(f"{name}=True is not supported: scores and projection need a loss that is minimised")
    try:
        return VARIANTS[variant](params, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"the base optimizer of variant {variant!r} refuses its arguments: {error}") from error


def prefer_fused(base: torch.optim.Optimizer, model: nn.Module) -> None:
    """Switch to torch's fused kernels where nobody chose between them and ``foreach``.

    They read and write each tensor once, which more than pays for what H2SPG reads besides. Left alone:
    parameter groups that are not floating point on a CPU or a CUDA device, or are split over processes, and models with
    sparse gradients.
    """
    if any(getattr(module, "sparse", False) is True for module in model.modules()):
        return
    for group in base.param_groups:
        fits = all(
            p.is_floating_point() and p.device.type in ("cpu", "cuda") and not is_split(p) for p in group["params"]
        )
        if fits and group["fused"] is None and group["foreach"] is None:
            group["fused"] = True
