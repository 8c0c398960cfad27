"""Claim: capture and partition cost a forward pass and a half plus 0.3 s, at the median of torchvision's classifiers.

Two tables, both of two images of 224x224, on one thread, in seconds of the processor:

* every classifier of torchvision (Inception at 299x299): the median of three captures over what is allowed;
* five of them beside the graph building of peers, taken in turns: Torch-Pruning's dependency graph (one traced
  forward), also with all of its groups; OTO (``only-train-once``) in an interpreter of its own, since it needs an
  older torch (``python -m venv oto; oto/bin/pip install torch==2.4.1 torchvision==0.19.1 "numpy<2" only-train-once``).

What is timed of ours runs the model in both modes, the second time at other sizes, and proves all groups.

    pip install torch-pruning
    python benchmarks/capture.py --oto oto/bin/python
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch_pruning
import torchvision
from torch import Tensor, nn

from autosubnet import AutoSubnet
from autosubnet.training.measure import environment

RESULTS = Path(__file__).parent / "results" / "capture.json"
PEERS = ("resnet50", "densenet121", "vit_b_16", "convnext_tiny", "mobilenet_v2")
OTO = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
import torch, torchvision
from only_train_once import OTO
torch.set_num_threads(1)
model = torchvision.models.get_model(sys.argv[1], weights=None).eval()
images, found = torch.randn(2, 3, 224, 224), {}
model(images)
for what, call in (("forward", lambda: model(images)), ("graph and groups", lambda: OTO(model, images))):
    times = []
    for _ in range(3):
        start = time.process_time()
        with torch.set_grad_enabled(what != "forward"):
            call()
        times.append(time.process_time() - start)
    found[what] = sorted(times)[1]
print(json.dumps(found))
"""


def made(name: str) -> tuple[nn.Module, Tensor]:
    """Return a model in eval mode and two images: of 224 pixels a side, of Inception's 299."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    side = 299 if name == "inception_v3" else 224
    return model, torch.randn(2, 3, side, side)


def medians(calls: dict[str, Callable[[], Any]], repeats: int = 3) -> dict[str, float]:
    """Return the median seconds of each call; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def timed(name: str) -> dict[str, float]:
    """Time the capture of a model and its forward pass."""
    model, images = made(name)
    row = medians({"forward": lambda: forward(model, images), "capture": lambda: AutoSubnet(model, images)})
    return {**row, "of_allowed": row["capture"] / (1.5 * row["forward"] + 0.3)}


def beside_peers(name: str, oto: str | None) -> dict[str, Any]:
    """Time ours and the peers' on one model."""
    model, images = made(name)

    def graph() -> Any:
        return torch_pruning.DependencyGraph().build_dependency(model, example_inputs=images)

    row: dict[str, Any] = medians(
        {
            "forward": lambda: forward(model, images),
            "ours": lambda: AutoSubnet(model, images),
            "torch_pruning_graph": graph,
            "torch_pruning_graph_and_groups": lambda: list(graph().get_all_groups()),
        },
        repeats=5,
    )
    return {**row, "oto": _oto(name, oto)}


def _oto(name: str, python: str | None) -> Any:
    if python is None:
        return "not run: no interpreter was given"
    done = subprocess.run([python, "-c", OTO, name], capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["no word"])[-1][:200]
    return json.loads(done.stdout.splitlines()[-1])


@torch.no_grad()
def forward(model: nn.Module, images: Tensor) -> None:
    model(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oto", help="an interpreter that has only-train-once")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file (default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    result: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "environment": environment(),
        "torch_pruning": torch_pruning.__version__,
        "peers": {name: beside_peers(name, arguments.oto) for name in PEERS},
        "models": {},
    }
    print(json.dumps(result["peers"], indent=1), flush=True)
    for name in torchvision.models.list_models(torchvision.models):
        result["models"][name] = row = timed(name)
        print(f"{name:25} {row['forward']:.3f} {row['capture']:.3f} {row['of_allowed']:.2f}", flush=True)
    result["median_of_allowed"] = statistics.median(row["of_allowed"] for row in result["models"].values())
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(f"median: {result['median_of_allowed']:.2f} of what is allowed")
    sys.exit(result["median_of_allowed"] > 1)


if __name__ == "__main__":
    main()
