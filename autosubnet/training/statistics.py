"""Running statistics of norms, computed anew: those of a search lag behind its path weights.

They are averages over the last steps, in which path weights move by several per cent a step and ``derive()`` makes some
of them zero. Eval mode then computes with statistics of networks that are no more.
"""

from __future__ import annotations

import itertools

import torch
from torch.nn.modules.batchnorm import _NormBase

from autosubnet.training.path_problem import PathProblem

_BATCHES = 50  # are enough for means and variances, and cost little beside an epoch


@torch.no_grad()
def recalibrate(problem: PathProblem) -> None:
    """Replace running means and variances by their averages over batches of what the weights are trained on.

    As :func:`torch.optim.swa_utils.update_bn`, but norms that a model keeps in eval mode stay as they are. The mode is
    restored. The order of the batches is always the same, and drawn apart from that of the training.

    Args:
        problem: the model, on any device, and the data.
    """
    model = problem.model
    training = model.training
    model.train()
    norms = [each for each in model.modules() if isinstance(each, _NormBase) and each.training]
    norms = [each for each in norms if each.track_running_stats and each.running_mean is not None]
    momenta = [each.momentum for each in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's word for the average of all
        if norms:
            batches = problem.batches(torch.Generator().manual_seed(0), next(model.parameters()).device)
            for seen, _ in itertools.islice(batches, _BATCHES):
                problem.loss(model, seen)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(training)
