"""The adversarial zoo: every promise, for zeros made by hand and for random valid groups."""

from __future__ import annotations

import copy

import pytest
import removal
from subnet.checks import check, left, report_of, settled, zero
from test_random_models import check_untouched

import autosubnet
from autosubnet import AutoSubnet

from . import aliasing, joints, modules, norms, structure, values
from .specimen import Specimen

SPECIMENS = [each for zoo in (joints, aliasing, modules, norms, structure, values) for each in zoo.SPECIMENS]
every = pytest.mark.parametrize("specimen", SPECIMENS, ids=[each.name.replace(" ", "-") for each in SPECIMENS])


def prepared(specimen: Specimen):
    inputs = specimen.inputs()
    return settled(specimen.make(), *inputs), inputs


@every
def test_zeros_made_by_hand(specimen: Specimen) -> None:
    model, inputs = prepared(specimen)
    zero(model, specimen.zeros)
    before = copy.deepcopy(model)
    subnet = autosubnet.remove_zeros(model, inputs)
    check_untouched(model, before)
    stays = {name for name in left(subnet) for gone in specimen.gone if name == gone or name.startswith(f"{gone}.")}
    assert not stays, f"still there: {sorted(stays)}"
    check(model, subnet, inputs, train=specimen.train)


@pytest.mark.parametrize("specimen", [pytest.param(s, id=s.name.replace(" ", "-")) for s in SPECIMENS if s.searches])
@pytest.mark.parametrize("seed", [0, 1])
def test_random_valid_groups(specimen: Specimen, seed: int) -> None:
    model, inputs = prepared(specimen)
    before = copy.deepcopy(model)
    oto = AutoSubnet(model, inputs)
    check_untouched(model, before)
    assert all(each.reason for each in oto.refused)
    assert all(oto.explain(each) for each in (*oto.groups, *oto.refused))
    chosen = oto.random_set_zero_groups(0.6, seed=seed)
    removal.stays_valid(removal.connections(before, inputs), model, inputs)
    subnet = oto.construct_subnet()
    check(model, subnet, inputs, train=specimen.train and not report_of(subnet).training_notes)
    assert not chosen or removal.num_params(subnet) < removal.num_params(model)
