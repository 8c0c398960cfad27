"""A folder that ``search`` or ``train`` filled: what it says, the network in it, and the data of its run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx

from autosubnet.errors import InputError
from autosubnet.export import load as load_network
from autosubnet.training.cell_experiment import CellResult
from autosubnet.training.data import ImageData, load
from autosubnet.training.path_loop import Epoch
from autosubnet.training.path_results import PathResult
from autosubnet.training.results import Figures, Result
from autosubnet.training.text import TextData, python_topics, read_text
from autosubnet.viz.report import Row

RESULT = "result.json"
_NETWORKS = ("subnet", "network")
_EXAMPLES = 2


@dataclass(frozen=True)
class FinishedRun:
    """What a run left.

    Attributes:
        folder: where it is.
        record: its ``result.json``, as it stands.
        result: the same, understood.
    """

    folder: Path
    record: dict[str, Any]
    result: Result | PathResult | CellResult

    @classmethod
    def read(cls, folder: Path) -> FinishedRun:
        """Read the folder of a run.

        Raises:
            InputError: the folder holds no result, or a damaged one.
        """
        path = folder / RESULT
        try:
            record = json.loads(path.read_text("utf-8"))
            return cls(folder, record, _understood(record))
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}); pass a folder that search or train filled."
            ) from error
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(f"{path} is no result of search or train ({error!r:.200}).") from error

    def rows(self) -> tuple[Row, ...]:
        """Return the comparison that the run printed, one line a quantity."""
        return self.result.rows()

    def network(self) -> fx.GraphModule:
        """Return the network that the run constructed or trained, in eval mode.

        Raises:
            ExportError: it is missing or damaged.
        """
        found = next((name for name in _NETWORKS if (self.folder / name).is_dir()), _NETWORKS[0])
        return load_network(self.folder / found).eval()

    @property
    def text_size(self) -> int | None:
        """The size of words and states where the run was on a text; ``None`` where it was on images."""
        settings = self.record["settings"]
        on_text = settings.get("supernet") == "darts_rnn" or "data" not in settings
        return int(settings["size"]) if on_text else None

    def images(self, name: str | None = None, data_dir: Path | None = None) -> ImageData:
        """Return the images that the run was on, or others.

        Args:
            name: see :func:`autosubnet.training.data.load`; that of the run by default.
            data_dir: the same.

        Raises:
            InputError: the data cannot be loaded.
        """
        settings = self.record["settings"]
        data = load(name or settings.get("data") or "digits", self._folder(data_dir))
        return data.with_channels(3) if ":" in settings.get("supernet", "") else data

    def text(self, data_dir: Path | None = None) -> TextData:
        """Return the text that the run was on, or another.

        Args:
            data_dir: see :func:`autosubnet.training.text.read_text`; that of the run by default.

        Raises:
            InputError: the text cannot be read, or is none that the network knows the words of.
        """
        folder = self._folder(data_dir)
        text = python_topics() if folder is None else read_text(folder)
        known = self.network().get_submodule("encoder").num_embeddings
        if len(text.vocabulary) != known:
            raise InputError(f"{text.name} has {len(text.vocabulary)} words, and the network in {self.folder} {known}.")
        return text

    def examples(self) -> tuple[Tensor, ...]:
        """Return inputs of the network, two of each."""
        if (size := self.text_size) is None:
            return (self.images().test.tensors[0][:_EXAMPLES],)
        state = torch.zeros(_EXAMPLES, size)
        if isinstance(self.result, CellResult):
            return torch.arange(_EXAMPLES), state
        return torch.linspace(-1, 1, _EXAMPLES * size).view(_EXAMPLES, size), state

    def _folder(self, data_dir: Path | None) -> Path | None:
        written = self.record["settings"].get("data_dir")
        return data_dir or (Path(written) if written else None)


def _understood(record: dict[str, Any]) -> Result | PathResult | CellResult:
    if "paths" in record:
        return PathResult(**{**record, "epochs": tuple(Epoch(**each) for each in record["epochs"])})
    if "subnet" in record:
        before, after = (Figures(**record[name]) for name in ("supernet", "subnet"))
        return Result(**{**record, "supernet": before, "subnet": after, "removed": tuple(record["removed"])})
    return CellResult(**{**record, "epochs": tuple(record["epochs"])})
