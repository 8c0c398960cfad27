"""The HTML report on a search: its words, its pictures and its curves."""

from __future__ import annotations

from pathlib import Path

from torch import fx

from autosubnet.api import AutoSubnet
from autosubnet.graph.groups import Group
from autosubnet.subnet.report import Report
from autosubnet.training.page_costs import cost_lines
from autosubnet.training.results import Result, tell_difference
from autosubnet.viz.curves import save_figure
from autosubnet.viz.report import Figure, GroupLine, Page, write_report
from autosubnet.viz.training_curves import search_curves

FILES = (
    ("subnet.onnx", "the subnet for ONNX Runtime, checked against PyTorch"),
    ("subnet/", "its weights as safetensors, and the network as plain Python source"),
    ("supernet.onnx", "the trained supernet, to compare with"),
    ("graph_before.svg", "the operators of the supernet"),
    ("training.svg", "loss, zero groups and scores by epoch"),
    ("segments.svg", "its segments, with what was removed"),
    ("graph_after.svg", "the operators of the subnet"),
    ("result.json", "every figure of this page"),
    ("config.toml", "the settings: autosubnet search --config config.toml repeats the run"),
)
_ABOUT_CURVES = "By epoch; in the shaded ones, the projection phase, the chosen groups go to zero."


def write_page(result: Result, oto: AutoSubnet, subnet: fx.GraphModule, out: Path) -> None:
    """Draw pictures into the folder ``out``, and write the page that shows them.

    Args:
        result: what was measured.
        oto: what was searched.
        subnet: what was constructed from it.
        out: a folder.
    """
    after = AutoSubnet(subnet, oto.example_inputs)
    pictures = (
        ("segments.svg", "What could be removed, and what was.", oto.visualize("groups")),
        ("graph_after.svg", "The subnet: every operator that is left.", after.visualize("trace")),
        ("graph_before.svg", "The supernet: every operator, coloured by its kind.", oto.visualize("trace")),
    )
    for name, _, picture in pictures:
        picture.save(out / name)
    zero, scores, phases = ([each[name] for each in result.history] for name in ("num_zero", "scores", "phase"))
    save_figure(search_curves(result.losses, zero, scores, phases, result.removed), out / "training.svg")
    curves = (Figure(_ABOUT_CURVES, (out / "training.svg").read_text("utf-8")),)
    figures = tuple(Figure(caption, picture.svg) for _, caption, picture in pictures)
    write_report(_page(result, oto, subnet.meta["autosubnet"], curves, figures), out / "report.html")


def _page(
    result: Result, oto: AutoSubnet, report: Report, curves: tuple[Figure, ...], figures: tuple[Figure, ...]
) -> Page:
    removed = set(result.removed)
    return Page(
        title=f"{result.settings['supernet']} on {result.settings['data']}",
        summary=_summary(result),
        rows=result.rows(),
        curves=curves,
        proof=_proof(result),
        groups=tuple(
            GroupLine(group.name, group.num_params, group.name in removed, _reason(oto, group)) for group in oto.groups
        ),
        refused=tuple((refusal.segment, refusal.reason) for refusal in oto.refused),
        notes=report.notes,
        figures=figures,
        costs=cost_lines(oto, report),
        files=FILES,
        command=result.command,
        environment=result.environment,
    )


def _summary(result: Result) -> str:
    trained = f"Trained once, in {result.seconds:.0f} seconds and {len(result.losses)} epochs. "
    if not result.num_groups:
        return trained + "This model has no operator that can be removed, so nothing was."
    params = 1 - result.subnet.num_params / result.supernet.num_params
    work = 1 - result.subnet.multiply_adds / result.supernet.multiply_adds
    return (
        trained + f"{len(result.removed)} of {result.num_groups} removable structures are gone, and with "
        f"them {params:.0%} of the parameters and {work:.0%} of the multiply-adds. What is left returns the "
        "outputs of the trained supernet, with no fine-tuning."
    )


def _reason(oto: AutoSubnet, group: Group) -> str:
    """Return the explanation without its first line, which repeats the name and the size."""
    return oto.explain(group).partition("\n")[2]


def _proof(result: Result) -> str:
    return (
        "A structure is removable only where it is proved that zeros in its parameters make its output zero "
        "for every input. Training made the parameters of the chosen structures exactly zero, so cutting "
        f"them out changes nothing. To check, both networks ran side by side in {result.dtype}: the "
        f"largest difference of their outputs is {tell_difference(result.max_difference)}."
    )
