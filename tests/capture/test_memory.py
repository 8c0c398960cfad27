"""In-place operations and views: the captured graph writes what the model writes."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosubnet.capture import Inputs, capture
from autosubnet.errors import CaptureError

from .capturing import Applied, check, images


def relu_of_a_tensor_read_elsewhere(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    z = F.relu(y, inplace=True)
    return y + z


def relu_module_of_a_tensor_read_elsewhere(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    z = m.act(y)
    return y * 2 + z


def relu_of_the_input(m: Any, x: Tensor) -> Tensor:
    return F.relu(x, inplace=True) + m.conv(x).sum(1, keepdim=True)


def relu_nobody_keeps(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    F.relu_(y)
    return y


def augmented_sum_of_an_alias(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    alias = y
    y += 1
    return alias * y


def augmented_sum_of_a_view(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    view = y.flatten(2)
    y += m.conv(x * 2)
    return view.sum(-1)


def view_written_through(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y.view(y.size(0), -1).mul_(3)
    return y


def slice_written_through(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y[:, 1:3].relu_()
    return y


def slice_of_a_slice_written(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y[:, 1:][:, 0].zero_()
    return y + 1


def transposed_view_written(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    t = y.transpose(1, 3)
    t += 1
    return y


def set_item(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y[:, 0] = 7
    return y


def set_item_from_a_tensor(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y[:, :2, 1:] = y[:, 2:, :-1]
    return y.relu()


def set_item_by_mask(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y[y < 0] = 0.5
    return y


def set_item_of_a_new_tensor(m: Any, x: Tensor) -> Tensor:
    y = x.new_zeros(x.size(0), 4)
    y[:, :2] = m.head(m.conv(x).mean((2, 3)))
    return y


def statement_nobody_reads(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y.add_(1)
    y.relu()
    y.clamp_(min=0.1)
    return y * 2


def chunk_written(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    first, second = y.chunk(2, 1)
    first.relu_()
    second += first
    return y


def every_chunk_written(m: Any, x: Tensor) -> Tensor:
    parts = list(m.conv(x).split([1, 3], 1))
    parts[0] += 1
    parts[1].sigmoid_()
    return torch.cat(parts, 1)


def expanded_after_a_write(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x).mean((2, 3), keepdim=True)
    wide = y.expand(-1, -1, 2, 2)
    y.mul_(2)
    return wide + 0


def out_argument(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    z = torch.empty_like(y)
    torch.mul(y, 2, out=z)
    return z + y


def out_argument_is_an_operand(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    alias = y[:, :2]
    torch.exp(y, out=y)
    return alias


def random_mask(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    if not m.training:
        return y
    return y * torch.empty(y.size(0), 1, 1, 1).bernoulli_(0.5) / 0.5


def random_fill(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    noise = torch.empty_like(y).uniform_(-1, 1)
    return y + noise.mul_(0.1)


def dtype_of_what_is_written(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y += torch.ones(4, 1, 1, dtype=torch.float64)
    return y


def broadcast_into(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y += m.conv(x).mean((2, 3), keepdim=True)
    y *= y.size(1)
    y -= 1
    y /= 2
    return y


def copied_into(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    z = torch.zeros_like(y)
    z.copy_(y.relu())
    return z


def filled(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    w = y.clone()
    w.fill_(2)
    y.masked_fill_(y > 0, 3)
    return y + w


def index_added(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y.index_add_(1, m.index, y[:, :2].clone())
    return y


def detached_alias(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    d = y.detach()
    y.relu_()
    return d + 1


def written_before_and_after_a_copy(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y += 1
    keep = y.clone()
    y *= 2
    return y - keep


def contiguous_is_the_same_tensor(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    same = y.contiguous()
    y.neg_()
    return same


def dropout_in_place(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    z = F.dropout(y, 0.5, m.training, inplace=True)
    return y + z


def written_in_a_loop(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    for i in range(y.size(1)):
        y[:, i] += i
    return y


def data_written(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y.data.mul_(2)
    return y


def diagonal_written(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    torch.diagonal(y, dim1=2, dim2=3).zero_()
    return y


def unbound_written(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    for i, each in enumerate(y.unbind(1)):
        each.mul_(i)
    return y


def real_part_written(m: Any, x: Tensor) -> Tensor:
    y = torch.view_as_complex(m.conv(x).reshape(x.size(0), -1, 2))
    y.real.add_(1)
    return torch.view_as_real(y)


def swapped(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    first = y[:, :2].clone()
    y[:, :2] = y[:, 2:]
    y[:, 2:] = first
    return y


def scattered(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x).mean((2, 3))
    z = torch.zeros_like(y)
    z.scatter_(1, y.argsort(1), y)
    return z


def listed(m: Any, x: Tensor) -> Tensor:
    kept = []
    y = m.conv(x)
    for _ in range(3):
        kept.append(y)
        y += 1
    return torch.cat(kept, 1)


def state_of_a_norm_written(m: Any, x: Tensor) -> Tensor:
    y = m.norm(m.conv(x))
    m.norm.running_mean.zero_()
    return m.norm(y)


def compared_in_place(m: nn.Module, x: Tensor) -> Tensor:
    kept = (x * 2).gt_(0.5)  # floating point, as what it is written to
    return kept + kept.roll(1, 1)


def negated_in_place(m: nn.Module, x: Tensor) -> Tensor:
    return torch.relu(x).logical_not_() + 0.5


def small_integers_multiplied_up(m: nn.Module, x: Tensor) -> Tensor:
    return (x * 9).to(torch.int8).cumprod_(1) * 100 + x


BODIES = [
    compared_in_place,
    negated_in_place,
    small_integers_multiplied_up,
    data_written,
    diagonal_written,
    unbound_written,
    real_part_written,
    swapped,
    scattered,
    listed,
    state_of_a_norm_written,
    relu_of_a_tensor_read_elsewhere,
    relu_module_of_a_tensor_read_elsewhere,
    relu_of_the_input,
    relu_nobody_keeps,
    augmented_sum_of_an_alias,
    augmented_sum_of_a_view,
    view_written_through,
    slice_written_through,
    slice_of_a_slice_written,
    transposed_view_written,
    set_item,
    set_item_from_a_tensor,
    set_item_by_mask,
    set_item_of_a_new_tensor,
    statement_nobody_reads,
    chunk_written,
    every_chunk_written,
    expanded_after_a_write,
    out_argument,
    out_argument_is_an_operand,
    random_mask,
    random_fill,
    dtype_of_what_is_written,
    broadcast_into,
    copied_into,
    filled,
    index_added,
    detached_alias,
    written_before_and_after_a_copy,
    contiguous_is_the_same_tensor,
    dropout_in_place,
    written_in_a_loop,
]


def make_model(body: Any) -> Applied:
    torch.manual_seed(0)
    index = nn.Buffer(torch.tensor([3, 1]))
    return Applied(body, act=nn.ReLU(inplace=True), norm=nn.BatchNorm2d(4), index=index)


@pytest.mark.parametrize("body", BODIES, ids=[body.__name__ for body in BODIES])
def test_in_place(body: Any) -> None:
    check(make_model(body), images())


@pytest.mark.parametrize("body", BODIES, ids=[body.__name__ for body in BODIES])
def test_the_example_is_not_written_to(body: Any) -> None:
    x = images()
    capture(make_model(body), Inputs.of(x))
    assert torch.equal(x, images())


def test_where_nobody_else_looks_it_becomes_out_of_place() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        y += 1
        return m.act(F.relu_(y))

    trace = capture(Applied(body, act=nn.ReLU(inplace=True)), Inputs.of(images()))
    assert not [node for node in trace.graph.nodes if node.meta["mutated"]]
    assert trace.attribute("act").inplace is False
    assert trace.model.act.inplace is True


def test_other_memory_for_a_tensor_is_refused() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        y.data = y.data * 2
        return y

    with pytest.raises(CaptureError, match=r"\.data = .* at .*test_memory\.py:\d+"):
        capture(make_model(body), Inputs.of(images()))


@pytest.mark.parametrize(
    "write",
    [
        lambda weight: weight.data.clamp_(-0.1, 0.1),
        lambda weight: weight.detach().clamp_(-0.1, 0.1),
        lambda weight: weight.data[0].zero_(),
        lambda weight: weight.data.__setitem__(0, 0.0),
        lambda weight: torch.mul(weight.data, 2, out=weight.data),
    ],
)
def test_a_write_to_a_parameter_is_refused_and_not_done(write: Any) -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        write(m.conv.weight)
        return m.conv(x)

    model = make_model(body)
    before = model.conv.weight.detach().clone()
    with pytest.raises(CaptureError, match=r"parameter 'conv\.weight' is written in forward at .*test_memory\.py:\d+"):
        capture(model, Inputs.of(images()))
    assert torch.equal(model.conv.weight, before)


def test_a_write_without_memory_of_its_own_is_none_to_a_parameter() -> None:
    """To tensors of the meta device, all of which are in one place, and to sparse ones."""

    def body(m: Any, x: Tensor) -> Tensor:
        table = torch.eye(4).to_sparse()
        table.mul_(2)
        return torch.sparse.mm(table, m.conv(x)[0, :, 0])

    capture(make_model(body), Inputs.of(images()))
    on_meta = make_model(lambda m, x: F.relu_(m.conv(x))).to("meta")
    capture(on_meta, Inputs.of(images().to("meta")))


def test_a_sparse_parameter_is_followed() -> None:
    model = make_model(lambda m, x: torch.sparse.mm(m.table, m.conv(x)[0, :, 0]))
    model.table = nn.Parameter(torch.eye(4).to_sparse())
    trace = check(model, images(1), batches=(1,))
    assert any(node.target == "table" for node in trace.graph.nodes)
