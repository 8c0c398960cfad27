"""The main job in pieces; the whole of it is tested through the command line."""

import io

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from autosubnet.errors import InputError
from autosubnet.training import data, experiment
from autosubnet.training.settings import Settings

QUIET = Console(file=io.StringIO())
DIGITS = data.load("digits")


class TwoBranches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.left, self.right = (nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)) for _ in range(2))
        self.head = nn.Linear(4 * 64, 10)

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images).relu()
        return self.head((self.left(stem) + self.right(stem)).relu().flatten(1))


def test_demo_is_built_for_the_data() -> None:
    settings = Settings(width=0.125)
    model, images = experiment.build(settings, DIGITS)
    assert model(images.train.tensors[0][:2]).shape == (2, 10)
    assert images is DIGITS


def test_zoo_models_get_three_channels_and_the_right_classes() -> None:
    model, images = experiment.build(Settings("timm:resnet10t"), DIGITS)
    assert images.shape == (3, 8, 8)
    assert model.eval()(images.train.tensors[0][:1].contiguous().repeat(1, 1, 4, 4)).shape == (1, 10)


def test_same_seed_same_weights() -> None:
    first, again, other = (
        experiment.build(Settings(width=0.125, seed=seed), DIGITS)[0].conv1.conv.weight for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_search_trains_zeroes_half_and_constructs_the_same_network() -> None:
    torch.manual_seed(0)
    model = TwoBranches()
    found = experiment.search(model, DIGITS, Settings(epochs=2, batch_size=128), QUIET)
    assert len(found.removed) == 1
    branch = getattr(model, found.removed[0])
    assert all(not parameter.any() for parameter in branch.parameters())
    assert found.epochs[-1].loss < found.epochs[0].loss
    images = DIGITS.test.tensors[0][:20].double()
    model.double().eval()
    with torch.no_grad():
        assert torch.allclose(model(images), found.subnet.double().eval()(images), atol=1e-12)
    assert found.report.num_params[1] < found.report.num_params[0]


def test_a_model_without_removable_operators_is_just_trained() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    found = experiment.search(model, DIGITS, Settings(epochs=2, batch_size=128), QUIET)
    assert found.removed == ()
    assert found.report.num_params == (64 * 32 + 32 + 330, 64 * 32 + 32 + 330)
    assert found.epochs[-1].loss < found.epochs[0].loss


def test_mistakes_are_found_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autosubnet.training.loop.train", lambda *_, **__: pytest.fail("training has begun"))
    with pytest.raises(InputError, match=r"target_group_sparsity is 1\.5"):
        experiment.search(TwoBranches(), DIGITS, Settings(sparsity=1.5), QUIET)
