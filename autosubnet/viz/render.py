"""DOT source to SVG or PNG, with Graphviz if it is installed, else with the ``graphviz-pure`` wheel."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from importlib import metadata
from typing import Literal

from autosubnet.errors import ExportError

INSTALL_HINT = "pip install 'autosubnet[viz]'"


def render(source: str, image: Literal["svg", "png"]) -> bytes:
    """Return the picture that ``source``, a DOT graph, describes.

    Raises:
        ExportError: no renderer is installed, or it refuses the source.
    """
    command = _command()
    run = subprocess.run([command, f"-T{image}"], input=source.encode(), capture_output=True, check=False)
    if run.returncode != 0 or not run.stdout:
        said = run.stderr.decode(errors="replace").strip()[:500]
        raise ExportError(
            f"{command} ended with status {run.returncode} while it drew a picture as {image}, and said {said!r}; "
            "save the picture as .dot instead and draw it elsewhere"
        )
    return run.stdout


@cache
def _command() -> str:
    found = shutil.which("dot") or _from_wheel() or shutil.which("graphviz-pure")
    if found is None:
        raise ExportError(
            "drawing a picture needs Graphviz, and neither the command dot nor the package graphviz-pure was found; "
            f"install one of them, for example by {INSTALL_HINT}"
        )
    return found


def _from_wheel() -> str | None:
    """Return the command of the ``graphviz-pure`` wheel, where pip put it.

    Its place is read from the wheel's own list of files: the scripts' folder of a virtual environment that is
    not activated, or of a user install, is not on ``PATH``.
    """
    try:
        files = metadata.files("graphviz-pure") or []
    except metadata.PackageNotFoundError:
        return None
    commands = (file.locate() for file in files if file.stem == "graphviz-pure" and file.suffix in ("", ".exe"))
    return next((found for path in commands if (found := shutil.which(str(path)))), None)
