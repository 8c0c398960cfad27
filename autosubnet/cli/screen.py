"""What all commands share: the app, the screen, and how they fail."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import typer
    from rich.console import Console
    from rich.table import Table

    from autosubnet.viz.overview import titled
except ModuleNotFoundError as error:
    raise SystemExit(f"{error.name} is not installed; try: pip install 'autosubnet[all]'") from error

from autosubnet.errors import AutoSubnetError

if TYPE_CHECKING:
    from autosubnet.viz.report import Row

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)
console = Console(emoji=False)
JSON_HELP = "print the result as JSON, and nothing else on standard output"


@app.callback()
def main() -> None:
    """Exact sub-networks of any PyTorch model."""
    sys.path.insert(0, "")  # a factory may lie in the folder where the command is given


@contextmanager
def one_sentence_errors() -> Iterator[None]:
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


def typed_command() -> str:
    """Return what was typed, for the record."""
    return shlex.join(["autosubnet", *sys.argv[1:]])


def progress(*, as_json: bool) -> Console:
    """Return where progress is shown: not where JSON goes."""
    return Console(emoji=False, stderr=True) if as_json else console


def show_result(title: str, rows: Iterable[Row], folder: Path, *, as_json: bool) -> None:
    """Show what a run left in a folder: its table, or its record as JSON."""
    if as_json:
        typer.echo((folder / "result.json").read_text("utf-8"), nl=False)
        return
    console.print(comparison(title, rows))
    first = next(name for name in ("report.html", "result.json") if (folder / name).is_file())
    console.print(f"Everything is in {folder}; begin with {folder / first}", soft_wrap=True, highlight=False)


def comparison(title: str, rows: Iterable[Row]) -> Table:
    """Return a supernet beside its subnet, or a network alone where there is no supernet."""
    rows, table = list(rows), titled(title)
    table.add_column("")
    if not any(row.supernet for row in rows):
        table.add_column("network", justify="right", style="bold")
        for row in rows:
            table.add_row(row.label, row.subnet)
        return table
    table.add_column("supernet", justify="right")
    table.add_column("subnet", justify="right", style="bold")
    table.add_column("change", justify="right", style="cyan")
    for row in rows:
        table.add_row(row.label, row.supernet, row.subnet, row.change)
    return table
