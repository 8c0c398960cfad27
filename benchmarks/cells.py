"""Are cells that AdamHAPG finds sparser than those of Adam, as accurate, and no collapse into skips?

Table 5 of SparseNAS (Adam against AdamHAPG at three balances alpha of the penalty), at a size for two cores, beside
other searches: DARTS' supernet with 3 cells of 4 channels, images of Fashion-MNIST averaged to 14x14.

* ``AdamHAPG``: the library's search, with ``derive()``;
* ``Adam``: the same loop, Adam on the loss with the same penalty, weights below 0.001 in size set to zero at its end;
* ``DARTS``: first order, softmax over the operations of an edge, the best one of the best two edges into a node;
* ``random``: as many nodes and paths as those of AdamHAPG at alpha 0.5, parameters within 5 % of theirs;
* ``H2SPG``: on the supernet whose norms have weights, asked for the share of its groups, an operator each, that
  AdamHAPG at alpha 0.5 takes of its paths; skips without weights are in no group;
* ``H2SPG and AdamHAPG``: both in one run on that supernet, with a weight on every path into every sum and concatenation
  of every cell; H2SPG is asked for half of that share.

What is derived is trained from new weights by one recipe: the cells of a genotype stacked, what H2SPG leaves as it is.
A result is added to the file as soon as it is there, and a run goes on where another stopped.

    python benchmarks/cells.py --data-dir DIR     # about 100 minutes on one core, on one thread
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import avg_pool2d, cross_entropy
from torch.utils.data import TensorDataset

from autosubnet import AutoSubnet
from autosubnet.errors import InputError
from autosubnet.graph.groups import Group
from autosubnet.optim import H2SPG
from autosubnet.supernets import Darts, DartsNetwork, Genotype, create, genotype, nodes
from autosubnet.supernets.darts_skeleton import EDGES, INNER, KINDS, SPACE
from autosubnet.supernets.darts_space import Paths as CellPaths
from autosubnet.training import loop, measure
from autosubnet.training.cell_images import CLIP, MOMENTUM, WEIGHT_DECAY
from autosubnet.training.data import ImageData, load
from autosubnet.training.path_images import ImagePaths
from autosubnet.training.path_loop import Search, search_paths
from autosubnet.training.path_problem import Paths
from autosubnet.training.path_settings import PathSettings

RESULTS = Path(__file__).parent / "results" / "cells.json"
THRESHOLD = 1e-3
MOMENTA = (0.5, 0.999)
CHANNELS, CELLS = 4, 3
FULL: dict[str, Any] = {
    "search": {"images": 2048, "epochs": 8, "batch_size": 64, "path_lr": 0.0125, "lambda_step": 0.012},
    "training": {"images": 8000, "epochs": 5, "batch_size": 64, "lr": 0.025, "channels": 8, "cells": 3},
    "test": 10_000,
    "alphas": [0.3, 0.5, 0.7],
    "random": 3,
}
QUICK: dict[str, Any] = {
    "search": {"images": 64, "epochs": 1, "batch_size": 16, "path_lr": 0.0125, "lambda_step": 0.012},
    "training": {"images": 16, "epochs": 1, "batch_size": 16, "lr": 0.025, "channels": 2, "cells": 3},
    "test": 20,
    "alphas": [0.5],
    "random": 1,
}
LIKE = "AdamHAPG, alpha 0.5"  # what random cells and H2SPG are given the size of
BOTH = "H2SPG and AdamHAPG"
OF_WEIGHTS = {"lr": ImagePaths.recipe.lr, "momentum": MOMENTUM, "weight_decay": WEIGHT_DECAY}
Cells = dict[str, dict[int, CellPaths]]


@dataclass(frozen=True)
class Task:
    """The data, made small, and the settings."""

    data: ImageData
    settings: dict[str, Any]

    def part(self, stage: str) -> ImageData:
        """Return the data with the first so many images to train on."""
        count = self.settings[stage]["images"]
        return replace(self.data, train=TensorDataset(*(each[:count] for each in self.data.train.tensors)))

    def problem(self) -> tuple[ImagePaths, PathSettings]:
        """Return the supernet with new weights and its two halves of the images, the same in every search."""
        options = {name: value for name, value in self.settings["search"].items() if name != "images"}
        settings = PathSettings(**options)
        set_seed(settings.seed)
        model = create("darts", architecture_weights=True, channels=CHANNELS, cells=CELLS, in_channels=1)
        found = nodes(model)
        paths = Paths(found.groups, found.outgoing)
        return ImagePaths(model, paths, self.part("search"), settings.batch_size, settings.seed, "darts"), settings

    def train(self, network: nn.Module) -> dict[str, Any]:
        """Train a network with new weights, and measure it."""
        options = self.settings["training"]
        optimizer = torch.optim.SGD(network.parameters(), options["lr"], momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
        data, sizes = self.part("training"), {name: options[name] for name in ("epochs", "batch_size")}
        loop.train(network, optimizer, data.train, clip=CLIP, title="training", **sizes)
        return {
            "accuracy": loop.accuracy(network, data.test),
            "num_params": measure.num_params(network),
            "multiply_adds": measure.multiply_adds(network, data.test.tensors[0][:1]),
        }

    def stacked(self, cells: Genotype) -> DartsNetwork:
        options = self.settings["training"]
        return DartsNetwork(
            cells, options["channels"], options["cells"], drop_path=0, auxiliary_weight=0, in_channels=1
        )


class PenalisedAdam(torch.optim.Adam):
    """Adam on the loss and the penalty of Eq. 2, by autograd's subgradient; in the place of AdamHAPG in a search."""

    def __init__(self, model: nn.Module, groups: Sequence[Group], lr: float, alpha: float) -> None:
        self.parts = [(model.get_parameter(each.name), each.indices) for group in groups for each in group.slices]
        super().__init__(dict.fromkeys(p for p, _ in self.parts), lr=lr, betas=MOMENTA)
        self.lam, self.alpha = 0.0, alpha

    def step(self, closure: Any = None) -> None:
        penalty = torch.zeros(())
        for p, rows in self.parts:
            entries = p[list(rows or ())]
            norm = entries.numel() ** 0.5 * torch.linalg.vector_norm(entries)
            penalty = penalty + self.lam * (self.alpha * entries.abs().sum() + (1 - self.alpha) * norm)
        held = self.param_groups[0]["params"]
        for p, gradient in zip(held, torch.autograd.grad(penalty, held), strict=True):
            p.grad += gradient
        super().step()


