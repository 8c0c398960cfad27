"""What a ``torch`` function is to the tracer: its name, how it becomes a node, what it writes in place."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import MethodDescriptorType, MethodWrapperType, WrapperDescriptorType
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.nn.utils.rnn import PackedSequence

SIZES = frozenset({"size", "numel", "nelement", "__len__"})
READS_VALUE = frozenset(
    {
        "__bool__", "__int__", "__float__", "__index__", "__complex__", "__contains__", "__array__",
        "item", "tolist", "numpy", "is_nonzero", "equal", "allclose",
    }
)  # fmt: skip
SILENT = frozenset(
    {
        "dim", "ndimension", "stride", "storage_offset", "is_contiguous", "is_floating_point", "is_complex",
        "get_device", "element_size", "data_ptr", "untyped_storage", "is_pinned", "has_names", "__repr__", "__format__",
        "__hash__", "requires_grad_", "is_inference", "is_same_size", "is_tensor", "_is_view",
        "__deepcopy__", "get_default_dtype", "_set_grad_enabled", "is_autocast_enabled", "__set__",
    }
)  # fmt: skip
CHANGES_GRADIENTS = frozenset({"register_hook", "register_post_accumulate_grad_hook", "backward"})
# What has as many entries as the values of a tensor decide.
_SIZED_BY_VALUES = frozenset(
    {"nonzero", "argwhere", "unique", "_unique2", "unique_consecutive", "unique_dim", "masked_select", "bincount"}
)
# Filling with random numbers has no out-of-place form that draws the same ones; the others write everything.
_KEPT_IN_PLACE = frozenset(
    {"bernoulli_", "normal_", "uniform_", "exponential_", "random_", "cauchy_", "geometric_", "log_normal_",
     "copy_", "fill_", "zero_", "set_", "resize_", "resize_as_", "swap_", "__setitem__"}
)  # fmt: skip
_COMPARES = frozenset(
    {"eq", "ne", "lt", "le", "gt", "ge", "not_equal", "less", "less_equal", "greater", "greater_equal",
     "logical_and", "logical_or", "logical_xor", "logical_not"}
)  # fmt: skip
_COUNTS = frozenset({"cumsum", "cumprod"})  # small integers become large ones
# Python's operators on tensors: the function of ``operator`` that they are, and whether the operands change places.
_OPERATORS: dict[Any, tuple[Callable[..., Any], bool]] = {
    getattr(torch.Tensor, f"__{name}__"): (getattr(operator, target), swap)
    for name, target, swap in (
        ("getitem", "getitem", False),
        ("setitem", "setitem", False),
        ("matmul", "matmul", False),
        ("rmatmul", "matmul", True),
        ("rsub", "sub", True),
        ("rtruediv", "truediv", True),
        ("floordiv", "floordiv", False),
        ("rfloordiv", "floordiv", True),
        ("mod", "mod", False),
        ("rmod", "mod", True),
        ("pow", "pow", False),
        ("rpow", "pow", True),
        ("neg", "neg", False),
        ("pos", "pos", False),
        ("abs", "abs", False),
    )
}
# Leading parameters that may be given by keyword; rules find them by position.
_LEADING = (
    ("condition", "input", "other"),
    ("input", "tensor1", "tensor2"),
    ("input", "other"),
    ("input", "exponent"),
    ("input", "mat2"),
    ("input",),
    ("tensors",),
)


_NUMPYS = {"axis": "dim", "keepdims": "keepdim"}

# What generated code can spell out; ``None`` among them.
_HELD = (
    *(torch.Tensor, bool, int, float, complex, str, type(None), type(...), slice, range, np.generic),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format),
)
_UNHELD = {np.ndarray: "a numpy array", PackedSequence: "a packed sequence"}


@dataclass(frozen=True)
class Pure:
    """The out-of-place form of an in-place function."""

    func: Callable[..., Any]
    name: str
    kwargs: dict[str, Any] = field(default_factory=dict)


def is_getter(func: Callable[..., Any]) -> bool:
    """Whether ``func`` reads an attribute of a tensor, such as ``shape``."""
    return isinstance(func, MethodWrapperType) and func.__name__ == "__get__"


def sets_data(func: Callable[..., Any]) -> bool:
    """Whether ``func`` replaces the memory of a tensor (``x.data = y``)."""
    return isinstance(func, MethodWrapperType) and func.__name__ == "__set__" and name_of(func.__self__) == "data"


def sets_trainable(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether ``func`` changes whether a tensor gets a gradient."""
    setter = isinstance(func, MethodWrapperType) and func.__name__ == "__set__"
    attribute = name_of(func.__self__) if setter else ""  # type: ignore[attr-defined]  # a method wrapper's
    if "requires_grad" not in (attribute, name_of(func).removesuffix("_")):
        return False
    return bool((*args, True)[1] != args[0].requires_grad)


@cache
def applied(cls: type[torch.autograd.Function]) -> Callable[..., Any]:
    """Return ``cls.apply`` as a function of the module that defines the class: what generated code can name."""

    def apply(*args: Any) -> Any:
        return cls.apply(*args)

    apply.__name__ = apply.__qualname__ = f"{cls.__name__}_apply"
    apply.__module__ = cls.__module__
    return apply


