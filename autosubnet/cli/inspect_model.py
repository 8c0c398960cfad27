"""``autosubnet inspect``: what a model offers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autosubnet.cli.screen import JSON_HELP, app, console, one_sentence_errors
from autosubnet.viz.overview import group_table, refusal_table, segment_table

if TYPE_CHECKING:
    from autosubnet import AutoSubnet

NAMES = "demo, stacked_unets, super_resnet, darts, timm:NAME, torchvision:NAME or package.module:factory"


@app.command()
def inspect(
    name: Annotated[str, typer.Argument(help=f"{NAMES}; what stands here is imported")],
    draw: Annotated[Path | None, typer.Option(help="a picture of the segments: .svg, .png or .dot")] = None,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Show what of a model can be removed and how much of it, and why other segments stay.

    A factory may return the model alone, or with its example inputs: (model, inputs).
    """
    with one_sentence_errors():
        from autosubnet import AutoSubnet
        from autosubnet.supernets import create_with_inputs

        oto = AutoSubnet(*create_with_inputs(name))
        if draw is not None:
            oto.visualize("segments").save(draw)
        if as_json:
            typer.echo(json.dumps(_record(name, oto)))
            return
        sizes = {key: parameter.numel() for key, parameter in oto.model.named_parameters()}
        kinds = Counter(str(vertex.kind) for vertex in oto.graph.vertices)
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        console.print(f"[bold]{name}[/bold]", highlight=False)
        console.print(f"  parameters  {oto.compute_num_params():,}", highlight=False)
        console.print(f"  FLOPs       {oto.compute_flops():,} for one example", highlight=False)
        console.print(f"  vertices    {len(oto.graph.vertices)}: {counts}", highlight=False)
        console.print(f"  segments    {len(oto.graph.segments)}", highlight=False)
        console.print(f"  search      {_search_space(oto)}", highlight=False, soft_wrap=True)
        for note in oto.notes:
            console.print(f"  note        {note}", highlight=False, markup=False, soft_wrap=True)
        console.print()
        console.print(segment_table(oto.graph, oto.groups, oto.refused, sizes))
        if oto.groups:
            console.print(group_table(oto.groups))
        else:
            console.print("No removable groups: every operator is on the only way from input to output.")
        if oto.refused:
            console.print(refusal_table(oto.refused))
        if draw is not None:
            console.print(f"The segments are drawn in {draw}", soft_wrap=True)


def _search_space(oto: AutoSubnet) -> str:
    """Return, for a person, how many choices there are, and what goes if as many groups go as can go together."""
    if not oto.groups:
        return "nothing to choose"
    together = oto.random_set_zero_groups(target_group_sparsity=1.0)
    before, after = oto.compute_costs(), oto.compute_costs(without=together)  # of groups, whatever was zero at birth
    params, flops = (1 - after[name] / before[name] if before[name] else 0.0 for name in ("num_params", "flops"))
    count = len(oto.groups)
    return (
        f"2^{count} sets of {count} groups; {len(together)} can go together, "
        f"with {params:.1%} of the parameters and {flops:.1%} of the FLOPs"
    )


def _record(name: str, oto: AutoSubnet) -> dict[str, Any]:
    """Return what is shown, as data."""
    return {
        "name": name,
        "num_params": oto.compute_num_params(),
        "flops": oto.compute_flops(),
        "vertices": [{"name": each.name, "kind": str(each.kind), "label": each.label} for each in oto.graph.vertices],
        "segments": [{"name": each.name, "vertices": each.vertices} for each in oto.graph.segments],
        "groups": [{"name": each.name, "num_params": each.num_params} for each in oto.groups],
        "refused": [{"segment": each.segment, "reason": each.reason} for each in oto.refused],
        "notes": list(oto.notes),
    }
