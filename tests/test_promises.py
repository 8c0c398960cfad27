"""Tests of the tests: each check of a promise passes on the right subnet and fails on wrong ones."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import promises
import pytest
import removal
import torch
import torch.nn.functional as F
from oracles import check_zero_claims
from torch import Tensor, fx, nn


class Full(nn.Module):
    """A concat of a live branch and a zero one, then an add with a zero branch that has a norm."""

    def __init__(self, left: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.live = nn.Conv2d(4, 2, 1)
        self.zero = nn.Conv2d(4, 2, 1)
        self.mix = nn.Conv2d(left, 4, 1)
        self.branch = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm(self.stem(x)))
        mixed = self.mix(torch.cat([self.live(x), self.zero(x)], 1))
        return self.head((mixed + self.branch(mixed)).mean((2, 3)))


class Small(Full):
    """What should become of ``Full``."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm(self.stem(x)))
        return self.head(self.mix(self.live(x)).mean((2, 3)))


KEPT = {"mix.weight": {1: (0, 1)}}


@dataclass(frozen=True)
class Slice:
    name: str
    dim: int | None = None
    indices: tuple[int, ...] | None = None


@dataclass(frozen=True)
class FakeGroup:
    name: str
    slices: tuple[Slice, ...]


GROUPS = (
    FakeGroup("zero", (Slice("zero.weight"), Slice("zero.bias"))),
    FakeGroup("branch", (Slice("branch.weight"), Slice("branch.bias"))),
)


def make_pair() -> tuple[Full, fx.GraphModule, tuple[Tensor, ...]]:
    """Return a network with two zero groups, the right subnet, and example inputs."""
    torch.manual_seed(0)
    full = Full(left=4).double()
    for _ in range(3):
        full(torch.randn(4, 3, 6, 6, dtype=torch.float64))
    for part in (full.zero, full.branch):
        for parameter in part.parameters():
            parameter.data.zero_()
    small = Small().double()
    del small.zero, small.branch
    state = full.state_dict()
    state["mix.weight"] = state["mix.weight"][:, :2]
    small.load_state_dict({name: state[name] for name in small.state_dict()})
    return full.eval(), fx.symbolic_trace(small.eval()), (torch.randn(3, 3, 6, 6, dtype=torch.float64),)


def check_all(full: nn.Module, subnet: fx.GraphModule, inputs: tuple[Tensor, ...]) -> None:
    promises.equal_outputs(full, subnet, inputs)
    promises.equal_train_outputs(full, subnet, inputs, KEPT)
    for train in (False, True):
        promises.equal_gradients(full, subnet, inputs, KEPT, train=train)
    promises.equal_training(full, subnet, inputs, KEPT)
    promises.names_kept(full, subnet, KEPT)
    promises.stands_alone(subnet)
    removal.removes(full, subnet, inputs, KEPT, GROUPS)
    removal.zeroed(full, GROUPS)
    promises.fixed_point(subnet, fx.symbolic_trace(subnet))


def test_the_right_subnet_passes() -> None:
    check_all(*make_pair())


def perturb(subnet: fx.GraphModule) -> None:
    subnet.live.weight.data[0, 0] += 1e-6


def swap_channels(subnet: fx.GraphModule) -> None:
    subnet.live.weight.data = subnet.live.weight.data.flip(0)


def rename(subnet: fx.GraphModule) -> None:
    subnet.add_module("last", subnet.head)
    next(node for node in subnet.graph.nodes if node.target == "head").target = "last"
    del subnet.head
    subnet.recompile()


def ignore_input(subnet: fx.GraphModule) -> None:
    subnet.head.weight.data.zero_()


def change_momentum(subnet: fx.GraphModule) -> None:
    subnet.norm.momentum = 0.2


def freeze_statistics(subnet: fx.GraphModule) -> None:
    subnet.norm.track_running_stats = False


def cut_gradient(subnet: fx.GraphModule) -> None:
    node = next(node for node in subnet.graph.nodes if node.target == "live")
    with subnet.graph.inserting_after(node):
        detached = subnet.graph.call_method("detach", (node,))
    node.replace_all_uses_with(detached, lambda user: user is not detached)
    subnet.recompile()


def bake_batch(subnet: fx.GraphModule) -> None:
    node = next(node for node in subnet.graph.nodes if node.target == "mean")
    with subnet.graph.inserting_after(node):
        fixed = subnet.graph.call_method("view", (node, 3, 4))
    node.replace_all_uses_with(fixed, lambda user: user is not fixed)
    subnet.recompile()


def bake_resolution(subnet: fx.GraphModule) -> None:
    node = next(node for node in subnet.graph.nodes if node.target == "live")
    with subnet.graph.inserting_after(node):
        fixed = subnet.graph.call_method("view", (node, -1, 2, 6, 6))
    node.replace_all_uses_with(fixed, lambda user: user is not fixed)
    subnet.recompile()


def freeze_weight(subnet: fx.GraphModule) -> None:
    subnet.live.weight.requires_grad_(False)


