"""DartsRnn, its genotypes and the networks derived from them, against DARTS and SparseNAS."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, layer_norm

import autosubnet
from autosubnet import supernets
from autosubnet.errors import InputError, NonFiniteError
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.optim import AdamHAPG, LambdaPath, first_order_gradient, second_order_gradient
from autosubnet.supernets import (
    NO_DROPOUT,
    DartsRnn,
    DartsRnnNetwork,
    Dropouts,
    RecurrentGenotype,
    recurrent_genotype,
    unroll,
)
from autosubnet.supernets.darts_recurrent import ACTIVATIONS, SPACE
from autosubnet.training.sequences import columns, perplexity, windows
from autosubnet.training.text import python_topics

SMALL = {1: (("tanh", 0), ("identity", 0)), 4: (("relu", 1),), 7: (("sigmoid", 4), ("tanh", 0), ("relu", 0))}
DARTS = RecurrentGenotype(  # of DARTS' code
    {
        1: (("relu", 0),),
        2: (("relu", 1),),
        3: (("tanh", 2),),
        4: (("relu", 3),),
        5: (("relu", 4),),
        6: (("identity", 1),),
        7: (("relu", 5),),
        8: (("relu", 1),),
    }
)
NAME = "cell.architecture"


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def tiny(seed: int = 0, size: int = 6, **options: Any) -> DartsRnn:
    """In double precision, with weights large enough for gates to differ from a half."""
    torch.manual_seed(seed)
    model = DartsRnn(30, size, **options).double()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.5)
    return model


def states(batch: int = 3, size: int = 6) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, size, dtype=torch.float64), torch.randn(batch, size, dtype=torch.float64)


def clear_outgoing(architecture: Tensor) -> None:
    """As ``derive(outgoing)``: what reads a node of which nothing is left goes too, and so on."""
    for node in SPACE.inner:
        if not architecture[list(SPACE.rows(node))].any():
            architecture[list(SPACE.rows_from(node))] = 0


# ---------------------------------------------------------------------- sizes


def test_penn_treebank() -> None:
    """Table 3 of SparseNAS: 23 M parameters, whatever the paths; DARTS searches at 300."""
    everything = {node: tuple((name, i) for i in range(node) for name in ACTIVATIONS) for node in SPACE.inner}
    with torch.device("meta"):
        supernet = supernets.create("darts_rnn")
        derived = [DartsRnnNetwork(genotype) for genotype in (DARTS, RecurrentGenotype(everything))]
    assert [count(network) for network in derived] == [22_960_000] * 2
    assert supernet.cell.architecture.shape == (36, 4)
    assert count(supernet) == 10_000 * 300 + 10_000 + 600 * 600 + 8 * 300 * 600 + 36 * 4
    assert supernet.decoder.weight is supernet.encoder.weight


def test_rows_of_nodes() -> None:
    assert [len(SPACE.rows(node)) for node in SPACE.inner] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert list(SPACE.rows(3)) == [3, 4, 5]
    assert SPACE.rows_from(0) == (0, 1, 3, 6, 10, 15, 21, 28)
    assert SPACE.rows_from(7) == (35,)
    assert SPACE.rows_from(8) == ()
    with pytest.raises(InputError, match="inner nodes 1, 2, 3, 4, 5, 6, 7, 8, got 0"):
        SPACE.rows(0)


def test_every_path_starts_alike() -> None:
    assert DartsRnn(9, 4).cell.architecture.eq(1 / 4).all()
    assert DartsRnn(9, 4, initial_weight=0.1).cell.architecture.eq(0.1).all()


# ---------------------------------------------------------------------- the cell


@pytest.mark.parametrize("masked", [False, True])
def test_a_step_of_the_supernet(masked: bool) -> None:
    """SparseNAS, Eq. 1, with all nodes ahead at once, as DARTS' code has it."""
    cell = tiny().cell
    x, h = states()
    mask = torch.tensor([0.0, 2, 2, 0, 2, 2], dtype=torch.float64).expand(3, 6) if masked else None
    seen = torch.ones(()) if mask is None else mask
    c, g = (torch.cat([x, h * seen], -1) @ cell.first.linear.weight.T).split(6, -1)
    read = layer_norm(h + c.sigmoid() * (g.tanh() - h), (6,))[None]
    nodes = []
    for node in SPACE.inner:
        c, g = ((read * seen) @ cell.linears[str(node)].weight.T).split(6, -1)
        options = torch.stack([read + c.sigmoid() * (f - read) for f in (g.tanh(), g.relu(), g.sigmoid(), g)], 1)
        weights = cell.architecture[list(SPACE.rows(node))]
        nodes.append(torch.einsum("ik,ikbs->bs", weights, options))
        read = torch.cat([read, layer_norm(nodes[-1], (6,))[None]])
    torch.testing.assert_close(cell(x, h, mask), torch.stack(nodes).mean(0))


