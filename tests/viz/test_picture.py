"""Pictures as files and in Jupyter, with and without Graphviz on the path."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from pathlib import Path
from xml.etree import ElementTree

import pytest

from autosubnet.errors import ExportError
from autosubnet.viz import Picture, draw_trace, render

from .graphs import two_branches

PICTURE = Picture("digraph { a -> b }")


@pytest.fixture
def _fresh() -> None:
    render._command.cache_clear()


def test_svg(tmp_path: Path) -> None:
    assert PICTURE.save(tmp_path / "a.svg") == tmp_path / "a.svg"
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    assert root.tag.endswith("svg")
    assert [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")] == ["a", "b"]


def test_png(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.PNG")
    content = (tmp_path / "a.PNG").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) > 500


def test_dot(tmp_path: Path) -> None:
    PICTURE.save(str(tmp_path / "a.dot"))
    assert (tmp_path / "a.dot").read_text() == "digraph { a -> b }"


@pytest.mark.parametrize(
    ("name", "seen"), [("a.pdf", r"'\.pdf' is not one of \.svg"), ("a", "'no suffix' is not one of")]
)
def test_other_suffixes(name: str, seen: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=seen):
        PICTURE.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="does not exist; create it first"):
        PICTURE.save(tmp_path / "none" / "a.svg")


def test_jupyter() -> None:
    assert "<svg" in PICTURE._repr_svg_()
    assert "digraph" not in repr(PICTURE)


def test_the_same_picture_is_the_same_text() -> None:
    assert draw_trace(two_branches()).source == draw_trace(two_branches()).source


@pytest.mark.usefixtures("_fresh")
def test_the_wheel_is_found_off_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a virtual environment that is not activated: the scripts' folder is not on the path."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert shutil.which("dot") is None
    assert shutil.which("graphviz-pure") is None
    assert Path(render._command()).is_relative_to(sys.prefix)
    assert b"<svg" in render.render("digraph { a }", "svg")


@pytest.mark.usefixtures("_fresh")
def test_graphviz_on_the_path_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "dot").write_text("#!/bin/sh\necho drawn by dot\n")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert render.render("digraph { a }", "svg") == b"drawn by dot\n"
    render._command.cache_clear()


@pytest.mark.usefixtures("_fresh")
def test_no_renderer_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(metadata, "files", missing)
    with pytest.raises(ExportError, match=r"neither the command dot nor .* pip install 'autosubnet\[viz\]'"):
        _ = Picture("digraph { a }").svg


def test_source_that_is_no_dot() -> None:
    with pytest.raises(ExportError, match=r"ended with status 1 .* save the picture as \.dot"):
        _ = Picture("digraph { a -> ").svg


def test_a_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "graphviz", None)
    with pytest.raises(ExportError, match="pictures need the package graphviz"):
        draw_trace(two_branches())
