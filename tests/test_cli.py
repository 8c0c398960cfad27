"""The command line, from the arguments to the files and the words on the screen."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import onnxruntime
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from autosubnet import cli
from autosubnet.export import load as load_subnet
from autosubnet.training.data import load
from autosubnet.training.results import tell_difference

TINY = ["--width", "0.125", "--epochs", "2", "--batch-size", "128"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder and the screen of one small search."""
    out = tmp_path_factory.mktemp("search") / "demo"
    arguments = ["search", "demo", "--data", "digits", "--out", str(out), *TINY]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["/somewhere/autosubnet", *arguments])
        patch.setenv("COLUMNS", "120")
        result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    return out, result.output


def test_search_writes_every_file_that_it_promises(searched: tuple[Path, str]) -> None:
    out, _ = searched
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    promised = {"subnet.onnx", "supernet.onnx", "config.toml", "result.json", "report.html"}
    pictures = {"graph_before.svg", "segments.svg", "graph_after.svg", "training.svg"}
    assert promised | pictures <= files
    assert any(name.startswith("subnet/") and name.endswith(".safetensors") for name in files)
    assert any(name.startswith("subnet/") and name.endswith(".py") for name in files)
    for name in pictures:
        assert "<svg" in (out / name).read_text("utf-8")


def test_search_prints_the_comparison(searched: tuple[Path, str]) -> None:
    out, screen = searched
    result = json.loads((out / "result.json").read_text("utf-8"))
    for label in ("parameters", "multiply-adds", "accuracy", "ONNX Runtime latency", "groups removed"):
        assert label in screen
    assert f"{result['supernet']['num_params']:,}" in screen
    assert f"{result['subnet']['num_params']:,}" in screen
    assert "3 of 6" in screen
    assert tell_difference(result["max_difference"]) in screen
    assert str(out) in screen.replace("\n", "")


def test_result_records_what_was_measured_and_how(searched: tuple[Path, str]) -> None:
    out, _ = searched
    result = json.loads((out / "result.json").read_text("utf-8"))
    assert result["num_groups"] == 6
    assert len(result["removed"]) == 3
    assert result["subnet"]["num_params"] < 0.9 * result["supernet"]["num_params"]
    assert result["subnet"]["multiply_adds"] < 0.9 * result["supernet"]["multiply_adds"]
    assert result["subnet"]["accuracy"] == result["supernet"]["accuracy"]
    assert result["relative_difference"] <= 1e-9
    assert result["dtype"] == "float64"
    assert result["command"].startswith("autosubnet search demo --data digits")
    assert result["settings"]["width"] == 0.125
    assert result["environment"]["torch"]
    assert [each["phase"] for each in result["history"]] == ["training", "training"]  # of the step behind each epoch
    assert [each["num_zero"] for each in result["history"]] == [3, 3]
    assert all(set(result["removed"]) < set(each["scores"]) for each in result["history"])


