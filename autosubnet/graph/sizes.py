"""Sizes of every tensor by those of the inputs.

What is said of a graph must hold at every size that its inputs can have, and not only at those of the examples:
``meta["sizes"]`` of a node holds its sizes as expressions, in the structure of its value. A size that is an ``int``
is fixed.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any

from torch import fx

from autosubnet.capture.trace import MODES, TensorInfo
from autosubnet.ops.call import Call, Value
from autosubnet.ops.rule import Rule
from autosubnet.ops.sizes import ARITHMETIC, Expression, Number, Size, apply, is_size, sizes_of


class InputSizes:
    """Sizes as expressions of the inputs' sizes, as far as formulas reach.

    Beyond, a size stands for itself.

    Args:
        calls: the calls of a graph.
        rules: their rules.
        batched: whether the first sizes of all inputs are one: the batch size.
    """

    def __init__(self, calls: Mapping[fx.Node, Call], rules: Mapping[fx.Node, Rule], *, batched: bool) -> None:
        self.calls = calls
        self.rules = rules
        self.batched = batched
        self.batch: Size | None = None
        self.fixed: dict[Expression, int] = {}

    def _note(self, node: fx.Node) -> None:
        """Set ``meta["sizes"]`` of a node; those of what it reads are set."""
        info = node.meta["value"]
        if isinstance(info, tuple):
            node.meta["sizes"] = tuple(self._of_part(node, each, number) for number, each in enumerate(info))
        elif isinstance(info, TensorInfo):
            sizes = self._of(node, info, 0)
            node.meta["sizes"] = [Size(node, dim) if each is None else each for dim, each in enumerate(sizes)]
        else:
            node.meta["sizes"] = None
        node.meta["sizes"] = _settled(node.meta["sizes"], self.fixed)

    def note_all(self, nodes: Iterable[fx.Node]) -> None:
        """Set ``meta["sizes"]`` of all nodes, given in order.

        Sizes that an operator demands are fixed: at any other the model fails, if both modes run it.
        """
        for node in nodes:
            self._note(node)
        everywhere = [node for node in self.calls if len(node.meta["modes"]) == len(MODES)]
        demands = [each for node in everywhere for each in self.rules[node].demands(self.calls[node])]
        sizes = {sizes_of(operand)[dim]: size for operand, dim, size in demands}
        self.fixed = {size: number for size, number in sizes.items() if not isinstance(size, int)}
        if self.fixed:
            for node in nodes:
                self._note(node)

    def of(self, value: Value) -> list[Expression]:
        """Return the sizes of a tensor."""
        assert isinstance(value, fx.Node)
        sizes: list[Expression] = value.meta["sizes"]
        return sizes

    def number(self, value: Any) -> Expression:
        """Return a number, or the arithmetic on sizes that computes it."""
        if not isinstance(value, fx.Node):
            return value
        if is_size(value):
            tensor, dim = value.args
            return self.of(tensor)[dim]  # type: ignore[arg-type,index]  # a tensor, an int
        if value.op == "call_function" and value.target in ARITHMETIC and not value.kwargs:
            return apply(value.target, *(self.number(each) for each in value.args))
        return Number(value)

    def _of(self, node: fx.Node, info: TensorInfo, output: int) -> list[Expression]:
        """Return the sizes of a tensor, ``None`` where one is not known."""
        if input_of(node) is not None:
            return self._of_input(node, len(info.shape))
        if node.op == "get_attr":
            return list(info.shape)
        sizes = self._formula(node, output)
        return [None] * len(info.shape) if sizes is None else sizes

    def _of_part(self, node: fx.Node, part: Any, output: int) -> Any:
        """Return the sizes of one of several outputs; where that holds several, the same formula is theirs."""
        if isinstance(part, tuple):
            return tuple(self._of(node, each, output) if isinstance(each, TensorInfo) else None for each in part)
        return self._of(node, part, output) if isinstance(part, TensorInfo) else None

    def _formula(self, node: fx.Node, output: int) -> list[Expression] | None:
        source = node.args[0] if node.args else None
        if isinstance(source, fx.Node) and isinstance(source.meta["value"], tuple) and node.target in PARTS:
            if not isinstance(node.args[1], int):
                return None  # out of a dict or a dataclass, which only opaque modules return
            sizes = source.meta["sizes"][node.args[1]]
            result: list[Expression] | None = sizes[output] if isinstance(sizes, tuple) else sizes
            return result
        in_place = node.meta.get("effect") and node.op == "call_method" and node.target not in _RESHAPES
        if in_place and isinstance(source, fx.Node):
            return self.of(source)  # a method that writes its tensor in place keeps the sizes of that
        return self.rules[node].sizes(self.calls[node], self, output)

    def _of_input(self, node: fx.Node, ndim: int) -> list[Expression]:
        sizes = [Size(node, dim) for dim in range(ndim)]
        if not self.batched or not sizes:
            return list(sizes)
        self.batch = self.batch or sizes[0]
        return [self.batch, *sizes[1:]]


_RESHAPES = frozenset(
    {"as_strided_", "resize_", "resize_as_", "set_", "squeeze_", "swapaxes_", "swapdims_", "t_", "transpose_",
     "unsqueeze_"}
)  # fmt: skip
PARTS = (operator.getitem, getattr)  # what takes an output out of several


def _settled(sizes: Any, fixed: Mapping[Expression, int]) -> Any:
    if isinstance(sizes, tuple):
        return tuple(_settled(each, fixed) for each in sizes)
    return sizes and [fixed.get(each, each) for each in sizes]


def input_of(node: fx.Node) -> fx.Node | None:
    """Return the input that a node is, or out of which it is taken where that holds several tensors."""
    while node.target in PARTS and isinstance(node.args[0], fx.Node) and node.args[0].meta["value"] is None:
        node = node.args[0]
    return node if node.op == "placeholder" else None
