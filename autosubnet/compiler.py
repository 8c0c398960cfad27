"""The compiler alone: zeros that anyone made, compiled away."""

from __future__ import annotations

import warnings
from typing import Any

from torch import fx, nn

from autosubnet.capture import Inputs, capture, guess
from autosubnet.errors import AutoSubnetWarning, InputError
from autosubnet.subnet import construct
from autosubnet.subnet.report import constant


def remove_zeros(model: nn.Module, example_inputs: Any = None, *, verify: bool = True) -> fx.GraphModule:
    """Compile away zeros that anyone made, and return the smaller network that returns the same.

    Args:
        model: any module; it is not changed.
        example_inputs: as for :class:`AutoSubnet`.
        verify: whether to run both and compare.

    Raises:
        InputError: no example inputs could be guessed.
        CaptureError: the model cannot be turned into a graph.
        NonFiniteError: a weight is NaN or infinite.
        VerificationError: the networks differ; nothing is returned.
    """
    inputs, _ = example_of(model, example_inputs)
    subnet = construct(capture(model, inputs), check=verify)
    warn_of_constants(subnet)
    return subnet


def example_of(model: Any, example_inputs: Any) -> tuple[Inputs, str]:
    """Return the example inputs of a model, and where they come from.

    Raises:
        InputError: it is no module, or none were given and none could be guessed.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model is a {type(model).__name__}; pass a torch.nn.Module")
    return (Inputs.of(example_inputs), "given") if example_inputs is not None else guess(model)


def warn_of_constants(subnet: fx.GraphModule) -> None:
    """Warn of outputs that became constant, at the line of who called who calls this."""
    for output in subnet.meta["autosubnet"].constant_outputs:
        warnings.warn(constant(output), AutoSubnetWarning, stacklevel=3)
