"""What is left to pay when a set of groups goes, with all that dies with it.

The set's zeros are claimed, and the passes of construction run on them: dead code behind a removed segment, cut
channels of concats and all else is gone from what is counted, whatever the weights are now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from torch import fx

from autosubnet.graph.groups import Group
from autosubnet.graph.view import GraphView
from autosubnet.ops.masks import Mask, compress, shared
from autosubnet.subnet.emit import emit
from autosubnet.subnet.planning import make_plan

Measure = Callable[[fx.GraphModule], float]
"""From a network to what it costs."""


class Costs:
    """Costs of what is left of a model without some groups.

    Args:
        view: the graph.
        measures: by name, what is counted of the smaller network.
    """

    def __init__(self, view: GraphView, measures: Mapping[str, Measure]) -> None:
        self.view = view
        self.measures = measures
        self._known: dict[frozenset[Group], dict[str, float]] = {}

    def without(self, groups: Iterable[Group]) -> dict[str, float]:
        """Return the costs, by name, of the network without these groups."""
        key = frozenset(groups)
        if key not in self._known:
            subnet = emit(make_plan(self.view, zeros_of(self.view, key)))
            subnet.train(self.view.trace.model.training)
            self._known[key] = {name: measure(subnet) for name, measure in self.measures.items()}
        return self._known[key]


def zeros_of(view: GraphView, groups: Iterable[Group]) -> dict[str, Mask]:
    """Return the masks of the parameters in which the slices of ``groups``, and nothing else, are zero."""
    zeros: dict[str, Mask] = {}
    for each in (each for group in groups for each in group.slices):
        shape = tuple(view.parameters[each.name].shape)
        mask = zeros.setdefault(each.name, np.zeros(shape, dtype=bool))
        mask[... if each.dim is None else (slice(None),) * each.dim + (list(each.indices or ()),)] = True
    return {name: shared(compress(mask)) for name, mask in zeros.items()}
