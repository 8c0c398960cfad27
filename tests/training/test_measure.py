"""What a network costs."""

from itertools import pairwise
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from autosubnet.training import measure


def test_parameters_are_counted_once() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    assert measure.num_params(nn.Sequential(first, second)) == 9 + 3 + 3


@pytest.mark.parametrize("batch", [1, 4])
def test_multiply_adds_are_those_of_one_image(batch: int) -> None:
    model = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5 * 4 * 4, 7))
    expected = 4 * 4 * 5 * 2 * 9 + 80 * 7
    assert measure.multiply_adds(model, torch.randn(batch, 2, 6, 6)) == expected
    assert model.training
    assert model[1].num_batches_tracked == 0


def write_onnx(path: Path, repeats: int) -> Path:
    """A chain of matrix products."""
    names = ["x", *(f"h{i}" for i in range(1, repeats)), "y"]
    nodes = [helper.make_node("MatMul", [a, "w"], [b]) for a, b in pairwise(names)]
    info = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 256]) for name in ("x", "y")]
    weight = helper.make_tensor("w", TensorProto.FLOAT, [256, 256], torch.zeros(256 * 256).numpy())
    graph = helper.make_graph(nodes, "chain", [info[0]], [info[1]], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_latency_of_the_larger_file_is_larger(tmp_path: Path) -> None:
    paths = {"long": write_onnx(tmp_path / "long.onnx", 40), "short": write_onnx(tmp_path / "short.onnx", 1)}
    latency = measure.onnx_latency(paths, torch.randn(8, 256), rounds=20)
    assert latency["long"] > 2 * latency["short"] > 0


def test_environment_names_versions_and_threads() -> None:
    environment = measure.environment()
    assert torch.__version__.startswith(environment["torch"])
    assert environment["threads"] == str(torch.get_num_threads())
