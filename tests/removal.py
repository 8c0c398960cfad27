"""What must be gone from a subnet, and what a valid set of groups must leave in place."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from probes import Inputs, Kept, largest, parameters, redraw, run
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def num_params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def num_flops(module: nn.Module, example_inputs: Inputs) -> int:
    """Count the multiply-adds, twice, of one forward pass."""
    module = copy.deepcopy(module).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*example_inputs)
    return int(counter.get_total_flops())


def removes(
    model: nn.Module,
    subnet: nn.Module,
    example_inputs: Inputs,
    kept: Kept,
    groups: Sequence[Any],
    may_stay: Collection[str] = (),
) -> None:
    """It removes: the slices of the zeroed groups are gone, parameters and FLOPs fall.

    Part of a parameter may stay only where its name is in ``may_stay``: behind a concat that cannot be cut.
    """
    before, after = num_params(model), num_params(subnet)
    assert after < before or not groups, f"{len(groups)} zero groups, but still {before} parameters"
    flops = [num_flops(module, example_inputs) for module in (model, subnet)]
    counted = any(_is_counted(model, part.name) for group in groups for part in group.slices if part.indices is None)
    fell = flops[1] < flops[0] if counted else flops[1] <= flops[0]
    assert fell, f"FLOPs went from {flops[0]} to {flops[1]}"
    left = parameters(subnet)
    for group in groups:
        for part in group.slices:
            may = part.name not in left or (part.indices is not None and part.name in may_stay)
            stays = [] if may else stays_of(part, kept)
            assert not stays, f"group {group.name}: {part.name} dim {part.dim} is still there: {stays}"


def _is_counted(model: nn.Module, name: str) -> bool:
    """Whether a parameter is the weight of a layer whose multiply-adds are counted; those of nn.MultiheadAttention's
    fused kernel are not."""
    path, _, leaf = name.rpartition(".")
    return leaf == "weight" and type(model.get_submodule(path)) in (nn.Linear, nn.Conv1d, nn.Conv2d)


def nothing_dead(subnet: nn.Module, example_inputs: Inputs) -> None:
    """Every trainable parameter of the subnet takes part in an output."""
    subnet = copy.deepcopy(subnet)
    subnet.zero_grad(set_to_none=True)
    torch.stack([output.sum() for output in run(subnet, example_inputs, train=True)]).sum().backward()
    dead = [name for name, p in subnet.named_parameters() if p.requires_grad and p.grad is None]
    assert not dead, f"parameters that no output depends on: {dead}"


def stays_of(part: Any, kept: Kept) -> list[int | None]:
    """Return the indices of a parameter slice that the subnet still has; ``[None]`` for a whole parameter."""
    if part.indices is None:
        return [None]
    alive = kept.get(part.name, {}).get(part.dim)
    return [i for i in part.indices if alive is None or i in alive]


def zeroed(model: nn.Module, groups: Sequence[Any]) -> None:
    """The slices of ``groups`` are zero in ``model``, bit for bit."""
    values = dict(model.named_parameters())
    for group in groups:
        for part in group.slices:
            value = values[part.name].detach()
            if part.indices is not None:
                value = value.index_select(part.dim, torch.tensor(part.indices))
            assert not value.count_nonzero(), f"group {group.name}: {part.name} is not zero"


@torch.no_grad()
def set_zero(model: nn.Module, groups: Sequence[Any]) -> None:
    """Set the slices of ``groups`` to zero in ``model``."""
    values = dict(model.named_parameters())
    for part in (part for group in groups for part in group.slices):
        value = values[part.name]
        if part.indices is None:
            value.zero_()
        else:
            value.index_fill_(part.dim, torch.tensor(part.indices), 0.0)


def dependences(model: nn.Module, example_inputs: Inputs) -> Iterator[tuple[int, int]]:
    """Yield (output, input) where redrawing that input alone changes that output, in eval mode."""
    model = copy.deepcopy(model)
    base, other = redraw(example_inputs, 8, 50), redraw(example_inputs, 8, 51)
    with torch.no_grad():
        expected = run(model, base, train=False)
        for place in range(len(base)):
            changed = run(model, (*base[:place], other[place], *base[place + 1 :]), train=False)
            for number, (a, b) in enumerate(zip(expected, changed, strict=True)):
                if largest(a - b) > 1e-9 * largest(a):
                    yield number, place


def stays_valid(before: nn.Module, model: nn.Module, example_inputs: Inputs) -> None:
    """Validity: with its groups zero, every output still depends on every required input that it depended on.

    Required are the floating-point inputs, or where there is none the first.
    """
    required = [place for place, value in enumerate(example_inputs) if value.is_floating_point()] or [0]
    lost = set(dependences(before, example_inputs)) - set(dependences(model, example_inputs))
    lost = {(output, place) for output, place in lost if place in required}
    assert not lost, f"(output, input) that no longer depend on each other: {sorted(lost)}"
