"""State that forward keeps in plain attributes: a graph holds their tensors as constants, so it is refused."""

from __future__ import annotations

import torch
from torch import nn

from autosubnet.capture.observe import attributes_of
from autosubnet.capture.recording import Recording
from autosubnet.errors import CaptureError


class AttributeMemory:
    """What the modules of a model hold in plain attributes, before a run.

    Tables that depend on sizes or weights alone may be made at the first call and kept: they stay what they are. What
    is computed of an input and read in a later call is state.

    Args:
        model: what is run.
        left: what earlier runs have left of that kind; those of this run are added.
    """

    def __init__(self, model: nn.Module, left: list[torch.Tensor]) -> None:
        self.model = model
        self.left = left
        before = list(attributes_of(model))
        self.before = [tensor for _, tensor in before]  # alive, so that no other can get the identity of one
        self.paths = {id(tensor): path for path, tensor in before}

    def require_no_state(self, run: Recording) -> None:
        """Refuse what the run has read that an earlier call had computed, or that it has replaced.

        Raises:
            CaptureError: an attribute is state.
        """
        held = {id(tensor): tensor for _, tensor in attributes_of(self.model)}
        states = {id(tensor) for tensor in self.left}
        for tensor in run.fetched.values():
            replaced = id(tensor) not in held
            if id(tensor) in self.paths and (replaced or id(tensor) in states):
                raise CaptureError(
                    f"tensor attribute {self.paths[id(tensor)]!r} is state: forward computes it anew and reads it in "
                    f"later calls; register it as a buffer, and write it in place (buffer.copy_(value))"
                )
        self.left += [tensor for each, tensor in held.items() if each not in self.paths and run.reads_input(tensor)]
