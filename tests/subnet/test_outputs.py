"""What a network returns besides activations: parameters, statistics, tensors that others hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import promises
import pytest
import torch
from torch import Tensor, nn

import autosubnet
from autosubnet.capture.observe import tensors_in

from .checks import check, example, left, report_of, settled, zero

X = example(4, 6)


class Body(nn.Module):
    def __init__(self, body: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.body = body
        self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))
        self.scale = nn.Parameter(torch.ones(6))
        self.norm = nn.BatchNorm1d(6)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Any:
        return self.body(self, x)


@pytest.mark.parametrize(
    ("body", "dead"),
    [
        (lambda m, x: (m.a(x) + m.b(x), m.b.weight), "b"),
        (lambda m, x: {"y": m.a(x) + m.b(x) * m.scale, "more": [m.scale]}, "scale"),
        (lambda m, x: (m.a(x) + m.b(x) * m.scale, m.scale.abs().sum()), "scale"),
    ],
    ids=["weight", "scale in a list", "norm of a scale"],
)
def test_a_parameter_that_is_returned_keeps_the_gradient_that_the_others_give_it(body: Any, dead: str) -> None:
    model = settled(Body(body), X)
    zero(model, [dead])
    subnet = autosubnet.remove_zeros(model, (X,))
    assert all(torch.equal(e, g) for e, g in zip(tensors_in(model(X)), tensors_in(subnet(X)), strict=True))
    for train in (False, True):
        promises.equal_gradients(model, subnet, (X,), report_of(subnet).kept, train=train)
    assert any(name.startswith(dead) for name, _ in subnet.named_parameters())


@pytest.mark.parametrize(
    "body",
    [
        lambda m, x: x + m.b(x),
        lambda m, x: (x + m.b(x)).view(-1, 3),
        lambda m, x: ((a := m.a(x)), a + m.b(x)),
        lambda m, x: ((a := m.a(x)) + m.b(x), a + m.c(x)),
        lambda m, x: (m.scale + 0 * m.b.bias, m.a(x)),
        lambda m, x: ((a := m.a(x)) + m.b(x), (a + m.c(x)).T),
        lambda m, x: ((a := m.a(x)), a[:, :3], a + m.b(x)),
    ],
    ids=["input", "view of the input", "another output", "two of one", "parameter", "a view of one", "views"],
)
def test_who_writes_to_an_output_writes_to_that_alone(body: Any) -> None:
    model = settled(Body(body), X)
    zero(model, ["b", "c"])
    subnet = autosubnet.remove_zeros(model, (X,))
    assert not {"b", "c"} & left(subnet)
    for network in (model, subnet):
        network.requires_grad_(False)
    count = len(list(tensors_in(model(X))))
    for number in range(count):
        state = {name: value.clone() for name, value in model.state_dict().items()}
        x, y = X.clone(), X.clone()
        expected, got = list(tensors_in(model(x))), list(tensors_in(subnet(y)))
        expected[number].mul_(3)
        got[number].mul_(3)
        assert torch.equal(x, y)
        assert all(torch.equal(e, g) for e, g in zip(expected, got, strict=True))
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in subnet.state_dict().items())
        model.load_state_dict(state)
        subnet.load_state_dict({name: state[name] for name in subnet.state_dict()})


@pytest.mark.parametrize(
    "body",
    [
        lambda m, x: (m.a(x) + m.drop(m.norm(m.b(x))), m.norm.running_mean * 2),
        lambda m, x: (m.a(x) + m.norm(m.b(x)), m.norm.running_var),
        lambda m, x: m.a(x) + m.norm(m.b(x)) + m.norm.running_mean,
    ],
    ids=["ahead of dropout", "returned", "added"],
)
def test_a_norm_whose_statistics_others_read_goes_on_counting(body: Any) -> None:
    model = settled(Body(body), X)
    zero(model, ["norm"])
    subnet = autosubnet.remove_zeros(model, (X,))
    check(model, subnet, (X,))
    for network in (model, subnet):
        network.train()(X)
        network.eval()
    assert all(torch.equal(e, g) for e, g in zip(list(tensors_in(model(X))), list(tensors_in(subnet(X))), strict=True))


def test_a_norm_whose_statistics_nobody_reads_goes() -> None:
    model = settled(Body(lambda m, x: m.a(x) + m.norm(m.b(x))), X)
    zero(model, ["norm"])
    subnet = autosubnet.remove_zeros(model, (X,))
    assert left(subnet) == {"a"}
