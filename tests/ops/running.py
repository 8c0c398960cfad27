"""Running the cases: one capture each, and every value seen in the moment in which it is computed."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx, nn

from autosubnet.capture import Inputs, Trace, capture
from autosubnet.capture.preserve import preserved
from autosubnet.graph.view import GraphView

from .case import Case

See = Callable[[fx.Node, Any], None]


@cache
def captured(case: Case) -> tuple[nn.Module, Trace]:
    """Capture once; what a capture finds does not depend on the parameters' values."""
    model = case.model()
    return model, capture(model, Inputs.of(case.draw(0)))


@cache
def prepared(case: Case) -> tuple[nn.Module, Trace, GraphView]:
    """Capture once, and look up the rules once."""
    model, trace = captured(case)
    return model, trace, GraphView(trace)


class Recorder(fx.Interpreter):
    """Checks or keeps each value in the moment in which it is computed."""

    def __init__(self, module: fx.GraphModule, see: See) -> None:
        super().__init__(module)
        self.see = see

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        if node.op != "output":
            self.see(node, value)
        return value


def replay(trace: Trace, mode: Any, x: Tensor, see: See) -> None:
    """Run the graph of one mode, and show ``see`` each node with its value."""
    module = trace.module(mode)
    with preserved(trace.model, training=mode == "train"):
        torch.manual_seed(1)
        Recorder(module.train(mode == "train"), see).run(x)


def accepts(model: nn.Module, x: Tensor) -> bool:
    """Whether the model runs on ``x``."""
    with preserved(model, training=False):
        try:
            model(x)
        except (RuntimeError, ValueError, IndexError):
            return False
    return True


def another_batch(case: Case) -> Tensor:
    """Return an input of one example more."""
    batch, *inner = case.shape
    return torch.randn((batch + 1, *inner), generator=torch.Generator().manual_seed(batch), dtype=torch.float64)
