"""All cases of the rule contract, and the operators that are the package's own business."""

from __future__ import annotations

from typing import Any

from autosubnet.ops import registry
from autosubnet.ops.rule import Rule

from . import cases_arithmetic, cases_elementwise, cases_fresh, cases_mixing, cases_moving, cases_norms
from .case import Case

CASES: tuple[Case, ...] = (
    *cases_elementwise.CASES,
    *cases_arithmetic.CASES,
    *cases_mixing.CASES,
    *cases_norms.CASES,
    *cases_moving.CASES,
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


def registered() -> list[str]:
    """Return every operator that the package itself has a rule for, by the name that its cases have."""
    tables = (
        (registry._modules, str),
        (registry._functions, lambda function: f"{function.__module__}.{function.__name__}"),
        (registry._methods, lambda name: f"Tensor.{name}"),
    )
    return [
        name(key)  # type: ignore[operator]  # one of the three above
        for table, name in tables
        for key, rule in table.items()
        if type(rule).__module__.startswith("autosubnet.")
    ]


def covered() -> set[str]:
    """Return the operators that have a case, by the same names."""
    names = {f"Tensor.{name}" for name in SAME_AS}
    for case in CASES:
        operator = case.operator
        if isinstance(operator, str):
            names.add(f"Tensor.{operator}")
        else:
            names.add(
                f"{operator.__module__}.{operator.__qualname__ if isinstance(operator, type) else operator.__name__}"
            )
    return names
