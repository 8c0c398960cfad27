"""One call of an operator, seen alike whether it is a leaf module, a function or a method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import fx, nn

from autosubnet.ops.masks import MaskTree, uniform

Value = fx.Node | str  # a tensor: the node that computes it, or the name of a parameter or buffer


@dataclass(frozen=True, eq=False)
class Call:
    """A node together with its leaf module and the names of that module's tensors.

    Attributes:
        node: the node; ``node.meta["value"]`` says what was seen there.
        module: the leaf module that it calls, or ``None``.
        tensors: names of the module's own parameters and buffers, by role such as ``"weight"``.
        in_example: whether what is asked is meant of the example inputs' sizes alone, and not of all.
    """

    node: fx.Node
    module: nn.Module | None
    tensors: dict[str, str]
    in_example: bool = False

    @property
    def name(self) -> str:
        """Plain name of the function or method, or class of the leaf module."""
        if self.module is not None:
            return type(self.module).__name__
        return str(getattr(self.node.target, "__name__", self.node.target))

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument of the call by position or by name."""
        if position < len(self.node.args):
            return self.node.args[position]
        return self.node.kwargs.get(name, default)

    def setting(self, name: str, position: int, default: Any = None) -> Any:
        """Return a hyper-parameter: the leaf module's attribute or the function's argument."""
        if self.module is not None:
            return getattr(self.module, name, default)
        return self.argument(position, name, default)

    def tensor(self, role: str, position: int) -> Value | None:
        """Return a tensor such as the weight: the leaf module's, or the function's argument."""
        if self.module is not None:
            return self.tensors.get(role)
        value = self.argument(position, role)
        return value if isinstance(value, fx.Node) else None

    @property
    def input(self) -> fx.Node:
        """The first operand."""
        value = self.argument(0, "input")
        return value if isinstance(value, fx.Node) else self.operands[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output at the example inputs; of several outputs, that of the first."""
        info = self.node.meta["value"]
        shape: tuple[int, ...] = (info[0] if isinstance(info, tuple) else info).shape
        return shape

    @cached_property
    def operands(self) -> tuple[fx.Node, ...]:
        """The tensors that the call reads, each once, lists of tensors included."""
        return tuple(node for node in self.node.all_input_nodes if is_tensor(node))

    def sizes_of(self, node: fx.Node) -> Any:
        """Return the sizes of a tensor, or those of several: expressions, where they vary with the inputs."""
        return _seen(node.meta["value"]) if self.in_example else node.meta["sizes"]

    def nothing_known(self) -> MaskTree:
        """Return masks that claim nothing, in the structure of the output."""
        return _nothing(self.node.meta["value"])


def is_tensor(node: fx.Node) -> bool:
    """Whether the node computes one tensor."""
    return hasattr(node.meta["value"], "shape")


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """Return the shape that was seen at ``node``, which must compute one tensor."""
    shape: tuple[int, ...] = node.meta["value"].shape
    return shape


def dtype_of(node: fx.Node) -> torch.dtype:
    """Return the dtype that was seen at ``node``."""
    dtype: torch.dtype = node.meta["value"].dtype
    return dtype


def is_plain(setting: Any) -> bool:
    """Whether a setting is written out in numbers: not computed, wholly or in part."""
    parts = setting if isinstance(setting, (tuple, list)) else [setting]
    return not any(isinstance(each, (str, fx.Node)) for each in parts)


def pair(value: Any, length: int) -> Sequence[Any]:
    """Return a setting such as a stride as one value a dimension; torch takes a list of one for all of them as well."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * length if len(values) == 1 else values


def _seen(info: Any) -> Any:
    if isinstance(info, tuple):
        return tuple(map(_seen, info))
    return list(info.shape) if hasattr(info, "shape") else None


def _nothing(info: Any) -> MaskTree:
    if hasattr(info, "shape"):
        return uniform(len(info.shape), False)
    if isinstance(info, tuple):
        return tuple(_nothing(each) for each in info)
    return None
