"""Whether a state dict is one of these groups: their names and a digest of their slices."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from autosubnet.errors import StateError
from autosubnet.graph.groups import Group


def digest(group: Group) -> str:
    """Sixteen hexadecimal digits that tell a group's slices apart from others."""
    slices = sorted((s.name, -1 if s.dim is None else s.dim, s.indices or ()) for s in group.slices)
    return hashlib.sha256(repr(slices).encode()).hexdigest()[:16]


def check_partition(names: Sequence[str], digests: Sequence[str], groups: Sequence[Group]) -> None:
    """Check that saved names and digests are those of the groups.

    Raises:
        StateError: they are not; the first difference.
    """
    for i, (name, saved, group) in enumerate(zip(names, digests, groups, strict=False)):
        if name != group.name:
            raise _other_partition(f"group {i} is {name!r} there and {group.name!r} here")
        if saved != digest(group):
            raise _other_partition(f"group {name!r} has other parameter slices there than here")
    if len(names) != len(groups):
        raise _other_partition(f"{len(names)} groups there, {len(groups)} here")


def _other_partition(difference: str) -> StateError:
    return StateError(
        f"the state dict belongs to another partition: {difference}; build the same model with the same options"
    )
