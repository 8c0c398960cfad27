"""The loop over weights and paths: what it computes, what it refuses, and that it goes on where it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

from autosubnet import AutoSubnet
from autosubnet.errors import InputError, StateError
from autosubnet.optim import AdamHAPG, second_order_gradient
from autosubnet.training.data import ImageData
from autosubnet.training.path_images import ImagePaths
from autosubnet.training.path_loop import Epoch, Search, search_paths
from autosubnet.training.path_problem import Paths
from autosubnet.training.path_settings import PathSettings
from autosubnet.training.path_view import weight_table

SETTINGS = PathSettings(epochs=3, batch_size=8, path_lr=0.02, lambda_step=0.05)


class Net(nn.Module):
    """Three ways into a sum, with batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8))
        self.a, self.b = (nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8, affine=False)) for _ in range(2))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        return self.head(x + self.a(x) + self.b(x))


def part(count: int = 48) -> TensorDataset:
    rows = torch.randn(count, 6, generator=torch.Generator().manual_seed(0))
    return TensorDataset(rows, (rows[:, 0] > 0).long())


def problem(settings: PathSettings) -> ImagePaths:
    torch.manual_seed(0)
    oto = AutoSubnet(Net(), torch.randn(4, 6), architecture_weights=True)
    data = ImageData("rows", part(), part(8), 2)
    return ImagePaths(oto.model, Paths(oto.paths, {}), data, settings.batch_size, settings.seed, "rows")


def found(settings: PathSettings, checkpoint: Path | None = None) -> tuple[dict[str, Tensor], list[Epoch]]:
    searched = problem(settings)
    _, epochs = search_paths(searched, settings, checkpoint=checkpoint)
    return dict(searched.model.state_dict()), epochs


@pytest.mark.parametrize("order", ["first", "second"])
def test_against_a_loop_written_out(order: str) -> None:
    """Two epochs of three steps in which nothing is random but the order, by hand."""
    settings = replace(SETTINGS, epochs=2, order=order)
    state, epochs = found(settings)
    written = problem(settings)
    model, groups = written.model.train(), written.paths.groups
    names = [piece.name for group in groups for piece in group.slices]
    places = torch.randperm(48, generator=torch.Generator().manual_seed(settings.seed))
    order_of = torch.Generator().manual_seed(settings.seed)
    halves = [TensorDataset(*(each[half] for each in part().tensors)) for half in places.tensor_split(2)]
    loaders = [
        torch.utils.data.DataLoader(half, 8, shuffle=True, drop_last=True, generator=order_of) for half in halves
    ]
    weights = [p for name, p in model.named_parameters() if name not in names]
    sgd = torch.optim.SGD(weights, 0.025, momentum=0.9, weight_decay=3e-4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 6)
    architecture = AdamHAPG(model, groups, lr=0.02, lam=0.0, alpha=0.5)

    def loss(network, batch):
        return cross_entropy(network(batch[0]), batch[1])

    for epoch in range(2):
        architecture.param_groups[0]["lam"] = 0.05 * epoch
        for seen, unseen in zip(*loaders, strict=False):  # as a sampler draws once more when it is exhausted
            gamma = sgd.param_groups[0]["lr"] if order == "second" else 0.0
            for name, g in second_order_gradient(model, loss, names, seen, unseen, gamma=gamma).items():
                model.get_parameter(name).grad = g
            architecture.step()
            sgd.zero_grad()
            loss(model, seen).backward()
            nn.utils.clip_grad_norm_(weights, 5.0)
            sgd.step()
            cosine.step()
    assert epochs[1].lam == 0.05
    for name, value in model.named_parameters():
        assert torch.allclose(state[name], value, rtol=1e-5, atol=1e-6), name


def test_a_strong_penalty_takes_paths_and_nodes() -> None:
    _, mild = found(SETTINGS)
    _, strong = found(replace(SETTINGS, lambda_step=5.0))
    assert [each.lam for each in strong] == [0.0, 5.0, 10.0]
    assert mild[-1].zero_paths == 0 < strong[-1].zero_paths == strong[-1].num_paths == 3
    assert len(strong[-1].zero_nodes) == 1


