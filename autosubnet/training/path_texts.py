"""A search over the paths of the recurrent cell: weights on the training part of a text, paths on the validation part.

As in DARTS' code, but for windows of one length where it draws them, and plain SGD to the end where it goes over to
averages. The state goes from window to window; an epoch begins with none.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import Any

import torch
from accelerate.utils import set_seed
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from autosubnet.supernets import DartsRnn, nodes, recurrent_genotype
from autosubnet.supernets.darts_recurrent import SPACE
from autosubnet.training.path_problem import Cell, Paths, Recipe, edge_names
from autosubnet.training.path_settings import PathSettings
from autosubnet.training.sequences import columns, perplexity, windows
from autosubnet.training.text import TextData, python_topics, read_text

_EXAMPLES = 4
_INPUTS = ("x and h",)
Batch = tuple[str, Tensor, Tensor, Tensor | None]
"""Of which part; words ``(T, B)``, the words that follow them, and the state before ``(B, size)``."""


class TextPaths:
    """See :class:`autosubnet.training.path_problem.PathProblem`; the recipe is that of SparseNAS and DARTS for texts.

    Args:
        model: the supernet.
        data: the text.
        batch_size: columns that each part of the text is cut into.
        window: words of a column that are run at once.

    Raises:
        InputError: see :func:`autosubnet.training.sequences.columns`.
    """

    recipe = Recipe(lr=20.0, momentum=0.0, weight_decay=5e-7, cosine=False, clip=0.25, adamhapg_lr=1e-4)
    measure = "perplexity"

    def __init__(self, model: DartsRnn, data: TextData, batch_size: int, window: int) -> None:
        found = nodes(model)
        self.model, self.data, self.window = model, data, window
        self.paths = Paths(found.groups, found.outgoing)
        self.texts = {part: columns(getattr(data, part), batch_size) for part in ("train", "valid")}
        self.steps = sum(1 for _ in windows(self.texts["train"], window))
        self.title = f"darts_rnn on {data.name}"
        self._states: dict[str, Tensor] = {}

    @classmethod
    def build(cls, settings: PathSettings) -> TextPaths:
        """Create the supernet and read the text.

        Raises:
            InputError: see :func:`autosubnet.training.text.read_text`.
        """
        data = python_topics() if settings.data_dir is None else read_text(settings.data_dir)
        set_seed(settings.seed)
        model = DartsRnn(len(data.vocabulary), settings.size)
        return cls(model, data, settings.batch_size, settings.window)

    def batches(self, order: torch.Generator, device: torch.device) -> Iterator[tuple[Batch, Batch]]:
        """Yield the windows of the training part in order, each with one of the validation part."""
        self._states.clear()
        unseen = cycle(enumerate(windows(self.texts["valid"], self.window)))
        for seen in windows(self.texts["train"], self.window):
            number, other = next(unseen)
            if number == 0:
                self._states.pop("valid", None)
            pairs = {"train": seen, "valid": other}
            first, second = (
                (part, words.to(device), following.to(device), self._states.get(part))
                for part, (words, following) in pairs.items()
            )
            yield first, second

    def loss(self, network: Callable[..., Any], batch: Batch) -> Tensor:
        """Return the cross-entropy of the words that follow; the state is kept for the next window."""
        part, words, following, before = batch
        logits, state = network(words, before)
        self._states[part] = state.detach()
        return cross_entropy(logits.flatten(0, 1), following.flatten())

    def score(self, model: nn.Module, *, test: bool = False) -> float:
        """Return the perplexity, on the validation or the test part."""
        return perplexity(model, self.data.test if test else self.data.valid, length=self.window)

    def genotype(self) -> tuple[str, Sequence[Cell]]:
        """Return the recurrent cell."""
        found = recurrent_genotype(self.model)
        rows = edge_names(SPACE.edges, _INPUTS)
        cell = Cell("recurrent", found.recurrent, _INPUTS, "h after", "cell.architecture", rows, list(SPACE.operations))
        return found.to_json(), [cell]

    def captured(self) -> tuple[nn.Module, tuple[Tensor, ...]]:
        """Return the cell, and an input and a state."""
        return self.model.cell, (torch.randn(_EXAMPLES, self.model.size), torch.randn(_EXAMPLES, self.model.size))

    def with_subnet(self, subnet: nn.Module) -> nn.Module:
        """Return a language model with another cell."""
        model = copy.copy(self.model)
        model._modules = {**self.model._modules, "cell": subnet}
        return model
