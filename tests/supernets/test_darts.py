"""Darts, its genotypes and the networks derived from them, against SparseNAS and OTOv3."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import autosubnet
from autosubnet import AutoSubnet, supernets
from autosubnet.errors import InputError, NonFiniteError
from autosubnet.supernets import Darts, DartsNetwork, Genotype, genotype
from autosubnet.supernets.darts_cnn import SPACES
from autosubnet.supernets.darts_evaluation import DropPath
from autosubnet.supernets.darts_operations import OPERATIONS, FactorizedReduce
from autosubnet.supernets.darts_skeleton import EDGES, INNER, rows

SMALL = {
    "normal": {2: (("sep_conv_3x3", 0), ("skip_connect", 1), ("sep_conv_3x3", 1)), 4: (("dil_conv_5x5", 2),)},
    "reduce": {3: (("max_pool_3x3", 0), ("skip_connect", 1)), 5: (("avg_pool_3x3", 3), ("skip_connect", 3))},
}
DARTS_V2 = Genotype(  # the second-order genotype of DARTS' code
    normal={
        2: (("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        3: (("sep_conv_3x3", 0), ("sep_conv_3x3", 1)),
        4: (("sep_conv_3x3", 1), ("skip_connect", 0)),
        5: (("skip_connect", 0), ("dil_conv_3x3", 2)),
    },
    reduce={
        2: (("max_pool_3x3", 0), ("max_pool_3x3", 1)),
        3: (("skip_connect", 2), ("max_pool_3x3", 1)),
        4: (("max_pool_3x3", 0), ("skip_connect", 2)),
        5: (("skip_connect", 2), ("max_pool_3x3", 1)),
    },
)


def count(model: nn.Module) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if not name.startswith("auxiliary."))


def unsettle(model: nn.Module) -> None:
    """Give norms other statistics and weights than those of birth, of which some are zero or one."""
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            if norm.affine:
                nn.init.uniform_(norm.weight, 0.5, 2)
                nn.init.normal_(norm.bias)


# ---------------------------------------------------------------------- sizes


def test_otov3_on_stl10() -> None:
    """Table 1 of OTOv3, at the width and size of images that are found to fit."""
    model = supernets.create("darts", channels=24).eval()
    assert count(model) == pytest.approx(4.05e6, rel=0.05)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, 3, 32, 32))
    assert counter.get_total_flops() / 2 == pytest.approx(614e6, rel=0.05)


def test_sparsenas_on_cifar() -> None:
    """DARTS' code prints 1.930618 MB for the same supernet and does not count architecture weights."""
    with torch.device("meta"):
        model = supernets.create("darts", architecture_weights=True)
    assert {name: weights.shape for name, weights in model.architecture.items()} == {
        "normal": (14, 7),
        "reduce": (14, 7),
    }
    assert count(model) - 2 * 14 * 7 == 1_930_618
    assert [cell.edges["0_2"]["max_pool_3x3"][0].stride for cell in model.cells] == [1, 1, 2, 1, 1, 2, 1, 1]
    assert not any(norm.affine for norm in model.cells.modules() if isinstance(norm, nn.BatchNorm2d))


def test_networks_of_darts_own_genotype() -> None:
    """Table 1 and 2 of SparseNAS: DARTS (second order)."""
    with torch.device("meta"):
        cifar = DartsNetwork(DARTS_V2)
        imagenet = DartsNetwork(DARTS_V2, 48, 14, stem="imagenet", num_classes=1000)
    assert count(cifar) == pytest.approx(3.3e6, rel=0.05)
    assert count(imagenet) == pytest.approx(4.7e6, rel=0.05)


def test_supernet_for_imagenet_has_14_cells() -> None:
    with torch.device("meta"):
        model = Darts(48, 14, stem="imagenet", num_classes=1000)
    assert count(model) == 25_624_288
    assert [number for number, cell in enumerate(model.cells) if cell.edges["0_2"]["max_pool_3x3"][0].stride == 2] == [
        4,
        9,
    ]


