"""Linear layers and embeddings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import fx, nn

from autosubnet.ops.call import Call, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, varies
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Free, Rule, Tie, ZerosOf, affine_constants, known
from autosubnet.ops.sizes import Expression, Sizes, has_fixed_shape


class Linear(Rule):
    """y = x W^T + b over the last dimension; W is (out, in)."""

    kind = Kind.STEM

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """y[o] is zero if b[o] is and, for each i, x[i] or w[o, i] is."""
        weight, bias = call.tensor("weight", 1), call.tensor("bias", 2)
        if weight is None or len(call.shape) != len(shape_of(call.input)):
            return known(call, False)
        x, w = zeros(call.input), zeros(weight)
        if x.shape[-1] == 1:
            zero = x | w.all(axis=1)
        elif w.shape[1] == 1:
            zero = x.all(axis=-1, keepdims=True) | w[:, 0]
        else:
            zero = (~x).astype(np.float32) @ (~w).astype(np.float32).T == 0
        return zero if bias is None else zero & zeros(bias)

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """y[o] is constant if, for each i, x[i] is or w[o, i] is zero."""
        return affine_constants(self, call, call.tensor("bias", 2), call.tensor("weight", 1), constants, zeros)

    def demands(self, call: Call) -> Iterable[tuple[fx.Node, int, int]]:
        """As many input features as the weight has columns."""
        weight = call.tensor("weight", 1)
        if isinstance(weight, str) or (weight is not None and weight.op == "get_attr"):
            yield call.input, -1, shape_of(call.input)[-1]

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Input features go with the columns, output features with the rows and the bias."""
        weight, bias = call.tensor("weight", 1), call.tensor("bias", 2)
        if weight is None or len(call.shape) != len(shape_of(call.input)):
            return
        last = len(call.shape) - 1
        if isinstance(bias, fx.Node) and shape_of(bias) != call.shape[last:]:
            return  # a bias that is spread over the features
        yield Tie(call.input, len(shape_of(call.input)) - 1, weight, 1)
        yield Tie(call.node, last, weight, 0)
        if bias is not None:
            yield Tie(call.node, last, bias, 0)
        for dim in range(last):
            yield Tie(call.input, dim, call.node, dim)

    def why_not_zero(self, call: Call) -> str:
        """Bias or weights without a group."""
        return "it has weights or a bias that are not zero"

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the input but for the last."""
        if len(call.shape) != len(shape_of(call.input)) or not isinstance(call.tensor("weight", 1), (str, fx.Node)):
            return None
        if not has_fixed_shape(call.tensor("weight", 1), sizes):
            return None
        if any(node.meta["data"] for node in call.node.all_input_nodes[1:]):
            return None  # a weight computed from the input: its number of rows is not known
        return [*sizes.of(call.input)[:-1], call.shape[-1]]

    def resized(self, call: Call, module: nn.Module, kept: Any) -> None:
        """Set the numbers of features."""
        if (inputs := kept(call.input, len(shape_of(call.input)) - 1)) is not None:
            module.in_features = inputs
        if (outputs := kept(call.node, len(call.shape) - 1)) is not None:
            module.out_features = outputs


class Embedding(Rule):
    """Rows of a table, (number, width)."""

    kind = Kind.STEM

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Feature d is zero where column d is; a table that renormalises its rows is left alone."""
        weight = call.tensor("weight", 1)
        if weight is None or call.setting("max_norm", 3) is not None:
            return known(call, False)
        columns = zeros(weight).all(axis=0)
        return columns.reshape((1,) * (len(call.shape) - 1) + columns.shape)

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Where a part of the rows is claimed of a table that is computed."""
        weight = call.tensor("weight", 1)
        return weight is not None and varies(masks(weight), [0])

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the indices, and the width."""
        return [*sizes.of(call.input), call.shape[-1]]

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Features go with the columns."""
        weight = call.tensor("weight", 1)
        if weight is not None:
            yield Tie(call.node, len(call.shape) - 1, weight, 1)

    def resized(self, call: Call, module: nn.Module, kept: Any) -> None:
        """Set the width."""
        if (width := kept(call.node, len(call.shape) - 1)) is not None:
            module.embedding_dim = width


class Bilinear(Rule):
    """y[o] = x1^T W[o] x2 + b[o] over the last dimensions; W is (out, in1, in2)."""

    kind = Kind.STEM

    def _operands(self, call: Call) -> tuple[fx.Node, fx.Node]:
        return call.argument(0, "input1"), call.argument(1, "input2")

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """y[o] is zero if b[o] is and x1, x2 or W[o] is."""
        weight, bias = call.tensor("weight", 2), call.tensor("bias", 3)
        if weight is None:
            return call.nothing_known()
        first, second = (zeros(each).all(axis=-1, keepdims=True) for each in self._operands(call))
        zero = first | second | zeros(weight).all(axis=(1, 2))
        return zero if bias is None else zero & zeros(bias)

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Features of either input and of the output go with a dimension of the weight each."""
        weight, bias = call.tensor("weight", 2), call.tensor("bias", 3)
        if weight is None:
            return
        last = len(call.shape) - 1
        yield Tie(call.node, last, weight, 0)
        if bias is not None:
            yield Tie(call.node, last, bias, 0)
        for number, each in enumerate(self._operands(call), start=1):
            yield Tie(each, last, weight, number)
            for dim in range(last):
                yield Tie(each, dim, call.node, dim)

    def why_not_zero(self, call: Call) -> str:
        """Bias or weights without a group."""
        return "it has weights or a bias that are not zero"

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the inputs but for the last."""
        return [*sizes.of(self._operands(call)[0])[:-1], call.shape[-1]]

    def resized(self, call: Call, module: nn.Module, kept: Any) -> None:
        """Set the numbers of features."""
        last = len(call.shape) - 1
        for name, each in zip(("in1_features", "in2_features"), self._operands(call), strict=True):
            if (features := kept(each, last)) is not None:
                setattr(module, name, features)
        if (outputs := kept(call.node, last)) is not None:
            module.out_features = outputs


register(Bilinear(), modules=[nn.Bilinear], functions=[F.bilinear])
register(Linear(), modules=[nn.Linear], functions=[F.linear])
register(Embedding(), modules=[nn.Embedding], functions=[F.embedding])
