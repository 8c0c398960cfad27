"""Claim: zero propagation claims nothing that is not zero, and next to all that is.

A judge that shares nothing with the rules (``tests/judge.py``) finds by brute force which entries are really zero, in
random networks and in the adversarial specimens, and the proof is held against it:

* ``groups``: random networks with a random valid half of their groups at zero;
* ``slices``: the same networks with random slices of all parameters at zero;
* ``specimens``: the adversarial specimens with their zeros made by hand.

Counted are the tensors that operators compute. An operator loses a zero *here* if its rule does not claim it although
it is told all that is really zero ahead of it; other entries that are not claimed were lost further up. Entries that
are zero by an accident that no run found count as lost, so the shares err on the low side.

It ends with status 1 where anything is claimed that is not zero.

    python benchmarks/completeness.py
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import fx

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from adversarial.test_adversarial import SPECIMENS, prepared
from judge import judge, masks_in, scatter
from random_models import random_model
from subnet.checks import zero

from autosubnet import AutoSubnet
from autosubnet.capture import Inputs, Trace, capture
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation, values_of
from autosubnet.ops.masks import compress
from autosubnet.ops.rule import Rule, Unknown
from autosubnet.training.measure import environment

RESULTS = Path(__file__).parent / "results" / "completeness.json"
COUNTS = ("entries", "entries_proven", "vertices", "vertices_proven")
WRITTEN, ONE_MODE, BUFFER = "(memory that is written later)", "(runs in one mode only)", "(buffer)"
NO_RULE, ACCIDENT = "it has no rule", "not known; perhaps an accident that no run found"
POSITIONS = "channels are told apart, positions are not: at a border all taps that are not zero may miss the image"
PADDING = "positions that are padded with zero, or lie next to other padding, are not told apart"
WHOLE = "entries are moved about, but the rule asks for a tensor that is wholly zero"
VARYING = "along a size that may vary no place is told from another: it is claimed wholly or not at all"
SIGNS = "signs are not known: the lesser of a zero and a ReLU is zero"
REASONS = {
    WRITTEN: "nothing is claimed of memory that an in-place operation writes",
    ONE_MODE: "what it reads is zero in that mode alone, and a mask holds for both",
    BUFFER: "training may change it",
    **dict.fromkeys(("Conv1d", "Conv2d", "conv1d", "conv2d", "conv3d"), POSITIONS),
    **dict.fromkeys(("ConvTranspose1d", "ConvTranspose2d"), POSITIONS),
    **dict.fromkeys(("interpolate", "MaxPool2d", "AvgPool2d"), POSITIONS),
    **dict.fromkeys(("minimum", "maximum", "min", "amin", "amax", "gt", "lt"), SIGNS),
    "einsum": "where each term has a zero factor, the rule takes what is read of each factor together",
    "matmul": "where each term has a zero factor, the rule takes both factors' rows together",
    **dict.fromkeys(("flatten", "view", "reshape", "getitem", "cat"), VARYING),
    "max_pool2d_with_indices": "the index of the first of equal entries; indices are never claimed",
    "Hidden": "a module that cannot be followed",
    "pad": PADDING,
    "ConstantPad2d": PADDING,
    "MultiheadAttention": "the rule looks at the output projection alone, not at zero values",
    "softmax": "where -inf comes in, zero comes out; of other numbers than zero nothing is known",
    "masked_fill": "where the mask is known not to hold, the input stays; the rule does not look at the mask",
    "where": "the choice is known where what it compares is zero; the rule does not look at it",
    "AdaptiveMaxPool2d": "the index of the first of equal entries; indices are never claimed",
    "zeros_like": "on purpose: the zeros that a construction leaves behind would be found again by the next",
    "new_zeros": "on purpose: the zeros that a construction leaves behind would be found again by the next",
    "pixel_shuffle": WHOLE,
    "triu": WHOLE,
    "sub": "the difference of a tensor with itself; which values are equal is not known",
}


class Tally:
    """What was counted so far, over all models of a kind and by operator."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.lost: dict[str, Counter[str]] = {}
        self.without_rule: set[str] = set()
        self.wrong: list[str] = []
        self.unjudged: list[str] = []

    def add(self, kind: str, name: str, trace: Trace, draws: int) -> None:
        """Hold the proof on one model against the judge."""
        view = GraphView(trace)
        verdict = judge(trace, draws=draws, gradients=3)
        proof = Propagation(view, values_of(view))
        claims = {node.name: mask for node, mask in proof.masks.items()}
        self.wrong += [f"{kind} {name}: {each}" for each in verdict.refutes(claims)]
        self.unjudged += [f"{kind} {name}: {len(verdict.unjudged)} vertices"] if verdict.unjudged else []
        counts = self.counts.setdefault(kind, Counter(models=0))
        counts["models"] += 1
        told = Propagation(view, values_of(view))
        told.masks.update(
            {n: truth(proof.masks[n], verdict.zero[n.name]) for n in view.nodes if n.name in verdict.zero}
        )
        for node in view.nodes:
            operator = operator_of(view, node)
            if node.name not in verdict.zero or operator is None:
                continue
            masks = zip(verdict.zero[node.name], claims_in(proof, node), masks_in(told.transfer(node)), strict=True)
            found = [(zeros, np.broadcast_to(claim, zeros.shape), here) for zeros, claim, here in masks]
            here = sum(int((zeros & ~claim & ~able).sum()) for zeros, claim, able in found)
            lost = sum(int((zeros & ~claim).sum()) for zeros, claim, _ in found)
            whole = bool(found) and all(zeros.size and zeros.all() for zeros, _, _ in found)
            proven = whole and all(claim.all() for _, claim, _ in found)
            if lost:
                row = self.lost.setdefault(operator, Counter())
                if type(view.rules.get(node)) in (Rule, Unknown):
                    self.without_rule.add(operator)
                row.update(here=here, further_up=lost - here, vertices=bool(here) and whole and not proven)
            if node.op.startswith("call"):
                entries = sum(int(zeros.sum()) for zeros, _, _ in found)
                counts.update(dict(zip(COUNTS, (entries, entries - lost, whole, proven), strict=True)))

    def result(self) -> dict[str, Any]:
        """Return what was counted, the operators that lose most first."""
        models = {
            kind: {name: int(counts[name]) for name in ("models", *COUNTS)} for kind, counts in self.counts.items()
        }
        for row in models.values():
            row["share"] = row["entries_proven"] / max(row["entries"], 1)
            row["share_of_vertices"] = row["vertices_proven"] / max(row["vertices"], 1)
        rows = sorted(self.lost.items(), key=lambda item: (-item[1]["here"], item[0]))
        reasons = {**REASONS, **dict.fromkeys(self.without_rule - {WRITTEN, ONE_MODE}, NO_RULE)}
        lost = {operator: {**row, "reason": reasons.get(operator, ACCIDENT)} for operator, row in rows if row["here"]}
        return {"models": models, "lost": lost, "wrong": self.wrong, "unjudged": self.unjudged}


