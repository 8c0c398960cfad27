"""State in plain attributes is refused by name; what is left there and not read, or is a table, is no state."""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autosubnet.capture import Inputs, capture
from autosubnet.errors import CaptureError

from .capturing import Applied, check, images


def read_then_replaced(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    if m.training:
        y = y - m.state
        m.state = 0.9 * m.state + y.detach().mean()
    return y


def replaced_then_read(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    if m.training:
        m.state = 0.9 * m.state + y.detach().mean()
    return y * m.state


def in_a_dict(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x) * m.table["state"]
    m.table["state"] = y.detach().mean()
    return y


def in_a_list_that_grows(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    if m.list:
        y = y - m.list[-1]
    m.list.append(y.detach().mean())
    return y


def the_first_input(m: Any, x: Tensor) -> Tensor:
    """Normalises by the first batch that it gets."""
    if m.first is None:
        m.first = x.detach().mean()
    return m.conv(x - m.first)


def of_train_mode_read_in_eval_mode(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    if m.training:
        m.state = y.detach().mean()
        return y
    return y - m.state


def model_of(body: Callable[[Any, Tensor], Any]) -> Applied:
    model = Applied(body)
    model.state, model.table, model.list, model.first = torch.zeros(()), {"state": torch.ones(())}, [], None
    return model


STATES = [
    (read_then_replaced, "state"),
    (replaced_then_read, "state"),
    (in_a_dict, "table"),
    (in_a_list_that_grows, "list"),
    (the_first_input, "first"),
    (of_train_mode_read_in_eval_mode, "state"),
]


@pytest.mark.parametrize(("body", "name"), STATES)
def test_state_is_refused_by_name(body: Callable[[Any, Tensor], Tensor], name: str) -> None:
    model = model_of(body)
    with pytest.raises(CaptureError, match=rf"tensor attribute '{name}' is state: .* register it as a buffer"):
        capture(model, Inputs.of(images()))
    assert torch.equal(model.state, torch.zeros(()))
    assert (model.table, model.list, model.first) == ({"state": torch.ones(())}, [], None)


def test_state_of_a_part_is_refused_by_its_path() -> None:
    outer = Applied(lambda m, x: m.part(x), part=model_of(read_then_replaced))
    with pytest.raises(CaptureError, match=r"tensor attribute 'part\.state' is state"):
        capture(outer, Inputs.of(images()))


def left_for_others(m: Any, x: Tensor) -> Tensor:
    m.features = m.conv(x)
    m.list.append(m.features)
    return m.features * 2


def a_table_of_sizes(m: Any, x: Tensor) -> Tensor:
    if m.first is None or m.first.shape[0] < x.shape[3]:
        m.first = torch.arange(x.shape[3]) + m.conv.bias.detach()[0]
    return m.conv(x) + m.first[: x.shape[3]]


@pytest.mark.parametrize("body", [left_for_others, a_table_of_sizes])
def test_what_is_no_state_is_followed(body: Callable[[Any, Tensor], Tensor]) -> None:
    check(model_of(body), images())


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
    "tensor": (lambda: torch.zeros(3), lambda held: held.add_(1)),
    "tensor in a list": (lambda: [torch.zeros(3)], lambda held: held[0].add_(1)),
    "deque": (lambda: deque([1, 2], maxlen=3), lambda held: held.append(3)),
    "defaultdict": (lambda: defaultdict(list, a=[1]), lambda held: held["a"].append(2)),
    "counter": (lambda: Counter("ab"), lambda held: held.update("a")),
    "array": (lambda: np.zeros(3), lambda held: held.__iadd__(1)),
    "Python's generator": (lambda: random.Random(3), lambda held: held.random()),
    "torch's generator": (lambda: torch.Generator().manual_seed(3), lambda held: held.manual_seed(4)),
}


def content(held: Any) -> Any:
    """Return what can be compared."""
    if isinstance(held, random.Random):
        return held.getstate()
    if isinstance(held, torch.Generator):
        return held.get_state().tolist()
    return [each.tolist() for each in held] if isinstance(held, list) else getattr(held, "tolist", lambda: held)()


@pytest.mark.parametrize("name", KINDS)
def test_what_an_attribute_holds_is_as_it_was(name: str) -> None:
    make, change = KINDS[name]

    def body(m: Any, x: Tensor) -> Tensor:
        change(m.held)
        return m.conv(x)

    model = Applied(body)
    model.held = make()
    held = model.held
    capture(model, Inputs.of(images()))
    assert model.held is held
    assert content(held) == content(make())
    change(held)
    assert content(held) != content(make()), "this changes nothing, so nothing was tested"


class ByNumber(nn.Module):
    """A dict with numbers for keys, out of sight."""

    def forward(self, x: Tensor) -> dict[int, Tensor]:
        return {7: x + torch.from_numpy(np.ones(1, dtype=np.float32)), 0: x}


def test_numbers_as_keys_are_refused() -> None:
    with pytest.raises(CaptureError, match=r"a dict with numbers for keys .* let the module return a tuple"):
        capture(Applied(lambda m, x: m.part(m.conv(x))[7], part=ByNumber()), Inputs.of(images()))


def test_a_buffer_that_is_expanded() -> None:
    model = Applied(lambda m, x: m.conv(x) * m.factor)
    model.register_buffer("factor", torch.full((1,), 2.0).expand(6))
    assert torch.equal(capture(model, Inputs.of(images())).module("eval")(images()), model.eval()(images()))
