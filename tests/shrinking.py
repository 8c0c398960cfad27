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
            yield read_only(replace(plan, outputs=(output,), auxiliary=False))
    first = len(plan.inputs)
    for number in range(len(plan.steps) - 1, -1, -1):
        for source in dict.fromkeys(plan.steps[number].inputs):
            yield read_only(bypassed(plan, first + number, source))
    plain = {"ties": (), "frozen": (), "auxiliary": False, "container": "plain", "channels_last": False}
    for name, value in plain.items():
        if getattr(plan, name) != value:
            yield replace(plan, **{name: value})


def bypassed(plan: Plan, value: int, source: int) -> Plan:
    """Let all that reads a value read what it was computed from."""

    def other(values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(source if each == value else each for each in values)

    steps = tuple(replace(step, inputs=other(step.inputs)) for step in plan.steps)
    return replace(plan, steps=steps, outputs=other(plan.outputs))


def read_only(plan: Plan) -> Plan:
    """Leave out the steps that no output needs; what called a module of theirs again gets one of its own."""
    first = len(plan.inputs)
    needed: set[int] = set()
    pending = list(plan.outputs)
    while pending:
        value = pending.pop()
        if value >= first and value - first not in needed:
            needed.add(value - first)
            pending += plan.steps[value - first].inputs
    kept = sorted(needed)
    place = {old: new for new, old in enumerate(kept)}
    values = {value: value for value in range(first)} | {first + old: first + new for old, new in place.items()}
    steps = tuple(
        replace(
            plan.steps[old],
            inputs=tuple(values[each] for each in plan.steps[old].inputs),
            shares=place.get(plan.steps[old].shares) if plan.steps[old].shares is not None else None,
        )
        for old in kept
    )
    return replace(
        plan,
        steps=steps,
        outputs=tuple(values[each] for each in plan.outputs),
        ties=tuple((place[a], place[b]) for a, b in plan.ties if a in place and b in place),
        frozen=tuple(place[each] for each in plan.frozen if each in place),
    )
