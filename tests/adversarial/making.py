"""Small networks with zeros, made and compared in one line each."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from probes import largest, run
from subnet.checks import zero
from torch import Tensor, fx, nn

import autosubnet

from .specimen import Net


def example(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)


def network(body: Callable[..., Any], dtype: torch.dtype = torch.float64, *, images: bool = False, **parts: Any) -> Net:
    """Return stem -> body -> head with weights that are not zero, in eval mode."""
    torch.manual_seed(0)
    return Net(body, lambda: parts, images=images).to(dtype).eval()


def without(model: nn.Module, x: Tensor, *names: str) -> fx.GraphModule:
    """Set ``names`` to zero and return the subnet."""
    zero(model, names)
    return autosubnet.remove_zeros(model, (x,))


def equal(model: nn.Module, subnet: nn.Module, x: Tensor, tolerance: float = 0.0) -> None:
    """The same shapes and dtypes, and the same finite entries; an output with entries has a finite one."""
    with torch.no_grad():
        expected, got = (run(copy.deepcopy(module), (x,), train=False) for module in (model, subnet))
    assert len(expected) == len(got)
    for a, b in zip(expected, got, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        finite = torch.isfinite(a)
        assert finite.any() or not a.numel()
        a, b = a[finite], b[finite]
        assert largest(a - b) <= tolerance * largest(a)
