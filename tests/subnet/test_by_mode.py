"""Subnets of networks in which one mode computes more, or something else, than the other."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autosubnet import AutoSubnet, remove_zeros
from autosubnet.capture import MODES, Inputs, capture
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation, values_of
from autosubnet.ops.kind import Kind
from autosubnet.ops.modes import by_mode

from .checks import example, left, operations, report_of, settled, shrink


class Net(nn.Module):
    """Two residual layers; ``way(model, y)`` lies between each layer and its sum."""

    def __init__(self, way: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.way = way
        self.stem, self.a, self.b, self.head = (nn.Linear(6, 6) for _ in range(4))
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for layer in (self.a, self.b):
            x = x + self.way(self, layer(x)).tanh()
        return self.head(x)


def noise(m: Any, y: Tensor) -> Tensor:
    return y + torch.randn_like(y) if m.training else y


def drop_path(m: Any, y: Tensor) -> Tensor:
    return y * torch.empty(y.shape[0], 1, dtype=y.dtype).bernoulli_(0.9) / 0.9 if m.training else y


def eval_only(m: Any, y: Tensor) -> Tensor:
    return y if m.training else y * 0.5


def each_its_own(m: Any, y: Tensor) -> Tensor:
    return y * 2 if m.training else y.sigmoid() * y


def through_another_size(m: Any, y: Tensor) -> Tensor:
    """In train mode a detour through a tensor of twice the rows."""
    return torch.cat([y, y]).view(2, -1, 6).mean(0) if m.training else y


def deterministic(m: Any, y: Tensor) -> Tensor:
    return y.square() if m.training else y


WAYS = [noise, drop_path, eval_only, each_its_own, through_another_size, deterministic]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_removed(way: Any) -> None:
    x = example(5, 6)
    subnet = shrink(settled(Net(way), x), (x,))
    assert left(subnet) == {"stem", "a", "b", "head"}


@pytest.mark.parametrize("way", [drop_path, eval_only, each_its_own, through_another_size, deterministic])
@pytest.mark.parametrize("zeros", [("a",), ("b",), ("a", "b")])
def test_zero_in_both_modes_is_removed(way: Any, zeros: tuple[str, ...]) -> None:
    x = example(5, 6)
    subnet = shrink(settled(Net(way), x), (x,), *zeros, train=way is not drop_path)
    assert left(subnet) == {"stem", "a", "b", "head"}.difference(zeros)


def test_zero_in_eval_mode_alone_stays() -> None:
    """Noise on a zero is not zero: the sum stays in train mode, the layer goes."""
    x = example(5, 6)
    subnet = shrink(settled(Net(noise), x), (x,), "a")
    assert left(subnet) == {"stem", "b", "head"}
    torch.manual_seed(0)
    assert "randn_like" in operations(subnet.train())


def test_half_of_the_channels_are_cut_through_the_choice() -> None:
    class Cat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(6, 4), nn.Linear(6, 3), nn.Linear(7, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.cat([self.a(x), self.b(x)], 1)
            return self.head(deterministic(self, y).relu())

    x = example(5, 6)
    subnet = shrink(settled(Cat(), x), (x,), "a")
    assert subnet.get_parameter("head.weight").shape == (2, 3)


@pytest.mark.parametrize("way", [noise, drop_path, eval_only, each_its_own])
def test_a_choice_is_one_vertex_and_its_kind_says_where_it_comes_from(way: Any) -> None:
    trace = capture(Net(way).double(), Inputs.of(example(5, 6)))
    view = GraphView(trace)
    choices = [node for node in view.nodes if node.target is by_mode]
    assert len(choices) == 2
    kinds = {view.rules[node].classify(view.calls[node]) for node in choices}
    assert kinds == {Kind.JOINT if way is each_its_own else Kind.ACCESSORY}
    for mode in MODES:
        assert by_mode not in {node.target for node in trace.module(mode).graph.nodes}
    layers = [node.target for node in view.nodes if node.op == "call_module"]
    assert sorted(layers) == ["a", "b", "head", "stem"], "a layer became two vertices"


def test_zero_in_train_mode_alone_is_not_claimed() -> None:
    def half(m: Any, y: Tensor) -> Tensor:
        return y * 0.0 if m.training else y

    trace = capture(Net(half).double(), Inputs.of(example(5, 6)))
    view = GraphView(trace)
    propagation = Propagation(view, values_of(view))
    assert not any(propagation.is_zero(node) for node in view.nodes if node.target is by_mode)


def test_the_search_space_is_that_of_the_network_without_the_noise() -> None:
    for way in (drop_path, eval_only, through_another_size, deterministic):
        oto = AutoSubnet(settled(Net(way), example(5, 6)), example(5, 6))
        assert [group.name for group in oto.groups] == ["a", "b"], way.__name__
    noisy = AutoSubnet(settled(Net(noise), example(5, 6)), example(5, 6))
    assert noisy.groups == ()
    assert {each.segment for each in noisy.refused} >= {"a", "b"}


def test_an_output_must_depend_on_its_input_in_both_modes() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c, self.d = (nn.Linear(6, 6) for _ in range(4))

        def forward(self, x: Tensor) -> Tensor:
            sums = self.a(x) + self.b(x), self.c(x) + self.d(x)
            return sums[0 if self.training else 1].tanh()

    oto = AutoSubnet(settled(Heads(), example(5, 6)), example(5, 6))
    by_name = {group.name: group for group in oto.groups}
    assert set(by_name) == {"a", "b", "c", "d"}
    assert oto.is_valid([by_name["a"], by_name["c"]])
    assert not oto.is_valid([by_name["a"], by_name["b"]])
    assert not oto.is_valid([by_name["c"], by_name["d"]])


def test_a_choice_at_the_very_end() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.a(x)
            x = x + self.b(x)
            return x if self.training else x.softmax(-1)

    x = example(5, 6)
    subnet = shrink(settled(Last(), x), (x,), "b")
    assert left(subnet) == {"a"}


def test_statistics_that_training_alone_writes_behind_a_choice() -> None:
    def body(m: Any, y: Tensor) -> Tensor:
        return m.norm(y + torch.randn_like(y) if m.training else y)

    x = example(5, 6)
    model = settled(Net(body), x)
    subnet = shrink(model, (x,))
    torch.manual_seed(3)
    model.train()(x)
    torch.manual_seed(3)
    subnet.train()(x)
    assert torch.equal(model.norm.running_mean, subnet.norm.running_mean)  # type: ignore[union-attr,arg-type]
    assert report_of(remove_zeros(subnet, x)).removed_params == ()


def test_a_copy_lists_its_parameters_in_the_same_order() -> None:
    """Optimizers know parameters by their place, and tied ones have the first of their names."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = nn.Linear(6, 6), nn.Linear(6, 6)
            self.first.weight = self.second.weight

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(self.second(x).relu())
            return y.square() if self.training else y

    x = example(5, 6)
    subnet = remove_zeros(settled(Tied(), x), x)
    for same in (copy.deepcopy(subnet), copy.copy(subnet), pickle.loads(pickle.dumps(subnet))):  # our own
        assert [name for name, _ in same.named_parameters()] == ["second.weight", "second.bias", "first.bias"]
    assert report_of(remove_zeros(subnet, x)).relative_difference == 0
