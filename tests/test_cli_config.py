"""Experiments from a file: what a run leaves repeats it, what is typed wins, and nothing wrong is taken."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autosubnet import cli
from autosubnet.training.cell_settings import CellSettings
from autosubnet.training.config import make_settings, read_config, write_config
from autosubnet.training.path_settings import PathSettings
from autosubnet.training.settings import Settings

DEMO = 'supernet = "demo"\nwidth = 0.125\nepochs = 2\nbatch_size = 256\n'


def invoke(*arguments: object):
    return CliRunner().invoke(cli.app, [str(each) for each in arguments], env={"COLUMNS": "120"})


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that a file describes, but for what was typed."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "demo.toml").write_text(DEMO, "utf-8")
    done = invoke("search", "--config", folder / "demo.toml", "--epochs", 1, "--seed", 5, "--out", folder / "first")
    assert done.exit_code == 0, done.output
    return folder / "first"


def test_what_is_typed_wins_over_the_file(first: Path) -> None:
    settings = result(first)["settings"]
    assert (settings["epochs"], settings["seed"]) == (1, 5)
    assert (settings["width"], settings["batch_size"], settings["lr"]) == (0.125, 256, 0.05)


def test_the_file_in_the_folder_repeats_the_run(first: Path, tmp_path: Path) -> None:
    done = invoke("search", "--config", first / "config.toml", "--out", tmp_path / "again")
    assert done.exit_code == 0, done.output
    before, after = result(first), result(tmp_path / "again")
    assert [after[name] for name in ("settings", "losses", "removed")] == [
        before[name] for name in ("settings", "losses", "removed")
    ]
    assert (tmp_path / "again" / "config.toml").read_text("utf-8") == (first / "config.toml").read_text("utf-8")


@pytest.mark.parametrize(
    "settings",
    [
        Settings("timm:resnet10t", data_dir=Path("here"), num_params=5000, lr=1e-5),
        PathSettings("darts_rnn", "hapg", data_dir=Path('a \N{SNOWMAN} "b"\x7f'), order="second", lambda_step=0.0),
        CellSettings(Path("genotype.json"), "fashion-mnist", cutout=0, drop_path=1.0),
    ],
)
def test_what_is_written_is_read_again(settings: Settings | PathSettings | CellSettings, tmp_path: Path) -> None:
    write_config(settings, tmp_path / "config.toml")
    read = make_settings(type(settings), read_config(tmp_path / "config.toml"), "this")
    absolute = {name: value.resolve() for name, value in asdict(settings).items() if isinstance(value, Path)}
    assert read == replace(settings, **absolute)  # a relative path is found from elsewhere


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("epohs = 3", "line 2: epohs says nothing to --method h2spg; did you mean epochs?"),
        ("alpha = 0.5", "line 2: alpha says nothing to --method h2spg; leave it out."),
        ("out = 'here'", "line 2: out says nothing to --method h2spg; leave it out."),
        ("[training]\nepochs = 3", "line 2: training says nothing to --method h2spg"),
        ("epochs = '3'", "line 2: epochs is '3': Input should be a valid integer"),
        ("epochs = true", "line 2: epochs is True: Input should be a valid integer"),
        ("epochs = 3.0", "line 2: epochs is 3.0: Input should be a valid integer"),
        ("lr = '0.1'", "line 2: lr is '0.1': Input should be a valid number"),
        ("lr = nan", "line 2: lr is nan: Input should be a finite number"),
        ("# epochs = 3\nepochs = 0", "line 3: epochs is 0: Input should be greater than or equal to 1"),
        ("sparsity = 1.5", "line 2: sparsity is 1.5: Input should be less than or equal to 1"),
        ("seed = -1", "line 2: seed is -1"),
        ("data = 'mnist'", "line 2: data is 'mnist': Input should be 'digits' or 'fashion-mnist'"),
        ("data_dir = 3", "line 2: data_dir is 3: Input is not a valid path"),
        ("method = 'sgd'", "line 2: method is 'sgd'; choose one of h2spg, hapg, adamhapg."),
        ("method = ['h2spg']", "line 2: method is ['h2spg']; choose one of"),
        ("method = 'hapg'\nsparsity = 0.5", "line 3: sparsity says nothing to --method hapg"),
        ("epochs = ", "is no TOML: Invalid value (at line 2, column 10)."),
        ("epochs = 3\nepochs = 4", "is no TOML: Cannot overwrite a value"),
    ],
)
def test_what_is_wrong_is_refused_by_name_and_nothing_is_written(line: str, message: str, tmp_path: Path) -> None:
    file, out = tmp_path / "wrong.toml", tmp_path / "out"
    file.write_text(f"supernet = 'demo'\n{line}\n", "utf-8")
    done = invoke("search", "--config", file, "--out", out)
    assert done.exit_code == 1
    assert f"{file}" in done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not out.exists()


def test_a_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name, message in (("missing.toml", "cannot be read (No such file"), ("bytes.toml", "is no TOML: 'utf-8'")):
        done = invoke("train", "--config", tmp_path / name, "--out", tmp_path / "out")
        assert done.exit_code == 1
        assert f"{tmp_path / name} {message}" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("command", "name"), [("search", "SUPERNET"), ("train", "GENOTYPE")])
def test_what_it_is_about_must_be_said(command: str, name: str, tmp_path: Path) -> None:
    done = invoke(command, "--out", tmp_path / "out")
    assert (done.exit_code, f"{name} is missing" in done.stderr) == (1, True)
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_refused_leaves_the_folder_of_an_earlier_one_alone(first: Path) -> None:
    before = {path: path.read_bytes() for path in first.iterdir() if path.is_file()}
    for wrong in (("--batch-size", 5000), ("--num-params", 5), ("--epochs", 0)):
        assert invoke("search", "--config", first / "config.toml", "--out", first, *wrong).exit_code == 1
    assert {path: path.read_bytes() for path in first.iterdir() if path.is_file()} == before
