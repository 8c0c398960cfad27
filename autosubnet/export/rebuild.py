"""A document and its tensors back to a network. The document may come from anyone: nothing in it is trusted.

``torch.fx`` writes names and targets into the Python source that it runs, so each is checked before it gets there;
functions, methods and classes come from closed lists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from autosubnet.errors import ExportError
from autosubnet.export.document import BOTH, FORMAT, VERSION, is_safe_path
from autosubnet.export.leaves import build
from autosubnet.export.operators import ATTRIBUTES, function_of, require_method
from autosubnet.export.values import Json, decode, encode, is_identifier
from autosubnet.subnet.dual import DualGraphModule

_PARTS = {"modules": dict, "tensors": dict, "aliases": dict, "graphs": dict, "training": bool}
_MODES = ({BOTH}, {"train", "eval"})


def to_module(document: Json, tensors: Mapping[str, torch.Tensor]) -> fx.GraphModule:
    """Return the network that ``document`` describes, in the mode it was saved in.

    Raises:
        ExportError: the document is damaged, of another version, or asks for what no saved network holds.
    """
    require_document(document)
    try:
        return _to_module(document, tensors)
    except ExportError:
        raise
    except Exception as error:  # what torch raises on strange data is of any class
        raise _damaged(f"it cannot be built ({type(error).__name__}: {error!s:.200})") from error


def _to_module(document: Json, tensors: Mapping[str, torch.Tensor]) -> fx.GraphModule:
    _require_layers(document)
    # An empty network of the same class: no module or tensor may have the name of a method or attribute of it, such as
    # to_folder, which the graph would then call.
    empty = {mode: fx.Graph() for mode in document["graphs"]}
    root = fx.GraphModule({}, empty[BOTH], "Subnet") if BOTH in empty else DualGraphModule({}, empty)
    for path, described in document["modules"].items():
        _attach(root, path, nn.Module() if described is None else build(described, path))
    _fill(root, document, tensors)
    graphs = {mode: _graph(root, nodes, mode) for mode, nodes in document["graphs"].items()}
    if BOTH in graphs:
        subnet = fx.GraphModule(root, graphs[BOTH], "Subnet")
    else:
        subnet = DualGraphModule(_attributes(root, graphs.values()), graphs)
    _keep_order(root, subnet)
    return subnet.train(document["training"])


def require_document(document: Json) -> None:
    """Check that ``document`` was written by this package, in a version that it reads.

    Raises:
        ExportError: it was not.
    """
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ExportError("graph.json does not describe a network saved by autosubnet.save; give the folder of one")
    if document.get("version") != VERSION:
        raise ExportError(
            f"graph.json is of version {document.get('version')!r}, and this package reads version {VERSION}; "
            "install the version that wrote it"
        )
    for key, kind in _PARTS.items():
        if not isinstance(document.get(key), kind):
            raise _damaged(f"its entry {key!r} is missing or no {kind.__name__}")
    if set(document["graphs"]) not in _MODES:
        raise _damaged(f"its graphs are for the modes {list(document['graphs'])}")


def _require_layers(document: Json) -> None:
    """A recurrent layer makes its tensors one by one, so it may claim no more layers than it has tensors."""
    names = [*document["tensors"], *document["aliases"]]
    owned = Counter(name.rpartition(".")[0] for name in names)
    for path, described in document["modules"].items():
        config = described.get("config") if isinstance(described, dict) else None
        layers = config.get("num_layers", 0) if isinstance(config, dict) else 0
        if not isinstance(layers, int) or layers > owned[path]:
            raise _damaged(f"module {path!r} claims {layers!r:.40} layers, and has {owned[path]} tensors")


def _damaged(how: str) -> ExportError:
    return ExportError(f"the saved graph is damaged: {how}; save the network again")


def _attach(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    owner = _owner(root, parent)
    if not is_safe_path(path) or hasattr(owner, name):
        raise _damaged(f"{path!r} cannot be the name of a module")
    owner.add_module(name, module)


def _owner(root: nn.Module, path: str) -> nn.Module:
    try:
        return root.get_submodule(path)
    except AttributeError as error:
        raise _damaged(f"there is no module {path!r}") from error


def _fill(root: nn.Module, document: Json, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put every tensor into its place."""
    described = document["tensors"]
    if described.keys() != tensors.keys():
        names = sorted(described.keys() ^ tensors.keys())
        raise _damaged(f"weights and graph disagree about the tensors {', '.join(names[:5])}")
    for name, about in described.items():
        found = {"shape": list(tensors[name].shape), "dtype": encode(tensors[name].dtype, name)["torch"]}
        if not isinstance(about, dict) or any(about.get(key) != value for key, value in found.items()):
            raise _damaged(f"tensor {name!r} is {found}, and the graph says {about!r:.80}")
        _place(root, name, _as_described(tensors[name], about), about)
    for name, first in document["aliases"].items():
        if first not in described:
            raise _damaged(f"tensor {name!r} is tied to {first!r}, which does not exist")
        path, _, leaf = first.rpartition(".")
        _place(root, name, getattr(root.get_submodule(path), leaf), described[first])
    for name, tensor in [*root.named_parameters(), *root.named_buffers()]:
        if tensor.is_meta:
            raise _damaged(f"tensor {name!r} is missing")