def truth(masks: Any, zeros: list[Any]) -> Any:
    """Return what the judge found, in the structure of ``masks``."""
    left = iter(zeros)

    def one(mask: Any) -> Any:
        if isinstance(mask, tuple):
            return tuple(one(each) for each in mask)
        return None if mask is None else compress(next(left))

    return one(masks)


def claims_in(proof: Propagation, node: fx.Node) -> list[Any]:
    return masks_in(proof.masks[node])


def operator_of(view: GraphView, node: fx.Node) -> str | None:
    """Return under which name a loss is counted; ``None`` for inputs, parameters and containers."""
    if node.op == "get_attr":
        return None if view.attribute_name(node) in view.parameters else BUFFER
    if node.op == "placeholder" or isinstance(node.target, type):
        return None
    if node.meta["mutated"]:
        return WRITTEN
    return ONE_MODE if len(node.meta["modes"]) == 1 else view.calls[node].name


def models(count: int) -> Iterator[tuple[str, str, Trace]]:
    """Yield kind, name and trace of every model, with its zeros in place."""
    for seed in range(count):
        model, inputs = random_model(seed)
        trace = capture(model, Inputs.of(inputs))
        AutoSubnet(model, inputs).random_set_zero_groups(0.5, seed=seed)
        yield "groups", str(seed), trace
        scatter(model, seed)
        yield "slices", str(seed), trace
    for specimen in SPECIMENS:
        model, inputs = prepared(specimen)
        trace = capture(model, Inputs.of(inputs))
        zero(model, specimen.zeros)
        yield "specimens", specimen.name, trace


def table(result: dict[str, Any]) -> str:
    """Return the result for a person."""
    lines = [f"{'':12}{'models':>8}{'entries':>12}{'proven':>10}{'vertices':>10}{'proven':>10}"]
    for kind, row in result["models"].items():
        shares = f"{row['share']:>10.2%}{row['vertices']:>10}{row['share_of_vertices']:>10.2%}"
        lines.append(f"{kind:12}{row['models']:>8}{row['entries']:>12}{shares}")
    lines.append(f"\n{'lost at':36}{'entries':>10}{'vertices':>10}{'further up':>12}  reason")
    for operator, row in result["lost"].items():
        lines.append(f"{operator:36}{row['here']:>10}{row['vertices']:>10}{row['further_up']:>12}  {row['reason']}")
    lines += [f"\nWRONG {each}" for each in result["wrong"]]
    lines += [f"no verdict: {each}" for each in result["unjudged"]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=300, help="how many random networks (default %(default)s)")
    parser.add_argument("--draws", type=int, default=21, help="runs of each in each mode (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file (default %(default)s)")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    tally = Tally()
    for kind, name, trace in models(arguments.models):
        tally.add(kind, name, trace, arguments.draws)
    result = {
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment(),
        **tally.result(),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    print(table(result))
    sys.exit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
