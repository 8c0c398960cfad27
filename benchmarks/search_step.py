"""Claim: a step of the search over paths takes at most 1.1 times the same computation written out in plain torch.

A step trains the paths on one batch, by AdamHAPG along the gradient of first or second order, and the weights on
another, by SGD with clipped gradients. Steps of the library's loop and of a loop written out here take turns on copies
of one supernet: DARTS' 8 cells on images of 32x32. The ratio is the median over these pairs. The seconds that capture
and partition of the supernet take are measured beside it.

    python benchmarks/search_step.py
"""

from __future__ import annotations

import argparse
import copy
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from autosubnet import AutoSubnet
from autosubnet.supernets import Darts, nodes
from autosubnet.training.data import ImageData
from autosubnet.training.measure import environment
from autosubnet.training.path_images import ImagePaths
from autosubnet.training.path_loop import Search
from autosubnet.training.path_problem import Paths
from autosubnet.training.path_settings import PathSettings

RESULTS = Path(__file__).parent / "results" / "search_step.json"
LAM, ALPHA, LR, PATH_LR = 0.01, 0.5, 0.025, 3e-4
SKIPPED = 2  # pairs before the first that counts
Batch = tuple[Tensor, Tensor]
Order = Literal["first", "second"]


class WrittenOut:
    """The same step without the library: Eq. 6 to 10 of SparseNAS for a matrix of paths a kind of cell."""

    def __init__(self, model: Darts, order: Order) -> None:
        self.model, self.order = model, order
        self.paths = list(model.architecture.values())
        held = {id(each) for each in self.paths}
        self.names = [name for name, p in model.named_parameters() if id(p) not in held]
        self.weights = [model.get_parameter(name) for name in self.names]
        self.sgd = torch.optim.SGD(self.weights, LR, momentum=0.9, weight_decay=3e-4)
        self.rows = [range(0, 2), range(2, 5), range(5, 9), range(9, 14)]
        zeros = [[torch.zeros_like(each) for each in self.paths] for _ in range(3)]
        self.first, self.second, self.v = zeros
        self.t = 0

    def step(self, seen: Batch, unseen: Batch) -> None:
        gradients = torch.autograd.grad(self._loss_ahead(seen, unseen), self.paths)
        with torch.no_grad():
            self.t += 1
            for number, gradient in enumerate(gradients):
                self._step_paths(number, gradient)
        self.sgd.zero_grad()
        cross_entropy(self.model(seen[0]), seen[1]).backward()
        nn.utils.clip_grad_norm_(self.weights, 5.0)
        self.sgd.step()

    def _loss_ahead(self, seen: Batch, unseen: Batch) -> Tensor:
        """Return the loss on unseen images, behind a step of the weights for second order."""
        if self.order == "first":
            return cross_entropy(self.model(unseen[0]), unseen[1])
        loss = cross_entropy(self.model(seen[0]), seen[1])
        descent = torch.autograd.grad(loss, self.weights, create_graph=True)
        ahead = {name: p - LR * g for name, p, g in zip(self.names, self.weights, descent, strict=True)}
        return cross_entropy(functional_call(self.model, ahead, (unseen[0],)), unseen[1])

    def _step_paths(self, number: int, gradient: Tensor) -> None:
        a, t = self.paths[number], self.t
        first = self.first[number].mul_(0.5).add_(gradient, alpha=0.5)
        second = self.second[number].mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        step = PATH_LR / ((second / (1 - 0.999**t)).sqrt() + 1e-8)
        z = a - step * first / (1 - 0.5**t)
        x = z.sign() * (z.abs() - LAM * ALPHA * step).clamp(min=0)
        for rows in self.rows:
            block = x[rows.start : rows.stop]
            size = block.numel() ** 0.5
            threshold = LAM * (1 - ALPHA) * size * step[rows.start : rows.stop].median()
            block.mul_((1 - threshold / block.norm().clamp(min=1e-12)).clamp(min=0))
        before, now = (max(0.0, (each - 2) / (each + 1)) for each in (t - 1, t))
        self.v[number] = x - a + before * self.v[number]
        a.copy_(x + now * self.v[number])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=11, help="how many count (default %(default)s)")
    parser.add_argument("--channels", type=int, default=8, help="of the first cell (default %(default)s)")
    parser.add_argument("--batch-size", type=int, default=16, help="images a step (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file (default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = Darts(arguments.channels, architecture_weights=True).train()
    images = torch.randn(4 * arguments.batch_size, 3, 32, 32)
    labels = torch.randint(10, (len(images),))
    half = arguments.batch_size
    seen, unseen = ((images[k * half : (k + 1) * half], labels[k * half : (k + 1) * half]) for k in (0, 1))
    orders = {
        order: _compare(
            partial(_both, _ours(copy.deepcopy(model), images, labels, half, order), seen, unseen),
            partial(WrittenOut(copy.deepcopy(model), order).step, seen, unseen),
            arguments.pairs,
        )
        for order in get_args(Order)
    }
    result = {
        "command": shlex.join(["python", *sys.argv]),
        "environment": environment(),
        "orders": orders,
        "capture_and_partition": _seconds(lambda: AutoSubnet(model, images[:2])),
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    for order, found in orders.items():
        print(f"{order} order: {found['ratio']:.3f} times the step written out")
    print(f"captured in {result['capture_and_partition']:.1f} s")
    slow = [order for order, found in orders.items() if found["ratio"] > 1.1]
    sys.exit(bool(slow) or result["capture_and_partition"] > 10)


def _compare(ours: Callable[[], object], plain: Callable[[], object], count: int) -> dict[str, Any]:
    pairs = [(_seconds(ours), _seconds(plain)) for _ in range(count + SKIPPED)][SKIPPED:]
    return {
        "ratio": statistics.median(a / b for a, b in pairs),
        "ratios": [a / b for a, b in pairs],
        "seconds": {
            "ours": statistics.median(a for a, _ in pairs),
            "written out": statistics.median(b for _, b in pairs),
        },
    }


def _both(search: Search, seen: Batch, unseen: Batch) -> None:
    search.step_paths(seen, unseen)
    search.step_weights(seen)


def _ours(model: Darts, images: Tensor, labels: Tensor, batch_size: int, order: Order) -> Search:
    part = torch.utils.data.TensorDataset(images, labels)
    found = nodes(model)
    data = ImageData("noise", part, part, 10)
    problem = ImagePaths(model, Paths(found.groups, found.outgoing), data, batch_size, 0, "noise")
    search = Search.start(problem, PathSettings(batch_size=batch_size, alpha=ALPHA, order=order))
    search.architecture.param_groups[0]["lam"] = LAM
    return search


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
