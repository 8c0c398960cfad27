"""``autosubnet report``, ``evaluate`` and ``export``: what can be done with a folder that a run filled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from autosubnet.cli.screen import JSON_HELP, app, comparison, console, one_sentence_errors, show_result
from autosubnet.errors import ExportError
from autosubnet.viz.report import Row

_RUN = "a folder that search or train filled"
_EXAMPLES = 2
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
    data_dir: Annotated[Path | None, typer.Option(help="where the files of fashion-mnist are")] = None,
    as_json: Json = False,
) -> None:
    """Measure the network in RUN on the test images again."""
    with one_sentence_errors():
        from autosubnet.training import loop, measure
        from autosubnet.training.finished import FinishedRun

        finished = FinishedRun.read(run)
        images = finished.data(data, data_dir)
        network = finished.network()
        num_params, share = measure.num_params(network), loop.accuracy(network, images.test)
        multiply_adds = measure.multiply_adds(network, images.test.tensors[0][:1])
        if as_json:
            found = {"num_params": num_params, "multiply_adds": multiply_adds, "accuracy": share}
            typer.echo(json.dumps({"data": images.name, **found}))
            return
        rows = (
            Row("parameters", "", f"{num_params:,}", ""),
            Row("multiply-adds an image", "", f"{multiply_adds / 1e6:.2f} M", ""),
            Row("accuracy", "", f"{share:.2%}", ""),
        )
        console.print(comparison(f"{run} on {images.name}", rows))


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
        images = finished.data().test.tensors[0][:_EXAMPLES]
        difference = writers[file.suffix](finished.network(), file, images)
        console.print(f"Wrote {file}; its outputs differ by {difference:.1e} at most.", soft_wrap=True, highlight=False)