def _as_described(tensor: torch.Tensor, about: Json) -> torch.Tensor:
    if not about.get("parameter"):
        return tensor
    return nn.Parameter(tensor, requires_grad=bool(about.get("trainable")))


def _place(root: nn.Module, name: str, tensor: torch.Tensor, about: Json) -> None:
    path, _, leaf = name.rpartition(".")
    owner = _owner(root, path)
    registered = owner._parameters if isinstance(tensor, nn.Parameter) else owner._buffers
    before = registered.get(leaf)
    if not is_safe_path(name) or (before is None and hasattr(owner, leaf)):
        raise _damaged(f"{name!r} cannot be the name of a tensor")
    if before is not None and before.shape != tensor.shape:
        raise _damaged(f"tensor {name!r} has shape {list(tensor.shape)}, and its module needs {list(before.shape)}")
    if isinstance(tensor, nn.Parameter):
        owner.register_parameter(leaf, tensor)
    else:
        owner.register_buffer(leaf, tensor, persistent=bool(about.get("persistent")))


def _graph(root: nn.Module, nodes: Json, mode: str) -> fx.Graph:
    if not isinstance(nodes, list):
        raise _damaged(f"the graph {mode!r} is no list of nodes")
    graph = fx.Graph()
    known: dict[str, fx.Node] = {}
    for data in nodes:
        if not isinstance(data, dict) or not is_identifier(data.get("name")) or data["name"] in known:
            raise _damaged(f"{str(data)[:80]} is no node of its own name")
        known[data["name"]] = _node(graph, root, data, known)
    if not nodes or nodes[-1].get("op") != "output":
        raise _damaged(f"the graph {mode!r} does not end in its output")
    graph.lint()
    return graph


def _node(graph: fx.Graph, root: nn.Module, data: Json, known: Mapping[str, fx.Node]) -> fx.Node:
    name, op, target, args, kwargs = (data.get(key) for key in ("name", "op", "target", "args", "kwargs"))
    if not isinstance(args, list) or not isinstance(kwargs, dict) or not all(is_identifier(key) for key in kwargs):
        raise _damaged(f"the arguments of {name!r} are no arguments")
    if not isinstance(target, str):
        raise _damaged(f"the target of {name!r} is no name")
    decoded = tuple(decode(value, name, known) for value in args)
    named = {key: decode(value, name, known) for key, value in kwargs.items()}
    return graph.create_node(op, _called(root, name, op, target, decoded), decoded, named, name=name)


def _called(root: nn.Module, name: str, op: Json, target: str, args: Sequence[Any]) -> Any:
    """Return the target of a node, checked, as fx wants it."""
    match op:
        case "placeholder" if is_identifier(target) and len(args) <= 1:
            return target
        case "output" if target == "output" and len(args) == 1:
            return target
        case "call_method":
            require_method(target, name)
            return target
        case "call_module" if is_safe_path(target):
            _owner(root, target)
            return target
        case "get_attr" if is_safe_path(target):
            owner, leaf = _owner(root, target.rpartition(".")[0]), target.rpartition(".")[2]
            if leaf == "training" or leaf in owner._parameters or leaf in owner._buffers:
                return target
        case "call_function":
            if target == "builtins.getattr" and not (len(args) == 2 and args[1] in ATTRIBUTES):
                raise _damaged(f"{name!r} reads the attribute {args[1:]!r:.80}, which is none of a tensor's")
            return function_of(target, name)
    raise _damaged(f"{name!r} with operation {op!r:.40} on {target!r:.80} is no node of a saved network")


def _attributes(root: nn.Module, graphs: Any) -> dict[str, Any]:
    targets = {str(node.target) for graph in graphs for node in graph.nodes if node.op in ("call_module", "get_attr")}
    return {target: _attribute(root, target) for target in sorted(targets)}


def _attribute(root: nn.Module, target: str) -> Any:
    path, _, leaf = target.rpartition(".")
    return getattr(root.get_submodule(path), leaf)


def _keep_order(root: nn.Module, subnet: nn.Module) -> None:
    """Give ``subnet`` the very tree that was saved: fx takes over what its graph names, in the order of the nodes."""
    for registry in ("_parameters", "_buffers", "_modules"):
        getattr(subnet, registry).clear()
        getattr(subnet, registry).update(getattr(root, registry))
    subnet._non_persistent_buffers_set = root._non_persistent_buffers_set
