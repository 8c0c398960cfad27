"""Cases of recurrent layers and cells."""

import torch
from torch import nn

from .case import ROWS, TOKENS, Case


def _layers(cls):
    def first(m, a, b):
        return m.op(a)[0]

    def case(make, body=first, **options):
        return Case(cls, body, TOKENS, lambda: {"op": make()}, **options)

    yield case(lambda: cls(4, 3, batch_first=True))
    yield case(lambda: cls(4, 4, num_layers=2, dropout=0.3, bidirectional=True), note="two ways, two layers")
    yield case(lambda: cls(4, 3, bias=False, batch_first=True), note="no bias")
    yield case(lambda: cls(4, 3), lambda m, a, b: m.op(a[0])[0], note="unbatched")
    yield case(lambda: cls(4, 4, num_layers=2, batch_first=True), lambda m, a, b: m.op(a), note="states")
    yield case(lambda: cls(4, 4, bidirectional=True), lambda m, a, b: m.op(a[0])[1], note="states of one example")


def _state(m, a, b):
    return b[:, :2].transpose(0, 1).contiguous()


CASES = [
    *_layers(nn.RNN),
    *_layers(nn.GRU),
    *_layers(nn.LSTM),
    Case(nn.RNN, lambda m, a, b: m.op(a)[0], TOKENS,
         lambda: {"op": nn.RNN(4, 4, nonlinearity="relu", batch_first=True)}, note="relu"),
    Case(nn.LSTM, lambda m, a, b: m.op(a), TOKENS,
         lambda: {"op": nn.LSTM(4, 5, num_layers=2, proj_size=4, batch_first=True)}, note="projected"),
    Case(nn.GRU, lambda m, a, b: m.op(a, _state(m, a, b))[0], TOKENS,
         lambda: {"op": nn.GRU(4, 4, num_layers=2, batch_first=True)}, note="a first state"),
    Case(nn.RNN, lambda m, a, b: m.op(a, _state(m, a, b))[0], TOKENS,
         lambda: {"op": nn.RNN(4, 4, num_layers=2, batch_first=True)}, note="a first state"),
    Case(nn.LSTM, lambda m, a, b: m.op(a, (_state(m, a, b), _state(m, b, a)))[0], TOKENS,
         lambda: {"op": nn.LSTM(4, 4, num_layers=2, batch_first=True)}, note="a first state"),
    Case(nn.RNNCell, lambda m, a, b: m.op(a), ROWS, lambda: {"op": nn.RNNCell(4, 3)}),
    Case(nn.RNNCell, lambda m, a, b: m.op(a, b), ROWS, lambda: {"op": nn.RNNCell(4, 4)}, note="a first state"),
    Case(nn.GRUCell, lambda m, a, b: m.op(a), ROWS, lambda: {"op": nn.GRUCell(4, 3, bias=False)}),
    Case(nn.GRUCell, lambda m, a, b: m.op(a, b), ROWS, lambda: {"op": nn.GRUCell(4, 4)}, note="a first state"),
    Case(nn.LSTMCell, lambda m, a, b: m.op(a), ROWS, lambda: {"op": nn.LSTMCell(4, 3)}),
    Case(nn.LSTMCell, lambda m, a, b: m.op(a, (b, a)), ROWS, lambda: {"op": nn.LSTMCell(4, 4)}, note="a first state"),
    Case(nn.GRUCell, lambda m, a, b: m.op(torch.cat([a, b], 1)[0]), ROWS,
         lambda: {"op": nn.GRUCell(8, 3)}, note="unbatched"),
]  # fmt: skip
