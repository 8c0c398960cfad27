"""The evaluation of SparseNAS: stack the cells of a genotype, train the network from new weights, measure it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from rich.console import Console

from autosubnet.api import remove_zeros
from autosubnet.errors import InputError
from autosubnet.export import export_onnx, save
from autosubnet.supernets import DartsNetwork, Genotype
from autosubnet.supernets.darts_evaluation import DropPath
from autosubnet.training import loop, measure
from autosubnet.training.cell_settings import CellSettings
from autosubnet.training.cutout import cutout
from autosubnet.training.data import ImageData, load
from autosubnet.training.folder import checkpoint_in, make_folder
from autosubnet.viz.report import Row

MOMENTUM = 0.9
WEIGHT_DECAY = 3e-4
CLIP = 5.0
_EXAMPLES = 8


@dataclass(frozen=True)
class CellResult:
    """What a trained network of derived cells is worth, and what it takes to repeat it.

    Attributes:
        num_params: scalar parameters, without the auxiliary head.
        multiply_adds: for one image.
        accuracy: 0 to 1, on the test images.
        losses: mean training loss of every epoch.
        settings: the arguments.
        command: what was typed.
        environment: see :func:`autosubnet.training.measure.environment`.
    """

    num_params: int
    multiply_adds: int
    accuracy: float
    losses: tuple[float, ...]
    settings: dict[str, str | int | float]
    command: str
    environment: dict[str, str]

    def rows(self) -> tuple[Row, ...]:
        """Return what was measured, one line a quantity."""
        return (
            Row("parameters", "", f"{self.num_params:,}", ""),
            Row("multiply-adds an image", "", f"{self.multiply_adds / 1e6:.2f} M", ""),
            Row("accuracy", "", f"{self.accuracy:.2%}", ""),
        )


def read_genotype(path: Path) -> Genotype:
    """Read the genotype that a search wrote.

    Raises:
        InputError: there is no such file, or it holds no genotype.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}); pass the genotype.json that a search wrote.") from error
    try:
        return Genotype.from_json(text)
    except InputError as error:
        raise InputError(f"{path} holds no genotype of darts: {error}") from error


def build(settings: CellSettings, data: ImageData) -> DartsNetwork:
    """Return the network with new weights.

    Raises:
        InputError: see :func:`read_genotype` and :class:`autosubnet.supernets.DartsNetwork`.
    """
    found = read_genotype(settings.genotype)
    set_seed(settings.seed)
    return DartsNetwork(
        found, settings.channels, settings.cells, drop_path=settings.drop_path,
        auxiliary_weight=settings.auxiliary_weight, in_channels=data.shape[0], num_classes=data.num_classes,
    )  # fmt: skip


def run(
    settings: CellSettings, out: Path, command: str, console: Console | None = None, *, resume: bool = False
) -> CellResult | None:
    """Train, and fill the folder ``out``; under ``accelerate launch`` the first process fills it.

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
    make_folder(out)
    data = load(settings.data, settings.data_dir)
    model = build(settings, data)
    checkpoint = checkpoint_in(out, resume=resume)
    losses = train(model, data, settings, console, checkpoint)
    if not Accelerator().is_main_process:
        return None
    images = data.test.tensors[0][:_EXAMPLES]
    network = remove_zeros(model.cpu().eval(), images)
    network.eval()
    result = CellResult(
        num_params=sum(p.numel() for name, p in model.named_parameters() if not name.startswith("auxiliary.")),
        multiply_adds=measure.multiply_adds(model, images),
        accuracy=loop.accuracy(model, data.test),
        losses=tuple(losses),
        settings={name: value if isinstance(value, int | float) else str(value or "")
                  for name, value in asdict(settings).items()},
        command=command,
        environment=measure.environment(),
    )  # fmt: skip
    (out / "result.json").write_text(json.dumps(asdict(result), indent=2) + "\n", "utf-8")
    save(network, out / "network")
    export_onnx(network, out / "network.onnx", images)
    checkpoint.unlink()
    return result


def train(
    model: DartsNetwork,
    data: ImageData,
    settings: CellSettings,
    console: Console | None = None,
    checkpoint: Path | None = None,
) -> list[float]:
    """Train the network in place; return the mean loss of every epoch.

    Raises:
        AutoSubnetError: see :func:`autosubnet.training.loop.train`.
    """
    dropped = [module for module in model.modules() if isinstance(module, DropPath)]

    def grow(epoch: int) -> None:
        for module in dropped:
            module.probability = settings.drop_path * epoch / settings.epochs

    optimizer = torch.optim.SGD(model.parameters(), settings.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    return loop.train(
        model,
        optimizer,
        data.train,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=settings.seed,
        loss=model.loss,
        augment=partial(cutout, side=settings.cutout),
        clip=CLIP,
        begin_epoch=grow,
        title=f"{settings.genotype.name} on {data.name}",
        console=console,
        checkpoint=checkpoint,
        about={name: str(value) for name, value in asdict(settings).items() if name != "data_dir"},
    )
