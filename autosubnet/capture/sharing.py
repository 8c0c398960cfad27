"""Tensors of a model that lie in one place: what is written to one of them changes the others, which no graph tells.

Views that nobody writes are harmless: each gets a copy of its own in the subnet. A parameter is written by training,
a buffer where forward writes it or a module updates it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from autosubnet.capture.observe import storage_of
from autosubnet.errors import CaptureError


def overlap(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors have a byte of memory in common."""
    if storage_of(a) != storage_of(b):
        return False
    (start, end), (first, last) = _reach(a), _reach(b)
    if start >= last or first >= end:
        return False
    return (_is_dense(a) and _is_dense(b)) or bool(np.isin(_bytes(a), _bytes(b)).any())  # or one lies in gaps


def require_own_memory(tensors: Mapping[str, torch.Tensor], written: Collection[str]) -> None:
    """Refuse two tensors of a model in one place, where one of them changes.

    Args:
        tensors: parameters, and what else the model's graph uses, by name.
        written: the names of those that forward writes; a parameter that is trained counts as written.

    Raises:
        CaptureError: there are such; it names them.
    """
    storages: dict[int, list[str]] = defaultdict(list)
    for name, tensor in tensors.items():
        if _has_place(tensor):
            storages[storage_of(tensor)].append(name)
    for names in storages.values():
        for name, other in _in_reach(sorted(names, key=lambda each: _reach(tensors[each])), tensors):
            for each, unseen in ((name, other), (other, name)):
                changes = each in written or (isinstance(tensors[each], nn.Parameter) and tensors[each].requires_grad)
                if changes and tensors[each] is not tensors[unseen] and overlap(tensors[each], tensors[unseen]):
                    raise CaptureError(_explanation(each, unseen, tensors))


def _in_reach(names: list[str], tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, str]]:
    """Yield pairs of tensors, given in the order in which they begin, of which one begins before the other's end."""
    begun: list[str] = []
    for name in names:
        begin = _reach(tensors[name])[0]
        begun = [each for each in begun if _reach(tensors[each])[1] > begin]
        yield from ((each, name) for each in begun)
        begun.append(name)


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
    """Whether a tensor has bytes of its own to compare; one that wraps others has none."""
    plain = tensor.layout == torch.strided and not is_traceable_wrapper_subclass(tensor)
    return plain and not tensor.is_meta and bool(tensor.numel())


def _reach(tensor: torch.Tensor) -> tuple[int, int]:
    """Return where a tensor's first byte is in its storage, and where its last one ends."""
    start = int(tensor.storage_offset())
    end = start + 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return start * tensor.element_size(), end * tensor.element_size()


def _is_dense(tensor: torch.Tensor) -> bool:
    """Whether a tensor has all bytes within its reach."""
    start, end = _reach(tensor)
    return end - start == tensor.numel() * tensor.element_size()


def _bytes(tensor: torch.Tensor) -> npt.NDArray[np.int64]:
    """Return where all bytes of a tensor are in its storage."""
    places = np.array([tensor.storage_offset()])
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        places = np.add.outer(places, stride * np.arange(size)).reshape(-1)
    found: npt.NDArray[np.int64] = np.add.outer(places * tensor.element_size(), np.arange(tensor.element_size()))
    return found.reshape(-1)
