"""One recorded run of a model: in a mode, on inputs, with some modules opaque."""

from __future__ import annotations

from collections.abc import Set
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import cached_property
from io import StringIO

import torch
from torch import nn

from autosubnet.capture.attributes import AttributeMemory
from autosubnet.capture.inputs import Inputs, but_one, others
from autosubnet.capture.observe import other_random_states
from autosubnet.capture.preserve import preserved
from autosubnet.capture.recording import UnfollowableError
from autosubnet.capture.resize import RESIZES
from autosubnet.capture.trace import Mode
from autosubnet.capture.tracer import Tracer
from autosubnet.errors import CaptureError
from autosubnet.ops.effects import must_stay


@dataclass(frozen=True)
class Recorder:
    """Records runs of a model.

    Attributes:
        model: what is run; it is left as it was.
        opaque: names of its modules that are recorded as one vertex each.
        left: what runs so far have computed of their inputs and left on the modules.
    """

    model: nn.Module
    opaque: frozenset[str]
    left: list[torch.Tensor]

    def record(self, mode: Mode, inputs: Inputs) -> Tracer:
        """Run the model once and return what was recorded, without what nobody reads.

        Raises:
            CaptureError: the model fails, or cannot be followed.
        """
        known = len(self.left)
        try:
            tracer = self._run(mode, inputs)
            if len(self.left) > known:
                self._run(mode, inputs)  # which refuses, if it reads what the first one has left
        except CaptureError:
            raise
        except Exception:  # noqa: BLE001  # it may run without gradients only: writes to views, out= arguments
            try:
                tracer = self._run(mode, inputs, gradients=False)
            except CaptureError:
                raise
            except Exception as error:  # whatever it raises is told
                raise CaptureError(f"the model fails on its example inputs in {mode} mode: {error}") from error
        _drop_unread(tracer)
        return tracer

    @cached_property
    def _frozen(self) -> Set[nn.Module]:
        """The modules that the model keeps in eval mode when it trains."""
        with preserved(self.model, training=True):
            return frozenset(module for module in self.model.modules() if not module.training)

    def _run(self, mode: Mode, inputs: Inputs, gradients: bool = True) -> Tracer:
        for keys in (False, True):
            tracer = Tracer(self.model, mode, self.opaque, self._frozen, gradients, keys)
            try:
                self._run_once(tracer, inputs)
            except Exception:  # raised again, unless sizes are the keys of a table that it cannot do without
                if keys or not tracer.needs_keys:
                    raise
            else:
                break
        return tracer

    def _run_once(self, tracer: Tracer, inputs: Inputs) -> None:
        tracer.batch = inputs.batch()
        fed = inputs.map(lambda tensor: tensor.clone())
        memory = AttributeMemory(self.model, self.left)
        with preserved(self.model, training=tracer.mode == "train"):
            before = other_random_states()
            tracer.run(fed.args, fed.kwargs)
            if before != other_random_states():
                tracer.baked.append(f"random numbers of Python or numpy, drawn by forward in {tracer.mode} mode")
        memory.require_no_state(tracer)

    def attempt(self, mode: Mode, inputs: Inputs) -> Tracer | None:
        """Return the record of a run, or ``None`` where the model refuses these inputs."""
        try:
            with redirect_stderr(StringIO()):  # a GraphModule that refuses prints where it does
                return self.record(mode, inputs)
        except UnfollowableError:
            raise
        except CaptureError:
            return None

    def train(self, inputs: Inputs) -> tuple[Tracer, Inputs]:
        """Record train mode; a single example is doubled where the model takes two: BatchNorm may need them."""
        if inputs.batch() == 1:
            doubled = others(inputs, 2)
            if (tracer := self.attempt("train", doubled)) is not None:
                return tracer, doubled
        return self.record("train", inputs), inputs

    def resized(self, inputs: Inputs) -> Tracer | None:
        """Record eval mode on inputs of other values, batch size and resolution or length, if the model takes any."""
        batch, tried = inputs.batch(), [[list(tensor.shape) for tensor in inputs.tensors()]]
        if batch is None:
            return None
        for resize in RESIZES:
            shapes = [resize(tensor) for tensor in inputs.tensors()]
            if (
                shapes not in tried
                and (tracer := self.attempt("eval", others(inputs, batch + 1, resize=resize))) is not None
            ):
                return tracer
            tried.append(shapes)
        return None

    def shares_batch(self, inputs: Inputs) -> bool:
        """Whether the first sizes of all inputs are one: the model takes none of which one alone has another."""
        batch = inputs.batch()
        count = len(inputs.tensors())
        if batch is None or count < 2:
            return batch is not None
        usual = max(batch, 2)  # one alone would be broadcast
        return not any(self._takes(but_one(inputs, number, usual, usual + 1)) for number in range(count))

    def _takes(self, inputs: Inputs) -> bool:
        with preserved(self.model, training=False), redirect_stderr(StringIO()):
            try:
                self.model(*inputs.args, **inputs.kwargs)
            except Exception:  # noqa: BLE001  # the model is the user's: whatever it raises says no
                return False
        return True

    def evaluation(self, inputs: Inputs) -> tuple[Tracer, tuple[str, ...]]:
        """Record eval mode on inputs of other values, with one example more where the model takes that.

        Returns:
            The record, and what it could not vary.
        """
        batch = inputs.batch()
        if batch is None:
            frozen = "batch size: the inputs share no first dimension"
            if (tracer := self.attempt("eval", others(inputs, None))) is not None:
                return tracer, (frozen,)
            return self.record("eval", inputs), (frozen, "values: the model refuses others, so none were tried")
        if (tracer := self.attempt("eval", others(inputs, batch + 1))) is not None:
            return tracer, ()
        frozen = f"batch size: the model refuses any but {batch}"
        if (tracer := self.attempt("eval", others(inputs, None))) is not None:
            return tracer, (frozen,)
        return self.record("eval", inputs), (frozen, "values: the model refuses others, so none were tried")


def _drop_unread(tracer: Tracer) -> None:
    written = {node.meta["root"] for node in tracer.graph.nodes if node.meta.get("effect")}
    for node in reversed(tracer.graph.nodes):
        if node.users or node in written or node.op in ("placeholder", "output"):
            continue
        module = tracer.model.get_submodule(str(node.target)) if node.op == "call_module" else None
        if not must_stay(node, module):
            tracer.graph.erase_node(node)
