"""Segments: where they begin and end, how they are named, and vertices' kinds (OTOv3, Section 3.1)."""

from __future__ import annotations

import pytest
import torch
from oracles import paper_segments
from torch import Tensor, nn

from autosubnet import AutoSubnet
from autosubnet.graph.dependency import DependencyGraph
from autosubnet.ops.kind import Kind


class Parts(nn.Module):
    """Four linear layers for subclasses to connect."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(4, 4) for _ in range(4))


def graph_of(cls: type[Parts], *inputs: Tensor) -> DependencyGraph:
    graph = AutoSubnet(cls(), inputs or (torch.randn(3, 4),)).graph
    assert sorted(s.vertices for s in graph.segments) == sorted(map(tuple, paper_segments(graph.to_networkx())))
    return graph


def vertices(graph: DependencyGraph) -> dict[str, tuple[str, ...]]:
    return {segment.name: segment.vertices for segment in graph.segments}


class Chain(Parts):
    def forward(self, x: Tensor) -> Tensor:
        return self.d(self.c(self.b(self.a(x).relu())))


def test_a_chain_is_one_segment() -> None:
    graph = graph_of(Chain)
    assert vertices(graph) == {"a": ("a", "relu", "b", "c", "d")}
    assert graph.segments[0].outgoing == ("output",)


class Fork(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.b(y) + self.c(y)


def test_a_vertex_with_several_readers_ends_its_segment() -> None:
    graph = graph_of(Fork)
    assert vertices(graph) == {"a": ("a",), "b": ("b",), "c": ("c",), "add": ("add",)}
    assert graph.segment["a"].outgoing == ("b", "c")
    assert graph.segment["add"].incoming == ("b", "c")


class Inputs(Parts):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.a(x) + self.b(x) + y


def test_inputs_are_in_no_segment() -> None:
    graph = graph_of(Inputs, torch.randn(3, 4), torch.randn(3, 4))
    assert vertices(graph) == {"a": ("a",), "b": ("b",), "add": ("add",), "add_1": ("add_1",)}
    assert graph.segment["add_1"].incoming == ("add",)
    assert [graph.vertex[name].kind for name in ("x", "y", "output")] == [Kind.INPUT, Kind.INPUT, Kind.OUTPUT]


class Twice(Parts):
    """An output that is also read goes on to two places."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.a(x)
        return y, self.b(y)


def test_an_output_is_a_reader() -> None:
    graph = graph_of(Twice)
    assert vertices(graph) == {"a": ("a",), "b": ("b",)}
    assert set(graph.segment["a"].outgoing) == {"b", "output"}


class Strange(Parts):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.erfinv(torch.tanh(self.a(x)))) + self.c(x)


def test_an_unknown_vertex_goes_along() -> None:
    graph = graph_of(Strange)
    assert graph.vertex["erfinv"].kind is Kind.UNKNOWN
    assert graph.segment["a"].vertices == ("a", "tanh", "erfinv", "b")


class Weights(Parts):
    """What merely computes a weight belongs to the vertex that reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.u, self.v = nn.Parameter(torch.randn(4, 2)), nn.Parameter(torch.randn(2, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + nn.functional.linear(x, self.u @ self.v)


def test_a_computed_weight_is_no_vertex() -> None:
    graph = graph_of(Weights)
    assert "matmul" not in graph.vertex
    assert graph.vertex["linear"].variables == ("u", "v")
    assert graph.vertex["linear"].inputs == ("x",)


class SelfSum(Parts):
    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.b(y + y)


def test_a_tensor_added_to_itself_counts_once() -> None:
    """No joint: a joint has several inputs (Section 3.1), and one that is gone leaves nothing."""
    oto = AutoSubnet(SelfSum(), torch.randn(3, 4))
    assert oto.graph.vertex["add"].kind is Kind.ACCESSORY
    assert oto.groups == ()


class Nested(nn.Module):
    """Two segments whose variables lie in the same module."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Fork()
        self.side = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x) + self.side(x)


