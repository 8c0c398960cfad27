"""The HTML report on a search over paths: its words, its pictures and its curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, fx

from autosubnet.api import AutoSubnet
from autosubnet.training.page_costs import cost_lines
from autosubnet.training.path_problem import Cell
from autosubnet.training.path_results import PathResult
from autosubnet.training.results import tell_difference
from autosubnet.viz.cells import cell_picture
from autosubnet.viz.curves import heat_maps, save_figure, score_by_lambda
from autosubnet.viz.report import Figure, Page, write_report

_FILES = (
    ("subnet.onnx", "the derived network for ONNX Runtime, checked against PyTorch"),
    ("subnet/", "its weights as safetensors, and the network as plain Python source"),
    ("result.json", "every figure of this page"),
    ("config.toml", "the settings: autosubnet search --config config.toml repeats the run"),
)
_CELLS = ("genotype.json", "the cells: autosubnet train stacks them and trains the network from new weights")


def write_path_page(
    result: PathResult, cells: Sequence[Cell], subnet: fx.GraphModule, example: Sequence[Tensor], out: Path
) -> None:
    """Draw pictures into the folder ``out``, and write the page that shows them.

    Args:
        result: what was measured.
        cells: what was derived, of supernets that have cells.
        subnet: what was constructed; drawn where there are no cells.
        example: its inputs.
        out: a folder.
    """
    curve = _score(result, out)
    after = AutoSubnet(subnet, tuple(example))
    if cells:
        figures = tuple(figure for cell in cells for figure in _draw_cell(cell, result, out))
    else:
        left = after.visualize("trace").save(out / "graph_after.svg")
        figures = (_figure("The network that is left: every operator.", left),)
    page = Page(
        title=f"{result.settings['supernet']} with {result.settings['method']}",
        summary=_summary(result),
        rows=result.rows(),
        curves=(curve,),
        proof=_proof(result),
        notes=subnet.meta["autosubnet"].notes,
        figures=figures,
        costs=cost_lines(after),
        files=(_CELLS, *_FILES) if cells else _FILES,
        command=result.command,
        environment=dict(result.environment),
    )
    write_report(page, out / "report.html")


def _summary(result: PathResult) -> str:
    (paths, left), (nodes, alive) = result.paths, result.nodes
    return (
        f"Searched in {result.seconds:.0f} seconds and {len(result.epochs)} epochs. {left} of {paths} paths are left, "
        f"into {alive} of {nodes} nodes. The constructed network returns what the supernet returns without the others."
    )


def _proof(result: PathResult) -> str:
    difference = tell_difference(result.max_difference)
    return (
        "A path with a weight of exactly zero adds nothing to its node, whatever the input. The weights of the paths "
        "that are gone were set to the zeros of the proximal step, and the zeros were compiled away. To check, both "
        f"networks ran side by side: the largest difference of their outputs is {difference}."
    )


def _score(result: PathResult, out: Path) -> Figure:
    percent = result.measure == "accuracy"
    scores = [100 * each.score if percent else each.score for each in result.epochs]
    shares = [each.zero_paths / each.num_paths for each in result.epochs]
    label = f"validation {result.measure}{' (%)' if percent else ''}"
    path = out / f"{result.measure}.svg"
    save_figure(score_by_lambda([each.lam for each in result.epochs], scores, shares, label), path)
    return _figure("The score, and the share of paths at zero, as the penalty grows.", path)


def _draw_cell(cell: Cell, result: PathResult, out: Path) -> tuple[Figure, Figure]:
    """Draw a cell, and its weights over time."""
    picture = cell_picture(cell.nodes, cell.inputs, cell.output).save(out / f"{cell.kind}.svg")
    moments = [f"epoch {number}" for number in range(1, len(result.epochs) + 1)]
    weights = [each.weights[cell.weights] for each in result.epochs]
    maps = out / f"{cell.kind}_weights.svg"
    save_figure(heat_maps(weights, moments, cell.rows, cell.columns, f"architecture weights, {cell.kind} cell"), maps)
    return _figure(f"The {cell.kind} cell.", picture), _figure(f"The weights of the {cell.kind} cell over time.", maps)


def _figure(caption: str, path: Path) -> Figure:
    return Figure(caption, path.read_text("utf-8"))
