"""One run of a network that leaves it as it was."""

from __future__ import annotations

from contextlib import redirect_stderr
from io import StringIO

import torch
from torch import nn

from autosubnet.capture import Inputs
from autosubnet.capture.observe import tensors_in
from autosubnet.capture.preserve import preserved


def run(module: nn.Module, inputs: Inputs, training: bool) -> list[torch.Tensor]:
    """Return the tensors that a module returns, from a fixed random state.

    Nothing is printed: a ``GraphModule`` that fails would print where, besides raising.
    """
    fed = inputs.map(lambda tensor: tensor.clone())
    with preserved(module, training=training), redirect_stderr(StringIO()):
        torch.manual_seed(0)
        result = module(*fed.args, **fed.kwargs)
    return list(tensors_in(result))
