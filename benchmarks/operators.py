"""Zeros in front of every operator that torch's own tests know: is the proof right, and are the subnets equal?

Each operator is called as those tests call it, as a function, a method and in place, on inputs times parameters in
which entries, slices or all are zero. ``remove_zeros`` must return an equal network, what it proves zero must be zero
before the judge of ``tests/judge.py``, and a set of slices that the check of connectivity calls valid must leave each
output as it was: dependent on what it depended on. Nothing here knows which rule an operator has, or if it has one.

    python benchmarks/operators.py                  # about 20 minutes on one core
    python benchmarks/operators.py softmax where    # by torch's names; nothing is written
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shlex
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

sys.path.pop(0)  # this folder, whose coverage.py is not the one that numba imports
sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from torch_operators import CONNECTED, EXACT, Called, calls, connected, exact

from autosubnet.training.measure import environment

HOME = Path(__file__).parent.parent
RESULTS = HOME / "benchmarks" / "results" / "operators.json"
SECONDS = 60  # for one network
FINE = ("exact", "smaller", "valid", "invalid", "invalid, connected", "not run", "out of time")
CHECKS = {"exact": (exact, EXACT), "connected": (connected, CONNECTED)}


def sweep(count: int, patterns: int, names: list[str]) -> dict[str, Any]:
    """Return what became of ``count`` calls of each operator, each with so many patterns of zeros."""
    operators: set[str] = set()
    counts = {check: Counter[str]() for check in CHECKS}
    wrong: dict[str, str] = {}
    refused: dict[str, set[str]] = {}
    for name, make in calls(count, names):
        operators.add(name.split()[0])
        draw = random.Random(name)
        for check, (function, choice) in CHECKS.items():
            for pattern in draw.sample(choice, patterns):
                seed = draw.randrange(1000)
                found = in_time(function, make, pattern, seed)
                kind = found.split(":")[0]
                counts[check][kind] += 1
                if kind == "refused":
                    refused.setdefault(_without_numbers(found), set()).add(name.split()[0])
                elif kind not in FINE:
                    wrong[f"{name} {pattern} {seed}"] = found
                    print(name, pattern, seed, found, flush=True)
    return {
        "operators": len(operators),
        "counts": {check: dict(sorted(found.items())) for check, found in counts.items()},
        "wrong": wrong,
        "refused": {reason: sorted(found) for reason, found in sorted(refused.items())},
    }


def in_time(check: Callable[..., str], make: Callable[[], Called], pattern: Any, seed: int) -> str:
    """Return what a check says of a network, or which error it ended with."""
    signal.signal(signal.SIGALRM, _out_of_time)
    signal.alarm(SECONDS)
    torch.manual_seed(seed)
    try:
        return check(make(), pattern, seed)
    except TimeoutError:
        return "out of time"
    except Exception as error:  # noqa: BLE001  # whatever went wrong is the result
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


def _out_of_time(*_: object) -> None:
    raise TimeoutError


def _without_numbers(message: str) -> str:
    message = message.removeprefix("refused: ").replace(f"{HOME}/", "")
    return re.sub(r"\d[\d.e+-]*", "N", message)[:160]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="operators (default: all)")
    parser.add_argument("--calls", type=int, default=3, help="of each operator (default %(default)s)")
    parser.add_argument("--patterns", type=int, default=3, help="of zeros for each call (default %(default)s)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    result = {
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment(),
        **sweep(arguments.calls, arguments.patterns, arguments.names),
    }
    print(json.dumps({name: result[name] for name in ("operators", "counts")}, indent=1))
    if not arguments.names:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    sys.exit(bool(result["wrong"]))


if __name__ == "__main__":
    main()
