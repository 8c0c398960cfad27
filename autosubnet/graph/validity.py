"""Which groups may be removed together: the connectivity check of OTOv3 (Section 3.2, Algorithm 3, line 8).

A set is valid if, with its slices zero, in both modes every output that depended on an input still does, and
still depends on each required input, and no operator gets zeros at which it is not finite. Parameters that happen
to be zero do not count: validity is a property of the graph. Removing more never makes an invalid set valid, so
candidates can be taken one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from torch import fx

from autosubnet.capture.trace import MODES, TensorInfo, outputs_of
from autosubnet.errors import BudgetError, InputError
from autosubnet.graph.groups import Group
from autosubnet.graph.suspicion import SuspectedConstants, SuspectedZeros
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Undo
from autosubnet.ops.masks import Mask, uniform


class Validity:
    """A set of removed groups that grows, with the inputs that each node still depends on.

    Args:
        view: the graph.
        required_inputs: names of inputs that outputs must keep depending on; by default every
            floating-point one, or the first where there is none.

    Raises:
        InputError: a required input is not an input of the model.
    """

    def __init__(self, view: GraphView, required_inputs: Iterable[str] | None = None) -> None:
        self.view = view = view.in_example
        self.propagation = SuspectedZeros(view)
        self.required = frozenset(required(view, required_inputs))
        inputs = [node for node in view.nodes if node.op == "placeholder" and node.meta["data"]]
        self.dependences = {node: SuspectedConstants(view, self.propagation, node) for node in inputs}
        self.broken = dict.fromkeys(view.poles, False)  # which have got zeros; and vital nodes that are dead
        self.outputs = {node: self._sources(node) for mode in MODES for node in outputs_of(view.trace.graph, mode)}
        self.vital = {source: self._vital(source) for source in inputs}
        self.all_vital = frozenset().union(*self.vital.values())

    def try_add(self, group: Group) -> bool:
        """Remove one group more if the set stays valid; say whether it was."""
        undo = self.add(group)
        if self.is_valid():
            return True
        self.propagation.undo(undo)
        return False

    def add(self, group: Group) -> Undo:
        """Remove one group more, valid or not; return what takes it back."""
        changes: dict[str, Mask] = {}
        for each in group.slices:
            changes[each.name] = self._union(each.name, each.dim, each.indices, changes)
        undo = self.propagation.update(changes, self.all_vital)
        changed = self.propagation.changed(undo)
        dead = next((node for node in changed[-1:] if node in self.all_vital and self.propagation.is_zero(node)), None)
        touched = changed + [node for name in changes for node in self.view.readers_of.get(name, ())]
        for source, dependence in self.dependences.items():
            dead = dead or dependence.refresh(touched, undo, self.vital[source])
        poles = [node for node in changed if node in self.view.poles and self.propagation.masks[node].any()]
        for node in [*poles, dead] if dead else poles:
            undo.append((self.broken, node, self.broken.get(node, False)))
            self.broken[node] = True
        return undo

    def is_valid(self) -> bool:
        """Whether every output is as alive as it has to be, and nothing divides by a zero."""
        if any(self.broken.values()):
            return False
        for node, before in self.outputs.items():
            now = self._sources(node)
            if before and not (now and before & self.required <= now):
                return False
        return True

    def _sources(self, node: fx.Node) -> frozenset[fx.Node]:
        """The inputs that a node's value depends on."""
        return frozenset(source for source, each in self.dependences.items() if each.depends(node))

    def _vital(self, source: fx.Node) -> frozenset[fx.Node]:
        """The nodes that every way from an input to an output leads through that must depend on it.

        Where one is dead, so is the output; all that lies between need not be looked at to know.
        """
        before, found = self.view.dominators.get(source, {}), set[fx.Node]()
        for node, sources in self.outputs.items():
            if source in sources & self.required:
                while node in before and node not in found:
                    found.add(node)
                    node = before[node]
        return frozenset(found)

    def _union(self, name: str, dim: int | None, indices: Sequence[int] | None, changes: dict[str, Mask]) -> Mask:
        parameter = self.view.parameters[name]
        if dim is None or indices is None:
            return uniform(parameter.ndim, True)
        shape = [1] * parameter.ndim
        shape[dim] = parameter.shape[dim]
        mask = np.zeros(shape, dtype=bool)
        mask.reshape(-1)[list(indices)] = True
        before = changes.get(name, self.propagation.of(name))
        result: Mask = mask | before
        return result


class Anything(Validity):
    """A set of removed groups that may be any: what is left of the network may ignore its inputs (DHSPG)."""

    def is_valid(self) -> bool:
        """Whatever is removed."""
        return True


def required(view: GraphView, names: Iterable[str] | None) -> list[fx.Node]:
    """Return the inputs that outputs must keep depending on.

    Raises:
        InputError: a name is not that of an input.
    """
    inputs = {node.name: node for node in view.nodes if node.op == "placeholder"}
    if names is None:
        floating = [node for node in inputs.values() if _is_floating(node.meta["value"])]
        return floating or list(inputs.values())[:1]
    for name in names:
        if name not in inputs:
            raise InputError(f"required input {name!r} is none of the model's: {', '.join(inputs)}")
    return [inputs[name] for name in names]


def select(make: Callable[[], Validity], groups: Sequence[Group], order: Sequence[int], count: int) -> list[int]:
    """Choose ``count`` groups that may go together, in order of preference (Algorithm 3, line 8).

    Groups are taken greedily. Where that leaves too few, because one that was taken blocks many others, the search
    is repeated with each of the first that were taken put last, and then in the order of the graph and against it.

    Args:
        make: returns the empty set, to grow.
        groups: all groups.
        order: positions of those to choose from, most preferred first.
        count: how many are to be chosen.

    Raises:
        BudgetError: not so many can go together, as far as this search sees; finding out is NP-hard.
    """
    first = greedy(make(), groups, order, count)
    most = len(first)
    if most == count:
        return first
    forward = sorted(order)
    orders = [[*(each for each in order if each != last), last] for last in first[:RETRIES]]
    for other in [*orders, forward, forward[::-1]]:
        chosen = greedy(make(), groups, other, count)
        if len(chosen) == count:
            return chosen
        most = max(most, len(chosen))
    raise BudgetError(
        f"{count} of {len(groups)} groups are to be removed, but only {most} were found that leave every output "
        f"connected to its inputs; ask for a target_group_sparsity of at most {most / len(groups):.3f}"
    )


RETRIES = 32


def greedy(validity: Validity, groups: Sequence[Group], order: Iterable[int], count: int) -> list[int]:
    """Take groups in order while the set stays valid, up to ``count``; return their positions."""
    chosen: list[int] = []
    for position in order:
        if len(chosen) == count:
            break
        if validity.try_add(groups[position]):
            chosen.append(position)
    return chosen


def _is_floating(info: object) -> bool:
    return isinstance(info, TensorInfo) and info.dtype.is_floating_point
