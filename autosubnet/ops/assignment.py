"""What ``x[index] = value`` leaves of what was in ``x``, entry by entry."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import fx

from autosubnet.ops.call import shape_of
from autosubnet.ops.masks import Mask, compress
from autosubnet.ops.slicing import items_of

WHOLE = slice(None)


@dataclass(frozen=True)
class Assignment:
    """``tensor[index] = value``, with an index that is written out in numbers.

    Attributes:
        tensor: what is written to, as it was before.
        index: integers, slices and ``...``, one for each dimension at most.
        value: a node or a number.
    """

    tensor: fx.Node
    index: tuple[Any, ...]
    value: Any

    def written(self, before: Mask, value: Mask) -> Mask:
        """Return the mask of the tensor behind it, from the one before it and that of the value."""
        places = items_of(self.index, before.ndim) or []
        places += [WHOLE] * (before.ndim - len(places))
        left = [dim for dim, item in enumerate(places) if isinstance(item, slice)]
        value = value.reshape(value.shape[max(0, value.ndim - len(left)) :])  # what is cut off has size 1
        sizes = dict(zip(reversed(left), reversed(value.shape), strict=False))
        full = shape_of(self.tensor)
        wide = [
            full[dim] if item != WHOLE or sizes.get(dim, 1) > 1 else before.shape[dim]
            for dim, item in enumerate(places)
        ]
        mask = np.broadcast_to(before, wide).copy()
        mask[tuple(places)] = value
        return compress(mask)


def assignment_of(node: fx.Node) -> Assignment | None:
    """Return what a node assigns, and where; ``None`` if it does something else, or numbers do not tell where."""
    if node.target is not operator.setitem:
        return None
    tensor, index, value = node.args
    items = index if isinstance(index, tuple) else (index,)
    if not isinstance(tensor, fx.Node) or not all(map(_is_written_out, items)):
        return None
    return Assignment(tensor, items, value)


def _is_written_out(item: Any) -> bool:
    if isinstance(item, slice):
        return all(each is None or isinstance(each, int) for each in (item.start, item.stop, item.step))
    return item is Ellipsis or (isinstance(item, int) and not isinstance(item, bool))
