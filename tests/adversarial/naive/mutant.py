"""A naive implementation: the package with a few of its parts exchanged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock


@dataclass(frozen=True)
class Mutant:
    """A naive implementation.

    Attributes:
        name: what it believes.
        patches: (where, attribute, what stands there instead).
        groups: whether it is the search for groups that is naive, rather than what removes zeros.
        coarse: whether it fails already on plain sums or products; else it is known to leave these exact.
    """

    name: str
    patches: tuple[tuple[Any, str, Any], ...]
    groups: bool = False
    coarse: bool = False

    @contextmanager
    def believed(self) -> Iterator[None]:
        """Make the package believe it."""
        with ExitStack() as stack:
            for where, attribute, value in self.patches:
                stack.enter_context(mock.patch.object(where, attribute, value))
            yield


def nothing(rule, call, zeros):
    return call.nothing_known()


def of_the_input(rule, call, zeros):
    """The input's mask, unmoved."""
    return zeros(call.input)


def never(*args):
    return False


def always(*args):
    return True


def no(*args):
    return ()
