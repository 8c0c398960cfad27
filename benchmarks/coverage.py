"""Claim: any model of a public zoo gives an exact subnet, or one sentence about what stands in the way.

Every model runs in a process of its own, with a limit of time and of memory: capture, partition, and for five random
valid halves of its groups the zeros, the construction and its verification (eval and train mode, other values, another
batch size, another resolution or length where the model takes one).

    python benchmarks/coverage.py                            # everything: hours
    python benchmarks/coverage.py transformers torchvision:resnet18
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import resource
import shlex
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
import zoos

from autosubnet import AutoSubnet
from autosubnet.errors import AutoSubnetError, VerificationError
from autosubnet.training.measure import environment, num_params

RESULTS = Path(__file__).parent / "results" / "coverage.json"
SETS = range(5)
GIBIBYTE = 2**30


def measured(name: str) -> dict[str, Any]:
    """Return what became of one model; ``outcome`` is exact, nothing to remove, refused, wrong, or error (not ours).

    Wrong is what verification caught: a network that the compiler should not have made.
    """
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    start = time.perf_counter()
    model, inputs = zoos.make(name)
    row: dict[str, Any] = {"built": time.perf_counter() - start}
    try:
        row |= _removed(model, inputs)
    except VerificationError as error:
        row |= {"outcome": "wrong", "reason": f"{type(error).__name__}: {error}"}
    except AutoSubnetError as error:
        row |= {"outcome": "refused", "reason": f"{type(error).__name__}: {error}"}
    except Exception as error:  # noqa: BLE001  # an error that is not ours is the worst row of the table
        full = isinstance(error, MemoryError) or "can't allocate memory" in str(error)
        row |= {
            "outcome": "out of memory" if full else "error",
            "reason": f"{type(error).__name__}: {error}",
            "trace": re.sub(r"/\S*site-packages/", "", traceback.format_exc(limit=-3)),
        }
    row["seconds"] = time.perf_counter() - start - row["built"]
    return row


def _removed(model: torch.nn.Module, inputs: dict[str, Any]) -> dict[str, Any]:
    with torch.no_grad():
        forwards = [_seconds(lambda: model(**inputs)) for _ in range(3)]
    start = time.process_time()
    oto = AutoSubnet(model, inputs)
    row: dict[str, Any] = {
        "forward": min(forwards),
        "capture_and_partition": time.process_time() - start,
        "vertices": len(oto.graph.vertices),
        "groups": len(oto.groups),
        "refused_segments": len(oto.refused),
        "notes": [re.sub(r"/\S*site-packages/", "", note) for note in oto.notes[1:]],
    }
    if not oto.groups:
        return {**row, "outcome": "nothing to remove"}
    state = copy.deepcopy(model.state_dict())
    before, share, flops, differences = num_params(model), [], [], []
    total = oto.compute_flops()
    for seed in SETS:
        model.load_state_dict(state)
        oto.random_set_zero_groups(0.5, seed=seed)
        subnet = oto.construct_subnet()
        report = subnet.meta["autosubnet"]
        share.append(1 - report.num_params[1] / before)
        flops.append(1 - oto.compute_flops(subnet) / total if total else 0.0)
        differences.append(report.relative_difference)
        if report.constant_outputs:
            raise AssertionError(f"groups {seed} leave {report.constant_outputs} constant")
    return {
        **row,
        "outcome": "exact",
        "removed_params": max(share),
        "removed_flops": max(flops),
        "relative_difference": max(differences),
        "dtype": report.dtype,
    }


def _seconds(function: Callable[[], Any]) -> float:
    """Return the processor's time for a call: of one thread, and the same while other models run beside it."""
    start = time.process_time()
    function()
    return time.process_time() - start


def isolated(name: str, seconds: int, gibibytes: int) -> dict[str, Any]:
    """Measure one model in a process of its own."""
    command = [sys.executable, __file__, "--one", name]

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (gibibytes * GIBIBYTE, gibibytes * GIBIBYTE))

    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, preexec_fn=limit, check=False)
    except subprocess.TimeoutExpired:
        return {"outcome": "out of time", "reason": f"more than {seconds} s"}
    lines = done.stdout.splitlines()
    if done.returncode < 0:
        return {"outcome": "killed", "reason": f"by signal {-done.returncode}: most likely out of memory"}
    if done.returncode or not lines:
        return {"outcome": "not built", "reason": (done.stderr.strip().splitlines() or ["no word"])[-1][:300]}
    row: dict[str, Any] = json.loads(lines[-1])
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="sources or models (default: all)")
    parser.add_argument("--seconds", type=int, default=300, help="for one model (default %(default)s)")
    parser.add_argument("--gibibytes", type=int, default=16, help="of memory for one model (default %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="at once (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file; rows are replaced in it")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measured(arguments.one)))
        return
    result: dict[str, Any] = json.loads(arguments.out.read_text("utf-8")) if arguments.out.exists() else {"models": {}}
    result |= {
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment(),
    }
    names = zoos.named(arguments.names)
    with ThreadPoolExecutor(arguments.processes) as pool:
        rows = pool.map(lambda name: isolated(name, arguments.seconds, arguments.gibibytes), names)
        for name, row in zip(names, rows, strict=True):
            result["models"][name] = row
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
            print(f"{name:45} {row['outcome']:18} {row.get('groups', ''):>5} {row.get('reason', '')[:120]}", flush=True)
    outcomes = [result["models"][name]["outcome"] for name in names]
    print({outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))})
    sys.exit(any(outcome in ("error", "wrong", "not built") for outcome in outcomes))


if __name__ == "__main__":
    main()
