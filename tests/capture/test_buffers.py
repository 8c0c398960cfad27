"""Buffers that forward writes are written by the captured graph; those that it replaces are refused."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from autosubnet.capture import Inputs, capture
from autosubnet.errors import CaptureError

from .capturing import Applied, check, images


def test_a_buffer_updated_in_place() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        if m.training:
            m.mean.mul_(0.9).add_(y.mean((0, 2, 3)), alpha=0.1)
            m.count += 1
        return y - m.mean[:, None, None]

    model = Applied(body, mean=nn.Buffer(torch.ones(4)), count=nn.Buffer(torch.tensor(0)))
    check(model, images())
    assert int(model.count) == 0


def test_a_buffer_written_by_copy() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        m.last.copy_(y.mean((0, 2, 3)))
        return y + m.last.view(1, -1, 1, 1)

    check(Applied(body, last=nn.Buffer(torch.zeros(4))), images())


def test_a_buffer_read_before_and_after_its_update() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        before = m.step * 1
        m.step += 1
        return m.conv(x) * before + m.step

    check(Applied(body, step=nn.Buffer(torch.tensor(1.0))), images())


def test_a_buffer_that_is_assigned_anew_is_refused() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        m.mean = 0.9 * m.mean + 0.1 * x.mean()
        return m.conv(x) - m.mean

    model = Applied(body, mean=nn.Buffer(torch.ones(())))
    old = model.mean
    with pytest.raises(CaptureError, match=r"buffer 'mean' is re-assigned"):
        capture(model, Inputs.of(images()))
    assert model.mean is old
    assert model.mean == 1


def test_a_buffer_of_a_child_that_is_assigned_anew_is_refused_by_its_name() -> None:
    def count(m: Any, x: Tensor) -> Tensor:
        m.seen = m.seen + 1
        return x

    model = nn.Sequential(nn.Conv2d(3, 3, 1), Applied(count, seen=nn.Buffer(torch.tensor(0))))
    with pytest.raises(CaptureError, match=r"buffer '1\.seen' is re-assigned"):
        capture(model, Inputs.of(images()))
