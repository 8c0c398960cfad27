"""Claim: at equal FLOPs and epochs, the subnet that H2SPG finds loses less accuracy than what else one could take.

Everybody starts from the same weights of a seed, sees the same batches in the same order for the same number of epochs,
with SGD, a cosine schedule and the same learning rate, and has to end at a budget of FLOPs:

* ``H2SPG``: all groups chosen after the warm-up; ``H2SPG, 3 periods``: chosen part by part;
* ``magnitude``, ``Taylor``, ``random``: the same training, with groups chosen by another score;
* ``scratch``: the subnet of ``H2SPG``, trained from new weights for the same number of epochs;
* ``HESSO's rule``: see ``baselines.py``;
* ``Torch-Pruning``: half of the epochs with the group-norm regularisation, channels pruned to the budget, the rest.

A result is added to the file as soon as it is there, and a run goes on where another stopped.

    pip install torch-pruning
    python benchmarks/peers.py --data-dir DIR                                 # reduced: three hours on two cores
    python benchmarks/peers.py --data-dir DIR --images 60000 --epochs 100 --width 1.0   # full, for a GPU
"""

from __future__ import annotations

import argparse
import copy
import json
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
import torch_pruning
from accelerate.utils import set_seed
from baselines import GroupNormSGD, Hesso, group_norm_pruner
from torch import nn
from torch.utils.data import TensorDataset

from autosubnet import AutoSubnet
from autosubnet.optim.saliency import magnitude_score, random_score, redundancy_score, taylor_score
from autosubnet.optim.target import Target
from autosubnet.selection import Selection
from autosubnet.supernets import create
from autosubnet.training import loop, measure
from autosubnet.training.data import ImageData, load

RESULTS = Path(__file__).parent / "results" / "peers.json"
BUDGETS = (0.7, 0.5, 0.3)
SEEDS = (0, 1, 2)
OPTIONS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
BATCH = 128
CHANNELS = (16, 32, 64, 128)


@dataclass(frozen=True)
class Task:
    """One network to make: from which, on what, how long, how small."""

    make: Callable[[], nn.Module]
    data: ImageData
    epochs: int
    seed: int
    budget: float

    def fresh(self) -> nn.Module:
        set_seed(self.seed)
        return self.make()

    def train(self, model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int | None = None) -> None:
        loop.train(
            model, optimizer, self.data.train, epochs=epochs or self.epochs, batch_size=BATCH, seed=self.seed,
            title=f"seed {self.seed}, {self.budget:.0%}",
        )  # fmt: skip

    @property
    def steps(self) -> int:
        return loop.num_steps(self.data.train, BATCH, self.epochs)

    @property
    def images(self) -> torch.Tensor:
        return self.data.train.tensors[0][:8]


def h2spg(task: Task, score: Any = redundancy_score, periods: int = 1) -> nn.Module:
    oto = AutoSubnet(task.fresh(), task.images)
    limit = task.budget * oto.compute_costs()["flops"]
    score = score(task.seed) if score is random_score else score
    optimizer = oto.h2spg(total_steps=task.steps, target_flops=limit, score=score, selection_periods=periods, **OPTIONS)
    task.train(oto.model, optimizer)
    return oto.construct_subnet()


def scratch(task: Task) -> nn.Module:
    subnet = h2spg(task)
    set_seed(1000 + task.seed)
    for module in subnet.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    task.train(subnet, torch.optim.SGD(subnet.parameters(), **OPTIONS))
    return subnet


def hesso(task: Task) -> nn.Module:
    oto = AutoSubnet(task.fresh(), task.images)
    target = Target(flops=task.budget * oto.compute_costs()["flops"])
    select = Selection(oto._view, oto.groups, oto._validity)
    quarter = task.steps // 4
    optimizer = Hesso(oto.model, oto.groups, lambda scores: select(scores, target), quarter, quarter, **OPTIONS)
    task.train(oto.model, optimizer)
    return oto.construct_subnet()


def torch_pruning_group_norm(task: Task) -> nn.Module:
    model = task.fresh()
    limit = task.budget * measure.multiply_adds(model, task.images)
    pruner = group_norm_pruner(model, task.images)
    first = task.epochs // 2
    task.train(model, GroupNormSGD(model, pruner, **OPTIONS), first)
    while measure.multiply_adds(model, task.images) > limit:
        pruner.step()
    task.train(model, torch.optim.SGD(model.parameters(), **OPTIONS), task.epochs - first)
    return model


CONTESTANTS: dict[str, Callable[[Task], nn.Module]] = {
    "H2SPG": h2spg,
    "H2SPG, 3 periods": partial(h2spg, periods=3),
    "magnitude": partial(h2spg, score=magnitude_score),
    "Taylor": partial(h2spg, score=taylor_score),
    "random": partial(h2spg, score=random_score),
    "scratch": scratch,
    "HESSO's rule": hesso,
    "Torch-Pruning": torch_pruning_group_norm,
}


def whole(task: Task) -> nn.Module:
    """The supernet itself, with plain SGD."""
    model = task.fresh()
    task.train(model, torch.optim.SGD(model.parameters(), **OPTIONS))
    return model


def row(network: nn.Module, data: ImageData, seconds: float) -> dict[str, float]:
    return {
        "accuracy": loop.accuracy(network, data.test),
        "num_params": measure.num_params(network),
        "multiply_adds": measure.multiply_adds(network, data.test.tensors[0][:1]),
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist", help="digits or fashion-mnist (default %(default)s)")
    parser.add_argument("--data-dir", type=Path, help="where the files of Fashion-MNIST are")
    parser.add_argument("--images", type=int, default=10_000, help="train on the first so many (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=8, help="of each training (default %(default)s)")
    parser.add_argument("--width", type=float, default=0.125, help="of both supernets (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file (default %(default)s)")
    arguments = parser.parse_args()
    data = load(arguments.data, arguments.data_dir)
    data = replace(data, train=TensorDataset(*(part[: arguments.images] for part in data.train.tensors)))
    channels = [round(8 * arguments.width * each) for each in CHANNELS]
    sizes = {"num_classes": data.num_classes}
    makes: dict[str, Callable[[], nn.Module]] = {
        "DemoSupNet": partial(create, "demo", width=arguments.width, in_channels=1, **sizes),
        "ResNet-18": partial(timm.create_model, "resnet18", channels=channels, in_chans=1, **sizes),
    }
    settings = {"images": len(data.train), "epochs": arguments.epochs, "width": arguments.width, "data": arguments.data}
    result: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "environment": measure.environment(),
        "versions": {"timm": timm.__version__, "torch_pruning": torch_pruning.__version__},
        "settings": settings,
        "runs": {},
    }
    if arguments.out.exists():
        before = json.loads(arguments.out.read_text("utf-8"))
        if before["settings"] != settings:
            sys.exit(f"{arguments.out} holds runs with other settings: {before['settings']}")
        result["runs"] = before["runs"]
    work = [
        (f"{network}, {name}, {budget:.0%}, seed {seed}", run, Task(make, data, arguments.epochs, seed, budget))
        for seed in SEEDS
        for network, make in makes.items()
        for budget, names in ((1.0, {"supernet": whole}), *((each, CONTESTANTS) for each in BUDGETS))
        for name, run in names.items()
    ]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for key, run, task in work:
        if key in result["runs"]:
            continue
        start = time.perf_counter()
        network = copy.deepcopy(run(task)).cpu()
        result["runs"][key] = row(network, data, time.perf_counter() - start)
        arguments.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
        print(key, f"{result['runs'][key]['accuracy']:.2%}", flush=True)


if __name__ == "__main__":
    main()
