"""Claim: a training step with H2SPG takes about what one with SGD takes, in each of its phases.

Steps with H2SPG and with ``torch.optim.SGD(foreach=True)`` take turns; the ratios are medians over these pairs, of the
full step (forward, backward, optimizer) and of ``optimizer.step()`` alone. ResNet-50 and ViT-S take 16 images of
224x224; ResNet-18 takes 32 of 64x64, where the optimizer weighs more. OTO's optimizer (HESSO, ``only-train-once``) is
measured in the same way beside SGD, in an interpreter of its own, since it needs an older torch
(``python -m venv oto; oto/bin/pip install torch==2.4.1 torchvision==0.19.1 "numpy<2" only-train-once``); its phases but
the first need CUDA.

It ends with status 1 where a full step takes more than 1.05 times SGD's, on the two large networks more than 1.03
times, or where `step()` alone takes more than 1.5 times on those.

    python benchmarks/steps.py --oto oto/bin/python
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import nn
from torch.nn.functional import cross_entropy

from autosubnet import AutoSubnet
from autosubnet.training.measure import environment

RESULTS = Path(__file__).parent / "results" / "steps.json"
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "ResNet-18": (lambda: torchvision.models.resnet18(num_classes=10), (32, 3, 64, 64)),
    "ResNet-50": (lambda: torchvision.models.resnet50(num_classes=10), (16, 3, 224, 224)),
    "ViT-S/16": (lambda: timm.create_model("vit_small_patch16_224", num_classes=10), (16, 3, 224, 224)),
}
OPTIONS = {"momentum": 0.9, "weight_decay": 1e-4}
SKIPPED = 2  # pairs before the first that counts
OTO = """
import json, statistics, sys, time, warnings
warnings.simplefilter("ignore")
import torch, torchvision
from only_train_once import OTO
torch.set_num_threads(1)
pairs = int(sys.argv[1])
models = [torchvision.models.resnet50(num_classes=10) for _ in range(2)]
images, labels = torch.randn(16, 3, 224, 224), torch.randint(10, (16,))
hesso = OTO(models[0], images[:2]).hesso(
    variant="sgd", lr=0.01, first_momentum=0.9, weight_decay=1e-4, start_pruning_step=2 * pairs, pruning_steps=4)
sgd = torch.optim.SGD(models[1].parameters(), lr=0.01, foreach=True, momentum=0.9, weight_decay=1e-4)
alone, whole = [], []
for turn in range(pairs + 2):
    times = {}
    for model, optimizer in (zip(models, (hesso, sgd)), zip(models[::-1], (sgd, hesso)))[turn % 2]:
        start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        before = time.perf_counter()
        optimizer.step()
        times[optimizer] = time.perf_counter() - start, time.perf_counter() - before
    whole.append(times[hesso][0] / times[sgd][0])
    alone.append(times[hesso][1] / times[sgd][1])
print(json.dumps({"full": statistics.median(whole[2:]), "step": statistics.median(alone[2:])}))
"""


def timed(model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Any, Any]) -> tuple[float, float]:
    """Return the seconds of a full training step, and of the optimizer's part."""
    start = time.perf_counter()
    optimizer.zero_grad()
    cross_entropy(model(batch[0]), batch[1]).backward()
    before = time.perf_counter()
    optimizer.step()
    end = time.perf_counter()
    return end - start, end - before


def ratios(name: str, phase: str, pairs: int) -> dict[str, float]:
    """Return the median ratios in one phase of H2SPG."""
    make, shape = MODELS[name]
    torch.manual_seed(0)
    ours, plain = make(), make()
    batch = torch.randn(shape), torch.randint(10, shape[:1])
    long = SKIPPED + pairs
    warmup, projection = {"warm-up": (long, 1), "projection": (1, long), "training": (1, 1)}[phase]
    h2spg = AutoSubnet(ours, batch[0][:2]).h2spg(lr=0.01, warmup_steps=warmup, projection_steps=projection, **OPTIONS)
    sgd = torch.optim.SGD(plain.parameters(), lr=0.01, foreach=True, **OPTIONS)
    while h2spg.progress().phase != phase:
        timed(ours, h2spg, batch)
    found = []
    for turn in range(long):
        sides = [(ours, h2spg), (plain, sgd)]
        first, second = (timed(*side, batch) for side in (sides if turn % 2 else sides[::-1]))
        mine, other = (first, second) if turn % 2 else (second, first)
        found.append([a / b for a, b in zip(mine, other, strict=True)])
    full, step = (statistics.median(each) for each in zip(*found[SKIPPED:], strict=True))
    return {"full": full, "step": step}


def beside_oto(python: str | None, pairs: int) -> Any:
    """Return OTO's ratios in its first phase on ResNet-50, or why there are none."""
    if python is None:
        return "not run: no interpreter was given"
    done = subprocess.run([python, "-c", OTO, str(pairs)], capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no word"])[-1][:200]
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=11, help="pairs of steps in each phase (default %(default)s)")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--oto", help="an interpreter that has only-train-once")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file (default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = {}
    for name in arguments.models:
        pairs = arguments.pairs * (5 if name == "ResNet-18" else 1)  # its steps are short
        rows[name] = {phase: ratios(name, phase, pairs) for phase in ("warm-up", "projection", "training")}
        print(name, json.dumps(rows[name]), flush=True)
    result = {
        "command": shlex.join(["python", *sys.argv]),
        "environment": environment(),
        "timm": timm.__version__,
        "ratios": rows,
        "oto on ResNet-50, first phase": beside_oto(arguments.oto, arguments.pairs),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(json.dumps(result["oto on ResNet-50, first phase"]))
    if missed := list(misses(rows)):
        sys.exit("too slow: " + "; ".join(missed))


def misses(rows: dict[str, dict[str, dict[str, float]]]) -> Iterator[str]:
    """Yield what exceeds its limit."""
    for name, phases in rows.items():
        limits = {"full": 1.05} if name == "ResNet-18" else {"full": 1.03, "step": 1.5}
        for phase, row in phases.items():
            for what, limit in limits.items():
                if row[what] > limit:
                    yield f"{what} in {phase} on {name}: {row[what]:.4f} of {limit}"


if __name__ == "__main__":
    main()
