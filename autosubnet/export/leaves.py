"""Leaf modules as data: a class of ``torch.nn`` by its name, and the arguments that build it again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from autosubnet.errors import ExportError
from autosubnet.export.values import Json, decode, encode

_NOT_LEAVES = frozenset(
    {"AdaptiveLogSoftmaxWithLoss", "DataParallel", "Module", "ModuleDict", "ModuleList", "ParameterDict",
     "ParameterList", "Sequential", "Transformer", "TransformerDecoder", "TransformerDecoderLayer",
     "TransformerEncoder", "TransformerEncoderLayer"}
)  # fmt: skip
_STATE = frozenset({"training", "_parameters", "_buffers", "_modules"})
_RECURRENT = ("input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional")
# What is not in torch.nn: its arguments, in the order of its constructor.
FOREIGN: Mapping[str, tuple[str, ...]] = {
    "torchvision.ops.stochastic_depth.StochasticDepth": ("p", "mode"),
    "timm.layers.drop.DropPath": ("drop_prob", "scale_by_keep"),
}
# Classes of timm that compute, bit for bit, what a class of torch.nn computes.
_SAME: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "timm.layers.activations.GELU": ("torch.nn.GELU", {}),
    "timm.layers.activations.GELUTanh": ("torch.nn.GELU", {"approximate": "tanh"}),
    "timm.layers.activations.Sigmoid": ("torch.nn.Sigmoid", {}),
    "timm.layers.activations.Tanh": ("torch.nn.Tanh", {}),
}


def describe(module: nn.Module, where: str) -> Json:
    """Return the class and configuration of a leaf module; ``where`` is its path.

    Raises:
        ExportError: the class is none of ``torch.nn``, the module was changed by hand, or it cannot be built again
            from its attributes.
    """
    kind = f"{type(module).__module__}.{type(module).__qualname__}"
    _require_untouched(module, where)
    if kind in _SAME:
        name, config = _SAME[kind]
        return {"class": name, "config": {key: encode(value, where) for key, value in config.items()}}
    if kind in FOREIGN:
        return {"class": kind, "config": {name: encode(getattr(module, name), where) for name in FOREIGN[kind]}}
    name = type(module).__name__
    if getattr(nn, name, None) is not type(module) or name in _NOT_LEAVES:
        raise ExportError(
            f"module {where!r} is a {kind}; a saved network holds plain layers of torch.nn only, so that loading "
            "it runs no foreign code; keep this network with torch.export, or write the module with those of torch.nn"
        )
    config = {key: encode(value, where) for key, value in _config(module).items()}
    described = {"class": f"torch.nn.{name}", "config": config}
    _require_same(module, build(described, where), where)
    return described


def build(described: Json, where: str) -> nn.Module:
    """Return the module that ``describe`` described, with tensors on the meta device; ``where`` is its path.

    Raises:
        ExportError: the class is not allowed or not installed, or does not take these arguments.
    """
    try:
        kind, config = described["class"], described["config"]
        arguments = {name: decode(value, where, {}) for name, value in config.items() if _is_argument(name)}
        if len(arguments) < len(config):
            raise ValueError(f"of {list(config)!r:.80} some are no arguments of a layer")
        with torch.device("meta"):
            return class_of(kind, where)(**arguments)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, AssertionError) as error:
        raise ExportError(
            f"the saved graph is damaged: module {where!r} cannot be built from {str(described)[:120]!r} ({error}); "
            "save the network again"
        ) from error


def class_of(kind: str, where: str) -> Callable[..., nn.Module]:
    """Return the class of a leaf module by the name that ``describe`` gave; ``where`` is the module's path.

    Raises:
        ExportError: the class is not allowed, or its library is not installed.
    """
    if kind in FOREIGN:
        library = kind.partition(".")[0]
        try:
            found: Callable[..., nn.Module] = getattr(import_module(kind.rpartition(".")[0]), kind.rpartition(".")[2])
        except ImportError as error:
            raise ExportError(f"module {where!r} needs {library}; install it by pip install {library}") from error
        return found
    name = kind.removeprefix("torch.nn.")
    candidate = getattr(nn, name, None) if name.isidentifier() and kind.startswith("torch.nn.") else None
    if not (inspect.isclass(candidate) and issubclass(candidate, nn.Module)) or name in _NOT_LEAVES:
        raise ExportError(f"module {where!r} is said to be a {kind!r}, which is no plain layer of torch.nn")
    return candidate


def _config(module: nn.Module) -> dict[str, Any]:
    """Return the constructor's arguments but for defaults, read off the attributes of the same names.

    Presence of a parameter stands for its flag; ``device`` and ``dtype`` belong to the tensors.
    """
    if isinstance(module, nn.RNNBase):
        more = {"RNN": ("nonlinearity",), "LSTM": ("proj_size",)}.get(type(module).__name__, ())
        return {name: getattr(module, name) for name in (*_RECURRENT, *more)}
    if isinstance(module, nn.MultiheadAttention):
        names = ("embed_dim", "num_heads", "dropout", "kdim", "vdim", "add_zero_attn", "batch_first")
        flags = {"bias": module.in_proj_bias is not None, "add_bias_kv": module.bias_k is not None}
        return {name: getattr(module, name) for name in names} | flags
    config: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(module).__init__).parameters.items():
        if name == "self" or not _is_argument(name) or not hasattr(module, name):
            continue
        value = getattr(module, name)
        is_flag = name in module._parameters or isinstance(value, torch.Tensor)
        value = value is not None if is_flag else value
        if isinstance(module, _ConvNd) and isinstance(value, tuple) and len(set(value)) == 1:
            value = value[0]  # the constructor repeats it
        if type(value) is not type(parameter.default) or value != parameter.default:
            config[name] = value
    return config


def _is_argument(name: str) -> bool:
    """Whether an argument is about the layer itself; a device would have tensors made there, of any size."""
    return name not in ("device", "dtype") and not name.startswith("_")


def _require_untouched(module: nn.Module, where: str) -> None:
    for name, part in module.named_modules(prefix=where):
        hooks = [key for key, value in vars(part).items() if key.endswith("_hooks") and value]
        if hooks or "forward" in vars(part):
            raise ExportError(
                f"module {name!r} was changed by hand ({', '.join(hooks) or 'its forward was replaced'}), which a "
                "saved network cannot hold; remove that first"
            )


def _require_same(module: nn.Module, rebuilt: nn.Module, where: str) -> None:
    parts, others = dict(module.named_modules()), dict(rebuilt.named_modules())
    if parts.keys() != others.keys():
        raise _differs(where, f"its parts are {list(others)}, not {list(parts)}")
    for name, new in others.items():
        old = parts[name]
        for key, value in vars(new).items():
            if key not in _STATE and not key.startswith("_") and vars(old).get(key) != value:
                raise _differs(where, f"attribute {key!r} of {name or 'it'} is {value!r}, not {vars(old).get(key)!r}")
    shapes = [{name: tuple(t.shape) for name, t in _tensors(each)} for each in (module, rebuilt)]
    if shapes[0] != shapes[1]:
        raise _differs(where, f"its tensors are {shapes[1]}, not {shapes[0]}")


def _tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]


def _differs(where: str, how: str) -> ExportError:
    return ExportError(
        f"module {where!r} is not what its attributes say: built from them, {how}; correct the attribute, or build the "
        "module anew"
    )
