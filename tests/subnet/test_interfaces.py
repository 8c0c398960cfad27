"""What goes in and comes out in every shape that people use, and modules called in every way."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
import torch.nn.functional as F
from probes import tensors
from torch import Tensor, nn
from torch.utils._pytree import tree_structure

import autosubnet
from autosubnet import AutoSubnet
from subnet.checks import example, left, settled, shrink, untouched, zero

X, Y = example(4, 6), example(4, 6, seed=2)


class Parts(nn.Module):
    """Three branches; ``c`` is the one that becomes zero."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(6, 6) for _ in range(3))

    def core(self, x: Tensor) -> Tensor:
        return F.gelu(self.a(x)) + self.b(x) + self.c(x)

    def forward(self, x: Tensor) -> Any:
        return self.core(x)


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


OUTPUTS: dict[str, Callable[[Parts, Tensor], Any]] = {
    "tensor": lambda m, x: m.core(x),
    "tuple": lambda m, x: (m.core(x), m.a(x)),
    "list": lambda m, x: [m.core(x), m.a(x)],
    "dict": lambda m, x: {"logits": m.core(x), "hidden": m.a(x)},
    "named tuple": lambda m, x: Pair(m.core(x), m.a(x)),
    "a named tuple in a dict": lambda m, x: {"both": Pair(m.core(x), m.a(x))},
    "a named tuple in another": lambda m, x: Pair(Pair(m.core(x), m.a(x)), x),
    "nested": lambda m, x: {"a": [m.core(x), (m.a(x),)], "b": None},
    "the same twice": lambda m, x: (y := m.core(x), y),
    "the input too": lambda m, x: (m.core(x), x),
    "a number": lambda m, x: (m.core(x), 3, "three", True),
    "a size": lambda m, x: (m.core(x), x.shape[0] * 2),
    "a view of the input": lambda m, x: (m.core(x), x[:, :2]),
    "a parameter": lambda m, x: (m.core(x), m.a.weight * 2),
    "a loss": lambda m, x: (m.core(x), m.core(x).square().mean()),
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_outputs(output: Callable[[Parts, Tensor], Any]) -> None:
    class Returns(Parts):
        def forward(self, x: Tensor) -> Any:
            return output(self, x)

    model = settled(Returns(), X)
    zero(model, ["c"])
    before = copy.deepcopy(model)
    subnet = autosubnet.remove_zeros(model, X)
    untouched(model, before)
    assert "c" not in left(subnet)
    for x in (X, example(7, 6, seed=5)):
        expected, got = model(x), subnet(x)
        assert tree_structure(got) == tree_structure(expected)
        assert type(got) is type(expected)
        for a, b in zip(tensors(expected), tensors(got), strict=True):
            assert torch.allclose(a, b, rtol=0, atol=1e-12)
    if isinstance(model(X), tuple) and not isinstance(model(X)[1], Tensor):
        assert subnet(example(7, 6))[1] == model(example(7, 6))[1]


class Takes(Parts):
    """Subclasses differ in their arguments only."""


class Default(Takes):
    def forward(self, x: Tensor, y: Tensor | None = None, *, scale: float = 1.0) -> Tensor:
        return self.core(x if y is None else x + y) * scale


class Several(Takes):
    def forward(self, *xs: Tensor) -> Tensor:
        return self.core(sum(xs))


class Keywords(Takes):
    def forward(self, **xs: Tensor) -> Tensor:
        return self.core(xs["x"] - xs["y"])


class Batch(Takes):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.core(batch["x"] - batch["y"])


class Listed(Takes):
    def forward(self, pyramid: list[Tensor]) -> Tensor:
        return self.core(pyramid[0] - pyramid[1])


class Flagged(Takes):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.core(x).masked_fill(mask, 0.0)


ARGUMENTS: dict[str, tuple[type[Takes], Any]] = {
    "a tensor": (Default, X),
    "a default": (Default, (X,)),
    "both": (Default, (X, Y)),
    "None": (Default, (X, None)),
    "keywords": (Default, {"x": X, "y": Y, "scale": 2.0}),
    "several": (Several, (X, Y)),
    "any keywords": (Keywords, {"x": X, "y": Y}),
    "a dict": (Batch, ({"x": X, "y": Y},)),
    "a list": (Listed, ([X, Y],)),
    "a mask": (Flagged, (X, X > 0)),
}


@pytest.mark.parametrize(("cls", "inputs"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(cls: type[Takes], inputs: Any) -> None:
    torch.manual_seed(0)
    model = cls().double().eval()
    zero(model, ["c"])
    subnet = autosubnet.remove_zeros(model, inputs)
    assert "c" not in left(subnet)
    args, kwargs = (
        ((), inputs) if isinstance(inputs, dict) else (inputs if isinstance(inputs, tuple) else (inputs,), {})
    )
    assert torch.allclose(subnet(*args, **kwargs), model(*args, **kwargs), rtol=0, atol=1e-12)
    assert AutoSubnet(model, inputs).groups


class Calls(nn.Module):
    """Modules of every kind of container, called in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.list = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)])
        self.dict = nn.ModuleDict({"x": nn.Linear(6, 6), "y.z".replace(".", "_"): nn.Linear(6, 6)})
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(6)), nn.Parameter(torch.ones(6))])
        self.table = nn.ParameterDict({"shift": nn.Parameter(torch.ones(6))})
        self.inner = nn.Sequential(OrderedDict(act=nn.GELU(), last=nn.Linear(6, 6)))

    def forward(self, x: Tensor) -> Tensor:
        for scale, layer in zip(self.scales, self.list, strict=True):
            x = x + scale * layer(input=x)
        x = x + self.dict["x"](x) + self.dict["y_z"].forward(x) + self.table["shift"]
        return self.inner(x) + F.linear(x, self.inner.last.weight)


@pytest.mark.parametrize(
    ("gone", "dead"),
    [
        (("list.0",), {"list.0"}),
        (("scales.1",), {"list.1"}),
        (("dict.x",), {"dict.x"}),
        (("dict.y_z",), {"dict.y_z"}),
        (("list.1", "dict.*"), {"list.1", "dict.x", "dict.y_z"}),
    ],
)
def test_containers_and_calls(gone: tuple[str, ...], dead: set[str]) -> None:
    subnet = shrink(settled(Calls(), X), (X,), *gone)
    assert not left(subnet) & dead


def double(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output * 2 + 1


def halve(module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(arg / 2 for arg in args)


@pytest.mark.parametrize("where", ["a", "b", "c"])
@pytest.mark.parametrize("kind", ["forward", "pre"])
def test_hooks_are_part_of_what_a_module_computes(kind: str, where: str) -> None:
    """A zero layer whose hook adds one is not zero; a layer with a hook is not what its class says."""
    model = settled(Parts(), X)
    module = model.get_submodule(where)
    module.register_forward_hook(double) if kind == "forward" else module.register_forward_pre_hook(halve)
    zero(model, ["c"])
    subnet = autosubnet.remove_zeros(model, X)
    assert torch.allclose(subnet(X), model(X), rtol=0, atol=1e-12)
    other = example(7, 6, seed=4)
    assert torch.allclose(subnet(other), model(other), rtol=0, atol=1e-12)
    if not (kind == "forward" and where == "c"):
        assert "c.weight" not in dict(subnet.named_parameters())


def test_a_forward_of_ones_own_on_an_instance() -> None:
    model = settled(Parts(), X)
    linear = model.c
    linear.forward = lambda x: F.linear(x, linear.weight, linear.bias) + 1.0
    zero(model, ["c"])
    subnet = autosubnet.remove_zeros(model, X)
    assert torch.allclose(subnet(X), model(X), rtol=0, atol=1e-12)


def test_a_subclass_of_a_known_layer_is_not_that_layer() -> None:
    class Shifted(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1.0

    model = Parts()
    model.c = Shifted(6, 6)
    subnet = shrink(settled(model, X), (X,), "c")
    assert left(subnet) == {"a", "b"}
    assert AutoSubnet(model, X).refused


@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated", "ignore:The .grad attribute of a Tensor")
def test_a_scripted_submodule_stays_whole() -> None:
    model = settled(Parts(), X)
    model.b = torch.jit.script(model.b)
    zero(model, ["c"])
    subnet = autosubnet.remove_zeros(model, X)
    assert torch.allclose(subnet(X), model(X), rtol=0, atol=1e-12)
    assert "c" not in left(subnet)


def test_a_module_inside_data_parallel_or_another_wrapper() -> None:
    class Wrapper(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return self.module(*args, **kwargs)

    subnet = shrink(settled(Wrapper(Parts()), X), (X,), "module.c")
    assert left(subnet) == {"module.a", "module.b"}


def test_a_lazy_module_is_refused_or_made() -> None:
    model = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    with pytest.raises(autosubnet.errors.AutoSubnetError):
        AutoSubnet(model, X.float())


def test_an_embedding_with_a_padding_row_is_not_zero() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(9, 6, padding_idx=0)
            self.places = nn.Embedding(20, 6)
            self.head = nn.Linear(6, 2)

        def forward(self, ids: Tensor) -> Tensor:
            places = self.places(torch.arange(ids.shape[1], device=ids.device))
            return self.head(self.words(ids) + places)

    ids = torch.tensor([[1, 2, 0, 0], [3, 4, 5, 0]])
    model = settled(Words(), ids)
    model.words.weight.data[0] = 0.0
    subnet = shrink(model, (ids,))
    assert subnet.get_submodule("words").padding_idx == 0
    subnet = shrink(settled(Words(), ids), (ids,), "places")
    assert left(subnet) == {"words", "head"}
    assert subnet(torch.ones(2, 5, dtype=torch.long)).shape == (2, 5, 2)


def test_eval_of_a_part_in_training() -> None:
    """A norm that is held in eval mode by ``train`` itself."""

    class Held(Parts):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(6)

        def train(self, mode: bool = True) -> Held:
            super().train(mode)
            self.norm.eval()
            return self

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.core(x))

    model = settled(Held(), X)
    zero(model, ["c"])
    subnet = autosubnet.remove_zeros(model, X)
    assert torch.allclose(subnet(X), model(X), rtol=0, atol=1e-12)
    mean = model.norm.running_mean.clone()
    assert torch.allclose(subnet.train()(X), model.train()(X), rtol=0, atol=1e-12)
    assert torch.equal(subnet.get_submodule("norm").running_mean, mean)
