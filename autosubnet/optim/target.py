"""What a search is to reach: a number of groups, or budgets of what is left."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from autosubnet.errors import InputError

DEFAULT_GROUP_SPARSITY = 0.5
_WORDS = {"num_params": "parameters", "flops": "FLOPs", "latency": "seconds"}


@dataclass(frozen=True)
class Target:
    """Either a number of groups to remove, or upper limits of what is left; those not asked for are ``None``.

    Attributes:
        num_groups: how many groups are removed (K of Algorithm 3).
        num_params: scalar parameters that may be left.
        flops: floating-point operations for one example that may be left.
        latency: seconds that what is left may take.
    """

    num_groups: int | None = None
    num_params: float | None = None
    flops: float | None = None
    latency: float | None = None

    def __str__(self) -> str:
        if self.num_groups is not None:
            return f"{self.num_groups} groups at zero"
        return ", ".join(f"at most {value:,.6g} {_WORDS[name]}" for name, value in self.limits.items())

    @property
    def limits(self) -> dict[str, float]:
        """The limits that were asked for, by name."""
        given = {name: value for name, value in asdict(self).items() if name != "num_groups"}
        return {name: value for name, value in given.items() if value is not None}


SelectFunction = Callable[[Sequence[float], Target, Sequence[int]], list[int]]
"""``select(scores, target, taken)``: groups that can be removed together and reach the target.

Gets the redundancy score of each group, the larger the more redundant, and the groups that were chosen before; returns
these, then others, most redundant first. Raises ``BudgetError`` if it finds no such set.
"""


def make_target(
    num_groups: int,
    group_sparsity: float | None,
    num_params: float | None = None,
    flops: float | None = None,
    latency: float | None = None,
) -> Target:
    """Return the target from what the user gave; by default half of the groups.

    Args:
        num_groups: how many groups there are.
        group_sparsity: share of the groups to remove, in [0, 1]; what falls between two numbers is rounded down.
        num_params: scalar parameters that may be left.
        flops: floating-point operations for one example that may be left.
        latency: seconds that what is left may take.

    Raises:
        InputError: a number out of range, or both a share and a budget.
    """
    budgets = {"target_num_params": num_params, "target_flops": flops, "target_latency": latency}
    for name, value in budgets.items():
        if value is not None and not (_is_number(value) and value > 0):
            raise InputError(f"{name} is {value!r}; it must be a number above 0")
    given = [name for name, value in budgets.items() if value is not None]
    if given:
        if group_sparsity is not None:
            raise InputError(f"target_group_sparsity and {given[0]} are given; choose one of the two")
        return Target(None, num_params, flops, latency)
    share = DEFAULT_GROUP_SPARSITY if group_sparsity is None else group_sparsity
    if not (_is_number(share) and 0 <= share <= 1):
        raise InputError(f"target_group_sparsity is {share!r}; it must lie in [0, 1]")
    # 1e-9: a product like 0.29 * 100 must not fall below the whole number that it means.
    return Target(math.floor(share * num_groups + 1e-9))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
