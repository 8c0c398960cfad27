"""Running statistics of norms are those of the network as it is."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from autosubnet.export import load as load_subnet
from autosubnet.training import path_experiment
from autosubnet.training.data import ImageData, load
from autosubnet.training.path_images import ImagePaths
from autosubnet.training.path_loop import search_paths
from autosubnet.training.path_problem import Paths
from autosubnet.training.path_settings import PathSettings
from autosubnet.training.statistics import recalibrate

from .test_path_loop import SETTINGS, part, problem

SEARCH = PathSettings("demo", epochs=3, path_lr=0.02, seed=1)


def test_eval_mode_is_as_good_as_the_statistics_of_a_batch(tmp_path: Path) -> None:
    """Of the supernet after each epoch, and of the network that inherits its weights; stale ones made it guess."""
    result = path_experiment.run(SEARCH, tmp_path, "a test")
    images, labels = load("digits").test.tensors
    network = load_subnet(tmp_path / "subnet").train()
    with torch.no_grad():
        by_batch = (network(images).argmax(1) == labels).float().mean().item()
    assert by_batch > 0.9
    assert all(abs(score - by_batch) <= 0.05 for score in result.score)
    assert result.score[0] == result.score[1] == json.loads((tmp_path / "result.json").read_text("utf-8"))["score"][1]
    assert abs(result.epochs[-1].score - by_batch) <= 0.05


def test_they_are_averages_over_batches() -> None:
    searched = problem(SETTINGS)
    search_paths(searched, SETTINGS)
    searched.model.eval()
    norm = next(each for each in searched.model.modules() if isinstance(each, nn.BatchNorm1d))
    layer = next(each for each in searched.model.modules() if isinstance(each, nn.Linear) and each.in_features == 6)
    norm.running_mean.fill_(7.0)
    parameters = [p.detach().clone() for p in searched.model.parameters()]
    order, drawn = torch.Generator().manual_seed(0), torch.get_rng_state()
    batches = [seen[0] for seen, _ in searched.batches(order, torch.device("cpu"))]
    recalibrate(searched)
    outputs = torch.stack([layer(each) for each in batches])
    assert torch.allclose(norm.running_mean, outputs.mean((0, 1)), atol=1e-6)
    assert torch.allclose(norm.running_var, outputs.var(1).mean(0), atol=1e-6)
    assert all(map(torch.equal, parameters, searched.model.parameters()))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert norm.momentum == 0.1
    assert not searched.model.training


class Frozen(nn.Module):
    """Keeps its norm in eval mode, as is done in fine-tuning."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head = nn.BatchNorm1d(6), nn.Linear(6, 2)
        self.norm.running_mean.fill_(0.5)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x))


def test_norms_that_are_kept_in_eval_mode_stay() -> None:
    model = Frozen()
    recalibrate(ImagePaths(model, Paths((), {}), ImageData("rows", part(), part(8), 2), 8, 0, "rows"))
    assert (model.norm.running_mean == 0.5).all()
