"""Normalisations. What decides is which entries share their statistics, and the affine parameters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx, nn

from autosubnet.ops.call import Call, Value, is_plain, is_tensor
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, along, collapse, is_zero
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Free, Rule, Tie, ZerosOf, affine_constants, known
from autosubnet.ops.sizes import Expression, Sizes


class Normalization(Rule):
    """Common to all: an accessory with optional weight and bias."""

    kind = Kind.ACCESSORY
    weight_position = 1
    bias_position = 2

    def affine_mask(self, call: Call, zeros: ZerosOf) -> tuple[Mask | None, Mask | None]:
        """Return the masks of weight and bias; ``None`` where there is none."""
        weight, bias = self.parameters(call)
        return (None if weight is None else zeros(weight)), (None if bias is None else zeros(bias))

    def parameters(self, call: Call) -> tuple[Value | None, Value | None]:
        """Return weight and bias."""
        return call.tensor("weight", self.weight_position), call.tensor("bias", self.bias_position)

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where the weight is zero, or all that shares its statistics is constant."""
        weight, bias = self.parameters(call)
        return affine_constants(self, call, bias, weight, constants, zeros)

    def why_not_zero(self, call: Call) -> str:
        """Statistics or bias."""
        weight, _ = self.parameters(call)
        if weight is None:
            return "it has no affine parameters that could make its output zero"
        return "its weight or bias is not zero"

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the input."""
        return sizes.of(call.input)


class BatchNorm(Normalization):
    """Each channel (dimension 1) by itself: zero where its weight and bias are, whatever comes in.

    A zero input does not pass where there is a running mean, which is subtracted in eval mode.
    """

    weight_position = 3
    bias_position = 4
    statistics = (("running_mean", 1), ("running_var", 2))

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Channels whose weight and bias are both zero; without statistics also those that come in zero."""
        weight, bias = self.affine_mask(call, zeros)
        incoming = along(zeros(call.input), 1) if self._statistics(call) is None else np.zeros(1, dtype=bool)
        zero = incoming if weight is None else incoming | weight
        zero = zero if bias is None else zero & bias
        return zero.reshape(1, -1, *(1,) * (len(call.shape) - 2))

    def _statistics(self, call: Call) -> Value | None:
        return call.tensor("running_mean", 1)

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where the input is (in eval mode), and channels of weight zero; all or nothing where statistics vary."""
        weights = call.node.all_input_nodes[1:]
        if self._statistics(call) is None or not all(is_zero(constants(each)) for each in weights if is_tensor(each)):
            return Rule.constants(self, call, constants, zeros)
        weight, _ = self.affine_mask(call, zeros)
        fixed = constants(call.input)
        return fixed if weight is None else fixed | weight.reshape(1, -1, *(1,) * (len(call.shape) - 2))

    def affine(self, call: Call) -> tuple[Value, ...]:
        """Weight and bias."""
        weight, bias = self.parameters(call)
        return () if weight is None or bias is None else (weight, bias)

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Everything goes with the channels."""
        yield Tie(call.input, 1, call.node, 1)
        for value in (*self.parameters(call), *(call.tensor(*each) for each in self.statistics)):
            if value is not None:
                yield Tie(call.node, 1, value, 0)

    def resized(self, call: Call, module: nn.Module, kept: Any) -> None:
        """Set the number of channels."""
        if (channels := kept(call.node, 1)) is not None:
            module.num_features = channels

    def is_stateful(self, call: Call) -> bool:
        """Running statistics are updated in train mode."""
        return self._statistics(call) is not None


class InstanceNorm(BatchNorm):
    """Each channel of each example by itself; without a batch dimension nothing is claimed.

    Args:
        dims: number of dimensions behind the channels, or ``None`` for a function, which takes batches only.
    """

    def __init__(self, dims: int | None = None) -> None:
        self.dims = dims

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """As of a batch of them."""
        return super().zeros(call, zeros) if self._batched(call) else known(call, False)

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where the whole channel is, and channels of weight zero."""
        return Rule.constants(self, call, constants, zeros)

    def affine(self, call: Call) -> tuple[Value, ...]:
        """Weight and bias."""
        return super().affine(call) if self._batched(call) else ()

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Everything goes with the channels."""
        return super().ties(call) if self._batched(call) else ()

    def _batched(self, call: Call) -> bool:
        return self.dims is None or len(call.shape) == self.dims + 2


