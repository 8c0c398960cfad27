"""Dependency graphs as text. ``python -m graph.golden`` in ``tests/`` writes the golden files anew."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch

import autosubnet
from autosubnet.graph.groups import ParameterSlice
from graph.models import EXAMPLES, Example

FOLDER = Path(__file__).parent.parent / "golden"


def path_of(name: str) -> Path:
    return FOLDER / f"graph_{name}.txt"


def text_of(example: Example) -> str:
    """Return vertices, segments, groups, refusals and complement, one a line."""
    oto = autosubnet.AutoSubnet(*example)
    graph = oto.graph
    lines = ["vertices: kind, operator, shape of one example, what it reads, variables"]
    for each in graph.vertices:
        shape = "-" if each.shape is None else "x".join(map(str, each.shape[1:]))
        lines.append(
            f"  {each.name}: {each.kind} {each.label} {shape}{_arrow('<-', each.inputs)}{_own(each.variables)}"
        )
    lines.append("segments: vertices, what reads them")
    for segment in graph.segments:
        lines.append(f"  {segment.name}: {', '.join(segment.vertices)}{_arrow('->', segment.outgoing)}")
    lines.append("groups: parameters in all, slices")
    for group in oto.groups:
        lines.append(f"  {group.name}: {group.num_params}{_own(map(_slice, group.slices))}")
    lines.append("refused")
    lines += [f"  {refusal.segment}: {refusal.reason}" for refusal in oto.refused]
    lines.append("complement")
    lines += [f"  {name}" for name in oto.complement]
    return "\n".join(lines) + "\n"


def _arrow(arrow: str, names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f" {arrow} {listed}" if listed else ""


def _own(names: Iterable[str]) -> str:
    listed = ", ".join(names)
    return f" [{listed}]" if listed else ""


def _slice(each: ParameterSlice) -> str:
    if each.indices is None:
        return each.name
    return f"{each.name} dim {each.dim} at {' '.join(map(str, each.indices))}"


def main() -> None:
    torch.set_num_threads(1)
    for name, make in EXAMPLES.items():
        path_of(name).write_text(text_of(make()))


if __name__ == "__main__":
    main()
