"""One choice for all processes of a distributed run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import torch.distributed as dist
from torch import Tensor

from autosubnet.errors import StateError


def agreed(choose: Callable[[], list[int]], scores: Tensor) -> list[int]:
    """Return what ``choose`` returns on the first process, on all of them; by itself on a single one.

    A choice may depend on measured times, which differ between machines; the scores may not.

    Args:
        choose: makes the choice; what it raises is raised on every process.
        scores: what every process has computed, float64 on the CPU.

    Raises:
        StateError: the scores of some process differ from those of the first.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return choose()
    digest = hashlib.sha256(scores.numpy().tobytes()).hexdigest()
    digests: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(digests, digest)
    others = [rank for rank, each in enumerate(digests) if each != digests[0]]
    if others:
        raise StateError(
            f"the redundancy scores of processes {others} differ from those of process 0: their weights or gradients "
            f"do; wrap the model in DistributedDataParallel, and start all from the same weights"
        )
    result: list[Any] = [None]
    if dist.get_rank() == 0:
        try:
            result[0] = choose()
        except Exception as error:  # noqa: BLE001  # told to all, raised below
            result[0] = error
    dist.broadcast_object_list(result, src=0)
    if isinstance(result[0], Exception):
        raise result[0]
    chosen: list[int] = result[0]
    return chosen
