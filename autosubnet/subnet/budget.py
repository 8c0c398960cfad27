"""The search for groups whose removal meets a budget (OTOv3 Algorithm 3, line 8, with costs in place of a count).

The best such set is a knapsack with dependences, which is NP-hard. The search is greedy: groups are taken one after
the other while they leave every output connected, in three orders (least loss of redundancy per saving; most
redundant first; most saving first). Of each order the shortest beginning that meets the budget is kept, and those of
it that are not needed are put back, the least redundant first. The set with the least loss wins. Savings are
estimated once; whether a budget is met is counted on the network that would be left.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate

from autosubnet.errors import BudgetError
from autosubnet.graph.groups import Group
from autosubnet.graph.validity import Validity, greedy
from autosubnet.subnet.cost import Costs


def select_within(
    limits: Mapping[str, float],
    groups: Sequence[Group],
    scores: Sequence[float],
    make: Callable[[], Validity],
    costs: Costs,
    savings: Mapping[str, Sequence[float]],
    taken: Sequence[int] = (),
) -> list[int]:
    """Choose groups that may go together, such that what is left costs no more than the limits.

    Args:
        limits: by name, what may be left.
        groups: all groups.
        scores: their redundancy scores, the larger the more redundant.
        make: returns the set that holds the taken groups alone, to grow.
        costs: counts what is left.
        savings: by name, what each group saves by itself, roughly.
        taken: positions of groups that go in any case.

    Returns:
        Positions of the taken groups, then of the chosen ones, most redundant first.

    Raises:
        BudgetError: no such set was found; says how near the search came.
    """
    search = _Search(limits, groups, costs, taken)
    if search.meets([]):
        return [*taken]
    losses = [max(scores) - score for score in scores]
    worth = _worth(limits, search.left([]), savings)
    rest = [i for i in range(len(groups)) if i not in taken]
    orders = [
        sorted(rest, key=lambda i: (losses[i] / worth[i] if worth[i] > 0 else float("inf"), -worth[i])),
        sorted(rest, key=lambda i: losses[i]),
        sorted(rest, key=lambda i: -worth[i]),
    ]
    found: list[list[int]] = []
    for order in orders:
        most = greedy(make(), groups, order, len(groups))
        if search.meets(most):
            count = search.shortest(most, worth)
            found.append(search.pruned(sorted(most[:count], key=lambda i: losses[i]), worth))
    if not found:
        raise BudgetError(search.nearest())
    best = min(found, key=lambda chosen: sum(losses[i] for i in chosen))
    return [*taken, *sorted(best, key=lambda i: losses[i])]


def _worth(
    limits: Mapping[str, float], full: Mapping[str, float], savings: Mapping[str, Sequence[float]]
) -> list[float]:
    """Return what each group saves, as the share of what is too much; of several limits the sum."""
    excess = {name: full[name] - limit for name, limit in limits.items() if full[name] > limit}
    return [
        sum(saved / excess[name] for name, saved in zip(excess, each, strict=True))
        for each in zip(*(savings[name] for name in excess), strict=True)
    ]


class _Search:
    def __init__(
        self, limits: Mapping[str, float], groups: Sequence[Group], costs: Costs, taken: Sequence[int]
    ) -> None:
        self.limits = limits
        self.groups = groups
        self.costs = costs
        self.taken = taken
        self.tried: list[dict[str, float]] = []

    def left(self, chosen: Sequence[int]) -> dict[str, float]:
        """Return the costs of what is left without the taken groups and these."""
        return self.costs.without(self.groups[i] for i in (*self.taken, *chosen))

    def meets(self, chosen: Sequence[int]) -> bool:
        """Whether what is left without these groups is within all limits."""
        left = self.left(chosen)
        self.tried.append(left)
        return all(left[name] <= limit for name, limit in self.limits.items())

    def shortest(self, order: Sequence[int], worth: Sequence[float]) -> int:
        """Return the length of the shortest beginning of ``order``, which meets the limits, that does too.

        The search starts where the estimates say and widens from there; a network is counted for each step.
        """
        saved = list(accumulate(worth[i] for i in order))
        guess = min(bisect_left(saved, 1.0) + 1, len(order))
        low, high, step = 0, len(order), 1  # the limits are not met at low, and met at high
        while low < guess < high:
            if self.meets(order[:guess]):
                high, guess = guess, guess - step
            else:
                low, guess = guess, guess + step
            step *= 2
        return bisect_left(range(high), True, lo=low + 1, key=lambda length: self.meets(order[:length]))

    def pruned(self, chosen: list[int], worth: Sequence[float]) -> list[int]:
        """Return a set that meets the limits without those that are not needed, looked for from the end."""
        slack = self._slack(chosen)
        for position in reversed(chosen):
            if worth[position] > 1.1 * slack:
                continue
            fewer = [each for each in chosen if each != position]
            if self.meets(fewer):
                chosen, slack = fewer, self._slack(fewer)
        return chosen

    def _slack(self, chosen: Sequence[int]) -> float:
        """Return how much less than the limits is left, as ``worth`` counts it."""
        left, full = self.left(chosen), self.left(())
        excess = {name: full[name] - limit for name, limit in self.limits.items() if full[name] > limit}
        return sum((self.limits[name] - left[name]) / each for name, each in excess.items())

    def nearest(self) -> str:
        """Return what to say where no set was found."""

        def over(left: Mapping[str, float]) -> float:
            return max(left[name] / limit for name, limit in self.limits.items())

        left = min(self.tried, key=over)
        missed = ", ".join(
            f"{name} {left[name]:.6g} where {limit:.6g} is asked for" for name, limit in self.limits.items()
        )
        return (
            f"no set of groups was found that meets the budget and leaves every output connected to its inputs; the "
            f"nearest leaves {missed}; ask for no less, or let keep= name less"
        )
