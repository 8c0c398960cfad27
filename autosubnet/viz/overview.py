"""Tables for a terminal: the segments of a model, the groups that can go, and why other segments stay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.box import SIMPLE_HEAD
from rich.table import Table

from autosubnet.graph.dependency import DependencyGraph
from autosubnet.graph.groups import Group, Refusal
from autosubnet.viz.names import operators


def segment_table(
    graph: DependencyGraph, groups: Iterable[Group], refused: Iterable[Refusal], num_params: Mapping[str, int]
) -> Table:
    """Return a line for each segment, in topological order.

    Args:
        graph: the segments.
        groups: what can be removed.
        refused: what looks removable and is not.
        num_params: number of scalars of each parameter.
    """
    home = {segment: group.name for group in groups for segment in group.segments}
    stays = {refusal.segment for refusal in refused}
    table = titled("Segments")
    table.add_column("segment", style="bold", overflow="fold")
    table.add_column("operators", overflow="fold")
    table.add_column("parameters", justify="right")
    table.add_column("removable")
    for segment in graph.segments:
        name = segment.name
        count = sum(num_params[each] for each in segment.variables)
        verdict = "" if name not in home else "yes" if home[name] == name else f"with {home[name]}"
        table.add_row(
            name,
            operators([graph.vertex[each].label for each in segment.vertices]),
            f"{count:,}" if count else "",
            "refused" if name in stays else verdict,
        )
    return table


def group_table(groups: Iterable[Group]) -> Table:
    """Return a line for each group."""
    table = titled("Groups that can be removed")
    table.add_column("group", style="bold", overflow="fold")
    table.add_column("kind")
    table.add_column("parameters", justify="right")
    for group in groups:
        table.add_row(group.name, group.kind, f"{group.num_params:,}")
    return table


def refusal_table(refused: Iterable[Refusal]) -> Table:
    """Return the reason for each segment that looks removable and is not."""
    table = titled("Segments that stay")
    table.add_column("segment", style="bold", overflow="fold")
    table.add_column("reason", overflow="fold")
    for refusal in refused:
        table.add_row(refusal.segment, refusal.reason)
    return table


def titled(title: str) -> Table:
    """Return an empty table in the style of all of ours."""
    return Table(title=title, title_justify="left", title_style="bold", header_style="dim", box=SIMPLE_HEAD)
