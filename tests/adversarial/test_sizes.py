"""Other sizes than the example's: odd ones, empty ones, and those at which a zero has another place."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from probes import largest, run
from subnet.checks import left, settled
from torch import Tensor, nn

from . import values
from .making import equal, example, network, without
from .specimen import IMAGE, ROWS, TOKENS, Specimen

OTHERS = {
    IMAGE: ((2, 6, 7, 9), (1, 6, 13, 5), (2, 6, 24, 16), (0, 6, 8, 8)),
    TOKENS: ((2, 7, 6), (1, 1, 6), (2, 0, 6), (0, 4, 6)),
    ROWS: ((1, 6), (0, 6)),
}


def outcome(module: nn.Module, x: Tensor) -> Any:
    """Return what ``module`` returns, or the class of what it raises."""
    try:
        with torch.no_grad():
            return run(copy.deepcopy(module), (x,), train=False)
    except (RuntimeError, ValueError, IndexError) as error:
        return type(error)


@pytest.mark.parametrize("specimen", values.SPECIMENS, ids=[each.name.replace(" ", "-") for each in values.SPECIMENS])
def test_odd_sizes_and_empty_batches(specimen: Specimen) -> None:
    """What the model takes, the subnet takes, and returns the same."""
    inputs = specimen.inputs()
    model = settled(specimen.make(), *inputs)
    subnet = without(model, *inputs, *specimen.zeros)
    for shape in OTHERS[specimen.shapes[0]]:
        x = example(*shape)
        expected, got = outcome(model, x), outcome(subnet, x)
        if 0 not in shape:
            assert isinstance(expected, list), f"the model itself does not take {shape}"
        if isinstance(expected, list):
            assert isinstance(got, list), f"the subnet does not take {shape}"
            assert [each.shape for each in expected] == [each.shape for each in got]
            assert all(largest(a - b) <= 1e-9 * max(1, largest(a)) for a, b in zip(expected, got, strict=True))


def test_empty_example_inputs() -> None:
    model = network(lambda m, x: m.a(x) * m.b(x).sigmoid() + m.c(x))
    subnet = without(model, example(0, 6), "b")
    assert left(subnet) == {"stem", "a", "c", "head"}
    equal(model, subnet, example(*ROWS))


@pytest.mark.parametrize("gone", [("b",), ("b", "norm")])
def test_a_batch_of_one_in_train_mode(gone: tuple[str, ...]) -> None:
    """BatchNorm over one example has no variance: where it stays, both raise the same."""
    model = network(lambda m, x: m.last(m.a(x) + m.norm(m.b(x))), norm=nn.BatchNorm1d(6), last=nn.BatchNorm1d(6))
    subnet = without(model, example(*ROWS), *gone)
    for module in (model, subnet):
        with pytest.raises(ValueError, match="Expected more than 1 value per channel when training"):
            module.train()(example(1, 6))
    images = network(
        lambda m, x: m.last(m.a(x) + m.norm(m.b(x))), images=True, norm=nn.BatchNorm2d(6), last=nn.BatchNorm2d(6)
    )
    subnet = without(images, example(*IMAGE), *gone)
    expected, got = (run(module, (example(1, 6, 5, 4),), train=True)[0] for module in (images, subnet))
    assert largest(expected - got) <= 1e-9


@pytest.mark.parametrize(
    ("body", "shape", "larger", "images"),
    [
        (lambda m, x: m.a(x).mean(1, keepdim=True) + m.b(x), (3, 1, 6), (2, 7, 6), False),
        (lambda m, x: F.adaptive_avg_pool2d(x, 1) + m.b(x), (3, 6, 1, 1), (2, 6, 4, 5), True),
        (lambda m, x: F.adaptive_avg_pool2d(x, 1) + F.max_pool2d(m.b(x), 8), (3, 6, 8, 8), (2, 6, 16, 17), True),
    ],
    ids=["one token", "one pixel", "one window"],
)
def test_a_zero_that_widens_at_other_sizes_only(body: Any, shape: Any, larger: Any, images: bool) -> None:
    """At the example's size the zero has the shape of its neighbour, which could stand for the sum; elsewhere not."""
    model = network(body, images=images)
    subnet = without(model, example(*shape), "b")
    equal(model, subnet, example(*shape))
    equal(model, subnet, example(*larger))


@pytest.mark.parametrize(
    "pick",
    [
        lambda y: y[:, 5],
        lambda y: y[:, 4:].amax(1),
        lambda y: y.split(4, 1)[1].amax(1),
        lambda y: y.view(y.size(0), -1, 4, 6)[:, 1].amax(1),
    ],
    ids=["an index", "a slice", "a split", "a view"],
)
def test_a_place_that_holds_a_zero_at_one_length_only(pick: Any) -> None:
    """Behind four tokens that are something the fifth is zero; behind eight it is something."""
    model = network(lambda m, x: x.mean(1) + pick(torch.cat([m.a(x), m.b(x)], 1)))
    subnet = without(model, example(*TOKENS), "b")
    equal(model, subnet, example(*TOKENS))
    equal(model, subnet, example(2, 8, 6))
