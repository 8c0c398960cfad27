"""Does the recurrent cell that AdamHAPG finds predict a text better than random cells and an LSTM of equal size?

The text is Python's own help, or another where its files are given, such as Penn Treebank's. The recurrent supernet is
searched once and a cell derived. Then language models are trained from new weights in one loop, with the same steps,
rates and dropouts: that of the derived cell; those of three random cells with as many nodes and paths, and so as many
parameters; and an LSTM, of a width at which its parameters differ by 2 % at most. Measured is the perplexity of each,
with the weights of its best epoch on the validation part.

A result is added to the file as soon as it is there, and a run goes on where another stopped.

    python benchmarks/recurrent.py                    # less than 40 minutes on two cores
    python benchmarks/recurrent.py --data-dir DIR     # with DIR/train.txt, valid.txt and test.txt
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from rich.console import Console
from torch import Tensor, nn

from autosubnet.supernets import DartsRnn, DartsRnnNetwork, Dropouts, LanguageModel, RecurrentGenotype
from autosubnet.supernets.darts_recurrent import ACTIVATIONS
from autosubnet.training import measure, text_loop
from autosubnet.training.cell_texts import scaled
from autosubnet.training.path_loop import search_paths
from autosubnet.training.path_settings import PathSettings
from autosubnet.training.path_texts import TextPaths
from autosubnet.training.path_view import PathView
from autosubnet.training.sequences import perplexity
from autosubnet.training.text import PARTS, TextData, python_topics, read_text

RESULTS = Path(__file__).parent / "results" / "recurrent.json"
RANDOM_CELLS = 3
FULL: dict[str, Any] = {
    "words": None,
    "vocabulary": 2000,
    "search": {"size": 64, "epochs": 10, "batch_size": 64, "lr": 5.0, "path_lr": 2e-3, "lambda_step": 0.03},
    "training": {"size": 64, "epochs": 40, "batch_size": 32, "lr": 10.0, "dropout": 0.4},
}
QUICK: dict[str, Any] = {
    "words": 200,  # of each part
    "vocabulary": 20,
    "search": {"size": 32, "window": 5, "epochs": 1, "batch_size": 8, "lr": 1.0, "path_lr": 5e-3, "lambda_step": 1e-3},
    "training": {"size": 8, "epochs": 1, "batch_size": 8, "lr": 1.0, "dropout": 0.4},
}


class LstmCell(nn.Module):
    """One step of an LSTM; its state is output and memory, side by side."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.cell = nn.LSTMCell(size, size)

    def forward(self, x: Tensor, state: Tensor, mask: Tensor | None = None) -> Tensor:
        output, memory = state.split(self.size, -1)
        if mask is not None:
            output = output * mask[..., : self.size]
        return torch.cat(self.cell(x, (output, memory)), -1)


def lstm(vocabulary_size: int, size: int, dropouts: Dropouts) -> LanguageModel:
    return LanguageModel(LstmCell(size), vocabulary_size, size, dropouts, state_size=2 * size)


def width_for(num_params: int, make: Callable[[int], nn.Module]) -> int:
    """Return the width at which a network's parameters, which grow with it, come nearest to a number."""
    with torch.device("meta"):
        counts = (measure.num_params(make(width)) for width in itertools.count(1))
        below = 0
        for width, count in enumerate(counts, 1):
            if count >= num_params:
                return width if count - num_params <= num_params - below or width == 1 else width - 1
            below = count
    raise AssertionError("widths do not end")


def random_genotype(nodes: int, paths: int, seed: int) -> RecurrentGenotype:
    """Return a cell with so many nodes and paths: one path into each node, the others anywhere."""
    draw = random.Random(seed)
    possible = [
        (node, (name, source)) for node in range(1, nodes + 1) for source in range(node) for name in ACTIVATIONS
    ]
    chosen = [draw.choice([each for each in possible if each[0] == node]) for node in range(1, nodes + 1)]
    chosen += draw.sample([each for each in possible if each not in chosen], paths - nodes)
    return RecurrentGenotype({n: tuple(path for node, path in chosen if node == n) for n in range(1, nodes + 1)})


