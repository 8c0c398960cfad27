"""Image classification data sets that need no account: scikit-learn's digits and Fashion-MNIST.

Images stay at their own size: digits are 1x8x8, Fashion-MNIST is 1x28x28. Both are scaled to mean 0 and
variance 1 by the statistics of the training images, all pixels together.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from autosubnet.errors import InputError

_DEBIAN_DIR = Path("/usr/share/datasets/fashion-mnist")
_IDX_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


@dataclass(frozen=True)
class ImageData:
    """A data set in memory.

    Attributes:
        name: what :func:`load` was asked for.
        train: images ``(N, C, H, W)`` float32 and labels ``(N,)`` int64 to train on.
        test: the same, to measure on; never trained on.
        num_classes: labels are 0 to ``num_classes - 1``.
    """

    name: str
    train: TensorDataset
    test: TensorDataset
    num_classes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train.tensors[0].shape[1:]
        return channels, height, width

    def with_channels(self, channels: int) -> ImageData:
        """Return the same data with the one channel of its images repeated, for models of colour images."""
        train, test = (
            TensorDataset(part.tensors[0].expand(-1, channels, -1, -1), part.tensors[1])
            for part in (self.train, self.test)
        )
        return ImageData(self.name, train, test, self.num_classes)


def load(name: str, data_dir: Path | None = None) -> ImageData:
    """Load a data set.

    Args:
        name: ``"digits"`` or ``"fashion-mnist"``.
        data_dir: where the files are, or are downloaded to; digits come with scikit-learn and need none.
            ``None`` means the folder of Debian's package where that is installed, else ``./data``.

    Raises:
        InputError: if the name is unknown, or the files are missing, damaged, or cannot be downloaded.
    """
    if name not in _LOADERS:
        raise InputError(f"No data set is called {name!r}; there are {' and '.join(_LOADERS)}.")
    return _LOADERS[name](data_dir)


def _digits(_: Path | None) -> ImageData:
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ModuleNotFoundError as error:
        raise InputError("digits come with scikit-learn; try: pip install 'autosubnet[train]'") from error
    digits = load_digits()
    split = train_test_split(digits.images, digits.target, test_size=0.2, random_state=0, stratify=digits.target)
    train_images, test_images, train_labels, test_labels = (torch.from_numpy(part) for part in split)
    return _image_data("digits", train_images, train_labels, test_images, test_labels)


def _fashion_mnist(data_dir: Path | None) -> ImageData:
    folder = data_dir or (_DEBIAN_DIR if _DEBIAN_DIR.is_dir() else Path("data"))
    paths = {part: _find(folder, name) for part, name in _IDX_FILES.items()}
    if not all(paths.values()):
        folder = _download(folder)
        paths = {part: _find(folder, name) for part, name in _IDX_FILES.items()}
    return _image_data("fashion-mnist", **{part: _read_idx(path) for part, path in paths.items() if path})


def _find(folder: Path, name: str) -> Path | None:
    """Return the file, plain or gzipped, in the folder itself or where torchvision keeps it."""
    places = (folder, folder / "FashionMNIST" / "raw")
    paths = (place / f"{name}{suffix}" for place in places for suffix in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def _download(folder: Path) -> Path:
    try:
        from torchvision.datasets import FashionMNIST

        FashionMNIST(str(folder), download=True)
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".:")
        raise InputError(
            f"Fashion-MNIST is not in {folder} and could not be downloaded ({reason}); install "
            f"Debian's package dataset-fashion-mnist and pass --data-dir {_DEBIAN_DIR}, or pass any folder with "
            "its four IDX files."
        ) from error
    return folder


def _read_idx(path: Path) -> Tensor:
    """Read an IDX file of bytes: 0, 0, 8, number of dimensions, their sizes as big-endian int32, the data."""
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if raw[:3] != b"\0\0\x08":
            raise ValueError("it does not begin with 0, 0, 8")
        dims = raw[3]
        shape = np.frombuffer(raw, dtype=">i4", count=dims, offset=4)
        values = np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * dims).reshape(shape)
    except (OSError, EOFError, IndexError, ValueError, zlib.error) as error:
        raise InputError(f"{path} is not a whole IDX file ({error}); delete it and get it again.") from error
    return torch.from_numpy(values.copy())


def _image_data(
    name: str, train_images: Tensor, train_labels: Tensor, test_images: Tensor, test_labels: Tensor
) -> ImageData:
    pixels = train_images.float()
    mean, std = pixels.mean(), pixels.std()
    train, test = (
        TensorDataset(((images.float() - mean) / std).unsqueeze(1), labels.long())
        for images, labels in ((train_images, train_labels), (test_images, test_labels))
    )
    return ImageData(name, train, test, num_classes=int(train_labels.max()) + 1)


_LOADERS: dict[str, Callable[[Path | None], ImageData]] = {"digits": _digits, "fashion-mnist": _fashion_mnist}
