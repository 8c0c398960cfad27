"""A search over paths from end to end: build a supernet, search, derive, construct, measure, draw, write it down."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from accelerate.utils import set_seed
from torch import fx, nn

from autosubnet.api import AutoSubnet, remove_zeros
from autosubnet.errors import AutoSubnetWarning, InputError
from autosubnet.export import export_onnx, save
from autosubnet.graph.groups import Group, ParameterSlice
from autosubnet.supernets import Darts, Genotype, create, genotype, nodes
from autosubnet.supernets.darts_skeleton import EDGES, INNER, KINDS
from autosubnet.training import loop, measure
from autosubnet.training.data import ImageData, load
from autosubnet.training.path_loop import Epoch, path_steps, search_paths
from autosubnet.training.path_settings import PathSettings
from autosubnet.training.results import tell_difference
from autosubnet.viz.cells import cell_picture
from autosubnet.viz.curves import accuracy_by_lambda, heat_maps, save_figure
from autosubnet.viz.report import Row

CHECKPOINT = "checkpoint.pt"
_EXAMPLES = 8
_INPUTS = ("cell k-2", "cell k-1")


@dataclass(frozen=True)
class Supernet:
    """What is searched.

    Attributes:
        model: the network with path weights.
        groups: of these, those into one joint each.
        outgoing: for a group by name the weights of the paths out of its node, where that is known.
    """

    model: nn.Module
    groups: tuple[Group, ...]
    outgoing: Mapping[str, Sequence[ParameterSlice]]


@dataclass(frozen=True)
class PathResult:
    """What a search over paths left, and what it takes to repeat it.

    Attributes:
        num_params: scalar parameters of the supernet and of the derived network.
        multiply_adds: the same, for one image.
        accuracy: 0 to 1, of the derived supernet and of the network constructed from it, on the test images.
        paths: how many there were and are.
        nodes: the same.
        max_difference: largest difference of an output of the two, over the checked inputs.
        epochs: what each ended with.
        seconds: duration of the search.
        settings: the arguments.
        command: what was typed.
        environment: see :func:`autosubnet.training.measure.environment`.
    """

    num_params: tuple[int, int]
    multiply_adds: tuple[int, int]
    accuracy: tuple[float, float]
    paths: tuple[int, int]
    nodes: tuple[int, int]
    max_difference: float | None
    epochs: tuple[Epoch, ...]
    seconds: float
    settings: Mapping[str, str | int | float | None]
    command: str
    environment: Mapping[str, str]

    def rows(self) -> tuple[Row, ...]:
        """Return the comparison, one line a quantity."""
        (p, q), (f, g), (a, b) = self.num_params, self.multiply_adds, self.accuracy
        return (
            Row("paths", str(self.paths[0]), str(self.paths[1]), ""),
            Row("nodes", str(self.nodes[0]), str(self.nodes[1]), ""),
            Row("parameters", f"{p:,}", f"{q:,}", f"{q / p:.0%} are left"),
            Row("multiply-adds an image", f"{f / 1e6:.2f} M", f"{g / 1e6:.2f} M", f"{g / f:.0%} are left"),
            Row("accuracy, weights inherited", f"{a:.2%}", f"{b:.2%}", ""),
            Row("largest output difference", "", tell_difference(self.max_difference), ""),
        )


def build(settings: PathSettings, data: ImageData) -> tuple[Supernet, ImageData]:
    """Return the supernet for the data, and the data as it takes them: zoo models read three channels.

    Raises:
        InputError: see :func:`autosubnet.supernets.create`, or a model without joints.
    """
    set_seed(settings.seed)
    if settings.supernet == "darts":
        model = create(
            "darts", architecture_weights=True, channels=settings.channels, cells=settings.cells, space=settings.space,
            in_channels=data.shape[0], num_classes=data.num_classes,
        )  # fmt: skip
        found = nodes(model)
        return Supernet(model, found.groups, found.outgoing), data
    if ":" in settings.supernet:
        data = data.with_channels(3)
        model = create(settings.supernet, num_classes=data.num_classes)
    else:
        model = create(settings.supernet, num_classes=data.num_classes, in_channels=data.shape[0])
    oto = AutoSubnet(model, data.train.tensors[0][:_EXAMPLES], architecture_weights=True)
    return Supernet(oto.model, oto.paths, {}), data


def run(
    settings: PathSettings,
    out: Path,
    command: str,
    watch: Callable[[Sequence[Epoch], int, int], None] = lambda epochs, step, steps: None,
    *,
    resume: bool = False,
) -> PathResult:
    """Search, and fill the folder ``out``.

    Args:
        settings: what to do.
        out: made if missing; files of an earlier run are replaced.
        command: what was typed, for the record.
        watch: is told after each step the epochs so far, how many steps were taken, and how many there are.
        resume: go on where an earlier run into ``out`` was interrupted; it starts anew where there is none.

    Raises:
        AutoSubnetError: whatever the stages raise, input errors before any training; no path is left.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out} cannot be made a folder ({error.strerror}); choose another.") from error
    supernet, data = build(settings, load(settings.data, settings.data_dir))
    model, images = supernet.model, data.test.tensors[0][:_EXAMPLES]
    steps = path_steps(data.train, settings)
    before = (measure.num_params(model), measure.multiply_adds(model, images))
    checkpoint = out / CHECKPOINT
    if not resume:
        checkpoint.unlink(missing_ok=True)
    start = time.perf_counter()
    architecture, epochs = search_paths(
        model, supernet.groups, data.train, settings,
        watch=lambda done, step: watch(done, step, steps), checkpoint=checkpoint,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    zero = architecture.derive(supernet.outgoing)
    model.cpu().eval()
    try:
        cells = genotype(model) if isinstance(model, Darts) else None
        subnet = _construct(model, images)
    except InputError as error:
        raise InputError(
            f"{error} The penalty took too much: take a smaller lambda step or fewer epochs, into another folder."
        ) from error
    report = subnet.meta["autosubnet"]
    left = sum(int(value.count_nonzero()) for value in architecture.proximal().values())
    result = PathResult(
        num_params=(before[0], measure.num_params(subnet)),
        multiply_adds=(before[1], measure.multiply_adds(subnet, images)),
        accuracy=(loop.accuracy(model, data.test), loop.accuracy(subnet, data.test)),
        paths=(epochs[-1].num_paths, left),
        nodes=(len(supernet.groups), len(supernet.groups) - len(zero)),
        max_difference=report.max_difference,
        epochs=tuple(epochs),
        seconds=seconds,
        settings={**asdict(settings), "data_dir": str(settings.data_dir or "")},
        command=command,
        environment=measure.environment(),
    )
    save(subnet, out / "subnet")
    export_onnx(subnet, out / "subnet.onnx", images)
    (out / "result.json").write_text(json.dumps(asdict(result), indent=2) + "\n", "utf-8")
    _draw(epochs, out)
    if cells is not None:
        _tell(cells, model, epochs, out)
    checkpoint.unlink()
    return result


def _construct(model: nn.Module, images: torch.Tensor) -> fx.GraphModule:
    """Construct the derived network; one whose outputs nothing reaches any more is refused."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=AutoSubnetWarning)
        subnet = remove_zeros(model, images)
    if subnet.meta["autosubnet"].constant_outputs:
        raise InputError("No path from the images to the output is left.")
    return subnet


def _draw(epochs: Sequence[Epoch], out: Path) -> None:
    shares = [each.zero_paths / each.num_paths for each in epochs]
    save_figure(
        accuracy_by_lambda([each.lam for each in epochs], [each.accuracy for each in epochs], shares),
        out / "accuracy.svg",
    )


def _tell(cells: Genotype, model: nn.Module, epochs: Sequence[Epoch], out: Path) -> None:
    """Write the genotype, its cells as pictures, and their weights over time."""
    assert isinstance(model, Darts)
    (out / "genotype.json").write_text(cells.to_json() + "\n", "utf-8")
    edges = [
        f"{_INPUTS[source] if source < len(_INPUTS) else source - INNER[0]} to {node - INNER[0]}"
        for source, node in EDGES
    ]
    for kind in KINDS:
        cell_picture(getattr(cells, kind), _INPUTS, "cell k").save(out / f"{kind}.svg")
        maps = heat_maps(
            [each.weights[f"architecture.{kind}"] for each in epochs],
            [f"epoch {number + 1}" for number in range(len(epochs))],
            edges,
            model.operations[kind],
            f"architecture weights, {kind} cell",
        )
        save_figure(maps, out / f"{kind}_weights.svg")