@pytest.mark.parametrize(
    ("supernet", "given", "expected"),
    [("darts", None, 0), ("demo", None, 2), ("demo", 0, 0), ("darts", 4, 4)],
)
def test_the_warm_up_is_shorter_than_the_search(supernet: str, given: int | None, expected: int) -> None:
    """Of nine steps; a strong penalty takes all paths from the first step on that has one."""
    settings = replace(SETTINGS, supernet=supernet, warmup_steps=given, lambda_step=50.0)
    search = Search.start(problem(settings), settings)
    assert search.architecture.param_groups[0]["warmup_steps"] == expected
    _, epochs = found(settings)
    assert [each.lam for each in epochs] == [0.0, 50.0, 100.0]
    assert epochs[-1].zero_paths == 3


def test_in_the_warm_up_there_is_no_penalty() -> None:
    _, epochs = found(replace(SETTINGS, warmup_steps=6, lambda_step=50.0))
    assert [each.lam for each in epochs] == [0.0, 0.0, 100.0]
    assert [each.zero_paths for each in epochs] == [0, 0, 3]


def test_a_long_search_has_the_warm_up_of_the_optimizers() -> None:
    settings = replace(SETTINGS, supernet="demo", epochs=1000)
    assert Search.start(problem(settings), settings).architecture.param_groups[0]["warmup_steps"] == 100


@pytest.mark.parametrize("method", ["hapg", "adamhapg"])
def test_from_a_checkpoint_it_goes_on_bit_for_bit(method: str, tmp_path: Path) -> None:
    settings = replace(SETTINGS, method=method)
    expected, epochs = found(settings)

    class KilledError(Exception):
        """In the second epoch."""

    def die(done: list[Epoch], step: int) -> None:
        if step == 5:
            raise KilledError

    with pytest.raises(KilledError):
        search_paths(problem(settings), settings, watch=die, checkpoint=tmp_path / "run.pt")
    state, again = found(settings, tmp_path / "run.pt")
    assert again == epochs
    assert all(torch.equal(state[name], value) for name, value in expected.items())
    with pytest.raises(StateError, match=r"another run: alpha is 0\.5 there and 0\.9 here"):
        found(replace(settings, alpha=0.9), tmp_path / "run.pt")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(SETTINGS, method="adam"), "The method is one of hapg, adamhapg, got 'adam'"),
        (replace(SETTINGS, order="third"), "The order is one of first, second, got 'third'"),
        (replace(SETTINGS, batch_size=25), "between 1 and the 24 images of each half"),
        (replace(SETTINGS, epochs=0), "at least one epoch"),
        (replace(SETTINGS, warmup_steps=9), "warmup_steps is 9, but the whole search has 9 steps"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: PathSettings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        found(settings)


def test_what_a_genotype_needs_shows_before_the_search() -> None:
    with pytest.raises(InputError, match=r"got reduce; create the supernet with .* at least 3 cells"):
        ImagePaths.build(replace(SETTINGS, cells=2, channels=2))


def test_the_view_shows_every_weight() -> None:
    matrix = Epoch(0.1, 1.0, 0.5, {"a": [[1.0, -0.5], [0.0, 0.1]]}, ())
    assert [list(column.cells) for column in weight_table(matrix).columns][1][0].plain == "█▅"
    assert list(weight_table(matrix).columns[1].cells)[1].plain == "·▁"
    scalars = Epoch(0.1, 1.0, 0.5, {"p.add.0": 0.0, "p.add.1": 2.0, "p.cat.0": 1.0}, ())
    table = weight_table(scalars)
    assert [cell.plain for cell in table.columns[0].cells] == ["p.add", "p.cat"]
    assert [cell.plain for cell in table.columns[1].cells] == ["·█", "▅"]
