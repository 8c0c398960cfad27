"""Searching and training cells from the command line."""

from __future__ import annotations

import itertools
import json
import math
import random
import tomllib
from pathlib import Path

import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

from autosubnet import AutoSubnet, cli
from autosubnet.export import load as load_subnet
from autosubnet.supernets import Genotype, RecurrentGenotype
from autosubnet.training.data import load
from autosubnet.training.sequences import columns
from autosubnet.training.text import read_text

SMALL = ["--channels", "2", "--cells", "3", "--epochs", "2", "--batch-size", "256", "--path-lr", "0.05"]


CELL = {2: (("skip_connect", 0), ("sep_conv_3x3", 1))}
RECURRENT = RecurrentGenotype({1: (("tanh", 0),), 2: (("relu", 1), ("identity", 0)), 5: (("sigmoid", 2),)})


def invoke(*arguments: str):
    return CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "120"})


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("paths") / "darts"
    result = invoke(
        "search",
        "darts",
        "--method",
        "adamhapg",
        "--out",
        str(out),
        "--lambda-step",
        "0.3",
        "--space",
        "cherry_picked",
        *SMALL,
    )
    assert result.exit_code == 0, result.output
    return out, result.output


def test_a_search_over_cells_writes_what_it_found(searched: tuple[Path, str]) -> None:
    out, screen = searched
    names = {path.name for path in out.iterdir()}
    pictures = {"normal.svg", "reduce.svg", "normal_weights.svg", "reduce_weights.svg", "accuracy.svg"}
    assert names == {"genotype.json", "config.toml", "result.json", "report.html", "subnet", "subnet.onnx", *pictures}
    settings = tomllib.loads((out / "config.toml").read_text("utf-8"))
    assert (settings["supernet"], settings["method"], settings["lambda_step"]) == ("darts", "adamhapg", 0.3)
    result = json.loads((out / "result.json").read_text("utf-8"))
    cells = Genotype.from_json((out / "genotype.json").read_text("utf-8"))
    left = sum(len(paths) for cell in (cells.normal, cells.reduce) for paths in cell.values())
    assert result["paths"] == [56, left]
    assert 0 < left < 56
    assert result["max_difference"] <= 1e-4
    assert len(result["epochs"]) == 2
    assert f"{result['num_params'][1]:,}" in screen
    page = (out / "report.html").read_text("utf-8")
    assert page.count("<svg") == 5
    assert all(text in page for text in (f"{result['num_params'][1]:,}", f"{left} of 56 paths", "genotype.json"))
    assert not any(word in page for word in ("<script", "<link", "@import", 'src="http'))
    body = page.partition('<table class="costs">')[2].partition("</tbody>")[0].partition("<tbody>")[2]
    params = [int(row.split('"number">')[2].partition("<")[0].replace(",", "")) for row in body.split("<tr")[1:]]
    oto = AutoSubnet(load_subnet(out / "subnet"), load("digits").test.tensors[0][:2])
    assert params == [round(each["num_params"]) for each in oto.compute_vertex_costs().values() if any(each.values())]
    assert f"{result['score'][1]:.2%}" in screen


def test_the_derived_network_is_the_one_that_was_measured(searched: tuple[Path, str]) -> None:
    out, _ = searched
    result = json.loads((out / "result.json").read_text("utf-8"))
    images, labels = load("digits").test.tensors
    with torch.no_grad():
        logits = load_subnet(out / "subnet").eval()(images)
    assert (logits.argmax(1) == labels).float().mean().item() == pytest.approx(result["score"][1])
    session = onnxruntime.InferenceSession(str(out / "subnet.onnx"), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert abs(torch.from_numpy(got) - logits).max() <= 1e-4


def test_the_network_of_a_genotype_is_trained(searched: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = searched
    arguments = ["--channels", "2", "--cells", "3", "--epochs", "1", "--batch-size", "256", "--cutout", "2"]
    done = invoke("train", str(out / "genotype.json"), "--out", str(tmp_path / "network"), *arguments)
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "network" / "result.json").read_text("utf-8"))
    assert f"{result['num_params']:,}" in done.output
    settings = tomllib.loads((tmp_path / "network" / "config.toml").read_text("utf-8"))
    assert settings["genotype"] == str((out / "genotype.json").resolve())
    page = (tmp_path / "network" / "report.html").read_text("utf-8")
    assert page.count("<svg") == 1
    assert f"{result['num_params']:,}" in page
    network = load_subnet(tmp_path / "network" / "network").eval()
    own = {name: p for name, p in network.named_parameters() if not name.startswith("auxiliary.")}
    assert sum(p.numel() for p in own.values()) == result["num_params"]
    assert len(own) < len(dict(network.named_parameters())), "the auxiliary head is for going on with the training"
    images, labels = load("digits").test.tensors
    with torch.no_grad():
        share = (network(images).argmax(1) == labels).float().mean().item()
    assert result["scores"] == {"accuracy": pytest.approx(share)}


