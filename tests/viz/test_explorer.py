"""The interactive graph without a browser: what is collapsed, what is drawn, and what the widget is told."""

from __future__ import annotations

import json
from base64 import b64encode
from importlib import util
from typing import Any
from xml.etree import ElementTree

import nbformat
import pytest
import torch
from nbconvert import HTMLExporter
from nbformat.v4 import new_code_cell, new_notebook, new_output
from torch import Tensor, nn

from autosubnet import AutoSubnet, supernets
from autosubnet.errors import ExportError
from autosubnet.graph.dependency import DependencyGraph
from autosubnet.ops.kind import Kind
from autosubnet.viz import render
from autosubnet.viz.collapse import collapse, draw_parts
from autosubnet.viz.interactive import WIDGET
from autosubnet.viz.widget import ExplorerWidget

from .graphs import read, two_branches, vertex

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def demo() -> AutoSubnet:
    return AutoSubnet(supernets.create("demo"), torch.randn(2, 1, 8, 8))


def parts_of(graph: Any, closed: set[str]) -> list[tuple[str, tuple[str, ...]]]:
    return [(part.module, tuple(each.name for each in part.vertices)) for part in collapse(graph, closed)]


# ---------------------------------------------------------------- collapsing


def test_open_modules_are_drawn_vertex_by_vertex() -> None:
    graph = two_branches()
    assert parts_of(graph, set()) == [("", (each.name,)) for each in graph.vertices]


def test_a_closed_module_is_one_box_that_reads_and_is_read() -> None:
    graph = two_branches()
    parts = collapse(graph, {"body"})
    assert ("body", ("body_b", "body_relu")) in parts_of(graph, {"body"})
    drawn = read(draw_parts(parts, "title"))
    assert drawn.reads("body_b") == {"a_bn"}
    assert drawn.reads("add") == {"body_b", "c"}
    assert "body_relu" not in drawn.nodes


def test_of_nested_closed_modules_the_outermost_is_drawn(demo: AutoSubnet) -> None:
    assert parts_of(demo.graph, {"conv1", "conv1.conv"}) == parts_of(demo.graph, {"conv1"})


def test_an_interrupted_module_does_not_read_what_it_makes() -> None:
    """In ``m.a -> free -> m.b`` the module ``m`` as one box would be a cycle."""
    vertices = (
        vertex("x", Kind.INPUT),
        vertex("m_a", Kind.STEM, "x", module="m.a"),
        vertex("m_a2", Kind.STEM, "m_a", module="m.a2"),
        vertex("free", Kind.ACCESSORY, "m_a2"),
        vertex("m_b", Kind.STEM, "free", module="m.b"),
        vertex("m_b2", Kind.STEM, "m_b", module="m.b2"),
    )
    graph = DependencyGraph(vertices, ())
    parts = parts_of(graph, {"m"})
    assert [names for module, names in parts if module] == [("m_a", "m_a2"), ("m_b", "m_b2")]


# ---------------------------------------------------------------- answers


def test_every_part_has_its_box_in_the_svg(demo: AutoSubnet) -> None:
    layout = demo._explorer().layout(["conv1", "conv7"])
    root = ElementTree.fromstring(layout["svg"])
    classes = [each.get("class", "").split() for each in root.iter(f"{SVG}g")]
    marked = sorted(int(name[4:]) for names in classes for name in names if name.startswith("part"))
    assert marked == list(range(len(layout["parts"])))
    assert sorted(number for part in layout["parts"] for number in part) == list(range(len(demo.graph.vertices)))
    assert {module for module in layout["modules"] if module} == {"conv1", "conv7"}


def test_details_are_what_explain_says_and_what_a_construction_removes() -> None:
    oto = AutoSubnet(supernets.create("demo"), torch.randn(2, 1, 8, 8))
    group = oto.groups[0]
    details = oto._explorer().details(group.name)
    assert details["proof"] == oto.explain(group)
    assert details["history"] == []
    with torch.no_grad():
        for each in group.slices:
            assert each.indices is None
            oto.model.get_parameter(each.name).zero_()
    removed = set(oto.construct_subnet(verify=False).meta["autosubnet"].removed_vertices)
    assert {oto.graph.vertices[number].name for number in details["dies"]} == removed
    assert oto._explorer().state()["removed"] == details["dies"]


def test_scores_come_with_a_search_and_history_with_a_live_view() -> None:
    oto = AutoSubnet(supernets.create("demo"))
    explorer, name = oto._explorer(), oto.groups[0].name
    assert explorer.state() == {"scores": {}, "removed": []}
    live = oto.live(oto.h2spg(total_steps=8))
    live.update()
    assert explorer.details(name)["history"] == []
    assert set(explorer.state()["scores"]) == {group.name for group in oto.groups}


