"""The command line on two processes, as ``accelerate launch`` and ``torchrun`` start them: one job, told once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SEARCH = ["-m", "autosubnet.cli", "search", "demo", "--width", "0.125", "--epochs", "2"]


def run(*launcher: str, out: Path) -> str:
    command = [sys.executable, *launcher, *SEARCH, "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_two_processes_do_the_job_of_one(tmp_path: Path) -> None:
    told = run("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", out=tmp_path / "two")
    assert told.count("Everything is in") == 1
    run(out=tmp_path / "one")
    two, one = (json.loads((tmp_path / name / "result.json").read_text("utf-8")) for name in ("two", "one"))
    assert len(two["losses"]) == len(one["losses"]) == 2
    assert two["losses"][-1] < two["losses"][0]
    assert len(two["removed"]) == len(one["removed"])
    assert two["relative_difference"] == 0.0
    assert {path.name for path in (tmp_path / "two").iterdir()} == {path.name for path in (tmp_path / "one").iterdir()}