def unheld(arguments: Any) -> str | None:
    """Return what among the arguments cannot stand in generated code, in words; ``None`` if all can."""
    found = next((each for each in _parts(arguments) if not isinstance(each, _HELD)), None)
    if found is None:
        return None
    return _UNHELD.get(type(found), f"an object of class {type(found).__name__}")


def is_sized_by_values(node: fx.Node) -> bool:
    """Whether how many entries a node has depends on the values of a tensor."""
    if node.op not in ("call_function", "call_method"):
        return False
    name = str(node.target) if node.op == "call_method" else name_of(node.target)
    if name == "where":
        return len(node.args) + len(node.kwargs) == 1  # else it chooses entry by entry
    if name == "repeat_interleave":
        return any(each is not node.args[0] for each in node.all_input_nodes)
    if name == "getitem":
        index = node.args[1] if isinstance(node.args[1], tuple) else (node.args[1],)
        infos = [each.meta.get("value") for each in index if isinstance(each, fx.Node)]
        return any(getattr(info, "dtype", None) in (torch.bool, torch.uint8) for info in infos)
    return name in _SIZED_BY_VALUES


def is_certain(node: fx.Node) -> bool:
    """Whether a comparison comes out one way: that of a uniform number in [0, 1) with a rate of 0, or 1 or more.

    So a layer is dropped at random where that is switched off.
    """
    name = str(node.target) if node.op == "call_method" else name_of(node.target)
    if name.strip("_") not in ("lt", "le", "gt", "ge") or len(node.args) != 2:
        return False
    number, rate = node.args
    uniform = isinstance(number, fx.Node) and number.target is torch.rand
    strict = name.strip("_") in ("lt", "ge")  # what decides at a rate of 0 itself
    return uniform and isinstance(rate, (int, float)) and (rate >= 1 or rate < 0 or (strict and rate == 0))


def _parts(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)) and not isinstance(value, PackedSequence):
        for each in value:
            yield from _parts(each)
    elif type(value) is dict:
        yield from _parts(list(value.values()))
    else:
        yield value


def name_of(func: object) -> str:
    """Return the plain name of a function or method."""
    return str(getattr(func, "__name__", type(func).__name__))


def is_method(func: Callable[..., Any], name: str) -> bool:
    """Whether ``func`` is a method of ``torch.Tensor``."""
    if isinstance(func, (MethodDescriptorType, WrapperDescriptorType)):
        return True
    return getattr(torch.Tensor, name, None) is func


def as_node(func: Callable[..., Any], name: str) -> tuple[str, Any, bool]:
    """Return the node's ``op`` and ``target``, and whether the arguments must change places."""
    if func in _OPERATORS:
        function, swap = _OPERATORS[func]
        return "call_function", function, swap
    return ("call_method", name, False) if is_method(func, name) else ("call_function", func, False)


def positional(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments with leading keywords such as ``input=`` put in their places."""
    for names in _LEADING:
        missing = names[len(args) :]
        if missing and all(name in kwargs for name in missing):
            rest = {name: value for name, value in kwargs.items() if name not in missing}
            return (*args, *(kwargs[name] for name in missing)), rest
    return args, kwargs


def torchs_own(func: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments with numpy's names, which torch takes for its own, as torch's: ``axis`` is ``dim``."""
    name = name_of(func)
    if hasattr(func, "__code__") or "quantize" in name or name == "segment_reduce":  # which have such parameters
        return kwargs
    return {_NUMPYS.get(name, name): value for name, value in kwargs.items()}


def written(func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor | None:
    """Return the tensor that the call writes in place, if any."""
    if isinstance(kwargs.get("out"), torch.Tensor):
        out: torch.Tensor = kwargs["out"]
        return out
    in_place = (name.endswith("_") and not name.endswith("__")) or name == "__setitem__"
    if (in_place or _inplace_flag(func, args, kwargs)) and args and isinstance(args[0], torch.Tensor):
        return args[0]
    return None


def out_of_place(func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Pure | None:
    """Return the form that returns what ``func`` writes, where there is one."""
    if "out" in kwargs or name in _KEPT_IN_PLACE:
        return None
    if _inplace_flag(func, args, kwargs):
        return Pure(func, name, {"inplace": False}) if kwargs.get("inplace") else None
    pure = name.removesuffix("_")
    home = torch.Tensor if is_method(func, name) else _home(func)
    return Pure(getattr(home, pure), pure) if hasattr(home, pure) else None


def has_dtype(name: str, dtype: torch.dtype) -> bool:
    """Whether an out-of-place function returns the dtype of its input, as the in-place one does by its nature."""
    if name in _COMPARES:
        return dtype == torch.bool
    return name not in _COUNTS or dtype.is_floating_point or dtype.is_complex or dtype == torch.int64


def _inplace_flag(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if kwargs.get("inplace"):
        return True
    code = getattr(func, "__code__", None)
    names = code.co_varnames[: code.co_argcount] if code else ()
    position = names.index("inplace") if "inplace" in names else len(args)
    return position < len(args) and bool(args[position])


def _home(func: Callable[..., Any]) -> Any:
    return torch.nn.functional if getattr(func, "__module__", "") in ("torch.nn.functional", "torch._C._nn") else torch
