"""Modules that forward changes for one call: what runs then is what is computed, trained and remembered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import promises
import pytest
import torch
from torch import Tensor, nn

import autosubnet

from .checks import example, left, report_of, settled, zero

X = example(8, 6)


class Changing(nn.Module):
    """Two branches ahead of a head; ``body`` computes one, ``b`` is the other."""

    def __init__(self, body: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.body = body
        self.a, self.b, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.norm, self.drop, self.old = nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 6)
        self.old.load_state_dict(self.a.state_dict())  # equal at first, as a teacher often is

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(self, x) + self.b(x))
        return y


def without_statistics(m: Any, x: Tensor) -> Tensor:
    m.norm.track_running_stats = False
    y = m.norm(m.a(x))
    m.norm.track_running_stats = True
    return y


def with_another_momentum(m: Any, x: Tensor) -> Tensor:
    before, m.norm.momentum = m.norm.momentum, 0.5
    y = m.norm(m.a(x))
    m.norm.momentum = before
    return y


def with_a_frozen_norm(m: Any, x: Tensor) -> Tensor:
    m.norm.eval()
    y: Tensor = m.norm(m.a(x))
    return y


def with_a_norm_frozen_once(m: Any, x: Tensor) -> Tensor:
    y = m.norm(m.a(x))
    m.norm.eval()
    y = y * m.norm(x)
    m.norm.train(m.training)
    return y


def without_dropout_once(m: Any, x: Tensor) -> Tensor:
    y, before = m.drop(m.a(x)), m.drop.p
    m.drop.p = 0.0
    y = y * m.drop(x)
    m.drop.p = before
    return y


def with_the_weights_of_another(m: Any, x: Tensor) -> Tensor:
    y = torch.func.functional_call(m.a, dict(m.old.named_parameters()), (x,))
    return m.a(x) * y.sigmoid()


def with_an_exchanged_weight(m: Any, x: Tensor) -> Tensor:
    before, m.a.weight = m.a.weight, m.old.weight
    y = m.a(x)
    m.a.weight = before
    return y.tanh() * m.a(x)


BODIES = [
    without_statistics,
    with_another_momentum,
    with_a_frozen_norm,
    with_a_norm_frozen_once,
    without_dropout_once,
    with_the_weights_of_another,
    with_an_exchanged_weight,
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_what_is_changed_for_one_call(body: Any) -> None:
    model = settled(Changing(body), X)
    model.old.load_state_dict(model.a.state_dict())
    zero(model, ["b"])
    subnet = autosubnet.remove_zeros(model, (X,))
    kept = report_of(subnet).kept
    assert "b" not in left(subnet)
    promises.equal_outputs(model, subnet, (X,))
    promises.equal_train_outputs(model, subnet, (X,), kept)
    for train in (False, True):
        promises.equal_gradients(model, subnet, (X,), kept, train=train)
    for network in (model, subnet):
        torch.manual_seed(1)
        network.train()(X)
    state = model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in subnet.state_dict().items())