class GroupNorm(Normalization):
    """Statistics over groups of channels: zero where weight and bias are, or where a whole group comes in zero."""

    weight_position = 2
    bias_position = 3

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Where the bias is zero: channels of weight zero, and channels of groups that come in zero."""
        weight, bias = self.affine_mask(call, zeros)
        channels = call.shape[1]
        groups = call.setting("num_groups", 1)
        incoming = along(zeros(call.input), 1)
        if incoming.size > 1:
            groups = int(groups) if is_plain(groups) else 1
            incoming = incoming.reshape(groups, -1).all(axis=1).repeat(channels // groups)
        zero = incoming if weight is None else incoming | weight
        zero = zero if bias is None else zero & bias
        return zero.reshape(1, -1, *(1,) * (len(call.shape) - 2))


class LayerNorm(Normalization):
    """Statistics over the last dimensions: zero where weight and bias are, or where all of them come in zero."""

    weight_position = 2
    bias_position = 3

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Where the bias is zero: entries of weight zero, and rows that come in zero."""
        weight, bias = self.affine_mask(call, zeros)
        zero = self.incoming(call, zeros(call.input))
        zero = zero if weight is None else zero | weight
        return zero if bias is None else zero & bias

    def incoming(self, call: Call, mask: Mask) -> Mask:
        """Return where the normalised input is zero before the affine parameters, given where the input is."""
        count = len(call.setting("normalized_shape", 1))
        return collapse(mask, range(mask.ndim - count, mask.ndim))

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Only dimensions that are not normalised; a channel cut ahead would change the statistics."""
        for dim in range(len(call.shape) - len(call.setting("normalized_shape", 1))):
            yield Tie(call.input, dim, call.node, dim)


class RMSNorm(LayerNorm):
    """Scaled by the root of the mean square over the last dimensions: no mean is subtracted, so zeros stay."""

    def incoming(self, call: Call, mask: Mask) -> Mask:
        """Where the input is."""
        return mask

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Where all that shares the scale is constant, and entries of weight zero."""
        weight, _ = self.affine_mask(call, zeros)
        fixed = super().incoming(call, constants(call.input))
        return fixed if weight is None else fixed | weight


class WeightNorm(Rule):
    """g v / ||v||: zero where g is; v itself is never to be zero."""

    kind = Kind.ACCESSORY

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where g is."""
        return zeros(call.node.args[1]) | known(call, False)  # type: ignore[arg-type]  # g is a tensor

    def poles(self, call: Call) -> tuple[fx.Node, ...]:
        """V, by whose norm it divides."""
        return (call.input,)

    def why_not_zero(self, call: Call) -> str:
        """g decides."""
        return "its g is not zero"


class Normalised(Rule):
    """Scaling by a norm computed from the tensor itself: 0 / 0 where it is zero, so nothing is claimed."""

    kind = Kind.ACCESSORY

    def why_not_zero(self, call: Call) -> str:
        """Division by the norm."""
        return "it divides by its norm, which is 0 / 0 where it is zero"


register(
    BatchNorm(),
    modules=[nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm],
    functions=[F.batch_norm],
)
for _dims, _class in enumerate((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), start=1):
    register(InstanceNorm(_dims), modules=[_class])
register(InstanceNorm(), functions=[F.instance_norm])
register(GroupNorm(), modules=[nn.GroupNorm], functions=[F.group_norm])
register(LayerNorm(), modules=[nn.LayerNorm], functions=[F.layer_norm])
register(RMSNorm(), modules=[nn.RMSNorm], functions=[F.rms_norm])
register(WeightNorm(), functions=[torch._weight_norm])
register(Normalised(), functions=[F.normalize])
