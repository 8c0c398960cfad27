"""Optimizers that make whole groups of parameters zero, and the maths they share."""

from autosubnet.optim.adam_hapg import AdamHAPG
from autosubnet.optim.bilevel import first_order_gradient, second_order_gradient
from autosubnet.optim.carry import carry_optimizer
from autosubnet.optim.h2spg import H2SPG
from autosubnet.optim.hapg import HAPG
from autosubnet.optim.lambda_path import LambdaPath
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
    "HAPG",
    "AdamHAPG",
    "LambdaPath",
    "Progress",
    "ScoreFunction",
    "carry_optimizer",
    "first_order_gradient",
    "magnitude_score",
    "prox_group_l2",
    "prox_l1",
    "prox_sgl",
    "random_score",
    "redundancy_score",
    "second_order_gradient",
    "taylor_score",
]
