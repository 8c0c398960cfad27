"""Recurrent layers and cells: a hidden unit stays zero if it starts at zero and its candidate is zero at each step.

With zero weights and biases, the candidate (the g of an LSTM, the n of a GRU, the new state of a plain RNN) is
tanh(0) or relu(0); the gates then multiply zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from torch import fx, nn

from autosubnet.ops.call import Call, is_tensor, shape_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, collapse
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Rule, ZerosOf
from autosubnet.ops.sizes import Expression, Sizes

_CANDIDATE = {"LSTM": 2, "GRU": 2, "RNN": 0}  # which block of rows of the weights is the candidate's


class _Recurrent(Rule):
    """Common to layers and cells."""

    kind = Kind.STEM

    def demands(self, call: Call) -> Iterable[tuple[fx.Node, int, int]]:
        """As many input features as the weight has columns."""
        if is_tensor(call.input):
            yield call.input, -1, shape_of(call.input)[-1]

    def why_not_zero(self, call: Call) -> str:
        """Its weights, or what it starts with."""
        return "it has weights or biases, or a first state, that are not zero"

    def states(self, call: Call) -> list[Any]:
        """Return the first states: h, and of an LSTM c; ``None`` where they are zero."""
        count = 2 if call.name.startswith("LSTM") else 1
        given = call.argument(1, "hx")
        return [None] * count if given is None else list(given) if count == 2 else [given]


class RecurrentCell(_Recurrent):
    """One step."""

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """Units that are zero for every example."""
        hidden = call.setting("hidden_size", -1)
        states = [_units(state, hidden, zeros) for state in self.states(call)]
        kind = call.name.removesuffix("Cell")
        features = _units(call.input, call.setting("input_size", -1), zeros)
        candidate = _candidate(call, zeros, kind, "", features, states[0])
        units = candidate if kind == "RNN" else candidate & states[-1]
        mask = units.reshape((1,) * (len(call.shape) - 1) + units.shape)
        return (mask, mask) if kind == "LSTM" else mask

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of the input but for the last."""
        return [*sizes.of(call.input)[:-1], call.shape[-1]]


class RecurrentLayer(_Recurrent):
    """All steps of several layers, in one direction or both."""

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """Units that are zero at every step, of the last layer; and of each layer at its last step."""
        if not is_tensor(call.input):
            return call.nothing_known()  # a packed sequence
        directions = ("", "_reverse") if call.setting("bidirectional", -1) else ("",)
        features = _units(call.input, call.setting("input_size", -1), zeros)
        last: list[list[Mask]] = []
        for layer in range(call.setting("num_layers", -1)):
            found = [self._direction(call, zeros, layer, place, end, features) for place, end in enumerate(directions)]
            features = np.concatenate([units[0] for units in found])
            last += found
        ndim = len(call.shape)
        states = tuple(self._stacked([units[number] for units in last], ndim) for number in range(len(last[0])))
        output = features.reshape((1,) * (ndim - 1) + features.shape)
        return (output, states[0] if len(states) == 1 else states)

    def _direction(self, call: Call, zeros: ZerosOf, layer: int, place: int, suffix: str, features: Mask) -> list[Mask]:
        """Return which units of h, and of an LSTM of c, stay zero: those that do if the others that do are zero."""
        suffix = f"_l{layer}{suffix}"
        row = layer * (2 if call.setting("bidirectional", -1) else 1) + place
        projection = call.tensor(f"weight_hr{suffix}", -1)
        hidden = call.setting("hidden_size", -1)
        widths = [call.setting("proj_size", -1) or hidden, hidden]
        first = [_units(state, width, zeros, row) for state, width in zip(self.states(call), widths, strict=False)]
        h = first[0]
        while True:
            inner = _candidate(call, zeros, call.name, suffix, features, h) & first[-1]
            after = inner if projection is None else _spread(zeros(projection), inner) & first[0]
            after = after & first[0]
            if (after == h).all():
                return [h, inner] if call.name == "LSTM" else [h]
            h = h & after

    def _stacked(self, rows: Sequence[Mask], ndim: int) -> Mask:
        """Return the mask of the last states: (layers and directions, batch, units)."""
        stacked = np.stack(rows)
        return stacked[:, None, :] if ndim == 3 else stacked

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Of the output those of the input but for the last; of states one row a layer and direction, and the batch."""
        if not is_tensor(call.input):
            return None
        given = sizes.of(call.input)
        if not output:
            return [*given[:-1], call.shape[-1]]
        rows = call.setting("num_layers", -1) * (2 if call.setting("bidirectional", -1) else 1)
        batch = [given[0 if call.setting("batch_first", -1) else 1]] if len(given) == 3 else []
        width = None if call.setting("proj_size", -1) else call.setting("hidden_size", -1)  # h and c differ in it
        return [rows, *batch, width]

    def is_random(self, call: Call) -> bool:
        """Whether it drops units between layers."""
        return bool(call.setting("dropout", -1) and call.setting("num_layers", -1) > 1)


def _units(value: Any, width: int, zeros: ZerosOf, row: int | None = None) -> Mask:
    """Return which features of a tensor are zero everywhere; of states of several layers, those in ``row``."""
    if value is None:
        return np.ones(width, dtype=bool)
    if not isinstance(value, fx.Node) or not is_tensor(value):
        return np.zeros(width, dtype=bool)
    mask = zeros(value)
    if row is not None:
        mask = mask[min(row, len(mask) - 1)]
    return np.broadcast_to(collapse(mask, range(mask.ndim - 1)).reshape(-1), (width,))


def _candidate(call: Call, zeros: ZerosOf, kind: str, suffix: str, features: Mask, h: Mask) -> Mask:
    """Return which units' candidates are zero, given which features of the input and of the state are."""
    block = _CANDIDATE[kind]
    zero: Mask = np.ones(1, dtype=bool)
    for name, read in (("weight_ih", features), ("weight_hh", h)):
        zero = zero & _spread(_rows(zeros(call.tensors[name + suffix]), call, block), read)
    for name in (f"bias_ih{suffix}", f"bias_hh{suffix}"):
        if name in call.tensors:
            zero = zero & _rows(zeros(call.tensors[name]), call, block)
    return zero


def _rows(mask: Mask, call: Call, block: int) -> Mask:
    """Return the rows of a gate."""
    if len(mask) == 1:
        return mask
    hidden = call.setting("hidden_size", -1)
    return mask[block * hidden : (block + 1) * hidden]


def _spread(weight: Mask, read: Mask) -> Mask:
    """Return where the product of a weight with what it reads is zero, as far as their zeros say."""
    return np.asarray((weight | read).all(axis=1))


register(RecurrentLayer(), modules=[nn.RNN, nn.GRU, nn.LSTM])
register(RecurrentCell(), modules=[nn.RNNCell, nn.GRUCell, nn.LSTMCell])
