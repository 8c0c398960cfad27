"""Which zeros of the parameters go: what is removed for the sake of zeros that stay would be missed in training.

A zero entry that the subnet still reads has the gradient that it has in the model only if all that reads it in the
model is still there. So only entries that go, or that nothing trains, may be claimed to be zero.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from torch import fx

from autosubnet.capture.trace import MODES, outputs_of
from autosubnet.ops.masks import Mask, compress
from autosubnet.subnet.emit import Plan


def going(plan: Plan) -> dict[str, Mask]:
    """Return the masks of the trainable parameters that a plan keeps, without the zeros that it keeps of them."""
    readers = _readers(plan)
    masks: dict[str, Mask] = {}
    for name, mask in plan.propagation.parameters.items():
        if name in readers and mask.any() and plan.view.parameters[name].requires_grad:
            masks[name] = compress(mask & ~_read(plan, name, readers[name]))
    return masks


def _readers(plan: Plan) -> dict[str, list[fx.Node]]:
    """Return what reads each parameter: live leaf modules that own it, users of a node that fetches it, outputs."""
    readers: dict[str, list[fx.Node]] = defaultdict(list)
    for node in plan.erasure.live:
        if node in plan.view.calls:
            for name in plan.view.calls[node].tensors.values():
                readers[name].append(node)
        for source in plan.erasure.sources(node):
            if (fetched := plan.view.attribute_name(source)) is not None:
                readers[fetched].append(node)
    for node in (node for mode in MODES for node in outputs_of(plan.view.trace.graph, mode)):
        if (fetched := plan.view.attribute_name(plan.erasure.resolve(node))) is not None:
            readers[fetched].append(plan.view.trace.graph.output_node())
    return readers


def _read(plan: Plan, name: str, readers: list[fx.Node]) -> Mask:
    """Return which entries of a parameter a plan keeps and reads."""
    shape = plan.view.parameters[name].shape
    read = np.zeros(shape, dtype=bool)
    for node in readers:
        picks = node in plan.view.calls and plan.view.calls[node].name == "getitem"
        read[_index(node) if picks else ...] = True
    for dim, cut in plan.cuts.get(name, {}).items():
        read[(slice(None),) * dim + (cut,)] = False
    return read


def _index(node: fx.Node) -> Any:
    """Return what an indexing by plain numbers picks; everything where it is another."""
    index = node.args[1]
    items = index if isinstance(index, tuple) else (index,)
    return index if all(isinstance(each, int) for each in items) else ...
