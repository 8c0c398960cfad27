"""Parameters that are split over processes, as ``torch.distributed.fsdp.fully_shard`` leaves them (DTensor)."""

from __future__ import annotations

import sys

from torch import Tensor


def is_split(tensor: Tensor) -> bool:
    """Whether every process holds a part of the tensor."""
    tensors = sys.modules.get("torch.distributed.tensor")  # its import takes half a second; without it there are none
    return tensors is not None and isinstance(tensor, tensors.DTensor)


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor, gathered from the processes if it is split: all of them must ask."""
    return tensor.full_tensor() if is_split(tensor) else tensor  # type: ignore[attr-defined]  # a DTensor


def split_as(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a tensor, which every process holds, split as ``like`` is; they have one shape."""
    if not is_split(like):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = like.device_mesh, like.placements  # type: ignore[attr-defined]  # a DTensor
    return distribute_tensor(tensor, mesh, placements, src_data_rank=None)
