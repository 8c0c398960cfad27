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


def behind_two_zeros(m: Any, x: Any) -> Any:
    """Two tokens that are zero, and behind them all others, which are not: ``(B, 2 + T, 6)``."""
    first = F.adaptive_avg_pool1d(m.b(x).transpose(1, 2), 2).transpose(1, 2)
    return torch.cat([first, m.a(x)], 1)


PLACES = {
    "a reshape to three": lambda y: y.reshape(y.size(0), 3, -1)[:, 0, :6].sigmoid(),
    "a half": lambda y: y.chunk(2, 1)[0].sum(1),
    "all but the last four": lambda y: y[:, :-4].sum(1),
    "from the fourth on": lambda y: y[:, 3:].sum(1),
    "up to the third": lambda y: y[:, :3].sum(1),
    "the first": lambda y: y[:, 0].sigmoid(),
    "the third": lambda y: y[:, 2],
    "the last": lambda y: y[:, -1],
    "every other": lambda y: y[:, ::2].sum(1),
}


@pytest.mark.parametrize("name", PLACES)
def test_places_along_a_length_that_varies(name: str) -> None:
    """Only the two tokens have a place of their own; what is taken of the rest may be anything at another length."""
    model = network(lambda m, x: PLACES[name](behind_two_zeros(m, x)) + m.c(x).mean(1))
    subnet = without(model, example(3, 4, 6), "b")
    for length in (4, 7, 10, 16):
        equal(model, subnet, example(2, length, 6))


READ_ZEROS = {
    "a window that is the image": lambda z, x: F.avg_pool1d(z.mT, z.shape[1:2]).sigmoid().squeeze(-1),
    "a mean over all": lambda z, x: z.mean((0, 1)).sigmoid() + x.mean(1),
    "sizes of it": lambda z, x: x.mean(1) * z.shape[2] + z.shape[1],
    "with sizes by name": lambda z, x: z.view_as(other=x).sigmoid().mean(1),
}


@pytest.mark.parametrize("name", READ_ZEROS)
def test_zeros_that_are_read_at_other_lengths(name: str) -> None:
    model = network(lambda m, x: READ_ZEROS[name](m.b(x), m.a(x)) + m.c(x).mean(1))
    subnet = without(model, example(3, 8, 6), "b")
    for length in (8, 7, 10, 16):
        equal(model, subnet, example(2, length, 6))


def test_a_transposed_convolution_of_a_given_size() -> None:
    shrink, grow = nn.Conv1d(6, 6, 2, stride=2), nn.ConvTranspose1d(6, 6, 2, stride=2)

    def body(m: Any, x: Any) -> Any:
        x = x.mT
        return (m.grow(m.shrink(x), output_size=x.shape[-1:]).sigmoid() + x).mean(2)

    model = network(body, shrink=shrink, grow=grow)
    subnet = without(model, example(3, 8, 6), "grow")
    for length in (8, 7, 9):
        equal(model, subnet, example(2, length, 6))
