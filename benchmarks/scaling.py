"""Claim: zero propagation costs less than two eager forwards; validity and construction are linear in the graph.

For each model, a random valid third of its groups is zeroed; then, on one thread:

* processor seconds of an eager forward in eval mode, of zero propagation (the masks of the parameters' values, and
  from these those of all nodes), of the validity of all groups, added one after the other, and of construction
  without verification; of capture with partition too, for comparison;
* memory: what zero propagation allocates at its peak (Python and numpy by ``tracemalloc``, tensors as below), and what
  a forward holds at its peak: parameters, buffers, and the activations that are alive at once. Scratch memory inside
  of an operator is not counted, which only lowers the limit.

Curves: chains of residual blocks of four vertices each, of 100 to 100,000 vertices, four features wide, so that the
arithmetic costs nothing; as many alternatives in a chain, where every second group is refused; and one concat of 200 to
10,000 branches.

It ends with status 1 where zero propagation takes more than two forwards of time or memory on ResNet-152, ViT-L/16 or
the chain of 10,000 vertices, or where a vertex takes more than three times as long in the largest graph of a curve
as it does in the smaller one of SMALL. Forward and propagation are the best of several runs that take turns.

    python benchmarks/scaling.py
"""

from __future__ import annotations

import argparse
import gc
import json
import shlex
import sys
import time
import tracemalloc
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import torch
import torchvision
from speed import Block
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from autosubnet import AutoSubnet
from autosubnet.graph.validity import Validity
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation, values_of
from autosubnet.training.measure import environment

RESULTS = Path(__file__).parent / "results" / "scaling.json"
IMAGENET = ("resnet152", "vit_l_16")
CHAINS = (100, 1_000, 10_000, 100_000)
ALTERNATIVES = (1_000, 10_000, 100_000)
BRANCHES = (200, 2_000, 10_000)
LIMITED = (*IMAGENET, "chain of 10000")
FORWARDS_ALLOWED = 2
GROWTH_ALLOWED = 3
SMALL = {
    "chain of 100000": "chain of 1000",
    "alternatives of 100000": "alternatives of 1000",
    "concat of 10000": "concat of 200",
}
STAGES = ("capture", "values", "propagation", "validity", "construct")
T = TypeVar("T")


class Wide(nn.Module):
    """One concat of many branches."""

    def __init__(self, branches: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Linear(4, 4) for _ in range(branches))
        self.last = nn.Linear(4 * branches, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.cat([branch(x) for branch in self.branches], 1))


class Either(nn.Module):
    """A sum of two layers, of which one may go: every second group is refused."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.first(x) + self.second(x))


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors that operators return, for as long as any tensor over their memory lives."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: Counter[int] = Counter()  # address of the memory -> tensors over it
        self.bytes = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {each.untyped_storage().data_ptr() for each in tree_leaves(args) if isinstance(each, torch.Tensor)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._add(tensor, given)
        return result

    def _add(self, tensor: torch.Tensor, given: set[int]) -> None:
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        if address in given and not self.tensors[address]:
            return  # a view of a parameter or of the input
        if not self.tensors[address]:
            self.bytes += size
            self.peak = max(self.peak, self.bytes)
        self.tensors[address] += 1
        weakref.finalize(tensor, self._remove, address, size).atexit = False

    def _remove(self, address: int, size: int) -> None:
        self.tensors[address] -= 1
        if not self.tensors[address]:
            self.bytes -= size


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """Return the processor's time for a call, and its result."""
    gc.collect()
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


def forward_bytes(model: nn.Module, inputs: torch.Tensor) -> int:
    """Return what a forward holds at its peak."""
    with torch.no_grad(), LiveTensors() as live:
        model(inputs)
    return live.peak + sum(each.nbytes for each in [*model.parameters(), *model.buffers()])


def mask_bytes(view: GraphView) -> int:
    """Return what zero propagation allocates at its peak."""
    gc.collect()
    with LiveTensors() as live:
        values_of(view)
    tracemalloc.start()
    Propagation(view, values_of(view))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak + live.peak


def add_all(oto: AutoSubnet) -> int:
    """Add all groups one after the other to a set that stays valid; return how many it took."""
    validity = Validity(oto._view)
    return sum(validity.try_add(group) for group in oto.groups)


