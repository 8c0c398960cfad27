"""Training goes on: fifty steps of a specimen's subnet with the optimizer carried over are those of the specimen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import promises
import pytest
import torch
from probes import Inputs, largest, parameters, redraw, run, survivors
from subnet.checks import report_of, zero
from torch import Tensor, nn
from torch.optim import Optimizer

import autosubnet
from autosubnet.optim import carry

from .naive import Mutant
from .specimen import Specimen
from .test_adversarial import SPECIMENS, prepared

BEFORE, STEPS = 3, 50  # before the construction, and behind it
MANY = 1000  # vertices, of which a tenth of the steps is enough
TOLERANCE = 1e-9
# Fused, since these steps are quick and go by memory. AdamW divides by the size of a gradient: with its usual epsilon,
# rounding would count where that is zero.
OPTIMIZERS: dict[str, Callable[[nn.Module], Optimizer]] = {
    "SGD": lambda module: torch.optim.SGD(module.parameters(), lr=1e-5, momentum=0.9, weight_decay=1e-2, fused=True),
    "AdamW": lambda module: torch.optim.AdamW(module.parameters(), lr=1e-4, eps=1e-4, fused=True),
}
# Where a random operation goes, later draws are others; where a call of a norm goes, its statistics are.
TRAINING = [each for each in SPECIMENS if each.train]


def train(
    module: nn.Module, optimizer: Optimizer, batches: Mapping[int, Inputs], zeros: Mapping[str, Tensor] | None = None
) -> None:
    """Take a step for each batch, which has a number; entries in ``zeros`` stay zero.

    No gradient counts as a zero one: what is left for its sizes or its layout alone has none.
    """
    trained = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    frozen = [(trained[name], mask) for name, mask in (zeros or {}).items() if name in trained and mask.any()]
    for seed, batch in batches.items():
        optimizer.zero_grad()
        promises.objective(run(module, batch, train=True, seed=seed)).backward()
        for parameter in trained.values():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        with torch.no_grad():
            for parameter, mask in frozen:
                parameter.masked_fill_(mask, 0.0)


def alike(expected: Sequence[Tensor], got: Sequence[Tensor], what: str) -> None:
    for a, b in zip(expected, got, strict=True):
        difference = largest(a - b)
        assert difference <= TOLERANCE * largest(a), f"{what}: differs by {difference:.3g} of {largest(a):.3g}"


def goes_on(specimen: Specimen, kind: str) -> None:
    """Train with the zeros held, construct, and train both: parameters, buffers and outputs stay equal."""
    model, inputs = prepared(specimen)
    zero(model, specimen.zeros)
    optimizer = OPTIMIZERS[kind](model)
    held = {name: parameter.detach() == 0 for name, parameter in model.named_parameters()}
    train(model, optimizer, {number: redraw(inputs, 4, number) for number in range(BEFORE)}, held)
    subnet = autosubnet.remove_zeros(model, inputs, verify=False)  # training will tell
    report = report_of(subnet)
    assert not report.training_notes
    carried = carry.carry_optimizer(optimizer, parameters(model), subnet, report.kept)
    lost = promises.dropped(model, parameters(subnet), report.kept)
    zeros = {name: mask & (model.get_parameter(name) == 0) for name, mask in lost.items()}
    before = {name: parameter.detach().clone() for name, parameter in subnet.named_parameters()}
    steps = STEPS if len(subnet.graph.nodes) < MANY else STEPS // 10
    batches: dict[int, Any] = {BEFORE + number: redraw(inputs, 4, BEFORE + number) for number in range(steps)}
    train(model, optimizer, batches, zeros)
    train(subnet, carried, batches)
    original = parameters(model)
    for name, parameter in subnet.named_parameters():
        alike([survivors(original[name], name, report.kept)], [parameter], name)
    promises.same_buffers(model, subnet, report.kept, TOLERANCE)
    for mode in (False, True):
        alike(*(run(module, inputs, train=mode) for module in (model, subnet)), f"an output, train={mode}")
    assert any(not torch.equal(before[name], parameter) for name, parameter in subnet.named_parameters()), "no training"


def readable(value: object) -> str:
    return str(getattr(value, "name", value)).replace(" ", "-")


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("specimen", TRAINING, ids=readable)
def test_training_goes_on(specimen: Specimen, kind: str) -> None:
    goes_on(specimen, kind)


def test_nearly_all_specimens_train() -> None:
    assert len(TRAINING) >= 0.8 * len(SPECIMENS)


# ---------------------------------------------------------------- naive implementations

carry_value = carry._carry_value
carry_optimizer = carry.carry_optimizer


def forgotten(value: Any, old: Tensor, new: Tensor, cut: Any) -> Any:
    """Momenta start anew."""
    value = carry_value(value, old, new, cut)
    return torch.zeros_like(value) if value.ndim else value


def at_the_front(value: Any, old: Tensor, new: Tensor, cut: Any) -> Any:
    """Of momenta so many indices are kept, and not those that are left."""
    return carry_value(value, old, new, {dim: range(len(indices)) for dim, indices in cut.items()})


def laid_out_as_usual(value: Any, old: Tensor, new: Tensor, cut: Any) -> Any:
    return carry_value(value, old, new, cut).contiguous()


def by_position(optimizer: Optimizer, named_params_old: Any, subnet: nn.Module, kept: Any) -> Optimizer:
    """The first state is the first parameter's, as in ``load_state_dict``; where the shapes agree, that is."""
    carried = carry_optimizer(optimizer, named_params_old, subnet, kept)
    for new, old in zip(subnet.parameters(), optimizer.state, strict=False):
        if new.shape == old.shape:
            carried.state[new] = {key: carry_value(value, old, new, {}) for key, value in optimizer.state[old].items()}
    return carried


IN_A_CONCAT = ("a zero between two in a concat", "a zero twice in a concat")
CAUGHT = [
    (Mutant("momenta start anew", ((carry, "_carry_value", forgotten),)), ("a sum", "a tied embedding")),
    (Mutant("momenta are cut at the front", ((carry, "_carry_value", at_the_front),)), IN_A_CONCAT),
    (
        Mutant("momenta lie as usual", ((carry, "_carry_value", laid_out_as_usual),)),
        ("channels last ahead of dropout",),
    ),
    (
        Mutant("state goes by position", ((carry, "carry_optimizer", by_position),)),
        ("zero minus a branch", "unpooling of zero"),
    ),
]


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize(
    ("mutant", "name"), [(mutant, name) for mutant, names in CAUGHT for name in names], ids=readable
)
def test_a_naive_implementation_fails(mutant: Mutant, name: str, kind: str) -> None:
    specimen = next(each for each in TRAINING if each.name == name)
    with mutant.believed(), pytest.raises(AssertionError, match="differs by"):
        goes_on(specimen, kind)
