"""Which concats of a plan can lose channels: the parameters behind the others may keep a zero slice.

A concat is narrowable if all that read it, through operators that treat each channel alone, are dense
convolutions or linear layers of their own, whose input channels can be cut. One all of whose blocks are zero is not
narrowed: zeros of its width stand for it.
"""

from __future__ import annotations

from collections.abc import Collection

from plans import Plan, Step

PER_CHANNEL = {
    *("batch_norm", "instance_norm", "token_batch_norm", "prelu", "relu", "f_relu", "relu_", "leaky_relu"),
    *("gelu", "silu", "hardswish", "tanh", "dropout", "f_dropout", "dropout2d", "drop_path", "damped"),
    *("max_pool", "avg_pool", "pool_to_pixel", "upsample"),
}
# And where their weights are.
AFFINE = {"batch_norm": "", "instance_norm": "", "prelu": "", "odd_norm": "", "token_batch_norm": ".norm"}


def stuck_parameters(plan: Plan, zero: Collection[int]) -> set[str]:
    """Return the names of the norm and PReLU parameters behind concats that cannot be narrowed.

    Args:
        plan: the network.
        zero: the values that are zero all over.
    """
    names = set()
    for number, step in enumerate(plan.steps):
        cats = cats_ahead(plan, number)
        if step.op in AFFINE and not all(cat not in zero and narrowable(plan, cat) for cat in cats):
            home = number if step.shares is None else step.shares
            owner = f"{step.op}{home}{AFFINE[step.op]}"
            names |= {f"{owner}.weight", f"{owner}.bias"}
    return names


def step_of(plan: Plan, value: int) -> Step | None:
    """Return the step that computed ``value``, ``None`` for an input."""
    return plan.steps[value - len(plan.inputs)] if value >= len(plan.inputs) else None


def cats_ahead(plan: Plan, number: int) -> set[int]:
    """Return the concats whose channels reach a step one to one."""
    found: set[int] = set()
    waiting = list(plan.steps[number].inputs)
    while waiting:
        value = waiting.pop()
        step = step_of(plan, value)
        if step is not None and step.op == "cat":
            found.add(value)
            waiting += step.inputs
        elif step is not None and step.op in PER_CHANNEL | {"odd_norm"}:
            waiting.append(step.inputs[0])
    return found


def narrowable(plan: Plan, value: int) -> bool:
    """Whether channels of ``value`` can be cut from all that read it."""
    if value in plan.outputs:
        return False
    readers = [(n, step) for n, step in enumerate(plan.steps) if value in step.inputs]
    return all(takes_less(plan, number, step, value) for number, step in readers)


def takes_less(plan: Plan, number: int, step: Step, value: int) -> bool:
    """Whether a step can do with fewer channels of ``value``."""
    if step.op == "upsample" and value == step.inputs[1] != step.inputs[0]:
        return True  # it reads only the size
    if any(number in pair for pair in plan.ties) or any(other.shares == number for other in plan.steps):
        return False
    if step.shares is not None:
        return False
    if step.op in {"conv", "linear", "pixel_linear"}:
        return step.options.get("groups", 1) == 1
    if step.op == "flatten":
        source = step_of(plan, value)
        pixels = source is not None and source.op == "pool_to_pixel"
        return pixels and narrowable(plan, len(plan.inputs) + number)
    if step.options.get("affine") is False:
        return False  # without weight and bias it maps zero to a constant
    return step.op in PER_CHANNEL | {"cat"} and narrowable(plan, len(plan.inputs) + number)