def test_what_can_be_done_with_a_run(searched: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = searched
    record = json.loads((out / "result.json").read_text("utf-8"))
    shown = invoke("report", str(out)).output
    assert f"{record['num_params'][1]:,}" in shown
    assert json.loads(invoke("report", str(out), "--json").stdout) == record
    measured = json.loads(invoke("evaluate", str(out), "--json").stdout)
    assert measured["accuracy"] == pytest.approx(record["score"][1])
    assert measured["num_params"] == record["num_params"][1]
    assert f"{measured['accuracy']:.2%}" in invoke("evaluate", str(out)).output
    images = load("digits").test.tensors[0][:5]
    done = invoke("export", str(out), str(tmp_path / "net.pt2"))
    assert done.exit_code == 0, done.output
    program = torch.export.load(tmp_path / "net.pt2").module()
    with torch.no_grad():
        assert torch.allclose(program(images), load_subnet(out / "subnet").eval()(images), atol=1e-5)
    refused = invoke("export", str(out), str(tmp_path / "net.pickle"))
    assert (refused.exit_code, "none of .onnx, .pt2" in refused.output) == (1, True)


@pytest.mark.parametrize("record", [None, "{", "[]", '{"paths": 1}', '{"subnet": {}, "supernet": {}}', "1" * 5000])
def test_a_folder_without_a_result_is_refused(record: str | None, tmp_path: Path) -> None:
    if record is not None:
        (tmp_path / "result.json").write_text(record, "utf-8")
    for command in ("report", "evaluate"):
        done = invoke(command, str(tmp_path))
        assert done.exit_code == 1
        assert "result.json" in done.output
        assert "search or train" in done.output.replace("\n", " ")


def test_the_zoo() -> None:
    assert json.loads(invoke("zoo", "d*", "--json").stdout) == ["demo", "darts", "darts_rnn"]
    assert "timm:resnet18" in invoke("zoo", "timm:resnet1*").output
    missing = invoke("zoo", "nothing")
    assert (missing.exit_code, "No model is called 'nothing'" in missing.output) == (1, True)


def test_inspect_as_json() -> None:
    found = json.loads(invoke("inspect", "demo", "--json").stdout)
    assert found["num_params"] == 806_538
    assert len(found["groups"]) == 6
    assert {each["kind"] for each in found["vertices"]} == {"input", "stem", "joint", "accessory", "output"}


def test_paths_of_any_model(tmp_path: Path) -> None:
    arguments = ["--method", "hapg", "--epochs", "1", "--batch-size", "256", "--out", str(tmp_path)]
    done = invoke("search", "timm:test_resnet", *arguments)
    assert done.exit_code == 0, done.output
    assert not (tmp_path / "genotype.json").exists()
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("<svg") == 2
    assert "genotype.json" not in page
    assert json.loads((tmp_path / "result.json").read_text("utf-8"))["paths"][0] > 4


def test_nothing_that_is_left_is_a_sentence(tmp_path: Path) -> None:
    done = invoke("search", "darts", "--method", "hapg", "--lambda-step", "1000", "--out", str(tmp_path), *SMALL)
    assert done.exit_code == 1
    assert "no node is left" in done.output
    assert "take a smaller lambda step" in done.output.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "demo", "--alpha", "1"], "--alpha says nothing to --method h2spg"),
        (["search", "darts", "--method", "hapg", "--flops", "5"], "--flops says nothing to --method hapg"),
        (["search", "darts", "--method", "hapg", "--size", "3"], "size says nothing to darts; leave it out"),
        (
            ["search", "darts_rnn", "--method", "hapg", "--data", "digits"],
            "data says nothing to darts_rnn; leave it out",
        ),
        (["search", "timm:resnet18", "--method", "hapg", "--cells", "4"], "cells says nothing to timm:resnet18"),
        (["search", "darts_rnn"], "darts_rnn reads texts, and its paths are searched; pass --method adamhapg or hapg"),
        (["search", "darts", "--method", "hapg", "--order", "third"], "Input should be 'first' or 'second'"),
        (["search", "darts", "--method", "hapg", "--space", "outer"], "Input should be 'full' or 'cherry_picked'"),
        (
            ["search", "darts", "--method", "hapg", "--cells", "2"],
            "--cells is 2: Input should be greater than or equal",
        ),
        (
            ["search", "darts", "--method", "hapg", "--warmup-steps", "-1"],
            "--warmup-steps is -1: Input should be greater",
        ),
        (
            ["search", "darts", "--method", "hapg", "--epochs", "2", "--warmup-steps", "22", "--channels", "2"],
            "warmup_steps is 22, but the whole search has 22 steps",
        ),
        (["train", "nowhere.json"], "cannot be read"),
        (["train", "recurrent.json", "--channels", "4"], "--channels says nothing to the cells in recurrent.json"),
        (["train", "recurrent.json", "--data", "digits"], "--data says nothing to the cells in recurrent.json"),
        (["train", "darts.json", "--size", "4"], "--size says nothing to the cells in darts.json"),
        (["train", "recurrent.json", "--dropout", "1.5"], "A dropout of 1.5 cannot be"),
        (["train", "recurrent.json", "--batch-size", "1000000"], "cannot be cut into 1000000 columns"),
        (["train", "recurrent.json", "--epochs", "0"], "--epochs is 0: Input should be greater than or equal to 1"),
        (["train", "recurrent.json", "--size", "0"], "--size is 0: Input should be greater than or equal to 1"),
    ],
)
def test_what_does_not_fit_is_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recurrent.json").write_text(RECURRENT.to_json(), "utf-8")
    Path("darts.json").write_text(Genotype(CELL, CELL).to_json(), "utf-8")
    done = invoke(*arguments, "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert message in done.output.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def test_a_file_without_a_genotype_is_refused(tmp_path: Path) -> None:
    (tmp_path / "genotype.json").write_text('{"normal": {}}', "utf-8")
    done = invoke("train", str(tmp_path / "genotype.json"), "--out", str(tmp_path / "out"))
    assert done.exit_code == 1
    assert "holds no genotype of darts" in done.output.replace("\n", " ")


def write_text(folder: Path, letters: str = "abcdefgh") -> Path:
    folder.mkdir()
    draw = random.Random(0)
    for part, lines in (("train", 60), ("valid", 20), ("test", 20)):
        words = ("\n".join(" ".join(draw.choices(letters, k=6)) for _ in range(lines)) + "\n").encode()
        (folder / f"{part}.txt").write_bytes(words)
    return folder


def test_a_search_over_the_recurrent_cell(tmp_path: Path) -> None:
    text, out = write_text(tmp_path / "text"), tmp_path / "out"
    sizes = ["--size", "6", "--window", "5", "--batch-size", "8", "--epochs", "2", "--lr", "1"]
    weights = ["--path-lr", "0.01", "--lambda-step", "1e-5"]
    arguments = ["--method", "adamhapg", "--data-dir", str(text), "--out", str(out)]
    done = invoke("search", "darts_rnn", *arguments, *sizes, *weights)
    assert done.exit_code == 0, done.output
    result = json.loads((out / "result.json").read_text("utf-8"))
    cell = RecurrentGenotype.from_json((out / "genotype.json").read_text("utf-8"))
    assert result["paths"] == [144, sum(map(len, cell.recurrent.values()))]
    assert result["measure"] == "perplexity"
    assert result["score"][0] == pytest.approx(result["score"][1], rel=1e-6)
    assert 1 < result["score"][1] < 20
    assert {"recurrent.svg", "recurrent_weights.svg", "perplexity.svg"} <= {path.name for path in out.iterdir()}
    subnet = load_subnet(out / "subnet").eval()
    x, h = torch.randn(3, 6), torch.randn(3, 6)
    session = onnxruntime.InferenceSession(str(out / "subnet.onnx"), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    (got,) = session.run(None, dict(zip(names, (x.numpy(), h.numpy()), strict=True)))
    assert abs(torch.from_numpy(got) - subnet(x, h)).max() <= 1e-5
    assert invoke("export", str(out), str(tmp_path / "cell.pt2")).exit_code == 0
    assert torch.allclose(torch.export.load(tmp_path / "cell.pt2").module()(x, h), subnet(x, h), atol=1e-6)
    alone = invoke("evaluate", str(out))
    assert (alone.exit_code, "without a language model" in alone.output.replace("\n", " ")) == (1, True)


def test_the_language_model_of_a_recurrent_cell_is_trained(tmp_path: Path) -> None:
    """What is saved computes one step: word by word it has the perplexity that was measured."""
    text, out = write_text(tmp_path / "text"), tmp_path / "out"
    (tmp_path / "genotype.json").write_text(RECURRENT.to_json(), "utf-8")
    sizes = ["--size", "6", "--window", "5", "--batch-size", "8", "--epochs", "2", "--lr", "1", "--dropout", "0.5"]
    arguments = [str(tmp_path / "genotype.json"), "--data-dir", str(text), "--out", str(out), *sizes]
    done = invoke("train", *arguments)
    assert done.exit_code == 0, done.output
    result = json.loads((out / "result.json").read_text("utf-8"))
    pages = {"config.toml", "report.html", "training.svg"}
    assert {path.name for path in out.iterdir()} == {"result.json", "network", "network.onnx"} | pages
    assert [set(each) for each in result["epochs"]] == [{"loss", "perplexity"}] * 2
    scores = result["scores"]
    assert scores["validation perplexity"] == min(each["perplexity"] for each in result["epochs"])
    page = (out / "report.html").read_text("utf-8")
    assert "validation perplexity" in page
    assert "<code>decoder</code>" in page.partition('<table class="costs">')[2]
    assert f"{scores['test perplexity']:.1f}" in done.output
    assert f"{scores['test perplexity']:.1f}" in invoke("report", str(out)).output
    network = load_subnet(out / "network").eval()
    # first node, three inner nodes, decoder with a bias; the embedding is the decoder's matrix
    vocabulary = 10
    assert sum(p.numel() for p in network.parameters()) == 12 * 12 + 3 * 6 * 12 + vocabulary * 7
    assert result["num_params"] == sum(p.numel() for p in network.parameters())
    words = columns(read_text(text).test, 10)
    session = onnxruntime.InferenceSession(str(out / "network.onnx"), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    state, total = torch.zeros(10, 6), 0.0
    for now, following in itertools.pairwise(words):
        feed = dict(zip(names, (now.numpy(), state.numpy()), strict=True))
        in_onnx = torch.from_numpy(session.run(None, feed)[0])
        with torch.no_grad():
            logits, state = network(now, state)
        assert abs(in_onnx - logits).max() <= 1e-5
        total += float(torch.nn.functional.cross_entropy(logits, following, reduction="sum"))
    assert math.exp(total / words[1:].numel()) == pytest.approx(scores["test perplexity"], rel=1e-5)
    measured = json.loads(invoke("evaluate", str(out), "--json").stdout)
    assert {name: measured[name] for name in scores} == pytest.approx(scores, rel=1e-5)
    assert (measured["num_params"], measured["multiply_adds"]) == (result["num_params"], result["multiply_adds"])
    assert f"{scores['test perplexity']:.1f}" in invoke("evaluate", str(out)).output
    for wrong, why in (
        ("--data=digits", "for texts, not for digits"),
        (f"--data-dir={write_text(tmp_path / 'other', 'abc')}", "words"),
    ):
        refused = invoke("evaluate", str(out), wrong)
        assert (refused.exit_code, why in refused.output.replace("\n", " ")) == (1, True)
    assert invoke("export", str(out), str(tmp_path / "net.pt2")).exit_code == 0
    program = torch.export.load(tmp_path / "net.pt2").module()
    assert torch.allclose(program(words[0], state)[0], network(words[0], state)[0], atol=1e-6)
