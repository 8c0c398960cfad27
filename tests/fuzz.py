"""The promises on as many random networks as there is time for; for the first that fails a smaller network is searched.

    make fuzz                                  # 20,000 networks
    python tests/fuzz.py --models 2000 --processes 2

Each network has a seed of its own, so that a run repeats; the counts and the date are added to a result file. A run
goes on where another stopped with ``--first``; what failed in earlier runs is tried again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import shlex
import signal
import sys
import traceback
import warnings
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from plan_text import plan_in
from plans import Plan
from random_models import draw_plan
from shrinking import smallest
from test_random_models import check_model

from autosubnet.errors import AutoSubnetWarning
from autosubnet.training.measure import environment

BATCH = 100
SECONDS = 300  # for one network, where most take one second
COUNTED = ("models", "groups", "removed")
SPARSITIES = (0.5, 0.34, 0.75, 1.0)
HOME = Path(__file__).parent.parent
RESULTS = HOME / "benchmarks" / "results" / "fuzz.json"


def batch(first: int) -> tuple[set[str], int, int, dict[int, str]]:
    """Check the networks of some seeds; return which they were, their groups, how many went, and what failed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", AutoSubnetWarning)
    seen: set[str] = set()
    groups = removed = 0
    failures: dict[int, str] = {}
    for seed in range(first, first + BATCH):
        plan = draw_plan(random.Random(seed).choice)
        counts = check(plan, seed)
        if isinstance(counts, str):
            failures[seed] = counts
            continue
        seen.add(hashlib.sha256(str(plan).encode()).hexdigest())
        groups, removed = groups + counts[0], removed + counts[1]
    return seen, groups, removed, failures


def check(plan: Plan, seed: int) -> tuple[int, int] | str:
    """Check a network; return its number of groups and of those that were removed, or what failed: a time-out, too."""
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(SECONDS)
    try:
        return check_model(plan, SPARSITIES[seed % len(SPARSITIES)], seed % 10)
    except (Exception, pytest.fail.Exception):  # noqa: BLE001  # whatever went wrong is the result
        told = traceback.format_exc().replace(f"{HOME}/", "")
        return f"{told}\n{plan}"
    finally:
        signal.alarm(0)


def _out_of_time(*_: object) -> None:
    raise TimeoutError(f"a network took more than {SECONDS} seconds")


def tried_again(run: dict[str, Any]) -> dict[str, Any]:
    """Return an earlier run with the failures that are none any more by themselves: the same networks pass now."""
    mended = {
        seed: what for seed, what in run["failures"].items() if not isinstance(check(plan_in(what), int(seed)), str)
    }
    left = {seed: what for seed, what in run["failures"].items() if seed not in mended}
    return {**run, "failures": left, "mended": {**run.get("mended", {}), **mended}}


def made_smaller(seed: int, what: str) -> Plan:
    """Return a smaller network that fails at the same place as that of a seed."""

    def fails(plan: Plan) -> bool:
        result = check(plan, seed)
        return isinstance(result, str) and place_of(result) == place_of(what)

    return smallest(draw_plan(random.Random(seed).choice), fails)


def place_of(what: str) -> tuple[str, str]:
    """Return the function in which something failed, and the kind of the error."""
    functions = re.findall(r'File ".*", line \d+, in (\w+)', what)
    kinds = re.findall(r"^([\w.]*(?:Error|Exception|Failed|Warning))\b", what, re.MULTILINE)
    return functions[-1], kinds[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=20_000, help="how many networks (default %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="at once (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file to add to (default %(default)s)")
    arguments = parser.parse_args()
    runs = json.loads(arguments.out.read_text("utf-8"))["runs"] if arguments.out.exists() else []
    earlier = [tried_again(run) for run in runs]
    counts, failures, seen = [0, 0, 0], dict[int, str](), set[str]()
    firsts = range(arguments.first, arguments.first + arguments.models, BATCH)
    with get_context("spawn").Pool(arguments.processes, maxtasksperchild=4) as pool:
        for *found, failed in pool.imap_unordered(batch, firsts):
            seen |= found[0]
            counts = [len(seen), *(total + new for total, new in zip(counts[1:], found[1:], strict=True))]
            failures |= failed
            for seed, what in failed.items():
                print(f"seed {seed}:\n{what}", flush=True)
            run = {
                "command": shlex.join(["python", *sys.argv]),
                "date": datetime.now(UTC).date().isoformat(),
                "environment": environment(),
                **dict(zip(COUNTED, counts, strict=True)),
                "failures": failures,
            }
            runs = [*earlier, run]
            totals = {name: sum(each[name] for each in runs) for name in COUNTED}
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps({**totals, "runs": runs}, indent=2) + "\n", "utf-8")
            print(f"{counts[0]} models, {len(failures)} failures", flush=True)
    if failures:
        first = min(failures)
        run["smallest"] = {first: str(made_smaller(first, failures[first]))}
        arguments.out.write_text(json.dumps({**totals, "runs": runs}, indent=2) + "\n", "utf-8")
        print(f"a small network that fails:\n{run['smallest'][first]}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
