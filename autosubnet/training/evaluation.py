"""The network that a run left, measured again on data of its kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autosubnet.errors import InputError
from autosubnet.training import loop, measure
from autosubnet.training.cell_experiment import CellResult
from autosubnet.training.finished import FinishedRun
from autosubnet.training.results import tell_score
from autosubnet.training.sequences import WordByWord, perplexity
from autosubnet.viz.report import Row


@dataclass(frozen=True)
class Evaluation:
    """What was measured.

    Attributes:
        data: name of the data.
        num_params: scalar parameters of the network.
        multiply_adds: for one image, or one word.
        scores: on data that it was not trained on, by what is measured.
    """

    data: str
    num_params: int
    multiply_adds: int
    scores: Mapping[str, float]

    def rows(self) -> tuple[Row, ...]:
        """Return what was measured, one line a quantity."""
        return (
            Row("parameters", "", f"{self.num_params:,}", ""),
            Row("multiply-adds", "", f"{self.multiply_adds / 1e6:.2f} M", ""),
            *(Row(name, "", tell_score(name, value), "") for name, value in self.scores.items()),
        )


def evaluate(run: FinishedRun, data: str | None = None, data_dir: Path | None = None) -> Evaluation:
    """Measure the network of a run on its data, or on other.

    Args:
        run: the folder.
        data: name of images, see :func:`autosubnet.training.data.load`; a text has none.
        data_dir: where the images or the text are.

    Raises:
        InputError: the data cannot be loaded or is not for this network, or the run left a cell alone.
        ExportError: the network is missing or damaged.
    """
    network, size = run.network(), run.text_size
    if size is None:
        images = run.images(data, data_dir)
        name, scores = images.name, {"accuracy": loop.accuracy(network, images.test)}
    elif not isinstance(run.result, CellResult):
        raise InputError(
            f"{run.folder} holds a recurrent cell without a language model around it; build one and train it with "
            f"autosubnet train {run.folder / 'genotype.json'}, and evaluate that."
        )
    elif data is not None:
        raise InputError(f"{run.folder} holds a network for texts, not for {data}; give the text with --data-dir.")
    else:
        text, model = run.text(data_dir), WordByWord(network, size)
        parts = {"validation perplexity": text.valid, "test perplexity": text.test}
        name, scores = text.name, {each: perplexity(model, words) for each, words in parts.items()}
    examples = tuple(each[:1] for each in run.examples())
    return Evaluation(name, measure.num_params(network), measure.multiply_adds(network, *examples), scores)
