"""The promises on as many random networks as there is time for; for the first that fails a smaller network is searched.

    make fuzz                                  # 20,000 networks
    python tests/fuzz.py --models 2000 --processes 2

Each network has a seed of its own, so that a run repeats; the counts and the date are added to a result file. A run
goes on where another stopped with ``--first``; what failed in earlier runs is tried again.
"""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
import traceback
import warnings
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, find, settings
from hypothesis.errors import NoSuchExample
from plans import Plan
from random_models import draw_plan, plans
from test_random_models import check_model

from autosubnet.errors import AutoSubnetWarning
from autosubnet.training.measure import environment

BATCH = 100
COUNTED = ("models", "groups", "removed")
SPARSITIES = (0.5, 0.34, 0.75, 1.0)
SEARCH = settings(max_examples=100, database=None, deadline=None, suppress_health_check=list(HealthCheck))
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "fuzz.json"


def batch(first: int) -> tuple[int, int, int, dict[int, str]]:
    """Check the networks of some seeds; return how many differ, their groups, how many went, and what failed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", AutoSubnetWarning)
    seen: set[str] = set()
    groups = removed = 0
    failures: dict[int, str] = {}
    for seed in range(first, first + BATCH):
        plan, counts = check(seed)
        if isinstance(counts, str):
            failures[seed] = counts
            continue
        seen.add(str(plan))
        groups, removed = groups + counts[0], removed + counts[1]
    return len(seen), groups, removed, failures


def check(seed: int) -> tuple[Plan, tuple[int, int] | str]:
    """Check the network of a seed; return it with its number of groups and of those that went, or with what failed."""
    plan = draw_plan(random.Random(seed).choice)
    try:
        return plan, check_model(plan, SPARSITIES[seed % len(SPARSITIES)], seed % 10)
    except (Exception, pytest.fail.Exception):  # noqa: BLE001  # whatever went wrong is the result
        return plan, f"{traceback.format_exc()}\n{plan}"


def tried_again(run: dict[str, Any]) -> dict[str, Any]:
    """Return an earlier run with the failures that are none any more, since they were mended, by themselves."""
    mended = {seed: what for seed, what in run["failures"].items() if not isinstance(check(int(seed))[1], str)}
    left = {seed: what for seed, what in run["failures"].items() if seed not in mended}
    return {**run, "failures": left, "mended": {**run.get("mended", {}), **mended}}


def smallest(seed: int) -> Plan:
    """Return a small network that fails as that of ``seed`` does, or that one where none is found."""
    sparsity = SPARSITIES[seed % len(SPARSITIES)]

    def fails(candidate: Plan) -> bool:
        try:
            check_model(candidate, sparsity, seed % 10)
        except (Exception, pytest.fail.Exception):  # noqa: BLE001
            return True
        return False

    try:
        return find(plans(), fails, settings=SEARCH)
    except NoSuchExample:
        return draw_plan(random.Random(seed).choice)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=20_000, help="how many networks (default %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="at once (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file to add to (default %(default)s)")
    arguments = parser.parse_args()
    runs = json.loads(arguments.out.read_text("utf-8"))["runs"] if arguments.out.exists() else []
    earlier = [tried_again(run) for run in runs]
    counts, failures = [0, 0, 0], {}
    firsts = range(arguments.first, arguments.first + arguments.models, BATCH)
    with get_context("spawn").Pool(arguments.processes, maxtasksperchild=4) as pool:
        for *found, failed in pool.imap_unordered(batch, firsts):
            counts = [total + new for total, new in zip(counts, found, strict=True)]
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
        print(f"a small network that fails:\n{smallest(min(failures))}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
