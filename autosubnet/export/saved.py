"""Saving a network in a folder and loading it again, without pickles and without running code from the folder.

``weights.safetensors`` holds the tensors, ``graph.json`` the modules and the graph as data, ``report.json`` what the
construction did, and ``model.py`` the same network as plain Python source for people, which :func:`load` never reads.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import fx

from autosubnet.errors import ExportError
from autosubnet.export.document import to_document
from autosubnet.export.rebuild import require_document, to_module
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
    texts = {GRAPH: _dump(document), SOURCE: to_source(document)}
    if isinstance(report, Report):
        texts[REPORT] = _dump(asdict(report))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as beside:
            written = Path(beside, "new")
            written.mkdir()
            for name, text in texts.items():
                (written / name).write_text(text, encoding="utf-8")
            save_file(_unshared(tensors), written / WEIGHTS)
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
    document = _read(folder / GRAPH)
    require_document(document)
    try:
        tensors: Mapping[str, torch.Tensor] = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise ExportError(f"cannot read {folder / WEIGHTS}: {error}; save the network again") from error
    subnet = to_module(document, tensors)
    if (folder / REPORT).is_file():
        subnet.meta["autosubnet"] = _report(_read(folder / REPORT))
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


def _read(path: Path) -> Json:
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise ExportError(f"cannot read {path}: {error}; give a folder that autosubnet.save wrote") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _report(data: Json) -> Report:
    try:
        kept = {
            name: {int(dim): tuple(indices) for dim, indices in dims.items()} for name, dims in data["kept"].items()
        }
        restored: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return Report(**restored | {"kept": kept})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ExportError(f"{REPORT} is damaged ({error}); delete it, the network does not need it") from error
