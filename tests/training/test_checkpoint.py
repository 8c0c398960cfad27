"""A run that was killed goes on from its checkpoint as if nothing had been."""

import io
import os
import random
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from autosubnet import AutoSubnet
from autosubnet.errors import StateError
from autosubnet.training import loop

QUIET = Console(file=io.StringIO())
EPOCHS, BATCH, IMAGES = 8, 8, 40
STEPS = EPOCHS * (IMAGES // BATCH)
ABOUT = {"lr": "0.05", "seed": "0"}


class Net(nn.Module):
    """Branches to remove, batch statistics and randomness."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.2))
        self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.a(x) + self.b(x))
        return self.head(x + self.c(x))


def part() -> TensorDataset:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(IMAGES, 6, generator=generator)
    return TensorDataset(rows, (rows[:, 0] > 0).long())


def run(checkpoint: Path, *, die_at: int = -1, about: Mapping[str, str] = ABOUT) -> dict[str, Tensor]:
    """Train to the end and return all that is left; or die on the way, so that nothing can be tidied up."""
    torch.manual_seed(0)
    model = Net()
    optimizer = AutoSubnet(model, torch.randn(4, 6)).h2spg(lr=0.05, momentum=0.9, total_steps=STEPS)
    calls = iter(range(10 * STEPS))

    def status() -> str:
        if next(calls) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return ""

    epochs = loop.train(
        model,
        optimizer,
        part(),
        epochs=EPOCHS,
        batch_size=BATCH,
        status=status,
        observe=lambda: {"scores": optimizer.scores.tolist()},
        console=QUIET,
        checkpoint=checkpoint,
        about=about,
    )
    assert optimizer.progress().num_zero == 1
    history = torch.tensor([each.seen["scores"] for each in epochs])
    drawn = torch.tensor([random.random(), np.random.rand(), torch.rand(()).item()])
    return {
        **model.state_dict(),
        "losses": torch.tensor([each.loss for each in epochs]),
        "scores": optimizer.scores,
        "drawn": drawn,
        "history": history,
    }


def killed(checkpoint: Path, at: int) -> bool:
    """Run in a child that dies at a step; say whether it was killed."""
    child = os.fork()
    if child == 0:
        try:
            run(checkpoint, die_at=at)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """A forked child cannot use the threads of its parent."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of os.fork in a process with threads
def test_killed_at_ten_random_steps_it_ends_bit_for_bit_the_same(tmp_path: Path) -> None:
    expected = run(tmp_path / "whole.pt")
    points = sorted(random.Random(0).sample(range(1, STEPS), 10))
    for point in points:
        path = tmp_path / f"{point}.pt"
        assert killed(path, point)
        assert path.exists() == (point > STEPS // EPOCHS)
        assert same(run(path), expected), f"killed at step {point}"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_killed_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "again.pt"
    assert [killed(path, 7) for _ in range(5)] == [True] * 5
    assert same(run(path), run(tmp_path / "whole.pt"))


def test_a_crash_while_writing_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.pt"
    assert killed(path, 12)
    before = path.read_bytes()

    def broken(state: object, file: io.BytesIO) -> None:
        file.write(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="the disk is full"):
        run(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert same(run(path), run(tmp_path / "whole.pt"))


def test_the_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path / "run.pt")
    with pytest.raises(StateError, match=r"checkpoint of another run: lr is 0\.05 there and 0\.1 here"):
        run(tmp_path / "run.pt", about={**ABOUT, "lr": "0.1"})


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x04K\x01."])
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "run.pt"
    path.write_bytes(content)
    with pytest.raises(StateError, match="is no checkpoint of a training run"):
        run(path)
    assert path.read_bytes() == content


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (os.system, (f"touch {tmp_path / 'owned'}",))

    torch.save({"losses": Evil(), "about": ABOUT}, tmp_path / "run.pt")
    with pytest.raises(StateError, match="is no checkpoint"):
        run(tmp_path / "run.pt")
    assert not (tmp_path / "owned").exists()