def test_a_step_of_darts_own_genotype() -> None:
    """DARTS' code, with a mask on what matrices read."""
    torch.manual_seed(0)
    cell = DartsRnnNetwork(DARTS, 9, 6).double().cell
    x, h = states()
    mask = torch.rand(3, 6, dtype=torch.float64)
    c, g = (torch.cat([x, h * mask], -1) @ cell.first.linear.weight.T).split(6, -1)
    nodes = [h + c.sigmoid() * (g.tanh() - h)]
    functions = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid, "identity": torch.clone}
    for node, ((name, source),) in DARTS.recurrent.items():
        s = nodes[source]
        c, g = ((s * mask) @ cell.linears[str(node)].weight.T).split(6, -1)
        nodes.append(s + c.sigmoid() * (functions[name](g) - s))
    torch.testing.assert_close(cell(x, h, mask), torch.stack(nodes[1:]).mean(0))


def test_several_paths_are_averaged_as_are_living_nodes() -> None:
    one, two = (("tanh", 0),), (("relu", 0),)
    torch.manual_seed(0)
    cells = [DartsRnnNetwork(RecurrentGenotype({3: paths}), 9, 6).cell for paths in (one, two, one + two)]
    both = DartsRnnNetwork(RecurrentGenotype({5: two, 3: one}), 9, 6).cell
    for cell in cells[1:]:
        cell.load_state_dict(cells[0].state_dict())
    both.first.load_state_dict(cells[0].first.state_dict())
    for linear in both.linears.values():
        linear.load_state_dict(cells[0].linears["3"].state_dict())
    x, h = torch.randn(2, 6), torch.randn(2, 6)
    average = (cells[0](x, h) + cells[1](x, h)) / 2
    torch.testing.assert_close(cells[2](x, h), average)
    torch.testing.assert_close(both(x, h), average)


@pytest.mark.parametrize("training", [True, False])
def test_states_stay_bounded(training: bool) -> None:
    model = tiny().train(training)
    with torch.no_grad():
        outputs = unroll(model.cell, torch.randn(300, 2, 6, dtype=torch.float64), states(2)[1])
    assert outputs[100:].abs().max() < 3 * outputs[:100].abs().max()


# ---------------------------------------------------------------------- zeros