def test_names_are_unique_and_those_of_modules_where_they_can_be() -> None:
    graph = AutoSubnet(Nested(), torch.randn(3, 4)).graph
    names = [segment.name for segment in graph.segments]
    assert names == sorted(set(names), key=names.index)
    assert {"block.a", "block.b", "block.c", "side"} <= set(names)
    assert graph.segment["side"].variables == ("side.0.weight", "side.0.bias", "side.2.weight", "side.2.bias")


KINDS = {
    "Conv2d": (nn.Conv2d(3, 4, 1), Kind.STEM),
    "ConvTranspose2d": (nn.ConvTranspose2d(3, 4, 1), Kind.STEM),
    "Linear": (nn.Linear(6, 4), Kind.STEM),
    "BatchNorm2d": (nn.BatchNorm2d(3), Kind.ACCESSORY),
    "GroupNorm": (nn.GroupNorm(3, 3), Kind.ACCESSORY),
    "LayerNorm": (nn.LayerNorm(6), Kind.ACCESSORY),
    "ReLU": (nn.ReLU(), Kind.ACCESSORY),
    "Sigmoid": (nn.Sigmoid(), Kind.ACCESSORY),
    "Softmax": (nn.Softmax(1), Kind.ACCESSORY),
    "MaxPool2d": (nn.MaxPool2d(2), Kind.ACCESSORY),
    "Dropout": (nn.Dropout(), Kind.ACCESSORY),
    "Upsample": (nn.Upsample(scale_factor=2), Kind.ACCESSORY),
    "Flatten": (nn.Flatten(), Kind.ACCESSORY),
    "PReLU": (nn.PReLU(), Kind.ACCESSORY),
    "Identity": (nn.Identity(), Kind.ACCESSORY),
}


@pytest.mark.parametrize(("module", "kind"), KINDS.values(), ids=KINDS)
def test_kinds_of_layers(module: nn.Module, kind: Kind) -> None:
    graph = AutoSubnet(nn.Sequential(module), torch.randn(2, 3, 6, 6)).graph
    (vertex,) = [each for each in graph.vertices if each.kind not in (Kind.INPUT, Kind.OUTPUT)]
    assert vertex.kind is kind
    assert vertex.label == type(module).__name__


@pytest.mark.parametrize("function", [torch.add, torch.sub, torch.mul, torch.div, torch.matmul, torch.maximum])
def test_functions_of_two_tensors_are_joints(function: object) -> None:
    class Joint(Parts):
        def forward(self, x: Tensor) -> Tensor:
            return function(self.a(x), self.b(x).t() if function is torch.matmul else self.b(x))

    graph = AutoSubnet(Joint(), torch.randn(4, 4)).graph
    assert [v.kind for v in graph.vertices if v.label == function.__name__] == [Kind.JOINT]


def test_three_tensors_are_one_joint() -> None:
    class Joint(Parts):
        def forward(self, x: Tensor) -> Tensor:
            chosen = torch.where(x > 0, self.a(x), self.b(x))
            return nn.functional.scaled_dot_product_attention(chosen[None], self.c(x)[None], self.d(x)[None])

    graph = AutoSubnet(Joint(), torch.randn(4, 4)).graph
    assert graph.vertex["where"].kind is Kind.JOINT
    assert graph.vertex["scaled_dot_product_attention"].kind is Kind.JOINT


def test_a_buffer_that_train_mode_writes_is_no_value_of_eval_mode() -> None:
    """There it depends on nothing, and is no vertex."""

    class Queue(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
            self.register_buffer("queue", torch.zeros(6, 4))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.a(x)
            if self.training:
                self.queue[0] = x.mean(0)
            return self.head(y), y @ self.queue.t()

    graph = AutoSubnet(Queue(), torch.randn(3, 4)).graph
    transposed = [vertex for vertex in graph.vertices if vertex.label == "t"]
    assert [vertex.inputs != () for vertex in transposed] == [True]
