"""Supernets by name: our own, ``timm:NAME``, ``torchvision:NAME``, and anybody's by ``package.module:factory``.

A new supernet of this package is one more entry of ``_SUPERNETS``; a new model library one more of ``_ZOOS``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from torch import nn

from autosubnet.errors import InputError
from autosubnet.supernets.darts_cnn import Darts
from autosubnet.supernets.darts_rnn import DartsRnn
from autosubnet.supernets.demo import DemoSupNet
from autosubnet.supernets.stacked_unets import StackedUnets
from autosubnet.supernets.super_resnet import SuperResNet

_WEIGHT_ARGUMENTS = ("pretrained", "weights", "weights_backbone")


def _timm_names() -> list[str]:
    import timm

    return list(timm.list_models())


def _timm_model(name: str, **kwargs: Any) -> nn.Module:
    import timm

    model: nn.Module = timm.create_model(name, pretrained=False, **kwargs)
    return model


def _torchvision_names() -> list[str]:
    from torchvision.models import list_models

    return list(list_models())


def _torchvision_model(name: str, **kwargs: Any) -> nn.Module:
    from torchvision.models import get_model, get_model_builder

    takes = inspect.signature(get_model_builder(name)).parameters
    # Segmentation and detection models would download the weights of their backbone.
    no_weights = {argument: None for argument in ("weights", "weights_backbone") if argument in takes}
    model: nn.Module = get_model(name, **no_weights, **kwargs)
    return model


@dataclass(frozen=True)
class _Zoo:
    """A library of models: how to list and how to build them."""

    names: Callable[[], list[str]]
    build: Callable[..., nn.Module]


_SUPERNETS: dict[str, Callable[..., nn.Module]] = {
    "demo": DemoSupNet,
    "stacked_unets": StackedUnets,
    "super_resnet": SuperResNet,
    "darts": Darts,
    "darts_rnn": DartsRnn,
}
_ZOOS = {"timm": _Zoo(_timm_names, _timm_model), "torchvision": _Zoo(_torchvision_names, _torchvision_model)}


def names() -> list[str]:
    """Return every name that :func:`create` takes on this machine, where a library may be missing."""
    installed = {prefix: zoo for prefix, zoo in _ZOOS.items() if find_spec(prefix)}
    return [*_SUPERNETS, *(f"{prefix}:{name}" for prefix, zoo in installed.items() for name in zoo.names())]


def create(name: str, **kwargs: Any) -> nn.Module:
    """Build a supernet with random weights; none are ever downloaded.

    Args:
        name: ``"demo"``, ``"stacked_unets"``, ``"super_resnet"``, ``"darts"``, ``"darts_rnn"``, ``"timm:NAME"``,
            ``"torchvision:NAME"`` (such as ``"torchvision:resnet18"``), or ``"package.module:factory"``: something
            callable in a module that can be imported, which returns a model, or a model and its example inputs.
        **kwargs: for the supernet's class, ``timm.create_model``, ``torchvision.models.get_model`` or the factory.

    Returns:
        The model in train mode.

    Raises:
        InputError: if the name is unknown, its library is missing, the model does not take the arguments, the
            arguments ask for trained weights, or a factory returns something else than a model.
    """
    return create_with_inputs(name, **kwargs)[0]


def create_with_inputs(name: str, **kwargs: Any) -> tuple[nn.Module, Any]:
    """As :func:`create`, with the example inputs that a factory returns beside its model, else ``None``."""
    asked = [argument for argument in _WEIGHT_ARGUMENTS if kwargs.get(argument)]
    if asked:
        raise InputError(
            f"{name}: {asked[0]}={kwargs[asked[0]]!r} would download weights, which create() never does; "
            "create the model without it and load a state dict."
        )
    build = _builder(name)
    arguments = {key: value for key, value in kwargs.items() if key not in _WEIGHT_ARGUMENTS}
    try:
        built = build(**arguments)
    except TypeError as error:
        listed = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        raise InputError(f"{name} cannot be built with ({listed}): {error}; leave that argument out.") from error
    return built if isinstance(built, tuple) else (built, None)


def _builder(name: str) -> Callable[..., Any]:
    if name in _SUPERNETS:
        return _SUPERNETS[name]
    prefix, _, model = name.partition(":")
    if model and prefix not in _ZOOS:
        return _factory(name, prefix, model)
    if prefix not in _ZOOS:
        raise InputError(f"No supernet is called {name!r}{_suggest(name, names())}")
    if not find_spec(prefix):
        raise InputError(f"{name} needs {prefix}, which is not installed; try: pip install 'autosubnet[zoo]'")
    zoo = _ZOOS[prefix]
    known = zoo.names()
    if model not in known:
        raise InputError(f"{prefix} has no model {model!r}{_suggest(name, [f'{prefix}:{one}' for one in known])}")
    return lambda **kwargs: zoo.build(model, **kwargs)


def _factory(name: str, module: str, function: str) -> Callable[..., tuple[nn.Module, Any]]:
    """Import what somebody else builds models with: whatever that raises is told in a sentence."""
    if not all(part.isidentifier() for part in module.split(".")):
        raise InputError(f"{name}: {module!r} is not the name of a module")
    try:
        factory = getattr(import_module(module), function, None)
    except (Exception, SystemExit) as error:
        close = _suggest(name, names()) if get_close_matches(module, _ZOOS) else ""
        raise InputError(f"{name}: module {module!r} cannot be imported: {_told(error)}{close}") from error
    if factory is None:
        raise InputError(f"{name}: module {module!r} has no {function!r}")

    def build(**kwargs: Any) -> tuple[nn.Module, Any]:
        try:
            built = factory(**kwargs)
        except (Exception, SystemExit) as error:
            raise InputError(f"{name} fails: {_told(error)}") from error
        model, inputs = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
        if not isinstance(model, nn.Module):
            raise InputError(
                f"{name} returns a {type(model).__name__}; let it return an nn.Module, or one and its inputs"
            )
        return model, inputs

    return build


def _told(error: BaseException) -> str:
    """Return the kind of an error and the first line of what it says."""
    said = str(error).splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def _suggest(name: str, known: list[str]) -> str:
    same = [one for one in known if one.endswith(f":{name}")]
    matches = same or get_close_matches(name, known) or [*_SUPERNETS, *(f"{prefix}:NAME" for prefix in _ZOOS)]
    return f"; did you mean {' or '.join(matches)}?"