@pytest.mark.parametrize(("seed", "dead"), [(0, ()), (1, (1,)), (2, (3, 8)), (3, (2, 4, 5)), (4, (1, 2, 3, 4, 6, 7))])
def test_paths_with_zero_weights_are_compiled_away(seed: int, dead: tuple[int, ...]) -> None:
    """Exact over a sequence, and what is left is the genotype."""
    model = tiny(seed)
    architecture = model.cell.architecture
    with torch.no_grad():
        architecture[torch.rand(architecture.shape) < 0.6] = 0
        for node in dead:
            architecture[list(SPACE.rows(node))] = 0
        clear_outgoing(architecture)
    subnet = autosubnet.remove_zeros(model.cell, states())
    found = recurrent_genotype(model)
    assert not set(found.recurrent) & set(dead)
    row, column = SPACE.edges.index, list(ACTIVATIONS).index
    paths = {(row((i, node)), column(name)) for node, into in found.recurrent.items() for name, i in into}
    weight = next(node for node in subnet.graph.nodes if node.target == "architecture")
    assert {read.args[1] for read in weight.users} == paths == set(map(tuple, architecture.nonzero().tolist()))
    left = {name.split(".")[1] for name, _ in subnet.named_parameters() if name.startswith("linears.")}
    assert left == {str(node) for node in found.recurrent}
    with torch.no_grad():
        for training in (True, False):
            model.train(training), subnet.train(training)
            inputs, start = torch.randn(10, 5, 6, dtype=torch.float64), states(5)[1]
            expected, actual = unroll(model.cell, inputs, start), unroll(subnet, inputs, start)
            assert (actual - expected).abs().max() <= 1e-12 * expected.abs().max()
            assert expected.std() > 0.01


def test_what_reads_a_dead_node() -> None:
    """It is zero for all activations but the sigmoid, whose path is a constant then."""
    model = tiny()
    architecture, into = model.cell.architecture, SPACE.edges.index
    with torch.no_grad():
        architecture[list(SPACE.rows(3))] = 0
    x, h = states()
    subnet = autosubnet.remove_zeros(model.cell, (x, h))
    reads = {node.args[1] for node in subnet.graph.nodes if str(node.args[:1]) == "(architecture,)"}
    assert {column for row, column in reads if row == into((3, 4))} == {list(ACTIVATIONS).index("sigmoid")}
    torch.testing.assert_close(subnet(x, h), model.cell(x, h), rtol=1e-12, atol=1e-12)


def test_a_constructed_cell_trains_on_with_dropout() -> None:
    """It is captured with its mask then, and has the gradients of the supernet."""
    model = tiny()
    with torch.no_grad():
        model.cell.architecture[torch.rand(36, 4) < 0.7] = 0
        clear_outgoing(model.cell.architecture)
    smaller = copy.deepcopy(model)
    smaller.cell = autosubnet.remove_zeros(model.cell, (*states(), states()[0]))
    tokens = torch.randint(30, (6, 4))
    for network in (model, smaller):
        torch.manual_seed(1)
        network(tokens)[0].logsumexp(-1).sum().backward()
    gradients = dict(model.named_parameters())
    for name, parameter in smaller.named_parameters():
        expected = gradients[name].grad
        if name == NAME:
            expected = expected * (parameter != 0)
            parameter.grad *= parameter != 0
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-10, atol=1e-10)


# ---------------------------------------------------------------------- language models


def test_a_text_in_pieces_is_the_whole_text() -> None:
    model = tiny(dropouts=NO_DROPOUT)
    tokens = torch.randint(30, (9, 2))
    logits, hidden = model(tokens)
    assert logits.shape == (9, 2, 30)
    assert hidden.shape == (2, 6)
    first, between = model(tokens[:4])
    second, after = model(tokens[4:], between)
    torch.testing.assert_close(torch.cat([first, second]), logits)
    torch.testing.assert_close(after, hidden)
    with pytest.raises(InputError, match=r"at least one step, got inputs of the shape \(0, 2, 6\)"):
        model(tokens[:0])


