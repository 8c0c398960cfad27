"""The main job from end to end: build a supernet, search it, construct the subnet, measure, write it down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.console import Console
from torch import fx, nn

from autosubnet.api import AutoSubnet
from autosubnet.errors import InputError
from autosubnet.export import export_onnx, save
from autosubnet.optim import H2SPG
from autosubnet.optim.schedule import Progress
from autosubnet.subnet.report import Report
from autosubnet.supernets import create
from autosubnet.training import loop, measure
from autosubnet.training.data import ImageData, load
from autosubnet.training.folder import CHECKPOINT, begin
from autosubnet.training.page import write_page
from autosubnet.training.results import Figures, Result
from autosubnet.training.settings import Settings

MOMENTUM = 0.9
WEIGHT_DECAY = 5e-4
_EXAMPLES = 8


@dataclass(frozen=True)
class Search:
    """A finished search: the trained supernet with its zeros, their names, and what is left without them."""

    oto: AutoSubnet
    subnet: fx.GraphModule
    removed: tuple[str, ...]
    epochs: list[loop.Epoch]
    seconds: float

    @property
    def report(self) -> Report:
        """What the construction says about the subnet."""
        report: Report = self.subnet.meta["autosubnet"]
        return report


def build(settings: Settings, data: ImageData) -> tuple[nn.Module, ImageData]:
    """Return the supernet for the data, and the data as it takes them: zoo models read three channels.

    Raises:
        InputError: see :func:`autosubnet.supernets.create`; or it reads no images.
    """
    if settings.supernet == "darts_rnn":
        raise InputError("darts_rnn reads texts, and its paths are searched; pass --method adamhapg or hapg.")
    set_seed(settings.seed)
    if ":" in settings.supernet:
        data = data.with_channels(3)
        sizes: dict[str, Any] = {"num_classes": data.num_classes}
    else:
        sizes = {"num_classes": data.num_classes, "in_channels": data.shape[0]}
    if settings.width is not None:
        sizes["width"] = settings.width
    return create(settings.supernet, **sizes), data


def search(
    model: nn.Module,
    data: ImageData,
    settings: Settings,
    console: Console | None = None,
    start: Callable[[], Path | None] = lambda: None,
) -> Search:
    """Train the model once with H2SPG and construct its subnet; both end up on the CPU.

    Args:
        model: the supernet.
        data: what it is trained on.
        settings: how.
        console: where the progress bar goes.
        start: is called ahead of the training, when nothing was refused; returns the checkpoint for
            :func:`autosubnet.training.loop.train`.

    Raises:
        AutoSubnetError: whatever the stages raise.
    """
    total_steps = loop.num_steps(data.train, settings.batch_size, settings.epochs)
    oto = AutoSubnet(model, data.train.tensors[0][:_EXAMPLES])
    optimizer = oto.h2spg(
        lr=settings.lr,
        total_steps=total_steps,
        target_group_sparsity=settings.sparsity,
        target_num_params=settings.num_params,
        target_flops=settings.flops,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
    )
    checkpoint = start()
    begun = time.perf_counter()
    epochs = loop.train(
        model,
        optimizer,
        data.train,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=settings.seed,
        title=f"{settings.supernet} on {data.name}",
        status=lambda: _status(optimizer.progress()),
        observe=lambda: _seen(oto, optimizer),
        console=console,
        checkpoint=checkpoint,
        about={name: str(value) for name, value in asdict(settings).items() if name != "data_dir"},
    )
    seconds = time.perf_counter() - begun
    model.cpu()
    return Search(oto, oto.construct_subnet(), optimizer.progress().chosen, epochs, seconds)


def _status(progress: Progress) -> str:
    return f"{progress.phase}, {progress.num_zero} of {progress.num_groups} groups at zero"


def _seen(oto: AutoSubnet, optimizer: H2SPG) -> dict[str, Any]:
    """Return what the curves of a search show, at the end of an epoch."""
    progress = optimizer.progress()
    scores = dict(zip((group.name for group in oto.groups), optimizer.scores.tolist(), strict=True))
    return {"phase": progress.phase, "num_zero": progress.num_zero, "scores": scores}


def run(
    settings: Settings, out: Path, command: str, console: Console | None = None, *, resume: bool = False
) -> Result | None:
    """Do the main job and fill the folder ``out``; under ``accelerate launch`` the first process fills it.

    Args:
        settings: what to do.
        out: made if missing; files of an earlier run are replaced.
        command: what was typed, for the record.
        console: where the progress bar goes.
        resume: go on where an earlier run into ``out`` was interrupted; it starts anew where there is none.

    Returns:
        What was measured, also in ``out/result.json``; ``None`` on other processes than the first.

    Raises:
        AutoSubnetError: whatever the stages raise, input errors before any training.
    """
    model, data = build(settings, load(settings.data, settings.data_dir))
    found = search(model, data, settings, console, lambda: begin(out, settings, resume=resume))
    if not Accelerator().is_main_process:
        return None
    images = data.test.tensors[0][:_EXAMPLES]
    paths = {"supernet": out / "supernet.onnx", "subnet": out / "subnet.onnx"}
    networks = {"supernet": model, "subnet": found.subnet}
    for name, network in networks.items():
        export_onnx(network, paths[name], images)
    latency = measure.onnx_latency(paths, images[:1])
    figures = {
        name: Figures(
            num_params=measure.num_params(network),
            multiply_adds=measure.multiply_adds(network, images),
            accuracy=loop.accuracy(network, data.test),
            latency_ms=latency[name],
        )
        for name, network in networks.items()
    }
    result = _result(found, figures, settings, command)
    result.write(out / "result.json")
    save(found.subnet, out / "subnet")
    write_page(result, found.oto, found.subnet, out)
    (out / CHECKPOINT).unlink()
    return result


def _result(found: Search, figures: dict[str, Figures], settings: Settings, command: str) -> Result:
    report = found.report
    return Result(
        supernet=figures["supernet"],
        subnet=figures["subnet"],
        num_groups=len(found.oto.groups),
        removed=found.removed,
        max_difference=report.max_difference,
        relative_difference=report.relative_difference,
        dtype=report.dtype,
        losses=tuple(each.loss for each in found.epochs),
        history=tuple(each.seen for each in found.epochs),
        seconds=found.seconds,
        settings={**asdict(settings), "data_dir": str(settings.data_dir or "")},
        command=command,
        environment=measure.environment(),
    )
