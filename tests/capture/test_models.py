"""Models of every make: tensors and modules held in other ways, layers of torch, other dtypes and contexts."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from autosubnet.capture import Inputs, Trace, capture
from autosubnet.errors import CaptureError

from .capturing import Applied, check, images, rows


def leaves(trace: Trace) -> list[str]:
    return [str(node.target) for node in trace.graph.nodes if node.op == "call_module"]


def test_a_weight_computed_in_forward() -> None:
    check(Applied(lambda m, x: F.conv2d(x, m.conv.weight * m.conv.weight.sigmoid(), m.conv.bias)), images())


def test_tensor_constants() -> None:
    model = Applied(lambda m, x: m.conv(x) * m.scale + m.shifts[0] - m.shifts[1])
    model.scale = torch.arange(4.0).view(4, 1, 1)
    model.shifts = [torch.ones(6), torch.full((6, 1), 2.0)]
    check(model, images())


def test_tensors_in_a_dict_of_the_model() -> None:
    model = Applied(lambda m, x: m.conv(x) * m.tables["scale"])
    model.tables = {"scale": torch.arange(4.0).view(4, 1, 1)}
    check(model, images())


def test_a_tensor_made_in_forward() -> None:
    check(Applied(lambda m, x: m.conv(x) * torch.arange(6.0) + torch.tensor([1.0, 2, 3, 4, 5, 6])), images())


def test_a_tensor_made_in_forward_from_sizes() -> None:
    check(
        Applied(lambda m, x: m.conv(x) + torch.arange(x.size(-1), dtype=x.dtype) + torch.ones(x.shape[0], 1, 1, 1)),
        images(),
    )


def test_a_list_and_a_dict_of_modules() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        y = x
        for layer in m.layers:
            y = layer(y) + y
        return m.heads["b"](m.heads["a"](y))

    layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
    check(Applied(body, layers=layers, heads=nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.Tanh()})), rows())


def test_a_list_of_parameters() -> None:
    weights = nn.ParameterList([torch.randn(4, 4), torch.randn(4, 2)])
    tables = nn.ParameterDict({"bias": torch.randn(2)})
    check(
        Applied(lambda m, x: x @ m.weights[0] @ m.weights[1] + m.tables["bias"], weights=weights, tables=tables), rows()
    )


def test_no_parameters_at_all() -> None:
    model = Applied(lambda m, x: x.relu().mean((2, 3)))
    del model.conv, model.head
    check(model, images())


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_transformer_layer(norm_first: bool, activation: str) -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 12, 0.1, activation, batch_first=True, norm_first=norm_first)
    check(layer, torch.randn(2, 3, 8))


def test_a_stack_of_transformer_layers() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True)
    check(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), torch.randn(2, 3, 8))


def test_a_transformer_decoder_layer() -> None:
    check(nn.TransformerDecoderLayer(8, 2, 12, 0.0, batch_first=True), torch.randn(2, 3, 8), torch.randn(2, 5, 8))


def test_cross_attention() -> None:
    class Cross(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, dropout=0.1, kdim=6, vdim=5, batch_first=True)

        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            return self.attention(q, k, v)

    check(Cross(), torch.randn(2, 3, 8), torch.randn(2, 4, 6), torch.randn(2, 4, 5))


@pytest.mark.parametrize("make", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers(make: Any) -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = make(4, 3, batch_first=True), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.layer(x)[0][:, -1])

    check(Recurrent(), torch.randn(2, 5, 4))


def test_a_captured_graph_is_captured_again() -> None:
    torch.manual_seed(0)
    model = Applied(lambda m, x: m.head(m.norm(m.conv(x)).relu().mean((2, 3))), norm=nn.BatchNorm2d(4))
    again = check(model, images()).module("train")
    check(copy.deepcopy(again), images())


def test_a_symbolically_traced_graph() -> None:
    check(torch.fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU())), rows())


def test_a_scripted_module_is_one_opaque_vertex() -> None:
    class Scripted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * 2 + 1

    model = nn.Sequential(nn.Linear(4, 4), torch.jit.script(Scripted()), nn.Linear(4, 2))
    assert leaves(check(model, rows())) == ["0", "1", "2"]


def test_checkpointed_blocks() -> None:
    check(Applied(lambda m, x: checkpoint(m.conv, x, use_reentrant=False).relu()), images())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2)).to(dtype)
    check(model, rows().to(dtype))


def test_complex_buffers() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        turned = torch.view_as_complex(m.inner(x).reshape(x.size(0), -1, 2)) * m.turn
        return torch.view_as_real(turned).flatten(1)

    check(
        Applied(body, inner=nn.Linear(4, 4), turn=nn.Buffer(torch.polar(torch.ones(2), torch.tensor([0.3, 1.0])))),
        rows(),
    )


def test_attributes_of_tensors() -> None:
    check(Applied(lambda m, x: (m.conv(x).mT + 1).real.T.sum(0) * x.dtype.itemsize), images(), batches=(2,))


def test_autocast_inside_is_followed_or_refused() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            y = m.conv(x)
        return y.float().mean((2, 3))

    try:
        check(Applied(body), images())
    except CaptureError as error:
        assert "autocast" in str(error)  # noqa: PT017  # a refusal that names it is as good


def test_no_grad_inside() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            weight = m.conv(x).mean((2, 3))
        return m.head(weight * 2)

    check(Applied(body), images())


def test_a_table_that_is_made_on_first_use() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        if m.table is None:
            m.table = torch.linspace(0, 1, x.size(-1)).sin()
        return m.conv(x) * m.table

    model = Applied(body)
    model.table = None
    check(model, images())


def test_a_buffer_that_is_registered_on_first_use() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        if not hasattr(m, "table"):
            m.register_buffer("table", torch.linspace(0, 1, x.size(-1)).sin(), persistent=False)
        return m.conv(x) * m.table

    check(Applied(body), images())


def test_lazy_modules_are_refused_by_name() -> None:
    model = nn.Sequential(nn.LazyLinear(5), nn.ReLU(), nn.Linear(5, 2))
    with pytest.raises(CaptureError, match=r"'0\.weight' is uninitialized, of a lazy module; run the model"):
        capture(model, Inputs.of(rows()))


@pytest.mark.parametrize("model", [nn.Identity(), nn.Linear(4, 2), nn.BatchNorm1d(4)], ids=repr)
def test_a_model_that_is_one_leaf(model: nn.Module) -> None:
    check(model, rows())


def test_an_output_that_does_not_depend_on_the_input() -> None:
    check(Applied(lambda m, x: (m.conv(x), m.head.weight * 2)), images())


def test_weights_exchanged_for_the_call_are_seen() -> None:
    def body(m: Any, x: Tensor) -> Tensor:
        weights = {"weight": m.head.weight * 2}
        return torch.func.functional_call(m.head, weights, (m.conv(x).mean((2, 3)),))

    check(Applied(body), images())


def test_functions_of_autograd() -> None:
    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return x * y, x + y

    def body(m: Any, x: Tensor) -> Tensor:
        first, second = Product.apply(m.conv(x), m.conv(x * 2))
        return first / (second + 10)

    try:
        check(Applied(body), images())
    except CaptureError as error:
        assert __file__ in str(error)  # noqa: PT017  # refused, naming the place


ODD: dict[str, Any] = {
    "aten": lambda m, x: torch.ops.aten.relu.default(m.conv(x)),
    "gumbel": lambda m, x: F.gumbel_softmax(m.conv(x), dim=1),
    "grid of positions": lambda m, x: (
        m.conv(x) + torch.meshgrid(torch.arange(x.size(2)), torch.arange(x.size(3)), indexing="ij")[0]
    ),
    "a new tensor": lambda m, x: m.conv(x) + x.new_zeros(x.shape)[:, :1] + torch.randn((x.shape[0], 1, 1, 1)),
    "a size of its own": lambda m, x: m.conv(x).reshape(torch.Size([x.shape[0], -1])),
    "top": lambda m, x: m.conv(x).flatten(2).topk(3, -1).values,
    "sorted": lambda m, x: m.conv(x).sort(1)[0].gather(1, m.conv(x).argsort(1)),
    "fourier": lambda m, x: torch.fft.irfft2(torch.fft.rfft2(m.conv(x)), s=x.shape[-2:]),
    "sublists": lambda m, x: torch.einsum(m.conv(x), [0, 1, 2, 3], m.head.weight, [4, 1], [0, 4, 2, 3]),
    "iterated": lambda m, x: torch.stack(list(m.conv(x).transpose(0, 1))),
    "zipped": lambda m, x: sum(a * b for a, b in zip(m.conv(x).unbind(1), m.conv(x).unbind(1), strict=True)),
    "scaled by a size": lambda m, x: F.scaled_dot_product_attention(*[m.conv(x)] * 3, scale=x.size(-1) ** -0.5),
    "printed": lambda m, x: (f"{x.shape} {x}", m.conv(x))[1],
    "sparse": lambda m, x: torch.sparse.mm(m.head.weight.to_sparse(), m.conv(x).mean((2, 3)).T).T,
    "data dependent": lambda m, x: m.head(m.conv(x).mean((2, 3))[(x.mean((1, 2, 3)) > -9).nonzero()[:, 0]]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_functions(name: str) -> None:
    torch.manual_seed(0)
    trace = check(Applied(ODD[name]), images())
    assert not trace.dual
    assert not trace.frozen
