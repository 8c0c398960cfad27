"""From a network that fails to a smaller one: steps, outputs and flags are left out while it goes on failing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from plans import Plan


def smallest(plan: Plan, fails: Callable[[Plan], bool], attempts: int = 400) -> Plan:
    """Return a network of which nothing more can be left out, as far as ``attempts`` go.

    Args:
        plan: fails.
        fails: whether a candidate fails in the same way; one that cannot be built does not.
        attempts: how many candidates are looked at.
    """
    candidates = smaller(plan)
    for _ in range(attempts):
        candidate = next(candidates, None)
        if candidate is None:
            break
        if fails(candidate):
            plan, candidates = candidate, smaller(candidate)
    return plan


def smaller(plan: Plan) -> Iterator[Plan]:
    """Yield networks with something less, the large pieces first."""
    if len(plan.outputs) > 1:
        for output in plan.outputs:
            yield replace(plan, outputs=(output,), auxiliary=False).read_only()
    first = len(plan.inputs)
    for number in range(len(plan.steps) - 1, -1, -1):
        for source in dict.fromkeys(plan.steps[number].inputs):
            yield plan.bypassed(first + number, source).read_only()
    plain = {"ties": (), "frozen": (), "born": (), "auxiliary": False, "container": "plain", "channels_last": False}
    plain["precision"] = "float64"
    for name, value in plain.items():
        if getattr(plan, name) != value:
            yield replace(plan, **{name: value})
