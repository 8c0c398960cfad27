"""The operators that a saved network may hold, each under a stable name; nothing else is written or read.

The list is closed: what can be overridden by tensors (``torch.overrides``), the factories, arithmetic, and a few
functions of numbers. None of them opens a file, runs code or takes a function, so that a saved graph is data.
"""

from __future__ import annotations

import builtins
import math
import operator
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import get_overridable_functions

from autosubnet.errors import ExportError

_FACTORIES = (
    "arange", "as_tensor", "bartlett_window", "blackman_window", "empty", "eye", "full", "hamming_window",
    "hann_window", "kaiser_window", "linspace", "logspace", "normal", "ones", "rand", "rand_like", "randint",
    "randint_like", "randn", "randn_like", "randperm", "result_type", "promote_types", "scalar_tensor",
    "tensor", "tril_indices", "triu_indices", "unique", "zeros",
)  # fmt: skip
_FUNCTIONAL = ("hardsigmoid", "hardswish", "sigmoid", "tanh", "upsample", "upsample_bilinear", "upsample_nearest")
_OPERATORS = (
    "abs", "add", "and_", "contains", "eq", "floordiv", "ge", "getitem", "gt", "iadd", "iand", "ifloordiv",
    "imod", "imul", "invert", "ior", "ipow", "isub", "itruediv", "ixor", "le", "lshift", "lt", "matmul", "mod",
    "mul", "ne", "neg", "not_", "or_", "pos", "pow", "rshift", "setitem", "sub", "truediv", "truth", "xor",
)  # fmt: skip
_MATHS = ("ceil", "cos", "exp", "floor", "gcd", "log", "log2", "prod", "sin", "sqrt", "trunc")
_BUILTINS = ("abs", "bool", "divmod", "float", "getattr", "int", "len", "max", "min", "pow", "round", "slice", "sum")
_DUNDERS = (
    "__add__", "__and__", "__eq__", "__floordiv__", "__ge__", "__getitem__", "__gt__", "__iadd__", "__iand__",
    "__idiv__", "__imul__", "__invert__", "__ior__", "__isub__", "__ixor__", "__le__", "__len__", "__lt__",
    "__matmul__", "__mod__", "__mul__", "__ne__", "__neg__", "__or__", "__pow__", "__radd__", "__rand__",
    "__rdiv__", "__rfloordiv__", "__rmatmul__", "__rmod__", "__rmul__", "__ror__", "__rpow__", "__rsub__",
    "__rtruediv__", "__rxor__", "__setitem__", "__sub__", "__truediv__", "__xor__",
)  # fmt: skip
_MORE_METHODS = frozenset({"new_empty", "new_full", "new_ones", "new_tensor", "new_zeros", "stride", "unflatten"})
_NOT_DATA = frozenset(
    {"apply_", "backward", "const_data_ptr", "data_ptr", "map2_", "map_", "module_load", "numpy", "pin_memory",
     "record_stream", "register_hook", "register_post_accumulate_grad_hook", "set_", "share_memory_", "storage",
     "storage_type", "untyped_storage"}
)  # fmt: skip
ATTRIBUTES = (
    "H", "T", "device", "dtype", "grad", "imag", "indices", "is_cuda", "itemsize", "layout", "mH", "mT", "nbytes",
    "ndim", "real", "requires_grad", "shape", "values",
)  # fmt: skip


@cache
def functions() -> dict[str, Callable[..., Any]]:
    """Return every function that a saved graph may call, by its stable name."""
    allowed = get_overridable_functions()
    known = {id(each) for namespace in allowed for each in allowed[namespace]}
    found: dict[str, Callable[..., Any]] = {}
    spaces = {"torch.nn.functional": F, "torch": torch, "torch.linalg": torch.linalg, "torch.fft": torch.fft,
              "torch.special": torch.special}  # fmt: skip
    for prefix, space in spaces.items():
        public = [name for name in dir(space) if not name.startswith("_")]
        found |= {f"{prefix}.{name}": getattr(space, name) for name in public if id(getattr(space, name)) in known}
    found |= {f"torch.{name}": getattr(torch, name) for name in (*_FACTORIES, "_weight_norm")}
    found |= {f"torch.nn.functional.{name}": getattr(F, name) for name in _FUNCTIONAL}
    found |= {f"torch.Tensor.{name}": getattr(torch.Tensor, name) for name in methods() if hasattr(torch.Tensor, name)}
    found |= {f"operator.{name}": getattr(operator, name) for name in _OPERATORS}
    found |= {f"math.{name}": getattr(math, name) for name in _MATHS}
    return found | {f"builtins.{name}": getattr(builtins, name) for name in _BUILTINS}


@cache
def methods() -> frozenset[str]:
    """Return the names of the tensor methods that a saved graph may call."""
    overridable = {getattr(each, "__name__", "_") for each in get_overridable_functions()[torch.Tensor]}
    public = frozenset(name for name in overridable if not name.startswith("_"))
    return (public - _NOT_DATA) | _MORE_METHODS | frozenset(_DUNDERS)


@cache
def _names() -> dict[int, str]:
    names: dict[int, str] = {}
    for name, function in functions().items():
        names.setdefault(id(function), name)
    return names


def name_of(function: Callable[..., Any], where: str) -> str:
    """Return the stable name of a function; ``where`` names its node.

    Raises:
        ExportError: it is not one that a saved graph may call.
    """
    name = _names().get(id(function))
    if name is None:
        qualified = f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', function)}"
        raise ExportError(
            f"node {where!r} calls {qualified}, which is not a public function of torch; "
            "a saved network holds such functions only, so let the model call them instead"
        )
    return name


def function_of(name: str, where: str) -> Callable[..., Any]:
    """Return the function of a stable name; ``where`` names its node.

    Raises:
        ExportError: a saved graph may not call it.
    """
    if name not in functions():
        raise ExportError(f"node {where!r} wants to call {name!r}, which no network saved by this package holds")
    return functions()[name]


def require_method(name: str, where: str) -> None:
    """Check that ``name`` is a tensor method that a saved graph may call; ``where`` names its node.

    Raises:
        ExportError: it is not.
    """
    if name not in methods():
        raise ExportError(f"node {where!r} calls the method {name!r}, which no saved network holds")
