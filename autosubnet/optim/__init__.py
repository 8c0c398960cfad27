"""Optimizers that make whole groups of parameters zero, and the maths they share."""

from autosubnet.optim.carry import carry_optimizer
from autosubnet.optim.h2spg import H2SPG
from autosubnet.optim.prox import prox_group_l2, prox_l1, prox_sgl
from autosubnet.optim.saliency import (
    ScoreFunction,
    magnitude_score,
    random_score,
    redundancy_score,
    taylor_score,
)
from autosubnet.optim.schedule import Progress

__all__ = [
    "H2SPG",
    "Progress",
    "ScoreFunction",
    "carry_optimizer",
    "magnitude_score",
    "prox_group_l2",
    "prox_l1",
    "prox_sgl",
    "random_score",
    "redundancy_score",
    "taylor_score",
]
