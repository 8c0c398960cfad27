"""A folder that ``search`` or ``train`` filled: what it says, the network in it, and the data of its run."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import fx

from autosubnet.errors import InputError
from autosubnet.export import load as load_network
from autosubnet.training.cell_experiment import CellResult
from autosubnet.training.data import ImageData, load
from autosubnet.training.path_loop import Epoch
from autosubnet.training.path_results import PathResult
from autosubnet.training.results import Figures, Result
from autosubnet.viz.report import Row

RESULT = "result.json"
_NETWORKS = ("subnet", "network")


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

    def data(self, name: str | None = None, data_dir: Path | None = None) -> ImageData:
        """Return the images that the run was on, or others.

        Args:
            name: see :func:`autosubnet.training.data.load`; that of the run by default.
            data_dir: the same.

        Raises:
            InputError: the run was on a text, or the data cannot be loaded.
        """
        settings = self.record["settings"]
        if settings.get("supernet") == "darts_rnn" or "data" not in settings:
            raise InputError(f"{self.folder} holds a cell for texts, and no network for images.")
        folder = data_dir or (Path(settings["data_dir"]) if settings.get("data_dir") else None)
        data = load(name or settings.get("data") or "digits", folder)
        return data.with_channels(3) if ":" in settings.get("supernet", "") else data


def _understood(record: dict[str, Any]) -> Result | PathResult | CellResult:
    if "paths" in record:
        return PathResult(**{**record, "epochs": tuple(Epoch(**each) for each in record["epochs"])})
    if "subnet" in record:
        before, after = (Figures(**record[name]) for name in ("supernet", "subnet"))
        return Result(**{**record, "supernet": before, "subnet": after, "removed": tuple(record["removed"])})
    return CellResult(**{**record, "epochs": tuple(record["epochs"])})
