"""derive() writes the zeros of the last step into the weights that this step left, and into no others."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from autosubnet.errors import StateError
from autosubnet.optim import HAPG

from .nodes import GROUPS, Nodes, train
from .test_hapg import BOTH, unchanged

MESSAGE = "parameter 'edges' is no longer what the last step left"


def searched(kind: type[HAPG], options: dict[str, Any], steps: int = 20) -> tuple[Nodes, HAPG]:
    model = Nodes()
    optimizer = kind(model, GROUPS, params=model.parameters(), **options, lam=0.4)
    train(model, optimizer, range(steps))
    return model, optimizer


@pytest.mark.parametrize(("kind", "options"), BOTH)
@pytest.mark.parametrize("assign", [False, True])
def test_weights_that_were_loaded_are_not_written_over(kind: type[HAPG], options: dict[str, Any], assign: bool) -> None:
    model, optimizer = searched(kind, options)
    best, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    train(model, optimizer, range(20, 40))
    model.load_state_dict(copy.deepcopy(best), assign=assign)
    with unchanged(model, optimizer), pytest.raises(StateError, match=MESSAGE):
        optimizer.derive()
    optimizer.load_state_dict(state)
    zero = optimizer.derive()
    model, optimizer = searched(kind, options)
    assert optimizer.derive() == zero


@pytest.mark.parametrize(("kind", "options"), BOTH)
def test_after_a_step_from_them_it_derives(kind: type[HAPG], options: dict[str, Any]) -> None:
    model, optimizer = searched(kind, options)
    model.load_state_dict(Nodes(1).state_dict())
    train(model, optimizer, range(20, 21))
    optimizer.derive()
    assert torch.equal(model.edges, optimizer.state[model.edges]["prox"])


@pytest.mark.parametrize(("kind", "options"), BOTH)
def test_averages_are_swapped_in_and_out(kind: type[HAPG], options: dict[str, Any]) -> None:
    model, optimizer = searched(kind, options, 10)
    average = AveragedModel(model)
    average.update_parameters(model)
    train(model, optimizer, range(10, 20))
    average.update_parameters(model)
    own = copy.deepcopy(model.state_dict())
    model.load_state_dict(average.module.state_dict())
    with pytest.raises(StateError, match=MESSAGE):
        optimizer.derive()
    model.load_state_dict(own)
    optimizer.derive()
    assert torch.equal(model.edges, optimizer.state[model.edges]["prox"])


@pytest.mark.parametrize(("kind", "options"), BOTH)
def test_weights_in_another_type_are_the_same_weights(kind: type[HAPG], options: dict[str, Any]) -> None:
    model, optimizer = searched(kind, options)
    optimizer.derive()
    train(model, optimizer, range(20, 22))
    model.half()
    optimizer.derive()
    assert torch.equal(model.edges, optimizer.state[model.edges]["prox"].half())


@pytest.mark.parametrize(("kind", "options"), BOTH)
def test_it_derives_after_a_look_ahead_of_the_first_step(kind: type[HAPG], options: dict[str, Any]) -> None:
    model, optimizer = searched(kind, options, 0)
    values = optimizer.proximal()
    assert all(torch.equal(value, model.get_parameter(name)) for name, value in values.items())
    assert optimizer.derive() == ()
    assert optimizer.state_dict()["state"] == {}
