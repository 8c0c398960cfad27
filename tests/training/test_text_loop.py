"""The training of language models: what it computes, that it goes on where it was, and what it leaves."""

from __future__ import annotations

import copy
import io
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from autosubnet.errors import InputError, StateError
from autosubnet.supernets import DartsRnnNetwork, Dropouts, RecurrentGenotype
from autosubnet.training import text_loop
from autosubnet.training.sequences import columns, perplexity, windows
from autosubnet.training.text import TextData

GENOTYPE = RecurrentGenotype({1: (("tanh", 0),), 3: (("identity", 1), ("relu", 0))})
OPTIONS = {"batch_size": 6, "lr": 8.0, "window": 5, "console": Console(file=io.StringIO())}
VOCABULARY = tuple("abcdefg")


def text() -> TextData:
    """Words that hardly tell the next, so that the perplexity soon rises again."""
    generator = torch.Generator().manual_seed(0)
    parts = (torch.randint(len(VOCABULARY), (count,), generator=generator) for count in (200, 80, 80))
    return TextData("letters", VOCABULARY, *parts)


def network(dropouts: Dropouts | None = None) -> DartsRnnNetwork:
    torch.manual_seed(0)
    return DartsRnnNetwork(GENOTYPE, len(VOCABULARY), 8, dropouts=dropouts)


def trained(epochs: int, checkpoint: Path | None = None) -> tuple[dict[str, Tensor], list[dict[str, float]]]:
    model = network()
    record = text_loop.train(model, text(), epochs=epochs, checkpoint=checkpoint, about={"lr": "8"}, **OPTIONS)
    return {**model.state_dict(), "drawn": torch.rand(())}, record


def written_out(epochs: int) -> tuple[DartsRnnNetwork, list[float]]:
    """Gradient descent, and the mean of all weights since it began to get worse."""
    data, model = text(), network()
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), OPTIONS["lr"], weight_decay=text_loop.WEIGHT_DECAY)
    reached: list[float] = []
    best, sums, count = copy.deepcopy(model), None, 0
    for _ in range(epochs):
        hidden = None
        for words, following in windows(columns(data.train, 6), 5):
            logits, hidden = model(words, None if hidden is None else hidden.detach())
            optimizer.zero_grad()
            cross_entropy(logits.flatten(0, 1), following.flatten()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), text_loop.CLIP)
            optimizer.step()
            if sums is not None:
                count += 1
            if count > 1:  # torch's averages begin with the second step
                sums = [total + p.detach() for total, p in zip(sums, model.parameters(), strict=True)]
        measured = copy.deepcopy(model)
        if sums is not None:
            for p, total in zip(measured.parameters(), sums, strict=True):
                p.data = total / (count - 1)
        value = perplexity(measured, data.valid, length=5)
        if value < min(reached, default=math.inf):
            best = measured
        if sums is None and len(reached) > 5 and value > min(reached[:-5]):
            sums = [torch.zeros_like(p) for p in model.parameters()]
        reached.append(value)
    return best, reached


def test_against_a_loop_written_out() -> None:
    best, reached = written_out(16)
    found, record = trained(16)
    assert [each["perplexity"] for each in record] == pytest.approx(reached, rel=1e-5)
    assert max(reached[8:]) < max(reached[:8]), "averages are to make a difference"
    for name, value in best.state_dict().items():
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("stop", [1, 6, 9, 15])
def test_interrupted_it_ends_bit_for_bit_the_same(stop: int, tmp_path: Path) -> None:
    """Ahead of the averages and after; dropout draws on."""
    expected, record = trained(16)
    trained(stop, tmp_path / "run.pt")
    torch.manual_seed(99)
    found, resumed = trained(16, tmp_path / "run.pt")
    assert resumed == record
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_network_is_the_best_on_the_validation_part() -> None:
    model = network()
    record = text_loop.train(model, text(), epochs=7, **OPTIONS)
    reached = [each["perplexity"] for each in record]
    assert perplexity(model, text().valid, length=5) == min(reached) < reached[-1]


def test_averages_last_as_long_as_their_block() -> None:
    model = nn.Linear(2, 1)
    optimizer = torch.optim.ASGD(model.parameters(), 0.1, lambd=0, t0=0)
    weights = []
    for _ in range(3):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        weights.append(model.weight.detach().clone())
    with text_loop.averages(optimizer):
        assert torch.allclose(model.weight, torch.stack(weights[1:]).mean(0))
    assert torch.equal(model.weight, weights[-1])


def test_the_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    trained(1, tmp_path / "run.pt")
    with pytest.raises(StateError, match="lr is 8 there and 9 here"):
        text_loop.train(network(), text(), epochs=2, checkpoint=tmp_path / "run.pt", about={"lr": "9"}, **OPTIONS)
    shorter = replace(text(), train=text().train[:150])
    with pytest.raises(StateError, match="words is 200 there and 150 here"):
        text_loop.train(network(), shorter, epochs=2, checkpoint=tmp_path / "run.pt", about={"lr": "8"}, **OPTIONS)


def test_a_training_needs_an_epoch() -> None:
    with pytest.raises(InputError, match="at least one epoch, got 0"):
        text_loop.train(network(), text(), epochs=0, **OPTIONS)
