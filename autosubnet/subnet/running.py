"""One run of a network that leaves it as it was."""

from __future__ import annotations

from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from autosubnet.capture import Inputs
from autosubnet.capture.observe import tensors_in
from autosubnet.capture.preserve import preserved

Draws = Literal["in order", "each anew"]
"""Random numbers follow each other, or every operation that draws some begins with the same state."""


@dataclass(frozen=True)
class Run:
    """What a network returned, and what its buffers held afterwards, by name."""

    outputs: list[torch.Tensor]
    buffers: dict[str, torch.Tensor]


def run(module: nn.Module, inputs: Inputs, training: bool, draws: Draws = "in order") -> Run:
    """Run a module from a fixed random state.

    Nothing is printed: a ``GraphModule`` that fails would print where, besides raising.
    """
    fed = inputs.map(lambda tensor: tensor.clone())
    with preserved(module, training=training), redirect_stderr(StringIO()):
        torch.manual_seed(0)
        with _Anew() if draws == "each anew" else nullcontext():  # type: ignore[no-untyped-call]  # as below
            result = module(*fed.args, **fed.kwargs)
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers()} if training else {}
    return Run([tensor.detach() for tensor in tensors_in(result)], buffers)


class _Anew(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's class has no types
    """What an operation draws does not depend on what was drawn before, as by operations that are gone."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in function.tags:
            torch.manual_seed(0)
        return function(*args, **(kwargs or {}))
