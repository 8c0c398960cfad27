"""The inputs of a graph: a placeholder for each argument, and a node for each tensor in those that hold several."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from autosubnet.capture.observe import parts_of
from autosubnet.capture.values import Values
from autosubnet.errors import CaptureError


def placeholders(
    model: nn.Module, values: Values, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Emit the placeholders of a call of the model and note which tensor each is; return the arguments as bound.

    Raises:
        CaptureError: the arguments do not fit its forward.
    """
    signature = inspect.signature(model.forward)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise CaptureError(f"the example inputs do not fit forward() of the model: {error}") from error
    optional = False  # behind an argument with a default all others must have one in generated code
    for name, value in bound.arguments.items():
        parameter = signature.parameters[name]
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            for position, each in enumerate(value):
                _placeholder(values, f"{name}_{position}", each, None if optional else inspect.Parameter.empty)
        elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
            for key, each in value.items():
                _placeholder(values, key, each, None if optional else inspect.Parameter.empty)
        else:
            has_default = parameter.default is not inspect.Parameter.empty
            _placeholder(values, name, value, None if optional and not has_default else parameter.default)
            optional = optional or has_default
    return bound.args, bound.kwargs


def _placeholder(values: Values, name: str, value: Any, default: Any) -> None:
    given = {} if default is inspect.Parameter.empty else {"default_value": default}
    _bind_tree(values, value, values.graph.placeholder(name, **given))


def _bind_tree(values: Values, value: Any, node: fx.Node) -> None:
    if isinstance(value, torch.Tensor):
        values.bind(value, node, node)
        return
    for take, key, each in parts_of(value):
        _bind_tree(values, each, values.graph.call_function(take, (node, key)))
