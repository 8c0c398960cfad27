"""Models behind what PyTorch wraps around them: compilation, parallelism, checkpoints, functions with a backward."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from autosubnet import AutoSubnet
from autosubnet.capture import Inputs, capture
from autosubnet.errors import CaptureError

from .capturing import Applied, check, images, rows


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return 3 * x * grad  # unlike autograd's own


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad * 2


class Clamped(torch.autograd.Function):
    """Writes its input, which only large values show."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.clamp_(max=100)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad


class CheckpointFunction(torch.autograd.Function):
    """Not torch's, though of that name: others hand over parameters too."""

    @staticmethod
    def forward(ctx: Any, function: Any, count: int, *args: Tensor) -> Tensor:
        return function(*args[:count])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, None, Tensor, Tensor]:  # type: ignore[override]
        return None, None, grad, grad


class Called(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, function: Any) -> Tensor:
        return function(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return grad, None


def branches() -> Applied:
    return Applied(lambda m, x: m.b(m.a(x).relu() + x), a=nn.Linear(4, 4), b=nn.Linear(4, 3))


def test_a_compiled_model_is_captured_as_the_python_that_it_is_made_of() -> None:
    model = torch.compile(branches())
    oto = AutoSubnet(model, rows())
    assert [group.name for group in oto.groups] == ["_orig_mod.a"]
    assert {part.name for group in oto.groups for part in group.slices} <= {
        name for name, _ in model.named_parameters()
    }
    oto.random_set_zero_groups(1.0)
    subnet = oto.construct_subnet()
    x = torch.randn(5, 4)
    torch.testing.assert_close(subnet(x), model._orig_mod.eval()(x))


def test_a_compiled_submodule() -> None:
    check(Applied(lambda m, x: m.b(m.a(x).relu() + x), a=torch.compile(nn.Linear(4, 4)), b=nn.Linear(4, 3)), rows())


def test_a_model_for_several_devices() -> None:
    oto = AutoSubnet(nn.DataParallel(branches()), rows())
    assert [group.name for group in oto.groups] == ["module.a"]


def test_a_reentrant_checkpoint_is_looked_into() -> None:
    check(Applied(lambda m, x: checkpoint(m.conv, x, use_reentrant=True).relu()), images())


def test_a_function_with_a_backward_of_its_own_is_one_vertex() -> None:
    model = Applied(
        lambda m, x: m.b(Square.apply(m.a(x)) + m.c(x)), a=nn.Linear(4, 4), b=nn.Linear(4, 3), c=nn.Linear(4, 4)
    )
    trace = check(model, rows())
    assert "Square_apply" in {getattr(node.target, "__name__", "") for node in trace.graph.nodes}
    oto = AutoSubnet(model, rows())
    assert [group.name for group in oto.groups] == ["c"]
    assert [refusal.segment for refusal in oto.refused] == ["a"]
    oto.random_set_zero_groups(1.0)
    subnet = oto.construct_subnet()
    x = rows()
    model.zero_grad()
    model(x).sum().backward()
    subnet(x).sum().backward()
    torch.testing.assert_close(subnet.a.weight.grad, model.a.weight.grad)


@pytest.mark.parametrize("function", [Doubled, Clamped])
def test_such_a_function_that_writes_its_input_is_refused(function: Any) -> None:
    with pytest.raises(CaptureError, match=f"{function.__name__} cannot be followed, and writes to its inputs"):
        capture(Applied(lambda m, x: function.apply(m.conv(x))), Inputs.of((images(),)))


def test_an_opaque_module_that_writes_its_input_is_refused() -> None:
    class Outside(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp_(max=100) * float(np.ones(1)[0] + torch.rand(()).item())

    with pytest.raises(CaptureError, match="module 'outside' cannot be followed, and writes to its inputs"):
        capture(Applied(lambda m, x: m.outside(m.conv(x)), outside=Outside()), Inputs.of((images(),)))


def test_a_checkpoint_of_anothers_make_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"CheckpointFunction, .* gets an object of class Conv2d, which no graph"):
        capture(Applied(lambda m, x: CheckpointFunction.apply(m.conv, 1, x, m.conv.weight)), Inputs.of((images(),)))


def test_such_a_function_of_what_no_graph_can_hold_is_refused() -> None:
    with pytest.raises(
        CaptureError,
        match=r"Called, .* gets an object of class builtin_function_or_method, .* at .*test_wrapped\.py:\d+",
    ):
        capture(Applied(lambda m, x: Called.apply(m.conv(x), torch.relu)), Inputs.of((images(),)))


def test_such_a_function_of_what_no_graph_can_hold_makes_its_module_opaque() -> None:
    inner = Applied(lambda m, x: Called.apply(m.conv(x), torch.relu))
    model = Applied(lambda m, x: m.inner(x).mean((2, 3)), inner=inner)
    trace = check(model, images())
    assert "inner" in {node.target for node in trace.graph.nodes}


def test_a_model_that_runs_no_python_is_refused_in_one_sentence() -> None:
    with pytest.raises(CaptureError, match="is a ScriptModule, which runs no Python; pass the module"):
        AutoSubnet(torch.jit.script(nn.Sequential(nn.Linear(4, 4))), rows())


def test_a_module_that_computes_with_numpy_is_one_opaque_vertex() -> None:
    class Outside(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.tensor(np.sign(x.detach().numpy()), dtype=x.dtype)

    trace = check(
        Applied(lambda m, x: m.b(m.outside(m.a(x)) + x), a=nn.Linear(4, 4), b=nn.Linear(4, 3), outside=Outside()),
        rows(),
    )
    assert "outside" in {node.target for node in trace.graph.nodes}


def test_such_a_function_without_values_or_of_values_that_are_no_numbers() -> None:
    model = Applied(lambda m, x: Square.apply(m.a(x)) + x, a=nn.Linear(4, 4))
    x = rows()
    x[0, 0] = torch.nan
    for inputs in (x, x.to("meta")):
        trace = capture(model.to(inputs.device), Inputs.of((inputs,)))
        assert "Square_apply" in {getattr(node.target, "__name__", "") for node in trace.graph.nodes}
