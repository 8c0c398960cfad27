"""Capture changes nothing: neither the model, nor the random state, nor the examples, nor torch."""

import pickle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosubnet.capture import Inputs, capture, guess
from autosubnet.errors import CaptureError

from .capturing import Applied, images


def body(m: Any, x: Tensor) -> Tensor:
    y = m.drop(m.norm(m.conv(x)))
    m.seen += 1
    y = F.relu_(y) + torch.rand_like(y)
    return m.head(F.dropout(y.mean((2, 3)), 0.5, m.training))


def make_model() -> Applied:
    torch.manual_seed(0)
    model = Applied(body, norm=nn.BatchNorm2d(4), drop=nn.Dropout(0.5), seen=nn.Buffer(torch.tensor(0)))
    model.conv.weight.requires_grad_(False)
    model(images()).sum().backward()
    model.norm.eval()
    return model


def state(model: nn.Module) -> dict[str, Any]:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {
        "values": {name: tensor.detach().clone() for name, tensor in tensors.items()},
        "memory": {name: tensor.data_ptr() for name, tensor in tensors.items()},
        "grads": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "requires_grad": {name: p.requires_grad for name, p in model.named_parameters()},
        "training": {name: module.training for name, module in model.named_modules()},
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "hooks": {name: len(module._forward_hooks) for name, module in model.named_modules()},
        "keys": list(model.state_dict()),
    }


def assert_equal(a: Any, b: Any) -> None:
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


@pytest.mark.parametrize("training", [True, False])
def test_the_model(training: bool) -> None:
    model = make_model()
    model.training = training
    before, dropped = state(model), model.drop
    capture(model, Inputs.of(images()))
    assert_equal(state(model), before)
    assert model.drop is dropped


def test_the_random_state() -> None:
    model = make_model()
    before = torch.get_rng_state()
    capture(model, Inputs.of(images()))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_example_inputs() -> None:
    x = images().requires_grad_()
    version = x._version
    capture(make_model(), Inputs.of(x))
    assert torch.equal(x, images())
    assert x._version == version
    assert x.requires_grad
    assert x.grad is None


def test_examples_with_gradients_in_flight() -> None:
    x = images().requires_grad_() * 2
    capture(make_model(), Inputs.of(x))
    assert x.grad_fn is not None


def test_torch_itself() -> None:
    call, enabled = nn.Module.__call__, torch.is_grad_enabled()
    capture(make_model(), Inputs.of(images()))
    assert nn.Module.__call__ is call
    assert torch.is_grad_enabled() == enabled
    assert not torch.overrides._get_current_function_mode_stack()


def failing(m: Any, x: Tensor) -> Tensor:
    m.norm(m.conv(x))
    m.seen += 1
    raise RuntimeError("no")


def test_a_failing_model_is_left_as_it_was() -> None:
    model = make_model()
    model.body = failing
    before, call, random = state(model), nn.Module.__call__, torch.get_rng_state()
    with pytest.raises(CaptureError, match="fails on its example inputs"):
        capture(model, Inputs.of(images()))
    assert_equal(state(model), before)
    assert nn.Module.__call__ is call
    assert torch.equal(torch.get_rng_state(), random)
    assert not torch.overrides._get_current_function_mode_stack()


def test_guessing_changes_nothing_either() -> None:
    model = make_model()
    before, random = state(model), torch.get_rng_state()
    guess(model)
    assert_equal(state(model), before)
    assert torch.equal(torch.get_rng_state(), random)


def test_guessing_with_a_failing_model() -> None:
    model = make_model()
    model.body = failing
    before = state(model)
    with pytest.raises(Exception, match="no example inputs could be guessed"):
        guess(model)
    assert_equal(state(model), before)


def test_under_no_grad_and_inference_mode() -> None:
    model = make_model().eval()
    with torch.inference_mode():
        trace = capture(model, Inputs.of(images()))
    graph = trace.module("eval").eval()
    graph(images()).sum().backward()
    assert model.head.weight.grad is not None


def test_parameters_are_shared() -> None:
    model = make_model().eval()
    graph = capture(model, Inputs.of(images())).module("eval").eval()
    parameters = dict(graph.named_parameters())
    assert all(parameters[name] is parameter for name, parameter in model.named_parameters())
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.zero_()
    assert not graph(images()).any()


def test_two_captures_are_alike() -> None:
    model = make_model()
    first, second = (capture(model, Inputs.of(images())).graph for _ in range(2))
    assert str(first) == str(second)


def test_captures_do_not_depend_on_the_values() -> None:
    model = make_model()
    first = str(capture(model, Inputs.of(images())).graph)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert str(capture(model, Inputs.of(torch.zeros(4, 3, 6, 6))).graph) == first


def written(m: Any, x: Tensor) -> Tensor:
    with torch.no_grad():
        m.conv.weight.clamp_(-0.01, 0.01)
    return m.conv(x)


def replaced(m: Any, x: Tensor) -> Tensor:
    m.conv.weight.data = torch.renorm(m.conv.weight.data, 2, 0, 0.01)
    return m.conv(x)


def renormalised(m: Any, x: Tensor) -> Tensor:
    return m.table(x.abs().long() % 7)


@pytest.mark.parametrize("forward", [written, replaced, renormalised], ids=lambda each: each.__name__)
def test_a_parameter_that_forward_writes_is_put_back(forward: Any) -> None:
    """Weight constraints and renormalised tables: followed or refused, but nothing is left of it."""
    torch.manual_seed(0)
    model = Applied(forward, table=nn.Embedding(7, 5, max_norm=0.1))
    before = state(model)
    try:
        trace = capture(model, Inputs.of(images()))
    except CaptureError as error:
        assert "weight" in str(error)  # noqa: PT017  # a refusal that names it is as good
    else:
        assert_equal(state(model), before)
        with torch.no_grad():
            captured = trace.module("eval")(images())
            model.load_state_dict(before["values"])
            assert torch.equal(captured, model(images()))
            model.load_state_dict(before["values"])
    assert_equal(state(model), before)


def test_what_forward_keeps_on_the_model_is_taken_away() -> None:
    def keeps(m: Any, x: Tensor) -> Tensor:
        m.last = m.conv(x)
        m.calls = getattr(m, "calls", 0) + 1
        return m.last

    model = Applied(keeps)
    capture(model, Inputs.of(images()))
    assert not hasattr(model, "last")
    assert not hasattr(model, "calls")


def test_containers_of_the_model_are_as_they_were() -> None:
    class Keeps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.state: dict[str, Any] = {"sizes": [[1]], "batch": 0}
            self.seen: list[Any] = []
            self.names = {"a"}

        def forward(self, x: Tensor) -> Tensor:
            self.state["batch"] = x.shape[0]
            self.state["sizes"][0].append(x.shape[1])
            self.seen.append(x.shape)
            self.names.add("b")
            return self.layer(x)

    model = Keeps()
    capture(model, Inputs.of((torch.randn(2, 4),)))
    assert model.state == {"sizes": [[1]], "batch": 0}
    assert model.seen == []
    assert model.names == {"a"}
    pickle.dumps(model.state)
