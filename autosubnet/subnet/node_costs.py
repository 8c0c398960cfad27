"""What each node of a graph costs: parameters, floating-point operations, seconds."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import fx
from torch.utils.flop_counter import FlopCounterMode

from autosubnet.capture import Inputs
from autosubnet.capture.preserve import preserved
from autosubnet.graph.view import GraphView

_RUNS = 3


def num_params_by_node(view: GraphView) -> dict[str, float]:
    """Return the number of parameters that each node uses; what several use counts for each by its share."""
    users: dict[str, int] = {}
    for names in view.variables.values():
        for name in names:
            users[name] = users.get(name, 0) + 1
    return {
        node.name: sum(view.parameters[name].numel() / users[name] for name in names)
        for node, names in view.variables.items()
    }


def flops_by_node(view: GraphView) -> dict[str, float]:
    """Return the floating-point operations of each node for one example, in eval mode."""
    batch = Inputs(view.trace.args, view.trace.kwargs).batch() or 1

    def flops(run: Callable[[], Any]) -> tuple[Any, float]:
        with FlopCounterMode(display=False) as counter:
            result = run()
        return result, counter.get_total_flops() / batch

    return _measured(view, flops)


def seconds_by_node(view: GraphView) -> dict[str, float]:
    """Return the seconds that each node takes on the example inputs, in eval mode, on the device of the model."""

    def seconds(run: Callable[[], Any]) -> tuple[Any, float]:
        synchronize(view)
        start = time.perf_counter()
        result = run()
        synchronize(view)
        return result, time.perf_counter() - start

    runs = [_measured(view, seconds) for _ in range(_RUNS)]
    return {name: min(run[name] for run in runs) for name in runs[0]}


def synchronize(view: GraphView) -> None:
    """Wait for what was launched on the device of the model."""
    if any(parameter.is_cuda for parameter in view.parameters.values()):
        torch.cuda.synchronize()


def _measured(view: GraphView, measure: Callable[[Callable[[], Any]], tuple[Any, float]]) -> dict[str, float]:
    """Run the graph node by node and return what each was measured to cost."""
    module = view.trace.module("eval")
    bound = inspect.signature(module.forward).bind(*view.trace.args, **view.trace.kwargs)
    bound.apply_defaults()
    interpreter = _Interpreter(module, measure)
    with preserved(module, training=False), torch.no_grad():
        interpreter.run(*bound.args)
    return interpreter.costs


class _Interpreter(fx.Interpreter):
    def __init__(self, module: fx.GraphModule, measure: Callable[[Callable[[], Any]], tuple[Any, float]]) -> None:
        super().__init__(module)
        self.measure = measure
        self.costs: dict[str, float] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.op in ("placeholder", "get_attr", "output"):
            return super().run_node(n)
        result, self.costs[n.name] = self.measure(lambda: super(_Interpreter, self).run_node(n))
        return result
