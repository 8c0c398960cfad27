"""Data sets: their shapes, their scaling, and what is said when they are not there."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from autosubnet.errors import InputError
from autosubnet.training import data

NAMES = {
    "train-images-idx3-ubyte": (6, 28, 28),
    "train-labels-idx1-ubyte": (6,),
    "t10k-images-idx3-ubyte": (4, 28, 28),
    "t10k-labels-idx1-ubyte": (4,),
}


def write_idx(folder: Path, name: str, values: np.ndarray, suffix: str = "") -> None:
    raw = struct.pack(f">BBBB{values.ndim}i", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()
    (folder / f"{name}{suffix}").write_bytes(gzip.compress(raw) if suffix else raw)


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    values = {1: 10, 3: 256}
    return {name: rng.integers(0, values[len(shape)], shape, dtype=np.uint8) for name, shape in NAMES.items()}


def test_digits_are_small_standardised_and_split() -> None:
    digits = data.load("digits")
    images, labels = digits.train.tensors
    assert digits.shape == (1, 8, 8)
    assert digits.num_classes == 10
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert images.dtype == torch.float32
    assert labels.dtype == torch.int64
    assert abs(images.mean().item()) < 1e-5
    assert abs(images.std().item() - 1) < 1e-5
    # Every class is in both parts in the same share.
    assert (labels.bincount() / 4 - digits.test.tensors[1].bincount()).abs().max() < 1


def test_digits_are_split_the_same_way_every_time() -> None:
    assert torch.equal(data.load("digits").test.tensors[0], data.load("digits").test.tensors[0])


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("subfolder", ["", "FashionMNIST/raw"])
def test_fashion_mnist_is_read_from_idx_files(
    tmp_path: Path, arrays: dict[str, np.ndarray], suffix: str, subfolder: str
) -> None:
    folder = tmp_path / subfolder
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        write_idx(folder, name, values, suffix)
    fashion = data.load("fashion-mnist", tmp_path)
    train = torch.from_numpy(arrays["train-images-idx3-ubyte"]).float()
    test = torch.from_numpy(arrays["t10k-images-idx3-ubyte"]).float()
    assert torch.allclose(fashion.train.tensors[0].squeeze(1), (train - train.mean()) / train.std())
    assert torch.allclose(fashion.test.tensors[0].squeeze(1), (test - train.mean()) / train.std())
    assert fashion.test.tensors[1].tolist() == arrays["t10k-labels-idx1-ubyte"].tolist()


def test_missing_fashion_mnist_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nno route to host")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", no_network)
    with pytest.raises(InputError) as caught:
        data.load("fashion-mnist", tmp_path)
    message = str(caught.value)
    assert f"not in {tmp_path} and could not be downloaded (Error downloading" in message
    assert "dataset-fashion-mnist" in message
    assert "--data-dir /usr/share/datasets/fashion-mnist" in message
    assert "\n" not in message


@pytest.mark.parametrize("raw", [b"", b"<html>", struct.pack(">BBBBi", 0, 0, 8, 1, 9) + b"abc"])
def test_damaged_file_is_named(tmp_path: Path, arrays: dict[str, np.ndarray], raw: bytes) -> None:
    for name, values in arrays.items():
        write_idx(tmp_path, name, values)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(raw)
    with pytest.raises(InputError, match=r"t10k-labels-idx1-ubyte is not a whole IDX file"):
        data.load("fashion-mnist", tmp_path)


def test_truncated_gzip_is_named(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    for name, values in arrays.items():
        write_idx(tmp_path, name, values, ".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.gz is not a whole IDX file"):
        data.load("fashion-mnist", tmp_path)


def test_unknown_data_set_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"called 'cifar'; there are digits and fashion-mnist"):
        data.load("cifar")


def test_one_channel_is_repeated_for_models_of_colour_images() -> None:
    digits = data.load("digits")
    colour = digits.with_channels(3)
    assert colour.shape == (3, 8, 8)
    assert torch.equal(colour.test.tensors[0][:, 2:], digits.test.tensors[0])
    assert torch.equal(colour.train.tensors[1], digits.train.tensors[1])


@pytest.mark.data
def test_the_debian_package_is_found_without_a_folder() -> None:
    fashion = data.load("fashion-mnist")
    assert fashion.shape == (1, 28, 28)
    assert (len(fashion.train), len(fashion.test)) == (60_000, 10_000)
    assert fashion.train.tensors[1].bincount().tolist() == [6_000] * 10
