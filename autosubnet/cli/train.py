"""``autosubnet train``: the cells that a search found, in a network that is trained from new weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autosubnet.cli.screen import JSON_HELP, app, one_sentence_errors, progress, show_result, typed_command
from autosubnet.cli.settings import Config, told
from autosubnet.training.cell_settings import CellSettings
from autosubnet.training.config import make_settings

_IMAGES, _TEXTS = "Cells of darts, for images", "The cell of darts_rnn, for texts"


@app.command()
def train(
    genotype: Annotated[
        Path | None, typer.Argument(help="the genotype.json that a search over darts or darts_rnn wrote")
    ] = None,
    config: Config = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="where the files of fashion-mnist are, or the three of a text")
    ] = None,
    out: Annotated[Path, typer.Option(help="the folder to fill")] = Path("autosubnet-network"),
    epochs: Annotated[int | None, typer.Option(help="passes over the data; else 600, over a text 4000")] = None,
    batch_size: Annotated[int | None, typer.Option(help="images a step, else 96; columns of text, else 64")] = None,
    lr: Annotated[
        float | None, typer.Option(help="learning rate: else 0.025, which a cosine takes to zero; for texts 20")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="of weights, data order and everything random; else 0")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on where a run into OUT was interrupted")] = False,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
    data: Annotated[str | None, typer.Option(help="digits (else) or fashion-mnist", rich_help_panel=_IMAGES)] = None,
    channels: Annotated[int | None, typer.Option(help="of the first cell; else 36", rich_help_panel=_IMAGES)] = None,
    cells: Annotated[int | None, typer.Option(help="how many are stacked; else 20", rich_help_panel=_IMAGES)] = None,
    cutout: Annotated[
        int | None, typer.Option(help="side of the square cut out of training images; else 0", rich_help_panel=_IMAGES)
    ] = None,
    drop_path: Annotated[
        float | None, typer.Option(help="share of dropped paths, in the last epoch; else 0.2", rich_help_panel=_IMAGES)
    ] = None,
    auxiliary_weight: Annotated[
        float | None, typer.Option(help="of the auxiliary head's loss, 0 for none; else 0.4", rich_help_panel=_IMAGES)
    ] = None,
    size: Annotated[int | None, typer.Option(help="of words and states; else 850", rich_help_panel=_TEXTS)] = None,
    window: Annotated[
        int | None, typer.Option(help="words that are run at once; else 35", rich_help_panel=_TEXTS)
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(help="factor on the dropouts of DARTS, 0 for none; else 1", rich_help_panel=_TEXTS)
    ] = None,
) -> None:
    """Build the network of GENOTYPE, train it from new weights, measure and export it.

    The cells of darts are stacked, and trained on images. That of darts_rnn becomes a language model, for Python's own
    help or the text in --data-dir: train.txt, valid.txt and test.txt, as those of Penn Treebank.
    """
    arguments = locals()
    with one_sentence_errors():
        from autosubnet.training.cell_experiment import run, settings_for

        given = told(arguments)
        genotype = given["genotype"].value if "genotype" in given else None
        kind = settings_for(Path(genotype)) if isinstance(genotype, (str, Path)) else CellSettings
        settings = make_settings(kind, given, f"the cells in {genotype}")
        result = run(settings, out, typed_command(), progress(as_json=as_json), resume=resume)
        if result is not None:  # one of several processes tells
            show_result(f"the network of {settings.genotype}", result.rows(), out, as_json=as_json)
