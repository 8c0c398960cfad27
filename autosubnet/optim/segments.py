"""Disjoint groups of entries of one vector, and reductions over all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Segments:
    """Groups of positions in a vector, laid out one behind the other.

    *Entries* below are what ``take`` returns: the groups' entries in that order. Reductions give one value a group, in
    the same order on every run, whatever the device.

    Args:
        groups: for each group its positions; disjoint. Empty groups are left out.

    Attributes:
        index: the positions of all entries.
        owner: for each entry the number of its group.
        sizes: number of entries of each group, at least 1.
    """

    def __init__(self, groups: Sequence[Tensor]) -> None:
        filled = [group.flatten().cpu() for group in groups if group.numel()]
        empty = torch.empty(0, dtype=torch.long, device="cpu")
        self.index = torch.cat([empty, *filled])
        self.sizes = torch.tensor([group.numel() for group in filled], dtype=torch.long, device="cpu")
        self.owner = torch.repeat_interleave(self.sizes)
        self._starts = self.sizes.cumsum(0) - self.sizes

    def to(self, device: torch.device) -> Segments:
        """Move everything there, in place."""
        for name in ("index", "sizes", "owner", "_starts"):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def take(self, vector: Tensor) -> Tensor:
        """Return the groups' entries of a vector."""
        return vector[self.index]

    def put(self, vector: Tensor, entries: Tensor) -> Tensor:
        """Return a copy of the vector with these entries in their places."""
        return vector.index_copy(0, self.index, entries)

    def spread(self, values: Tensor) -> Tensor:
        """Return each entry's group's value."""
        return values[self.owner]

    def sums(self, entries: Tensor) -> Tensor:
        """Return the sum over each group."""
        return self._reduce(entries, "sum")

    def maxima(self, entries: Tensor) -> Tensor:
        """Return the largest entry of each group."""
        return self._reduce(entries, "max")

    def units(self, entries: Tensor) -> Tensor:
        """Return the size of the largest entry of each group, 1 where all are zero.

        Entries that are divided by it have squares and norms that neither overflow nor all underflow.
        """
        largest = self.maxima(entries.abs())
        return torch.where(largest > 0, largest, 1)

    def norms(self, entries: Tensor) -> Tensor:
        """Return the Euclidean norm of each group, of entries that squares suit."""
        return self.sums(entries.square()).sqrt()

    def medians(self, entries: Tensor) -> Tensor:
        """Return the median of each group: for an even number the mean of the middle two, not ``torch.median``'s lower
        one."""
        order = entries.argsort()
        ranked = entries[order[self.owner[order].argsort(stable=True)]]
        low, high = ranked[self._starts + (self.sizes - 1) // 2], ranked[self._starts + self.sizes // 2]
        return low + (high - low) / 2

    def _reduce(self, entries: Tensor, how: str) -> Tensor:
        if not self.sizes.numel():
            return entries.new_empty(0)
        return torch.segment_reduce(entries, how, lengths=self.sizes)
