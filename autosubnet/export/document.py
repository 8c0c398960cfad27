"""A network as a document: its modules, tensors and graphs as plain JSON data, the tensors themselves apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import fx, nn

from autosubnet.errors import ExportError
from autosubnet.export.leaves import describe
from autosubnet.export.operators import name_of, require_method
from autosubnet.export.values import Json, encode, is_identifier
from autosubnet.subnet.dual import DualGraphModule

FORMAT = "autosubnet network"
VERSION = 1
BOTH = "both"


def to_document(subnet: fx.GraphModule) -> tuple[dict[str, Json], dict[str, torch.Tensor]]:
    """Return what describes ``subnet``, and its tensors by name; tied tensors come once, under their first name.

    The document holds ``modules`` (path -> class and configuration, ``None`` for a mere holder, in the order of the
    tree), ``tensors``, ``aliases`` (name -> first name) and ``graphs`` (one for ``"both"`` modes, or one for
    ``"train"`` and one for ``"eval"``).

    Raises:
        ExportError: something in the network has no form as data; the message names it.
    """
    graphs = graphs_of(subnet)
    called = {str(node.target) for graph in graphs.values() for node in graph.nodes if node.op == "call_module"}
    tensors, aliases = _tensors(subnet)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "torch": str(torch.__version__),
        "training": subnet.training,
        "modules": _modules(subnet, called, [*tensors, *aliases]),
        "tensors": {name: _describe_tensor(subnet, name) for name in tensors},
        "aliases": aliases,
        "graphs": {mode: [_node(subnet, node) for node in graph.nodes] for mode, graph in graphs.items()},
    }
    return document, {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def graphs_of(subnet: fx.GraphModule) -> Mapping[str, fx.Graph]:
    """Return the graph of each mode, or the one for both."""
    return subnet.graphs if isinstance(subnet, DualGraphModule) else {BOTH: subnet.graph}


def _modules(subnet: nn.Module, called: set[str], tensors: list[str]) -> dict[str, Json]:
    """Return the leaf modules, which the graph calls, and the holders on the way to them and to tensors."""
    outermost = {path for path in called if not any(each in called for each in _ancestors(path))}
    needed = {each for name in [*outermost, *tensors] for each in _ancestors(name)} | outermost
    modules: dict[str, Json] = {}
    for path, module in subnet.named_modules(remove_duplicate=False):
        if path == "" or path not in needed or any(each in outermost for each in _ancestors(path)):
            continue
        _require_safe(path)
        modules[path] = describe(module, path) if path in outermost else None
    return modules


def _ancestors(path: str) -> list[str]:
    parts = path.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def _require_safe(path: str) -> None:
    if not is_safe_path(path):
        raise ExportError(f"module {path!r} has a name that cannot be saved; use letters, digits, '_' and '-' in names")


def is_safe_path(path: Any) -> bool:
    """Whether a path of module names can be written into source code."""
    return isinstance(path, str) and all(
        part and part.isascii() and part.replace("_", "").replace("-", "").isalnum() for part in path.split(".")
    )


def _tensors(subnet: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    first: dict[int, str] = {}
    tensors: dict[str, torch.Tensor] = {}
    aliases: dict[str, str] = {}
    named = [*subnet.named_parameters(remove_duplicate=False), *subnet.named_buffers(remove_duplicate=False)]
    for name, tensor in named:
        _require_safe(name)
        if tensor.is_meta or tensor.layout != torch.strided or tensor.is_complex():
            raise ExportError(
                f"tensor {name!r} is {'on the meta device' if tensor.is_meta else f'{tensor.layout}, {tensor.dtype}'}; "
                "only dense real tensors with values can be saved"
            )
        if id(tensor) in first:
            aliases[name] = first[id(tensor)]
        else:
            first[id(tensor)] = name
            tensors[name] = tensor
    return tensors, aliases


def _describe_tensor(subnet: nn.Module, name: str) -> Json:
    path, _, leaf = name.rpartition(".")
    owner = subnet.get_submodule(path)
    tensor = getattr(owner, leaf)
    described: dict[str, Json] = {"shape": list(tensor.shape), "dtype": encode(tensor.dtype, name)["torch"]}
    if isinstance(tensor, nn.Parameter):
        return described | {"parameter": True, "trainable": tensor.requires_grad}
    return described | {"parameter": False, "persistent": leaf not in owner._non_persistent_buffers_set}


def _node(subnet: nn.Module, node: fx.Node) -> Json:
    if node.op == "placeholder" and not is_identifier(node.target):
        raise ExportError(f"input {node.target!r} is not a plain argument; let the network take plain arguments only")
    return {
        "name": node.name,
        "op": node.op,
        "target": _target(subnet, node),
        "args": [encode(value, node.name) for value in node.args],
        "kwargs": {name: encode(value, node.name) for name, value in node.kwargs.items()},
    }


def _target(subnet: nn.Module, node: fx.Node) -> str:
    if callable(node.target):
        return name_of(node.target, node.name)
    if node.op == "call_method":
        require_method(node.target, node.name)
    if node.op == "get_attr" and not _is_readable(subnet, node.target):
        raise ExportError(
            f"node {node.name!r} reads {node.target!r}, which is no parameter, buffer or training flag; "
            "register it as a buffer"
        )
    return node.target


def _is_readable(subnet: nn.Module, target: str) -> bool:
    path, _, leaf = target.rpartition(".")
    owner = subnet.get_submodule(path)
    return leaf == "training" or leaf in owner._parameters or leaf in owner._buffers
