"""``nn.Module`` -> :class:`Trace`: both modes are run and recorded, on different values and batch sizes.

Because the two runs see different inputs, a value that Python code baked into one of them shows as a
difference between the graphs; a third run then tells it from an honest difference between the modes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from autosubnet.capture.inputs import Inputs
from autosubnet.capture.merge import merge
from autosubnet.capture.preserve import keeps_attributes
from autosubnet.capture.record import Recorder
from autosubnet.capture.trace import Trace
from autosubnet.capture.tracer import Tracer, UnfollowableError
from autosubnet.errors import CaptureError
from autosubnet.ops.effects import edges


def capture(model: nn.Module, inputs: Inputs) -> Trace:
    """Capture ``model`` in both modes without changing it.

    Args:
        model: any module; its parameters are shared with the trace, not copied.
        inputs: arguments that the model accepts.

    Raises:
        CaptureError: the model cannot be followed, or computes something else on other inputs.
    """
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise CaptureError(f"parameter {name!r} is uninitialized, of a lazy module; run the model once before")
    with keeps_attributes(model):
        try:
            trace, fetched = _with_opaque_modules(model, inputs)
        except CaptureError:
            # What forward makes on its first call and keeps (tables, caches) is there now.
            trace, fetched = _with_opaque_modules(model, inputs)
    own = {*dict(model.named_parameters()), *dict(model.named_buffers())}
    kept = {name: tensor for name, tensor in fetched.items() if name not in own}
    return replace(trace, replaced={**kept, **trace.replaced})


def _with_opaque_modules(model: nn.Module, inputs: Inputs) -> tuple[Trace, dict[str, torch.Tensor]]:
    """Capture with the submodules that cannot be followed as opaque vertices, found one after the other."""
    opaque: set[str] = set()
    while True:
        try:
            return _capture(Recorder(model, frozenset(opaque)), inputs)
        except UnfollowableError as error:
            if not error.module or error.module in opaque:
                raise CaptureError(str(error)) from error
            opaque.add(error.module)


def _capture(recorder: Recorder, inputs: Inputs) -> tuple[Trace, dict[str, torch.Tensor]]:
    train, inputs = recorder.train(inputs)
    evaluation, more, frozen = recorder.evaluation(inputs)
    graph = merge(train.graph, evaluation.graph)
    if graph.output_node().meta["dual"]:
        # Both at the same batch size, so that shapes agree; and each at a second one, to see baked values.
        same = recorder.record("eval", inputs)
        _require_alike(same, evaluation)
        _require_alike(train, recorder.record("train", more))
        evaluation = same
        graph = merge(train.graph, evaluation.graph)
    baked = tuple(dict.fromkeys(train.baked + evaluation.baked))
    trace = Trace(
        model=recorder.model,
        graph=graph,
        replaced={**train.replaced, **evaluation.replaced},
        args=inputs.args,
        kwargs=inputs.kwargs,
        dual=graph.output_node().meta["dual"],
        baked=baked,
        frozen=(*frozen, *(f"a size: {each}" for each in baked if "(size)" in each)),
        canonical=_canonical_names(recorder.model),
    )
    _mark_data(trace)
    return trace, {**train.fetched, **evaluation.fetched}


def _require_alike(first: Tracer, second: Tracer) -> None:
    if not merge(first.graph, second.graph).output_node().meta["dual"]:
        return
    seen = "; ".join(dict.fromkeys(first.baked + second.baked)) or "no read of a tensor's value was seen"
    raise CaptureError(
        f"in {first.mode} mode the model runs other operations, or the same with other numbers, on other inputs, so "
        f"one graph cannot stand for it ({seen}); make that code a module of its own that returns tensors"
    )


def _mark_data(trace: Trace) -> None:
    """Set ``meta["data"]``: whether a value depends on the values of an input, not just on sizes or weights."""
    written: set[fx.Node] = set()  # memory that holds such values since an in-place operation
    for node in trace.graph.nodes:
        if node.op == "placeholder":
            node.meta["data"] = node.meta["value"] is not None or bool(node.users)
            continue
        reads = any(source.meta["data"] for source in edges(node, trace.leaf(node)))
        if node.meta.get("effect") and reads:
            written.add(node.meta["root"])
        holds = node.op == "output" or node.meta["value"] is not None
        node.meta["data"] = holds and (reads or node.meta["root"] in written)


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
