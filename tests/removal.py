"""What must be gone from a subnet, and what a valid set of groups must leave in place."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Collection, Sequence
from typing import Any

import torch
from plans import PlannedModel
from probes import Inputs, Kept, largest, parameters, probe, redraw, restored, run, variation
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.flop_counter import FlopCounterMode


def num_params(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def num_flops(module: nn.Module, example_inputs: Inputs) -> int:
    """Count the multiply-adds, twice, of one forward pass."""
    with restored(module), FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(*example_inputs)
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
    """Every trainable parameter of the subnet takes part in an output, by its gradient or at least by its value."""
    with restored(subnet):
        torch.stack([output.sum() for output in run(subnet, example_inputs, train=True)]).sum().backward()
        dead = [name for name, p in subnet.named_parameters() if p.requires_grad and p.grad is None]
    dead = [name for name in dead if not _matters(subnet, name, example_inputs)]
    assert not dead, f"parameters that no output depends on: {dead}"


@torch.no_grad()
def _matters(subnet: nn.Module, name: str, example_inputs: Inputs) -> bool:
    """Whether an output changes with a parameter."""
    changed = copy.deepcopy(subnet)
    for train, scale in itertools.product((False, True), (-1, -3, 10, -30, 100, -1000)):
        changed.get_parameter(name).copy_(subnet.get_parameter(name).flip(-1) * scale)
        before, after = (probe(each, example_inputs, train=train) for each in (subnet, changed))
        if not all(map(torch.equal, before, after)):
            return True
    return False


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


def dependences(model: nn.Module, example_inputs: Inputs, *, train: bool) -> set[tuple[int, int]]:
    """Return (output, input) where redrawing that input alone changes that output."""
    base, other = redraw(example_inputs, 8, 50), redraw(example_inputs, 8, 51)
    expected = probe(model, base, train=train)  # each from the same buffers: a power iteration moves on
    changed = [
        probe(model, (*base[:place], other[place], *base[place + 1 :]), train=train) for place in range(len(base))
    ]
    return {
        (number, place)
        for place, outputs in enumerate(changed)
        for number, (a, b) in enumerate(zip(expected, outputs, strict=True))
        if largest(a - b) > 1e-9 * largest(a)
    }


def redrawn(model: nn.Module, seed: int) -> nn.Module:
    """Return a copy with other parameters, zero where they were, and other running means.

    A planned network is perturbed: what cancels, as x - x does, is no proof that a way is lost.
    """
    model, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.copy_(torch.where(parameter == 0, parameter, noise))
        for name, mean in model.named_buffers():
            if name.endswith("running_mean"):
                mean.copy_(torch.randn(mean.shape, generator=generator, dtype=mean.dtype))
    if isinstance(model, PlannedModel):
        model.perturbation = seed
    return model


def wake(model: nn.Module, example_inputs: Inputs) -> bool:
    """Draw other parameters where an output is constant by coincidence: a ReLU may happen to be off.

    What is zero stays zero. Returns whether all outputs vary now: what one path adds another may take away.
    """
    for seed in range(5):
        outputs = probe(model, redraw(example_inputs, 8, 99), train=False)
        if all(variation(output.detach()) > 1e-9 * largest(output) for output in outputs):
            return True
        if seed < 4:
            model.load_state_dict(redrawn(model, seed).state_dict())
    return False


def same_constants(model: nn.Module, subnet: nn.Module, example_inputs: Inputs) -> None:
    """Outputs are equal, also those that no input changes; in train mode where no random operation was removed."""
    for train in (False,) if subnet.meta["autosubnet"].training_notes else (False, True):
        expected, got = (probe(each, redraw(example_inputs, 8, 99), train=train) for each in (model, subnet))
        for a, b in zip(expected, got, strict=True):
            assert largest(a - b) <= 1e-9 * max(1.0, largest(a)), "constant outputs differ"


Connections = dict[bool, set[tuple[int, int]]]


def connections(model: nn.Module, example_inputs: Inputs, within: Connections | None = None) -> Connections:
    """Return (output, required input) that depend on each other, by train mode or not, of all or of those ``within``.

    Outputs of train mode alone are looked at there. Batch norms keep their running statistics: validity is a property
    of both modes. What the examples of a batch do to each other in train mode connects nothing, and a norm without
    affine parameters, which in train mode maps a constant to zero, cuts nothing off.

    Required are the floating-point inputs, or where there is none the first.
    """
    model = _with_fixed_statistics(model)
    required = [place for place, value in enumerate(example_inputs) if value.is_floating_point()] or [0]
    in_eval, in_train = (len(probe(model, example_inputs, train=train)) for train in (False, True))
    every = {False: set(itertools.product(range(in_eval), required))}
    if in_train > in_eval:
        every[True] = set(itertools.product(range(in_eval, in_train), required))
    found: Connections = {}
    for train, wanted in (within or every).items():
        found[train] = wanted & dependences(model, example_inputs, train=train)
        for seed in range(4):  # a ReLU that happens to be off is no proof
            if found[train] < wanted:
                found[train] |= wanted & dependences(redrawn(model, seed), example_inputs, train=train)
    return found


def stays_valid(before: Connections, model: nn.Module, example_inputs: Inputs) -> None:
    """Validity: with its groups zero, all that was connected ``before`` still is."""
    after = connections(model, example_inputs, before)
    for train, connected in before.items():
        lost = connected - after[train]
        mode = "train" if train else "eval"
        assert not lost, f"(output, input) that no longer depend on each other in {mode} mode: {sorted(lost)}"


def _with_fixed_statistics(model: nn.Module) -> nn.Module:
    """Return a copy whose batch norms stay in eval mode, as a frozen backbone's do."""
    model = copy.deepcopy(model)
    for norm in model.modules():
        if isinstance(norm, _BatchNorm) and norm.track_running_stats:
            norm.eval()
            norm.train = lambda mode=True, norm=norm: norm
    return model
