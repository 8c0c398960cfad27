"""Example inputs: what the user gave, what the model says of itself, or a guess that runs."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import nn

from autosubnet.capture.preserve import preserved
from autosubnet.capture.resize import Resize
from autosubnet.errors import InputError

IMAGE_SIZES = (64, 224, 32, 299)


@dataclass(frozen=True)
class Inputs:
    """Positional and keyword arguments of a model."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    @classmethod
    def of(cls, given: Any) -> Inputs:
        """Read a tensor, a tuple or list of positional arguments, or a dict of keyword arguments."""
        if isinstance(given, torch.Tensor):
            return cls((given,), {})
        if isinstance(given, Mapping):
            return cls((), dict(given))
        if isinstance(given, (tuple, list)):
            return cls(tuple(given), {})
        raise InputError(
            f"example_inputs is a {type(given).__name__}; pass a tensor, a tuple of positional arguments "
            f"or a dict of keyword arguments"
        )

    def map(self, function: Any) -> Inputs:
        """Apply ``function`` to every tensor."""
        return Inputs(_map(self.args, function), _map(dict(self.kwargs), function))

    def tensors(self) -> list[torch.Tensor]:
        """Return every tensor, in order."""
        found: list[torch.Tensor] = []
        self.map(found.append)
        return found

    def batch(self) -> int | None:
        """Return the size that the first dimensions of all tensors share, or ``None``."""
        sizes = {tensor.shape[0] for tensor in self.tensors() if tensor.ndim}
        return sizes.pop() if len(sizes) == 1 else None


def others(inputs: Inputs, batch: int | None, seed: int = 0, resize: Resize | None = None) -> Inputs:
    """Return inputs of other values, drawn from those given, and with another batch size where that is known.

    A mask of ones becomes a mask whose last column is zero, so that code that drops full masks is seen; other integers
    keep their largest (first) and their smallest (last), so that a mask that masks something still does.
    """
    generator = torch.Generator().manual_seed(seed)

    def other(tensor: torch.Tensor) -> torch.Tensor:
        shape = list(tensor.shape) if resize is None else resize(tensor)
        if batch is not None and tensor.ndim:
            shape[0] = batch
        count = torch.Size(shape).numel()
        if tensor.layout != torch.strided:
            return tensor
        if not tensor.numel():
            return tensor.new_empty(shape)
        index = torch.randint(tensor.numel(), (count,), generator=generator).to(tensor.device)
        result = tensor.detach().reshape(-1)[index].reshape(shape)
        numbers = not (tensor.is_floating_point() or tensor.is_complex())
        if numbers and tensor.ndim > 1 and count:
            if bool((tensor == 1).all()):
                result[..., -1] = 0
            else:  # a mask that masks something still does
                result.view(-1)[0], result.view(-1)[-1] = tensor.max(), tensor.min()
        return result

    return inputs.map(other)


def but_one(inputs: Inputs, number: int, batch: int, other: int) -> Inputs:
    """Return inputs of a batch size, but for one tensor, which has another."""
    odd = others(inputs, other).tensors()[number]
    count = itertools.count()
    return others(inputs, batch).map(lambda tensor: odd if next(count) == number else tensor)


def guess(model: nn.Module) -> tuple[Inputs, str]:
    """Return example inputs that the model accepts, and a sentence on where they come from.

    Raises:
        InputError: nothing that was tried runs.
    """
    errors = []
    for inputs, origin in _candidates(model):
        try:
            with preserved(model, training=True):  # where auxiliary heads make the higher demands
                model(*inputs.args, **inputs.kwargs)
        except Exception as error:  # noqa: BLE001  # the model is the user's: whatever it raises says no
            errors.append(f"{origin}: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
            continue
        return inputs, origin
    tried = "; ".join(errors[-3:]) or "no layer that says what it reads"
    raise InputError(f"no example inputs could be guessed ({tried}); pass example_inputs=...")


def _candidates(model: nn.Module) -> Iterator[tuple[Inputs, str]]:
    tensor = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(0))
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> Inputs:
        values = torch.randn(shape, generator=generator)
        return Inputs((values.to(tensor.device, tensor.dtype),), {})

    config = getattr(model, "default_cfg", None) or getattr(model, "pretrained_cfg", None)
    if isinstance(config, Mapping) and config.get("input_size"):
        yield random(2, *config["input_size"]), f"the model's default_cfg: {tuple(config['input_size'])}"
    dummy = getattr(model, "dummy_inputs", None)
    if isinstance(dummy, Mapping):
        yield Inputs((), dict(dummy)).map(lambda each: each.to(tensor.device)), "the model's dummy_inputs"
    first = next((m for m in model.modules() if isinstance(m, _FIRST)), None)
    name = type(first).__name__
    if isinstance(first, nn.Embedding):
        ids = torch.randint(first.num_embeddings, (2, 16), generator=generator).to(tensor.device)
        yield Inputs((ids,), {}), f"the first layer, {name}({first.num_embeddings})"
    elif isinstance(first, nn.Linear):
        for shape in ((2, first.in_features), (2, 8, first.in_features)):
            yield random(*shape), f"the first layer, {name}({first.in_features})"
    elif isinstance(first, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        dims = first.weight.ndim - 2
        for size in IMAGE_SIZES:
            spatial = (size,) * dims if dims < 3 else (8, size, size)
            yield (
                random(2, first.in_channels, *spatial),
                f"the first layer, {name}({first.in_channels}), at {spatial}",
            )


_FIRST = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear, nn.Embedding)


def _map(value: Any, function: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_map(each, function) for each in value))
    if isinstance(value, (tuple, list)):
        return type(value)(_map(each, function) for each in value)
    if isinstance(value, dict):
        found = {key: _map(each, function) for key, each in value.items()}
        if type(value) is dict:
            return found
        made: Any = copy.copy(value)  # of the same class, which may have attributes besides
        for key, each in found.items():
            made[key] = each
        return made
    if is_dataclass(value) and not isinstance(value, type):
        made = copy.copy(value)
        for part in fields(value):
            object.__setattr__(made, part.name, _map(getattr(value, part.name), function))
        return made
    return value
