"""Nodes as groups: what enters, and what leaves."""

import pytest
import torch
from torch import nn

from autosubnet.errors import InputError
from autosubnet.optim import AdamHAPG
from autosubnet.supernets import Darts, DartsRnn, genotype, nodes


def test_every_path_is_in_one_group() -> None:
    model = Darts(channels=2, cells=3, architecture_weights=True)
    found = nodes(model)
    assert [group.name for group in found.groups] == [
        f"{k} node {n}" for k in ("normal", "reduce") for n in range(2, 6)
    ]
    assert [group.num_params for group in found.groups] == [14, 21, 28, 35] * 2
    for kind in ("normal", "reduce"):
        rows = [row for group in found.groups for part in group.slices if kind in part.name for row in part.indices]
        assert sorted(rows) == list(range(14))


def test_what_leaves_a_dead_node_goes_with_it() -> None:
    model = Darts(channels=2, cells=3, architecture_weights=True)
    found = nodes(model)
    optimizer = AdamHAPG(model, found.groups, lam=0.0)
    with torch.no_grad():
        model.architecture["normal"][:2] = 0  # all that enters node 2
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert optimizer.derive(found.outgoing) == ("normal node 2",)
    reads = [4, 7, 11]  # edges of DARTS from node 2 to 3, 4 and 5
    assert not model.architecture["normal"][reads].any()
    others = [row for row in range(14) if row not in [0, 1, *reads]]
    assert model.architecture["normal"][others].all()
    assert model.architecture["reduce"].all()
    assert set(genotype(model).normal) == {3, 4, 5}


def test_cells_that_do_not_share_have_groups_each() -> None:
    names = {group.name for group in nodes(Darts(2, 3, architecture_weights=True, share=False)).groups}
    assert len(names) == 12


def test_the_recurrent_cell() -> None:
    found = nodes(DartsRnn(vocabulary_size=5, size=4))
    assert [group.num_params for group in found.groups] == [4 * n for n in range(1, 9)]
    assert len(found.outgoing) == 7


@pytest.mark.parametrize("model", [nn.Linear(2, 2), Darts(2, 3)])
def test_a_model_without_architecture_weights_is_refused(model: nn.Module) -> None:
    with pytest.raises(InputError, match="no cells with architecture weights"):
        nodes(model)
