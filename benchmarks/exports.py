"""Claim: a subnet leaves the package by any way and computes the same.

For each of ten models a random valid third of the groups is removed. The subnet is written and read as ONNX (run by
ONNX Runtime), as a program of torch.export, compiled by torch.compile (Inductor, with free sizes), as the source file
of a saved folder in a process that cannot import this package, and by ``autosubnet.load``. Each is compared with the
subnet in float32 and eval mode, on new values, at the batch size of the examples and at another.

    python benchmarks/exports.py
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torchvision.models import DenseNet
from zoos.made import trained

from autosubnet import AutoSubnet, export_onnx, export_program, load, save
from autosubnet.capture.inputs import Inputs
from autosubnet.export.onnx import session_of
from autosubnet.supernets import create
from autosubnet.training.measure import environment

RESULTS = Path(__file__).parent / "results" / "exports.json"
BATCHES = (2, 5)
Outputs = list[Tensor]
Way = Callable[[nn.Module, Path, tuple[Tensor, ...]], Callable[[Tensor], Outputs]]
"""Writes a subnet into a folder by example inputs, and returns what runs the copy."""


class Sentences(nn.Module):
    """A recurrent and an attending block, each beside a shortcut, over tokens."""

    def __init__(self, tokens: int = 50, width: int = 32) -> None:
        super().__init__()
        self.embed = nn.Embedding(tokens, width)
        self.recurrent = nn.LSTM(width, width, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.out = nn.Linear(width, tokens)

    def forward(self, sentences: Tensor) -> Tensor:
        x = self.embed(sentences)
        x = x + self.recurrent(x)[0]
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + self.down(torch.relu(self.up(x)))
        return self.out(x)


def _images(side: int, channels: int = 3) -> Callable[[int], Tensor]:
    return lambda rows: torch.randn(rows, channels, side, side)


def _sentences(rows: int) -> Tensor:
    return torch.randint(50, (rows, 12))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "demo": (lambda: create("demo", width=0.25), _images(16, 1)),
    "stacked_unets": (lambda: create("stacked_unets", width=0.25), _images(32)),
    "super_resnet": (lambda: create("super_resnet", width=0.25, depths=(1, 1, 1)), _images(32)),
    "torchvision:resnet18": (lambda: create("torchvision:resnet18"), _images(64)),
    "torchvision DenseNet, 3 blocks of 3": (lambda: DenseNet(16, (3, 3, 3), 32), _images(64)),
    "torchvision:mobilenet_v3_small": (lambda: create("torchvision:mobilenet_v3_small"), _images(64)),
    "torchvision:googlenet": (lambda: create("torchvision:googlenet", init_weights=False), _images(64)),
    "timm:deit_tiny, 4 blocks": (lambda: create("timm:deit_tiny_patch16_224", img_size=64, depth=4), _images(64)),
    "LSTM and attention": (Sentences, _sentences),
    "darts": (lambda: create("darts", channels=4, cells=3), _images(32)),
}


def onnx(subnet: nn.Module, folder: Path, examples: tuple[Tensor, ...]) -> Callable[[Tensor], Outputs]:
    export_onnx(subnet, folder / "subnet.onnx", examples)
    session, _ = session_of(folder / "subnet.onnx", Inputs.of(examples))
    (source,) = session.get_inputs()
    return lambda x: [torch.from_numpy(each) for each in session.run(None, {source.name: x.numpy()})]


def program(subnet: nn.Module, folder: Path, examples: tuple[Tensor, ...]) -> Callable[[Tensor], Outputs]:
    export_program(subnet, folder / "subnet.pt2", examples)
    return _running(torch.export.load(folder / "subnet.pt2").module())


def compiled(subnet: nn.Module, folder: Path, examples: tuple[Tensor, ...]) -> Callable[[Tensor], Outputs]:
    torch._dynamo.reset()
    return _running(torch.compile(subnet, dynamic=True))


def source(subnet: nn.Module, folder: Path, examples: tuple[Tensor, ...]) -> Callable[[Tensor], Outputs]:
    saved = save(subnet, folder / "source")

    def run(x: Tensor) -> Outputs:
        torch.save(x, saved / "x.pt")
        subprocess.run([sys.executable, "-c", _SCRIPT], cwd=saved, check=True)
        outputs: Outputs = torch.load(saved / "y.pt", weights_only=True)
        return outputs

    return run


_SCRIPT = """
import sys
sys.modules["autosubnet"] = None
import torch
from torch.utils._pytree import tree_leaves
from model import load
torch.set_num_threads(1)
with torch.no_grad():
    torch.save(tree_leaves(load()(torch.load("x.pt", weights_only=True))), "y.pt")
