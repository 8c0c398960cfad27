"""Tensors in one place: refused by name where one of them changes, copied where none does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosubnet.capture import Inputs, capture
from autosubnet.errors import CaptureError

from .capturing import Applied, check, images


def two_parameters() -> Applied:
    model = Applied(lambda m, x: m.conv(x) + m.other(x), other=nn.Conv2d(3, 4, 3, padding=1))
    model.other.weight.data = model.conv.weight.data
    return model


def parameters_that_overlap() -> Applied:
    flat = torch.randn(160)
    model = Applied(lambda m, x: F.conv2d(x, m.v) + F.conv2d(x, m.w))
    model.v, model.w = nn.Parameter(flat[:108].view(4, 3, 3, 3)), nn.Parameter(flat[52:].view(4, 3, 3, 3))
    return model


class Weight(nn.Parameter):
    """A class of its own."""


def parameters_of_a_class_of_their_own() -> Applied:
    model = Applied(lambda m, x: F.conv2d(x, m.v) + F.conv2d(x, m.w))
    flat = torch.randn(4, 3, 3, 3)
    model.v, model.w = Weight(flat), Weight(flat)
    return model


def columns_that_overlap() -> Applied:
    table = torch.randn(4, 8)
    model = Applied(lambda m, x: m.conv(x) * (m.even.sum() + m.some.sum()))
    model.even, model.some = nn.Parameter(table[:, ::2]), nn.Parameter(table[:, ::3])
    return model


def a_buffer_over_a_parameter() -> Applied:
    model = Applied(lambda m, x: m.conv(x) + F.conv2d(x, m.w, padding=1))
    model.register_buffer("w", model.conv.weight.data)
    return model


def an_attribute_over_a_parameter() -> Applied:
    model = Applied(lambda m, x: m.conv(x) + F.conv2d(x, m.w, padding=1))
    model.w = model.conv.weight.data
    return model


def a_view_of_a_buffer(*, whole: Callable[[Tensor], Tensor] = torch.Tensor.flatten) -> Applied:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x) * m.view.sum()
        if m.training:
            m.memory.mul_(0.5)
        return y

    model = Applied(body)
    model.register_buffer("memory", torch.ones(2, 2))
    model.register_buffer("view", whole(model.memory))
    return model


def a_part_of_a_buffer() -> Applied:
    return a_view_of_a_buffer(whole=lambda memory: memory[1])


def a_view_of_a_buffer_that_is_written_in_the_end() -> Applied:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x) * m.memory.sum()
        m.view.add_(1)
        return y

    model = Applied(body)
    model.register_buffer("memory", torch.ones(2, 2))
    model.view = model.memory[0]
    return model


def statistics_in_one_buffer() -> Applied:
    model = Applied(lambda m, x: m.norm(m.conv(x)) * m.statistics.sum(), norm=nn.BatchNorm2d(4))
    model.register_buffer("statistics", torch.stack([torch.zeros(4), torch.ones(4)]))
    model.norm.running_mean, model.norm.running_var = model.statistics[0], model.statistics[1]
    return model


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (two_parameters, ("conv.weight", "other.weight")),
        (parameters_that_overlap, ("v", "w")),
        (parameters_of_a_class_of_their_own, ("v", "w")),
        (columns_that_overlap, ("even", "some")),
        (a_buffer_over_a_parameter, ("conv.weight", "w")),
        (an_attribute_over_a_parameter, ("conv.weight", "w")),
        (a_view_of_a_buffer, ("memory", "view")),
        (a_part_of_a_buffer, ("memory", "view")),
        (a_view_of_a_buffer_that_is_written_in_the_end, ("memory", "view")),
        (statistics_in_one_buffer, ("statistics", "norm.running_mean")),
    ],
)
def test_what_changes_with_another_is_refused(build: Callable[[], Applied], names: tuple[str, ...]) -> None:
    model = build()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(
        CaptureError, match=r"are two tensors in the same memory, and (training|forward) writes"
    ) as info:
        capture(model, Inputs.of(images()))
    assert all(repr(name) in str(info.value) for name in names)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def views_of_a_table() -> Applied:
    model = Applied(lambda m, x: m.conv(x) * m.first.sum() + m.all.sum())
    model.register_buffer("all", torch.randn(4, 4))
    model.register_buffer("first", model.all[:2])
    return model


def parameters_side_by_side() -> Applied:
    model = Applied(lambda m, x: m.conv(x))
    flat = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    begin = 0
    for parameter in model.parameters():
        parameter.data = flat[begin : begin + parameter.numel()].view(parameter.shape)
        begin += parameter.numel()
    return model


def a_buffer_beside_a_parameter() -> Applied:
    def body(m: Any, x: Tensor) -> Tensor:
        m.calls.add_(1)
        return m.conv(x) * m.calls

    model = Applied(body)
    flat = torch.cat([model.conv.weight.detach().flatten(), torch.zeros(1)])
    model.conv.weight.data = flat[:-1].view(4, 3, 3, 3)
    model.register_buffer("calls", flat[-1:])
    return model


def columns_of_one_table() -> Applied:
    table = torch.randn(4, 8)
    model = Applied(lambda m, x: m.conv(x) * (m.even.sum() + m.odd.sum()))
    model.even, model.odd = nn.Parameter(table[:, ::2]), nn.Parameter(table[:, 1::2])
    return model


def a_view_of_a_frozen_parameter() -> Applied:
    model = Applied(lambda m, x: m.conv(x) * m.first.sum())
    model.conv.weight.requires_grad_(False)
    model.register_buffer("first", model.conv.weight.data[0])
    return model


def an_attribute_that_nobody_reads() -> Applied:
    model = Applied(lambda m, x: m.conv(x))
    model.old = model.conv.weight.data
    return model


@pytest.mark.parametrize(
    "build",
    [
        views_of_a_table,
        parameters_side_by_side,
        a_buffer_beside_a_parameter,
        columns_of_one_table,
        a_view_of_a_frozen_parameter,
        an_attribute_that_nobody_reads,
    ],
)
def test_what_no_change_reaches_is_followed(build: Callable[[], Applied]) -> None:
    check(build(), images())
