"""The folder that a run fills, and what lies in it from the beginning: its settings and its checkpoint."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from autosubnet.errors import InputError
from autosubnet.training.cell_settings import CellSettings, RecurrentSettings
from autosubnet.training.config import write_config
from autosubnet.training.path_settings import PathSettings
from autosubnet.training.settings import Settings

CHECKPOINT = "checkpoint.pt"
CONFIG = "config.toml"


def begin(out: Path, settings: Settings | PathSettings | CellSettings | RecurrentSettings, *, resume: bool) -> Path:
    """Make the folder if it is missing, write the settings into it, and return where the checkpoint is.

    Unless the run is resumed, a checkpoint of an earlier one is removed; where one stays, so do its settings, which it
    holds the run to.

    Raises:
        InputError: the folder cannot be made.
    """
    checkpoint = out / CHECKPOINT
    processes = Accelerator()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be made a folder ({error.strerror}); choose another.") from error
    if processes.is_main_process:
        if not resume:
            checkpoint.unlink(missing_ok=True)
        if not checkpoint.exists():
            write_config(settings, out / CONFIG)
    processes.wait_for_everyone()
    return checkpoint
