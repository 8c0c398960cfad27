"""``benchmarks/exports.py`` tells what is and what is not equal, and its committed results are on the page."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).parent.parent
LARGEST = 1e-4  # of a difference, absolute, in float32


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import exports

    return exports


def aot(subnet: torch.nn.Module, folder: Path, examples: tuple[Tensor, ...]) -> Callable[[Tensor], list[Tensor]]:
    """Compile without Inductor, whose kernels take minutes; the benchmark runs the default."""
    network = torch.compile(subnet, dynamic=True, backend="aot_eager")
    return lambda x: [network(x).detach()]


@pytest.mark.parametrize("name", ["super_resnet", "LSTM and attention"])
def test_every_way_out_is_equal(name: str, exports: ModuleType) -> None:
    row = exports.measure(name, {**exports.WAYS, "torch.compile": aot})
    assert row["removed"] >= 1
    assert row["num_params"][1] < row["num_params"][0]
    assert list(row["ways"]) == list(exports.WAYS)
    assert all(cell.get("difference", 1.0) <= LARGEST for cell in row["ways"].values()), row


def test_what_differs_or_fails_is_told(exports: ModuleType) -> None:
    def shifted(subnet: torch.nn.Module, *_: object) -> Callable[[Tensor], list[Tensor]]:
        return lambda x: [subnet(x).detach() + 0.25 * (len(x) == max(exports.BATCHES))]

    def failing(*_: object) -> Callable[[Tensor], list[Tensor]]:
        raise RuntimeError("no way")

    ways = exports.measure("demo", {"shifted": shifted, "failing": failing})["ways"]
    assert ways["shifted"]["difference"] == pytest.approx(0.25, abs=1e-5)
    assert ways["failing"]["error"] == "RuntimeError: no way"


def test_the_committed_matrix_is_equal_everywhere(exports: ModuleType) -> None:
    models = json.loads((ROOT / "benchmarks" / "results" / "exports.json").read_text("utf-8"))["models"]
    assert set(models) == set(exports.MODELS)
    assert all(row["ways"][way]["difference"] <= LARGEST for row in models.values() for way in exports.WAYS)