def test_an_unknown_group_has_no_details(demo: AutoSubnet) -> None:
    assert demo._explorer().details("") == {}


def test_a_model_without_groups() -> None:
    explorer = AutoSubnet(nn.Linear(4, 2), torch.randn(2, 4))._explorer()
    assert explorer.facts()["groups"] == {}
    assert explorer.state() == {"scores": {}, "removed": []}
    assert "0 groups" in explorer.layout([])["svg"]


class Hostile(nn.Module):
    NAME = "\"><script>alert('x')<-script>"

    def __init__(self) -> None:
        super().__init__()
        self.add_module(self.NAME, nn.Sequential(nn.Linear(4, 4), nn.ReLU()))

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.get_submodule(self.NAME)(x)
        return x + inner


def test_names_cannot_inject_markup() -> None:
    explorer = AutoSubnet(Hostile(), torch.randn(2, 4))._explorer()
    for closed in ([], [Hostile.NAME]):
        root = ElementTree.fromstring(explorer.layout(closed)["svg"])
        assert not list(root.iter(f"{SVG}script"))
        assert any("<script>" in (each.text or "") for each in root.iter())  # as text it is there


def test_two_thousand_vertices_are_laid_out_in_pieces() -> None:
    """Each column is a graph of its own: what Graphviz does in one is bounded, whatever the model's depth."""
    names = [f"v{number}" for number in range(2000)]
    chain = [vertex(name, Kind.STEM, before) for name, before in zip(names[1:], names, strict=False)]
    graph = DependencyGraph((vertex("v0", Kind.INPUT), *chain), ())
    picture = draw_parts(collapse(graph, set()), "a chain")
    assert picture.svg.count('class="node part') == 2000
    assert picture.source.count("cluster column") > 20


# ---------------------------------------------------------------- the widget


def test_the_widget_answers_and_lays_nothing_out_before_it_is_asked(demo: AutoSubnet) -> None:
    widget = ExplorerWidget(demo._explorer())
    assert widget.drawing == {}
    widget.closed = ["conv1"]
    assert "conv1" in widget.drawing["modules"]
    widget.group = demo.groups[0].name
    assert widget.details["name"] == demo.groups[0].name
    widget.colour = "removed"
    assert widget.state["removed"] == []
    json.dumps({name: getattr(widget, name) for name in ("facts", "drawing", "details", "state")}, allow_nan=False)
    assert "DOMParser" in widget._esm
    assert ".autosubnet" in widget._css


def test_nothing_is_fetched_from_a_network(demo: AutoSubnet) -> None:
    widget = ExplorerWidget(demo._explorer())
    code = widget._esm.replace("http://www.w3.org/2000/svg", "")
    assert "http" not in code + widget._css
    assert "import " not in code
    assert "innerHTML" not in code


def test_the_mime_bundle_carries_the_widget_and_the_svg(demo: AutoSubnet) -> None:
    picture = demo.visualize("trace")
    data, _ = picture._repr_mimebundle_()  # type: ignore[attr-defined]  # a Picture that is interactive
    assert data["image/svg+xml"] == picture.svg
    assert data[WIDGET]["model_id"]


def test_without_anywidget_there_is_the_svg_alone(demo: AutoSubnet, monkeypatch: pytest.MonkeyPatch) -> None:
    real = util.find_spec
    monkeypatch.setattr(
        "autosubnet.viz.interactive.find_spec", lambda name: None if name == "anywidget" else real(name)
    )
    data, _ = demo.visualize()._repr_mimebundle_()  # type: ignore[attr-defined]
    assert data.keys() == {"text/plain", "image/svg+xml"}


def test_an_html_export_shows_the_svg(demo: AutoSubnet) -> None:
    data, metadata = demo.visualize()._repr_mimebundle_()  # type: ignore[attr-defined]
    output = new_output("display_data", data, metadata=metadata)
    notebook = new_notebook(cells=[new_code_cell("oto.visualize()", outputs=[output])])
    nbformat.validate(notebook)
    page, _ = HTMLExporter().from_notebook_node(notebook)
    assert f"data:image/svg+xml;base64,{b64encode(data['image/svg+xml'].encode()).decode()}" in page.replace("\n", "")
    assert data[WIDGET]["model_id"] not in page


def test_without_a_renderer_the_error_says_what_to_install(demo: AutoSubnet, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise ExportError("drawing a picture needs Graphviz")

    monkeypatch.setattr(render, "_command", missing)
    with pytest.raises(ExportError, match="needs Graphviz"):
        demo._explorer().layout([])
