"""Python's control flow: what depends on shapes is followed, what depends on values is reported or refused."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosubnet.capture import Inputs, Trace, capture
from autosubnet.errors import CaptureError

from .capturing import Applied, check, images, rows


def reported(trace: Trace, what: str) -> bool:
    """Whether a value of that kind was reported, with a line of this file."""
    seen = [each.removeprefix("a size: ") for each in trace.baked + trace.frozen]
    return any(each.startswith(what) and __file__ in each for each in seen)


def captured(body: Any, x: Tensor | None = None, **parts: Any) -> Trace:
    torch.manual_seed(0)
    return capture(Applied(body, **parts), Inputs.of(images() if x is None else x))


# ---------------------------------------------------------------------- shapes


def test_a_branch_on_the_number_of_dimensions() -> None:
    trace = check(Applied(lambda m, x: m.conv(x) if x.ndim == 4 else m.head(x)), images())
    assert not trace.baked


def test_sizes_are_recorded() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        b, c, h, w = y.shape
        y = y.view(b, c // 2, 2, h * w).mean(-2).reshape(b, -1)
        return y * (b + 1) / h**0.5 + y.numel() - y.size(0) % 3

    trace = check(Applied(body), images(), batches=(2, 3, 7))
    assert not trace.frozen


def test_sizes_of_images_are_recorded_too() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        y = F.interpolate(y, size=(x.shape[2] * 2, x.shape[3] // 2))
        return F.pad(y, (0, -y.size(-1) % 4)).flatten(2).transpose(1, 2) / y.shape[-1]

    model = Applied(body).eval()
    graph = capture(model, Inputs.of(images())).module("eval").eval()
    x = torch.randn(2, 3, 10, 9)
    assert torch.equal(graph(x), model(x))


def test_a_shape_compared_with_itself() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        return y + x.sum(1, keepdim=True) if y.shape[2:] == x.shape[2:] else y

    check(Applied(body), images())


def test_a_loop_over_a_size() -> None:
    check(Applied(lambda m, x: sum(m.conv(x)[..., i] for i in range(x.size(-1)))), images())


def test_python_sum_min_max_and_len() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        parts = [y, y * 2, y.relu()]
        return sum(parts) * len(parts) + max(1, 2) * sum([p.mean() for p in parts])

    check(Applied(body), images())


def test_a_batch_size_made_an_int_is_refused_or_reported() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        return m.conv(x).reshape(int(x.shape[0]), -1)

    try:
        trace = captured(body)
    except CaptureError as error:
        assert "int(size)" in str(error)  # noqa: PT017  # refused, naming the place
        assert __file__ in str(error)  # noqa: PT017  # see above
    else:
        assert reported(trace, "int(size)")


def test_a_width_made_an_int_is_reported() -> None:
    assert reported(captured(lambda m, x: m.conv(x).reshape(x.size(0), -1, int(x.shape[2]))), "int(size)")


def test_a_branch_on_the_batch_size_is_refused() -> None:
    with pytest.raises(CaptureError):
        captured(lambda m, x: m.conv(x) * 2 if x.shape[0] == 2 else m.conv(x).relu())


def test_len_of_the_batch_is_reported_or_recorded() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        return m.conv(x) * len(x)

    try:
        trace = captured(body)
    except CaptureError as error:
        assert __file__ in str(error)  # noqa: PT017  # refused, naming the place
    else:
        assert reported(trace, "len")


def test_a_loop_over_the_batch_is_refused() -> None:
    with pytest.raises(CaptureError, match="on other inputs"):
        captured(lambda m, x: torch.stack([m.conv(each) for each in x]))


def test_a_fixed_batch_size_is_reported() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        return m.conv(x) + m.offset

    trace = captured(body, offset=nn.Parameter(torch.randn(2, 1, 1, 1)))
    assert trace.frozen == ("batch size: the model refuses any but 2",)


# ---------------------------------------------------------------------- values


def test_a_branch_on_a_value_that_goes_one_way_is_reported() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        return y * 2 if y.abs().mean() >= 0 else y - 1

    assert reported(captured(body), "bool")


def test_a_branch_on_a_value_that_goes_both_ways_is_refused() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        return y * 2 if x.shape[0] * x.mean() > m.limit else y - 1

    x = torch.full((2, 3, 6, 6), 1.0)
    with pytest.raises(CaptureError, match=r"on other inputs") as caught:
        captured(body, x, limit=nn.Buffer(torch.tensor(2.5)))
    assert "bool at" in str(caught.value)
    assert __file__ in str(caught.value)


@pytest.mark.parametrize("read", ["item", "tolist", "numpy", "float", "int"])
def test_a_value_that_leaves_the_graph_is_reported_or_refused(read: str) -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        value = y.abs().max()
        reading = {
            "item": lambda: value.item(),
            "tolist": lambda: value.tolist(),
            "numpy": lambda: float(value.numpy()),
            "float": lambda: float(value),
            "int": lambda: int(value * 100),
        }
        return y / reading[read]()

    with pytest.raises(CaptureError) as caught:
        captured(body)
    assert f"{read} at {__file__}" in str(caught.value)


def test_a_value_read_for_a_message_alone_is_reported() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        m.log = f"{y.mean().item():.2f}"
        return y

    assert reported(captured(body), "item")


def test_an_assertion_about_values_is_reported() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        assert torch.isfinite(x).all()
        assert not torch.equal(x, x + 1)
        return m.conv(x)

    trace = captured(body)
    assert reported(trace, "bool")
    assert reported(trace, "equal")


def test_a_read_of_a_constant_is_nobodys_business() -> None:
    trace = captured(lambda m, x: m.conv(x) * torch.linspace(0, 1, 3)[1].item() if m.head.in_features else x)
    assert not trace.baked


def test_a_weight_read_off_is_reported() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        return m.conv(x) * (2 if m.head.weight.sum() > 0 else 3)

    assert reported(captured(body), "bool")


def test_a_mask_of_ones_that_is_skipped_is_refused() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            y = self.layer(x)
            return y if bool(mask.all()) else y * mask.unsqueeze(-1)

    with pytest.raises(CaptureError, match=r"bool at .*test_control"):
        capture(Masked(), Inputs.of((torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.long))))


def test_numpy_in_the_middle_is_refused() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        return torch.from_numpy(m.conv(x).numpy() * 2)

    with pytest.raises(CaptureError, match=r"numpy|unknown origin"):
        captured(body)


def test_a_tensor_of_unknown_origin_is_refused_with_its_line() -> None:
    outside = torch.randn(4, 1, 1)
    with pytest.raises(
        CaptureError, match=r"tensor of shape \(4, 1, 1\) of unknown origin.*test_control\.py:\d+; register"
    ):
        captured(lambda m, x: m.conv(x) * outside)


def test_state_that_python_counts_is_refused() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        m.calls = getattr(m, "calls", 0) + 1
        return m.conv(x) * m.calls

    with pytest.raises(CaptureError):
        captured(body)


def test_a_model_that_fails_says_so() -> None:
    with pytest.raises(CaptureError, match=r"fails on its example inputs in train mode: .*shape"):
        capture(nn.Sequential(nn.Linear(5, 2)), Inputs.of(rows()))


def test_a_model_that_fails_in_eval_alone_says_so() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        if not m.training:
            raise ValueError("calibrate first")
        return m.conv(x)

    with pytest.raises(CaptureError, match="in eval mode: calibrate first"):
        captured(body)


def test_inputs_that_do_not_fit_forward() -> None:
    with pytest.raises(CaptureError, match=r"do not fit forward\(\).*too many positional arguments"):
        capture(nn.Linear(4, 2), Inputs.of((rows(), rows())))
    with pytest.raises(CaptureError, match=r"do not fit forward\(\).*unexpected keyword argument 'y'"):
        capture(nn.Linear(4, 2), Inputs.of({"input": rows(), "y": rows()}))


class Jitter(nn.Module):
    """Scales by a number that it draws in train mode."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (1.0 + torch.rand(()).item() if self.training else 1.0)


