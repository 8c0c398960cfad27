"""``nn.Module`` -> :class:`Trace`: both modes are run and recorded, on different values and batch sizes.

Because the two runs see different inputs, a value that Python code baked into one of them shows as a
difference between the graphs; a third run then tells it from an honest difference between the modes.
"""

from __future__ import annotations

from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from typing import Any

import torch
from torch import fx, nn

from autosubnet.capture.inputs import Inputs, others
from autosubnet.capture.merge import merge
from autosubnet.capture.preserve import keeps_attributes, preserved
from autosubnet.capture.trace import MODES, Mode, Trace
from autosubnet.capture.tracer import Tracer
from autosubnet.errors import CaptureError
from autosubnet.ops.effects import must_stay


def capture(model: nn.Module, inputs: Inputs) -> Trace:
    """Capture ``model`` in both modes without changing it.

    Args:
        model: any module; its parameters are shared with the trace, not copied.
        inputs: arguments that the model accepts.

    Raises:
        CaptureError: the model cannot be followed, or computes something else on other inputs.
    """
    with keeps_attributes(model):
        try:
            trace, fetched = _capture(model, inputs)
        except CaptureError:
            # What forward makes on its first call and keeps (tables, caches) is there now.
            trace, fetched = _capture(model, inputs)
    own = {*dict(model.named_parameters()), *dict(model.named_buffers())}
    kept = {name: tensor for name, tensor in fetched.items() if name not in own}
    return replace(trace, replaced={**kept, **trace.replaced})


def _capture(model: nn.Module, inputs: Inputs) -> tuple[Trace, dict[str, torch.Tensor]]:
    train, inputs = _record_train(model, inputs)
    evaluation, more, frozen = _record_eval(model, inputs)
    graph = merge(train.graph, evaluation.graph)
    if graph.output_node().meta["dual"]:
        # Both at the same batch size, so that shapes agree; and each at a second one, to see baked values.
        same = _record(model, "eval", inputs)
        _require_alike(same, evaluation)
        _require_alike(train, _record(model, "train", more))
        evaluation = same
        graph = merge(train.graph, evaluation.graph)
    _mark_data(graph)
    baked = tuple(dict.fromkeys(train.baked + evaluation.baked))
    trace = Trace(
        model=model,
        graph=graph,
        replaced={**train.replaced, **evaluation.replaced},
        args=inputs.args,
        kwargs=inputs.kwargs,
        dual=graph.output_node().meta["dual"],
        baked=baked,
        frozen=(*frozen, *(f"a size: {each}" for each in baked if "(size)" in each)),
        canonical=_canonical_names(model),
    )
    return trace, {**train.fetched, **evaluation.fetched}


def _record_train(model: nn.Module, inputs: Inputs) -> tuple[Tracer, Inputs]:
    """Record train mode; a single example is doubled where the model takes two, since BatchNorm may need them."""
    if inputs.batch() == 1:
        doubled = others(inputs, 2)
        try:
            with redirect_stderr(StringIO()):  # a GraphModule that refuses prints where it does
                return _record(model, "train", doubled), doubled
        except CaptureError:
            pass  # the model takes one example only
    return _record(model, "train", inputs), inputs


def _record_eval(model: nn.Module, inputs: Inputs) -> tuple[Tracer, Inputs, tuple[str, ...]]:
    """Record eval mode on other inputs, with one example more where the model takes that."""
    batch = inputs.batch()
    if batch is None:
        reason = "batch size: the inputs share no first dimension"
    else:
        more = others(inputs, batch + 1)
        try:
            with redirect_stderr(StringIO()):  # as above
                return _record(model, "eval", more), more, ()
        except CaptureError:
            reason = f"batch size: the model refuses any but {batch}"
    more = others(inputs, None)
    return _record(model, "eval", more), more, (reason,)


def _copied(inputs: Inputs) -> Inputs:
    return inputs.map(lambda tensor: tensor.clone())


def _record(model: nn.Module, mode: Mode, inputs: Inputs) -> Tracer:
    copied = _copied(inputs)
    with preserved(model, training=True):
        frozen = frozenset(module for module in model.modules() if not module.training)
    with preserved(model, training=mode == "train"):
        tracer = Tracer(model, mode, frozen)
        try:
            tracer.run(copied.args, copied.kwargs)
        except CaptureError:
            raise
        except Exception as error:
            raise CaptureError(f"the model fails on its example inputs in {mode} mode: {error}") from error
    _drop_unread(tracer)
    return tracer


def _drop_unread(tracer: Tracer) -> None:
    for node in reversed(tracer.graph.nodes):
        module = tracer.model.get_submodule(node.target) if node.op == "call_module" else None
        if not node.users and node.op not in ("placeholder", "output") and not must_stay(node, module):
            tracer.graph.erase_node(node)


def _require_alike(first: Tracer, second: Tracer) -> None:
    if not merge(first.graph, second.graph).output_node().meta["dual"]:
        return
    seen = "; ".join(dict.fromkeys(first.baked + second.baked)) or "no read of a tensor's value was seen"
    raise CaptureError(
        f"in {first.mode} mode the model runs other operations, or the same with other numbers, on other inputs, so "
        f"one graph cannot stand for it ({seen}); make that code a module of its own that returns tensors"
    )


def _mark_data(graph: fx.Graph) -> None:
    """Set ``meta["data"]``: whether a value depends on the values of an input, not just on sizes or weights."""
    for node in graph.nodes:
        if node.op == "placeholder":
            node.meta["data"] = node.meta["value"] is not None or bool(node.users)
        else:
            node.meta["data"] = (node.meta["value"] is not None or node.op == "output") and any(
                source.meta["data"] for source in node.all_input_nodes
            )


def _canonical_names(model: nn.Module) -> dict[str, str]:
    """Map every name of a tied parameter or buffer to its first one."""
    first: dict[int, str] = {}
    names: dict[str, str] = {}
    tensors: list[tuple[str, Any]] = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    for name, tensor in tensors:
        names[name] = first.setdefault(id(tensor), name)
    return names


__all__ = ["MODES", "capture"]
