"""``autosubnet zoo``: which names there are."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import Annotated

import typer
from rich.columns import Columns

from autosubnet.cli.screen import JSON_HELP, app, console, one_sentence_errors
from autosubnet.errors import InputError


@app.command()
def zoo(
    pattern: Annotated[str, typer.Argument(help="such as 'timm:resnet*'")] = "*",
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
) -> None:
    """List the models that inspect and search take by name."""
    with one_sentence_errors():
        from autosubnet.supernets import names

        found = [name for name in names() if fnmatchcase(name, pattern)]
        if not found:
            raise InputError(f"No model is called {pattern!r}; * stands for anything, as in 'timm:*vit*'.")
        if as_json:
            typer.echo(json.dumps(found))
        else:
            console.print(Columns(found, padding=(0, 2)), highlight=False)
