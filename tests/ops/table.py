"""All cases of the rule contract, and the operators that are the package's own business."""

from __future__ import annotations

from typing import Any

from autosubnet.ops import registry
from autosubnet.ops.rule import Rule

from . import cases_arithmetic, cases_elementwise, cases_fresh, cases_mixing, cases_moving, cases_norms, cases_recurrent
from .case import Case

CASES: tuple[Case, ...] = (
    *cases_elementwise.CASES,
    *cases_arithmetic.CASES,
    *cases_mixing.CASES,
    *cases_norms.CASES,
    *cases_moving.CASES,
    *cases_recurrent.CASES,
    *cases_fresh.CASES,
)
# Methods that need a device that the machine may not have: they have the very rule of another one.
SAME_AS = {"cuda": "cpu"}


def rule_for(operator: Any) -> Rule | None:
    """Return the rule that is registered for a module class, a function or the name of a method."""
    if isinstance(operator, str):
        return registry._methods.get(operator)
    if isinstance(operator, type):
        return registry._modules.get(f"{operator.__module__}.{operator.__qualname__}")
    return registry._functions.get(operator)


def name_of(operator: Any) -> str:
    """Return the name of an operator, as :func:`registered` has it."""
    if isinstance(operator, str):
        return f"Tensor.{operator}"
    return f"{operator.__module__}.{operator.__qualname__ if isinstance(operator, type) else operator.__name__}"


def registered() -> list[str]:
    """Return every operator that the package itself has a rule for, by the name that its cases have."""
    tables = ((registry._modules, str), (registry._functions, name_of), (registry._methods, name_of))
    return [
        name(key)  # type: ignore[operator]  # one of the two above
        for table, name in tables
        for key, rule in table.items()
        if type(rule).__module__.startswith("autosubnet.")
    ]


def covered() -> set[str]:
    """Return the operators that have a case, by the same names."""
    return {*OPERATORS, *(f"Tensor.{name}" for name in SAME_AS)}


def _by_operator() -> dict[str, tuple[Case, ...]]:
    found: dict[str, tuple[Case, ...]] = {}
    for case in CASES:
        found[name_of(case.operator)] = (*found.get(name_of(case.operator), ()), case)
    return found


OPERATORS = _by_operator()


def that_override(method: str) -> list[str]:
    """Return the operators whose rules have more to say than the rule of an unknown one."""
    rules = {name: type(rule_for(cases[0].operator)) for name, cases in OPERATORS.items()}
    return [name for name, rule in rules.items() if getattr(rule, method) is not getattr(Rule, method)]
