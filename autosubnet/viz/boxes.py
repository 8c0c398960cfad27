"""What a picture is made of: boxes in topological order, and the links between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Link:
    """What a box reads: the tensor that ``source`` makes or, if ``shared``, every tensor that ``source`` reads."""

    source: str
    shared: bool = False


@dataclass(frozen=True)
class Box:
    """One node of a picture.

    Attributes:
        name: unique.
        links: what it reads, from boxes before it.
        label: Graphviz label, HTML-like.
        lines: its height in lines of text.
        width: about how wide it is, in the same unit.
        attributes: Graphviz node attributes.
        frame: name of the frame it stands in, ``""`` for none.
        faded: whether it is removed, so that its edges are dashed.
    """

    name: str
    links: tuple[Link, ...]
    label: str
    lines: int
    width: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    frame: str = ""
    faded: bool = False


def links_to(sources: Sequence[str]) -> tuple[Link, ...]:
    """Return a plain link to each of ``sources``, repeated ones once."""
    return tuple(Link(source) for source in dict.fromkeys(sources))


def share(boxes: Sequence[Box]) -> list[Box]:
    """Return ``boxes`` where one that reads all that an earlier one reads, and more, has one link for it.

    In a dense block of k layers the k concatenations read k (k + 1) / 2 tensors; drawn this way each has two links,
    and nothing is left out.
    """
    wide: dict[str, frozenset[Link]] = {}  # in topological order: the boxes that read at least two tensors
    readers: dict[Link, set[str]] = {}
    result = []
    for box in boxes:
        reads = frozenset(box.links)
        near = {name for link in box.links for name in readers.get(link, ())} if len(reads) > 2 else set()
        found = max((name for name in near if wide[name] <= reads), key=lambda name: len(wide[name]), default=None)
        if len(reads) > 1:
            wide[box.name] = reads
            for link in box.links:
                readers.setdefault(link, set()).add(box.name)
        if found is None:
            result.append(box)
        else:
            rest = tuple(link for link in box.links if link not in wide[found])
            result.append(replace(box, links=(Link(found, shared=True), *rest)))
    return result
