"""The notebooks run, and show what is committed."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from run_notebooks import NOTEBOOKS, execute

# Tags of cells: timings are not compared, nor what depends on the groups that a training chose; of what else a training
# ends with the numbers are not, since another processor may round otherwise.
UNCOMPARED, TRAINING = {"timing", "choice"}, "training"
NUMBER = re.compile(r"\s*[-+]?\d[\d,]*\.?\d*(e[-+]?\d+)?%?")
FIVE = 5


def test_there_are_five() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == [f"0{number}" for number in range(1, FIVE + 1)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_and_shows_what_is_committed(path: Path, tmp_path: Path) -> None:
    committed = _code(nbformat.read(path, as_version=4))
    executed = _code(execute(path, tmp_path))
    assert not any(tmp_path.iterdir()), "a notebook leaves files behind"
    for number, (before, after) in enumerate(zip(committed, executed, strict=True), start=1):
        assert before.execution_count == number, "the notebook was not run from top to bottom"
        for cell in (before, after):
            assert not [each for each in cell.outputs if each.output_type == "error" or each.get("name") == "stderr"]
        assert _kinds(after) == _kinds(before), before.source
        assert _shown(after) == _shown(before), before.source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_outputs_are_fit_to_be_read_elsewhere(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    for cell in _code(notebook):
        assert cell.outputs or not re.search(r"^\s*(print\(|oto\.visualize\()", cell.source, re.MULTILINE), cell.source
        for text in (_text(cell), *(each.get("data", {}).get("text/plain", "") for each in cell.outputs)):
            assert not re.search(r"/(tmp|home|opt|usr|root|work)/|[A-Z]:\\", text), text


def _code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _kinds(cell: NotebookNode) -> list[tuple[str, ...]]:
    """Return what sorts of outputs there are: streams by name, and others by their types."""
    return [(each["name"],) if each.output_type == "stream" else tuple(sorted(each.data)) for each in cell.outputs]


def _shown(cell: NotebookNode) -> str:
    """Return what is printed, as far as it is always the same."""
    tags = cell.metadata.get("tags", [])
    if UNCOMPARED & set(tags):
        return ""
    return NUMBER.sub(" #", _text(cell)) if TRAINING in tags else _text(cell)


def _text(cell: NotebookNode) -> str:
    return "".join(each.text for each in cell.outputs if each.output_type == "stream")
