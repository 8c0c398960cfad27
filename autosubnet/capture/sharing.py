"""Tensors of a model that lie in one place: what is written to one of them changes the others, which no graph tells.

Views that nobody writes are harmless: each gets a copy of its own in the subnet. A parameter is written by training,
a buffer where forward writes it or a module updates it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

import torch
from torch import nn

from autosubnet.capture.observe import storage_of
from autosubnet.errors import CaptureError


def overlap(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors have memory in common, as far as their first and last bytes tell."""
    if storage_of(a) != storage_of(b):
        return False
    (start, end), (first, last) = _bytes(a), _bytes(b)
    return start < last and first < end


def require_own_memory(tensors: Mapping[str, torch.Tensor], written: Collection[str]) -> None:
    """Refuse two tensors of a model in one place, where one of them changes.

    Args:
        tensors: parameters, and what else the model's graph uses, by name.
        written: the names of those that forward writes; a parameter always counts as written.

    Raises:
        CaptureError: there are such; it names them.
    """
    storages: dict[int, dict[int, str]] = defaultdict(dict)
    for name, tensor in tensors.items():
        if _has_place(tensor):
            storages[storage_of(tensor)].setdefault(id(tensor), name)
    for names in storages.values():
        before = ""  # of those that begin earlier, the one that ends last
        for name in sorted(names.values(), key=lambda each: _bytes(tensors[each])):
            if before and overlap(tensors[before], tensors[name]):
                for each, other in ((before, name), (name, before)):
                    if each in written or isinstance(tensors[each], nn.Parameter):
                        raise CaptureError(_explanation(each, other, tensors))
            if not before or _bytes(tensors[before])[1] < _bytes(tensors[name])[1]:
                before = name


def _explanation(changing: str, other: str, tensors: Mapping[str, torch.Tensor]) -> str:
    trains = isinstance(tensors[changing], nn.Parameter)
    remedy = "keep one of them, and make the other from it in forward"
    if trains and isinstance(tensors[other], nn.Parameter):
        remedy = "make them one: let both modules hold the same nn.Parameter"
    return (
        f"{changing!r} and {other!r} are two tensors in the same memory, and {'training' if trains else 'forward'} "
        f"writes the first, so that the second changes unseen; {remedy}"
    )


def _has_place(tensor: torch.Tensor) -> bool:
    """Whether a tensor has bytes of its own to compare; one of a class of its own may have others inside."""
    plain = type(tensor) in (nn.Parameter, torch.Tensor)
    return plain and tensor.layout == torch.strided and not tensor.is_meta and bool(tensor.numel())


def _bytes(tensor: torch.Tensor) -> tuple[int, int]:
    """Return where a tensor's bytes begin in its storage, and where they end."""
    start = int(tensor.storage_offset())
    end = start + 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return start * tensor.element_size(), end * tensor.element_size()
