"""Training goes on: fifty steps of a subnet with the optimizer carried over are those of the model it came from."""

import copy
import random
from collections.abc import Callable

import promises
import pytest
import removal
import torch
from plans import build
from probes import parameters, redraw, run
from random_models import draw_plan
from torch import nn
from torch.optim import Optimizer

from autosubnet import AutoSubnet

STEPS = 50
OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "SGD": lambda module: torch.optim.SGD(module.parameters(), lr=1e-5, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "Adam": lambda module: torch.optim.Adam(module.parameters(), lr=1e-4, amsgrad=True),
    "AdamW": lambda module: torch.optim.AdamW(module.parameters(), lr=1e-4),
}
SEEDS = (5, 7, 27, 30, 53)  # image and token networks, some with dropout, of which something goes


def train(
    module: nn.Module, optimizer: Optimizer, inputs: promises.Inputs, steps: range, zeros: dict[str, torch.Tensor]
) -> None:
    """Train on other data in each step; entries in ``zeros`` stay zero."""
    named = dict(module.named_parameters())
    for step in steps:
        optimizer.zero_grad()
        promises.objective(run(module, redraw(inputs, 4, step), train=True, seed=step)).backward()
        optimizer.step()
        with torch.no_grad():
            for name, mask in zeros.items():
                named[name][mask] = 0.0


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("seed", SEEDS)
def test_fifty_steps_are_those_of_the_model_with_its_zeros_frozen(kind: str, seed: int) -> None:
    model, inputs = build(draw_plan(random.Random(seed).choice))
    optimizer = OPTIMIZERS[kind](model)
    oto = AutoSubnet(model, inputs)
    train(model, optimizer, inputs, range(5), {})
    oto.random_set_zero_groups(0.5, seed=seed)
    subnet = oto.construct_subnet()
    report = subnet.meta["autosubnet"]
    carried = oto.carry_optimizer(optimizer, subnet)
    lost = promises.dropped(model, parameters(subnet), report.kept)
    zeros = {name: mask & (parameters(model)[name] == 0) for name, mask in lost.items()}
    assert report.num_params[1] < report.num_params[0]
    assert not report.training_notes
    before = copy.deepcopy(subnet)
    train(model, optimizer, inputs, range(5, 5 + STEPS), zeros)
    train(subnet, carried, inputs, range(5, 5 + STEPS), {})
    promises.same_parameters(model, subnet, report.kept, tolerance=1e-8)
    moved = [name for name, p in subnet.named_parameters() if not torch.equal(p, before.get_parameter(name))]
    assert moved, "nothing was trained"
    removal.nothing_dead(subnet, inputs)