"""


def loaded(subnet: nn.Module, folder: Path, examples: tuple[Tensor, ...]) -> Callable[[Tensor], Outputs]:
    return _running(load(save(subnet, folder / "loaded")))


def _running(network: Callable[..., Any]) -> Callable[[Tensor], Outputs]:
    def run(x: Tensor) -> Outputs:
        with torch.no_grad():
            return tree_leaves(network(x))

    return run


WAYS: dict[str, Way] = {
    "ONNX": onnx, "torch.export": program, "torch.compile": compiled, "source file": source, "load": loaded,
}  # fmt: skip


def subnet_of(name: str) -> tuple[nn.Module, tuple[Tensor, ...], dict[str, Any]]:
    """Return a model without a third of its groups, example inputs, and what is said of it."""
    torch.manual_seed(0)
    make, inputs = MODELS[name]
    model, example = make(), inputs(BATCHES[0])
    trained(model, {next(iter(_names(model))): example})
    oto = AutoSubnet(model, example)
    chosen = oto.random_set_zero_groups(1 / 3)
    subnet = oto.construct_subnet().eval()
    num_params = list(subnet.meta["autosubnet"].num_params)
    return subnet, (example,), {"groups": len(oto.groups), "removed": len(chosen), "num_params": num_params}


def _names(model: nn.Module) -> list[str]:
    code = model.forward.__code__
    return list(code.co_varnames[1 : code.co_argcount])


def measure(name: str, ways: dict[str, Way] = WAYS) -> dict[str, Any]:
    """Return the largest difference of each way out of the package, or why there is none."""
    subnet, examples, row = subnet_of(name)
    batches = [MODELS[name][1](rows) for rows in BATCHES]
    expected = [_running(subnet)(x) for x in batches]
    row |= {"largest_output": max(float(each.abs().max()) for outputs in expected for each in outputs), "ways": {}}
    for way, write in ways.items():
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            try:
                run = write(subnet, Path(folder), examples)
                found = [run(x) for x in batches]
                cell: dict[str, Any] = {"difference": _difference(expected, found)}
            except Exception as error:  # noqa: BLE001  # whatever fails is a cell of the table
                cell = {"error": f"{type(error).__name__}: {str(error).strip()[:300]}"}
        row["ways"][way] = {**cell, "seconds": time.perf_counter() - start}
    return row


def _difference(expected: list[Outputs], found: list[Outputs]) -> float:
    pairs = [pair for both in zip(expected, found, strict=True) for pair in zip(*both, strict=True)]
    if any(right.shape != seen.shape or right.dtype != seen.dtype for right, seen in pairs):
        raise AssertionError("outputs of other shapes")
    return max(float((right - seen).abs().max()) for right, seen in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(MODELS), help="models (default: all)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file; rows are replaced in it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    result: dict[str, Any] = json.loads(arguments.out.read_text("utf-8")) if arguments.out.exists() else {"models": {}}
    result |= {"command": shlex.join(["python", *sys.argv]), "batches": BATCHES, "environment": environment()}
    for name in arguments.names:
        result["models"][name] = row = measure(name)
        cells = {way: cell.get("difference", cell.get("error")) for way, cell in row["ways"].items()}
        print(name, row["removed"], "of", row["groups"], row["num_params"], cells, flush=True)
        print({way: round(cell["seconds"], 1) for way, cell in row["ways"].items()}, flush=True)
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    failed = any("error" in cell for row in result["models"].values() for cell in row["ways"].values())
    sys.exit(failed)


if __name__ == "__main__":
    main()
