"""Every command in the README and the pages is run: as it stands, or the same with less to do."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from typer.testing import CliRunner

from autosubnet import cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`((?:autosubnet|accelerate|torchrun|make|pip|python) [^`]+)`")

SMALL = "--epochs 1 --width 0.125 --batch-size"
# What is run for each command of `autosubnet`, in this order. DIR has a few images.
RUN = {
    "autosubnet search demo --data digits --out demo": f"search demo --data digits --out demo {SMALL} 256",
    "autosubnet search demo --data fashion-mnist --data-dir DIR --out fashion": (
        f"search demo --data fashion-mnist --data-dir DIR --out fashion {SMALL} 32"
    ),
    "autosubnet inspect torchvision:resnet50": "inspect torchvision:resnet18",
    "autosubnet report": "report fashion",
    "autosubnet zoo 'timm:resnet*'": "zoo 'timm:resnet*'",
    "autosubnet inspect timm:resnet10t --draw resnet.svg": "inspect timm:resnet10t --draw resnet.svg",
    "autosubnet inspect --help": "inspect --help",
    "autosubnet --install-completion": "--help",  # it would change files of whoever runs the tests
    "autosubnet search --config experiment.toml --out first": (
        f"search --config experiment.toml --out first {SMALL} 256"
    ),
    "autosubnet search --config first/config.toml --out again": "search --config first/config.toml --out again",
    "autosubnet search --config first/config.toml --sparsity 0.6 --out sparser": (
        "search --config first/config.toml --sparsity 0.6 --out sparser"
    ),
    "autosubnet report first": "report first",
    "autosubnet evaluate first --json": "evaluate first --json",
    "autosubnet export first network.onnx": "export first network.onnx",
    "autosubnet search --config first/config.toml --out first --resume": (
        "search --config first/config.toml --out first --resume"
    ),
    "autosubnet search ... --resume": "search --config first/config.toml --out again --resume",
}
# Commands that take longer, by the test that runs them with less to do.
ELSEWHERE = {
    "autosubnet search darts --method adamhapg --data fashion-mnist --data-dir DIR --out cells": (
        "test_cli_paths.py::test_a_search_over_cells_writes_what_it_found"
    ),
    "autosubnet train cells/genotype.json --data fashion-mnist --data-dir DIR --out network": (
        "test_cli_paths.py::test_the_network_of_a_genotype_is_trained"
    ),
    "autosubnet train cells/genotype.json": (
        "test_cli_paths.py::test_the_language_model_of_a_recurrent_cell_is_trained"
    ),
    "autosubnet search darts_rnn --method adamhapg": "test_cli_paths.py::test_a_search_over_the_recurrent_cell",
    "accelerate launch -m autosubnet.cli search ...": (
        "training/test_processes.py::test_two_processes_do_the_job_of_one"
    ),
    "accelerate launch --num_processes 4 -m autosubnet.cli search demo --data fashion-mnist --data-dir DIR "
    "--out fashion": "training/test_processes.py::test_two_processes_do_the_job_of_one",
    "torchrun --nproc-per-node 2 -m autosubnet.cli search demo --out digits": (
        "training/test_processes.py::test_two_processes_do_the_job_of_one"
    ),
}


def commands() -> Iterator[str]:
    """Yield each command of each page once, without comments, assignments ahead of it and the virtual environment."""
    found: dict[str, None] = {}
    for page in PAGES:
        text = page.read_text("utf-8")
        blocks = [each["text"] for each in FENCE.finditer(text) if each["language"] in ("", "sh")]
        lines = [re.sub(r"\s{2,}#.*", "", line).strip() for block in blocks for line in block.splitlines()]
        inline = [" ".join(each.split()) for each in INLINE.findall(FENCE.sub("", text))]
        found |= dict.fromkeys(re.sub(r"^(\w+=\S+ )*(\.venv/bin/)?", "", each) for each in (*lines, *inline) if each)
    yield from found


COMMANDS = list(commands())


def of(program: str) -> list[str]:
    return [each for each in COMMANDS if each.split()[0] == program]


def invoke(words: str) -> None:
    done = CliRunner().invoke(cli.app, shlex.split(words))
    assert done.exit_code == 0, f"autosubnet {words}: {done.output}"


def test_each_is_of_a_kind_that_is_run() -> None:
    assert {each.split()[0] for each in COMMANDS} <= {"autosubnet", "accelerate", "torchrun", "make", "pip", "python"}
    assert len(of("python")) >= 5
    assert len(of("make")) >= 5


def test_each_command_of_ours_is_declared() -> None:
    made = re.findall(r"autosubnet search .*", making("demo"))
    ours = {*of("autosubnet"), *of("accelerate"), *of("torchrun"), *made}
    assert sorted(ours) == sorted({**RUN, **ELSEWHERE}), "declare in RUN what is run for a command, and no more"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to give commands in, with images, a text, and the experiment of the page."""
    draw = np.random.default_rng(0)
    (tmp_path / "DIR").mkdir()
    for part, count in (("train", 96), ("t10k", 32)):
        images = draw.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            sizes = np.array(values.shape, dtype=">i4").tobytes()
            (tmp_path / "DIR" / f"{part}-{name}-ubyte").write_bytes(
                bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()
            )
    (block,) = (each for each in FENCE.finditer((ROOT / "docs" / "commands.md").read_text()) if "toml" in each[1])
    assert tomllib.loads(block["text"])
    (tmp_path / "experiment.toml").write_text(block["text"], "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands_of_ours_run(folder: Path) -> None:
    for words in RUN.values():
        invoke(words)
    for name in ("resnet.svg", "network.onnx", "fashion/report.html", "again/report.html", "sparser/report.html"):
        assert (folder / name).is_file(), name


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_is_run_elsewhere_is(command: str) -> None:
    file, name = ELSEWHERE[command].split("::")
    text = (ROOT / "tests" / file).read_text("utf-8")
    assert f"def {name}(" in text
    assert "search" in text


def making(target: str) -> str:
    """Return what make would run, from nothing."""
    command = ["make", "--dry-run", "--always-make", "--no-print-directory", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", of("make"))
def test_make_knows_its_targets_and_their_files_are_there(command: str) -> None:
    (target,) = command.split()[1:]
    recipe = making(target)
    assert ".venv/bin/" in recipe
    assert all((ROOT / script).is_file() for script in re.findall(r"\S+\.py\b", recipe))


@pytest.mark.parametrize("command", of("pip"))
def test_extras_exist(command: str) -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    (extras,) = re.findall(r"\[(\w+)\]", command)
    assert extras in known


@pytest.mark.parametrize("command", of("python"))
def test_scripts_know_the_options_that_are_shown(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They run for minutes to hours; here they say what they take."""
    _, script, *words = shlex.split(command)
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    monkeypatch.setitem(sys.modules, "torch_pruning", ModuleType("torch_pruning"))  # a peer that only the run needs
    monkeypatch.syspath_prepend(ROOT / Path(script).parent)
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert left.value.code == 0
    options = [each for each in words if each.startswith("-")]
    told = capsys.readouterr().out
    assert all(re.search(rf"{re.escape(option)}\b", told) for option in options)
