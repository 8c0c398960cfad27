"""A saved folder runs where torch and safetensors are installed, and nothing else: neither this package nor NumPy."""

from __future__ import annotations

import json
import subprocess
import venv
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from torch.utils._pytree import tree_leaves
from torchvision import models

from autosubnet import AutoSubnet, save

from .networks import CASES, results, traced

MISSING = ("autosubnet", "numpy", "torchvision", "timm", "onnx", "pytest", "pip")
SCRIPT = """
import importlib.util, json, runpy, sys, warnings
warnings.simplefilter("ignore")  # torch tells that there is no NumPy
import torch
from torch.utils._pytree import tree_leaves
found = [name for name in json.loads(sys.argv[1]) if importlib.util.find_spec(name)]
assert not found, found
torch.set_num_threads(1)
for folder in sys.argv[2:]:
    load = runpy.run_path(folder + "/model.py")["load"]
    args = torch.load(folder + "/args.pt", weights_only=True)
    outputs = []
    for training in (False, True):
        torch.manual_seed(3)
        outputs += [leaf for leaf in tree_leaves(load().train(training)(*args)) if isinstance(leaf, torch.Tensor)]
    torch.save(outputs, folder + "/outputs.pt")
"""


def installed(name: str) -> dict[str, Distribution]:
    """Return an installed distribution and all that it needs, by name."""
    found: dict[str, Distribution] = {}
    waiting = [name]
    while waiting:
        name = waiting.pop()
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # of another build of torch, or another platform
            continue
        needed = [Requirement(each) for each in found[name].requires or ()]
        waiting += [each.name for each in needed if each.name not in found and _applies(each)]
    return found


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of an environment that holds torch and safetensors, linked and not downloaded."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    (packages,) = place.glob("lib/python*/site-packages")
    for found in (installed("torch") | installed("safetensors")).values():
        for top in {file.parts[0] for file in found.files or () if file.parts[0] not in ("..", "__pycache__")}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(found.locate_file(top))).resolve())
    return place / "bin" / "python"


def test_saved_folders_run_with_torch_and_safetensors_only(python: Path, tmp_path: Path) -> None:
    networks = {name: (traced(make()), args()) for name, (make, args) in CASES.items()}
    oto = AutoSubnet(models.googlenet(init_weights=False), torch.randn(2, 3, 32, 32))  # train and eval mode differ
    oto.random_set_zero_groups(1 / 3)
    networks["googlenet"] = (oto.construct_subnet(verify=False), oto.example_inputs)
    folders = []
    for name, (network, args) in networks.items():
        folder = save(network, tmp_path / name)
        torch.save(args, folder / "args.pt")
        folders.append(str(folder))
    run = subprocess.run(
        [str(python), "-I", "-c", SCRIPT, json.dumps(MISSING), *folders], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    for name, (network, args) in networks.items():
        found = torch.load(tmp_path / name / "outputs.pt", weights_only=True)
        expected = [tree_leaves(results(network, args, training=training)) for training in (False, True)]
        tensors = [each for outputs in expected for each in outputs if isinstance(each, torch.Tensor)]
        # Not bit for bit: convolutions sum up in an order that depends on where weights lie in memory.
        torch.testing.assert_close(found, tensors, rtol=0, atol=1e-5, msg=name)
