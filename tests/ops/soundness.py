"""What a rule claims against what is computed."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from autosubnet.capture import MODES, Trace
from autosubnet.graph.zeros import Propagation

from .running import replay


def pairs(mask: Any, value: Any) -> list[tuple[Any, Tensor]]:
    """Pair the masks of a structure with its tensors."""
    if mask is None:
        assert not isinstance(value, Tensor), "no mask for a tensor"
        return []
    if isinstance(mask, tuple):
        return [pair for m, v in zip(mask, value, strict=True) for pair in pairs(m, v)]
    assert isinstance(value, Tensor), f"a mask for {value!r}"
    return [(mask, value)]


def spread(mask: Any, value: Tensor, node: fx.Node) -> Tensor:
    """Return the mask at the full shape of its tensor."""
    assert mask.ndim == value.ndim, f"{node.name}: a mask of {mask.ndim} dimensions for {value.ndim}"
    sizes = zip(mask.shape, value.shape, strict=True)
    assert all(m in (1, v) for m, v in sizes), f"{node.name}: a mask of shape {mask.shape} for {tuple(value.shape)}"
    return torch.from_numpy(np.broadcast_to(mask, tuple(value.shape)).copy())


def check_zeros(trace: Trace, propagation: Propagation, x: Tensor) -> None:
    """Assert that every mask fits its tensor, and that every entry claimed zero is."""
    masks = {node.name: mask for node, mask in propagation.masks.items()}

    def see(node: fx.Node, value: Any) -> None:
        for mask, tensor in pairs(masks[node.name], value):
            entries = tensor[spread(mask, tensor, node)]
            wrong = int((entries != 0).sum())
            assert not wrong, f"{node.format_node()}: {wrong} of {entries.numel()} entries claimed zero are not"

    for mode in MODES:
        replay(trace, mode, x, see)
