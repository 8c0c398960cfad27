"""``nn.Module`` -> :class:`Trace`: both modes are run and recorded, on different values, batch sizes and sizes.

Because the two runs see different inputs, a value or a size that Python code baked into one of them shows as a
difference between the graphs; further runs then tell it from an honest difference between the modes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import fx, nn

from autosubnet.capture.inputs import Inputs, others
from autosubnet.capture.merge import BOTH, merge
from autosubnet.capture.observe import attributes_of
from autosubnet.capture.preserve import keeps_attributes
from autosubnet.capture.record import Recorder
from autosubnet.capture.recording import UnfollowableError
from autosubnet.capture.sharing import require_own_memory
from autosubnet.capture.sizes import Source
from autosubnet.capture.trace import Mode, TensorInfo, Trace
from autosubnet.capture.tracer import Tracer
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
    if isinstance(model, torch.jit.ScriptModule):
        raise CaptureError("the model is a ScriptModule, which runs no Python; pass the module that it was made from")
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise CaptureError(f"parameter {name!r} is uninitialized, of a lazy module; run the model once before")
    left: list[torch.Tensor] = []  # on the modules, by runs
    with keeps_attributes(model):
        try:
            trace, fetched = _with_opaque_modules(model, inputs, left)
        except CaptureError:
            # What forward makes on its first call and keeps (tables, caches) is there now.
            trace, fetched = _with_opaque_modules(model, inputs, left)
    own = {*dict(model.named_parameters()), *dict(model.named_buffers())}
    kept = {name: tensor for name, tensor in fetched.items() if name not in own}
    require_own_memory(*_used(trace, fetched))
    return replace(trace, replaced={**kept, **trace.replaced})


def _used(trace: Trace, fetched: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], set[str]]:
    """Return parameters, and what else the graph uses, by name; and the names of those that it may write."""
    paths = {id(tensor): path for path, tensor in attributes_of(trace.model)}
    tensors = {**dict(trace.model.named_parameters()), **{paths.get(id(t), name): t for name, t in fetched.items()}}
    written: set[str] = set()
    for node in trace.graph.nodes:
        if node.op == "call_module":
            buffers = dict(trace.model.get_submodule(str(node.target)).named_buffers(str(node.target)))
            tensors.update(buffers)
            written.update(buffers)
        elif node.meta.get("effect") and node.meta["root"].op == "get_attr":
            name = str(node.meta["root"].target)
            written.add(paths.get(id(fetched[name]), name))
    return tensors, written


def _with_opaque_modules(
    model: nn.Module, inputs: Inputs, left: list[torch.Tensor]
) -> tuple[Trace, dict[str, torch.Tensor]]:
    """Capture with the submodules that cannot be followed as opaque vertices, found one after the other."""
    opaque: dict[str, str] = {}  # by the reason why
    while True:
        try:
            trace, fetched = _capture(Recorder(model, frozenset(opaque), left), inputs)
        except UnfollowableError as error:
            if not error.module or error.module in opaque:
                kept = "".join(f"; module {name!r} was kept as it is, since {why}" for name, why in opaque.items())
                raise CaptureError(f"{error}{kept}") from error
            opaque[error.module] = str(error).partition(";")[0]
        else:
            return replace(trace, opaque=opaque), fetched


def _capture(recorder: Recorder, inputs: Inputs) -> tuple[Trace, dict[str, torch.Tensor]]:
    train, inputs = recorder.train(inputs)
    frozen: tuple[str, ...] = ()
    other = resized = recorder.resized(inputs)  # another batch size and other sizes at once: often one run is enough
    if other is None:
        other, frozen = recorder.evaluation(inputs)
    evaluation = other
    graph = merge(train.graph, evaluation.graph)
    if train.unseen.results and evaluation.unseen.results:
        _require_same_results(train, recorder.record("eval", inputs))
    if graph.output_node().meta["dual"]:
        # Both at the same sizes, so that shapes agree; and each at others, to see baked values.
        evaluation = recorder.record("eval", inputs)
        if not _alike(evaluation, other):
            other, frozen = recorder.evaluation(inputs)
            _require_alike(evaluation, other)
            frozen += ("a size: at other sizes forward runs other operations, or the same with other numbers",)
        _require_alike(train, recorder.record("train", others(inputs, other.batch)))
        graph = merge(train.graph, evaluation.graph)
    baked = tuple(dict.fromkeys(train.baked + evaluation.baked + train.routing + evaluation.routing))
    _require_all_ways(recorder.model, train, evaluation)
    lost = tuple(dict.fromkeys(f"a size: {each}" for each in _lost_sizes(train, resized or other)))
    trace = Trace(
        model=recorder.model,
        graph=graph,
        replaced={**train.replaced, **evaluation.replaced},
        args=inputs.args,
        kwargs=inputs.kwargs,
        dual=graph.output_node().meta["dual"],
        baked=baked,
        frozen=frozen + lost,
        canonical=_canonical_names(recorder.model),
        batched=recorder.shares_batch(inputs),
    )
    _mark_data(trace)
    return trace, {**train.fetched, **evaluation.fetched}


def _lost_sizes(train: Tracer, other: Tracer) -> list[str]:
    """Return where sizes that vary from input to input left the graph; those of channels do not vary."""
    shapes = [{node.name: node.meta["value"] for node in tracer.graph.nodes} for tracer in (train, other)]

    def varies(source: Source) -> bool:
        sizes = []
        for each in shapes:
            info = each.get(source[0].name)
            if not isinstance(info, TensorInfo):
                return True
            sizes.append(info.shape if source[1] is None else info.shape[source[1]])
        return bool(sizes[0] != sizes[1])

    return [what for tracer in (train, other) for what, sources in tracer.losses if any(map(varies, sources))]


def _alike(first: Tracer, second: Tracer) -> bool:
    return not merge(first.graph, second.graph).output_node().meta["dual"]


def _require_alike(first: Tracer, second: Tracer) -> None:
    if _alike(first, second):
        return
    lost = [what for tracer in (first, second) for what, _ in tracer.losses]
    seen = "; ".join(dict.fromkeys(first.baked + second.baked + lost)) or _first_difference(first, second)
    raise _by_values(
        (first, second),
        f"in {first.mode} mode the model runs other operations, or the same with other numbers, on other inputs, so "
        f"one graph cannot stand for it ({seen}); make that code a module of its own that returns tensors",
    )


def _first_difference(first: Tracer, second: Tracer) -> str:
    nodes = merge(first.graph, second.graph).nodes
    node = next((each for each in nodes if each.op != "output" and each.meta["modes"] != BOTH), None)
    where = "in what is returned" if node is None else f"first at {node.name!r} of module {node.meta['module']!r}"
    return f"{where}; no read of a tensor's value was seen"


def _by_values(tracers: Iterable[Tracer], message: str) -> UnfollowableError:
    """Return the error that makes the module opaque which looked at values, where that is not the model itself."""
    deciders = [module for tracer in tracers for module in tracer.deciders]
    return UnfollowableError(message, next(filter(None, deciders), ""))


def _require_all_ways(model: nn.Module, *tracers: Tracer) -> None:
    """Refuse models that send their values to parts of them, where a part with trainable parameters got none."""
    routing = dict.fromkeys(each for tracer in tracers for each in tracer.routing)
    if not routing:
        return
    used = {id(tensor) for tracer in tracers for tensor in tracer.fetched.values()}
    for tracer in tracers:
        for node in tracer.graph.nodes:
            if node.op == "call_module":
                used.update(id(tensor) for tensor in model.get_submodule(str(node.target)).parameters())
    unused = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in used]
    if unused:
        raise _by_values(
            tracers,
            f"on the example inputs the model does not run parameter {unused[0]!r}, and which parts of it run is "
            f"decided by values ({'; '.join(routing)}); give example inputs that reach all of it",
        )


def _require_same_results(train: Tracer, evaluation: Tracer) -> None:
    """Refuse modules that cannot be followed and return other kinds of tensors in eval mode, on the same inputs."""
    for name, results in evaluation.unseen.results.items():
        for before, now in zip(train.unseen.results.get(name, []), results, strict=False):
            if _kind(before) != _kind(now):
                raise CaptureError(
                    f"module {name!r} cannot be followed, and returns tensors of another number, shape or dtype in "
                    f"eval mode than in train mode; let it return the same in both"
                )


def _kind(info: Any) -> Any:
    """Return shape and dtype of a tensor, or of those in a structure."""
    if isinstance(info, tuple):
        return tuple(_kind(each) for each in info)
    return (info.shape, info.dtype) if isinstance(info, TensorInfo) else None


def _mark_data(trace: Trace) -> None:
    """Set ``meta["data"]``: whether a value depends on the values of an input, not just on sizes or weights."""
    containers: set[fx.Node] = set()
    written: dict[fx.Node, set[Mode]] = defaultdict(set)  # memory that holds such values since an in-place operation
    for node in trace.graph.nodes:
        if node.op == "placeholder":
            node.meta["data"] = node.meta["value"] is not None or bool(node.users)
            continue
        reads = any(source.meta["data"] for source in edges(node, trace.leaf(node)))
        if node.meta.get("effect") and reads:
            written[node.meta["root"]] |= node.meta["modes"]
        given = [source for source in node.all_input_nodes if source.op == "placeholder" or source in containers]
        if node.meta["value"] is None and given and all(source.meta["value"] is None for source in given):
            containers.add(node)  # inside of an input that holds several tensors
        holds = node.op == "output" or node.meta["value"] is not None or node in containers
        node.meta["data"] = holds and (reads or bool(written[node.meta["root"]] & node.meta["modes"]))


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