@pytest.mark.parametrize(("space", "paths"), [("full", 98), ("cherry_picked", 28)])
def test_every_edge_has_all_operations(space: str, paths: int) -> None:
    model = Darts(2, 3, space=space, architecture_weights=True)
    for number, cell in enumerate(model.cells):
        names = SPACES[space]["reduce" if number else "normal"]
        assert list(cell.edges) == [f"{source}_{node}" for source, node in EDGES]
        assert all(tuple(edge) == names for edge in cell.edges.values())
    assert [weights.numel() for weights in model.architecture.values()] == [paths, paths]
    assert all(weights.eq(14 / paths).all() for weights in model.architecture.values())


def test_cherry_picked_space_is_the_papers() -> None:
    assert {kind: set(names) for kind, names in SPACES["cherry_picked"].items()} == {
        "normal": {"sep_conv_3x3", "skip_connect"},
        "reduce": {"skip_connect", "max_pool_3x3"},
    }


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize(("stem", "size"), [("cifar", 8), ("cifar", 33), ("imagenet", 50)])
def test_images_of_any_size(weights: bool, stem: str, size: int) -> None:
    model = Darts(3, 3, architecture_weights=weights, stem=stem, in_channels=1, num_classes=7).eval()
    assert model(torch.randn(2, 1, size, size)).shape == (2, 7)


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("stride", [1, 2])
def test_every_operation_keeps_or_halves(name: str, stride: int) -> None:
    out = OPERATIONS[name](6, stride, True)(torch.randn(2, 6, 9, 8))
    assert out.shape == (2, 6, 9, 8) if stride == 1 else (2, 6, 5, 4)


def test_factorized_reduce_is_that_of_darts() -> None:
    """With the first row and column cropped, which works for even sizes only."""
    module, x = FactorizedReduce(3, 5, affine=True).eval(), torch.randn(2, 3, 8, 6)
    active = x.relu()
    darts = module.norm(torch.cat([module.conv1(active), module.conv2(active[:, :, 1:, 1:])], 1))
    torch.testing.assert_close(module(x), darts)


def test_rows_of_a_node() -> None:
    assert [list(rows(node)) for node in INNER] == [[0, 1], [2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12, 13]]
    with pytest.raises(InputError, match="inner nodes 2, 3, 4, 5, got 6"):
        rows(6)


# ---------------------------------------------------------------------- architecture weights


def test_cells_of_a_kind_share_architecture_weights() -> None:
    torch.manual_seed(0)
    model = Darts(2, 6, architecture_weights=True)
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert set(model.architecture) == {"normal", "reduce"}
    assert all(weights.grad is not None and weights.grad.ne(0).all() for weights in model.architecture.values())


def test_each_cell_may_have_its_own() -> None:
    model = Darts(2, 3, architecture_weights=True, share=False, initial_weight=0.5)
    assert list(model.architecture) == ["0", "1", "2"]
    assert all(weights.eq(0.5).all() for weights in model.architecture.values())
    outputs: dict[int, torch.Tensor] = {}
    for number, cell in enumerate(model.cells):
        cell.register_forward_hook(lambda _, args, out, number=number: outputs.update({number: out}))
    with torch.no_grad():
        model.architecture["2"].zero_()
    model(torch.randn(2, 3, 8, 8))
    assert [bool(outputs[number].any()) for number in range(3)] == [True, True, False]


def test_a_node_is_the_weighted_sum_of_its_paths() -> None:
    """SparseNAS, Eq. 1."""
    model = Darts(2, 1, architecture_weights=True).eval()
    cell, weights = model.cells[0], torch.randn(14, 7)
    first, last = torch.randn(1, 6, 8, 8), torch.randn(1, 6, 8, 8)
    nodes = [cell.preprocess0(first), cell.preprocess1(last)]
    for node in INNER:
        terms = [
            weights[EDGES.index((source, node)), column] * operation(nodes[source])
            for source in range(node)
            for column, operation in enumerate(cell.edges[f"{source}_{node}"].values())
        ]
        nodes.append(torch.stack(terms).sum(0))
    torch.testing.assert_close(cell(first, last, weights), torch.cat(nodes[2:], 1))


