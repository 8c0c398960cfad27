"""H2SPG inside of PyTorch Lightning, as its users write it: no callback is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as lightning
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

from autosubnet import AutoSubnet

STEPS, EPOCH = 18, 3  # Lightning resumes at the beginning of an epoch

pytestmark = [
    # Of Lightning's own making: it says how it would be faster, and calls what torch has renamed.
    pytest.mark.filterwarnings("ignore::pytorch_lightning.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.branches = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)) for _ in range(5))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.head(x + sum(branch(x) * (1 + number) for number, branch in enumerate(self.branches)))


class Task(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = Net()
        self.oto = AutoSubnet(self.net, torch.randn(4, 6))

    def training_step(self, batch: Any, _: int) -> Tensor:
        rows, labels = batch
        return cross_entropy(self.net(rows), labels)

    def configure_optimizers(self) -> Any:
        self.search = self.oto.h2spg(lr=0.05, momentum=0.9, total_steps=STEPS, selection_periods=2)
        return {
            "optimizer": self.search,
            "lr_scheduler": {"scheduler": CosineAnnealingLR(self.search, STEPS), "interval": "step"},
        }


def batches() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(EPOCH * 8, 6, generator=generator)
    return DataLoader(TensorDataset(rows, rows[:, :3].argmax(1)), batch_size=8)


def fit(folder: Path, steps: int = STEPS, resume: Path | None = None, **options: Any) -> tuple[Task, lightning.Trainer]:
    task = Task()
    trainer = lightning.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **{"enable_checkpointing": False, **options},
    )
    trainer.fit(task, batches(), ckpt_path=resume, weights_only=True)
    return task, trainer


@pytest.mark.parametrize(
    "options",
    [{}, {"precision": "bf16-mixed"}, {"gradient_clip_val": 0.1}, {"accumulate_grad_batches": 3}],
    ids=["plain", "bf16", "clipped", "accumulated"],
)
def test_a_search_ends_in_an_exact_subnet(tmp_path: Path, options: dict[str, Any]) -> None:
    task, trainer = fit(tmp_path, **options)
    assert trainer.global_step == STEPS
    progress = task.search.progress()
    assert (progress.phase, progress.step, progress.num_zero) == ("training", STEPS, 2)
    subnet = task.oto.construct_subnet()
    assert sum(p.numel() for p in subnet.parameters()) < sum(p.numel() for p in task.net.parameters())


@pytest.mark.parametrize("at", [EPOCH, 2 * EPOCH, 4 * EPOCH])
def test_a_resumed_run_ends_as_one_that_was_not_interrupted(tmp_path: Path, at: int) -> None:
    whole, _ = fit(tmp_path)
    saving = ModelCheckpoint(tmp_path, filename="last", every_n_train_steps=at)
    fit(tmp_path, at, callbacks=[saving], enable_checkpointing=True)
    resumed, _ = fit(tmp_path, resume=tmp_path / "last.ckpt")
    assert resumed.search.progress() == whole.search.progress()
    for (name, value), other in zip(whole.net.state_dict().items(), resumed.net.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
