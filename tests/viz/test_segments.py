"""The dependency graph with its groups: what can go, what was chosen, what was refused and why."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torchvision import models

from autosubnet import AutoSubnet
from autosubnet.errors import GroupError
from autosubnet.graph.dependency import DependencyGraph
from autosubnet.graph.groups import Group, ParameterSlice, Refusal
from autosubnet.viz import draw_segments

from .graphs import Drawn, read, two_branches

GROUP = Group("body.b", "gezig", (ParameterSlice("body.b.0"),), 12_345, ("body.b",))


def draw(**options: object) -> Drawn:
    return read(draw_segments(two_branches(), [GROUP], **options))  # type: ignore[arg-type]  # options of the call


def test_segments_and_edges() -> None:
    drawn = draw()
    assert drawn.nodes.keys() == {"the legend", "x", "a", "body.b", "c", "add", "d", "output"}
    reads = {name: drawn.reads(name) for name in ("a", "body.b", "c", "add", "d", "output")}
    assert reads == {
        "a": {"x"}, "body.b": {"a"}, "c": {"a"}, "add": {"body.b", "c"}, "d": {"add"}, "output": {"d"},
    }  # fmt: skip
    assert "5 segments, 1 groups" in drawn.nodes["the legend"]["label"]


def test_a_group_shows_its_operators_and_parameters() -> None:
    drawn = draw()
    label = drawn.nodes["body.b"]["label"]
    assert "Conv2d &gt; ReLU" in label
    assert "12,345 parameters" in label
    assert "2 parameter tensors" in drawn.nodes["d"]["label"]
    assert drawn.nodes["add"]["shape"] == "ellipse"


def test_states_differ_in_border_and_colour() -> None:
    refusal = Refusal("c", "sort is not known")
    drawn = draw(refused=[refusal])
    looks = {(drawn.nodes[name]["fillcolor"], drawn.nodes[name]["penwidth"]) for name in ("body.b", "a", "c")}
    assert len(looks) == 3
    assert drawn.nodes["c"]["shape"] == "note"
    assert "refused: sort is not known" in drawn.nodes["c"]["label"]
    assert "refused" in drawn.nodes["the legend"]["label"]
    assert "refused" not in draw().nodes["the legend"]["label"]


def test_chosen_groups_are_dashed_with_their_edges() -> None:
    drawn = draw(chosen={"body.b"})
    assert drawn.nodes["body.b"]["style"] == "dashed"
    dashed = {(source, target) for source, target, each in drawn.edges if each.get("style") == "dashed"}
    assert dashed == {("a", "body.b"), ("body.b", "add")}
    assert "1 of them chosen" in drawn.nodes["the legend"]["label"]


def test_scores() -> None:
    assert "redundancy 0.625" in draw(scores={"body.b": 0.625}).nodes["body.b"]["label"]
    assert "redundancy" not in draw().nodes["body.b"]["label"]


def test_channels_of_one_segment() -> None:
    groups = [replace(GROUP, name=f"body.b:{number}", kind="zig", num_params=10) for number in range(4)]
    scores = {group.name: number / 4 for number, group in enumerate(groups)}
    drawn = read(draw_segments(two_branches(), groups, chosen=["body.b:1", "body.b:2"], scores=scores))
    label = drawn.nodes["body.b"]["label"]
    assert "40 parameters" in label
    assert "2 of 4 groups chosen" in label
    assert "redundancy 0.000 to 0.750" in label
    assert drawn.nodes["body.b"]["style"] == "filled"
    all_chosen = read(draw_segments(two_branches(), groups, chosen=[group.name for group in groups]))
    assert all_chosen.nodes["body.b"]["style"] == "dashed"


@pytest.mark.parametrize("options", [{"chosen": ["nothing"]}, {"scores": {"nothing": 1.0}}])
def test_a_group_that_does_not_exist(options: dict[str, object]) -> None:
    with pytest.raises(GroupError, match=r"no group is named 'nothing'; the groups are body\.b"):
        draw(**options)


def test_long_chains_are_shortened() -> None:
    graph = two_branches()
    long = graph.segment["a"]
    vertices = [replace(graph.vertex["a_bn"], name=f"v{number}", label=f"op{number}") for number in range(9)]
    graph = DependencyGraph(
        (*graph.vertices, *vertices),
        tuple(replace(each, vertices=(*each.vertices, *(v.name for v in vertices))) if each is long else each
              for each in graph.segments),
    )  # fmt: skip
    label = read(draw_segments(graph, [GROUP])).nodes["a"]["label"]
    assert "Conv2d &gt; BatchNorm2d &gt; … 7 more … &gt; op7 &gt; op8" in label


def test_a_real_network() -> None:
    oto = AutoSubnet(models.densenet121(), torch.randn(2, 3, 64, 64))
    chosen = [group.name for group in oto.groups[::3]]
    drawn = read(draw_segments(oto.graph, oto.groups, chosen=chosen, refused=oto.refused))
    home = {vertex: segment.name for segment in oto.graph.segments for vertex in segment.vertices}
    for segment in oto.graph.segments:
        sources = {home.get(name, name) for name in oto.graph.vertex[segment.vertices[0]].inputs}
        assert drawn.reads(segment.name) == sources
    dashed = {name for name, each in drawn.nodes.items() if each.get("style") == "dashed"}
    assert dashed == {name for group in oto.groups if group.name in chosen for name in group.segments}
    assert max(drawn.width, drawn.height) <= 4200


@pytest.mark.parametrize("view", ["trace", "segments", "groups", "subnet"])
def test_views_of_the_facade(view: str) -> None:
    oto = AutoSubnet(models.resnet18(), torch.randn(2, 3, 32, 32))
    assert oto.random_set_zero_groups(0.5)
    source = oto.visualize(view).source
    assert ("dashed" in source) == (view in ("groups", "subnet"))
