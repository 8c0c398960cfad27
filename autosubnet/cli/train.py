"""``autosubnet train``: the cells that a search found, stacked and trained from new weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autosubnet.cli.screen import JSON_HELP, app, one_sentence_errors, progress, show_result, typed_command
from autosubnet.training.cell_settings import CellSettings

_DEFAULT = CellSettings(Path())


@app.command()
def train(
    genotype: Annotated[Path, typer.Argument(help="the genotype.json that a search over the cells of darts wrote")],
    data: Annotated[str, typer.Option(help="digits or fashion-mnist")] = _DEFAULT.data,
    data_dir: Annotated[Path | None, typer.Option(help="where the files of fashion-mnist are")] = None,
    out: Annotated[Path, typer.Option(help="the folder to fill")] = Path("autosubnet-network"),
    epochs: Annotated[int, typer.Option(help="passes over the training images")] = _DEFAULT.epochs,
    batch_size: Annotated[int, typer.Option(help="images a step")] = _DEFAULT.batch_size,
    lr: Annotated[float, typer.Option(help="learning rate at the start; a cosine takes it to zero")] = _DEFAULT.lr,
    channels: Annotated[int, typer.Option(help="of the first cell")] = _DEFAULT.channels,
    cells: Annotated[int, typer.Option(help="how many are stacked")] = _DEFAULT.cells,
    cutout: Annotated[int, typer.Option(help="side of the square cut out of training images")] = _DEFAULT.cutout,
    drop_path: Annotated[float, typer.Option(help="share of dropped paths, in the last epoch")] = _DEFAULT.drop_path,
    auxiliary_weight: Annotated[
        float, typer.Option(help="of the auxiliary head's loss, 0 for no such head")
    ] = _DEFAULT.auxiliary_weight,
    seed: Annotated[int, typer.Option(help="of weights, data order and everything random")] = _DEFAULT.seed,
    resume: Annotated[bool, typer.Option("--resume", help="go on where a run into OUT was interrupted")] = False,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """Stack the cells of GENOTYPE, train the network from new weights, measure and export it."""
    with one_sentence_errors():
        from autosubnet.training.cell_experiment import run

        settings = CellSettings(
            genotype, data, data_dir, epochs, batch_size, lr, channels, cells, cutout, drop_path, auxiliary_weight, seed
        )
        result = run(settings, out, typed_command(), progress(as_json=as_json), resume=resume)
        if result is not None:  # one of several processes tells
            show_result(f"{genotype} on {data}", result.rows(), out, as_json=as_json)
