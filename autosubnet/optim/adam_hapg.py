"""AdamHAPG: HAPG with Adam's step in the place of Eq. 6 (SparseNAS, Section Hierarchical Proximal Optimization).

Each entry has a step size of its own, s = lr / (sqrt(v) + eps) with Adam's second moment v, corrected for its start;
the gradient is Adam's first moment, corrected as well. Eq. 9 takes each entry's step size. For Eq. 10 the paper takes
the median of a group's; the fixed points of that are not the minima of Eq. 3. ``metric="diagonal"`` takes the exact
operator.

Two momenta do not add up. Adam's first moment lags behind the gradient, by b / (1 - b) steps at a decay of b, where
Eq. 8 looks one step ahead. At b = 0.5, the paper's choice, the one undoes the other's damping as u_t nears 1; above it
the iteration runs away from the minimum even of a parabola.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from autosubnet.errors import AutoSubnetWarning, InputError
from autosubnet.graph.groups import Group
from autosubnet.optim.hapg import HAPG, wide
from autosubnet.optim.prox import Metric, check_metric

_STABLE = 0.5


class AdamHAPG(HAPG):
    """HAPG with a step size for each entry, as Adam has them (SparseNAS, Eq. 6 to 10).

    Everything else is as in :class:`HAPG`. Defaults are the paper's.

    Args:
        model: holds the parameters; those that are replaced in it later are found again by name.
        groups: disjoint groups of entries.
        params: what to optimize; default: the parameters that the groups use.
        lr: Adam's learning rate, at least 0.
        betas: decay of Adam's first and second moment, each in [0, 1); a first one above 0.5, such as Adam's usual 0.9,
            makes long runs diverge, and is warned of.
        eps: added to the root of the second moment, above 0.
        lam: strength of the penalty, at least 0.
        alpha: its balance between single entries (1) and whole groups (0).
        metric: ``"median"``, the paper's heuristic, or ``"diagonal"``, the exact proximal operator (see
            :func:`autosubnet.optim.prox_sgl`), with which the optimum of a convex problem is reached.
        warmup_steps: number of first steps without a penalty, at least 0. An entry without a gradient, such as the
            weight of a path that is zero at birth, has a step size of ``lr / eps``: a penalty would take it at once.

    Raises:
        InputError: an argument out of range, or parameters that do not fit.
        GroupError: groups that do not fit the model, or share an entry.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[Group],
        *,
        params: Any = None,
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.5, 0.999),
        eps: float = 1e-8,
        lam: float = 0.01,
        alpha: float = 0.5,
        metric: Metric = "median",
        warmup_steps: int = 0,
    ) -> None:
        options = {
            "lr": lr, "betas": betas, "eps": eps, "lam": lam, "alpha": alpha, "metric": metric,
            "warmup_steps": warmup_steps,
        }  # fmt: skip
        self._start(model, groups, params, options)
        if any(group["betas"][0] > _STABLE for group in self.param_groups):
            warnings.warn(
                f"betas[0] is above {_STABLE}: with HAPG's own momentum beside it long runs diverge; the paper has 0.5",
                AutoSubnetWarning,
                stacklevel=2,
            )

    def _check_options(self, options: Mapping[str, Any]) -> None:
        super()._check_options(options)
        check_metric(options["metric"])
        if len(options["betas"]) != 2 or not all(0 <= beta < 1 for beta in options["betas"]):
            raise InputError(f"betas is {options['betas']}; it must be two numbers in [0, 1)")
        if not 0 < options["eps"] < math.inf:
            raise InputError(f"eps is {options['eps']}; it must be finite and above 0")

    def _initial_state(self, p: Tensor) -> dict[str, Any]:
        moments = {name: torch.zeros_like(wide(p)) for name in ("exp_avg", "exp_avg_sq")}
        return {**super()._initial_state(p), **moments}

    def _descend(
        self, p: Tensor, gradient: Tensor, state: dict[str, Any], group: Mapping[str, Any]
    ) -> tuple[Tensor, float | Tensor]:
        (beta1, beta2), t = group["betas"], state["step"]
        first = state["exp_avg"].mul_(beta1).add_(gradient, alpha=1 - beta1)
        second = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step = float(group["lr"]) / ((second / (1 - beta2**t)).sqrt() + group["eps"])
        return p - step * first / (1 - beta1**t), step
