"""Saving a network in a folder and loading it again, without pickles and without running code from the folder.

``model.safetensors`` holds the tensors, ``graph.json`` the modules and the graph as data, ``report.json`` what the
construction did, and ``model.py`` the same network as plain Python source for people, which :func:`load` never reads.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import fx

from autosubnet.errors import ExportError
from autosubnet.export.document import to_document
from autosubnet.export.reading import LARGEST_TEXT, fingerprint, read_json, read_weights
from autosubnet.export.rebuild import require_document, to_module
from autosubnet.export.reported import to_report
from autosubnet.export.source import WEIGHTS, to_source
from autosubnet.export.values import Json
from autosubnet.subnet.report import Report

GRAPH, SOURCE, REPORT = "graph.json", "model.py", "report.json"
_OURS = frozenset({WEIGHTS, GRAPH, SOURCE, REPORT, "__pycache__"})
_WIDTH = 300  # of a line of JSON, in characters


def save(subnet: fx.GraphModule, folder: str | Path) -> Path:
    """Write a network to ``folder``, all of it or nothing, and return the folder.

    Args:
        subnet: what ``construct_subnet`` or ``remove_zeros`` returned, or any ``torch.fx.GraphModule`` of plain layers
            and functions of torch. Its mode and which parameters are frozen are kept.
        folder: made if it does not exist; an earlier save is replaced.

    Raises:
        ExportError: the network holds what cannot be written as data, or the folder holds something else.
    """
    if not isinstance(subnet, fx.GraphModule):
        raise ExportError(f"cannot save a {type(subnet).__name__}; pass what construct_subnet() returned")
    folder = Path(folder)
    _require_free(folder)
    document, tensors = to_document(subnet)
    report = subnet.meta.get("autosubnet")
    texts = {SOURCE: to_source(document)}
    if isinstance(report, Report):
        texts[REPORT] = _dump(asdict(report))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            written = Path(beside, "new")
            written.mkdir()
            save_file(_unshared(tensors), written / WEIGHTS)
            texts[GRAPH] = _dump({**document, "weights": fingerprint(written / WEIGHTS)})
            for name, text in texts.items():
                (written / name).write_text(text, encoding="utf-8")
            _require_readable(written)
            shutil.copymode(written / GRAPH, written / WEIGHTS)
            _put_in_place(written, folder, Path(beside, "earlier"))
    except (OSError, SafetensorError) as error:
        raise ExportError(f"cannot write the network to {folder}: {error}") from error
    return folder


def load(folder: str | Path) -> fx.GraphModule:
    """Return the network that :func:`save` wrote, on the CPU, in the mode it had.

    Nothing in the folder is executed: the graph is data, and only known operators and layers are built from it. The
    construction's report is ``.meta["autosubnet"]`` again, if there was one.

    Raises:
        ExportError: the folder is none of ours, is damaged, or asks for what no saved network holds.
    """
    folder = Path(folder)
    document = read_json(folder / GRAPH)
    require_document(document)
    tensors = read_weights(folder / WEIGHTS, document["tensors"], document.get("weights"))
    subnet = to_module(document, tensors)
    if (folder / REPORT).exists():
        subnet.meta["autosubnet"] = to_report(read_json(folder / REPORT))
    return subnet


def _require_free(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise ExportError(f"{folder} is a file or a link; give a folder")
    there = {each.name for each in folder.iterdir()} if folder.is_dir() else set()
    strange = sorted(there - _OURS)
    if strange or (there and GRAPH not in there):
        raise ExportError(
            f"the folder {folder} holds {', '.join(strange or sorted(there))}, and saving replaces a folder as a "
            "whole; give an empty or a new one"
        )


def _require_readable(written: Path) -> None:
    for path in written.iterdir():
        if path.suffix == ".json" and path.stat().st_size > LARGEST_TEXT:
            raise ExportError(
                f"the network is too large to be read again: {path.name} would have {path.stat().st_size:,} bytes, and "
                f"{LARGEST_TEXT:,} is the limit; keep it with export_program"
            )


def _dump(data: Json, indent: str = "") -> str:
    """Return JSON text that can be read and compared: an entry a line, but what is short stays on one."""
    line = json.dumps(data, allow_nan=False)
    nested = isinstance(data, (dict, list)) and any(isinstance(each, (dict, list, str)) for each in data)
    if len(line) <= _WIDTH or not nested:
        return line
    deeper = indent + " "
    if isinstance(data, dict):
        inner = [f"{json.dumps(key)}: {_dump(value, deeper)}" for key, value in data.items()]
        return "{\n" + ",\n".join(deeper + each for each in inner) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + _dump(value, deeper) for value in data) + f"\n{indent}]"


def _unshared(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors of which no two share memory, for safetensors refuses that."""
    seen: set[int] = set()
    result = {}
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone() if place in seen or tensor.untyped_storage().nbytes() > tensor.nbytes else tensor
        seen.add(place)
    return result


def _put_in_place(written: Path, folder: Path, earlier: Path) -> None:
    """Rename the folder, with the earlier one out of the way until that has worked."""
    if not folder.exists():
        written.rename(folder)
        return
    folder.rename(earlier)
    try:
        written.rename(folder)
    except OSError:
        earlier.rename(folder)
        raise
