"""Arithmetic on sizes is recorded; what leaves it is reported with its line."""

import functools
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from autosubnet.capture import Inputs, capture
from autosubnet.capture.sizes import TracedFloat, TracedInt, plain, sizes_of, traced
from autosubnet.graph.view import GraphView

from .capturing import Applied, images

ARITHMETIC: dict[str, Callable[[Any], Any]] = {
    "plus": lambda n: 3 + n + 2,
    "minus": lambda n: 30 - n - 2,
    "times": lambda n: 2 * n * 3,
    "divided": lambda n: n / 2 + 12 / n,
    "floored": lambda n: n // 4 + 40 // n,
    "remainder": lambda n: n % 4 + 23 % n,
    "power": lambda n: n**2 + 2**n,
    "root": lambda n: n**0.5,
    "negative": lambda n: -n % 8,
    "of two": lambda n: (n + 1) * n - n // 2,
    "product": lambda n: math.prod([n, n, 2]),
    "sum": lambda n: sum([n, n, 2]),
}
# Ways out of the arithmetic: followed or reported, never silently fixed.
WAYS_OUT: dict[str, Callable[[Tensor], Any]] = {
    "int": lambda x: int(x.shape[2]),
    "int of a quotient": lambda x: int(x.shape[2] / 2),
    "float": lambda x: float(x.shape[2]),
    "round": lambda x: round(x.shape[2] / 4),
    "ceil": lambda x: math.ceil(x.shape[2] / 4),
    "floor": lambda x: math.floor(x.shape[2] * 0.3),
    "trunc": lambda x: math.trunc(x.shape[2] * 0.3),
    "sqrt": lambda x: math.sqrt(x.shape[2]),
    "numel": lambda x: x.numel() // x.shape[0],
    "product of a shape": lambda x: math.prod(x.shape[1:]),
    "divmod": lambda x: divmod(x.shape[2], 4)[0],
    "abs": lambda x: abs(x.shape[2] - 20),
    "isqrt": lambda x: math.isqrt(x.shape[2]),
    "gcd": lambda x: math.gcd(x.shape[2], 12),
    "log2": lambda x: int(math.log2(x.shape[2])),
    "bit_length": lambda x: x.shape[2].bit_length(),
    "is_integer": lambda x: 1 + (x.shape[2] / 4).is_integer(),
    "maximum": lambda x: max(x.shape[2], x.shape[3] - 1),
    "shift": lambda x: x.shape[2] << 1,
    "bits": lambda x: x.shape[2] & 6,
    "tensor": lambda x: torch.tensor(x.shape[2]),
    "tensor of a shape": lambda x: torch.tensor(x.shape[2:]).sum(),
    "full": lambda x: torch.full((1,), x.shape[2]),
    "tuple": lambda x: tuple(x.shape)[2],
    "list": lambda x: list(x.size())[2],
    "size": lambda x: x.size(-2),
    "unpacked": lambda x: [*x.shape][2],
}


def ignored(what: str, sources: Any) -> None:
    """A size that is lost here is none of the test's business."""


def captured_and_own(body: Any) -> tuple[Any, Tensor, Tensor]:
    """Capture at one resolution; return the trace, and both outputs at another."""
    torch.manual_seed(0)
    model = Applied(body).eval()
    trace = capture(model, Inputs.of(images()))
    x = torch.randn(2, 3, 12, 12)
    graph = trace.module("eval").eval()
    with torch.no_grad():
        return trace, graph(x), model(x)


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_is_recorded(name: str) -> None:
    trace, actual, expected = captured_and_own(lambda m, x: m.conv(x) * ARITHMETIC[name](x.shape[2]))
    assert not trace.baked
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


@pytest.mark.parametrize("name", WAYS_OUT)
def test_what_leaves_it_is_reported(name: str) -> None:
    trace, actual, expected = captured_and_own(lambda m, x: m.conv(x) * WAYS_OUT[name](x))
    if not torch.equal(actual, expected):
        assert any(f"{__file__}:" in each for each in trace.frozen), "fixed, and nothing said so"


@pytest.mark.parametrize("name", ["ceil", "round", "int of a quotient"])
def test_a_size_for_resizing_is_followed_or_reported(name: str) -> None:
    trace, actual, expected = captured_and_own(lambda m, x: F.interpolate(m.conv(x), size=WAYS_OUT[name](x)))
    if actual.shape != expected.shape:
        assert any(f"{__file__}:" in each for each in trace.frozen), "fixed, and nothing said so"


@pytest.mark.parametrize("name", ARITHMETIC)
@pytest.mark.parametrize("number", [1, 5, 8])
def test_the_number_is_right(name: str, number: int) -> None:
    node = fx.Graph().placeholder("n")
    value = ARITHMETIC[name](traced(number, node.graph, lambda: node, frozenset(), ignored))
    assert value == ARITHMETIC[name](number)
    assert isinstance(value, (TracedInt, TracedFloat))
    assert type(plain(value)) is type(ARITHMETIC[name](number))


def test_sizes_that_nobody_uses_leave_nothing() -> None:
    graph = fx.Graph()
    node = graph.placeholder("x")
    sizes = sizes_of(torch.empty(2, 3), node, pytest.fail)
    assert isinstance(sizes, torch.Size)
    assert tuple(map(plain, sizes)) == (2, 3)
    assert len(graph.nodes) == 1
    assert sizes[1].node.args == (node, 1)
    assert sizes[1].node is sizes[1].node
    assert len(graph.nodes) == 2


def test_what_is_no_number_is_left_to_others() -> None:
    node = fx.Graph().placeholder("n")
    n = traced(3, node.graph, lambda: node, frozenset(), ignored)
    assert n * "ab" == "ababab"
    assert n * [1] == [1, 1, 1]
    assert torch.equal(torch.ones(2) * n, torch.full((2,), 3.0))


