"""What a ``TorchFunctionMode`` does not see: calls of modules, and functions with a backward of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def patched(call_module: Callable[..., Any], apply_function: Callable[..., Any]) -> Iterator[None]:
    """Hand each such call to a function of ours inside the block.

    Args:
        call_module: gets torch's ``Module.__call__``, the module, its arguments and its keyword arguments.
        apply_function: gets the ``torch.autograd.Function``, its ``apply`` and the arguments.
    """
    original = nn.Module.__call__

    def call(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return call_module(original, module, args, kwargs)

    apply = torch.autograd.Function.__dict__["apply"]

    def applied(cls: type[torch.autograd.Function], *args: Any) -> Any:
        return apply_function(cls, apply.__get__(None, cls), args)

    nn.Module.__call__ = call  # type: ignore[method-assign]  # as torch.fx does: put back below
    torch.autograd.Function.apply = classmethod(applied)
    try:
        yield
    finally:
        nn.Module.__call__ = original  # type: ignore[method-assign]  # see above
        torch.autograd.Function.apply = apply
