"""What a ``TorchFunctionMode`` does not see: modules, functions with a backward of their own, ``math`` on sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from autosubnet.capture.sizes import TracedNumber

# These read an integer without asking it: what they return does not remember where it came from.
_MATH = ("comb", "factorial", "gcd", "isqrt", "lcm", "log", "log10", "log2", "perm")


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

    functions = {name: getattr(math, name) for name in _MATH}
    for name, function in functions.items():
        setattr(math, name, _reporting(name, function))
    nn.Module.__call__ = call  # type: ignore[method-assign]  # as torch.fx does: put back below
    torch.autograd.Function.apply = classmethod(applied)
    try:
        yield
    finally:
        nn.Module.__call__ = original  # type: ignore[method-assign]  # see above
        torch.autograd.Function.apply = apply
        for name, function in functions.items():
            setattr(math, name, function)


def _reporting(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def called(*args: Any) -> Any:
        for number in (each for each in args if isinstance(each, TracedNumber)):
            number._lose(f"math.{name}(size)")
        return function(*args)

    return called
