"""How redundant a group is: scores from per-group sums (OTOv3 Section 3.2, warm-up phase), and plainer ones beside it.

Each is a :data:`ScoreFunction`; one of your own is another. A group that is all zero, as zero-initialised ones are at
birth, has shown nothing yet: no score takes it for the most redundant.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ScoreFunction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""``score(x_dot_g, x_sq, g_sq, sizes) -> scores``: float64 vectors on the CPU, one entry a group."""


def redundancy_score(x_dot_g: Tensor, x_sq: Tensor, g_sq: Tensor, sizes: Tensor) -> Tensor:
    """Half the cosine between -x and -g, half the inverse magnitude, each brought into [0, 1] (DHSPG's
    criteria).

    A group is redundant where the negative gradient points the way of the projection onto zero, and where its
    variables are small. The cosine c becomes ``(1 + c) / 2``, and is 0 where the gradient vanishes. The root
    mean square r becomes ``m / (m + r)``, m its mean over the groups: unlike ``1 / r`` over its maximum, one
    tiny group does not make all others look alike. A group that is all zero scores 0, the lowest.

    Args:
        x_dot_g: sum of variable times gradient, for each group.
        x_sq: sum of squared variables, for each group.
        g_sq: sum of squared gradients, for each group.
        sizes: number of variables, for each group.

    Returns:
        Scores in [0, 1], the larger the more redundant.
    """
    alive = x_sq > 0
    norms = x_sq.sqrt() * g_sq.sqrt()
    cosine = _quotient(x_dot_g, norms).clamp(-1, 1)
    magnitude = (x_sq / sizes).sqrt()
    typical = _quotient(magnitude.sum(), alive.sum())
    inverse = _quotient(typical, typical + magnitude)
    return torch.where(alive, 0.25 * (1 + cosine) + 0.5 * inverse, 0.0)


def magnitude_score(x_dot_g: Tensor, x_sq: Tensor, g_sq: Tensor, sizes: Tensor) -> Tensor:
    """The inverse magnitude alone: the smaller the root mean square of its variables, the more redundant a group.

    Args and returns as :func:`redundancy_score`.
    """
    return _least_first(_quotient(x_sq, sizes).sqrt(), x_sq > 0)


def taylor_score(x_dot_g: Tensor, x_sq: Tensor, g_sq: Tensor, sizes: Tensor) -> Tensor:
    """First-order Taylor: the less the loss changes, to first order, when the group becomes zero (``|x . g|``).

    Molchanov et al., Pruning Convolutional Neural Networks for Resource Efficient Inference (2017), Eq. 6, for whole
    groups. Args and returns as :func:`redundancy_score`.
    """
    return _least_first(x_dot_g.abs(), x_sq > 0)


def random_score(seed: int = 0) -> ScoreFunction:
    """Return a score that knows nothing: the same random order of the groups in every step."""

    def score(x_dot_g: Tensor, x_sq: Tensor, g_sq: Tensor, sizes: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(sizes.numel(), generator=generator, dtype=torch.float64)

    return score


def _least_first(value: Tensor, alive: Tensor) -> Tensor:
    """Return scores in [0, 1], the larger the smaller a value is beside the mean of those that are not zero."""
    typical = _quotient(torch.where(alive, value, 0.0).sum(), alive.sum())
    return torch.where(alive, _quotient(typical, typical + value), 0.0)


def _quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Their quotient, 0 where the denominator is 0."""
    nonzero = denominator != 0
    return torch.where(nonzero, numerator / torch.where(nonzero, denominator, 1), 0.0)
