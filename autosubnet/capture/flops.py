"""Floating-point operations of a module, counted on its inputs."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from autosubnet.capture.inputs import Inputs
from autosubnet.capture.preserve import preserved


def count_flops(module: nn.Module, inputs: Inputs) -> int:
    """Return the floating-point operations of a module in eval mode, for one example of ``inputs``."""
    counter = FlopCounterMode(display=False)
    fed = copy.copy(inputs).map(lambda tensor: tensor.clone())
    # The counter asks every tensor that a sub-module takes for its gradient function; a parameter has none.
    detached = {name: parameter.detach() for name, parameter in module.named_parameters()}
    with preserved(module, training=False), torch.no_grad(), counter:
        functional_call(module, detached, fed.args, dict(fed.kwargs))
    return int(counter.get_total_flops()) // (inputs.batch() or 1)