@pytest.mark.parametrize(
    ("dead", "cells", "share"),
    [((), 2, True), ((3,), 2, True), ((2, 5), 2, True), ((2, 3, 4), 3, True), ((4,), 3, False)],
)
def test_paths_with_zero_weights_are_compiled_away(dead: tuple[int, ...], cells: int, share: bool) -> None:
    """Single entries, and whole nodes with what they feed; what stays is exact and holds nothing of them."""
    torch.manual_seed(sum(dead))
    model = Darts(2, cells, architecture_weights=True, share=share)
    unsettle(model)
    with torch.no_grad():
        for weights in model.architecture.values():
            weights[torch.rand(weights.shape) < 0.6] = 0
            weights[[row for row, edge in enumerate(EDGES) if set(edge) & set(dead)]] = 0
    images = torch.randn(2, 3, 16, 16)
    subnet = autosubnet.remove_zeros(model, images)
    kinds = ("normal", "reduce", "reduce")[-cells:] if share else ("0", "1", "2")
    living = {
        f"cells.{number}.edges.{source}_{node}.{name}"
        for number, kind in enumerate(kinds)
        for (source, node), row in zip(EDGES, model.architecture[kind].tolist(), strict=True)
        for name, weight in zip(model.operations["normal"], row, strict=True)
        if weight
    }
    identities = {name for name, module in model.named_modules() if isinstance(module, nn.Identity)}
    targets = {".".join(str(node.target).split(".")[:5]) for node in subnet.graph.nodes if node.op == "call_module"}
    kept = {target for target in targets if ".edges." in target}
    assert kept - identities == living - identities
    reads = [node.args[0] for node in subnet.graph.nodes if node.op == "call_function" and "getitem" in node.name]
    scaled = sum(str(read).startswith("architecture") for read in reads)
    assert scaled == len(living)
    model.double().eval(), subnet.double().eval()
    for other in (images, torch.randn(3, 3, 21, 21)):
        torch.testing.assert_close(subnet(other.double()), model(other.double()), rtol=1e-9, atol=1e-9)
    model.train(), subnet.train()
    torch.testing.assert_close(subnet(images.double()), model(images.double()), rtol=1e-9, atol=1e-9)


# ---------------------------------------------------------------------- affine norms


def test_groups_are_the_paths_with_variables_and_go_exactly() -> None:
    """Poolings too, by the norms behind them; the identity has none and no group (OTOv3, Section 4)."""
    torch.manual_seed(0)
    model, images = Darts(2, 3), torch.randn(2, 3, 16, 16)
    unsettle(model)
    oto = AutoSubnet(model, images)
    names = {group.name for group in oto.groups}
    for edge in ("0_2", "2_3"):
        expected = {name for name in OPERATIONS if name != "skip_connect"}
        assert {name.split(".")[4] for name in names if name.startswith(f"cells.0.edges.{edge}.")} == expected
    assert oto.is_valid([name for name in names if name.startswith("cells.0.edges.")])
    chosen = oto.random_set_zero_groups(0.5)
    subnet = oto.construct_subnet()
    left = {name for name, _ in subnet.named_parameters()}
    assert not left & {each.name for group in chosen for each in group.slices if each.indices is None}
    model.double().eval(), subnet.double().eval()
    torch.testing.assert_close(subnet(images.double()), model(images.double()), rtol=1e-9, atol=1e-9)


def test_cherry_picked_space_with_the_stem_of_imagenet() -> None:
    torch.manual_seed(0)
    model = Darts(2, 3, space="cherry_picked", stem="imagenet")
    unsettle(model)
    oto = AutoSubnet(model, torch.randn(2, 3, 32, 32))
    assert oto.random_set_zero_groups(0.5)
    assert count(oto.construct_subnet()) < count(model)


# ---------------------------------------------------------------------- genotypes


def test_genotype_of_a_supernet() -> None:
    """A node whose only path comes from a dead one is dead too."""
    model = Darts(2, 3, architecture_weights=True)
    row, column = EDGES.index, {name: number for number, name in enumerate(OPERATIONS)}
    with torch.no_grad():
        for kind, nodes in SMALL.items():
            model.architecture[kind].zero_()
            for node, paths in nodes.items():
                for name, source in paths:
                    model.architecture[kind][row((source, node)), column[name]] = -0.1
        model.architecture["reduce"][row((2, 4)), 0] = 1.0
    found = genotype(model)
    assert {kind: {node: set(paths) for node, paths in getattr(found, kind).items()} for kind in SMALL} == {
        kind: {node: set(paths) for node, paths in nodes.items()} for kind, nodes in SMALL.items()
    }
    assert Genotype.from_json(found.to_json()) == found


