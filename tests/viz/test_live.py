"""The live view: what is recorded in one's own loop, and that it shows itself."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from autosubnet import AutoSubnet, supernets
from autosubnet.errors import InputError
from autosubnet.viz import Live


@pytest.fixture(scope="module")
def run() -> tuple[AutoSubnet, Live]:
    torch.manual_seed(0)
    oto = AutoSubnet(supernets.create("demo"), torch.randn(2, 1, 8, 8))
    optimizer = oto.h2spg(lr=0.01, total_steps=12)
    live = oto.live(optimizer)
    inputs = oto.example_inputs
    live.update()
    for step in range(12):
        optimizer.zero_grad()
        oto.model(*inputs).square().mean().backward()
        optimizer.step()
        if step % 3 == 2:
            live.update()
    return oto, live


def test_scores_and_norms_are_recorded(run: tuple[AutoSubnet, Live]) -> None:
    oto, live = run
    assert live.steps == [0, 3, 6, 9, 12]
    assert live.scores[0] == {}, "before the first step there are no scores"
    names = {group.name for group in oto.groups}
    assert all(scores.keys() == names for scores in live.scores[1:])
    zero = set(live.optimizer.progress().zero)
    assert zero
    assert {name for name, norm in live.norms[-1].items() if norm == 0} == zero
    assert all(live.norms[0][name] > 0 for name in zero)


def test_norms_are_those_of_the_parameters(run: tuple[AutoSubnet, Live]) -> None:
    oto, live = run
    group = next(group for group in oto.groups if group.name not in live.optimizer.progress().zero)
    entries = torch.cat([oto.model.get_parameter(each.name).detach().flatten() for each in group.slices])
    assert live.norms[-1][group.name] == pytest.approx(float(torch.linalg.vector_norm(entries.double())), rel=1e-12)


def test_the_widget_is_told_the_scores_over_time(run: tuple[AutoSubnet, Live]) -> None:
    oto, live = run
    name = oto.groups[0].name
    expected = [[step, scores[name]] for step, scores in zip(live.steps[1:], live.scores[1:], strict=True)]
    assert oto._explorer().details(name)["history"] == expected


def test_updating_twice_at_one_step_records_it_once(run: tuple[AutoSubnet, Live]) -> None:
    _, live = run
    before = list(live.steps)
    live.update()
    assert live.steps == before


def test_the_picture_says_where_the_search_stands(run: tuple[AutoSubnet, Live]) -> None:
    _, live = run
    figure = live.figure()
    assert figure.get_suptitle().startswith("training, step 12 of 12: of 6 groups 3 chosen (orange), 3 of them zero")
    assert [len(axis.lines) for axis in figure.axes] == [6, 6]
    assert ElementTree.fromstring(live._repr_svg_()).tag.endswith("svg")


def test_another_optimizer_is_refused(run: tuple[AutoSubnet, Live]) -> None:
    oto, _ = run
    with pytest.raises(InputError, match="pass what its h2spg"):
        oto.live(torch.optim.SGD(oto.model.parameters()))  # type: ignore[arg-type]  # the mistake
    with pytest.raises(InputError, match="pass what its h2spg"):
        AutoSubnet(nn.Linear(2, 2), torch.randn(2, 2)).live(None)  # type: ignore[arg-type]  # before any search