class Listening(nn.Module):
    """A cell that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[Tensor, ...]] = []

    def forward(self, x: Tensor, h: Tensor, *mask: Tensor) -> Tensor:
        self.given.append((x, *mask))
        return torch.ones_like(h)


def test_masks_hold_for_a_sequence() -> None:
    torch.manual_seed(0)
    model = DartsRnn(3, 500, dropouts=Dropouts(0.2, 0.5, 0.25, 0.75))
    model.cell = Listening()
    nn.init.ones_(model.encoder.weight)
    tokens = torch.zeros(4, 3, dtype=torch.int64)
    logits, _ = model(tokens)
    for kept, values in zip(zip(*model.cell.given, strict=True), ((0.4, 2.5), (0.75, 4 / 3)), strict=True):
        share, scale = values
        assert all(torch.equal(each, kept[0]) for each in kept)
        assert kept[0].unique().tolist() == [0, pytest.approx(scale)]
        assert kept[0].ne(0).double().mean() == pytest.approx(share, abs=0.05)
    assert torch.equal(logits, logits[:1].expand_as(logits))
    assert logits[0, 0, 0] != logits[0, 1, 0]
    model.eval()
    logits, _ = model(tokens)
    assert logits.eq(500).all()
    assert len(model.cell.given[-1]) == 1
    assert model.cell.given[-1][0].eq(1).all()


# ---------------------------------------------------------------------- a search


def groups() -> tuple[list[Group], dict[str, list[ParameterSlice]]]:
    """The weights into each node, and those out of it."""
    into = [
        Group(f"node {n}", "paths", (ParameterSlice(NAME, 0, tuple(SPACE.rows(n))),), 4 * n, ()) for n in SPACE.inner
    ]
    out = {f"node {n}": [ParameterSlice(NAME, 0, SPACE.rows_from(n))] for n in SPACE.inner[:-1]}
    return into, out


@pytest.mark.parametrize(("order", "increment"), [(1, 0.0005), (2, 0.001)])
def test_a_search(order: int, increment: float) -> None:
    """Algorithm 1 of SparseNAS in small: the loss falls, zeros are derived, and the constructed cell is equal.

    The penalty grows until it has made the first zeros: soon after, in so short a search, it would take all.
    """
    torch.manual_seed(0)
    text = python_topics(60)
    model = supernets.create("darts_rnn", vocabulary_size=60, size=8, dropouts=NO_DROPOUT)
    into, out = groups()
    architecture = AdamHAPG(model, into, lr=0.02, lam=0.0, alpha=0.9, metric="diagonal")
    path = LambdaPath(architecture, increment)
    others = [p for name, p in model.named_parameters() if name != NAME]
    weights = torch.optim.SGD(others, lr=1.0)

    def loss(network: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        return cross_entropy(network(batch[0])[0].flatten(0, 1), batch[1].flatten())

    def batches(words: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        return islice(windows(columns(words, 16), 5), 40)

    losses = []
    for train, valid in zip(batches(text.train), batches(text.valid), strict=True):
        if order == 2:
            gradients = second_order_gradient(model, loss, [NAME], train, valid, gamma=1.0)
        else:
            gradients = first_order_gradient(model, loss, [NAME], valid)
        model.cell.architecture.grad = gradients[NAME]
        architecture.step()
        path.step()
        weights.zero_grad()
        value = loss(model, train)
        value.backward()
        nn.utils.clip_grad_norm_(others, 0.5)
        weights.step()
        losses.append(value.item())
        if not architecture.state[model.cell.architecture]["prox"].all():
            break
    assert losses[-1] < losses[0] - 0.3

    architecture.derive(out)
    zeros = int((model.cell.architecture == 0).sum())
    assert 0 < zeros < 144
    assert sum(map(len, recurrent_genotype(model).recurrent.values())) == 144 - zeros
    model.double()
    x = torch.randn(4, 8, dtype=torch.float64)
    smaller = copy.deepcopy(model)
    smaller.cell = autosubnet.remove_zeros(model.cell, (x, x.flip(0)))
    words = text.test[:1000]
    assert perplexity(smaller, words) == pytest.approx(perplexity(model, words), rel=1e-12)
    assert perplexity(model, words) < 40


# ---------------------------------------------------------------------- genotypes


def test_genotype_of_a_supernet() -> None:
    """A node whose only path comes from a dead one is dead too."""
    model = DartsRnn(9, 4)
    architecture = model.cell.architecture
    row, column = SPACE.edges.index, list(ACTIVATIONS).index
    with torch.no_grad():
        architecture.zero_()
        for node, paths in SMALL.items():
            for name, source in paths:
                architecture[row((source, node)), column(name)] = -0.1
        architecture[row((2, 3)), 0] = architecture[row((3, 8)), 1] = 1
    found = recurrent_genotype(model)
    assert {node: set(paths) for node, paths in found.recurrent.items()} == {
        node: set(paths) for node, paths in SMALL.items()
    }
    assert RecurrentGenotype.from_json(found.to_json()) == found
    assert DartsRnnNetwork(found, 9, 4)(torch.randint(9, (3, 2)))[0].shape == (3, 2, 9)


def test_genotype_is_json() -> None:
    written = json.loads(RecurrentGenotype(SMALL).to_json())
    assert written == {
        "recurrent": {
            "1": [["tanh", 0], ["identity", 0]],
            "4": [["relu", 1]],
            "7": [["sigmoid", 4], ["tanh", 0], ["relu", 0]],
        }
    }
    assert RecurrentGenotype.from_json(json.dumps(written)) == RecurrentGenotype(SMALL)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "A genotype is JSON, but"),
        ('{"normal": {}, "reduce": {}}', "a JSON object with the key recurrent, got {'normal'"),
        ('{"recurrent": {}}', "recurrent: no node is left"),
        ('{"recurrent": {"9": [["tanh", 0]]}}', "recurrent: inner nodes are 1, 2, 3, 4, 5, 6, 7, 8, got '9'"),
        ('{"recurrent": {"0": [["tanh", 0]]}}', "got '0'"),
        ('{"recurrent": {"1": []}}', "recurrent, node 1: a node without a path goes"),
        ('{"recurrent": {"1": [["none", 0]]}}', "an operation is one of tanh, relu, sigmoid, identity, got 'none'"),
        ('{"recurrent": {"1": [["tanh", 1]]}}', "recurrent, node 1, path 0: it can read 0, got 1"),
        ('{"recurrent": {"3": [["tanh", 1]]}}', "recurrent, node 3, path 0: it can read 0, got 1"),
        ('{"recurrent": {"1": [["tanh", 0], ["tanh", 0]]}}', "path 1: tanh from 0 is there twice"),
        ('{"recurrent": {"1": 3, "1": 3}}', "'1' is there twice"),
    ],
)
def test_hostile_json(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        RecurrentGenotype.from_json(text)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (None, "recurrent: a cell is a dict from nodes to paths, got None"),
        ({1: "tanh"}, r"recurrent, node 1: paths are a tuple of \(operation, node\), got 'tanh'"),
        ({1: (("tanh", 0),), "2": (("tanh", 0),)}, "recurrent: inner nodes are 1, 2, .*, got '2'"),
    ],
)
def test_cells_of_another_form(cell: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        RecurrentGenotype(cell)


def test_what_is_no_text() -> None:
    with pytest.raises(InputError, match="A genotype is read from a text of JSON, got None"):
        RecurrentGenotype.from_json(None)  # type: ignore[arg-type]  # what it refuses


def test_models_without_a_genotype() -> None:
    with pytest.raises(InputError, match="that of a DartsRnn, got Linear"):
        recurrent_genotype(nn.Linear(1, 1))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no node is left"):
        recurrent_genotype(DartsRnn(9, 4, initial_weight=0.0))
    model = DartsRnn(9, 4)
    with torch.no_grad():
        model.cell.architecture[3, 1] = torch.nan
    with pytest.raises(NonFiniteError, match=r"cell\.architecture holds a weight"):
        recurrent_genotype(model)
    model.cell = nn.RNNCell(4, 4)
    with pytest.raises(InputError, match="got DartsRnn with a cell of another kind, RNNCell"):
        recurrent_genotype(model)


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary_size": 0}, "at least one word, got 0"),
        ({"size": 0}, "a size of at least 1, got 0"),
        ({"steps": 4}, "darts_rnn cannot be built with"),
    ],
)
def test_bad_supernets(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        supernets.create("darts_rnn", **options)


@pytest.mark.parametrize("probability", [-0.1, 1.0, float("nan")])
def test_bad_dropouts(probability: float) -> None:
    with pytest.raises(InputError, match="at least 0 and less than 1, got hidden="):
        Dropouts(hidden=probability)
