"""The promises of every construction on networks as people write them, and 50 steps of training afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from graph.models import EXAMPLES
from probes import largest, redraw, run, survivors
from promises import dropped, equal_gradients, equal_outputs, equal_train_outputs, fixed_point, names_kept, stands_alone
from removal import removes
from torch import Tensor, fx, nn

import autosubnet
from autosubnet import AutoSubnet
from autosubnet.graph.groups import Group
from subnet.checks import report_of, shares_nothing, untouched

CASES = [(name, seed) for name in EXAMPLES for seed in (0, 1)]


def constructed(
    name: str, seed: int = 0, share: float = 0.5
) -> tuple[AutoSubnet, fx.GraphModule, tuple[Tensor, ...], tuple[Group, ...]]:
    model, inputs = EXAMPLES[name]()
    oto = AutoSubnet(model, inputs)
    chosen = oto.random_set_zero_groups(share, seed=seed)
    return oto, oto.construct_subnet(), inputs, chosen


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_promise_1_equal_outputs_at_any_batch_size(name: str, seed: int) -> None:
    oto, subnet, inputs, _ = constructed(name, seed)
    equal_outputs(oto.model, subnet, inputs)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "transformer"])
def test_promise_1_at_any_resolution(name: str) -> None:
    oto, subnet, (x,), _ = constructed(name)
    for side in (8, 12, 16):
        images = torch.randn(2, x.shape[1], side, side + 4, dtype=torch.float64)
        assert torch.allclose(subnet(images), oto.model(images), rtol=0, atol=1e-10)


def test_promise_1_at_any_length() -> None:
    oto, subnet, _, _ = constructed("transformer")
    for length in (1, 3, 17):
        tokens = torch.randn(2, length, 6, dtype=torch.float64)
        assert torch.allclose(subnet(tokens), oto.model(tokens), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["resnet", "transformer", "squeeze_excite"])
def test_promise_1_bit_for_bit_where_only_terms_of_sums_go(name: str) -> None:
    oto, subnet, (x,), chosen = constructed(name, share=1.0)
    assert chosen
    assert torch.equal(subnet(x), oto.model(x))
    assert report_of(subnet).max_difference == 0.0


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_promise_2_equal_in_train_mode(name: str, seed: int) -> None:
    oto, subnet, inputs, _ = constructed(name, seed)
    assert report_of(subnet).notes == ()
    equal_train_outputs(oto.model, subnet, inputs, report_of(subnet).kept)


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(("name", "seed"), CASES)
def test_promise_3_equal_gradients(name: str, seed: int, train: bool) -> None:
    oto, subnet, inputs, _ = constructed(name, seed)
    equal_gradients(oto.model, subnet, inputs, report_of(subnet).kept, train=train)


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_promise_4_names(name: str, seed: int) -> None:
    oto, subnet, _, _ = constructed(name, seed)
    names_kept(oto.model, subnet, report_of(subnet).kept)
    stands_alone(subnet)


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_promise_5_fixed_point(name: str, seed: int) -> None:
    _, subnet, inputs, _ = constructed(name, seed)
    again = autosubnet.remove_zeros(subnet, redraw(inputs, 2, 4))
    fixed_point(subnet, again)
    assert report_of(again).removed_vertices == report_of(again).removed_params == ()
    assert report_of(again).kept == {}


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_what_was_zeroed_is_gone(name: str, seed: int) -> None:
    oto, subnet, inputs, chosen = constructed(name, seed)
    removes(oto.model, subnet, inputs, report_of(subnet).kept, chosen)
    whole = {each.name for group in chosen for each in group.slices if each.indices is None}
    assert whole <= set(report_of(subnet).removed_params)
    segments = [oto.graph.segment[name] for group in chosen for name in group.segments]
    gone = {vertex for segment in segments for vertex in segment.vertices}
    assert gone <= set(report_of(subnet).removed_vertices)


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_users_model_is_untouched(name: str, train: bool) -> None:
    model, inputs = EXAMPLES[name]()
    model.train(train)
    before = copy.deepcopy(model)
    oto = AutoSubnet(model, inputs)
    untouched(model, before)
    oto.random_set_zero_groups(0.5)
    before = copy.deepcopy(model)
    subnet = oto.construct_subnet()
    untouched(model, before)
    shares_nothing(model, subnet)
    assert oto.model is model
    assert subnet.training is train


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_network_without_zeros_comes_back_as_it_is(name: str) -> None:
    model, inputs = EXAMPLES[name]()
    subnet = AutoSubnet(model, inputs).construct_subnet()
    assert report_of(subnet).removed_vertices == report_of(subnet).removed_params == ()
    assert subnet.state_dict().keys() == model.state_dict().keys()
    assert torch.equal(subnet(*inputs), model(*inputs))


@pytest.mark.parametrize("name", ["demo", "densenet"])
def test_constructing_twice_gives_the_same(name: str) -> None:
    oto, subnet, inputs, _ = constructed(name)
    again = oto.construct_subnet()
    assert again.code == subnet.code
    assert torch.equal(again(*inputs), subnet(*inputs))
    assert report_of(again) == report_of(subnet)


# ---------------------------------------------------------------- training goes on

Make = Callable[[nn.Module], torch.optim.Optimizer]
OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda model: torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-2),
    "nesterov": lambda model: torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, nesterov=True),
    "adam": lambda model: torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-2),
    "amsgrad": lambda model: torch.optim.Adam(model.parameters(), lr=1e-3, amsgrad=True),
    "adamw": lambda model: torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-2),
}


def step(module: nn.Module, optimizer: torch.optim.Optimizer, inputs: tuple[Tensor, ...], seed: int) -> None:
    optimizer.zero_grad()
    (output,) = run(module, redraw(inputs, 4, seed), train=True, seed=seed)
    target = torch.randn(output.shape, generator=torch.Generator().manual_seed(seed), dtype=output.dtype)
    (output - target).square().mean().backward()


def same_training(
    oto: AutoSubnet, subnet: fx.GraphModule, optimizer: torch.optim.Optimizer, inputs: tuple[Tensor, ...]
) -> None:
    """Fifty steps of the subnet with the carried state against fifty of the model with its zeros held at zero."""
    kept = report_of(subnet).kept
    lost = dropped(oto.model, dict(subnet.named_parameters(remove_duplicate=False)), kept)
    zeros = {name: mask & (oto.model.get_parameter(name) == 0) for name, mask in lost.items()}
    carried = oto.carry_optimizer(optimizer, subnet)
    for seed in range(100, 150):
        step(subnet, carried, inputs, seed)
        carried.step()
        step(oto.model, optimizer, inputs, seed)
        optimizer.step()
        with torch.no_grad():
            for name, mask in zeros.items():
                oto.model.get_parameter(name)[mask] = 0.0
    original = dict(oto.model.named_parameters())
    moved = 0.0
    for name, parameter in subnet.named_parameters():
        expected = survivors(original[name], name, kept)
        assert torch.allclose(parameter, expected, rtol=1e-9, atol=1e-10), f"{name} went another way"
        moved = max(moved, largest(parameter - survivors(START[name], name, kept)))
    assert moved > 1e-3, "nothing was trained"
    buffers = dict(oto.model.named_buffers())
    for name, buffer in subnet.named_buffers():
        assert torch.allclose(buffer.double(), survivors(buffers[name], name, kept).double(), rtol=1e-9, atol=1e-10)


START: dict[str, Tensor] = {}


def remember(model: nn.Module) -> None:
    START.clear()
    START.update((name, parameter.detach().clone()) for name, parameter in model.named_parameters())


@pytest.mark.parametrize("name", ["demo", "densenet", "transformer"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_promise_3_training_goes_on_as_before(name: str, make: Make) -> None:
    model, inputs = EXAMPLES[name]()
    oto = AutoSubnet(model, inputs)
    optimizer = make(model)
    for seed in range(5):
        step(model, optimizer, inputs, seed)
        optimizer.step()
    assert oto.random_set_zero_groups(0.5, seed=1)
    subnet = oto.construct_subnet()
    remember(model)
    same_training(oto, subnet, optimizer, inputs)


@pytest.mark.parametrize("name", ["demo", "densenet", "transformer"])
@pytest.mark.parametrize("variant", ["sgd", "adam", "adamw"])
def test_promise_3_after_h2spg(name: str, variant: str) -> None:
    """H2SPG holds the chosen groups at zero itself; construct as soon as they are."""
    model, inputs = EXAMPLES[name]()
    oto = AutoSubnet(model, inputs)
    options = {"momentum": 0.9} if variant == "sgd" else {}
    optimizer = oto.h2spg(lr=1e-3, variant=variant, total_steps=16, weight_decay=1e-2, **options)
    for seed in range(10):
        step(model, optimizer, inputs, seed)
        optimizer.step()
    assert optimizer.progress().num_zero == len(oto.groups) // 2
    subnet = oto.construct_subnet()
    removes(model, subnet, inputs, report_of(subnet).kept, optimizer.chosen)
    remember(model)
    same_training(oto, subnet, optimizer, inputs)
