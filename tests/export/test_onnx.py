"""ONNX files: checked against ONNX Runtime, at any batch size, and never half written."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from autosubnet.errors import ExportError
from autosubnet.export import checked, export_onnx, onnx

from .networks import CASES, traced


class Several(nn.Module):
    """Two inputs of one batch, a constant input of another size, and nested outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(5, 3)
        self.drop = nn.Dropout(0.5)

    def forward(self, x: Tensor, y: Tensor, table: Tensor | None = None) -> dict[str, Any]:
        both = self.drop(self.left(x) + self.right(y))
        if table is not None:
            both = both @ table
        return {"both": both, "pair": (x.relu(), [y.mean(1)])}


def run(path: Path, *arrays: Any) -> list[Any]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    return session.run(None, dict(zip(names, (each.numpy() for each in arrays), strict=True)))


@pytest.mark.parametrize("name", ["convolutional", "numbered"])
def test_small_networks_at_any_batch(name: str, tmp_path: Path) -> None:
    make, args = CASES[name]
    network = traced(make(), training=True)
    network.get_submodule(next(iter(dict(network.named_children())))).eval()  # one part frozen in eval mode
    flags = [module.training for module in network.modules()]
    difference = export_onnx(network, tmp_path / "a.onnx", args())
    assert [module.training for module in network.modules()] == flags
    x = torch.randn(7, *args()[0].shape[1:])
    found = run(tmp_path / "a.onnx", x)[0]
    assert np.abs(found - network.eval()(x).detach().numpy()).max() <= 1e-4
    assert 0 <= difference <= 1e-4
    assert [each.name for each in tmp_path.iterdir()] == ["a.onnx"]


def test_resnet(tmp_path: Path) -> None:
    network = models.resnet18().eval()
    export_onnx(network, tmp_path / "a.onnx", torch.randn(1, 3, 64, 64))  # a batch of one is no constant
    x = torch.randn(5, 3, 64, 64)
    assert np.abs(run(tmp_path / "a.onnx", x)[0] - network(x).detach().numpy()).max() <= 1e-4


def test_dicts_and_tuples(tmp_path: Path) -> None:
    network = Several()
    x, y, table = torch.randn(2, 4), torch.randn(2, 5), torch.randn(3, 3)
    export_onnx(network, tmp_path / "a.onnx", {"x": x, "y": y, "table": table})
    x, y = torch.randn(9, 4), torch.randn(9, 5)
    expected = network.eval()(x, y, table)
    found = run(tmp_path / "a.onnx", x, y, table)
    leaves = [expected["both"], expected["pair"][0], expected["pair"][1][0]]
    for right, seen in zip(leaves, found, strict=True):
        assert np.abs(right.detach().numpy() - seen).max() <= 1e-5
    assert network(x, y, table)["both"].shape == (9, 3)


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export_onnx(nn.Linear(4, 3), tmp_path / "a.onnx", torch.randn(2, 4))
    assert capfd.readouterr() == ("", "")


def test_random_state_and_statistics_stay(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    state = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    export_onnx(network, tmp_path / "a.onnx", torch.zeros(2, 3, 4, 4))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in state.items())


def test_a_wrong_file_is_refused_with_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_as_before = onnx._run
    monkeypatch.setattr(onnx, "_run", lambda *args: [each + 0.25 for each in run_as_before(*args)])
    (tmp_path / "a.onnx").write_text("earlier")
    with pytest.raises(ExportError, match=r"output 0 .* differs from the network's by 0\.25, and 0\.0001 is allowed"):
        export_onnx(nn.Sequential(nn.Linear(4, 3), nn.Tanh()), tmp_path / "a.onnx", torch.randn(2, 4))
    assert (tmp_path / "a.onnx").read_text() == "earlier"
    assert [each.name for each in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_a_difference(value: float) -> None:
    right, seen = np.array([1.0, 2.0]), np.array([1.0, value])
    assert not checked._largest(right, seen) <= 1e9
    assert checked._largest(seen, seen) == 0.0


def test_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(2, 4) + 1

    with pytest.raises(ExportError, match=r"Fixed fails on inputs of \[\(3, 4\)\] .* any batch size"):
        export_onnx(Fixed(), tmp_path / "a.onnx", torch.randn(2, 4))
    assert list(tmp_path.iterdir()) == []


def test_an_operator_that_onnx_does_not_know(tmp_path: Path) -> None:
    class Eigenvalues(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.linalg.eigvalsh(x)

    with pytest.raises(ExportError, match=r"Eigenvalues cannot be exported to ONNX: .*eigh"):
        export_onnx(Eigenvalues(), tmp_path / "a.onnx", torch.eye(3).repeat(2, 1, 1))
    assert list(tmp_path.iterdir()) == []


def test_large_weights_lie_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx, "_LARGEST_IN_ONE_FILE", 100)
    network = nn.Linear(64, 32)
    export_onnx(network, tmp_path / "a.onnx", torch.randn(2, 64))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.onnx", "a.onnx.data"]
    x = torch.randn(3, 64)
    assert np.abs(run(tmp_path / "a.onnx", x)[0] - network(x).detach().numpy()).max() <= 1e-5


def test_a_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ExportError, match=r"package onnxruntime; install it by pip install 'autosubnet\[onnx\]'"):
        export_onnx(nn.Linear(4, 3), tmp_path / "a.onnx", torch.randn(2, 4))


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="does not exist; create it first"):
        export_onnx(nn.Linear(4, 3), tmp_path / "none" / "a.onnx", torch.randn(2, 4))
