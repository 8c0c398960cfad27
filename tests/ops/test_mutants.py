"""Where rules must say no: each does so beside a zero, and a rule that does not would fail the contract."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from torch import Tensor, fx

from autosubnet.capture import MODES
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation, values_of
from autosubnet.ops.modes import operand_of
from autosubnet.ops.rule import Rule

from .case import Case, sprinkle
from .mutants import careless, distorting, greedy, instead_of, reads_a_zero, stubborn
from .rewriting import WAYS, check_rewrite
from .running import captured, prepared, replay
from .soundness import check_zeros, pairs, spread
from .table import OPERATORS, rule_for, that_override

SEEDS = (1, 3, 0, 2)  # those first that make ``a`` partly zero
ZERO = "it is zero"
SIZES = "it reads sizes only"
WRITTEN = "it is filled in place, and what is written to is never claimed"
FILLED = [
    "bernoulli_", "normal_", "uniform_", "random_", "exponential_", "geometric_", "cauchy_", "log_normal_",
]  # fmt: skip
# Operators that do not read a zero beside what is not zero, each with the reason.
WITHOUT = {
    **dict.fromkeys(["torch.zeros_like", "Tensor.new_zeros"], ZERO),
    **dict.fromkeys(
        [
            f"torch.{name}"
            for name in ("zeros", "ones", "empty", "full", "tensor", "rand", "randn", "randint", "randperm")
        ],
        SIZES,
    ),
    **dict.fromkeys([f"Tensor.{name}" for name in FILLED], WRITTEN),
}
# Operators of which too much cannot be claimed, each with the reason.
HARMLESS = {
    **dict.fromkeys(["torch.zeros_like", "torch.zeros", "Tensor.new_zeros"], ZERO),
    **dict.fromkeys(["torch.empty_like", "torch.empty", "Tensor.new_empty"], WRITTEN),
    **dict.fromkeys([f"Tensor.{name}" for name in FILLED], WRITTEN),
}


def check_sound(cases: Iterable[Case]) -> None:
    """Assert that nothing but zeros is claimed, by the rules that are registered at the moment."""
    for case in cases:
        model, trace = captured(case)
        view = GraphView(trace)  # of the rules as they are now, and not remembered
        for seed in SEEDS:
            sprinkle(model, seed)
            check_zeros(trace, Propagation(view, values_of(view)), case.draw(seed))


def refuses(case: Case) -> bool:
    """Whether the operator reads a zero somewhere, and yields entries that are not zero and not claimed."""
    model, _, view = prepared(case)
    for seed in SEEDS:
        sprinkle(model, seed)
        propagation = Propagation(view, values_of(view))
        reading = {
            node: propagation.masks[node]
            for node, rule in view.rules.items()
            if rule is rule_for(case.operator) and reads_a_zero(view.calls[node], propagation.of)
        }
        for mode in MODES if reading else ():
            values = computed(case, mode, case.draw(seed))
            for node, mask in reading.items():
                for each, tensor in pairs(mask, values[node.name]) if node.name in values else ():
                    if (tensor[~spread(each, tensor, node)] != 0).any():
                        return True
    return False


def computed(case: Case, mode: Any, x: Tensor) -> dict[str, Any]:
    """Return all values that are computed, as they are then."""
    _, trace, _ = prepared(case)
    values: dict[str, Any] = {}

    def see(node: fx.Node, value: Any) -> None:
        values[node.name] = value.clone() if isinstance(value, Tensor) else value

    replay(trace, mode, x, see)
    for node in trace.graph.nodes:
        if (operand := operand_of(node, mode)) is not None:
            values[node.name] = values[operand.name]
    return values


@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in WITHOUT])
def test_a_rule_says_no_beside_a_zero(name: str) -> None:
    assert any(map(refuses, OPERATORS[name]))


@pytest.mark.parametrize("name", WITHOUT)
def test_the_others_have_nothing_to_refuse(name: str) -> None:
    assert not any(map(refuses, OPERATORS[name]))


@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in HARMLESS])
def test_a_rule_that_claims_too_much_is_caught(name: str) -> None:
    with mutated(name, greedy), pytest.raises(AssertionError, match="claimed zero are not"):
        check_sound(OPERATORS[name])


@pytest.mark.parametrize("name", HARMLESS)
def test_too_much_cannot_be_claimed_of_the_others(name: str) -> None:
    with mutated(name, greedy):
        check_sound(OPERATORS[name])


@pytest.mark.parametrize("wrong", [careless, distorting])
@pytest.mark.parametrize("name", that_override("drops"))
def test_a_wrong_substitute_is_caught(name: str, wrong: Any) -> None:
    with mutated(name, wrong), pytest.raises((AssertionError, RuntimeError)):
        check_rewrites(OPERATORS[name])


@pytest.mark.parametrize("name", [name for name in that_override("resized") if name.startswith("torch.nn.modules.")])
def test_a_module_that_is_not_resized_is_caught(name: str) -> None:
    with mutated(name, stubborn), pytest.raises((AssertionError, RuntimeError, ValueError)):
        check_rewrites(OPERATORS[name])


def mutated(name: str, mutation: Callable[[Rule], Rule]) -> AbstractContextManager[None]:
    """Let the mutant of an operator's rule stand in for it."""
    right = rule_for(OPERATORS[name][0].operator)
    assert right is not None
    return instead_of(right, mutation(right))


def check_rewrites(cases: Iterable[Case]) -> None:
    """Assert that what is constructed equals the cases, by the rules that are registered at the moment."""
    for case in cases:
        for way in range(len(WAYS)):
            check_rewrite(case, way)
