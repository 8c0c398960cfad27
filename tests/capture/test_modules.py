"""Modules that are not what their class says, are used twice, or share their weights."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune, remove_weight_norm, spectral_norm, weight_norm

from autosubnet.capture import Trace

from .capturing import Applied, check, images, rows


def leaves(trace: Trace) -> list[str]:
    return [str(node.target) for node in trace.graph.nodes if node.op == "call_module"]


def parameters_read(trace: Trace) -> set[str]:
    return {str(node.target) for node in trace.graph.nodes if node.op == "get_attr"}


def stack(**options: Any) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.ReLU(**options), nn.Linear(5, 3))


def test_plain_modules_are_leaves() -> None:
    assert leaves(check(stack(), rows())) == ["0", "1", "2"]


@pytest.mark.parametrize("kind", [nn.Identity, lambda: nn.Dropout(0.0), lambda: nn.Dropout(0.5)])
def test_what_returns_its_input_is_read_by_its_own_readers_alone(kind: Any) -> None:
    """One tensor, several readers: an identity in front of one of them is none in front of the others."""

    def body(m: Any, x: Tensor) -> Tensor:
        x = m.conv(x)
        return m.one(x) + m.left(x) + (m.two(x) * 2 + m.right(x))

    parts = {"one": kind(), "two": kind(), "left": nn.Conv2d(4, 4, 1), "right": nn.Conv2d(4, 4, 1)}
    trace = check(Applied(body, **parts), images())
    reads = {str(node.target): node.args[0] for node in trace.graph.nodes if node.op == "call_module"}
    assert {str(reads[name]) for name in ("one", "two", "left", "right")} == {"conv"}


def test_a_forward_hook_is_followed() -> None:
    model = stack()
    model[0].register_forward_hook(lambda module, args, output: output * 2)
    assert "0" not in leaves(check(model, rows()))


def test_a_forward_hook_that_only_looks() -> None:
    model, seen = stack(), []
    model[1].register_forward_hook(lambda module, args, output: seen.append(output.shape))
    check(model, rows())


def test_a_pre_hook_is_followed() -> None:
    model = stack()
    model[2].register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    assert "2" not in leaves(check(model, rows()))


def test_a_pre_hook_with_keywords() -> None:
    model = nn.MultiheadAttention(4, 2, batch_first=True)
    model.register_forward_pre_hook(lambda module, args, kwargs: ((args[0] * 2, *args[1:]), kwargs), with_kwargs=True)

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x, x, x, need_weights=False)[0]

    check(Outer(), torch.randn(2, 3, 4))


def test_hooks_of_the_model_itself() -> None:
    model = stack()
    model.register_forward_hook(lambda module, args, output: output + 1)
    model.register_forward_pre_hook(lambda module, args: (args[0].relu(),))
    check(model, rows())


def test_hooks_of_a_container() -> None:
    model = nn.Sequential(stack(), nn.Linear(3, 2))
    model[0].register_forward_hook(lambda module, args, output: output.tanh())
    check(model, rows())


def test_a_hook_on_gradients_leaves_a_leaf() -> None:
    model = stack()
    model[0].register_full_backward_hook(lambda module, grad_input, grad_output: None)
    check(model, rows())


def test_global_hooks_are_followed() -> None:
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, args, output: output * 2 if isinstance(module, nn.Linear) else output
    )
    try:
        check(stack(), rows())
    finally:
        handle.remove()


def test_pruning_masks() -> None:
    model = stack()
    prune.random_unstructured(model[0], "weight", 0.5)
    prune.ln_structured(model[2], "weight", 0.4, n=2, dim=0)
    prune.l1_unstructured(model[2], "bias", 1)
    trace = check(model, rows())
    assert {"0.weight_orig", "0.weight_mask", "2.bias_orig"} <= parameters_read(trace)


def test_a_pruned_convolution() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    prune.random_structured(model[0], "weight", 2, dim=0)
    check(model, images())


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_of_old(dim: int | None) -> None:
    model = stack()
    model[0] = weight_norm(nn.Linear(4, 5), dim=dim)
    assert {"0.weight_g", "0.weight_v"} <= parameters_read(check(model, rows()))
    remove_weight_norm(model[0])


def test_weight_norm() -> None:
    model = nn.Sequential(parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.Flatten(), nn.Linear(64, 2))
    names = parameters_read(check(model, images()))
    assert {"0.parametrizations.weight.original0", "0.parametrizations.weight.original1"} <= names


def test_spectral_norm_of_old() -> None:
    model = stack()
    model[0] = spectral_norm(nn.Linear(4, 5))
    check(model, rows())


def test_spectral_norm() -> None:
    model = stack()
    model[0] = parametrizations.spectral_norm(nn.Linear(4, 5))
    check(model, rows())


def test_orthogonal() -> None:
    model = stack()
    model[0] = parametrizations.orthogonal(nn.Linear(4, 4))
    model[2] = nn.Linear(4, 3)
    check(model, rows())


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).transpose(-1, -2)


def test_a_parametrization_of_the_users_own() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    parametrize.register_parametrization(model[0], "weight", Symmetric())
    assert "0.parametrizations.weight.original" in parameters_read(check(model, rows()))


class Doubling(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) * 2


class Named(nn.Linear):
    """A subclass that adds nothing."""


def test_a_subclass_is_followed() -> None:
    model = stack()
    model[0], model[2] = Doubling(4, 5), Named(5, 3)
    assert leaves(check(model, rows())) == ["1"]


def test_a_forward_set_on_the_instance() -> None:
    model = stack()
    model[1].forward = lambda x: x * 0.5
    assert "1" not in leaves(check(model, rows()))


def test_a_weight_replaced_by_a_plain_tensor() -> None:
    model = stack()
    del model[0].weight
    model[0].weight = torch.randn(5, 4)
    check(model, rows())


def test_tied_weights_keep_their_first_name() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(7, 4)
            self.head = nn.Linear(4, 7, bias=False)
            self.head.weight = self.embed.weight

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(self.embed(ids).mean(1))

    trace = check(Tied(), torch.randint(7, (2, 5)))
    assert trace.name_of("head", "weight") == "embed.weight"
    assert trace.attribute("head") is trace.model.head


def test_a_module_used_twice_is_one() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.layer(self.norm(self.layer(x)).relu()))

    assert leaves(check(Twice(), rows())) == ["layer", "norm", "layer", "norm"]


def test_a_module_under_two_names_is_one() -> None:
    model = stack()
    model.append(model[1])
    model.append(nn.Linear(3, 3))
    assert leaves(check(model, rows())) == ["0", "1", "2", "1", "4"]
