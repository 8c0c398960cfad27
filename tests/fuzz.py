"""The promises on as many random networks as there is time for; failures are shrunk by hypothesis and printed.

    make fuzz                                  # 20,000 networks
    python tests/fuzz.py --models 2000 --processes 2

Each batch of networks has a seed of its own, so that a run repeats; the count and the date go to a result file.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from plans import Plan
from random_models import plans
from test_random_models import check_model

from autosubnet.errors import AutoSubnetWarning
from autosubnet.training.measure import environment

BATCH = 100
RESULTS = Path(__file__).parent.parent / "benchmarks" / "results" / "fuzz.json"


def batch(number: int) -> tuple[int, int, int, str]:
    """Check one batch; return how many networks, their groups, how many of those went, and what failed."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    warnings.simplefilter("error", AutoSubnetWarning)
    seen: dict[str, tuple[int, int]] = {}

    @seeded(number)
    @settings(max_examples=BATCH, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(plan=plans(), sparsity=st.sampled_from((0.5, 0.34, 0.75, 1.0)), seed=st.integers(0, 9))
    def check(plan: Plan, sparsity: float, seed: int) -> None:
        if str(plan) not in seen:
            seen[str(plan)] = check_model(plan, sparsity, seed)

    failure = ""
    try:
        check()
    except Exception:  # noqa: BLE001  # whatever went wrong is the result
        failure = traceback.format_exc()
    groups, removed = (sum(counts) for counts in zip(*seen.values(), strict=True)) if seen else (0, 0)
    return len(seen), groups, removed, failure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=20_000, help="how many networks (default %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="at once (default %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="seed of the first batch (default %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the JSON file (default %(default)s)")
    arguments = parser.parse_args()
    counts, failures = [0, 0, 0], {}
    numbers = range(arguments.first, arguments.first + -(-arguments.models // BATCH))
    with ProcessPoolExecutor(arguments.processes, max_tasks_per_child=4) as pool:
        running = {pool.submit(batch, number): number for number in numbers}
        for done in as_completed(running):
            *found, failure = done.result()
            counts = [total + new for total, new in zip(counts, found, strict=True)]
            if failure:
                failures[running[done]] = failure
                print(f"batch {running[done]}:\n{failure}", flush=True)
            result = {
                "command": shlex.join(["python", *sys.argv]),
                "date": datetime.now(UTC).date().isoformat(),
                "environment": environment(),
                "models": counts[0],
                "groups": counts[1],
                "removed": counts[2],
                "failures": failures,
            }
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            arguments.out.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
            print(f"{counts[0]} models, {len(failures)} batches with a failure", flush=True)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
