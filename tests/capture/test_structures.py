"""Inputs and outputs of every structure that a model may have."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from autosubnet import AutoSubnet
from autosubnet.capture import MODES, Inputs, capture
from autosubnet.errors import CaptureError, InputError

from .capturing import Applied, check, images, rows


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 3), nn.Linear(4, 3)


def test_two_inputs() -> None:
    class Model(Two):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.a(x) * self.b(y)

    trace = check(Model(), rows(), rows(seed=1))
    assert [node.name for node in trace.graph.nodes if node.op == "placeholder"] == ["x", "y"]


class Optional(Two):
    def forward(self, x: Tensor, y: Tensor | None = None, scale: float = 2.0, *, flip: bool = False) -> Tensor:
        out = self.a(x) * scale
        if y is not None:
            out = out + self.b(y)
        return -out if flip else out


def test_defaults() -> None:
    check(Optional(), rows())


def test_none_given() -> None:
    check(Optional(), rows(), None)


def test_keywords() -> None:
    check(Optional(), x=rows(), y=rows(seed=1))


def test_positional_and_keywords() -> None:
    check(Optional(), rows(), y=rows(seed=1), scale=3.0, flip=True)


def test_keywords_out_of_order() -> None:
    check(Optional(), y=rows(seed=1), x=rows())


def test_variadic_arguments() -> None:
    class Model(Two):
        def forward(self, *tensors: Tensor, **named: Tensor) -> Tensor:
            return self.a(sum(tensors)) + self.b(named["extra"])

    check(Model(), rows(), rows(seed=1), extra=rows(seed=2))


@pytest.mark.parametrize("given", [(rows(), rows(seed=1)), [rows(), rows(seed=1)]], ids=["tuple", "list"])
def test_an_input_that_is_a_sequence(given: Any) -> None:
    class Model(Two):
        def forward(self, both: Any) -> Tensor:
            return self.a(both[0]) + self.b(both[1])

    check(Model(), given)


def test_an_input_that_is_a_dict() -> None:
    class Model(Two):
        def forward(self, batch: dict[str, Any]) -> Tensor:
            return self.a(batch["x"]) + self.b(batch["more"]["y"][0])

    check(Model(), {"x": rows(), "more": {"y": [rows(seed=1)]}})


def test_an_input_that_is_a_named_tuple() -> None:
    class Model(Two):
        def forward(self, pair: Pair) -> Tensor:
            first, second = pair
            return self.a(first) + self.b(second)

    check(Model(), Pair(rows(), rows(seed=1)))


def test_integer_and_floating_inputs() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.layer = nn.Embedding(5, 4), nn.Linear(4, 4)

        def forward(self, ids: Tensor, x: Tensor, mask: Tensor) -> Tensor:
            return (self.table(ids) + self.layer(x)).masked_fill(mask.unsqueeze(-1) == 0, -1)

    check(Model(), torch.randint(5, (3,)), rows(), torch.tensor([1, 0, 1]))


def test_an_input_without_dimensions() -> None:
    class Model(Two):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.a(x) * t

    check(Model(), rows(), torch.tensor(0.5))


def test_an_input_that_nobody_reads() -> None:
    class Model(Two):
        def forward(self, x: Tensor, unused: Tensor) -> Tensor:
            return self.a(x)

    check(Model(), rows(), rows(seed=1))


def test_inputs_of_different_batch_sizes() -> None:
    class Model(Two):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.a(x) + self.b(y).mean(0)

    trace = capture(Model(), Inputs.of((rows(3), rows(5))))
    assert trace.frozen == ("batch size: the inputs share no first dimension",)


OUTPUTS: dict[str, Any] = {
    "tuple": lambda y, z: (y, z),
    "list": lambda y, z: [y, z],
    "dict": lambda y, z: {"y": y, "z": z},
    "named tuple": lambda y, z: Pair(y, z),
    "nested": lambda y, z: {"a": [y, (z, y)], "b": {"c": z}},
    "the same twice": lambda y, z: (y, y),
    "none among them": lambda y, z: (y, None, z),
    "numbers": lambda y, z: (y, 3, "name", True, 0.5),
    "a size": lambda y, z: (y, y.shape[0]),
    "a shape": lambda y, z: (y, *y.shape[1:]),
    "a view and its base": lambda y, z: (y, y[:, 0]),
    "chunks": lambda y, z: y.chunk(2, 1),
    "values and indices": lambda y, z: y.max(1),
    "a tuple of one": lambda y, z: (y,),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs(name: str) -> None:
    check(Applied(lambda m, x: OUTPUTS[name](m.conv(x), m.conv(x).relu())), images())


def test_the_input_returned_beside() -> None:
    check(Applied(lambda m, x: (m.conv(x), x)), images())


def test_a_weight_returned_beside() -> None:
    check(Applied(lambda m, x: (m.conv(x), m.conv.weight)), images())


@dataclass
class Result:
    logits: Tensor
    hidden: tuple[Tensor, ...] | None = None


class Fancy(OrderedDict[str, Tensor]):
    """A dict of its own kind."""


@pytest.mark.parametrize(
    "output",
    [
        lambda x, y: Result(x),
        lambda x, y: Result(x, (y, x)),
        lambda x, y: {"result": Result(y), "other": [x]},
        lambda x, y: Fancy(x=x, y=y),
        lambda x, y: OrderedDict(y=y, x=x),
    ],
)
def test_containers_of_other_classes_stay_what_they_are(output: Any) -> None:
    model = Applied(lambda m, x: output(m.conv(x), m.conv(x).relu()))
    trace = capture(model, Inputs.of(images()))
    for mode in MODES:
        expected, got = model(images()), trace.module(mode)(images())
        assert type(expected) is type(got)
        assert repr(expected) == repr(got)


def test_an_output_of_another_kind_is_refused() -> None:
    class Strange:
        pass

    with pytest.raises(CaptureError, match="returns a Strange; let it return tensors, or tuples, lists, dicts or"):
        capture(Applied(lambda m, x: Strange()), Inputs.of(images()))


def test_inputs_of_another_kind_are_refused() -> None:
    with pytest.raises(InputError, match="example_inputs is a int; pass a tensor, a tuple"):
        Inputs.of(3)


def test_inputs_know_their_tensors_and_batch() -> None:
    inputs = Inputs.of((rows(3), {"a": [rows(3), None]}, 4))
    assert len(inputs.tensors()) == 2
    assert inputs.batch() == 3
    assert Inputs.of({"x": rows(3), "t": torch.tensor(1.0)}).batch() == 3
    assert Inputs.of((rows(3), rows(4))).batch() is None


class States(NamedTuple):
    h: Tensor
    c: Tensor


def test_a_named_tuple_of_tensors_as_an_argument() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        first = m.start(x[:, 0])[None].contiguous()
        y, _ = m.lstm(x, States(first, first * 2))
        return torch.cat(States(y, x), 2)

    check(Applied(body, lstm=nn.LSTM(4, 5, batch_first=True), start=nn.Linear(4, 5)), torch.randn(3, 6, 4))


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        lengths = torch.full((x.size(0),), 4)
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]


def test_a_packed_sequence_makes_the_module_around_it_opaque() -> None:
    trace = check(Applied(lambda m, x: m.packed(x) * 2, packed=Packed()), torch.randn(3, 6, 4))
    assert "packed" in {node.target for node in trace.graph.nodes}


def test_a_packed_sequence_in_the_model_itself_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"a packed sequence enters module 'lstm' at .*; move it"):
        capture(Packed(), Inputs.of((torch.randn(3, 6, 4),)))


class Fields(dict[str, Any]):
    """A dict whose entries are attributes too, as users like them."""

    __getattr__ = dict.get


def by_class(m: Any, batch: Any) -> Tensor:
    x = m.a(batch["x"])
    return x * batch.scale if isinstance(batch, Fields) else x


def test_inputs_keep_their_class() -> None:
    model = Applied(by_class, a=nn.Linear(4, 4))
    batch = Fields(x=torch.randn(3, 4), scale=torch.rand(3, 1))
    subnet = AutoSubnet(model, (batch,)).construct_subnet()
    torch.testing.assert_close(subnet(batch), model(batch))


@dataclass
class Batch:
    x: Tensor
    more: Any
    name: str = "batch"


def test_dataclasses_as_inputs() -> None:
    def body(m: Any, batch: Batch) -> Tensor:
        return m.a(batch.x) + m.b(batch.more["y"][0]) * batch.more["scale"]

    model = Applied(body, a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    batch = Batch(torch.randn(3, 4), {"y": [torch.randn(3, 4)], "scale": torch.rand(3, 1)})
    oto = AutoSubnet(model, (batch,))
    assert {group.name for group in oto.groups} == {"a", "b"}
    oto.random_set_zero_groups(0.5)
    subnet = oto.construct_subnet()
    torch.testing.assert_close(subnet(batch), model(batch))


class Defaults(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor, scale: Any = None, *, y: Tensor, **more: Any) -> Tensor:
        return self.a(x) + self.b(x) * more["gate"] + y


def test_arguments_without_a_default_behind_one_that_has_one() -> None:
    x = torch.randn(3, 4)
    oto = AutoSubnet(Defaults(), {"x": x, "scale": None, "y": x, "gate": x, "flag": True})
    oto.random_set_zero_groups(0.5)
    subnet = oto.construct_subnet()
    torch.testing.assert_close(subnet(x, y=x, gate=x), oto.model(x, y=x, gate=x))


class Graph(nn.Module):
    """Passes messages along the edges of a sparse matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        return x + self.b(x) + torch.sparse.mm(adjacency, self.a(x))


class Bags(nn.Module):
    """Takes row numbers that begin with zero and do not fall."""

    def __init__(self) -> None:
        super().__init__()
        self.bag, self.a = nn.EmbeddingBag(9, 4), nn.Linear(4, 4)

    def forward(self, ids: Tensor, offsets: Tensor) -> Tensor:
        x = self.bag(ids, offsets)
        return x + self.a(x)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_inputs(layout: torch.layout) -> None:
    model = Graph()
    inputs = (torch.randn(5, 4), torch.eye(5).to_sparse(layout=layout))
    oto = AutoSubnet(model, inputs)
    assert [group.name for group in oto.groups] == ["b"]
    oto.random_set_zero_groups(1.0)
    torch.testing.assert_close(oto.construct_subnet()(*inputs), model(*inputs))


def test_inputs_of_which_no_other_values_are_taken() -> None:
    model = Bags()
    inputs = (torch.randint(0, 9, (7,)), torch.tensor([0, 3]))
    oto = AutoSubnet(model, inputs)
    assert "frozen: values: the model refuses others, so none were tried" in oto.notes
    oto.random_set_zero_groups(1.0)
    torch.testing.assert_close(oto.construct_subnet()(*inputs), model(*inputs))
