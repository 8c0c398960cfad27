"""A search over paths from end to end: build a supernet, search, derive, construct, measure, draw, write it down."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import fx

from autosubnet.api import remove_zeros
from autosubnet.errors import AutoSubnetWarning, InputError
from autosubnet.export import export_onnx, save
from autosubnet.training import measure
from autosubnet.training.folder import begin
from autosubnet.training.path_images import ImagePaths
from autosubnet.training.path_loop import Epoch, search_paths
from autosubnet.training.path_problem import Cell, PathProblem
from autosubnet.training.path_settings import PathSettings
from autosubnet.training.path_texts import TextPaths
from autosubnet.training.results import tell_difference, tell_score
from autosubnet.viz.cells import cell_picture
from autosubnet.viz.curves import heat_maps, save_figure, score_by_lambda
from autosubnet.viz.report import Row

Watch = Callable[[PathProblem, Sequence[Epoch], int], None]


@dataclass(frozen=True)
class PathResult:
    """What a search over paths left, and what it takes to repeat it.

    Attributes:
        num_params: scalar parameters of the supernet and of the derived network.
        multiply_adds: the same, for one image, or for one step of the recurrent cell.
        measure: what the score is.
        score: on the test data, of the derived supernet and of the network constructed from it.
        paths: how many there were and are.
        nodes: the same.
        max_difference: largest difference of an output of the two, over the checked inputs.
        epochs: what each ended with.
        seconds: duration of the search.
        settings: the arguments.
        command: what was typed.
        environment: see :func:`autosubnet.training.measure.environment`.
    """

    num_params: tuple[int, int]
    multiply_adds: tuple[int, int]
    measure: str
    score: tuple[float, float]
    paths: tuple[int, int]
    nodes: tuple[int, int]
    max_difference: float | None
    epochs: tuple[Epoch, ...]
    seconds: float
    settings: Mapping[str, str | int | float | None]
    command: str
    environment: Mapping[str, str]

    def rows(self) -> tuple[Row, ...]:
        """Return the comparison, one line a quantity."""
        (p, q), (f, g) = self.num_params, self.multiply_adds
        before, after = (tell_score(self.measure, each) for each in self.score)
        return (
            Row("paths", str(self.paths[0]), str(self.paths[1]), ""),
            Row("nodes", str(self.nodes[0]), str(self.nodes[1]), ""),
            Row("parameters", f"{p:,}", f"{q:,}", f"{q / p:.0%} are left"),
            Row("multiply-adds", f"{f / 1e6:.2f} M", f"{g / 1e6:.2f} M", f"{g / f:.0%} are left"),
            Row(f"{self.measure}, weights inherited", before, after, ""),
            Row("largest output difference", "", tell_difference(self.max_difference), ""),
        )


def build(settings: PathSettings) -> PathProblem:
    """Return what is to be searched: texts for ``"darts_rnn"``, images for every other supernet.

    Raises:
        InputError: see :class:`ImagePaths` and :class:`TextPaths`.
    """
    return TextPaths.build(settings) if settings.supernet == "darts_rnn" else ImagePaths.build(settings)


def run(
    settings: PathSettings,
    out: Path,
    command: str,
    watch: Watch = lambda problem, epochs, step: None,
    *,
    resume: bool = False,
) -> PathResult:
    """Search, and fill the folder ``out``.

    Args:
        settings: what to do.
        out: made if missing; files of an earlier run are replaced.
        command: what was typed, for the record.
        watch: is told after each step what is searched, the epochs so far, and how many steps were taken.
        resume: go on where an earlier run into ``out`` was interrupted; it starts anew where there is none.

    Raises:
        AutoSubnetError: whatever the stages raise, input errors before any training; no path is left.
    """
    problem = build(settings)
    model = problem.model
    part, example = problem.captured()
    before = (measure.num_params(model), measure.multiply_adds(part, *example))
    checkpoint = begin(out, settings, resume=resume)
    start = time.perf_counter()
    architecture, epochs = search_paths(
        problem, settings, watch=lambda done, step: watch(problem, done, step), checkpoint=checkpoint
    )
    seconds = time.perf_counter() - start
    zero = architecture.derive(problem.paths.outgoing)
    model.cpu().eval()
    try:
        cells = problem.genotype()
        subnet = _construct(problem)
    except InputError as error:
        raise InputError(
            f"{error} The penalty took too much: take a smaller lambda step or fewer epochs, into another folder."
        ) from error
    network = problem.with_subnet(subnet)
    result = PathResult(
        num_params=(before[0], measure.num_params(network)),
        multiply_adds=(before[1], measure.multiply_adds(subnet, *example)),
        measure=problem.measure,
        score=(problem.score(model, test=True), problem.score(network, test=True)),
        paths=(epochs[-1].num_paths, sum(int(each.count_nonzero()) for each in architecture.proximal().values())),
        nodes=(len(problem.paths.groups), len(problem.paths.groups) - len(zero)),
        max_difference=subnet.meta["autosubnet"].max_difference,
        epochs=tuple(epochs),
        seconds=seconds,
        settings={**asdict(settings), "data_dir": str(settings.data_dir or "")},
        command=command,
        environment=measure.environment(),
    )
    save(subnet, out / "subnet")
    export_onnx(subnet, out / "subnet.onnx", example)
    (out / "result.json").write_text(json.dumps(asdict(result), indent=2) + "\n", "utf-8")
    _draw(problem.measure, epochs, out)
    if cells is not None:
        (out / "genotype.json").write_text(cells[0] + "\n", "utf-8")
        for cell in cells[1]:
            _draw_cell(cell, epochs, out)
    checkpoint.unlink()
    return result


def _construct(problem: PathProblem) -> fx.GraphModule:
    """Construct the derived network; one whose outputs nothing reaches any more is refused."""
    part, example = problem.captured()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=AutoSubnetWarning)
        subnet = remove_zeros(part.eval(), example)
    if subnet.meta["autosubnet"].constant_outputs:
        raise InputError("No path from the input to the output is left.")
    return subnet


def _draw(measured: str, epochs: Sequence[Epoch], out: Path) -> None:
    shares = [each.zero_paths / each.num_paths for each in epochs]
    scores = [100 * each.score if measured == "accuracy" else each.score for each in epochs]
    label = f"validation {measured}{' (%)' if measured == 'accuracy' else ''}"
    save_figure(score_by_lambda([each.lam for each in epochs], scores, shares, label), out / f"{measured}.svg")


def _draw_cell(cell: Cell, epochs: Sequence[Epoch], out: Path) -> None:
    """Draw a cell, and its weights over time."""
    cell_picture(cell.nodes, cell.inputs, cell.output).save(out / f"{cell.kind}.svg")
    moments = [f"epoch {number + 1}" for number in range(len(epochs))]
    weights = [each.weights[cell.weights] for each in epochs]
    maps = heat_maps(weights, moments, cell.rows, cell.columns, f"architecture weights, {cell.kind} cell")
    save_figure(maps, out / f"{cell.kind}_weights.svg")
