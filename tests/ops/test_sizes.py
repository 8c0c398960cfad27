"""Sizes that the rules write out are the sizes that come out, at other batch sizes and resolutions."""

from typing import Any

import pytest
import torch
from torch import Tensor, fx

from autosubnet.capture.preserve import preserved
from autosubnet.capture.trace import TensorInfo
from autosubnet.ops.call import Value
from autosubnet.ops.modes import operand_of
from autosubnet.ops.sizes import Arithmetic, Expression, Number, Size, apply, leaves, product, windows

from .case import Case
from .table import CASES
from .test_rules import Recorder, prepared


class FromOperands:
    """Sizes that refer to the operands, as where these are live."""

    def of(self, value: Value) -> list[Expression]:
        assert isinstance(value, fx.Node)
        return [Size(value, dim) for dim in range(len(value.meta["value"].shape))]

    def number(self, value: Any) -> Expression:
        return Number(value) if isinstance(value, fx.Node) else value


def evaluate(expression: Expression, values: dict[str, Any]) -> Any:
    if isinstance(expression, Size):
        return values[expression.node.name][expression.dim]
    if isinstance(expression, Number):
        return values[expression.node.name]
    if isinstance(expression, Arithmetic):
        return expression.function(*(evaluate(each, values) for each in expression.operands))
    return expression


def others(case: Case) -> list[Tensor]:
    """Return inputs of another batch size, and of other sizes where the model takes them."""
    batch, *inner = case.shape
    larger = (batch + 2, inner[0], *(size + 2 for size in inner[1:]))
    return [case.draw(0), *(torch.randn(shape, dtype=torch.float64) for shape in ((batch + 1, *inner), larger))]


def shapes_of(case: Case, x: Tensor) -> dict[str, Any] | None:
    """Return the shapes of all tensors, and the numbers, that the model computes; ``None`` where it refuses."""
    model, trace, _ = prepared(case)
    values: dict[str, Any] = {}

    def see(node: fx.Node, value: Any) -> None:
        values[node.name] = tuple(value.shape) if isinstance(value, Tensor) else value

    with preserved(model, training=False):
        try:
            model(x)
        except (RuntimeError, ValueError, IndexError):
            return None
        Recorder(trace.module("eval").eval(), see).run(x)
    for node in trace.graph.nodes:
        if (operand := operand_of(node, "eval")) is not None:
            values[node.name] = values[operand.name]
    return values


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_written_out_sizes(case: Case) -> None:
    _, trace, view = prepared(case)
    for x in others(case)[: 1 if trace.frozen else None]:
        values = shapes_of(case, x)
        if values is None:
            continue
        for node, rule in view.rules.items():
            runs = "eval" in node.meta["modes"]
            if runs and isinstance(node.meta["value"], TensorInfo) and not node.meta["mutated"]:
                sizes = rule.sizes(view.calls[node], FromOperands())
                if sizes is not None:
                    found = [evaluate(each, values) for each in sizes]
                    assert tuple(found) == values[node.name], node.format_node()
                    assert {type(each) for each in found} <= {int}, node.format_node()


def test_arithmetic_on_known_sizes_is_done() -> None:
    node = fx.Graph().placeholder("x")
    n = Size(node, 0)
    assert windows(7, 3, 2, 1, 1) == 4
    assert product([n, 2, 3]) == product([2, 3, n]) == product([6, n])
    assert product([]) == 1
    assert set(leaves([product([n, 2, Number(node)]), 5])) == {n, Number(node)}
    assert apply(max, 3, 4) == 4
