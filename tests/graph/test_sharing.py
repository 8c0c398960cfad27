"""Parameters that several segments use: one group for those that need them, and none where one of them stays."""

from __future__ import annotations

from collections.abc import Callable

import promises
import pytest
import removal
import torch
from torch import Tensor, nn

from autosubnet import AutoSubnet


class Net(nn.Module):
    """Layers of a name each, and a forward that is given."""

    def __init__(self, forward: Callable[[Net, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.way = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.way(self, x)


def linear(*names: str) -> dict[str, nn.Module]:
    return {name: nn.Linear(6, 6) for name in names}


def searched(forward: Callable[[Net, Tensor], Tensor], **layers: nn.Module) -> AutoSubnet:
    torch.manual_seed(0)
    return AutoSubnet(Net(forward, **layers).double(), torch.randn(3, 6, dtype=torch.float64))


def slices(oto: AutoSubnet) -> dict[str, tuple[str, ...]]:
    return {group.name: tuple(each.name for each in group.slices) for group in oto.groups}


def reasons(oto: AutoSubnet) -> dict[str, str]:
    return {refusal.segment: refusal.reason for refusal in oto.refused}


def twice(m: Net, x: Tensor) -> Tensor:
    return x + m.a(torch.relu(x + m.a(x)) - 0.5) + m.b(x)


def test_calls_of_one_module_are_one_group() -> None:
    oto = searched(twice, **linear("a", "b"))
    assert slices(oto) == {"a": ("a.weight", "a.bias"), "b": ("b.weight", "b.bias")}
    assert oto.groups[0].segments == ("a", "a_1")
    assert oto.groups[0].num_params == 42
    assert "of segments that share parameters: a, a_1" in oto.explain("a")
    assert "proof: 'a_1' (in module 'a') is zero for every input" in oto.explain("a")


def test_tied_weights_are_one_group() -> None:
    layers = linear("a", "b", "c")
    layers["b"].weight = layers["a"].weight
    oto = searched(lambda m, x: x + m.a(x) + m.b(x) + m.c(x), **layers)
    assert slices(oto) == {"a": ("a.weight", "a.bias", "b.bias"), "c": ("c.weight", "c.bias")}
    assert oto.complement == ()


def test_what_is_shared_but_not_needed_is_left_out() -> None:
    oto = searched(lambda m, x: x + m.a(m.both(x)) + m.b(m.both(x)), **linear("a", "b", "both"))
    assert slices(oto) == {"a": ("a.weight", "a.bias"), "b": ("b.weight", "b.bias")}
    assert oto.complement == ("both.weight", "both.bias")


def test_an_activation_that_all_share_stays_with_the_rest() -> None:
    oto = searched(lambda m, x: x + m.act(m.a(x)) + m.act(m.b(x)), **linear("a", "b"), act=nn.PReLU())
    assert slices(oto) == {"a": ("a.weight", "a.bias"), "b": ("b.weight", "b.bias")}


def test_a_norm_that_both_need_joins_them() -> None:
    oto = searched(lambda m, x: x + m.norm(m.a(x)) + m.norm(m.b(x)), **linear("a", "b"), norm=nn.BatchNorm1d(6))
    assert [group.segments for group in oto.groups] == [("a", "b")]
    assert {*slices(oto)["a"]} == {f"{layer}.{kind}" for layer in ("a", "b", "norm") for kind in ("weight", "bias")}


def chained(m: Net, x: Tensor) -> Tensor:
    return x + m.a(x) + m.norm(m.a(x)) + m.norm(m.b(x))


def test_what_one_use_does_without_is_left_out_there() -> None:
    oto = searched(chained, **linear("a", "b"), norm=nn.BatchNorm1d(6))
    assert [group.segments for group in oto.groups] == [("a_1", "b")]
    assert slices(oto)["a_1"] == ("norm.weight", "norm.bias", "b.weight", "b.bias")
    assert reasons(oto) == {
        "a": "'a' (in module 'a'): parameter 'a.weight' is also used by 'a_1' (in module 'a'), "
        "where it cannot be removed"
    }


def test_sharing_goes_from_one_to_the_next() -> None:
    layers = linear("a", "b", "c")
    layers["b"].weight, layers["c"].bias = layers["a"].weight, layers["b"].bias
    oto = searched(lambda m, x: x + m.a(x) + m.c(x) + m.b(x), **layers)
    assert [group.segments for group in oto.groups] == [("a", "c", "b")]


def test_a_use_that_is_not_zero_refuses_all() -> None:
    oto = searched(lambda m, x: x + m.a(x) + torch.sigmoid(m.a(x)) + m.b(x), **linear("a", "b"))
    assert [group.name for group in oto.groups] == ["b"]
    assert reasons(oto)["a_1"].startswith("'sigmoid'")
    assert (
        "'a' (in module 'a'): it shares parameters with 'a_1', which cannot be removed: 'sigmoid'" in reasons(oto)["a"]
    )


def test_a_use_that_is_no_candidate_refuses_all() -> None:
    oto = searched(lambda m, x: m.a(x + m.a(x) + m.b(x)), **linear("a", "b"))
    assert [group.name for group in oto.groups] == ["b"]
    assert reasons(oto) == {
        "a": "'a' (in module 'a'): parameter 'a.weight' is also used by 'a_1' (in module 'a'), "
        "where it cannot be removed"
    }


@pytest.mark.parametrize("what", ["frozen", "kept"])
def test_a_frozen_or_kept_one_refuses_all(what: str) -> None:
    layers = linear("a", "b", "c")
    layers["b"].weight = layers["a"].weight
    if what == "frozen":
        layers["b"].bias.requires_grad_(False)
    net = Net(lambda m, x: x + m.a(x) + m.b(x) + m.c(x), **layers)
    oto = AutoSubnet(net, torch.randn(3, 6), keep=["b.bias"] if what == "kept" else ())
    assert [group.name for group in oto.groups] == ["c"]
    assert "parameter 'b.bias' is " + what in reasons(oto)["b"]
    assert "it shares parameters with 'b', which cannot be removed: 'b' (in module 'b'): parameter" in reasons(oto)["a"]


@pytest.mark.parametrize("way", [twice, chained])
@pytest.mark.parametrize("number", [0, 1])
def test_the_subnet_of_a_shared_group_is_exact(way: Callable[[Net, Tensor], Tensor], number: int) -> None:
    oto = searched(way, **linear("a", "b"), norm=nn.BatchNorm1d(6))
    groups = oto.groups[number:][:1] or oto.groups
    removal.set_zero(oto.model, groups)
    subnet = oto.construct_subnet()
    gone = {each.name for group in groups for each in group.slices}
    assert gone.isdisjoint(name for name, _ in subnet.named_parameters())
    promises.equal_outputs(oto.model, subnet, oto.example_inputs)
