"""The folder that a run fills, and the checkpoint in it."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from autosubnet.errors import InputError

CHECKPOINT = "checkpoint.pt"


def make_folder(out: Path) -> None:
    """Make the folder if it is missing.

    Raises:
        InputError: it cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be made a folder ({error.strerror}); choose another.") from error


def checkpoint_in(out: Path, *, resume: bool) -> Path:
    """Return where the checkpoint of a run is; unless it is to be resumed, the first process removes an earlier one."""
    checkpoint = out / CHECKPOINT
    processes = Accelerator()
    if not resume and processes.is_main_process:
        checkpoint.unlink(missing_ok=True)
    processes.wait_for_everyone()
    return checkpoint
