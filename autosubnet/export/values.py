"""Arguments of a graph's nodes as JSON, with their types, and back.

``None``, truth values, whole and finite numbers and text stand for themselves; everything else is an object of one
entry whose key names the type, such as ``{"tuple": [1, 2]}`` or ``{"node": "conv1"}``.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Callable, Mapping
from functools import cache
from keyword import iskeyword
from typing import Any

import torch
from torch import fx

from autosubnet.errors import ExportError

Json = Any  # what json.load returns
_TORCH_CONSTANTS = (torch.dtype, torch.layout, torch.memory_format)


def encode(value: Any, where: str) -> Json:
    """Return ``value`` as JSON; ``where`` names the node or module that holds it.

    Raises:
        ExportError: it is of a type that has no form as data.
    """

    def each(items: Any) -> list[Json]:
        return [encode(item, where) for item in items]

    match value:
        case None | bool() | int() | str() if type(value) in (type(None), bool, int, str) and not _is_huge(value):
            return value
        case float():
            return float(value) if math.isfinite(value) else {"float": str(value)}
        case fx.Node():
            return {"node": value.name}
        case torch.Size():
            return {"size": each(value)}
        case tuple() if hasattr(value, "_fields"):
            return {"named": [type(value).__name__, list(value._fields), each(value)]}
        case tuple():
            return {"tuple": each(value)}
        case list():
            return {"list": each(value)}
        case dict():
            return {"dict": [[encode(key, where), encode(item, where)] for key, item in value.items()]}
        case slice():
            return {"slice": each((value.start, value.stop, value.step))}
        case complex():
            return {"complex": each((value.real, value.imag))}
        case torch.device():
            return {"device": str(value)}
        case _ if value is ...:
            return {"ellipsis": None}
        case _ if isinstance(value, _TORCH_CONSTANTS):
            return {"torch": str(value).removeprefix("torch.")}
    raise ExportError(
        f"{where!r} holds a {type(value).__module__}.{type(value).__qualname__}, which cannot be saved as data; "
        "let the model use numbers below 2**64, text, tensors and tuples, lists or dicts of them"
    )


def decode(data: Json, where: str, nodes: Mapping[str, Any]) -> Any:
    """Return the value that ``encode`` wrote; ``nodes`` holds what its references stand for.

    Raises:
        ExportError: the data are not what ``encode`` writes, or refer to no earlier node.
    """
    if (data is None or isinstance(data, (bool, int, float, str))) and not _is_huge(data):
        return data
    if not isinstance(data, dict) or len(data) != 1:
        raise _malformed(data, where)
    (kind, content), *_ = data.items()
    try:
        if kind == "node":
            return nodes[content]
        if kind == "dict":
            return {decode(key, where, nodes): decode(item, where, nodes) for key, item in content}
        if kind == "named":
            name, fields, items = content
            return named_type(name, tuple(fields))(*_decoded(items, where, nodes))
        if kind in _PLAIN:
            return _PLAIN[kind](content)
        return _SEQUENCES[kind](_decoded(content, where, nodes))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RuntimeError) as error:
        raise _malformed(data, where) from error


def _decoded(content: Json, where: str, nodes: Mapping[str, Any]) -> list[Any]:
    if not isinstance(content, list):
        raise TypeError("not a list")
    return [decode(item, where, nodes) for item in content]


def _malformed(data: Json, where: str) -> ExportError:
    return ExportError(
        f"the saved graph is damaged: {where!r} holds {str(data)[:80]!r}, which is no argument or refers to no node "
        "before it; save the network again"
    )


def _is_huge(value: Any) -> bool:
    """Whether no tensor can hold a whole number; Python's own computes with millions of digits for hours."""
    return isinstance(value, int) and abs(value) >= 2**64


def _torch_constant(name: str) -> Any:
    value = getattr(torch, name)
    if not isinstance(value, _TORCH_CONSTANTS):
        raise TypeError(name)
    return value


def _number(name: str) -> float:
    return {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[name]


def _ellipsis(content: None) -> Any:
    return ...


_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    "float": _number, "device": torch.device, "torch": _torch_constant, "ellipsis": _ellipsis,
}  # fmt: skip
_SEQUENCES: Mapping[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple, "list": list, "size": torch.Size, "slice": lambda parts: slice(*parts),
    "complex": lambda parts: complex(*parts),
}  # fmt: skip


@cache
def named_type(name: str, fields: tuple[str, ...]) -> Any:
    """Return a named tuple for outputs such as torchvision's ``GoogLeNetOutputs``, without their library."""
    if not all(is_identifier(each) for each in (name, *fields)):
        raise ValueError(name)
    return namedtuple(name, fields, module=__name__)


def is_identifier(name: Any) -> bool:
    """Whether ``name`` can stand in Python source as a name, safely: fx writes names into the code it runs."""
    return isinstance(name, str) and name.isidentifier() and name.isascii() and not iskeyword(name)
