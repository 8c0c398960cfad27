"""Several processes: all choose the same groups, as one process with the same batches does."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from autosubnet import AutoSubnet
from autosubnet.errors import BudgetError, StateError
from autosubnet.optim import H2SPG

STEPS, BATCH = 12, 16


class Net(nn.Module):
    """Branches of different use, without batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8))
        self.branches = nn.ModuleList(nn.Linear(8, 8) for _ in range(5))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.head(x + sum(branch(x) * (1 + number) for number, branch in enumerate(self.branches)))


class Joined(nn.Module):
    """Blocks side by side behind which a norm has a slice for each: groups hold parts of parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Conv1d(1, 3, 3, padding=1) for _ in range(4))
        self.norm, self.head = nn.InstanceNorm1d(12, affine=True), nn.Conv1d(12, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(torch.cat([block(x.unsqueeze(1)) for block in self.blocks], 1))
        return self.head(x).square().mean(2)


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        rows = torch.randn(BATCH, 6, generator=generator, dtype=torch.float64)
        yield rows, rows[:, :3].argmax(1)


def train(kind: type[nn.Module] = Net, **options: Any) -> dict[str, Any]:
    """Train on this process's share of each batch; return the choice, the scores and the weights."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    torch.manual_seed(0)
    net = kind().double()
    oto = AutoSubnet(net, torch.randn(4, 6, dtype=torch.float64))
    optimizer = made(oto, **options)
    model = DistributedDataParallel(net) if world > 1 else net
    for rows, labels in batches():
        optimizer.zero_grad()
        cross_entropy(model(rows[rank::world]), labels[rank::world]).backward()
        optimizer.step()
    return {
        "chosen": optimizer.progress().chosen,
        "zero": optimizer.progress().num_zero,
        "scores": optimizer.scores,
        "weights": net.state_dict(),
    }


def made(oto: AutoSubnet, **options: Any) -> H2SPG:
    momentum = {} if "variant" in options else {"momentum": 0.9}
    assert any(part.indices for group in oto.groups for part in group.slices) == isinstance(oto.model, Joined)
    return oto.h2spg(lr=0.05, total_steps=STEPS, **momentum, **options)


def train_split(kind: type[nn.Module] = Net, **options: Any) -> dict[str, Any]:
    """As ``train``, with every parameter split over the processes (FSDP2)."""
    torch.manual_seed(0)
    net = kind().double()
    oto = AutoSubnet(net, torch.randn(4, 6, dtype=torch.float64))
    model = copy.deepcopy(net)
    for each in (*next(m for m in model.children() if isinstance(m, nn.ModuleList)), model):
        fully_shard(each)
    optimizer = made(oto, model=model, **options)
    for rows, labels in batches():
        optimizer.zero_grad()
        mine = slice(dist.get_rank(), None, dist.get_world_size())
        cross_entropy(model(rows[mine]), labels[mine]).backward()
        optimizer.step()
    net.load_state_dict(get_model_state_dict(model, options=StateDictOptions(full_state_dict=True)))
    subnet = oto.construct_subnet()
    return {
        "chosen": optimizer.progress().chosen,
        "zero": optimizer.progress().num_zero,
        "scores": optimizer.scores,
        "weights": net.state_dict(),
        "left": sum(parameter.numel() for parameter in subnet.parameters()),
    }


def split_by_rank(**options: Any) -> Callable[[], Any]:
    return lambda: train_split(**options)


def by_rank(**options: Any) -> Callable[[], Any]:
    return lambda: train(**options)


def diverging() -> Any:
    """Without DistributedDataParallel each process goes its own way."""
    torch.manual_seed(dist.get_rank())
    net = Net()
    optimizer = AutoSubnet(net, torch.randn(4, 6)).h2spg(lr=0.05, total_steps=STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        net(torch.randn(4, 6)).square().mean().backward()
        optimizer.step()


def measured() -> Any:
    """Latency differs from process to process; the choice does not."""
    seconds = 1.0 + dist.get_rank()
    return train(target_latency=13.0, latency=lambda network: seconds * len(list(network.parameters())))


def failing() -> Any:
    """Feasible when asked for first, on all; later on none, as only process 0 finds out."""
    calls: list[int] = []

    def cost(network: nn.Module) -> float:
        calls.append(1)
        return 1.0 if len(calls) == 1 else 10.0

    return train(target_latency=5.0, latency=cost)


def _process(rank: int, world: int, folder: str, work: Callable[[], Any]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    try:
        result = work()
    except Exception as error:  # noqa: BLE001  # told to the test
        result = f"{type(error).__name__}: {error}"
    torch.save(result, Path(folder, f"{rank}.pt"))
    dist.barrier()
    dist.destroy_process_group()


def results(world: int, folder: Path, work: Callable[[], Any]) -> list[Any]:
    """Run ``work`` in several processes and return what each returned, or the error it raised."""
    mp.start_processes(_process, (world, str(folder), work), nprocs=world, start_method="fork")
    return [torch.load(folder / f"{rank}.pt") for rank in range(world)]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A forked child cannot use the threads of its parent."""
    monkeypatch.setitem(os.environ, "OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of os.fork in a process with threads
@pytest.mark.parametrize("world", [2, 4])
def test_every_process_ends_with_the_same_network_as_a_single_one(world: int, tmp_path: Path) -> None:
    alone = train()
    together = results(world, tmp_path, by_rank())
    assert alone["zero"] == len(alone["chosen"]) == 2
    for each in together:
        assert each["chosen"] == alone["chosen"]
        assert torch.equal(each["scores"], together[0]["scores"])
        torch.testing.assert_close(each["scores"], alone["scores"], rtol=1e-9, atol=1e-9)
        for name, weight in each["weights"].items():
            assert torch.equal(weight, together[0]["weights"][name])
            assert torch.equal(weight == 0, alone["weights"][name] == 0)
            torch.testing.assert_close(weight, alone["weights"][name], rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize(
    "options",
    [{}, {"variant": "adamw"}, {"target_num_params": 300}, {"kind": Joined}, {"selection_periods": 2}],
    ids=str,
)
def test_split_parameters_end_as_whole_ones(world: int, options: dict[str, Any], tmp_path: Path) -> None:
    alone = train(**options)
    together = results(world, tmp_path, split_by_rank(**options))
    assert alone["zero"] == len(alone["chosen"]) > 0
    for each in together:
        assert not isinstance(each, str), each
        assert each["chosen"] == alone["chosen"]
        assert each["left"] < sum(weight.numel() for weight in alone["weights"].values())
        for name, weight in each["weights"].items():
            assert torch.equal(weight == 0, alone["weights"][name] == 0)
            torch.testing.assert_close(weight, alone["weights"][name], rtol=1e-7, atol=1e-9)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_process_that_goes_its_own_way_is_an_error_on_all(tmp_path: Path) -> None:
    for message in results(2, tmp_path, diverging):
        assert message.startswith(StateError.__name__)
        assert "redundancy scores of processes [1] differ from those of process 0" in message
        assert "DistributedDataParallel" in message


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_measured_on_the_first_process_decides(tmp_path: Path) -> None:
    first, second = results(2, tmp_path, measured)
    assert first["chosen"] == second["chosen"] != ()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_choice_that_fails_fails_on_all(tmp_path: Path) -> None:
    for message in results(2, tmp_path, failing):
        assert message.startswith(BudgetError.__name__)
