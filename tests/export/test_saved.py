"""Saving and loading: the same network comes back, from data alone, and nothing is half written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import fx, nn
from torchvision import models

from autosubnet.errors import ExportError
from autosubnet.export import load, save, saved
from autosubnet.subnet.dual import DualGraphModule
from autosubnet.subnet.report import Report

from .networks import CASES, Convolutional, Numbered, Tokens, assert_same, rows, tokens, traced


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_network_comes_back(name: str, training: bool, tmp_path: Path) -> None:
    make, args = CASES[name]
    network = traced(make(), training=training)
    assert save(network, tmp_path / "out") == tmp_path / "out"
    assert_same(network, load(tmp_path / "out"), args())


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "squeezenet1_1", "mobilenet_v3_small"])
def test_architectures_come_back(name: str, tmp_path: Path) -> None:
    network = fx.symbolic_trace(models.get_model(name)).eval()
    save(network, tmp_path / "out")
    assert_same(network, load(tmp_path / "out"), (torch.randn(2, 3, 64, 64),))


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path: Path) -> None:
    save(traced(Tokens()), tmp_path / "out")
    assert "out.weight" not in load_file(tmp_path / "out" / "model.safetensors")
    loaded = load(tmp_path / "out")
    assert loaded.out.weight is loaded.embed.weight


def test_a_second_save_of_what_was_loaded_is_the_same_file(tmp_path: Path) -> None:
    save(traced(Convolutional()), tmp_path / "a")
    save(load(tmp_path / "a"), tmp_path / "b")
    for name in ("graph.json", "model.py", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_half_precision_and_views_of_one_storage(tmp_path: Path) -> None:
    network = traced(Numbered()).half()
    storage = torch.randn(40, dtype=torch.float16)
    network.get_submodule("0").weight.data = storage[:24].view(6, 4)
    network.get_submodule("0").bias.data = storage[24:30]
    save(network, tmp_path / "out")
    assert_same(network, load(tmp_path / "out"), (rows()[0].half(),))


def test_networks_of_two_graphs(tmp_path: Path) -> None:
    """Train and eval mode differ in operations: both graphs are kept, over the same tensors."""
    attributes = {"a": nn.Linear(4, 4), "aux": nn.Linear(4, 2), "shift": nn.Parameter(torch.ones(4))}
    graphs = {}
    for mode in ("train", "eval"):
        graph = fx.Graph()
        x = graph.placeholder("x")
        y = graph.call_function(torch.add, (graph.call_module("a", (x,)), graph.get_attr("shift")))
        y = graph.call_function(nn.functional.dropout, (y, 0.5, graph.get_attr("training")))
        graph.output((y, graph.call_module("aux", (y,))) if mode == "train" else y)
        graphs[mode] = graph
    network = DualGraphModule(attributes, graphs).train()
    save(network, tmp_path / "out")
    loaded = load(tmp_path / "out")
    assert isinstance(loaded, DualGraphModule)
    assert_same(network, loaded, rows())
    assert isinstance(loaded(*rows()), tuple)
    assert isinstance(loaded.eval()(*rows()), torch.Tensor)
    _assert_source_agrees(network, tmp_path / "out", rows())


def test_the_report_comes_back(tmp_path: Path) -> None:
    network = traced(Numbered())
    kept = {"0.weight": {0: (0, 2), 1: (1,)}}
    report = Report((10, 5), ("conv",), ("conv.weight",), kept, ("a note",), ("output",), 1e-12, None, "float64")
    network.meta["autosubnet"] = report
    save(network, tmp_path / "out")
    assert load(tmp_path / "out").meta["autosubnet"] == report


def test_a_network_without_report(tmp_path: Path) -> None:
    save(traced(Numbered()), tmp_path / "out")
    assert "autosubnet" not in load(tmp_path / "out").meta


# ---------------------------------------------------------------- the source file


@pytest.mark.parametrize("name", CASES)
def test_the_source_runs_without_this_package(name: str, tmp_path: Path) -> None:
    make, args = CASES[name]
    network = traced(make())
    save(network, tmp_path / "out")
    _assert_source_agrees(network, tmp_path / "out", args())


def test_parameters_in_lists_and_dicts(tmp_path: Path) -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scales = nn.ParameterList([torch.randn(6) for _ in range(2)])
            self.shifts = nn.ParameterDict({"last": torch.randn(6)})
            self.scales[1].requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.scales[0] + (x.tanh() * self.scales[1] + self.shifts["last"])

    network = traced(Listed())
    x = torch.randn(3, 6)
    loaded = load(save(network, tmp_path / "out"))
    assert torch.equal(loaded(x), network(x))
    assert [p.requires_grad for p in loaded.parameters()] == [p.requires_grad for p in network.parameters()]
    _assert_source_agrees(network, tmp_path / "out", (x,))


def test_the_source_of_stochastic_depth_draws_alike(tmp_path: Path) -> None:
    """Layers of torchvision and timm become plain ones that draw the same numbers."""
    from timm.layers import DropPath
    from torchvision.ops import StochasticDepth

    root = nn.Sequential(nn.Linear(4, 4), StochasticDepth(0.4, "row"), StochasticDepth(0.2, "batch"), DropPath(0.5))
    network = fx.symbolic_trace(root)
    graph = fx.Graph()
    x = graph.placeholder("input")
    for name in ("0", "1", "2", "3"):
        x = graph.call_module(name, (x,))
    graph.output(x)
    network = fx.GraphModule(root, graph).train()
    save(network, tmp_path / "out")
    assert_same(network, load(tmp_path / "out"), rows())
    _assert_source_agrees(network, tmp_path / "out", rows())


_SCRIPT = """
import sys
sys.modules["autosubnet"] = sys.modules["torchvision"] = sys.modules["timm"] = None
import torch
from model import Subnet, load
args, training = torch.load("args.pt", weights_only=True)
network = load()
assert not any(tensor.is_meta for tensor in network.state_dict().values())
outputs = []
for mode in (False, True):
    torch.manual_seed(3)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    network.train(mode)
    out = network(*args)
    network.load_state_dict(state)
    out = (out.first, out.second["more"][1][0]) if hasattr(out, "_fields") else out
    outputs.append(out)
