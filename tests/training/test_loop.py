"""The reference loop."""

import io

import pytest
import torch
from rich.console import Console
from torch import nn
from torch.utils.data import TensorDataset

from autosubnet.errors import InputError
from autosubnet.training import loop

QUIET = Console(file=io.StringIO())


@pytest.fixture
def part() -> TensorDataset:
    """Two classes that one pixel tells apart."""
    torch.manual_seed(0)
    images = torch.randn(50, 1, 4, 4)
    return TensorDataset(images, (images[:, 0, 0, 0] > 0).long())


def make_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))


def fit(part: TensorDataset, seed: int = 0, epochs: int = 12) -> tuple[nn.Module, torch.optim.SGD, list[float]]:
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    epochs_done = loop.train(model, optimizer, part, epochs=epochs, batch_size=16, seed=seed, console=QUIET)
    return model, optimizer, [each.loss for each in epochs_done]


def test_learns_and_anneals_the_learning_rate(part: TensorDataset) -> None:
    model, optimizer, losses = fit(part)
    assert len(losses) == 12
    assert losses[-1] < 0.2 * losses[0]
    assert loop.accuracy(model, part) > 0.95
    assert optimizer.param_groups[0]["lr"] < 1e-6


def test_same_seed_same_weights(part: TensorDataset) -> None:
    first, again, other = (fit(part, seed, epochs=2)[0][1].weight for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_progress_shows_title_loss_and_status(part: TensorDataset) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    model = make_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    calls = iter(range(100))
    done = loop.train(
        model, optimizer, part, epochs=2, batch_size=25, title="fit", console=console,
        status=lambda: f"call {next(calls)}",
    )  # fmt: skip
    shown = screen.getvalue()
    assert "fit" in shown
    assert f"loss {done[-1].loss:.3f}" in shown
    assert "call 4" in shown


def test_counts_whole_batches_only(part: TensorDataset) -> None:
    assert loop.num_steps(part, batch_size=16, epochs=3) == 9
    seen: list[int] = []

    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = make_model()

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(len(images))
            return self.inner(images)

    model = Watch()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loop.train(model, optimizer, part, epochs=3, batch_size=16, console=QUIET)
    assert seen == [16] * 9


@pytest.mark.parametrize(
    ("batch_size", "epochs", "message"),
    [(51, 1, "between 1 and the 50 images"), (0, 1, "batch size is 0"), (8, 0, "at least one epoch, got 0")],
)
def test_refuses_nothing_to_train_on(part: TensorDataset, batch_size: int, epochs: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        loop.num_steps(part, batch_size, epochs)


def test_refuses_a_batch_that_the_processes_cannot_share(part: TensorDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is trained; one that they can share is."""
    monkeypatch.setattr(loop.Accelerator, "num_processes", 3)
    model = make_model()
    before = [parameter.clone() for parameter in model.parameters()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(InputError, match=r"batch size is 16, which 3 processes cannot share"):
        loop.train(model, optimizer, part, epochs=1, batch_size=16, console=QUIET)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    monkeypatch.setattr(loop.Accelerator, "num_processes", 4)
    assert len(loop.train(model, optimizer, part, epochs=1, batch_size=16, console=QUIET)) == 1


@pytest.mark.parametrize("training", [True, False])
def test_accuracy_counts_in_eval_mode_and_keeps_the_mode(training: bool) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.9), nn.Linear(2, 2, bias=False)).train(training)
    model[2].weight.data = torch.eye(2)
    images = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]).reshape(4, 1, 1, 2)
    assert loop.accuracy(model, TensorDataset(images, torch.tensor([0, 1, 0, 0])), batch_size=3) == 0.75
    assert model.training is training
