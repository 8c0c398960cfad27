"""Train and eval mode: one graph where they differ in flags alone, two where they differ in operations."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from autosubnet import remove_zeros

from .capturing import Applied, check, images, rows


def test_dropout_functions_read_the_mode() -> None:
    trace = check(
        Applied(lambda m, x: F.dropout2d(F.dropout(m.conv(x), 0.3, training=m.training), 0.2, m.training)), images()
    )
    assert not trace.dual


def test_dropout_of_attention_reads_the_mode() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        return F.scaled_dot_product_attention(y, y, y, dropout_p=0.25 if m.training else 0.0)

    assert not check(Applied(body), images()).dual


def test_batch_norm_functions_read_the_mode() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        return F.batch_norm(m.conv(x), m.mean, m.variance, None, None, m.training, 0.2)

    model = Applied(body, mean=nn.Buffer(torch.zeros(4)), variance=nn.Buffer(torch.ones(4)))
    assert not check(model, images()).dual


def test_two_dropouts_of_unlike_probability_stay_apart() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        return F.dropout(y, 0.2, m.training) + F.dropout(y, 0.7, m.training)

    assert not check(Applied(body), images()).dual


def test_modules_with_statistics() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.InstanceNorm2d(4, track_running_stats=True)
    )
    assert not check(model, images()).dual


def test_an_auxiliary_head() -> None:
    def body(m: Any, x: Tensor) -> Any:
        y = m.conv(x).mean((2, 3))
        return (m.head(y), m.auxiliary(y)) if m.training else m.head(y)

    assert check(Applied(body, auxiliary=nn.Linear(4, 3)), images()).dual


def test_a_path_that_only_training_takes() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        if m.training:
            y = y + torch.randn_like(y) * 0.1
        return m.head(y.mean((2, 3)))

    assert check(Applied(body), images()).dual


def test_a_path_that_only_eval_takes() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.head(m.conv(x).mean((2, 3)))
        return y if m.training else y.softmax(-1)

    assert check(Applied(body), images()).dual


def test_other_modules_in_other_modes() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        return (m.head if m.training else m.other)(m.conv(x).mean((2, 3)))

    assert check(Applied(body, other=nn.Linear(4, 2)), images()).dual


def test_an_output_that_only_training_has() -> None:
    def body(m: Any, x: Tensor) -> dict[str, Tensor]:
        y = m.conv(x)
        return {"out": y.mean((2, 3)), **({"features": y} if m.training else {})}

    check(Applied(body), images())


def test_a_buffer_that_only_training_writes() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.inner(x)
        if m.training:
            m.mean.lerp_(y.mean(0), 0.1)
        return y - m.mean

    check(Applied(body, inner=nn.Linear(4, 4), mean=nn.Buffer(torch.zeros(4))), rows())


def test_a_child_that_stays_in_eval_mode() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

        def train(self, mode: bool = True) -> "Frozen":
            super().train(mode)
            self.norm.eval()
            return self

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(self.layer(x))

    check(Frozen(), rows())


def test_a_child_that_stays_in_eval_mode_does_so_in_the_subnet() -> None:
    class Frozen(nn.Sequential):
        def train(self, mode: bool = True) -> "Frozen":
            super().train(mode)
            self[1].eval()
            return self

    torch.manual_seed(0)
    model = Frozen(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
    x = rows().double()
    subnet = remove_zeros(model, x)
    for mode in (True, False):
        torch.testing.assert_close(subnet.train(mode)(x), model.train(mode)(x), rtol=0, atol=1e-12)


def test_dropout_of_a_tensor_that_is_read_elsewhere_is_one_graph() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        return y * 2 + m.drop(y) - y

    def later(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        z = m.drop(y)
        return m.head((z.relu() + y).mean((2, 3)))

    for each in (body, later):
        assert not check(Applied(each, drop=nn.Dropout(0.5)), images()).dual


def test_the_order_of_draws() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        a = F.dropout(y, 0.5, m.training)
        noise = torch.rand_like(y)
        b = m.drop(y)
        return a * noise + b

    check(Applied(body, drop=nn.Dropout(0.5)), images())


def test_draws_that_nobody_reads_still_happen() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        F.dropout(y, 0.5, m.training)
        m.drop(y)
        return m.drop(y)

    check(Applied(body, drop=nn.Dropout(0.5)), images())


def test_random_numbers_that_nobody_reads_still_happen() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        torch.rand(3)
        torch.randn_like(y)
        torch.randperm(4)
        return m.drop(y)

    check(Applied(body, drop=nn.Dropout(0.5)), images())


def test_writes_in_another_order_in_eval_mode() -> None:
    def body(m: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        y = m.conv(x)
        view = y.flatten(2)
        if m.training:
            y.relu_()
            total = view.sum(-1)
        else:
            total = view.sum(-1)
            y.relu_()
        return total, view

    check(Applied(body), images())


def test_a_read_before_a_write_that_only_training_makes() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        view = y.flatten(2)
        before = view.sum(-1) if m.training else 0
        y.relu_()
        return view.sum(-1) + before

    check(Applied(body), images())


def test_a_buffer_read_before_its_update_in_training_alone() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        before = m.step * 1 if m.training else 5
        m.step += 1
        return m.conv(x) + m.step * 1 + before

    check(Applied(body, step=nn.Buffer(torch.tensor(1.0))), images())


def test_draws_in_another_order_in_eval_mode() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        if m.training:
            a, b = torch.rand_like(y), torch.randn_like(y)
        else:
            b, a = torch.randn_like(y), torch.rand_like(y)
        return y * a + b

    check(Applied(body), images())


def test_numbers_that_training_alone_uses() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        return torch.add(y, y.relu(), alpha=0.5 if m.training else 0.0) * (2 if m.training else 3)

    check(Applied(body), images())


def test_flags_that_eval_alone_sets() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = m.conv(x)
        return y.mean((2, 3), keepdim=not m.training).flatten(1) + y.sum((2, 3))

    check(Applied(body), images())