def adamhapg(task: Task, alpha: float) -> Genotype:
    problem, settings = task.problem()
    architecture, _ = search_paths(problem, replace(settings, alpha=alpha))
    architecture.derive(problem.paths.outgoing)
    return genotype(problem.model)


def adam(task: Task, alpha: float) -> Genotype:
    problem, settings = task.problem()
    search = Search.start(problem, settings)
    model, groups = problem.model.train(), problem.paths.groups
    optimizer = PenalisedAdam(model, groups, settings.path_lr, alpha)
    search = replace(search, architecture=optimizer)
    order = torch.Generator().manual_seed(settings.seed)
    for epoch in range(settings.epochs):
        optimizer.lam = epoch * settings.lambda_step
        for seen, unseen in problem.batches(order, torch.device("cpu")):
            search.step_paths(seen, unseen)
            search.step_weights(seen)
    with torch.no_grad():
        for p in optimizer.param_groups[0]["params"]:
            p[p.abs() < THRESHOLD] = 0
    return genotype(model)


def darts(task: Task) -> Genotype:
    problem, settings = task.problem()
    model = problem.model.train()
    logits = {name: torch.zeros_like(p).requires_grad_() for name, p in model.named_parameters() if "archi" in name}
    others = [p for name, p in model.named_parameters() if name not in logits]
    weights = torch.optim.SGD(others, problem.recipe.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    architecture = torch.optim.Adam(logits.values(), settings.path_lr, betas=MOMENTA, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(weights, settings.epochs * problem.steps)
    order = torch.Generator().manual_seed(settings.seed)

    def step(optimizer: torch.optim.Optimizer, batch: Any) -> None:
        mixed = {name: each.softmax(-1) for name, each in logits.items()}
        optimizer.zero_grad()
        cross_entropy(functional_call(model, mixed, batch[0]), batch[1]).backward()
        if optimizer is weights:
            nn.utils.clip_grad_norm_(others, CLIP)
        optimizer.step()

    for _ in range(settings.epochs):
        for seen, unseen in problem.batches(order, torch.device("cpu")):
            step(architecture, unseen)
            step(weights, seen)
            schedule.step()
    found = {kind: logits[f"architecture.{kind}"].detach().softmax(-1) for kind in KINDS}
    return single_paths(found, model.operations)


def single_paths(weights: Mapping[str, Tensor], operations: Mapping[str, Sequence[str]]) -> Genotype:
    """DARTS' derivation: into each node the two strongest edges, of each its strongest operation."""
    cells: Cells = {kind: {} for kind in KINDS}
    for kind, found in weights.items():
        strength, column = found.max(1)
        for node in INNER:
            rows = [row for row, (_, target) in enumerate(EDGES) if target == node]
            best = sorted(rows, key=lambda row: float(strength[row]))[-2:]
            cells[kind][node] = tuple((operations[kind][int(column[row])], EDGES[row][0]) for row in sorted(best))
    return Genotype(**cells)


def random_cells(task: Task, like: Genotype, seed: int) -> Genotype:
    """Return cells with as many nodes and paths as others, and as many parameters, but for 5 %."""
    draw = random.Random(seed)
    with torch.device("meta"):
        goal = measure.num_params(task.stacked(like))
        for _ in range(10_000):
            found = Genotype(**{kind: _draw_cell(draw, getattr(like, kind)) for kind in KINDS})
            if abs(measure.num_params(task.stacked(found)) / goal - 1) <= 0.05:
                return found
    raise SystemExit("no random cells are of this size")


def _draw_cell(draw: random.Random, like: Mapping[int, CellPaths]) -> dict[int, CellPaths]:
    living = range(INNER[0], INNER[0] + len(like))
    every = [(node, (name, source)) for node in living for source in range(node) for name in SPACE.operations]
    chosen = [draw.choice([each for each in every if each[0] == node]) for node in living]
    wanted = min(sum(map(len, like.values())), len(every)) - len(chosen)
    chosen += draw.sample([each for each in every if each not in chosen], wanted)
    return {n: tuple(path for node, path in chosen if node == n) for n in living}


def of_genotype(task: Task, search: Callable[[Task], Genotype]) -> dict[str, Any]:
    """Search, and train the cells that are found."""
    start = time.perf_counter()
    cells = search(task)
    seconds = time.perf_counter() - start
    set_seed(0)
    paths = [name for kind in KINDS for found in getattr(cells, kind).values() for name, _ in found]
    total = len(KINDS) * len(EDGES) * len(SPACE.operations)
    return {
        **task.train(task.stacked(cells)),
        "zero_paths": total - len(paths),
        "paths": total,
        "zero_nodes": len(KINDS) * len(INNER) - sum(len(getattr(cells, kind)) for kind in KINDS),
        "nodes": len(KINDS) * len(INNER),
        "skips": paths.count("skip_connect") / len(paths),
        "genotype": cells.to_json(),
        "search_seconds": seconds,
    }


def h2spg(task: Task, share: float) -> dict[str, Any]:
    """Search over operators, and train what is left from new weights."""
    options, data = task.settings["search"], task.part("search")
    epochs, batch_size = options["epochs"], options["batch_size"]
    start = time.perf_counter()
    set_seed(0)
    oto = AutoSubnet(create("darts", channels=CHANNELS, cells=CELLS, in_channels=1), data.train.tensors[0][:8])
    optimizer = oto.h2spg(**OF_WEIGHTS, target_group_sparsity=share,
                          total_steps=loop.num_steps(data.train, batch_size, epochs))  # fmt: skip
    loop.train(oto.model, optimizer, data.train, epochs=epochs, batch_size=batch_size, clip=CLIP, title="H2SPG")
    counts = left_of(oto.model)
    return {**of_operators(task, oto.construct_subnet(), optimizer, start), **counts}


def joined(task: Task, share: float) -> dict[str, Any]:
    """Search over operators and over paths in one run, each optimizer on parameters of its own."""
    options, data = task.settings["search"], task.part("search")
    start = time.perf_counter()
    set_seed(0)
    model, example = create("darts", channels=CHANNELS, cells=CELLS, in_channels=1), data.train.tensors[0][:8]
    operators, oto = AutoSubnet(model, example), AutoSubnet(model, example, architecture_weights=True)
    settings = PathSettings(**{name: value for name, value in options.items() if name != "images"})
    problem = ImagePaths(oto.model, Paths(oto.paths, {}), data, settings.batch_size, settings.seed, "both")
    weights = operators.h2spg(**OF_WEIGHTS, target_group_sparsity=share, total_steps=settings.epochs * problem.steps)
    search = Search.start(problem, settings)
    search = replace(search, weights=weights, schedules={})
    order = torch.Generator().manual_seed(settings.seed)
    oto.model.train()
    for _ in range(settings.epochs):
        for seen, unseen in problem.batches(order, torch.device("cpu")):
            search.step_paths(seen, unseen)
            search.step_weights(seen)
        search.growth.step()
    search.architecture.derive()
    paths = [oto.model.get_parameter(part.name) for group in oto.paths for part in group.slices]
    zero = sum(not weight.any() for weight in paths)
    counts = left_of(model, path_weights(oto))
    subnet = oto.construct_subnet()
    if subnet.meta["autosubnet"].constant_outputs:
        raise InputError("no path from the input to the output is left")
    with torch.no_grad():
        for name, weight in subnet.named_parameters():
            if name.startswith("path_weights."):
                weight.fill_(1)
    return {**of_operators(task, subnet, weights, start), **counts, "zero_weights": zero, "weights": len(paths)}


def path_weights(oto: AutoSubnet) -> list[Tensor]:
    """Return for each cell the weights of its paths ``(edges, operations)``, as those of a supernet that has them."""
    found: dict[str, list[Tensor]] = {}
    for group in oto.paths:
        if sum_of := re.fullmatch(r"cells\.(\d+)\.add\w*", group.name):
            mine = [oto.model.get_parameter(part.name).detach() for part in group.slices]
            found.setdefault(sum_of[1], []).extend(mine)
    return [torch.stack(each).view(len(EDGES), -1) for each in found.values()]


def left_of(model: Darts, weights: Sequence[Tensor] | None = None) -> dict[str, Any]:
    """Count what zeros leave of the cells of a supernet whose norms have weights, each cell by itself.

    A path is zero where its last norm's weight and bias are, or its own weight; and where it reads a zero node, one
    into which all paths are zero.
    """
    zero_nodes, names = 0, []
    for number, cell in enumerate(model.cells):
        alive = torch.tensor([[not_zero(each) for each in edge.children()] for edge in cell.edges.values()])
        alive = alive.float() if weights is None else alive * weights[number]
        left = SPACE.derive(f"cells.{number}", alive, tuple(SPACE.operations))
        zero_nodes += len(INNER) - len(left)
        names += [name for paths in left.values() for name, _ in paths]
    total = len(model.cells) * len(EDGES) * len(SPACE.operations)
    return {
        "zero_paths": total - len(names),
        "paths": total,
        "zero_nodes": zero_nodes,
        "nodes": len(model.cells) * len(INNER),
        "skips": names.count("skip_connect") / max(1, len(names)),
    }


def not_zero(operation: nn.Module) -> bool:
    """Whether an operation returns anything: what ends in a norm does not where weight and bias are zero."""
    norms = [each for each in operation.modules() if isinstance(each, nn.BatchNorm2d)]
    return not norms or any(bool(each.any()) for each in norms[-1].parameters())


def of_operators(task: Task, subnet: nn.Module, optimizer: H2SPG, start: float) -> dict[str, Any]:
    """Train what is left from new weights, and count the groups of the cells' edges that were chosen to go."""
    seconds = time.perf_counter() - start
    set_seed(0)
    for module in subnet.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    return {
        **task.train(subnet),
        "groups": sum(".edges." in name for name in optimizer.progress().chosen),
        "search_seconds": seconds,
    }


def work(task: Task, runs: dict[str, Any]) -> dict[str, Callable[[], dict[str, Any]]]:
    """Return what makes each row; some need the row of AdamHAPG, which comes ahead of them."""
    found: dict[str, Callable[[], dict[str, Any]]] = {}
    for alpha in task.settings["alphas"]:
        found[f"AdamHAPG, alpha {alpha}"] = partial(of_genotype, task, partial(adamhapg, alpha=alpha))
        found[f"Adam, alpha {alpha}"] = partial(of_genotype, task, partial(adam, alpha=alpha))
    found["DARTS, first order"] = partial(of_genotype, task, darts)

    def like() -> dict[str, Any]:
        if "refused" in runs[LIKE]:
            raise SystemExit(f"{LIKE} left no cells to compare with: {runs[LIKE]['refused']}")
        return runs[LIKE]

    for seed in range(task.settings["random"]):
        found[f"random cells {seed}"] = partial(
            of_genotype, task, lambda each, seed=seed: random_cells(each, Genotype.from_json(like()["genotype"]), seed)
        )
    found["H2SPG"] = lambda: h2spg(task, like()["zero_paths"] / like()["paths"])
    found[BOTH] = lambda: joined(task, like()["zero_paths"] / like()["paths"] / 2)
    return found


def small(data: ImageData, test: int) -> ImageData:
    """Return the images averaged to half their size, and so many to measure on."""
    train, rest = (TensorDataset(avg_pool2d(part.tensors[0], 2), part.tensors[1]) for part in (data.train, data.test))
    return replace(data, train=train, test=TensorDataset(*(each[:test] for each in rest.tensors)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="fashion-mnist", help="digits or fashion-mnist (default %(default)s)")
    parser.add_argument("--data-dir", type=Path, help="where the files of Fashion-MNIST are")
    parser.add_argument("--quick", action="store_true", help="a trial: few images, one epoch; needs --out")
    parser.add_argument("--out", type=Path, help=f"the JSON file (default {RESULTS})")
    arguments = parser.parse_args()
    if arguments.quick and not arguments.out:
        parser.error("--quick needs --out: its result is none")
    settings, out = (QUICK if arguments.quick else FULL), arguments.out or RESULTS
    settings = {**settings, "data": arguments.data, "supernet": {"channels": CHANNELS, "cells": CELLS}}
    result: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "environment": measure.environment(),
        "settings": settings,
        "runs": {},
    }
    if out.exists():
        before = json.loads(out.read_text("utf-8"))
        if before["settings"] != settings:
            sys.exit(f"{out} is of other settings, {before['settings']}; move it away, or pass --out")
        result["runs"] = before["runs"]
    out.parent.mkdir(parents=True, exist_ok=True)
    task = Task(small(load(arguments.data, arguments.data_dir), settings["test"]), settings)
    for name, run in work(task, result["runs"]).items():
        if name not in result["runs"]:
            try:
                row = run()
            except InputError as error:  # the penalty took a whole kind of cell
                row = {"refused": str(error)}
            result["runs"][name] = row
            out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
            print(name, row.get("refused") or f"{row['accuracy']:.2%}", flush=True)


if __name__ == "__main__":
    main()