# What people write that decides by a size, and another shape at which it decides otherwise.
DECISIONS: dict[str, tuple[Callable[[Any, Tensor], Tensor], tuple[int, ...]]] = {
    "if": (lambda m, x: m.conv(x) * 2 if x.shape[-1] > 9 else m.conv(x), (2, 3, 12, 12)),
    "if the size is even": (lambda m, x: m.conv(x) * 2 if x.shape[-1] % 2 else m.conv(x), (2, 3, 9, 9)),
    "if the sizes differ": (lambda m, x: m.conv(x) * 2 if x.shape[-1] != x.shape[-2] else m.conv(x), (2, 3, 8, 9)),
    "if there are many": (lambda m, x: m.conv(x) - m.conv(x).mean(0) if len(x) > 16 else m.conv(x), (20, 3, 8, 8)),
    "min": (lambda m, x: m.conv(x)[..., : min(x.shape[3], 10)], (2, 3, 12, 12)),
    "range": (lambda m, x: sum(m.conv(x)[:, :, i] for i in range(x.shape[2])), (2, 3, 12, 12)),
    "unbind": (lambda m, x: torch.stack([row.tanh() for row in m.conv(x).unbind(2)]).sum(0), (2, 3, 12, 12)),
    "numpy": (lambda m, x: m.conv(x) / float(np.prod(x.shape[2:])), (2, 3, 12, 12)),
    "while": (lambda m, x: halved(m.conv(x)), (2, 3, 16, 16)),
}


def halved(x: Tensor) -> Tensor:
    while x.shape[-1] > 4:
        x = F.max_pool2d(x, 2)
    return x


@pytest.mark.parametrize("name", DECISIONS)
def test_a_decision_by_size_is_reported(name: str) -> None:
    body, shape = DECISIONS[name]
    torch.manual_seed(0)
    model = Applied(body).eval()
    trace = capture(model, Inputs.of(images()))
    assert any(each.startswith("a size: ") for each in trace.frozen)
    with torch.no_grad():
        try:
            same = torch.equal(trace.module("eval").eval()(torch.ones(shape)), model(torch.ones(shape)))
        except (RuntimeError, IndexError):
            same = False
    assert not same, "nothing was fixed, so nothing had to be said"


def test_a_decision_by_the_number_of_channels_is_not() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        assert y.shape[1] == 4
        return y * int(y.shape[1]) if x.size(1) > 2 else y

    assert not capture(Applied(body), Inputs.of(images())).frozen


@functools.lru_cache
def _halves(length: int) -> tuple[int, int]:
    return length // 2, length - length // 2


def halves(length: int) -> tuple[int, int]:
    """As einops does: what is no key is computed."""
    try:
        return _halves(length)
    except TypeError:
        return _halves.__wrapped__(length)


def test_a_cache_does_not_mix_up_the_sizes_of_two_inputs() -> None:
    class Two(torch.nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
            return (*x.split(halves(x.shape[1]), 1), *y.split(halves(y.shape[1]), 1))

    trace = capture(Two(), Inputs.of((torch.randn(2, 6), torch.randn(2, 6))))
    assert not trace.frozen
    x, y = torch.randn(2, 8), torch.randn(2, 5)
    assert [part.shape[1] for part in trace.module("eval")(x, y)] == [4, 4, 2, 3]


def test_a_table_of_sizes_is_read_and_reported() -> None:
    table = {6: 1.0, 8: 2.0, 9: 3.0, 12: 4.0, 16: 5.0}
    trace = capture(Applied(lambda m, x: m.conv(x) * table.get(x.shape[2], 0.5)), Inputs.of((images(),)))
    assert any("a size as a key" in each and "test_sizes.py" in each for each in trace.frozen)


def test_a_size_kept_from_an_earlier_run_is_fixed_and_reported() -> None:
    class Keeps(Applied):
        kept: Any = None

    def body(m: Any, x: Tensor) -> Tensor:
        m.kept = m.kept or x.shape[2]
        return m.conv(x) * m.kept

    trace = capture(Keeps(body), Inputs.of((images(),)))
    assert any("a size kept from an earlier run" in each for each in trace.frozen)
    trace.graph.lint()


def test_a_size_of_the_run_before_is_no_node_of_this_one() -> None:
    class Before(Applied):
        kept: Any = None

    def body(m: Any, x: Tensor) -> Tensor:
        kept, m.kept = m.kept, x.shape[2]
        return m.conv(x) if kept is None else m.conv(x)[:, :, :kept]

    trace = capture(Before(body), Inputs.of((images(),)))
    trace.graph.lint()
    assert all("value" in node.meta for node in trace.graph.nodes)


def test_numbers_forget_once_they_are_stored() -> None:
    node = fx.Graph().placeholder("x")
    for value in (3, 0.5):
        number = traced(value, node.graph, lambda: node, frozenset(), ignored)
        again = pickle.loads(pickle.dumps(number))
        assert again == value
        assert type(again) in (int, float)


def test_what_is_written_by_out_has_not_the_sizes_of_the_first_operand() -> None:
    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.row = nn.Buffer(torch.ones(1, 4))
            self.a = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = torch.empty_like(x)
            return self.a(x) + torch.add(self.row, x, out=out) + out.mul_(2.0)

    view = GraphView(capture(Written(), Inputs.of(torch.randn(3, 4))))
    written = {node.name: node.meta["sizes"][0] for node in view.nodes if node.meta.get("effect")}
    assert len(written) == 2
    assert 1 not in written.values()
