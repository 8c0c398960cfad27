"""Which entries of every tensor do not depend on an input.

The same abstract interpretation as zero propagation, with another meaning: ``True`` says that an entry is the
same whatever the input. It is kept by entries, since a class token beside a sequence depends on nothing until
something mixes it with the rest. Parameters are constants; a zero weight ends a dependence.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable

import numpy as np
from torch import fx

from autosubnet.graph.sizes import input_of
from autosubnet.graph.view import GraphView
from autosubnet.graph.zeros import Propagation, Undo, nothing_known
from autosubnet.ops.call import Value
from autosubnet.ops.masks import Mask, MaskTree, is_zero, same, uniform
from autosubnet.ops.rule import filled, leaves


class Dependence:
    """For one input: the entries of every node that do not depend on it, kept up to date with the zeros.

    Args:
        view: the graph.
        propagation: its zero masks.
        source: the placeholder in question.
    """

    def __init__(self, view: GraphView, propagation: Propagation, source: fx.Node) -> None:
        self.view = view
        self.propagation = propagation
        self.source = source
        self.masks: dict[fx.Node, MaskTree] = {}
        for node in view.nodes:
            self.masks[node] = self.transfer(node)

    def depends(self, node: fx.Node) -> bool:
        """Whether any entry of the node depends on the input."""
        mask = self.masks[node]
        return not all(is_zero(each) for each in (mask if isinstance(mask, tuple) else (mask,)) if each is not None)

    def of(self, value: Value) -> Mask:
        """Return which entries of a tensor do not depend on the input."""
        if isinstance(value, str):
            return uniform(self.propagation.of(value).ndim, True)
        result: Mask = self.masks[value]
        return result

    def transfer(self, node: fx.Node, changed: Collection[fx.Node] | None = None) -> MaskTree:
        """Return the node's mask from those of what it reads, or from its old one and those that ``changed``."""
        if node.meta["value"] is None:
            return None
        if node.meta["mutated"] and node is not self.source:
            fixed = all(is_zero(leaf) for each in self.view.memory.sources(node) for leaf in leaves(self.masks[each]))
            return filled(nothing_known(node), fixed)
        return self.unwritten(node, changed)

    def unwritten(self, node: fx.Node, changed: Collection[fx.Node] | None = None) -> MaskTree:
        """Return the node's mask as its own operator has it, whatever is written to its memory."""
        nothing = nothing_known(node)
        if (given := input_of(node)) is not None:
            return nothing if given is self.source else filled(nothing, True)
        if not node.meta["data"]:
            return filled(nothing, True)
        call, rule = self.view.calls[node], self.view.rules[node]
        constant = None if changed is None else rule.patched(call, self.of, self.masks[node], changed)
        if constant is None:
            constant = rule.constants(call, self.of, self.propagation.of)
        return _either(constant, self.propagation.masks[node])

    def refresh(
        self, touched: Iterable[fx.Node], undo: Undo, vital: Collection[fx.Node] = frozenset()
    ) -> fx.Node | None:
        """Recompute what follows from changed zeros at ``touched``; add what changes to ``undo``.

        Ends where a ``vital`` node no longer depends on the input, and returns it.
        """
        index = self.view.index
        changed: dict[int, list[fx.Node]] = {index[node]: [] for node in touched}  # what is queued, and its operands
        changed.update((index[each], []) for node in touched for each in self.view.memory.followers(node))
        queue = sorted(changed)
        while queue:
            position = heapq.heappop(queue)
            node = self.view.nodes[position]
            mask = self.transfer(node, changed.pop(position))
            if same(mask, self.masks[node]):
                continue
            undo.append((self.masks, node, self.masks[node]))
            self.masks[node] = mask
            if node in vital and not self.depends(node):
                return node
            for each in self.view.memory.followers(node):
                if index[each] not in changed:
                    changed[index[each]] = []
                    heapq.heappush(queue, index[each])
                changed[index[each]].append(node)
        return None


def _either(constant: MaskTree, zero: MaskTree) -> MaskTree:
    if isinstance(constant, tuple):
        return tuple(_either(c, z) for c, z in zip(constant, zero, strict=True))
    return None if constant is None else np.asarray(constant | zero)
