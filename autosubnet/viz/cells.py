"""Derived cells, as SparseNAS draws them (Figures 2, 5 and 6): nodes, and the operations on the ways between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autosubnet.ops.kind import Kind
from autosubnet.viz.picture import Picture
from autosubnet.viz.style import FAINT, FONT, INK, KINDS, LINE, WHITE


def cell_picture(nodes: Mapping[int, Sequence[tuple[str, int]]], inputs: Sequence[str], output: str) -> Picture:
    """Return the picture of one cell.

    Args:
        nodes: for each inner node that lives the paths into it, as in a genotype: an operation and the node it reads.
        inputs: names of the cell's inputs, which are nodes 0, 1, and so on.
        output: name of its output, which reads all inner nodes.
    """
    lines = [
        "digraph cell {",
        f'rankdir=LR; bgcolor="{WHITE}"; nodesep=0.25; ranksep=0.9;',
        f'node [fontname="{FONT}" fontsize=12 margin="0.12,0.06"];',
        f'edge [fontname="{FONT}" fontsize=10 color="{LINE}" fontcolor="{INK}" arrowsize=0.7];',
    ]
    lines += [_node(number, name, Kind.INPUT) for number, name in enumerate(inputs)]
    lines += [_node(number, str(number - len(inputs)), Kind.STEM) for number in nodes]
    lines.append(_node("out", output, Kind.OUTPUT))
    for number, paths in nodes.items():
        by_source: dict[int, list[str]] = {}
        for operation, source in paths:
            by_source.setdefault(source, []).append(operation)
        lines += [f'n{source} -> n{number} [label="{_listed(names)}"];' for source, names in by_source.items()]
        lines.append(f'n{number} -> nout [color="{FAINT}" style=dashed];')
    return Picture("\n".join([*lines, "}"]))


def _node(number: int | str, name: str, kind: Kind) -> str:
    look = KINDS[kind].attributes() | {"shape": "box" if kind is not Kind.STEM else "circle", "label": name}
    attributes = " ".join(f'{key}="{value}"' for key, value in look.items())
    return f"n{number} [{attributes}];"


def _listed(operations: Sequence[str]) -> str:
    return r"\n".join(operations)
