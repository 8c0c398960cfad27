"""The runs of ``benchmarks/figure3.py`` side by side are those of the library's optimizers one by one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.optim import HAPG, AdamHAPG

FOLDER = Path(__file__).parent.parent / "benchmarks"
SEEDS, EPOCHS = (0, 1), 4  # of five batches
LAMS = {"SGD": (1e-3, 0.1), "Adam": (1e-3, 0.1), "HAPG": (3e-3, 0.15), "AdamHAPG": (3e-4, 0.03)}


@pytest.fixture
def figure3(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(FOLDER)
    import figure3

    yield figure3
    for name in [name for name in sys.modules if name.startswith("figure3")]:
        del sys.modules[name]


@pytest.fixture
def readme(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(FOLDER)
    import readme

    yield readme
    del sys.modules["readme"]


def alone(
    figure3: ModuleType, name: str, alpha: float, lam: float, start: list[Tensor], stream: list[tuple[Tensor, Tensor]]
) -> list[Tensor]:
    """Train one network of linear layers, every outgoing column of which is a group; return weights (in, out)."""
    model = nn.Sequential(*(nn.Linear(a, b, dtype=torch.float64) for a, b in pairwise(figure3.SIZES)))
    groups = []
    with torch.no_grad():
        for n, weight in enumerate(start):
            model[n].weight.copy_(weight.T)
            model[n].bias.zero_()
            for j, row in enumerate(weight):
                groups.append(Group(f"{n}.{j}", "zig", (ParameterSlice(f"{n}.weight", 1, (j,)),), len(row), ()))
    rest = {"params": list(model.parameters()), "alpha": alpha, "lam": lam}
    plain = {
        "SGD": lambda: torch.optim.SGD(model.parameters(), lr=0.025, momentum=0.9),
        "Adam": lambda: torch.optim.Adam(model.parameters(), lr=3e-4, betas=(0.5, 0.999)),
    }
    own = {
        "HAPG": lambda: HAPG(model, groups, lr=0.05, **rest),
        "AdamHAPG": lambda: AdamHAPG(model, groups, lr=3e-4, betas=(0.5, 0.999), **rest),
    }
    optimizer = {**plain, **own}[name]()
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for count, (images, labels) in enumerate(stream, 1):
        optimizer.zero_grad()
        x = images
        for n, layer in enumerate(model):
            x = layer(torch.relu(x) if n else x)
        loss = cross_entropy(x, labels)
        if name in plain:
            for layer in model:
                norms = sum(len(column) ** 0.5 * column.norm() for column in layer.weight.T)
                loss = loss + lam * (alpha * layer.weight.abs().sum() + (1 - alpha) * norms)
        loss.backward()
        optimizer.step()
        if name in ("SGD", "HAPG") and count % 5 == 0:
            scheduler.step()
    iterate = [layer.weight.detach().T.clone() for layer in model]
    into = {f"{n}.{j}": [ParameterSlice(f"{n - 1}.weight", 0, (j,))] for n in (1, 2) for j in range(len(start[n]))}
    if name in own:
        optimizer.derive(into)
    else:
        threshold(model)
    return [*iterate, *(layer.weight.detach().T.clone() for layer in model)]


@torch.no_grad()
def threshold(model: nn.Sequential) -> None:
    """Set small weights to zero, and what enters a neuron of whose weights none is left."""
    for layer in model:
        layer.weight[layer.weight.abs() < 0.001] = 0
    for before, after in ((model[1], model[2]), (model[0], model[1])):
        before.weight[(after.weight == 0).all(0)] = 0


@pytest.mark.parametrize("alpha", [1.0, 0.0, 0.5])
@pytest.mark.parametrize("name", LAMS)
def test_side_by_side_is_one_by_one(figure3: ModuleType, name: str, alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(5 * 256, 64, dtype=torch.float64, generator=generator)
    labels = torch.randint(10, (5 * 256,), generator=generator)
    lams = LAMS[name]
    stack = figure3.born(SEEDS, len(lams), torch.float64)
    starts = [weight.clone() for weight, _ in stack.layers()]
    stream = list(figure3.batches(images, labels, SEEDS, EPOCHS))
    assert len(stream) == 20
    optimizer = figure3.search(name, stack, stream, alpha=alpha, lams=lams, epochs=EPOCHS)
    iterate = [weight.detach().clone() for weight, _ in stack.layers()]
    found = [*iterate, *figure3.derived(stack, optimizer)[0]]
    for number in range(len(lams) * len(SEEDS)):
        strength, seed = divmod(number, len(SEEDS))
        mine = [(x[seed], y[seed]) for x, y, _ in stream]
        expected = alone(figure3, name, alpha, lams[strength], [weight[number] for weight in starts], mine)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a[number], b, rtol=0, atol=1e-10)
            assert torch.equal(a[number] == 0, b == 0)
    zeros = torch.cat([weight.flatten(1) for weight in found[3:]], 1).eq(0).double().mean(1)
    assert 0.01 < zeros.max() < 0.99, "little was made zero, or all, so zeros were not compared"


def test_what_is_zero_stays_zero_in_the_last_training(figure3: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.rand(300, 64, generator=generator), torch.randint(10, (300,), generator=generator)
    weights = [
        w.detach() * (torch.rand(w.shape, generator=generator) < 0.5)
        for w, _ in figure3.born(SEEDS, 2, torch.float32).layers()
    ]
    trained = figure3.retrained(weights, SEEDS, images, labels, 3)
    for before, (after, _) in zip(weights, trained.layers(), strict=True):
        assert torch.equal(before == 0, after == 0)
        assert not torch.equal(before, after)


def test_a_trial_run_goes_on_where_it_stopped(readme: ModuleType, tmp_path: Path) -> None:
    out = tmp_path / "figure3.json"
    command = [sys.executable, str(FOLDER / "figure3.py"), "--quick", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    result = json.loads(out.read_text("utf-8"))
    assert len(result["families"]) == 12
    assert len(result["claims"]) == 5
    assert all(0 < run["accuracy_retrained"] < 1 for each in result["families"].values() for run in each["runs"])
    assert ElementTree.fromstring(out.with_suffix(".svg").read_text("utf-8")).tag.endswith("svg")
    readme.RESULTS = tmp_path
    assert readme.figure3().count("\n| ") == 5 + 12 + 3
    lost = result["families"].pop("AdamHAPG, SGL")
    out.write_text(json.dumps(result), "utf-8")
    subprocess.run(command, check=True, capture_output=True)
    again = json.loads(out.read_text("utf-8"))
    assert again["families"].pop("AdamHAPG, SGL")["runs"] == lost["runs"]
    assert again["families"] == result["families"]


def test_the_reading(figure3: ModuleType) -> None:
    """Made-up runs in which everything that the paper says is so, and then not."""
    order = {"SGD": 0, "Adam": 1, "HAPG": 2, "AdamHAPG": 3}
    kinds = {"lasso": 0, "group lasso": 1, "SGL": 2}

    def runs(level: float) -> list[dict[str, float]]:
        rows = []
        for exponent in (-5.0, -3.7):
            size = level + (exponent + 5)
            row = {"features": 60 - 5 * size, "neurons": 50 - 5 * size, "sparsity": size / 10}
            rows += [{"exponent": exponent, "accuracy_derived": 0.9, "accuracy_retrained": 0.95, **row}] * 2
        return rows

    true = {f"{name}, {kind}": runs(a + b / 4) for name, a in order.items() for kind, b in kinds.items()}
    reading = figure3.figure3_reading.claims
    assert [row["holds"] for row in reading(true)] == ["holds"] * 5
    last = "AdamHAPG, SGL"
    worse = {**true, last: [{**run, "accuracy_retrained": 0.9} for run in true[last]]}
    assert [row["holds"] for row in reading(worse)] == ["holds", "does not hold", "holds", "in part", "holds"]
    swapped = {**true, "Adam, SGL": true["HAPG, SGL"], "HAPG, SGL": true["Adam, SGL"]}
    assert [row["holds"] for row in reading(swapped)] == ["holds", "holds", "does not hold", "holds", "does not hold"]
