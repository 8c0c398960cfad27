"""Which groups to remove, given their scores: a number of them, or as many as budgets ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import fx, nn

from autosubnet.capture import Inputs
from autosubnet.capture.flops import count_flops
from autosubnet.errors import InputError
from autosubnet.graph.groups import Group
from autosubnet.graph.validity import Validity, select
from autosubnet.graph.view import GraphView
from autosubnet.latency import eager_seconds, onnx_seconds
from autosubnet.optim.target import Target
from autosubnet.subnet.budget import select_within
from autosubnet.subnet.cost import Costs, Measure
from autosubnet.subnet.node_costs import flops_by_node, num_params_by_node, seconds_by_node
from autosubnet.subnet.savings import savings

Latency = str | Measure
LATENCIES: Mapping[str, Callable[[nn.Module, Inputs], float]] = {"eager": eager_seconds, "onnx": onnx_seconds}
BY_NODE: Mapping[str, Callable[[GraphView], Mapping[str, float]]] = {
    "num_params": num_params_by_node,
    "flops": flops_by_node,
    "latency": seconds_by_node,
}


class Selection:
    """Chooses among the groups of a graph; what it has measured is kept for the next time.

    Args:
        view: the graph.
        groups: the groups to choose from.
        make: returns the empty set of removed groups, to grow.
        latency: ``"eager"`` for PyTorch on the device of the model, ``"onnx"`` for ONNX Runtime on the CPU, or a
            function from a network to seconds.

    Raises:
        InputError: ``latency`` is none of these.
    """

    def __init__(
        self, view: GraphView, groups: Sequence[Group], make: Callable[[], Validity], latency: Latency = "eager"
    ) -> None:
        if not callable(latency) and latency not in LATENCIES:
            raise InputError(f"latency is {latency!r}; pass 'eager', 'onnx' or a function from a network to seconds")
        self.view = view
        self.groups = groups
        self.make = make
        self._saved: dict[str, list[float]] = {}
        self.inputs = Inputs(view.trace.args, view.trace.kwargs)
        self.measures: dict[str, Measure] = {
            "num_params": num_params,
            "flops": lambda network: count_flops(network, self.inputs),
            "latency": latency if callable(latency) else self._latency(latency),
        }

    def __call__(self, scores: Sequence[float], target: Target, taken: Sequence[int] = ()) -> list[int]:
        """Return positions of groups that reach the target and may go together.

        Args:
            scores: redundancy score of each group.
            target: what is to be reached.
            taken: positions that are chosen already; they come first, then others, most redundant first.

        Raises:
            BudgetError: no such set was found.
        """

        def make() -> Validity:
            validity = self.make()
            for position in taken:
                validity.add(self.groups[position])
            return validity

        if target.num_groups is not None:
            rest = [position for position in range(len(self.groups)) if position not in taken]
            order = sorted(rest, key=lambda position: -scores[position])
            return [*taken, *select(make, self.groups, order, target.num_groups - len(taken))]
        saved = {name: self._savings(name) for name in target.limits}
        return select_within(target.limits, self.groups, scores, make, self.costs(list(saved)), saved, taken)

    def _latency(self, kind: str) -> Measure:
        return lambda network: LATENCIES[kind](network, self.inputs)

    def costs(self, names: Sequence[str]) -> Costs:
        """Return what counts these costs of what is left."""
        return Costs(self.view, {name: self.measures[name] for name in names})

    def _savings(self, name: str) -> list[float]:
        if name not in self._saved:
            self._saved |= savings(self.view, self.groups, {name: BY_NODE[name](self.view)})
        return self._saved[name]


def num_params(network: fx.GraphModule) -> float:
    """Return the number of scalar parameters, shared ones once."""
    return sum(parameter.numel() for parameter in network.parameters())
