"""Memory that is written after it was read, through views, by nobody who looks at the result."""

import torch
import torch.nn.functional as F
from torch import nn

from .specimen import images, rows


def wide():
    return {"wide": nn.Linear(6, 12)}


def activation_read_elsewhere(m, x):
    y = m.a(x)
    z = F.relu(y, inplace=True)
    return y + m.b(z + x)


def alias(m, x):
    y = m.a(x)
    z = y
    z += m.b(x) + x
    return y


def written_view(m, x):
    y = m.a(x).clone()
    y[:, :3] += m.b(x)[:, :3]
    return y


def set_slice(m, x):
    y = torch.zeros_like(x)
    y[:, 2:] = m.a(x)[:, 2:]
    return y + m.b(x)


def set_to_zero(m, x):
    y = m.a(x) * 1
    y[:, 1] = 0
    return y + m.b(x)


def set_rows(m, x):
    y = m.a(x) * 1
    for i in range(3):
        y[:, i] = m.b(x)[:, i]
    return y


def unread(m, x):
    y = m.a(x)
    y.mul_(2.0)
    y.add_(m.b(x))
    return y


def unread_on_zero(m, x):
    y = m.b(x)
    y.add_(1.0)
    return m.a(x) + y


def transposed(m, x):
    y = m.a(x)
    y.t().mul_(3)
    return y + m.b(x)


def copied(m, x):
    y = torch.empty_like(x)
    y.copy_(m.b(x))
    return y + m.a(x)


def filled(m, x):
    y = m.b(x)
    y.masked_fill_(x > 0, 1.0)
    return m.a(x) + y


def scattered(m, x):
    y = torch.zeros_like(x)
    y.index_add_(1, torch.tensor([5, 4, 3, 2, 1, 0]), m.b(x))
    return y + m.a(x)


def counted(m, x):
    y = m.a(x)
    m.count.add_(1)
    m.mean.mul_(0.9).add_(y.detach().mean(0), alpha=0.1)
    return (y - m.mean) + m.b(x)


def counters():
    return {"count": nn.Buffer(torch.zeros((), dtype=torch.long)), "mean": nn.Buffer(torch.zeros(6))}


def swapped(m, x):
    y, z = m.a(x) * 1, m.b(x) * 1
    kept = y[:, 0].clone()
    y[:, 0] = z[:, 0]
    z[:, 0] = kept
    return y * 2 + z


def narrowed(m, x):
    y = m.wide(x)
    left = y.narrow(1, 0, 6)
    left.mul_(m.b(x))
    return y[:, :6] + y[:, 6:]


def input_written(m, x):
    y = x.clone()
    y.sub_(m.b(x)).mul_(3)
    x = x * 2
    return y + x + m.a(x)


def dropped(m, x):
    y = m.a(x)
    F.dropout(y, 0.5, m.training, inplace=True)
    return y + m.b(y)


def activated_slice(m, x):
    y = m.b(x)
    torch.tanh_(y[:, :1])
    return m.a(x) + y


def reused_norm():
    return {"norm": nn.BatchNorm1d(6)}


SPECIMENS = [
    rows("an in-place activation that is read elsewhere", activation_read_elsewhere, "b"),
    rows("an in-place activation of a zero", activation_read_elsewhere, "a"),
    rows("a sum onto an alias", alias, "b"),
    rows("a sum onto the alias of a zero", alias, "a"),
    rows("a view that is written through", written_view, "b"),
    rows("a zero that is written through a view", written_view, "a", ""),
    rows("a slice that is set", set_slice, "b"),
    rows("a slice that is set to a zero branch", set_slice, "a"),
    rows("a column that is set to zero", set_to_zero, "b"),
    rows("columns set one by one", set_rows, "b", ""),
    rows("writes whose result nobody reads", unread, "b"),
    rows("a zero that is written", unread_on_zero, "b"),
    rows("a write through a transposed view", transposed, "b"),
    rows("an empty tensor that is filled with zeros", copied, "b"),
    rows("a zero that is filled by a mask", filled, "b"),
    rows("a zero that is scattered", scattered, "b"),
    rows("buffers updated in forward", counted, "b", parts=counters),
    rows("two tensors that swap a column", swapped, "b", ""),
    rows("half of a tensor multiplied by zero in place", narrowed, "b", "b", parts=wide),
    rows("a copy of the input is written", input_written, "b"),
    rows("dropout in place", dropped, "b"),
    rows("a detached zero", lambda m, x: (m.a(x) + m.b(x)).detach() + m.c(x), "b"),
    rows(
        "a norm with statistics one call of which dies",
        lambda m, x: m.norm(m.a(x)) + m.c(x) * m.norm(m.b(x)),
        "c",
        "b c",
        parts=reused_norm,
        train=False,
    ),
    images("an in-place activation on a slice", activated_slice, "a"),
]
