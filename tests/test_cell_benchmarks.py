"""The benchmarks of cells run, go on where they stopped, and their tables can be made."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from autosubnet import AutoSubnet
from autosubnet.supernets import DartsRnnNetwork, Genotype, create, nodes
from autosubnet.training import measure

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def modules() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(FOLDER))
    threads = torch.get_num_threads()
    yield {name: __import__(name) for name in ("cells", "recurrent", "readme")}
    torch.set_num_threads(threads)
    sys.path.remove(str(FOLDER))


@pytest.mark.parametrize(
    ("name", "rows", "lost", "options"),
    [
        ("recurrent", "networks", "random cell 1", ()),
        ("cells", "runs", "DARTS, first order", ("--data", "digits")),
    ],
)
def test_the_quick_mode(
    name: str,
    rows: str,
    lost: str,
    options: tuple[str, ...],
    modules: dict[str, ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / f"{name}.json"
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--quick", "--out", str(out), *options])
    main = modules[name].main
    main()
    result = json.loads(out.read_text("utf-8"))
    monkeypatch.setattr(modules["readme"], "RESULTS", tmp_path)
    table = getattr(modules["readme"], name)()
    assert table.count("\n| ") == len(result[rows]) + 2
    taken = result[rows].pop(lost)
    out.write_text(json.dumps(result), "utf-8")
    main()
    again = json.loads(out.read_text("utf-8"))
    for row in (taken, again[rows][lost]):
        for key in ("seconds", "search_seconds"):
            row.pop(key, None)
    assert again[rows].pop(lost) == taken
    assert again[rows] == result[rows]
    out.write_text(json.dumps({**result, "settings": {}}), "utf-8")
    with pytest.raises(SystemExit, match="is of other settings"):
        main()


def test_an_lstm_of_equal_parameters(modules: dict[str, ModuleType]) -> None:
    recurrent = modules["recurrent"]
    for nodes_left in (2, 8):
        cell = recurrent.random_genotype(nodes_left, 2 * nodes_left, seed=nodes_left)
        assert len(cell.recurrent) == nodes_left
        assert sum(map(len, cell.recurrent.values())) == 2 * nodes_left
        goal = measure.num_params(DartsRnnNetwork(cell, 2000, 64))
        dropouts = recurrent.scaled(0.5)
        width = recurrent.width_for(goal, lambda each, dropouts=dropouts: recurrent.lstm(2000, each, dropouts))
        assert measure.num_params(recurrent.lstm(2000, width, dropouts)) == pytest.approx(goal, rel=0.02)


def test_the_lstm_is_that_of_torch(modules: dict[str, ModuleType]) -> None:
    model = modules["recurrent"].lstm(11, 5, modules["recurrent"].scaled(0)).eval()
    torch.manual_seed(0)
    reference, own = torch.nn.LSTM(5, 5), model.cell.cell
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        getattr(reference, f"{name}_l0").data = getattr(own, name).data
    words = torch.randint(11, (7, 3))
    outputs, (last, memory) = reference(model.encoder(words))
    logits, state = model(words)
    assert torch.allclose(logits, model.decoder(outputs), atol=1e-6)
    assert torch.allclose(state, torch.cat([last, memory], 2)[0], atol=1e-6)


def test_the_penalty_of_adam(modules: dict[str, ModuleType]) -> None:
    """Without momentum and for a loss of zero a step goes along its subgradient, whatever its size."""
    model = create("darts", architecture_weights=True, channels=2, cells=3, in_channels=1)
    found = nodes(model)
    matrix = model.architecture["normal"]
    with torch.no_grad():
        matrix.copy_(torch.randn(matrix.shape, generator=torch.Generator().manual_seed(0)))
    optimizer = modules["cells"].PenalisedAdam(model, found.groups, 0.01, 0.3)
    optimizer.lam = 0.2
    expected = torch.zeros_like(matrix)
    for rows in (range(0, 2), range(2, 5), range(5, 9), range(9, 14)):
        part = matrix.detach()[list(rows)]
        expected[list(rows)] = 0.2 * (0.3 * part.sign() + 0.7 * part.numel() ** 0.5 * part / part.norm())
    for p in optimizer.param_groups[0]["params"]:
        p.grad = torch.zeros_like(p)
    optimizer.step()
    assert torch.allclose(matrix.grad, expected, atol=1e-6)


def test_single_paths(modules: dict[str, ModuleType]) -> None:
    """Two edges into each node, one operation on each: those of the largest weights."""
    weights = torch.tensor([[0.1, 0.2], [0.4, 0.3], [0.9, 0.0], [0.2, 0.3], [0.0, 0.8], *[[0.5, 0.4]] * 9])
    weights[5, 0], weights[8, 0], weights[9, 1], weights[10, 0] = 0.6, 0.7, 0.9, 0.8
    operations = {kind: ["skip_connect", "max_pool_3x3"] for kind in ("normal", "reduce")}
    cells = modules["cells"].single_paths(dict.fromkeys(operations, weights), operations)
    assert cells.normal == {
        2: (("max_pool_3x3", 0), ("skip_connect", 1)),
        3: (("skip_connect", 0), ("max_pool_3x3", 2)),
        4: (("skip_connect", 0), ("skip_connect", 3)),
        5: (("max_pool_3x3", 0), ("skip_connect", 1)),
    }


@torch.no_grad()
def test_what_zeros_leave_of_cells(modules: dict[str, ModuleType]) -> None:
    """Into node 2 of a reduction cell nothing comes; of what reads it nothing is left, an identity neither."""
    cells = modules["cells"]
    model = create("darts", channels=2, cells=3, in_channels=1)
    whole = {"zero_paths": 0, "paths": 3 * 98, "zero_nodes": 0, "nodes": 12, "skips": 1 / 7}
    assert cells.left_of(model) == whole
    cell = model.cells[1]
    for operation in (*cell.edges["0_2"].children(), *cell.edges["1_2"].children()):
        norm = [each for each in operation.modules() if isinstance(each, torch.nn.BatchNorm2d)][-1]
        norm.weight.zero_()
        norm.bias.zero_()
    assert cells.left_of(model) == {**whole, "zero_paths": 5 * 7, "zero_nodes": 1}
    norm.bias[0] = 1.0  # of the last of fourteen paths
    assert cells.left_of(model) == {**whole, "zero_paths": 13, "skips": (3 * 14 - 2) / (3 * 98 - 13)}
    oto = AutoSubnet(model, torch.randn(2, 1, 8, 8), architecture_weights=True)
    found = cells.path_weights(oto)
    assert [tuple(each.shape) for each in found] == [(14, 7)] * 3
    names = list(cells.SPACE.operations)
    column = names.index("skip_connect")
    last = next(group for group in oto.paths if group.name.startswith("cells.2.add"))
    oto.model.get_parameter(last.slices[7 + column].name).zero_()  # from the second input into node 2
    found = cells.path_weights(oto)
    assert [(int(row), int(place)) for row, place in (found[2] == 0).nonzero()] == [(1, column)]
    assert cells.left_of(model, found) == {**whole, "zero_paths": 14, "skips": (3 * 14 - 3) / (3 * 98 - 14)}


def test_random_cells_are_as_large(modules: dict[str, ModuleType]) -> None:
    cells = modules["cells"]
    draw = random.Random(0)
    like = cells._draw_cell(draw, {2: (("a", 0),) * 3, 3: (("a", 0),) * 5})
    assert (len(like), sum(map(len, like.values()))) == (2, 8)
    given = Genotype(like, like)
    task = cells.Task(None, cells.FULL)
    found = cells.random_cells(task, given, 1)
    sizes = [measure.num_params(task.stacked(each)) for each in (given, found)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.05)
    assert found != given
