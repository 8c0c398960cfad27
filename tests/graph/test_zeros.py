"""Zero propagation as a whole: claims against real values, and updates that can be taken back."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from oracles import check_zero_claims
from torch import Tensor, nn

from autosubnet import AutoSubnet
from autosubnet.capture import Inputs, capture
from autosubnet.graph.groups import Group
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation, values_of
from autosubnet.ops.masks import Mask
from graph.models import EXAMPLES


def view_of(model: nn.Module, inputs: tuple[Tensor, ...]) -> GraphView:
    return GraphView(capture(model, Inputs.of(inputs)))


def masks_of(model: nn.Module, group: Group) -> dict[str, Mask]:
    masks = {}
    for part in group.slices:
        masks[part.name] = np.zeros(model.get_parameter(part.name).shape, dtype=bool)
        masks[part.name][... if part.indices is None else list(part.indices)] = True
    return masks


def state(propagation: Propagation) -> list[object]:
    return [_plain(propagation.masks[node]) for node in propagation.view.nodes]


def _plain(mask: object) -> object:
    if isinstance(mask, tuple):
        return tuple(_plain(each) for each in mask)
    return mask.tolist() if isinstance(mask, np.ndarray) else mask


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_claims_hold_on_random_inputs(name: str, train: bool) -> None:
    model, inputs = EXAMPLES[name]()
    AutoSubnet(model, inputs).random_set_zero_groups(1.0)
    view = view_of(model, inputs)
    propagation = Propagation(view, values_of(view))
    claims = {node.name: mask for node, mask in propagation.masks.items() if isinstance(mask, np.ndarray)}
    module = view.trace.module("train" if train else "eval")
    assert check_zero_claims(module, [claims], inputs, train) > 0


@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_is_claimed_without_zeros(name: str) -> None:
    view = view_of(*EXAMPLES[name]())
    for masks in (None, values_of(view)):
        propagation = Propagation(view, masks)
        data = [node for node in view.nodes if node.meta["data"] and isinstance(propagation.masks[node], np.ndarray)]
        assert not any(propagation.masks[node].any() for node in data)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_update_equals_starting_from_scratch_and_can_be_taken_back(name: str) -> None:
    model, inputs = EXAMPLES[name]()
    oto = AutoSubnet(model, inputs)
    view = view_of(model, inputs)
    propagation, rng = Propagation(view), random.Random(0)
    start = state(propagation)
    for _ in range(4):
        chosen = rng.sample(oto.groups, rng.randint(1, len(oto.groups)))
        logs, parameters = [], {}
        for group in chosen:
            for part, mask in masks_of(model, group).items():
                parameters[part] = mask | parameters.get(part, np.zeros_like(mask))
            logs.append(propagation.update({part: parameters[part] for part in masks_of(model, group)}))
        assert state(propagation) == state(Propagation(view, parameters))
        for log in reversed(logs):
            propagation.undo(log)
        assert state(propagation) == start
        assert propagation.parameters == {}


@pytest.mark.parametrize("name", EXAMPLES)
def test_more_zeros_never_claim_less(name: str) -> None:
    model, inputs = EXAMPLES[name]()
    oto = AutoSubnet(model, inputs)
    propagation = Propagation(view_of(model, inputs))
    order = random.Random(1).sample(oto.groups, len(oto.groups))
    before = dict(propagation.masks)
    for group in order:
        union = {part: mask | propagation.of(part) for part, mask in masks_of(model, group).items()}
        propagation.update(union)
        for node, mask in before.items():
            if isinstance(mask, np.ndarray):
                assert (propagation.masks[node] >= mask).all(), f"{node.name} lost a claim"
        before = dict(propagation.masks)


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_group_makes_its_segment_zero(name: str) -> None:
    model, inputs = EXAMPLES[name]()
    oto = AutoSubnet(model, inputs)
    view = view_of(model, inputs)
    nodes = {node.name: node for node in view.nodes}
    for group in oto.groups:
        propagation = Propagation(view, masks_of(model, group))
        for segment in group.segments:
            assert propagation.is_zero(nodes[oto.graph.segment[segment].vertices[-1]])


def test_buffers_are_never_taken_for_zero() -> None:
    """A running mean of zero is one step of training away from something else."""
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2)).double().eval()
    view = view_of(model, (torch.randn(3, 4, dtype=torch.float64),))
    assert not set(values_of(view)) & {name for name, _ in model.named_buffers()}


def test_what_is_written_in_place_is_never_claimed() -> None:
    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            z = y[:, :2]
            z += 1.0
            return y * 2.0

    model = Writes()
    nn.init.zeros_(model.a.weight)
    nn.init.zeros_(model.a.bias)
    view = view_of(model, (torch.randn(3, 4),))
    propagation = Propagation(view, values_of(view))
    claimed = [node.name for node in view.nodes if node.meta["data"] and propagation.is_zero(node)]
    assert "mul" not in claimed
