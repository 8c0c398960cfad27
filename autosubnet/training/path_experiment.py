"""A search over paths from end to end: build a supernet, search, derive, construct, measure, draw, write it down."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from torch import fx

from autosubnet.compiler import remove_zeros
from autosubnet.errors import AutoSubnetWarning, InputError
from autosubnet.export import export_onnx, save
from autosubnet.training import measure
from autosubnet.training.folder import begin
from autosubnet.training.path_images import ImagePaths
from autosubnet.training.path_loop import Epoch, check, search_paths
from autosubnet.training.path_page import write_path_page
from autosubnet.training.path_problem import PathProblem
from autosubnet.training.path_results import PathResult
from autosubnet.training.path_settings import PathSettings
from autosubnet.training.path_texts import TextPaths
from autosubnet.training.statistics import recalibrate

Watch = Callable[[PathProblem, Sequence[Epoch], int], None]


def build(settings: PathSettings) -> PathProblem:
    """Return what is to be searched: texts for ``"darts_rnn"``, images for every other supernet.

    Raises:
        InputError: see :class:`ImagePaths` and :class:`TextPaths`.
    """
    settings.require_in_place()
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
    check(problem, settings)
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
    recalibrate(problem)
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
    if cells is not None:
        (out / "genotype.json").write_text(cells[0] + "\n", "utf-8")
    write_path_page(result, cells[1] if cells is not None else (), subnet, example, out)
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
