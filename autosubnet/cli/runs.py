"""``autosubnet report``, ``evaluate`` and ``export``: what can be done with a folder that a run filled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from autosubnet.cli.screen import JSON_HELP, app, comparison, console, one_sentence_errors, show_result
from autosubnet.errors import ExportError

_RUN = "a folder that search or train filled"
Json = Annotated[bool, typer.Option("--json", help=JSON_HELP)]


@app.command()
def report(run: Annotated[Path, typer.Argument(help=_RUN)], as_json: Json = False) -> None:
    """Show again what RUN found."""
    with one_sentence_errors():
        from autosubnet.training.finished import FinishedRun

        show_result(str(run), FinishedRun.read(run).rows(), run, as_json=as_json)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Argument(help=_RUN)],
    data: Annotated[str | None, typer.Option(help="digits or fashion-mnist; else those of the run")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="where the images or the text are")] = None,
    as_json: Json = False,
) -> None:
    """Measure the network in RUN again, on images or a text."""
    with one_sentence_errors():
        from autosubnet.training import evaluation
        from autosubnet.training.finished import FinishedRun

        found = evaluation.evaluate(FinishedRun.read(run), data, data_dir)
        if as_json:
            figures = {"num_params": found.num_params, "multiply_adds": found.multiply_adds}
            typer.echo(json.dumps({"data": found.data, **figures, **found.scores}))
            return
        console.print(comparison(f"{run} on {found.data}", found.rows()))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help=_RUN)],
    file: Annotated[Path, typer.Argument(help="what to write: .onnx, or .pt2 for a program of torch.export")],
) -> None:
    """Write the network in RUN as one file, checked against the network; the batch size stays free."""
    with one_sentence_errors():
        from autosubnet.export import export_onnx, export_program
        from autosubnet.training.finished import FinishedRun

        writers = {".onnx": export_onnx, ".pt2": export_program}
        if file.suffix not in writers:
            raise ExportError(f"cannot write {file}: its suffix is none of {', '.join(writers)}")
        finished = FinishedRun.read(run)
        difference = writers[file.suffix](finished.network(), file, finished.examples())
        console.print(f"Wrote {file}; its outputs differ by {difference:.1e} at most.", soft_wrap=True, highlight=False)
