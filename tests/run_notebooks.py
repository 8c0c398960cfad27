"""Run the notebooks and save them with what they show: ``python tests/run_notebooks.py`` (``make notebooks``)."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from autosubnet.viz.interactive import WIDGET

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
SECONDS = 600  # a cell may take, on a busy machine


def execute(path: Path, folder: Path) -> NotebookNode:
    """Return a notebook as this interpreter runs it in a folder; any error is raised."""
    notebook = nbformat.read(path, as_version=4)
    # Without kernels that somebody installed: the one that is left is that of this interpreter.
    manager = AsyncKernelManager(kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
    NotebookClient(
        notebook, timeout=SECONDS, km=manager, resources={"metadata": {"path": str(folder)}},
        record_timing=False, coalesce_streams=True, extra_arguments=["--log-level=ERROR"],
    ).execute()  # fmt: skip
    # What depends on who ran it is not kept, nor are widgets: their kernel is gone, and the picture beside them stays.
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        output.get("data", {}).pop(WIDGET, None)
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
    )
    return notebook


def main() -> None:
    """Execute the named notebooks, or all, in place."""
    for path in map(Path, sys.argv[1:]) if sys.argv[1:] else NOTEBOOKS:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            notebook = execute(path, Path(folder))
        nbformat.write(notebook, path)
        print(f"{path.name}: {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
