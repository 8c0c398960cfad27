"""Claim: capture, partition and construction cost a few forward passes.

Two tables, the first as ratios taken in the same run, since machines are noisy:

* capture and partition, and construction without verification, against eager forward passes (one thread);
* capture and partition of chains of 100 to 10,000 vertices.

It ends with status 1 where a stage takes more than three eager forwards and half a second.

    python benchmarks/speed.py
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from autosubnet import AutoSubnet
from autosubnet.training.measure import environment

RESULTS = Path(__file__).parent / "results" / "speed.json"
MODELS = ("resnet50", "densenet121", "convnext_tiny")
SIZES = (100, 300, 1000, 3000, 10000)


def seconds(function: Callable[[], Any], repeats: int) -> float:
    """Return the median wall-clock time of a call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def stages(name: str, repeats: int) -> dict[str, float]:
    """Time the stages of one torchvision model on two images of 224x224, against its eager forward."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    images = torch.randn(2, 3, 224, 224)

    @torch.no_grad()
    def forward() -> torch.Tensor:
        return model(images)

    forward()
    oto = AutoSubnet(model, images)
    oto.random_set_zero_groups(0.3)
    times = {
        "forward": seconds(forward, repeats),
        "capture_and_partition": seconds(lambda: AutoSubnet(model, images), repeats),
        "construct": seconds(lambda: oto.construct_subnet(verify=False), repeats),
    }
    for stage in ("capture_and_partition", "construct"):
        times[f"{stage}_allowed"] = 3 * times["forward"] + 0.5
    return {**times, "vertices": len(oto.graph.vertices), "groups": len(oto.groups)}


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.relu, self.second = nn.Linear(4, 4), nn.ReLU(inplace=True), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(self.relu(self.first(x)))


def chain(vertices: int) -> dict[str, float]:
    """Time capture and partition of a chain of residual blocks of four vertices each."""
    model, x = nn.Sequential(*(Block() for _ in range(vertices // 4))), torch.randn(2, 4)
    elapsed = seconds(lambda: AutoSubnet(model, x), 3 if vertices <= 1000 else 1)
    return {"vertices": vertices, "seconds": elapsed, "microseconds_a_vertex": elapsed / vertices * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="timings of each stage (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file (default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    result = {
        "command": shlex.join(["python", *sys.argv]),
        "environment": environment(),
        "stages": {name: stages(name, arguments.repeats) for name in MODELS},
        "chain": [chain(size) for size in SIZES],
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result, indent=2))
    if missed := list(misses(result)):
        sys.exit("too slow: " + "; ".join(missed))


def misses(result: dict[str, Any]) -> Iterator[str]:
    """Yield what exceeds its limit."""
    for name, row in result["stages"].items():
        for stage in ("capture_and_partition", "construct"):
            if row[stage] > row[f"{stage}_allowed"]:
                yield f"{stage} of {name}: {row[stage]:.2f} s of {row[f'{stage}_allowed']:.2f} s"


if __name__ == "__main__":
    main()
