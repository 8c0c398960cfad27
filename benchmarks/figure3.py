"""Claim: in the experiment behind Figure 3 of SparseNAS, HAPG and AdamHAPG end sparser than SGD and Adam.

A network of 64, 40, 20 and 10 neurons on scikit-learn's digits, under the lasso, the group lasso and the sparse group
lasso (SGL), with five strengths and three seeds: 500 epochs of search, then 3,000 in which what is left is trained from
new weights. Measured of each run: accuracy on images that nothing is trained on, features (pixels) and inner neurons
that are kept, share of the weights that are zero. The claims of the paper are read by ``figure3_reading``.

From the paper (Appendix, Ablation Study): batches of 256; SGD with momentum 0.9 and HAPG from rates 0.025 and 0.05 that
fall as a cosine; Adam and AdamHAPG with rate 3e-4 and decays (0.5, 0.999); after SGD and Adam weights below 0.001 are
set to zero, after HAPG and AdamHAPG ``derive()`` writes the zeros; a neuron whose outgoing weights are all zero is
discarded with its incoming ones; the last training is Adam's, with rate 3e-4 and decays (0.5, 0.999).

The paper leaves open, and here is: SGL at alpha 0.5; lambda the same from the first step to the last; SGD and Adam on
the sum of loss and penalty, with autograd's subgradient (0 at 0); as in the code of Scardapane et al. (2017), whose
experiment it follows, groups of a neuron's outgoing weights, biases in no penalty, pixels in [0, 1], Glorot's normal
weights; ReLU; a fixed fifth of the images to measure on; rates of Adam and AdamHAPG constant; new weights, no penalty
and a constant rate in the last training.

Every run of a family (one optimizer, one penalty) is trained side by side with the others, each as if it were alone:
see :class:`Stack`. It writes its file after each family, and goes on where it was stopped.

    python benchmarks/figure3.py
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import figure3_chart
import figure3_reading
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.optim import HAPG, AdamHAPG
from autosubnet.training.data import load
from autosubnet.training.measure import environment

RESULTS = Path(__file__).parent / "results" / "figure3.json"
SIZES = (64, 40, 20, 10)
OPTIMIZERS = ("SGD", "Adam", "HAPG", "AdamHAPG")
PENALTIES = {"lasso": 1.0, "group lasso": 0.0, "SGL": 0.5}
EXPONENTS = (-5.0, -4.5, -4.0, -3.7, -3.5)  # -3.7 is where the paper's range of comparable accuracies ends
SEEDS, EPOCHS, RETRAINING, BATCH = 3, 500, 3000, 256
THRESHOLD = 1e-3
MOMENTA = (0.5, 0.999)

Tensors = list[Tensor]
Batch = tuple[Tensor, Tensor, bool]  # images (seeds, batch, 64), labels (seeds, batch), whether an epoch ends with it


class Strength(nn.Module):
    """The networks of all seeds under one lambda.

    The weights of a layer are one matrix, the networks one below the other: a row holds what goes out of one neuron, so
    that it is a slice, and a group.
    """

    def __init__(self, weights: Iterable[Tensor], biases: Iterable[Tensor]) -> None:
        super().__init__()
        self.weights = nn.ParameterList(each.flatten(0, 1).clone() for each in weights)
        self.biases = nn.ParameterList(each.clone() for each in biases)


class Stack(nn.Module):
    """Networks that are trained side by side: no entry of one meets an entry of another.

    Args:
        weights: of each layer, (strengths, seeds, inputs, outputs).
        biases: of each layer, (strengths, seeds, outputs).
    """

    def __init__(self, weights: Tensors, biases: Tensors) -> None:
        super().__init__()
        self.shape = weights[0].shape[:2]
        self.parts = nn.ModuleList(
            Strength([w[k] for w in weights], [b[k] for b in biases]) for k in range(self.shape[0])
        )

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Return the weights (networks, inputs, outputs) and biases (networks, 1, outputs) of each layer."""
        return [
            (
                torch.cat([part.weights[n] for part in self.parts]).view(-1, SIZES[n], SIZES[n + 1]),
                torch.cat([part.biases[n] for part in self.parts]).unsqueeze(1),
            )
            for n in range(len(SIZES) - 1)
        ]

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (networks, batch, 10) for images (seeds, batch, 64), the seed's own for each strength."""
        return run(self.layers(), x.repeat(self.shape[0], 1, 1))

    def groups(self) -> list[Group]:
        """Return the outgoing weights of each neuron of each network."""
        return [
            Group(f"{k}.{n}.{row}", "zig", (ParameterSlice(f"parts.{k}.weights.{n}", 0, (row,)),), SIZES[n + 1], ())
            for k, part in enumerate(self.parts)
            for n, matrix in enumerate(part.weights)
            for row in range(len(matrix))
        ]