def fold_bias(subnet: fx.GraphModule) -> None:
    bias = subnet.live.bias.data
    del subnet.live.bias
    subnet.live.register_buffer("bias", bias)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (perturb, "differs by"),
        (swap_channels, "differs by"),
        (rename, r"none of the model's|only in the subnet"),
        (ignore_input, "differs by"),
        (change_momentum, "buffer norm.running_mean differs"),
        (freeze_statistics, "differs by"),
        (cut_gradient, "gradient of stem.weight differs"),
        (bake_batch, "shape"),
        (bake_resolution, "size|shape"),
        (freeze_weight, "live entries of live.weight were dropped"),
        (fold_bias, "live entries of live.bias were dropped"),
    ],
)
def test_a_wrong_subnet_fails(damage: Callable[[fx.GraphModule], None], message: str) -> None:
    full, subnet, inputs = make_pair()
    damage(subnet)
    with pytest.raises((AssertionError, RuntimeError), match=message):
        check_all(full, subnet, inputs)


def test_a_network_that_ignores_its_input_fails() -> None:
    full, subnet, inputs = make_pair()
    for module in (full, subnet):
        module.head.weight.data.zero_()
    with pytest.raises(AssertionError, match="ignores the input"):
        promises.equal_outputs(full, subnet, inputs)


def test_wrong_kept_indices_fail() -> None:
    full, subnet, inputs = make_pair()
    wrong = {"mix.weight": {1: (1, 0)}}
    with pytest.raises(AssertionError, match=r"mix\.weight"):
        promises.names_kept(full, subnet, wrong)
    with pytest.raises(AssertionError, match=r"gradient of mix\.weight"):
        promises.equal_gradients(full, subnet, inputs, wrong, train=False)
    with pytest.raises(AssertionError, match=r"buffer norm\.running_mean"):
        promises.equal_train_outputs(full, subnet, inputs, {"norm.running_mean": {0: (1, 0, 2, 3)}})


def test_a_subnet_that_removed_nothing_fails() -> None:
    full, _, inputs = make_pair()
    same = fx.symbolic_trace(copy.deepcopy(full))
    promises.equal_outputs(full, same, inputs)
    with pytest.raises(AssertionError, match="2 zero groups, but still 195 parameters"):
        removal.removes(full, same, inputs, {}, GROUPS)


def test_a_slice_that_is_left_fails() -> None:
    full, subnet, inputs = make_pair()
    columns = FakeGroup("columns", (Slice("mix.weight", 1, (1, 2)),))
    with pytest.raises(AssertionError, match=r"mix\.weight dim 1 is still there: \[1\]"):
        removal.removes(full, subnet, inputs, KEPT, (columns,))
    removal.removes(full, subnet, inputs, KEPT, (columns,), may_stay=("mix.weight",))
    with pytest.raises(AssertionError, match=r"mix\.weight dim None is still there"):
        removal.removes(full, subnet, inputs, KEPT, (FakeGroup("mix", (Slice("mix.weight"),)),))
    with pytest.raises(AssertionError, match=r"mix\.weight is not zero"):
        removal.zeroed(full, (columns,))


def test_a_dead_parameter_fails() -> None:
    _, subnet, inputs = make_pair()
    removal.nothing_dead(subnet, inputs)
    node = next(node for node in subnet.graph.nodes if node.target == "live")
    with subnet.graph.inserting_after(node):
        zeros = subnet.graph.call_function(torch.zeros_like, (node,))
    node.replace_all_uses_with(zeros, lambda user: user is not zeros)
    subnet.recompile()
    with pytest.raises(AssertionError, match=r"no output depends on: .*live\.weight"):
        removal.nothing_dead(subnet, inputs)


def test_a_second_pass_that_removes_more_fails() -> None:
    full, subnet, _ = make_pair()
    with pytest.raises(AssertionError, match="second pass"):
        promises.fixed_point(fx.symbolic_trace(full), subnet)


def test_a_result_that_needs_the_package_fails() -> None:
    _, subnet, _ = make_pair()
    subnet.add_module("extra", Small())
    with pytest.raises(AssertionError, match="module extra"):
        promises.stands_alone(subnet, package=__name__.partition(".")[0])


def test_a_lost_dependence_fails() -> None:
    full, _, inputs = make_pair()
    cut = copy.deepcopy(full)
    cut.live.weight.data.zero_()
    connected = removal.connections(full, inputs)
    removal.stays_valid(connected, copy.deepcopy(full), inputs)
    with pytest.raises(AssertionError, match=r"\(0, 0\)"):
        removal.stays_valid(connected, cut, inputs)


def test_zero_claims_are_checked_against_values() -> None:
    full, _, inputs = make_pair()
    graph = fx.symbolic_trace(full)
    right: dict[str, Any] = {"zero": True, "cat": [[[False]], [[False]], [[True]], [[True]]], "stem": False}
    wrong: dict[str, Any] = {"cat": [[[False]], [[True]], [[True]], [[True]]]}
    for train in (False, True):
        assert check_zero_claims(graph, [right], inputs, train) == 2 * 4 * 2 * 36
        with pytest.raises(AssertionError, match="of cat are not zero"):
            check_zero_claims(graph, [wrong], inputs, train)