torch.save((outputs, dict(network.named_parameters()), list(network.state_dict())), "out.pt")
assert load().training == training
Subnet()
"""


def _assert_source_agrees(network: fx.GraphModule, folder: Path, args: tuple[Any, ...]) -> None:
    from .networks import results

    torch.save((args, network.training), folder / "args.pt")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    outputs, parameters, names = torch.load(folder / "out.pt", weights_only=True)
    assert names == list(network.state_dict())
    own = dict(network.named_parameters())
    assert parameters.keys() == own.keys()
    assert all(torch.equal(parameters[name], own[name]) for name in own)
    assert all(parameters[name].requires_grad == own[name].requires_grad for name in own)
    for training, found in zip((False, True), outputs, strict=True):
        expected = results(network, args, training=training)
        expected = (expected[0], expected[1]["more"][1][0]) if hasattr(expected, "_fields") else expected
        for right, seen in zip(_as_tuple(expected), _as_tuple(found), strict=True):
            assert torch.equal(right, seen)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def test_the_source_reads_well(tmp_path: Path) -> None:
    save(traced(Convolutional()), tmp_path / "out")
    text = (tmp_path / "out" / "model.py").read_text()
    assert 'self.stem["0"] = nn.Conv2d(3, 8, 3, padding=1)' in text
    assert "self.left = nn.Conv2d(8, 8, (1, 3), padding=(0, 1), bias=False)" in text
    assert "y = y[:, :, 0, 0]" in text
    assert "autosubnet" not in text.replace("written by autosubnet.save", "")
    assert max(len(line) for line in text.splitlines()) <= 110
    compile(text, "model.py", "exec")


# ---------------------------------------------------------------- the folder


def test_an_earlier_save_is_replaced(tmp_path: Path) -> None:
    save(traced(Convolutional()), tmp_path / "out")
    save(traced(Numbered()), tmp_path / "out")
    assert_same(traced(Numbered()), load(tmp_path / "out"), rows())
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_an_empty_folder_is_filled_and_parents_are_made(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    save(traced(Numbered()), tmp_path / "empty")
    save(traced(Numbered()), tmp_path / "new" / "deep")
    assert load(tmp_path / "empty")
    assert load(tmp_path / "new" / "deep")


@pytest.mark.parametrize("names", [["notes.txt"], ["model.py"], ["graph.json", "picture.svg"]])
def test_a_folder_of_others_is_left_alone(names: list[str], tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(ExportError, match="give an empty or a new one"):
        save(traced(Numbered()), tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(names)
    assert all((tmp_path / name).read_text() == "mine" for name in names)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ExportError, match="is a file or a link"):
        save(traced(Numbered()), tmp_path / "out")


def test_a_failure_while_writing_leaves_the_earlier_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(traced(Numbered()), tmp_path / "out")

    def full(*args: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(saved, "save_file", full)
    with pytest.raises(ExportError, match="no space left"):
        save(traced(Convolutional()), tmp_path / "out")
    assert_same(traced(Numbered()), load(tmp_path / "out"), rows())
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


# ---------------------------------------------------------------- what cannot be saved


def test_a_foreign_module_is_named(tmp_path: Path) -> None:
    class Mine(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    root = nn.Module()
    root.block = nn.Module()
    root.block.mine = Mine()
    graph = fx.Graph()
    graph.output(graph.call_module("block.mine", (graph.placeholder("x"),)))
    with pytest.raises(ExportError, match=r"module 'block\.mine' is a .*Mine; .* torch\.export"):
        save(fx.GraphModule(root, graph), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_foreign_function_is_named(tmp_path: Path) -> None:
    graph = fx.Graph()
    graph.output(graph.call_function(tokens, (graph.placeholder("x"),), name="mine"))
    with pytest.raises(ExportError, match=r"node 'mine' calls .*tokens, which is not a public function of torch"):
        save(fx.GraphModule(nn.Module(), graph), tmp_path / "out")


def test_an_argument_that_is_no_data_is_named(tmp_path: Path) -> None:
    graph = fx.Graph()
    graph.output(graph.call_function(torch.add, (graph.placeholder("x"), range(3)), name="sum_of"))
    with pytest.raises(ExportError, match=r"'sum_of' holds a builtins\.range"):
        save(fx.GraphModule(nn.Module(), graph), tmp_path / "out")


def test_a_meta_tensor_is_named(tmp_path: Path) -> None:
    network = traced(Numbered())
    network.get_submodule("0").weight = nn.Parameter(torch.empty(6, 4, device="meta"))
    with pytest.raises(ExportError, match=r"tensor '0\.weight' is on the meta device"):
        save(network, tmp_path / "out")


def test_an_input_with_a_reserved_name(tmp_path: Path) -> None:
    graph = fx.Graph()
    graph.output(graph.call_function(torch.relu, (graph.placeholder("torch"),)))
    with pytest.raises(ExportError, match="an input is named 'torch'"):
        save(fx.GraphModule(nn.Module(), graph), tmp_path / "out")


def test_graph_files_are_plain_json_of_short_lines(tmp_path: Path) -> None:
    save(traced(Convolutional()), tmp_path / "out")
    text = (tmp_path / "out" / "graph.json").read_text()
    assert json.loads(text)["graphs"]["both"][0]["op"] == "placeholder"
    assert max(len(line) for line in text.splitlines()) < 320


def test_what_is_saved_is_what_was_given(tmp_path: Path) -> None:
    """Saving changes nothing of the network."""
    network = traced(Convolutional(), training=True)
    code, state = network.code, {name: value.clone() for name, value in network.state_dict().items()}
    save(network, tmp_path / "out")
    assert network.training
    assert network.code == code
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state.items())