def test_genotype_is_json() -> None:
    written = json.loads(Genotype(**SMALL).to_json())
    assert written["normal"] == {
        "2": [["sep_conv_3x3", 0], ["skip_connect", 1], ["sep_conv_3x3", 1]],
        "4": [["dil_conv_5x5", 2]],
    }
    assert Genotype.from_json(json.dumps(written)) == Genotype(**SMALL)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(1, 1), "that of a Darts, got Linear"),
        (Darts(2, 3), "got none"),
        (Darts(2, 3, architecture_weights=True, share=False), "got 0, 1, 2; create the supernet with"),
        (Darts(2, 1, architecture_weights=True), "got reduce; create the supernet with"),
        (Darts(2, 3, architecture_weights=True, initial_weight=0.0), "normal: no node is left"),
    ],
)
def test_models_without_a_genotype(model: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        genotype(model)


def test_a_weight_that_is_no_number() -> None:
    model = Darts(2, 3, architecture_weights=True)
    with torch.no_grad():
        model.architecture["reduce"][3, 1] = torch.nan
    with pytest.raises(NonFiniteError, match=r"architecture\.reduce"):
        genotype(model)


def hostile(normal: str) -> str:
    return f'{{"normal": {normal}, "reduce": {{"2": [["skip_connect", 0]]}}}}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "A genotype is JSON, but"),
        ("[" * 100_000, "A genotype is JSON, but"),
        ("9" * 10_000, "A genotype is JSON, but"),
        ("[]", r"the keys normal and reduce, got \[\]"),
        ('{"normal": {}}', "the keys normal and reduce"),
        (hostile("{}")[:-1] + ', "extra": 1}', "the keys normal and reduce"),
        (hostile("{}"), "normal: no node is left"),
        (hostile("[]"), r"normal: a cell is a JSON object of nodes, got \[\]"),
        (hostile('{"6": [["skip_connect", 0]]}'), "normal: inner nodes are 2, 3, 4, 5, got '6'"),
        (hostile('{"02": [["skip_connect", 0]]}'), "got '02'"),
        (hostile('{"2": [], "2": []}'), "'2' is there twice"),
        (hostile('{"2": []}'), "normal, node 2: a node without a path goes"),
        (hostile('{"2": 7}'), r"normal, node 2: paths are a list of \[operation, node\], got 7"),
        (hostile('{"2": [["skip_connect"]]}'), "normal, node 2: paths are a list"),
        (hostile('{"2": [["none", 0]]}'), "normal, node 2, path 0: an operation is one of .*, got 'none'"),
        (hostile('{"2": [[["skip_connect"], 0]]}'), "normal, node 2, path 0: an operation is one of"),
        (hostile('{"2": [["skip_connect", 2]]}'), "normal, node 2, path 0: it can read 0, 1, got 2"),
        (hostile('{"2": [["skip_connect", true]]}'), "it can read 0, 1, got True"),
        (hostile('{"2": [["skip_connect", 1.0]]}'), "it can read 0, 1, got 1.0"),
        (hostile('{"2": [["skip_connect", NaN]]}'), "it can read 0, 1, got nan"),
        (hostile('{"2": [["skip_connect", -1]]}'), "it can read 0, 1, got -1"),
        (hostile('{"4": [["skip_connect", 0]], "5": [["skip_connect", 3]]}'), "node 5, path 0: it can read 0, 1, 4"),
        (hostile('{"2": [["skip_connect", 0], ["skip_connect", 0]]}'), "path 1: skip_connect from 0 is there twice"),
    ],
)
def test_hostile_json(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        Genotype.from_json(text)
    assert len(str(caught.value)) < 400


SKIP = (("skip_connect", 0),)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ({2.0: SKIP}, r"reduce: inner nodes are 2, 3, 4, 5, got 2\.0"),
        ({2: SKIP, "3": SKIP}, "reduce: inner nodes are 2, 3, 4, 5, got '3'"),
        ({2: SKIP, None: SKIP}, "reduce: inner nodes are 2, 3, 4, 5, got None"),
        (None, "reduce: a cell is a dict from nodes to paths, got None"),
        ([SKIP], "reduce: a cell is a dict from nodes to paths"),
        ({2: None}, r"reduce, node 2: paths are a tuple of \(operation, node\), got None"),
        ({2: 7}, "reduce, node 2: paths are a tuple"),
        ({2: ("skip_connect", 0)}, "reduce, node 2: paths are a tuple"),
        ({2: (("skip_connect",),)}, "reduce, node 2: paths are a tuple"),
        ({2: ("ab", "cd")}, "reduce, node 2: paths are a tuple"),
        ({2: [["skip_connect", 0], ("skip_connect", 0)]}, "reduce, node 2, path 1: skip_connect from 0 is there twice"),
    ],
)
def test_cells_of_another_form(cell: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Genotype(normal=SMALL["normal"], reduce=cell)


@pytest.mark.parametrize("text", [None, 3, {"normal": {}}, b"\xff"])
def test_what_is_no_text(text: Any) -> None:
    with pytest.raises(InputError, match="A genotype is"):
        Genotype.from_json(text)


# ---------------------------------------------------------------------- networks of a genotype


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_network_of_a_genotype(stem: str) -> None:
    model = DartsNetwork(Genotype(**SMALL), 4, 3, stem=stem, num_classes=5)
    assert list(model.cells[0].paths) == [
        "0_2_sep_conv_3x3",
        "1_2_skip_connect",
        "1_2_sep_conv_3x3",
        "2_4_dil_conv_5x5",
    ]
    images, labels = torch.randn(2, 3, 33, 33), torch.tensor([1, 4])
    logits, auxiliary = model(images)
    assert logits.shape == auxiliary.shape == (2, 5)
    entropy = nn.functional.cross_entropy
    expected = entropy(logits, labels) + 0.4 * entropy(auxiliary, labels)
    torch.testing.assert_close(model.loss((logits, auxiliary), labels), expected)
    model.loss((logits, auxiliary), labels).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    alone = model.eval()(images)
    assert alone.shape == (2, 5)
    torch.testing.assert_close(model.loss(alone, labels), entropy(alone, labels))


def test_network_without_an_auxiliary_head() -> None:
    model = DartsNetwork(Genotype(**SMALL), 2, 3, auxiliary_weight=0, drop_path=0)
    assert model(torch.randn(2, 3, 8, 8)).shape == (2, 10)
    assert not any(isinstance(module, DropPath) for module in model.modules())


def test_paths_are_dropped_for_whole_examples() -> None:
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 2, 2, 2)
    dropped = drop(x).flatten(1)
    assert dropped.unique().tolist() == [0, pytest.approx(4 / 3)]
    assert (dropped == dropped[:, :1]).all()
    assert dropped[:, 0].eq(0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert drop.eval()(x) is x


def test_identities_are_not_dropped() -> None:
    paths = DartsNetwork(Genotype(**SMALL), 2, 3).cells[0].paths
    assert [isinstance(path, nn.Identity) for path in paths.values()] == [False, True, False, False]
    assert [path[1].probability for path in paths.values() if not isinstance(path, nn.Identity)] == [0.2] * 3


def test_a_derived_network_is_searched_like_any_other() -> None:
    torch.manual_seed(0)
    model = DartsNetwork(DARTS_V2, 2, 3)
    unsettle(model)
    oto = AutoSubnet(model, torch.randn(2, 3, 16, 16))
    assert oto.random_set_zero_groups(0.5)
    subnet = oto.construct_subnet()
    assert len(subnet.train()(torch.randn(2, 3, 16, 16))) == 2
    assert count(subnet) < count(model)


# ---------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 1}, "at least 2 channels and 1 cell, got 1 and 8"),
        ({"channels": 2.5}, "at least 2 channels and 1 cell, got 2.5 and 8"),
        ({"initial_weight": float("nan")}, "initial_weight is nan; it must be finite"),
        ({"cells": 0}, "got 16 and 0"),
        ({"space": "tiny"}, "one of full, cherry_picked, got 'tiny'"),
        ({"stem": "mnist"}, "one of cifar, imagenet, got 'mnist'"),
    ],
)
def test_bad_supernets(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        supernets.create("darts", **options)


@pytest.mark.parametrize("options", [{"drop_path": 1.0}, {"drop_path": -0.1}, {"auxiliary_weight": -1.0}])
def test_bad_networks(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"a drop_path in \[0, 1\) and an auxiliary_weight"):
        DartsNetwork(Genotype(**SMALL), 2, 3, **options)
