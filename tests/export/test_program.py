"""Programs of torch.export: checked, at any batch size, and never half written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autosubnet import AutoSubnet, export_program
from autosubnet.errors import ExportError
from autosubnet.export import program
from autosubnet.supernets import create

from .networks import CASES, traced


@pytest.mark.parametrize("name", ["convolutional", "numbered"])
def test_small_networks_at_any_batch(name: str, tmp_path: Path) -> None:
    make, args = CASES[name]
    network = traced(make())
    assert export_program(network, tmp_path / "a.pt2", args()) <= 1e-4
    x = args()[0]
    more = torch.cat([x, x, x[:1]])
    with torch.no_grad():
        expected, found = (each(more) for each in (network.eval(), torch.export.load(tmp_path / "a.pt2").module()))
    assert torch.allclose(expected, found, atol=1e-5)
    assert [each.name for each in tmp_path.iterdir()] == ["a.pt2"]


def test_a_subnet(tmp_path: Path) -> None:
    x = torch.randn(2, 3, 32, 32)
    oto = AutoSubnet(create("demo", width=0.125, in_channels=3), x)
    oto.random_set_zero_groups(target_group_sparsity=0.5)
    subnet = oto.construct_subnet().eval()
    assert export_program(subnet, tmp_path / "subnet.pt2", x) <= 1e-5
    exported = torch.export.load(tmp_path / "subnet.pt2")
    own = sum(p.numel() for p in subnet.parameters())
    assert sum(p.numel() for p in exported.parameters()) == own


def test_a_network_that_cannot_be_exported(tmp_path: Path) -> None:
    class Deciding(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ExportError, match="Deciding cannot be exported as a program"):
        export_program(Deciding(), tmp_path / "a.pt2", torch.randn(2, 3))
    assert not list(tmp_path.iterdir())


def test_outputs_of_a_class_that_torch_does_not_know(tmp_path: Path) -> None:
    make, args = CASES["tokens"]  # returns a named tuple
    with pytest.raises(ExportError, match=r"cannot be exported as a program: NotImplementedError.*namedtuple"):
        export_program(traced(make()), tmp_path / "a.pt2", args())
    assert not list(tmp_path.iterdir())


def test_a_wrong_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = program._run
    monkeypatch.setattr(program, "_run", lambda path, inputs: [each + 1 for each in run(path, inputs)])
    with pytest.raises(ExportError, match="output 0 of the file differs from the network's by 1"):
        export_program(nn.Linear(3, 2), tmp_path / "a.pt2", torch.randn(2, 3))
    assert not list(tmp_path.iterdir())
