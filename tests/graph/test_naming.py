"""Names of vertices and segments, in models whose own names are those of operators or of the graph."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from autosubnet import AutoSubnet
from autosubnet.graph.naming import described, path_of

X = torch.randn(3, 6)


class Block(nn.Module):
    """A residual block of two layers in a container."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(6, 6) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers[0](self.layers[1](x).relu())


class Blocks(nn.Module):
    """Blocks with names, one after the other."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = names
        for name in names:
            self.add_module(name, Block())
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        for name in self.names:
            x = self.get_submodule(name)(x)
        return self.head(x)


class Named(nn.Module):
    """A sum, and a branch whose layers are in a container with a name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, nn.ModuleList(nn.Linear(6, 6) for _ in range(2)))
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.get_submodule(self.name)
        return self.head(x + second(first(x).relu()))


class Mixing(nn.Module):
    """A joint that holds a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.addcmul(x, y, self.weight)


class Mixed(nn.Module):
    """A joint, in a module with a name, behind a layer."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.a, self.head = nn.Linear(6, 6), nn.Linear(6, 2)
        self.add_module(name, Mixing())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.get_submodule(self.name)(x, self.a(x)))


@pytest.mark.parametrize("name", ["add", "add_1", "relu", "output", "x", "layers", "_"])
def test_containers_named_like_vertices(name: str) -> None:
    oto = AutoSubnet(Named(name), X)
    names = [segment.name for segment in oto.graph.segments]
    assert len(set(names)) == len(names) == 3
    (group,) = oto.groups
    assert group.num_params == 84
    oto.random_set_zero_groups(target_group_sparsity=1.0)
    assert oto.construct_subnet().meta["autosubnet"].num_params == (98, 14)


@pytest.mark.parametrize("name", ["last", "output", "add", "output_1"])
def test_a_joint_in_a_module_named_like_the_output(name: str) -> None:
    oto = AutoSubnet(Mixed(name), X)
    assert [group.name for group in oto.groups] == ["a"]
    assert not oto.refused


@pytest.mark.parametrize("kind", [nn.Linear, nn.BatchNorm1d, nn.PReLU])
def test_a_last_layer_named_output(kind: type[nn.Module]) -> None:
    model = nn.Sequential()
    model.add_module("block", Block())
    model.add_module("output", kind(6, 6) if kind is nn.Linear else kind(6))
    oto = AutoSubnet(model, X)
    assert len(oto.graph.vertex) == len(oto.graph.vertices)
    assert len(oto.graph.to_networkx()) == len(oto.graph.vertices)
    assert [segment.name for segment in oto.graph.segments][-1] == "output"
    for view in ("trace", "segments", "groups"):
        assert "<svg" in oto.visualize(view).svg
    oto.random_set_zero_groups(target_group_sparsity=1.0)
    subnet = oto.construct_subnet()
    assert torch.equal(subnet.eval()(X), model.eval()(X))


def test_paths_are_of_the_module_and_not_of_its_letters() -> None:
    oto = AutoSubnet(Blocks("a", "m", "blk", "1"), X)
    joints = [segment.name for segment in oto.graph.segments if "add" in segment.name]
    assert joints == ["a.add", "m.add_1", "blk.add_2", "1.add_3"]


def test_a_module_that_is_called_twice_has_one_path() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.a, self.head = nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.act(x) + self.act(self.a(x)))

    oto = AutoSubnet(Twice(), X)
    calls = [vertex for vertex in oto.graph.vertices if vertex.path == "act"]
    assert [vertex.name for vertex in calls] == ["act", "act_1"]


def test_what_is_said_of_a_vertex() -> None:
    nodes = {node.name: node for node in AutoSubnet(Blocks("a"), X)._trace.graph.nodes}
    assert path_of(nodes["add"]) == "a.add"
    assert path_of(nodes["a_layers_0"]) == "a.layers.0"
    assert described(nodes["add"]) == "'add' (in module 'a')"
