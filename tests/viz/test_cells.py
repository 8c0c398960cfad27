"""Pictures of cells, and plots of searches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autosubnet.errors import ExportError
from autosubnet.viz.cells import cell_picture
from autosubnet.viz.curves import heat_maps, save_figure, score_by_lambda

NODES = {2: [("sep_conv", 0), ("skip", 0), ("pool", 1)], 4: [("skip", 2)]}


def test_a_cell_has_its_nodes_and_ways() -> None:
    picture = cell_picture(NODES, ("before", "last"), "next")
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", picture.svg)
    assert sorted(shown) == sorted(["before", "last", "next", "0", "2", "sep_conv", "skip", "pool", "skip"])
    ways = set(re.findall(r"(n\w+) -> (n\w+)", picture.source))
    assert ways == {("n0", "n2"), ("n1", "n2"), ("n2", "n4"), ("n2", "nout"), ("n4", "nout")}


def test_heat_maps_cross_out_what_is_zero(tmp_path: Path) -> None:
    moments = [[[0.1, 0.0], [0.2, 0.0]]] * 9
    figure = heat_maps(moments, [str(n) for n in range(9)], ["x", "y"], ["p", "q"], "weights")
    *maps, _ = figure.axes
    assert [axis.get_title() for axis in maps][:: len(maps) - 1] == ["0", "8"]
    assert maps[0].collections[0].get_offsets().tolist() == [[1.0, 0.0], [1.0, 1.0]]
    save_figure(figure, tmp_path / "maps.svg")
    assert "<svg" in (tmp_path / "maps.svg").read_text("utf-8")


def test_a_single_moment_without_zeros() -> None:
    axis, _ = heat_maps([[[0.5]]], ["end"], ["x"], ["p"], "weights").axes
    assert not axis.collections


def test_score_by_lambda() -> None:
    first, second = score_by_lambda([0.0, 0.1], [50.0, 75.0], [0.0, 0.25], "accuracy (%)").axes
    assert first.lines[0].get_ydata().tolist() == [50.0, 75.0]
    assert first.get_ylabel() == "accuracy (%)"
    assert second.lines[0].get_ydata().tolist() == [0.0, 25.0]


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot write"):
        save_figure(score_by_lambda([0.0], [0.5], [0.0], "score"), tmp_path / "missing" / "a.svg")
