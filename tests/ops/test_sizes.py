"""Sizes that the rules write out are the sizes that come out, at other batch sizes and resolutions."""

from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx

from autosubnet.capture.trace import TensorInfo
from autosubnet.ops.modes import operand_of
from autosubnet.ops.sizes import Arithmetic, Expression, Number, Size, apply, leaves, product, windows

from .case import Case
from .running import accepts, another_batch, prepared, replay
from .table import CASES, OPERATORS, rule_for, that_override


def evaluate(expression: Expression, values: dict[str, Any]) -> Any:
    if isinstance(expression, Size):
        return values[expression.node.name][expression.dim]
    if isinstance(expression, Number):
        return values[expression.node.name]
    if isinstance(expression, Arithmetic):
        return expression.function(*(evaluate(each, values) for each in expression.operands))
    return expression


def others(case: Case) -> list[Tensor]:
    """Return inputs of another batch size, and of other sizes behind the channels."""
    batch, *inner = case.shape
    larger = (batch + 2, inner[0], *(size + 2 for size in inner[1:]))
    return [another_batch(case), torch.randn(larger, dtype=torch.float64)]


def shape_of(value: Any) -> Any:
    """Return the shape of a tensor, those of several, or a number as it is."""
    if isinstance(value, tuple):
        return tuple(shape_of(each) for each in value)
    return tuple(value.shape) if isinstance(value, Tensor) else value


def shapes_of(case: Case, x: Tensor) -> dict[str, Any]:
    """Return the shapes of all tensors, and the numbers, that the model computes in eval mode."""
    _, trace, _ = prepared(case)
    values: dict[str, Any] = {}

    def see(node: fx.Node, value: Any) -> None:
        values[node.name] = shape_of(value)

    replay(trace, "eval", x, see)
    for node in trace.graph.nodes:
        if (operand := operand_of(node, "eval")) is not None:
            values[node.name] = values[operand.name]
    return values


@cache
def written_out(case: Case) -> int:
    """Assert that the sizes that rules write out are right; return at how many inputs the operator's own all were.

    ``None`` stands for a size that is not known.
    """
    model, trace, view = prepared(case)
    inputs = [case.draw(0), *(() if trace.frozen else (x for x in others(case) if accepts(model, x)))]
    own = set()
    for number, x in enumerate(inputs):
        values = shapes_of(case, x)
        for node, rule in view.rules.items():
            if "eval" not in node.meta["modes"] or node.meta["mutated"]:
                continue
            for output, shape in outputs_of(node, values[node.name]):
                sizes = rule.sizes(view.calls[node], view.sizes, output)
                if sizes is not None:
                    found = [
                        size if each is None else evaluate(each, values)
                        for each, size in zip(sizes, shape, strict=True)
                    ]
                    assert tuple(found) == shape, f"output {output} of {node.format_node()}"
                    assert {type(each) for each in found} <= {int}, node.format_node()
                    own |= {number} if rule is rule_for(case.operator) and None not in sizes else set()
    return len(own)


def outputs_of(node: fx.Node, shapes: Any) -> list[tuple[int, tuple[int, ...]]]:
    """Number the tensors among what a node computes, each with its shape."""
    info = node.meta["value"]
    if isinstance(info, TensorInfo):
        return [(0, shapes)]
    several = info if isinstance(info, tuple) else ()
    return [(number, shapes[number]) for number, each in enumerate(several) if isinstance(each, TensorInfo)]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_written_out_sizes(case: Case) -> None:
    written_out(case)


# Operators whose rules do not write out the sizes of their cases, each with the reason.
UNWRITTEN = {
    **dict.fromkeys(["torch.tensor_split", "Tensor.tensor_split"], "its pieces may be of any sizes"),
    "torch.empty_like": "it is filled in place, and what is written to is computed",
}


@pytest.mark.parametrize("name", [name for name in that_override("sizes") if name not in UNWRITTEN])
def test_sizes_are_written_out_at_other_inputs_too(name: str) -> None:
    assert max(map(written_out, OPERATORS[name])) > 1


@pytest.mark.parametrize("name", UNWRITTEN)
def test_other_sizes_are_not_written_out(name: str) -> None:
    assert max(map(written_out, OPERATORS[name])) == 0


def test_arithmetic_on_known_sizes_is_done() -> None:
    node = fx.Graph().placeholder("x")
    n = Size(node, 0)
    assert windows(7, 3, 2, 1, 1) == 4
    assert product([n, 2, 3]) == product([2, 3, n]) == product([6, n])
    assert product([]) == 1
    assert set(leaves([product([n, 2, Number(node)]), 5])) == {n, Number(node)}
    assert apply(max, 3, 4) == 4


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 2, 3, 4])
def test_as_many_windows_as_torch_counts(kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> None:
    if 2 * padding > kernel:
        return  # torch refuses it
    written = 0
    for size in range(1 + dilation * (kernel - 1), 14):
        found = windows(size, kernel, stride, padding, dilation, ceil=ceil)
        shape = F.max_pool1d(torch.zeros(1, 1, size), kernel, stride, padding, dilation, ceil).shape
        assert found in (None, shape[-1])
        written += found is not None
    assert written or (ceil and stride + padding > 1 + dilation * (kernel - 1))
