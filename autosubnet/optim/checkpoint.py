"""What H2SPG adds to a state dict: plain values and one tensor, so that ``weights_only=True`` can load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from autosubnet.errors import StateError
from autosubnet.graph.groups import Group
from autosubnet.optim.fingerprint import check_partition, digest
from autosubnet.optim.schedule import Schedule
from autosubnet.optim.target import Target

KEY = "h2spg"


@dataclass(frozen=True)
class Settings:
    """What a run of H2SPG was started with, and continues with when it is resumed.

    Attributes:
        variant: the base optimizer.
        schedule: lengths of the phases.
        target: what is to be reached.
        score_momentum: omega of Algorithm 3.
        epsilon: of the half-space projection.
    """

    variant: str
    schedule: Schedule
    target: Target
    score_momentum: float
    epsilon: float


@dataclass
class Run:
    """What changes from step to step.

    Attributes:
        step: completed steps.
        scores: averaged redundancy score of each group, float64.
        planned: indices of groups that reach the target; empty until the warm-up ends.
        chosen: those of them that have been chosen to become zero, the first.
        zeroed: those of the chosen that are zero, and stay so.
    """

    step: int
    scores: Tensor
    planned: tuple[int, ...] = ()
    chosen: tuple[int, ...] = ()
    zeroed: tuple[int, ...] = ()


def pack(groups: Sequence[Group], settings: Settings, run: Run) -> dict[str, Any]:
    """Settings, run and a fingerprint of the partition as plain values."""
    return {
        "group_names": [group.name for group in groups],
        "group_slices": [digest(group) for group in groups],
        "variant": settings.variant,
        "warmup_steps": settings.schedule.warmup,
        "projection_steps": settings.schedule.projection,
        "total_steps": settings.schedule.total,
        "selection_periods": settings.schedule.periods,
        "target": asdict(settings.target),
        "score_momentum": settings.score_momentum,
        "epsilon": settings.epsilon,
        "step": run.step,
        "scores": run.scores.clone(),
        "planned": list(run.planned),
        "chosen": list(run.chosen),
        "zeroed": list(run.zeroed),
    }


def unpack(state_dict: Mapping[str, Any], groups: Sequence[Group], variant: str) -> tuple[Settings, Run]:
    """The inverse of ``pack``.

    Args:
        state_dict: a whole state dict of the optimizer.
        groups: the partition that it has to fit.
        variant: the base optimizer that it has to fit.

    Raises:
        StateError: not a state dict of H2SPG, damaged, or of another partition or variant; the first
            difference.
    """
    packed = state_dict.get(KEY) if isinstance(state_dict, Mapping) else None
    if not isinstance(packed, dict):
        raise StateError(f"the state dict has no entry {KEY!r}: it was not written by H2SPG.state_dict()")
    try:
        check_partition(packed["group_names"], packed["group_slices"], groups)
        lengths = ("warmup_steps", "projection_steps", "total_steps", "selection_periods")
        schedule = Schedule(*(packed[name] for name in lengths))
        settings = Settings(
            packed["variant"], schedule, Target(**packed["target"]), packed["score_momentum"], packed["epsilon"]
        )
        scores = packed["scores"].to("cpu", torch.float64, copy=True)
        positions = (tuple(packed[name]) for name in ("planned", "chosen", "zeroed"))
        run = Run(packed["step"], scores, *positions)
    except (KeyError, TypeError, AttributeError) as error:
        raise StateError(f"the state dict's entry {KEY!r} is damaged: {error!r}; use another checkpoint") from error
    if settings.variant != variant:
        raise StateError(f"the state dict is of variant {settings.variant!r}, this optimizer of {variant!r}")
    nested = set(run.zeroed) <= set(run.chosen) <= set(run.planned) <= set(range(len(groups)))
    if run.scores.shape != (len(groups),) or not nested:
        raise StateError(f"the state dict's entry {KEY!r} is damaged: scores or choice do not fit its groups")
    return settings, run
