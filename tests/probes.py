"""Running networks on random inputs, and reading what comes out: shared by all checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Sequence[Any]
Kept = Mapping[str, Mapping[int, Sequence[int]]]


def tensors(value: Any) -> list[Tensor]:
    """Return the tensors of a nested output, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, Mapping):
        return [tensor for part in value.values() for tensor in tensors(part)]
    if isinstance(value, list | tuple):
        return [tensor for part in value for tensor in tensors(part)]
    if is_dataclass(value):
        return [tensor for part in fields(value) for tensor in tensors(getattr(value, part.name))]
    return []


def structure(value: Any) -> Any:
    """Return the nesting of an output: types by name, keys and fields."""
    if isinstance(value, Mapping):
        return type(value).__name__, {key: structure(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value).__name__, [structure(part) for part in value]
    if is_dataclass(value):
        return type(value).__name__, {part.name: structure(getattr(value, part.name)) for part in fields(value)}
    return type(value).__name__


def redraw(example_inputs: Inputs, batch: int, seed: int, larger: int = 0) -> tuple[Any, ...]:
    """Return random inputs like the examples, ``batch`` of them; integers are drawn from the examples'.

    Images ``[B, C, H, W]`` get ``larger`` more rows and columns, sequences ``[B, T, D]`` and token numbers
    ``[B, T]`` so many more tokens.
    """
    generator = torch.Generator().manual_seed(seed)

    def one(example: Any) -> Any:
        if not isinstance(example, Tensor):
            return example
        sides = {4: (2, 3), 3: (1,), 2: () if example.is_floating_point() else (1,)}.get(example.dim(), ())
        shape = [size + larger * (dim in sides) for dim, size in enumerate(example.shape)]
        shape[0] = batch
        if example.is_floating_point():
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(example.dtype)
        picks = torch.randint(example.numel(), shape, generator=generator)
        return example.flatten()[picks]

    return tuple(one(example) for example in example_inputs)


def run(module: nn.Module, inputs: Inputs, *, train: bool, seed: int = 0) -> list[Tensor]:
    """Return the outputs of ``module`` from the random state ``seed``; buffers change in train mode."""
    module.train(train)
    with torch.random.fork_rng(devices=()):
        torch.default_generator.manual_seed(seed)
        return tensors(module(*inputs))


def probe(module: nn.Module, inputs: Inputs, *, train: bool) -> list[Tensor]:
    """Return what :func:`run` does, without changing the module."""
    with restored(module), torch.no_grad():
        return run(module, inputs, train=train)


@contextmanager
def restored(network: nn.Module) -> Iterator[None]:
    """Put a network back afterwards: its mode, its parameters and buffers, and that it has no gradients."""
    training = network.training
    state = [(tensor, tensor.detach().clone()) for tensor in (*network.parameters(), *network.buffers())]
    network.zero_grad(set_to_none=True)
    try:
        yield
    finally:
        network.zero_grad(set_to_none=True)
        network.train(training)
        with torch.no_grad():
            for tensor, before in state:
                tensor.copy_(before)


def variation(output: Tensor) -> float:
    """Return how much an output varies over the batch: the largest range of any of its entries."""
    return float((output.amax(0) - output.amin(0)).max())


def largest(difference: Tensor) -> float:
    return float(difference.detach().abs().max()) if difference.numel() else 0.0


def survivors(tensor: Tensor, name: str, kept: Kept) -> Tensor:
    """Return the entries of ``tensor`` that the subnet still has."""
    for dim, indices in kept.get(name, {}).items():
        tensor = tensor.index_select(dim, torch.as_tensor(tuple(indices), dtype=torch.long))
    return tensor


def parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters by all their names: a tied one has several."""
    return dict(module.named_parameters(remove_duplicate=False))