def test_saved_subnet_and_onnx_compute_the_same(searched: tuple[Path, str]) -> None:
    out, _ = searched
    images = load("digits").test.tensors[0][:5]
    subnet = load_subnet(out / "subnet").eval()
    session = onnxruntime.InferenceSession(out / "subnet.onnx", providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        assert torch.allclose(subnet(images), torch.from_numpy(answer), atol=1e-4)


def test_report_is_one_page_that_needs_no_network(searched: tuple[Path, str]) -> None:
    out, _ = searched
    page = (out / "report.html").read_text("utf-8")
    result = json.loads((out / "result.json").read_text("utf-8"))
    assert page.count("<svg") == 4
    assert not any(word in page for word in ("<script", "<link", "@import", 'src="http'))
    for text in (*result["removed"], tell_difference(result["max_difference"]), result["command"], "subnet.onnx"):
        assert text in page
    costs = page.partition('<table class="costs">')[2].partition("</table>")[0]
    fates = {name: fate for fate, name in re.findall(r'<tr class="(\w+)"><td><code>(\w+)</code>', costs)}
    assert {name for name, fate in fates.items() if fate == "removed"} == {
        f"{group}_{part}" for group in result["removed"] for part in ("conv", "bn")
    }
    assert fates["linear"] == "kept"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "dmo"], "did you mean demo?"),
        (["search", "demo", "--data", "mnist"], "--data is 'mnist': Input should be 'digits' or 'fashion-mnist'"),
        (["search", "demo", "--batch-size", "5000"], "between 1 and the 1437 images"),
        (["search", "demo", "--epochs", "0"], "--epochs is 0: Input should be greater than or equal to 1"),
        (["search", "demo", "--width", "-1"], "--width is -1.0: Input should be greater than 0"),
        (["search", "demo", "--sparsity", "1.5"], "--sparsity is 1.5: Input should be less than or equal to 1"),
        (["search", "timm:resnet10t", "--width", "0.5"], "leave that argument out"),
        (["inspect", "torchvision:resnt18"], "did you mean torchvision:resnet18"),
    ],
)
def test_mistakes_get_one_sentence_and_exit_code(arguments: list[str], message: str, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")] if arguments[0] == "search" else []
    result = CliRunner().invoke(cli.app, [*arguments, *out])
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    result = CliRunner().invoke(cli.app, ["search", "demo", "--out", str(tmp_path / "file")])
    assert result.exit_code == 1
    assert "cannot be made a folder" in result.stderr


def test_inspect_shows_vertices_segments_and_groups() -> None:
    result = CliRunner().invoke(cli.app, ["inspect", "demo"])
    assert result.exit_code == 0, result.output
    assert "parameters  806,538" in result.output
    assert "3 joint" in result.output
    segments, groups = result.output.split("Groups that can be removed")
    assert all(f"conv{number}" in part for number in (2, 3, 4, 5, 7, 8) for part in (segments, groups))
    assert re.search(r"conv2 +Conv2d > BatchNorm2d > ReLU +[\d,]+ +yes", segments)


def test_inspect_says_plainly_that_nothing_can_go(monkeypatch: pytest.MonkeyPatch) -> None:
    def chain(_: str) -> tuple[nn.Module, None]:
        return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), None

    monkeypatch.setattr("autosubnet.supernets.create_with_inputs", chain)
    result = CliRunner().invoke(cli.app, ["inspect", "demo"])
    assert result.exit_code == 0, result.output
    assert "No removable groups" in result.output


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module that makes models, in which commands are given."""
    (tmp_path / "own_models.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.b, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)\n"
        "    def forward(self, x):\n"
        "        return self.head(self.a(x) + self.b(x))\n"
        "class Masked(Net):\n"
        "    def forward(self, x, mask):\n"
        "        return self.head(self.a(x) + mask.unsqueeze(-1) * self.b(x))\n"
        "def masked():\n"
        "    return Masked(), {'x': torch.randn(2, 5, 6), 'mask': torch.ones(2, 5)}\n"
        "def number():\n"
        "    return 3\n"
        "def fails():\n"
        "    raise KeyError('no such width')\n"
        "def leaves():\n"
        "    raise SystemExit('bye')\n"
    )
    (tmp_path / "not_python.py").write_text("def")
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("own_models", None)


def test_inspect_shows_what_can_go_of_anybodys_model(factory: Path) -> None:
    result = CliRunner().invoke(cli.app, ["inspect", "own_models:Net", "--draw", "net.svg"], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    assert "FLOPs       168 for one example" in result.output
    assert (
        "2^2 sets of 2 groups; 1 can go together, with 42.9% of the parameters and 42.9% of the FLOPs" in result.output
    )
    assert "<svg" in (factory / "net.svg").read_text("utf-8")


def test_inspect_takes_the_inputs_that_a_factory_returns(factory: Path) -> None:
    result = CliRunner().invoke(cli.app, ["inspect", "own_models:masked"])
    assert result.exit_code == 0, result.output
    assert "FLOPs       840 for one example" in result.output  # five tokens of what one row costs


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_models:number", "returns a int; let it return an nn.Module, or one and its inputs"),
        ("own_models:missing", "module 'own_models' has no 'missing'"),
        ("nowhere:Net", "module 'nowhere' cannot be imported"),
        ("timmm:resnet18", "did you mean timm:resnet18"),
        ("own_models:fails", "own_models:fails fails: KeyError: 'no such width'"),
        ("own_models:leaves", "own_models:leaves fails: SystemExit: bye"),
        ("not_python:f", "module 'not_python' cannot be imported: SyntaxError"),
        ("leaving:f", "module 'leaving' cannot be imported: SystemExit: 3"),
        (":f", "'' is not the name of a module"),
        ("..own_models:Net", "'..own_models' is not the name of a module"),
        ("own_models:ok:x", "own_models:ok:x: module 'own_models' has no 'ok:x'"),
    ],
)
def test_a_factory_that_is_none(factory: Path, name: str, message: str) -> None:
    result = CliRunner().invoke(cli.app, ["inspect", name])
    assert result.exit_code == 1
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_picture_that_cannot_be_written(factory: Path) -> None:
    result = CliRunner().invoke(cli.app, ["inspect", "own_models:Net", "--draw", "nowhere/net.svg"])
    assert result.exit_code == 1
    assert "the folder nowhere does not exist" in result.stderr
