"""Claim: on all of Fashion-MNIST, a search with H2SPG ends with about half of DemoSupNet, at its accuracy.

For every seed the same supernet is trained twice from the same weights, with the same batches, epochs and
options: with plain SGD (the baseline), and with H2SPG at a group sparsity of one half. The row to compare
with is the first of Table 1 of OTOv3: 0.45 of 0.82 M parameters, 107 of 209 M multiply-adds, 84.7 % against
84.9 %, there at full width.

    python benchmarks/fashion_mnist.py --data-dir /usr/share/datasets/fashion-mnist
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import TensorDataset

from autosubnet.training import experiment, loop, measure
from autosubnet.training.data import ImageData, load
from autosubnet.training.settings import Settings

WIDTH = 0.125
EPOCHS = 6
SEEDS = (0, 1, 2)
NUMBERS = ("num_params", "multiply_adds", "accuracy")
RESULTS = Path(__file__).parent / "results" / "fashion_mnist.json"

Cost = dict[str, Any]


def train_baseline(data: ImageData, settings: Settings) -> Cost:
    model, data = experiment.build(settings, data)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=settings.lr, momentum=experiment.MOMENTUM, weight_decay=experiment.WEIGHT_DECAY
    )
    title = f"baseline, seed {settings.seed}"
    start = time.perf_counter()
    loop.train(
        model, optimizer, data.train, epochs=settings.epochs, batch_size=settings.batch_size,
        seed=settings.seed, title=title,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    return {**cost(model.cpu(), data), "seconds": seconds}


def train_search(data: ImageData, settings: Settings) -> dict[str, Cost]:
    model, data = experiment.build(settings, data)
    found = experiment.search(model, data, settings)
    subnet = {
        **cost(found.subnet, data),
        "removed": found.removed,
        "num_groups": len(found.oto.groups),
        "max_difference": found.report.max_difference,
        "relative_difference": found.report.relative_difference,
        "dtype": found.report.dtype,
    }
    return {"search supernet": {**cost(model, data), "seconds": found.seconds}, "subnet": subnet}


def cost(model: torch.nn.Module, data: ImageData) -> Cost:
    images = data.test.tensors[0][:1]
    return {
        "num_params": measure.num_params(model),
        "multiply_adds": measure.multiply_adds(model, images),
        "accuracy": loop.accuracy(model, data.test),
    }


def summarise(runs: list[dict[str, Cost]]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean and sample standard deviation over the seeds."""
    return {network: {name: spread([run[network][name] for run in runs]) for name in NUMBERS} for network in runs[0]}


def spread(values: list[float]) -> dict[str, float]:
    return {"mean": statistics.mean(values), "stdev": statistics.stdev(values)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="where the files of Fashion-MNIST are")
    parser.add_argument("--width", type=float, default=WIDTH, help="factor on the channels (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each training (default %(default)s)")
    parser.add_argument("--images", type=int, help="train on the first so many images only, for a trial")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file (default %(default)s)")
    arguments = parser.parse_args()

    data = load("fashion-mnist", arguments.data_dir)
    data = replace(data, train=TensorDataset(*(part[: arguments.images] for part in data.train.tensors)))
    settings = Settings(data="fashion-mnist", epochs=arguments.epochs, width=arguments.width, batch_size=128, lr=0.1)
    start = time.perf_counter()
    runs = []
    for seed in SEEDS:
        seeded = replace(settings, seed=seed)
        runs.append({"baseline": train_baseline(data, seeded), **train_search(data, seeded)})
    result = {
        "command": shlex.join(["python", *sys.argv]),
        "environment": measure.environment(),
        "settings": {"width": settings.width, "epochs": settings.epochs, "batch_size": settings.batch_size,
                     "lr": settings.lr, "sparsity": settings.sparsity, "images": len(data.train)},
        "seeds": dict(zip(map(str, SEEDS), runs, strict=True)),
        "summary": summarise(runs),
        "largest_difference": max(run["subnet"]["max_difference"] for run in runs),
        "seconds": time.perf_counter() - start,
    }  # fmt: skip
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    for network, numbers in result["summary"].items():
        accuracy = numbers["accuracy"]
        print(
            f"{network:16} {numbers['num_params']['mean']:10,.0f} parameters"
            f" {numbers['multiply_adds']['mean'] / 1e6:8.2f} M multiply-adds"
            f"  {accuracy['mean']:.2%} ± {accuracy['stdev']:.2%}"
        )


if __name__ == "__main__":
    main()
