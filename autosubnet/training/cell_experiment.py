"""The evaluation of SparseNAS: the network of a genotype's cells is trained from new weights, and measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from accelerate import Accelerator
from rich.console import Console

from autosubnet.api import AutoSubnet
from autosubnet.compiler import remove_zeros
from autosubnet.errors import InputError
from autosubnet.export import export_onnx, save
from autosubnet.supernets import Genotype, RecurrentGenotype
from autosubnet.training import measure
from autosubnet.training.cell_images import ImageCells
from autosubnet.training.cell_problem import CellProblem, read_genotype
from autosubnet.training.cell_settings import CellSettings, RecurrentSettings
from autosubnet.training.cell_texts import TextCells
from autosubnet.training.folder import begin
from autosubnet.training.page_costs import cost_lines
from autosubnet.training.results import tell_score
from autosubnet.viz.curves import save_figure
from autosubnet.viz.report import Figure, Page, Row, write_report
from autosubnet.viz.training_curves import training_curves


@dataclass(frozen=True)
class CellResult:
    """What a trained network of derived cells is worth, and what it takes to repeat it.

    Attributes:
        num_params: scalar parameters, without the auxiliary head.
        multiply_adds: for one image, or one word.
        scores: on data that it was not trained on, by what is measured.
        epochs: what each ended with.
        settings: the arguments.
        command: what was typed.
        environment: see :func:`autosubnet.training.measure.environment`.
    """

    num_params: int
    multiply_adds: int
    scores: Mapping[str, float]
    epochs: tuple[Mapping[str, float], ...]
    settings: Mapping[str, str | int | float]
    command: str
    environment: Mapping[str, str]

    def rows(self) -> tuple[Row, ...]:
        """Return what was measured, one line a quantity."""
        return (
            Row("parameters", "", f"{self.num_params:,}", ""),
            Row("multiply-adds", "", f"{self.multiply_adds / 1e6:.2f} M", ""),
            *(Row(name, "", tell_score(name, value), "") for name, value in self.scores.items()),
        )


def settings_for(genotype: Path) -> type[CellSettings] | type[RecurrentSettings]:
    """Return which settings a genotype takes.

    Raises:
        InputError: see :func:`autosubnet.training.cell_problem.read_genotype`.
    """
    return CellSettings if isinstance(read_genotype(genotype), Genotype) else RecurrentSettings


def build(settings: CellSettings | RecurrentSettings) -> CellProblem:
    """Return the network with new weights, and its data.

    Raises:
        InputError: the genotype cannot be read or is of the other kind; see :class:`ImageCells`, :class:`TextCells`.
    """
    found = read_genotype(settings.genotype)
    if isinstance(settings, CellSettings) and isinstance(found, Genotype):
        return ImageCells.build(found, settings)
    if isinstance(settings, RecurrentSettings) and isinstance(found, RecurrentGenotype):
        return TextCells.build(found, settings)
    raise InputError(f"{settings.genotype} holds a {type(found).__name__}, which {type(settings).__name__} is not for.")


def run(
    settings: CellSettings | RecurrentSettings,
    out: Path,
    command: str,
    console: Console | None = None,
    *,
    resume: bool = False,
) -> CellResult | None:
    """Train, and fill the folder ``out``; under ``accelerate launch`` the first process fills it.

    Args:
        settings: what to do.
        out: made if missing; files of an earlier run are replaced.
        command: what was typed, for the record.
        console: where the progress bar goes.
        resume: go on where an earlier run into ``out`` was interrupted; it starts anew where there is none.

    Returns:
        What was measured, also in ``out/result.json``; ``None`` on other processes than the first.

    Raises:
        AutoSubnetError: whatever the stages raise, input errors before any training.
    """
    problem = build(settings)
    checkpoint = begin(out, settings, resume=resume)
    epochs = problem.train(console, checkpoint)
    if not Accelerator().is_main_process:
        return None
    model, examples = problem.captured()
    network = remove_zeros(model, examples).eval()
    result = CellResult(
        num_params=problem.num_params,
        multiply_adds=measure.multiply_adds(model, *examples),
        scores=problem.scores(),
        epochs=tuple(epochs),
        settings={name: value if isinstance(value, int | float) else str(value or "")
                  for name, value in asdict(settings).items()},
        command=command,
        environment=measure.environment(),
    )  # fmt: skip
    (out / "result.json").write_text(json.dumps(asdict(result), indent=2) + "\n", "utf-8")
    _write_page(result, AutoSubnet(network, examples), out)
    save(network, out / "network")
    export_onnx(network, out / "network.onnx", examples)
    checkpoint.unlink()
    return result


def _write_page(result: CellResult, oto: AutoSubnet, out: Path) -> None:
    losses = [each["loss"] for each in result.epochs]
    scores = [each["perplexity"] for each in result.epochs if "perplexity" in each]
    save_figure(training_curves(losses, scores, "validation perplexity"), out / "training.svg")
    page = Page(
        title=f"The cells of {result.settings['genotype']} on {result.settings.get('data', 'a text')}",
        summary=f"Trained from new weights in {len(result.epochs)} epochs.",
        rows=result.rows(),
        curves=(Figure("By epoch.", (out / "training.svg").read_text("utf-8")),),
        costs=cost_lines(oto),
        files=(
            ("network.onnx", "the network for ONNX Runtime, checked against PyTorch"),
            ("network/", "its weights as safetensors, and the network as plain Python source"),
            ("result.json", "every figure of this page"),
            ("config.toml", "the settings: autosubnet train --config config.toml repeats the run"),
        ),
        command=result.command,
        environment=dict(result.environment),
    )
    write_report(page, out / "report.html")
