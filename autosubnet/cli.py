"""The command line: ``search`` does the main job, ``inspect`` shows what a model offers."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

try:
    import typer
    from rich.console import Console
    from rich.table import Table

    from autosubnet.viz.overview import group_table, refusal_table, segment_table, titled
except ModuleNotFoundError as error:
    raise SystemExit(f"{error.name} is not installed; try: pip install 'autosubnet[all]'") from error

from autosubnet.errors import AutoSubnetError
from autosubnet.training.settings import Settings

if TYPE_CHECKING:
    from autosubnet import AutoSubnet
    from autosubnet.viz.report import Row

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
console = Console(emoji=False)
_DEFAULT = Settings()
_NAMES = "demo, stacked_unets, super_resnet, darts, timm:NAME, torchvision:NAME or package.module:factory"


@app.callback()
def main() -> None:
    """Exact sub-networks of any PyTorch model."""
    sys.path.insert(0, "")  # a factory may lie in the folder where the command is given


@app.command()
def search(
    supernet: Annotated[str, typer.Argument(help=_NAMES)],
    data: Annotated[str, typer.Option(help="digits or fashion-mnist")] = _DEFAULT.data,
    data_dir: Annotated[Path | None, typer.Option(help="where the files of fashion-mnist are")] = _DEFAULT.data_dir,
    out: Annotated[Path, typer.Option(help="the folder to fill")] = Path("autosubnet-out"),
    epochs: Annotated[int, typer.Option(help="passes over the training images")] = _DEFAULT.epochs,
    batch_size: Annotated[int, typer.Option(help="images a step")] = _DEFAULT.batch_size,
    lr: Annotated[float, typer.Option(help="learning rate at the start; a cosine takes it to zero")] = _DEFAULT.lr,
    sparsity: Annotated[float | None, typer.Option(help="share of the groups to remove, 0 to 1; else 0.5")] = None,
    num_params: Annotated[float | None, typer.Option(help="parameters that may be left, instead")] = None,
    flops: Annotated[float | None, typer.Option(help="FLOPs for one image that may be left, instead")] = None,
    width: Annotated[float | None, typer.Option(help="factor on the channels of our own supernets")] = _DEFAULT.width,
    seed: Annotated[int, typer.Option(help="of weights, data order and search")] = _DEFAULT.seed,
    resume: Annotated[bool, typer.Option("--resume", help="go on where a run into OUT was interrupted")] = False,
) -> None:
    """Train SUPERNET once, remove the operators that it needs least, write the exact subnet."""
    with _one_sentence_errors():
        from autosubnet.training.experiment import run

        settings = Settings(supernet, data, data_dir, epochs, batch_size, lr, sparsity, num_params, flops, width, seed)
        result = run(settings, out, _command(), console, resume=resume)
        if result is not None:  # one of several processes tells
            console.print(_result_table(f"{supernet} on {data}", result.rows()))
            console.print(f"Everything is in {out}; begin with {out / 'report.html'}", soft_wrap=True, highlight=False)


@app.command()
def inspect(
    name: Annotated[str, typer.Argument(help=f"{_NAMES}; what stands here is imported")],
    draw: Annotated[Path | None, typer.Option(help="a picture of the segments: .svg, .png or .dot")] = None,
) -> None:
    """Show what of a model can be removed and how much of it, and why other segments stay.

    A factory may return the model alone, or with its example inputs: (model, inputs).
    """
    with _one_sentence_errors():
        from autosubnet import AutoSubnet
        from autosubnet.supernets import create_with_inputs

        oto = AutoSubnet(*create_with_inputs(name))
        sizes = {key: parameter.numel() for key, parameter in oto.model.named_parameters()}
        kinds = Counter(str(vertex.kind) for vertex in oto.graph.vertices)
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        console.print(f"[bold]{name}[/bold]", highlight=False)
        console.print(f"  parameters  {oto.compute_num_params():,}", highlight=False)
        console.print(f"  FLOPs       {oto.compute_flops():,} for one example", highlight=False)
        console.print(f"  vertices    {len(oto.graph.vertices)}: {counts}", highlight=False)
        console.print(f"  segments    {len(oto.graph.segments)}", highlight=False)
        console.print(f"  search      {_search_space(oto)}", highlight=False, soft_wrap=True)
        for note in oto.notes:
            console.print(f"  note        {note}", highlight=False, markup=False, soft_wrap=True)
        console.print()
        console.print(segment_table(oto.graph, oto.groups, oto.refused, sizes))
        if oto.groups:
            console.print(group_table(oto.groups))
        else:
            console.print("No removable groups: every operator is on the only way from input to output.")
        if oto.refused:
            console.print(refusal_table(oto.refused))
        if draw is not None:
            console.print(f"The segments are drawn in {oto.visualize('segments').save(draw)}", soft_wrap=True)


def _search_space(oto: AutoSubnet) -> str:
    """Return, for a person, how many choices there are, and what goes if as many groups go as can go together."""
    if not oto.groups:
        return "nothing to choose"
    together = oto.random_set_zero_groups(target_group_sparsity=1.0)
    before, after = oto.compute_costs(), oto.compute_costs(without=together)  # of groups, whatever was zero at birth
    params, flops = (1 - after[name] / before[name] if before[name] else 0.0 for name in ("num_params", "flops"))
    count = len(oto.groups)
    return (
        f"2^{count} sets of {count} groups; {len(together)} can go together, "
        f"with {params:.1%} of the parameters and {flops:.1%} of the FLOPs"
    )


@contextmanager
def _one_sentence_errors() -> Iterator[None]:
    """Print what was done wrong in red, without a traceback, and exit with 1."""
    try:
        yield
    except AutoSubnetError as error:
        message = str(error)
    except ModuleNotFoundError as error:
        message = f"{error.name} is not installed; try: pip install 'autosubnet[all]'"
    else:
        return
    Console(stderr=True, emoji=False).print(message, style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def _command() -> str:
    return shlex.join(["autosubnet", *sys.argv[1:]])


def _result_table(title: str, rows: Iterable[Row]) -> Table:
    table = titled(title)
    table.add_column("")
    table.add_column("supernet", justify="right")
    table.add_column("subnet", justify="right", style="bold")
    table.add_column("change", justify="right", style="cyan")
    for row in rows:
        table.add_row(row.label, row.supernet, row.subnet, row.change)
    return table


if __name__ == "__main__":
    app()