def test_a_random_number_that_python_reads_makes_its_module_opaque() -> None:
    trace = check(Applied(lambda m, x: m.jitter(m.conv(x)), jitter=Jitter()), images())
    assert "jitter" in {node.target for node in trace.graph.nodes}


def test_a_random_number_that_python_reads_in_the_model_itself_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"a random number is read off a tensor \(item\) at .*test_control\.py:\d+"):
        capture(Jitter(), Inputs.of((images(),)))


def dropped_at_random(rate: float) -> Applied:
    def body(m: Any, x: Tensor) -> Tensor:
        if m.training and bool(torch.rand([]) < rate):
            return x
        return m.conv(x).mean(1, keepdim=True) + x

    return Applied(body)


def test_a_layer_that_is_dropped_at_random_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"a random number is read off a tensor \(bool\) at .*test_control\.py:\d+"):
        capture(dropped_at_random(0.5), Inputs.of((images(),)))


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_layer_that_is_never_or_always_dropped_is_followed(rate: float) -> None:
    check(dropped_at_random(rate), images())


def test_a_check_of_what_dropout_left_is_reported() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = F.dropout(m.conv(x), 0.5, m.training)
        return y if bool(torch.isfinite(y).all()) else y.clamp(-1, 1)

    trace = check(Applied(body), images())
    assert any(each.startswith("bool at ") for each in trace.baked)


def test_why_a_module_was_kept_is_told_where_that_is_no_remedy() -> None:
    class Held(Jitter):
        def forward(self, x: Tensor) -> Any:
            return SimpleNamespace(held=super().forward(x))

    with pytest.raises(
        CaptureError, match=r"'held' returns an object of class Simple.* 'held' was kept as it is, since a random"
    ):
        capture(Applied(lambda m, x: m.held(m.conv(x)).held * 2, held=Held()), Inputs.of((images(),)))


def test_a_number_of_bytes_is_told_with_its_line() -> None:
    with pytest.raises(CaptureError, match=r"nbytes at .*test_control\.py"):
        captured(lambda m, x: m.conv(x) * m.conv(x).nbytes)


def test_the_first_difference_is_named_where_no_read_was_seen() -> None:
    with pytest.raises(CaptureError, match="first at 'mul' of module ''"):
        captured(lambda m, x: m.conv(x) * m.conv(x).shape.numel())
