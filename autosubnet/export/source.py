"""A document as a Python source file for people: it needs torch and safetensors only, and runs without this package."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import Parameter, signature

from autosubnet.errors import ExportError
from autosubnet.export.document import BOTH
from autosubnet.export.expressions import call, constant, quoted
from autosubnet.export.forward import body, inputs
from autosubnet.export.leaves import FOREIGN, class_of
from autosubnet.export.paths import Paths
from autosubnet.export.values import Json, is_identifier

WEIGHTS = "model.safetensors"

_ABOUT = '''\
"""A network written by autosubnet.save. It needs torch and safetensors, and nothing else.

    from model import load
    network = load()  # with the weights that lie beside this file
"""
'''
_LOAD = '''\
def load(path=Path(__file__).with_name("{weights}")):
    """Return the network with the weights of a file."""
    with torch.device("meta"):
        network = Subnet()
    tensors = load_file(path)
    for name, tensor in tensors.items():
        owner, _, leaf = name.rpartition(".")
        module = network.get_submodule(owner)
        tensor = tensor.clone()  # the file may change, and sums depend on where in memory a tensor begins
        before = getattr(module, leaf)
        if before.shape != tensor.shape:
            raise ValueError(f"{{name}} has shape {{tuple(tensor.shape)}}, not {{tuple(before.shape)}}")
        if isinstance(before, nn.Parameter):
            tensor = nn.Parameter(tensor, requires_grad=before.requires_grad)
        setattr(module, leaf, tensor)
{tie}    missing = [name for name, each in [*network.named_parameters(), *network.named_buffers()] if each.is_meta]
    if missing:
        raise ValueError(f"{{path}} lacks {{', '.join(missing)}}")
    return network.{mode}()
'''
_STOCHASTIC_DEPTH = '''\
class StochasticDepth(nn.Module):
    """Sets whole examples ("row") or the whole batch ("batch") to zero at random while training."""

    def __init__(self, p, mode="row", scale=True):
        super().__init__()
        self.p, self.mode, self.scale = p, mode, scale

    def forward(self, x):
        if self.p == 0 or not self.training:
            return x
        shape = [x.shape[0] if self.mode == "row" else 1] + [1] * (x.ndim - 1)
        mask = x.new_empty(shape).bernoulli_(1 - self.p)
        if self.scale and self.p < 1:
            mask.div_(1 - self.p)
        return x * mask
'''


def to_source(document: Json) -> str:
    """Return the text of a module with a class ``Subnet`` and a function ``load``.

    Parameters and buffers have the names of the document, so that weights fit both.

    Raises:
        ExportError: an input has a name that the source needs itself, or the modes take other inputs.
    """
    modules = document["modules"]
    paths = Paths(modules)
    tie = "    network.tie()\n" if document["aliases"] else ""
    parts = [_class(document, paths)]
    parts.append(_LOAD.format(weights=WEIGHTS, tie=tie, mode="train" if document["training"] else "eval"))
    if any(described and described["class"] in FOREIGN for described in modules.values()):
        parts.insert(0, _STOCHASTIC_DEPTH)
    return "\n\n".join([_head("".join(parts), _named_types(document)), *parts])


def _head(code: str, named_types: list[str]) -> str:
    """Return the docstring and what ``code`` needs imported or defined."""

    def used(name: str) -> bool:
        return re.search(rf"(?<![.\w]){name}\.", code) is not None

    lines = [_ABOUT, *(f"import {name}" for name in ("math", "operator") if used(name))]
    lines += ["from collections import namedtuple"] if named_types else []
    lines += ["from pathlib import Path", "", "import torch", "from safetensors.torch import load_file"]
    lines += ["from torch import nn", *(["from torch.nn import functional as F"] if used("F") else [])]
    lines += ["", *named_types] if named_types else []
    return "\n".join(lines) + "\n"


def _class(document: Json, paths: Paths) -> str:
    graphs = document["graphs"]
    taken = {mode: inputs(nodes) for mode, nodes in graphs.items()}
    parameters = next(iter(taken.values()))
    if any(each != parameters for each in taken.values()):
        raise ExportError(f"train and eval mode take other inputs: {taken}; give the network one signature")
    lines = [f"class Subnet({paths.holder('')}):", "    def __init__(self):", "        super().__init__()"]
    lines += [f"        {line}" for line in _init(document, paths)]
    if document["aliases"]:
        lines += ["        self.tie()", "", "    def tie(self):"]
        for name, first in document["aliases"].items():
            lines.append(f"        {paths.expression(name, tensor=True)} = {paths.expression(first, tensor=True)}")
    arguments = ", ".join(["self", *parameters])
    if BOTH not in graphs:
        names = ", ".join(each.partition("=")[0] for each in parameters)
        lines += ["", f"    def forward({arguments}):",
                  f"        return self._train({names}) if self.training else self._eval({names})"]  # fmt: skip
    for mode, nodes in graphs.items():
        lines += ["", f"    def {'forward' if mode == BOTH else '_' + mode}({arguments}):"]
        lines += [f"        {line}" for line in body(nodes, paths)]
    return "\n".join(lines) + "\n"


def _init(document: Json, paths: Paths) -> Iterator[str]:
    for name, about in document["tensors"].items():
        if "." not in name:
            yield _tensor(name, about, paths)
    for path, described in document["modules"].items():
        if described is None:
            yield f"{paths.expression(path)} = {paths.holder(path)}()"
            for name, about in document["tensors"].items():
                if name.rpartition(".")[0] == path:
                    yield _tensor(name, about, paths)
        else:
            yield f"{paths.expression(path)} = {_leaf(described, path)}"
    for name, about in document["tensors"].items():
        if about["parameter"] and not about["trainable"]:
            yield f"{paths.expression(name, tensor=True)}.requires_grad_(False)"


def _leaf(described: Json, path: str) -> str:
    kind, config = described["class"], {key: constant(value, {}) for key, value in described["config"].items()}
    if kind == "timm.layers.drop.DropPath":
        return f"StochasticDepth({config['drop_prob']}, scale={config['scale_by_keep']})"
    if kind == "torchvision.ops.stochastic_depth.StochasticDepth":
        return f"StochasticDepth({config['p']}, mode={config['mode']})"
    parameters = signature(class_of(kind, path)).parameters
    required = {key for key, each in parameters.items() if each.default is Parameter.empty}
    words = [value if key in required else f"{key}={value}" for key, value in config.items()]
    return call(kind.removeprefix("torch."), words)


def _tensor(name: str, about: Json, paths: Paths) -> str:
    path, _, leaf = name.rpartition(".")
    dtype = "" if about["dtype"] == "float32" else f", dtype=torch.{about['dtype']}"
    zeros = f"torch.zeros({tuple(about['shape'])}{dtype})"
    if about["parameter"]:
        flag = "" if about["trainable"] else ", requires_grad=False"
        made = f"nn.Parameter({zeros}{flag})"
        if is_identifier(leaf):
            return f"{paths.expression(name, tensor=True)} = {made}"
        return f"{paths.expression(path) if path else 'self'}.register_parameter({quoted(leaf)}, {made})"
    owner = paths.expression(path) if path else "self"
    persistent = "" if about["persistent"] else ", persistent=False"
    return f"{owner}.register_buffer({quoted(leaf)}, {zeros}{persistent})"


def _named_types(document: Json) -> list[str]:
    """Return the definitions of the named tuples that the network returns."""
    found: dict[str, None] = {}

    def collect(data: Json) -> None:
        if isinstance(data, dict) and "named" in data and len(data) == 1:
            name, fields, _ = data["named"]
            words = ", ".join(quoted(each) for each in fields)
            found[f"{name} = namedtuple({quoted(name)}, [{words}])"] = None
        for each in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
            collect(each)

    collect(document["graphs"])
    return list(found)
