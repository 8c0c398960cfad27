"""The words and the escaping of the report."""

from dataclasses import replace
from pathlib import Path

import pytest

from autosubnet.training.results import Figures, Result, tell_difference
from autosubnet.viz.report import CostLine, Figure, GroupLine, Page, Row, render, write_report

MINUS = "\N{MINUS SIGN}"
RESULT = Result(
    supernet=Figures(num_params=1000, multiply_adds=200_000_000, accuracy=0.90, latency_ms=2.0),
    subnet=Figures(num_params=550, multiply_adds=90_000_000, accuracy=0.90, latency_ms=1.0),
    num_groups=4,
    removed=("conv2", "conv3"),
    max_difference=1.25e-13,
    relative_difference=2e-14,
    dtype="float64",
    losses=(1.0, 0.5),
    history=(),
    seconds=12.0,
    settings={"supernet": "demo", "data": "digits"},
    command="autosubnet search demo",
    environment={"torch": "2.14"},
)
PAGE = Page(
    title="a <b> & c",
    summary="Half is gone.",
    rows=RESULT.rows(),
    proof="They agree.",
    groups=(
        GroupLine("conv2", 12345, True, "its BN gives zero"),
        GroupLine("conv4", 7, False, "so does this"),
    ),
    refused=(("linear", "it is the output"),),
    notes=("a dropout went",),
    curves=(Figure("by epoch", '<svg id="curve"/>'),),
    costs=(
        CostLine("conv2_conv", "Conv2d", "8, 4, 8, 8", 12345.0, 67890.0, "removed"),
        CostLine("conv9_conv", "Conv2d", "8, 4, 8, 8", 3.5, 0.0, "narrowed"),
    ),
    figures=(Figure("before", '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg id="one"><g/></svg>'),),
    files=(("subnet.onnx", "the subnet"),),
    command="autosubnet search demo",
    environment={"torch": "2.14"},
)


def test_rows_say_what_changed() -> None:
    assert RESULT.rows() == (
        Row("parameters", "1,000", "550", f"{MINUS}45%"),
        Row("multiply-adds an image", "200 M", "90.00 M", f"{MINUS}55%"),
        Row("accuracy", "90.00%", "90.00%", "the same"),
        Row("ONNX Runtime latency", "2.000 ms", "1.000 ms", "2.00 times as fast"),
        Row("groups removed", "", "2 of 4", "conv2, conv3"),
        Row("largest output difference", "", "1.2e-13", "in float64"),
    )


@pytest.mark.parametrize(("accuracy", "words"), [(0.91, "+1.00 points"), (0.885, f"{MINUS}1.50 points")])
def test_a_change_of_accuracy_is_told_in_points(accuracy: float, words: str) -> None:
    result = replace(RESULT, subnet=replace(RESULT.subnet, accuracy=accuracy))
    assert result.rows()[2].change == words


@pytest.mark.parametrize(("value", "words"), [(1.25e-13, "1.2e-13"), (0.0, "0, bit for bit"), (None, "not checked")])
def test_a_difference_in_words(value: float | None, words: str) -> None:
    assert tell_difference(value) == words


def test_page_holds_everything_and_escapes_text() -> None:
    html = render(PAGE)
    for text in (
        "a &lt;b&gt; &amp; c",
        "Half is gone.",
        "12,345",
        "its BN gives zero",
        "it is the output",
        "a dropout went",
    ):
        assert text in html
    assert html.count("removed</td>") == 2
    assert html.count("narrowed</td>") == 1
    assert "67,890" in html
    assert '<svg id="curve"/>' in html
    assert html.count("kept</td>") == 1
    assert '<svg id="one"><g/></svg>' in html
    assert "<?xml" not in html
    assert html.count("<!DOCTYPE") == 0


def test_empty_sections_are_left_out() -> None:
    html = render(replace(PAGE, refused=(), notes=(), groups=(), curves=(), figures=(), costs=()))
    assert "<svg" not in html
    assert "The networks" not in html
    assert "The training" not in html
    assert "What each operator costs" not in html
    assert "could not be proved" not in html
    assert "Notes" not in html
    assert "why it can go" not in html


def test_a_network_alone_has_one_column() -> None:
    assert ">supernet<" in render(PAGE)
    html = render(replace(PAGE, rows=(Row("parameters", "", "1,000", ""),)))
    assert ">supernet<" not in html
    assert ">1,000<" in html


def test_page_is_written_as_utf_8(tmp_path: Path) -> None:
    write_report(replace(PAGE, summary=f"café {MINUS} ½"), tmp_path / "report.html")
    assert f"café {MINUS} ½" in (tmp_path / "report.html").read_text("utf-8")
