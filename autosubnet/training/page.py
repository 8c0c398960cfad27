"""The words of the HTML report on a search."""

from __future__ import annotations

from autosubnet.api import AutoSubnet
from autosubnet.graph.groups import Group
from autosubnet.training.results import Result, tell_difference
from autosubnet.viz.report import Figure, GroupLine, Page

FILES = (
    ("subnet.onnx", "the subnet for ONNX Runtime, checked against PyTorch"),
    ("subnet/", "its weights as safetensors, and the network as plain Python source"),
    ("supernet.onnx", "the trained supernet, to compare with"),
    ("graph_before.svg", "the operators of the supernet"),
    ("segments.svg", "its segments, with what was removed"),
    ("graph_after.svg", "the operators of the subnet"),
    ("result.json", "every figure of this page"),
)


def make_page(result: Result, oto: AutoSubnet, notes: tuple[str, ...], figures: tuple[Figure, ...]) -> Page:
    """Return the report on a search.

    Args:
        result: what was measured.
        oto: what was searched.
        notes: remarks of the construction.
        figures: pictures, in the order of the page.
    """
    removed = set(result.removed)
    return Page(
        title=f"{result.settings['supernet']} on {result.settings['data']}",
        summary=_summary(result),
        rows=result.rows(),
        proof=_proof(result),
        groups=tuple(
            GroupLine(group.name, group.num_params, group.name in removed, _reason(oto, group)) for group in oto.groups
        ),
        refused=tuple((refusal.segment, refusal.reason) for refusal in oto.refused),
        notes=notes,
        figures=figures,
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
