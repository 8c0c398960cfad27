"""Claim: optimizers without the hierarchy end in networks that ignore their input; H2SPG never does (Section 3.2).

H2SPG against DHSPG (the same without the hierarchy), HSPG, proximal stochastic gradient and an ADMM of ours, on the
supernets of the paper that are here: share of runs that end in a valid subnet, group sparsity, accuracy of the network
with its zeros. H2SPG, DHSPG and ADMM are asked for the same share of the groups; the other two have no target, only a
strength of their penalty, and are run with each of three. A row is added to the file as soon as it is there, and a run
goes on where another stopped.

    pip install torch-pruning
    python benchmarks/ablation.py
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from baselines import HSPG, Admm, ProxSG

from autosubnet import AutoSubnet
from autosubnet.errors import BudgetError
from autosubnet.supernets import create
from autosubnet.training import loop
from autosubnet.training.data import ImageData, load
from autosubnet.training.measure import environment

RESULTS = Path(__file__).parent / "results" / "ablation.json"
SUPERNETS: dict[str, dict[str, Any]] = {
    "demo": {"width": 0.125},
    "stacked_unets": {"width": 0.25},
    "super_resnet": {"width": 0.125},
    "darts": {"channels": 4, "cells": 3},
}
SPARSITIES = (0.5, 0.8)
STRENGTHS = (1e-2, 3e-2, 1e-1)
OPTIONS = {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
BATCH = 64

Make = Callable[[AutoSubnet, int], torch.optim.Optimizer]


def optimizers(share: float) -> dict[str, Make]:
    """Return the optimizers that are asked for a share of the groups."""

    def admm(oto: AutoSubnet, steps: int) -> torch.optim.Optimizer:
        return Admm(oto.model, oto.groups, int(share * len(oto.groups)), every=max(1, steps // 10), **OPTIONS)

    return {
        f"H2SPG, {share:.0%}": lambda oto, steps: oto.h2spg(total_steps=steps, target_group_sparsity=share, **OPTIONS),
        f"DHSPG, {share:.0%}": lambda oto, steps: oto.dhspg(total_steps=steps, target_group_sparsity=share, **OPTIONS),
        f"ADMM, {share:.0%}": admm,
    }


def without_target(lam: float) -> dict[str, Make]:
    return {
        f"ProxSG, {lam:g}": lambda oto, _: ProxSG(oto.model, oto.groups, lam, **OPTIONS),
        f"HSPG, {lam:g}": lambda oto, steps: HSPG(oto.model, oto.groups, lam, warmup=steps // 4, **OPTIONS),
    }


def run(network: str, make: Make, data: ImageData, epochs: int, seed: int) -> dict[str, Any]:
    """Train once; return whether what is left is valid, the share of groups at zero, and the accuracy."""
    set_seed(seed)
    model = create(network, **SUPERNETS[network], in_channels=1, num_classes=data.num_classes)
    oto = AutoSubnet(model, data.train.tensors[0][:8])
    try:
        optimizer = make(oto, loop.num_steps(data.train, BATCH, epochs))
    except BudgetError as error:
        return {"refused": str(error)}
    loop.train(model, optimizer, data.train, epochs=epochs, batch_size=BATCH, seed=seed, title=f"{network}, {seed}")
    getattr(optimizer, "finish", lambda: None)()
    values = dict(model.named_parameters())
    zero = [group for group in oto.groups if all(_is_zero(values, each) for each in group.slices)]
    return {
        "valid": oto.is_valid(zero),
        "sparsity": len(zero) / len(oto.groups),
        "accuracy": loop.accuracy(model, data.test),
    }


def _is_zero(values: dict[str, Any], each: Any) -> bool:
    value = values[each.name]
    return not bool((value if each.dim is None else value.index_select(each.dim, torch.tensor(each.indices))).any())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="digits or fashion-mnist (default %(default)s)")
    parser.add_argument("--data-dir", type=Path, help="where the files of Fashion-MNIST are")
    parser.add_argument("--epochs", type=int, default=10, help="of each training (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="how many (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file (default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = load(arguments.data, arguments.data_dir)
    contestants: dict[str, Make] = {}
    for make in (*map(optimizers, SPARSITIES), *map(without_target, STRENGTHS)):
        contestants |= make
    settings = {"data": arguments.data, "epochs": arguments.epochs, "seeds": arguments.seeds}
    rows: dict[str, dict[str, Any]] = {network: {} for network in SUPERNETS}
    result = {
        "command": shlex.join(["python", *sys.argv]),
        "environment": environment(),
        "settings": settings,
        "networks": rows,
    }
    if arguments.out.exists():
        before = json.loads(arguments.out.read_text("utf-8"))
        if before["settings"] != settings:
            sys.exit(f"{arguments.out} is of other settings; move it away, or pass --out")
        rows |= before["networks"]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    for network in SUPERNETS:
        for name, make in contestants.items():
            if name in rows[network]:
                continue
            found = [run(network, make, data, arguments.epochs, seed) for seed in range(arguments.seeds)]
            done = [each for each in found if "refused" not in each]
            mean = {key: statistics.mean(each[key] for each in done) for key in (done[0] if done else ())}
            rows[network][name] = {"runs": found, **mean}
            arguments.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
            print(network, name, json.dumps(mean), flush=True)


if __name__ == "__main__":
    main()
