"""The trace graph: every vertex and every edge is there, kinds differ in shape and colour, long graphs fit a page."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torchvision import models

from autosubnet import AutoSubnet
from autosubnet.errors import InputError
from autosubnet.graph.dependency import DependencyGraph
from autosubnet.ops.kind import Kind
from autosubnet.supernets import create
from autosubnet.viz import draw_trace
from autosubnet.viz.style import KINDS

from .graphs import read, two_branches, vertex


def boxes(graph: DependencyGraph) -> dict[str, str]:
    """Return the box that each vertex must stand in: that of the chain of stems and accessories before it."""
    readers = Counter(name for each in graph.vertices for name in each.inputs)
    chained = (Kind.STEM, Kind.ACCESSORY)
    home: dict[str, str] = {}
    for each in graph.vertices:
        before = graph.vertex[each.inputs[0]] if len(each.inputs) == 1 else None
        joined = before is not None and each.kind in chained and before.kind in chained and readers[before.name] == 1
        home[each.name] = home[before.name] if joined else each.name
    return home


def test_vertices_edges_and_labels() -> None:
    drawn = read(draw_trace(two_branches()))
    assert drawn.nodes.keys() == {"the legend", "x", "a", "body_b", "c", "add", "d", "output"}
    assert {name: drawn.reads(name) for name in ("a", "body_b", "c", "add", "d", "output")} == {
        "a": {"x"}, "body_b": {"a"}, "c": {"a"}, "add": {"body_b", "c"}, "d": {"add"}, "output": {"d"},
    }  # fmt: skip
    assert "Conv2d" in drawn.nodes["a"]["label"]
    assert "BatchNorm2d" in drawn.nodes["a"]["label"]
    assert "a_bn" in drawn.nodes["a"]["label"]
    assert (
        drawn.nodes["a"]["label"].count("2\N{MULTIPLICATION SIGN}8\N{MULTIPLICATION SIGN}4") == 1
    )  # once for as long as it stays the same


def test_kinds_differ_in_shape_and_in_grey() -> None:
    drawn = read(draw_trace(two_branches()))
    shapes = {name: drawn.nodes[name]["shape"] for name in ("x", "add", "c", "output")}
    assert len(set(shapes.values())) == 4
    assert 'border="2"' in drawn.nodes["a"]["label"]  # a stem
    assert len({look.fill for kind, look in KINDS.items() if kind is not Kind.OUTPUT}) == 5
    greys = [_grey(KINDS[kind].fill) for kind in (Kind.STEM, Kind.ACCESSORY)]
    assert abs(greys[0] - greys[1]) > 40
    assert all(_grey(look.fill) > 140 for look in KINDS.values())  # black text can be read on it


def _grey(color: str) -> float:
    red, green, blue = (int(color[start : start + 2], 16) for start in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_the_legend_names_the_kinds_that_occur() -> None:
    graph = two_branches()
    legend = read(draw_trace(graph)).nodes["the legend"]["label"]
    assert "9 vertices" in legend
    assert all(word in legend for word in ("stem", "joint", "accessory", "unknown", "input"))
    known = DependencyGraph(tuple(each for each in graph.vertices if each.kind in (Kind.INPUT, Kind.STEM))[:2], ())
    assert "unknown" not in read(draw_trace(known)).nodes["the legend"]["label"]


def test_removed_vertices_are_dashed() -> None:
    drawn = read(draw_trace(two_branches(), removed={"body_b", "body_relu", "add"}))
    assert "dashed" in drawn.nodes["body_b"]["label"]
    assert drawn.nodes["add"]["style"] == "dashed"
    assert "dashed" not in drawn.nodes["a"]["label"]
    dashed = {(source, target) for source, target, each in drawn.edges if each.get("style") == "dashed"}
    assert dashed == {("a", "body_b"), ("body_b", "add"), ("c", "add"), ("add", "d")}
    assert "3 of them removed" in drawn.nodes["the legend"]["label"]


def test_a_chain_breaks_where_a_part_is_removed() -> None:
    drawn = read(draw_trace(two_branches(), removed={"body_relu"}))
    assert drawn.reads("add") == {"body_relu", "c"}
    assert "dashed" not in drawn.nodes["body_b"]["label"]


def test_an_unknown_vertex_is_an_error() -> None:
    with pytest.raises(InputError, match="no vertex of the graph is named 'nothing'"):
        draw_trace(two_branches(), removed={"nothing"})


def test_names_are_text_not_markup() -> None:
    graph = two_branches()
    strange = '<b>&"x":'
    vertices = tuple(replace(each, label=strange) if each.name == "d" else each for each in graph.vertices)
    picture = draw_trace(DependencyGraph(vertices, graph.segments))
    assert "&lt;b&gt;&amp;" in picture.svg


@pytest.mark.parametrize("name", ["demo", "densenet121", "googlenet", "swin_t"])
def test_real_networks_are_drawn_whole_and_fit_a_page(name: str) -> None:
    if name == "demo":
        graph = AutoSubnet(create("demo")).graph
    else:
        options = {"init_weights": False} if name == "googlenet" else {}
        graph = AutoSubnet(models.get_model(name, **options), torch.randn(2, 3, 64, 64)).graph
    drawn = read(draw_trace(graph))
    labels = " ".join(each["label"] for each in drawn.nodes.values())
    assert len(re.findall(r"Conv2d", labels)) == sum(each.label == "Conv2d" for each in graph.vertices)
    home = boxes(graph)
    inside = {name: box for name, box in home.items() if name in drawn.nodes}  # frames may break chains further
    assert set(home.values()) <= drawn.nodes.keys()
    for box in set(inside.values()):
        expected = {home[source] for source in graph.vertex[box].inputs}
        assert {home[each] for each in drawn.reads(box)} == expected
    assert max(drawn.width, drawn.height) <= 4200  # points; the ribbon would be many times as long
    assert 0.5 <= drawn.width / drawn.height <= 3
    assert drawn.nodes["the legend"]["pos"].split(",")[0] == min(
        (each["pos"].split(",")[0] for each in drawn.nodes.values()), key=float
    )


def test_columns_stand_in_order() -> None:
    """A chain of 400 joints: numbered discs lead from the bottom of each column to the top of the next."""
    vertices = [vertex("x", Kind.INPUT)]
    for number in range(400):
        vertices.append(vertex(f"add_{number}", Kind.JOINT, vertices[-1].name, "x", label="add"))
    drawn = read(draw_trace(DependencyGraph(tuple(vertices), ())))
    assert all(drawn.reads(each.name) == set(each.inputs) for each in vertices)
    place = {name: tuple(map(float, each["pos"].split(","))) for name, each in drawn.nodes.items()}
    across = [place[f"add_{number}"][0] for number in range(400)]
    columns = [number for number in range(1, 400) if across[number] - across[number - 1] > 60]
    assert len(columns) >= 4
    assert all(place[f"add_{number}"][1] > place[f"add_{number - 1}"][1] for number in columns)
    assert drawn.width / drawn.height > 0.5


def test_saved_next_to_one_another(tmp_path: Path) -> None:
    picture = draw_trace(two_branches())
    for suffix in ("svg", "png", "dot"):
        assert picture.save(tmp_path / f"a.{suffix}").stat().st_size > 100