def measure(model: nn.Module, inputs: torch.Tensor, repeats: int) -> dict[str, Any]:
    """Measure one model."""
    model.eval()
    for parameter in model.parameters():
        if not parameter.any():  # as a head that is born zero: as it is after training
            nn.init.normal_(parameter, std=0.02)

    @torch.no_grad()
    def forward() -> torch.Tensor:
        return model(inputs)

    seconds: dict[str, float] = {}
    seconds["capture"], oto = timed(lambda: AutoSubnet(model, inputs))
    oto.random_set_zero_groups(1 / 3)
    view = oto._view
    values = values_of(view)
    turns = {
        "forward": forward,
        "values": lambda: values_of(view),
        "propagation": lambda: Propagation(view, values),
    }
    times = [{stage: timed(function)[0] for stage, function in turns.items()} for _ in range(repeats)]
    seconds |= {stage: min(each[stage] for each in times) for stage in turns}
    seconds["validity"], valid = timed(lambda: add_all(oto))
    seconds["construct"], _ = timed(lambda: oto.construct_subnet(verify=False))
    memory = {"forward": forward_bytes(model, inputs), "masks": mask_bytes(view)}
    vertices = len(view.nodes)
    return {
        "vertices": vertices,
        "groups": len(oto.groups),
        "valid_together": valid,
        "seconds": seconds,
        "microseconds_a_vertex": {stage: seconds[stage] / vertices * 1e6 for stage in STAGES},
        "bytes": memory,
        "forwards": {
            "time": (seconds["values"] + seconds["propagation"]) / seconds["forward"],
            "memory": memory["masks"] / memory["forward"],
        },
    }


def models() -> Iterator[tuple[str, nn.Module, torch.Tensor]]:
    """Yield the models with their names and inputs."""
    for name in IMAGENET:
        yield name, torchvision.models.get_model(name, weights=None), torch.randn(1, 3, 224, 224)
    for vertices in CHAINS:
        yield f"chain of {vertices}", nn.Sequential(*(Block() for _ in range(vertices // 4))), torch.randn(2, 4)
    for vertices in ALTERNATIVES:
        model = nn.Sequential(*(Either() for _ in range(vertices // 4)))
        yield f"alternatives of {vertices}", model, torch.randn(2, 4)
    for branches in BRANCHES:
        yield f"concat of {branches}", Wide(branches), torch.randn(2, 4)


def misses(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield what exceeds its limit."""
    for name in LIMITED:
        for what, forwards in rows[name]["forwards"].items():
            if forwards > FORWARDS_ALLOWED:
                yield f"zero propagation on {name}: {forwards:.2f} forwards of {what}, of {FORWARDS_ALLOWED}"
    for large, small in SMALL.items():
        before, after = rows[small]["microseconds_a_vertex"], rows[large]["microseconds_a_vertex"]
        for stage in STAGES:
            if after[stage] > GROWTH_ALLOWED * before[stage]:
                yield f"{stage} of the {large}: {after[stage] / before[stage]:.1f} times a vertex of the {small}"


def table(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a table: costs in forwards, and microseconds a vertex."""
    yield f"{'':23}{'vertices':>9}{'time':>8}{'memory':>8}  " + "".join(f"{stage:>12}" for stage in STAGES)
    for name, row in rows.items():
        costs = "".join(f"{row['forwards'][what]:8.2f}" for what in ("time", "memory"))
        stages = "".join(f"{row['microseconds_a_vertex'][stage]:12.1f}" for stage in STAGES)
        yield f"{name:23}{row['vertices']:9}{costs}  {stages}"
    yield "time and memory: of zero propagation, in eager forwards; then microseconds a vertex"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--repeats", type=int, default=7, help="timings of forward and propagation (default %(default)s)"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file (default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = {}
    for name, model, inputs in models():
        rows[name] = measure(model, inputs, arguments.repeats)
        print(name, json.dumps(rows[name]), flush=True)
    result = {
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment(),
        "rows": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(*table(rows), sep="\n")
    if missed := list(misses(rows)):
        sys.exit("too much: " + "; ".join(missed))


if __name__ == "__main__":
    main()