def search(data: TextData, options: dict[str, Any]) -> dict[str, Any]:
    """Return the genotype that is found, and what each epoch ended with."""
    settings = PathSettings("darts_rnn", **options)
    set_seed(settings.seed)
    problem = TextPaths(DartsRnn(len(data.vocabulary), settings.size), data, settings.batch_size, settings.window)
    start = time.perf_counter()
    with PathView(settings.epochs, Console()) as view:
        architecture, epochs = search_paths(problem, settings, watch=lambda done, step: view.show(problem, done, step))
    architecture.derive(problem.paths.outgoing)
    genotype, (cell,) = problem.genotype()
    return {
        "genotype": genotype,
        "nodes": len(cell.nodes),
        "paths": sum(map(len, cell.nodes.values())),
        "perplexities": [each.score for each in epochs],
        "zero_paths": [each.zero_paths for each in epochs],
        "seconds": time.perf_counter() - start,
    }


def train(make: Callable[[], LanguageModel], data: TextData, options: dict[str, Any]) -> dict[str, Any]:
    """Return what a language model with new weights is worth when it is trained."""
    set_seed(0)
    model, start = make(), time.perf_counter()
    schedule = {name: options[name] for name in ("epochs", "batch_size", "lr")}
    record = text_loop.train(model, data, title=f"{model.size} units on {data.name}", **schedule)
    return {
        "num_params": measure.num_params(model),
        "size": model.size,
        "valid": perplexity(model, data.valid),
        "test": perplexity(model, data.test),
        "perplexities": [each["perplexity"] for each in record],
        "seconds": time.perf_counter() - start,
    }


def contestants(found: dict[str, Any], vocabulary_size: int, options: dict[str, Any]) -> dict[str, Any]:
    """Return what makes each network, by name."""
    dropouts, size = scaled(options["dropout"]), options["size"]

    def derived(genotype: RecurrentGenotype) -> LanguageModel:
        return DartsRnnNetwork(genotype, vocabulary_size, size, dropouts=dropouts)

    cells = {"AdamHAPG": RecurrentGenotype.from_json(found["genotype"])}
    for seed in range(RANDOM_CELLS):
        cells[f"random cell {seed}"] = random_genotype(found["nodes"], found["paths"], seed)
    num_params = measure.num_params(derived(cells["AdamHAPG"]))
    width = width_for(num_params, lambda each: lstm(vocabulary_size, each, dropouts))
    makes = {name: lambda genotype=genotype: derived(genotype) for name, genotype in cells.items()}
    return {**makes, "LSTM": lambda: lstm(vocabulary_size, width, dropouts)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="a folder with train.txt, valid.txt and test.txt")
    parser.add_argument("--quick", action="store_true", help="a trial: tiny, one epoch; needs --out")
    parser.add_argument("--out", type=Path, help=f"the JSON file (default {RESULTS})")
    arguments = parser.parse_args()
    if arguments.quick and not arguments.out:
        parser.error("--quick needs --out: its result is none")
    torch.set_num_threads(1)
    settings, out = (QUICK if arguments.quick else FULL), arguments.out or RESULTS
    size = settings["vocabulary"]
    data = python_topics(size) if arguments.data_dir is None else read_text(arguments.data_dir, size)
    data = replace(data, **{part: getattr(data, part)[: settings["words"]] for part in PARTS})
    result: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "environment": measure.environment(),
        "settings": settings,
        "text": {"name": data.name, "words": len(data.train), "vocabulary": len(data.vocabulary)},
        "search": None,
        "networks": {},
    }
    if out.exists():
        before = json.loads(out.read_text("utf-8"))
        if (before["settings"], before["text"]) != (result["settings"], result["text"]):
            sys.exit(f"{out} is of other settings or of another text; move it away, or pass --out")
        result |= {name: before[name] for name in ("search", "networks")}
    out.parent.mkdir(parents=True, exist_ok=True)

    def write() -> None:
        out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")

    if result["search"] is None:
        result["search"] = search(data, settings["search"])
        write()
    for name, make in contestants(result["search"], len(data.vocabulary), settings["training"]).items():
        if name not in result["networks"]:
            result["networks"][name] = train(make, data, settings["training"])
            write()
            print(name, f"{result['networks'][name]['test']:.1f}", flush=True)


if __name__ == "__main__":
    main()
