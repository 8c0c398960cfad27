"""Structures of tensors, and of the nodes that compute them: the arguments of a call, what a model returns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import fx
from torch.fx.node import map_arg

from autosubnet.capture.observe import info_of, tensors_in
from autosubnet.capture.sizes import TracedNumber
from autosubnet.errors import CaptureError

NodeOf = Callable[[torch.Tensor], fx.Node]
NumberOf = Callable[[TracedNumber], Any]


def arguments(value: Any, node_of: NodeOf, number_of: NumberOf) -> Any:
    """Return the arguments of a call with a node in place of each tensor and traced number, numpy's as Python's."""
    if isinstance(value, torch.Tensor):
        return node_of(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, TracedNumber):
        return number_of(value)
    if isinstance(value, tuple):
        parts = [arguments(each, node_of, number_of) for each in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    if isinstance(value, list):
        return [arguments(each, node_of, number_of) for each in value]
    if isinstance(value, dict):
        return {key: arguments(each, node_of, number_of) for key, each in value.items()}
    if isinstance(value, slice):
        return slice(*(arguments(each, node_of, number_of) for each in (value.start, value.stop, value.step)))
    return value


def returned(result: Any, node_of: NodeOf, number_of: NumberOf, *, nested: bool = False) -> Any:
    """Return what a model returns with nodes in place of tensors, in the same structure.

    Raises:
        CaptureError: the structure is not one of tuples, named tuples, lists, dicts and dataclasses.
    """

    def inside(part: Any) -> Any:
        return returned(part, node_of, number_of, nested=True)

    if isinstance(result, torch.Tensor):
        return node_of(result)
    if isinstance(result, TracedNumber):
        return number_of(result)
    if hasattr(type(result), "n_sequence_fields"):  # torch.return_types
        return _made(result, ([inside(each) for each in result],), {})
    if is_dataclass(result):
        given = [each.name for each in fields(result) if each.init]
        return _made(result, (), {name: inside(getattr(result, name)) for name in given})
    if isinstance(result, torch.Size):
        return tuple(inside(each) for each in result)
    if isinstance(result, (tuple, list)):
        items = [inside(each) for each in result]
        if not hasattr(result, "_fields"):
            return type(result)(items)
        return _made(result, (*items,), {}) if nested else type(result)(*items)  # fx writes the outermost by its name
    if isinstance(result, dict):
        named = {key: inside(each) for key, each in result.items()}
        return named if type(result) is dict else _made(result, (named,), {})
    if isinstance(result, np.generic):
        return result.item()
    if result is None or isinstance(result, (bool, int, float, str)):
        return result
    raise CaptureError(
        f"the model returns a {type(result).__name__}; let it return tensors, or tuples, lists, dicts or dataclasses "
        f"of them"
    )


def _made(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> fx.Node | Any:
    """Return the node that makes a container of the same class; the container as it is where it holds no tensor."""
    held: list[fx.Node] = []
    map_arg((args, kwargs), held.append)
    if not held:
        return type(result)(*args, **kwargs)
    node = held[0].graph.call_function(type(result), args, kwargs)
    node.meta["value"] = info_of(tuple(tensors_in(result)))
    return node