def run(layers: Sequence[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    for n, (weight, bias) in enumerate(layers):
        x = torch.baddbmm(bias, torch.relu(x) if n else x, weight)
    return x


def born(seeds: Iterable[int], strengths: int, dtype: torch.dtype) -> Stack:
    """Return networks with Glorot's normal weights; those of one seed are the same at all strengths."""
    weights: list[Tensors] = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        weights.append([])
        for inputs, outputs in pairwise(SIZES):
            new = torch.empty(inputs, outputs, dtype=torch.float64)
            weights[-1].append(nn.init.xavier_normal_(new, generator=generator).to(dtype))
    stacked = [torch.stack(each).expand(strengths, -1, -1, -1) for each in zip(*weights, strict=True)]
    return Stack(stacked, [each.new_zeros(each.shape[0], each.shape[1], each.shape[3]) for each in stacked])


def make(name: str, stack: Stack, alpha: float, lams: Sequence[float]) -> torch.optim.Optimizer:
    """Return the optimizer of all networks: for the library's own, one of torch's parameter groups a lambda."""
    if name == "SGD":
        return torch.optim.SGD(stack.parameters(), lr=0.025, momentum=0.9)
    if name == "Adam":
        return torch.optim.Adam(stack.parameters(), lr=3e-4, betas=MOMENTA)
    params = [{"params": list(part.parameters()), "lam": lam} for part, lam in zip(stack.parts, lams, strict=True)]
    if name == "HAPG":
        return HAPG(stack, stack.groups(), params=params, lr=0.05, alpha=alpha)
    return AdamHAPG(stack, stack.groups(), params=params, lr=3e-4, betas=MOMENTA, alpha=alpha)


def penalty(stack: Stack, alpha: float, lams: Tensor) -> Tensor:
    """Eq. 2, each network's with its own lambda (networks,), summed."""
    total = lams.new_zeros(())
    for weight, _ in stack.layers():
        single = weight.abs().sum((1, 2))
        norms = weight.shape[2] ** 0.5 * torch.linalg.vector_norm(weight, dim=2).sum(1)
        total = total + (lams * (alpha * single + (1 - alpha) * norms)).sum()
    return total


def batches(images: Tensor, labels: Tensor, seeds: Sequence[int], epochs: int) -> Iterator[Batch]:
    """Yield batches, each seed's in an order of its own."""
    generators = [torch.Generator().manual_seed(1000 + seed) for seed in seeds]
    for _ in range(epochs):
        orders = torch.stack([torch.randperm(len(labels), generator=each) for each in generators])
        parts = orders.split(BATCH, dim=1)
        for count, part in enumerate(parts, 1):
            yield images[part], labels[part], count == len(parts)


def loss_of(stack: Stack, images: Tensor, labels: Tensor) -> Tensor:
    """The sum of the networks' losses: the gradient of each is that of its own."""
    logits = stack(images).flatten(0, 1)
    return cross_entropy(logits, labels.repeat(stack.shape[0], 1).flatten(), reduction="sum") / labels.shape[1]


def search(
    name: str,
    stack: Stack,
    stream: Iterable[Batch],
    *,
    alpha: float,
    lams: Sequence[float],
    epochs: int,
) -> torch.optim.Optimizer:
    """Train under the penalty, by the paper's settings for this optimizer; return the optimizer."""
    optimizer = make(name, stack, alpha, lams)
    proximal = isinstance(optimizer, HAPG)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs) if name in ("SGD", "HAPG") else None
    strengths = torch.tensor(lams, dtype=stack.layers()[0][0].dtype).repeat_interleave(stack.shape[1])
    for images, labels, ends in stream:
        optimizer.zero_grad()
        loss = loss_of(stack, images, labels)
        (loss if proximal else loss + penalty(stack, alpha, strengths)).backward()
        optimizer.step()
        if ends and cosine is not None:
            cosine.step()
    return optimizer


@torch.no_grad()
def derived(stack: Stack, optimizer: torch.optim.Optimizer) -> tuple[Tensors, Tensors]:
    """Return weights and biases with their zeros, the proximal ones or by the threshold, and without dead neurons."""
    if isinstance(optimizer, HAPG):
        optimizer.derive()
    weights, biases = map(list, zip(*stack.layers(), strict=True))
    if not isinstance(optimizer, HAPG):
        weights = [torch.where(w.abs() < THRESHOLD, 0, w) for w in weights]
    for n in reversed(range(1, len(weights))):
        dead = ~weights[n].any(2)
        weights[n - 1] = weights[n - 1].masked_fill(dead.unsqueeze(1), 0)
    return weights, biases


def retrained(weights: Tensors, seeds: Sequence[int], images: Tensor, labels: Tensor, epochs: int) -> Stack:
    """Return networks with these zeros (networks, inputs, outputs), trained from new weights."""
    strengths = len(weights[0]) // len(seeds)
    stack = born([2000 + seed for seed in seeds], strengths, images.dtype)
    masks = {
        part.weights[n]: mask.flatten(0, 1)
        for n, weight in enumerate(weights)
        for part, mask in zip(stack.parts, (weight != 0).split(len(seeds)), strict=True)
    }
    with torch.no_grad():
        for p, mask in masks.items():
            p.mul_(mask)
    optimizer = torch.optim.Adam(stack.parameters(), lr=3e-4, betas=MOMENTA, fused=True)
    for x, y, _ in batches(images, labels, [2000 + seed for seed in seeds], epochs):
        optimizer.zero_grad()
        loss_of(stack, x, y).backward()
        for p, mask in masks.items():
            p.grad.mul_(mask)  # Adam's moments stay zero, and so do the weights
        optimizer.step()
    return stack


@torch.no_grad()
def accuracies(layers: Sequence[tuple[Tensor, Tensor]], images: Tensor, labels: Tensor) -> list[float]:
    """Return the share of right answers of each network."""
    logits = run(layers, images.expand(len(layers[0][0]), -1, -1))
    return (logits.argmax(2) == labels).double().mean(1).tolist()


def family(name: str, alpha: float, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is measured of each run of one optimizer and one penalty."""
    images, labels, valid_images, valid_labels = digits()
    seeds, exponents = range(settings["seeds"]), settings["exponents"]
    lams = [10**exponent for exponent in exponents]
    stack = born(seeds, len(lams), images.dtype)
    stream = batches(images, labels, seeds, settings["epochs"])
    optimizer = search(name, stack, stream, alpha=alpha, lams=lams, epochs=settings["epochs"])
    weights, biases = derived(stack, optimizer)
    last = retrained(weights, seeds, images, labels, settings["retraining"])
    columns = {
        "accuracy_derived": accuracies(list(zip(weights, biases, strict=True)), valid_images, valid_labels),
        "accuracy_retrained": accuracies(last.layers(), valid_images, valid_labels),
        "features": weights[0].any(2).sum(1).tolist(),
        "neurons": sum(weight.any(2).sum(1) for weight in weights[1:]).tolist(),
        "sparsity": torch.cat([weight.flatten(1) for weight in weights], 1).eq(0).double().mean(1).tolist(),
    }
    keys = [{"exponent": exponent, "seed": seed} for exponent in exponents for seed in seeds]
    return [{**key, **{c: values[i] for c, values in columns.items()}} for i, key in enumerate(keys)]


def digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return images (N, 64) in [0, 1] and labels to train on, and the same to measure on."""
    data = load("digits")
    (images, labels), (others, other_labels) = data.train.tensors, data.test.tensors
    low, high = images.min(), images.max()
    return (images.flatten(1) - low) / (high - low), labels, (others.flatten(1) - low) / (high - low), other_labels


def resumed(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the families that the file has already; they must be of the same settings."""
    if not path.exists():
        return {}
    result = json.loads(path.read_text("utf-8"))
    if result["settings"] != settings:
        raise SystemExit(f"{path} is of other settings, {result['settings']}; move it away, or pass --out")
    return result["families"]


def write(path: Path, text: str) -> None:
    """Write the whole file, or, where this is killed, nothing of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, "utf-8")
    unfinished.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a trial: one seed, two lambdas, few epochs; needs --out")
    parser.add_argument("--out", type=Path, help=f"the JSON file; the picture goes beside it (default {RESULTS})")
    arguments = parser.parse_args()
    if arguments.quick and not arguments.out:
        parser.error("--quick needs --out: its result is none")
    torch.set_num_threads(1)
    settings = {"seeds": SEEDS, "epochs": EPOCHS, "retraining": RETRAINING, "exponents": list(EXPONENTS)}
    if arguments.quick:
        settings = {"seeds": 1, "epochs": 3, "retraining": 3, "exponents": [-5.0, -3.7]}
    out = arguments.out or RESULTS
    families = resumed(out, settings)
    command = shlex.join(["python", *sys.argv])
    result = {"command": command, "environment": environment(), "settings": settings, "families": families}
    for name in OPTIMIZERS:
        for kind, alpha in PENALTIES.items():
            key = f"{name}, {kind}"
            if key in families:
                continue
            start = time.perf_counter()
            runs = family(name, alpha, settings)
            families[key] = {"seconds": time.perf_counter() - start, "runs": runs}
            write(out, json.dumps(result, indent=1) + "\n")
            last = figure3_reading.means(runs)[figure3_reading.END]
            print(f"{key:22}", json.dumps({measure: round(value, 3) for measure, value in last.items()}), flush=True)
    runs_of = {name: each["runs"] for name, each in families.items()}
    result["claims"] = figure3_reading.claims(runs_of)
    write(out, json.dumps(result, indent=1) + "\n")
    write(out.with_suffix(".svg"), figure3_chart.draw(runs_of))
    for row in result["claims"]:
        print(f"{row['holds']}: {row['claim']} {row['measured']}")


if __name__ == "__main__":
    main()
