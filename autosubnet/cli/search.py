"""``autosubnet search``: operators with H2SPG, or paths with the optimizers of SparseNAS."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autosubnet.cli.inspect_model import NAMES
from autosubnet.cli.screen import JSON_HELP, app, one_sentence_errors, progress, show_result, typed_command
from autosubnet.cli.settings import Config, told
from autosubnet.errors import InputError
from autosubnet.training.config import Given, make_settings
from autosubnet.training.path_settings import PathSettings
from autosubnet.training.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from autosubnet.viz.report import Row


class Method(StrEnum):
    """What makes the zeros."""

    h2spg = "h2spg"
    hapg = "hapg"
    adamhapg = "adamhapg"


_OPERATORS, _PATHS = "Search over operators (h2spg)", "Search over paths (hapg, adamhapg)"


@app.command()
def search(
    supernet: Annotated[str | None, typer.Argument(help=f"darts_rnn (paths alone), {NAMES}")] = None,
    config: Config = None,
    method: Annotated[
        Method | None, typer.Option(help="what is driven to zero: operators with h2spg (else), or paths")
    ] = None,
    data: Annotated[str | None, typer.Option(help="digits (else) or fashion-mnist; nothing for darts_rnn")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="where the files of fashion-mnist are, or a text for darts_rnn")
    ] = None,
    out: Annotated[Path, typer.Option(help="the folder to fill")] = Path("autosubnet-out"),
    epochs: Annotated[int | None, typer.Option(help="passes over the images; else 20, for paths 50")] = None,
    batch_size: Annotated[int | None, typer.Option(help="images a step; else 64")] = None,
    lr: Annotated[float | None, typer.Option(help="learning rate at the start; else that of the method")] = None,
    seed: Annotated[int | None, typer.Option(help="of weights, data order and search; else 0")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on where a run into OUT was interrupted")] = False,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
    sparsity: Annotated[
        float | None, typer.Option(help="share of the groups to remove, 0 to 1; else 0.5", rich_help_panel=_OPERATORS)
    ] = None,
    num_params: Annotated[
        float | None, typer.Option(help="parameters that may be left, instead", rich_help_panel=_OPERATORS)
    ] = None,
    flops: Annotated[
        float | None, typer.Option(help="FLOPs for one image that may be left, instead", rich_help_panel=_OPERATORS)
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="factor on the channels of our own supernets", rich_help_panel=_OPERATORS)
    ] = None,
    path_lr: Annotated[
        float | None, typer.Option(help="learning rate of the paths; else that of the paper", rich_help_panel=_PATHS)
    ] = None,
    lambda_step: Annotated[
        float | None, typer.Option(help="what each epoch adds to lambda; else 0.01", rich_help_panel=_PATHS)
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="1 for single paths, 0 for whole nodes; else 0.5", rich_help_panel=_PATHS)
    ] = None,
    warmup_steps: Annotated[
        int | None, typer.Option(help="first steps of the paths without a penalty", rich_help_panel=_PATHS)
    ] = None,
    order: Annotated[
        str | None, typer.Option(help="of the paths' gradient: first (else) or second", rich_help_panel=_PATHS)
    ] = None,
    channels: Annotated[int | None, typer.Option(help="of darts; else 16", rich_help_panel=_PATHS)] = None,
    cells: Annotated[int | None, typer.Option(help="of darts; else 8", rich_help_panel=_PATHS)] = None,
    space: Annotated[
        str | None, typer.Option(help="of darts: full (else) or cherry_picked", rich_help_panel=_PATHS)
    ] = None,
    size: Annotated[int | None, typer.Option(help="of darts_rnn; else 300", rich_help_panel=_PATHS)] = None,
    window: Annotated[
        int | None, typer.Option(help="words that are run at once; else 35", rich_help_panel=_PATHS)
    ] = None,
) -> None:
    """Train SUPERNET once, remove what it needs least, write the exact subnet.

    With --method h2spg whole operators go; with hapg or adamhapg paths and nodes, of the cells of darts and darts_rnn
    or into the sums, concats and choices of any other model.
    """
    arguments = locals()
    screen = progress(as_json=as_json)
    with one_sentence_errors():
        given = told(arguments)
        chosen = _method(given)
        to = f"--method {chosen.value}"
        if chosen is Method.h2spg:
            rows = _operators(make_settings(Settings, given, to), out, screen, resume=resume)
        else:
            rows = _paths(make_settings(PathSettings, given, to), out, screen, resume=resume)
        if rows is not None:  # one of several processes tells
            show_result(f"{given['supernet'].value}, {chosen.value}", rows, out, as_json=as_json)


def _method(given: Mapping[str, Given]) -> Method:
    method = given.get("method", Given(Method.h2spg, ""))
    if method.value not in list(Method):
        raise InputError(f"{method.place} is {method.value!r}; choose one of {', '.join(Method)}.")
    return Method(method.value)


def _operators(settings: Settings, out: Path, screen: Console, *, resume: bool) -> tuple[Row, ...] | None:
    from autosubnet.training.experiment import run

    result = run(settings, out, typed_command(), screen, resume=resume)
    return None if result is None else result.rows()


def _paths(settings: PathSettings, out: Path, screen: Console, *, resume: bool) -> tuple[Row, ...]:
    from autosubnet.training.path_experiment import run
    from autosubnet.training.path_view import PathView

    with PathView(settings.epochs, screen) as view:
        return run(settings, out, typed_command(), view.show, resume=resume).rows()
