"""Cases of linear layers, convolutions, products of matrices and attention."""

import operator

import torch
import torch.nn.functional as F
from torch import nn

from .case import IMAGE, ROWS, TOKENS, Case, of_module, weights

LINE, VOLUME = (2, 4, 7), (2, 4, 3, 4, 3)
SHAPES = {1: LINE, 2: IMAGE, 3: VOLUME}
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
FUNCTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED_FUNCTIONS = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def _convolutions(dims):
    shape, conv, transposed = SHAPES[dims], CONVOLUTIONS[dims], TRANSPOSED[dims]
    function, transposed_function = FUNCTIONS[dims], TRANSPOSED_FUNCTIONS[dims]
    kernel = (2,) * dims
    yield of_module(lambda: conv(4, 6, 2), shape)
    yield of_module(lambda: conv(4, 6, 3, stride=2, padding=1, dilation=1, bias=False), shape, note="no bias")
    yield of_module(lambda: conv(4, 8, 1, groups=2), shape, note="grouped")
    yield of_module(lambda: conv(4, 4, 3, padding=1, groups=4), shape, note="depthwise")
    yield of_module(lambda: conv(4, 8, 1, groups=4), shape, note="depthwise by two")
    yield Case(conv, lambda m, a, b: m.op(a[0]), shape, lambda: {"op": conv(4, 6, 1)}, keeps=False, note="unbatched")
    yield of_module(lambda: transposed(4, 6, 2), shape)
    yield of_module(lambda: transposed(4, 6, 2, stride=2, bias=False), shape, note="no bias")
    yield of_module(lambda: transposed(4, 6, 2, groups=2), shape, note="grouped")
    yield of_module(lambda: transposed(4, 2, 2, groups=2, bias=False), shape, note="grouped to two")
    yield of_module(lambda: transposed(4, 4, 2, groups=4), shape, note="depthwise")
    yield Case(
        transposed,
        lambda m, a, b: m.op(a[0]),
        shape,
        lambda: {"op": transposed(4, 6, 1)},
        keeps=False,
        note="unbatched",
    )
    yield Case(function, lambda m, a, b: function(a, m.w, m.c), shape, weights(w=(6, 4, *kernel), c=(6,)))
    yield Case(function, lambda m, a, b: function(a, m.w, groups=2), shape, weights(w=(6, 2, *kernel)), note="grouped")
    yield Case(
        function,
        lambda m, a, b: function(a, m.w, None, 1, 0, 1, 4),
        shape,
        weights(w=(4, 1, *kernel)),
        note="depthwise",
    )
    yield Case(
        transposed_function, lambda m, a, b: transposed_function(a, m.w, m.c), shape, weights(w=(4, 6, *kernel), c=(6,))
    )
    yield Case(
        transposed_function,
        lambda m, a, b: transposed_function(a, m.w, None, 1, 0, 0, 2),
        shape,
        weights(w=(4, 3, *kernel)),
        note="grouped",
    )


def _attend(m, a, b, **options):
    return m.op(a, b, a, **options)[0]


CASES = [
    *(case for dims in SHAPES for case in _convolutions(dims)),
    of_module(lambda: nn.Conv2d(4, 6, 3, padding="same", padding_mode="circular"), note="circular"),
    of_module(lambda: nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect", groups=4), note="reflect"),
    Case(nn.ConvTranspose2d, lambda m, a, b: m.op(a, (12, 12)), parts=lambda: {"op": nn.ConvTranspose2d(4, 3, 2, 2)},
         note="output size"),
    Case(F.conv2d, lambda m, a, b: F.conv2d(a, b.mean((0, 2, 3)).reshape(1, 4, 1, 1) * m.w, m.c),
         parts=weights(w=(6, 4, 1, 1), c=(6,)), note="weight from the input"),
    Case(F.conv2d, lambda m, a, b: F.conv2d(a, m.w, b.mean((0, 2, 3))), parts=weights(w=(4, 4, 1, 1)),
         note="bias from the input"),
    Case(F.conv2d, lambda m, a, b: F.conv2d(input=a, weight=m.w, bias=m.c), parts=weights(w=(6, 4, 1, 1), c=(6,)),
         note="keywords"),
    Case(F.conv2d, lambda m, a, b: F.conv2d(a, m.w.relu(), m.c * 2), parts=weights(w=(6, 4, 1, 1), c=(6,)),
         note="computed weight"),
    # linear
    of_module(lambda: nn.Linear(4, 5), ROWS),
    of_module(lambda: nn.Linear(4, 3, bias=False), TOKENS, note="tokens"),
    of_module(lambda: nn.Linear(6, 3), IMAGE, note="four dimensions"),
    Case(nn.Linear, lambda m, a, b: m.op(a[0]), ROWS, lambda: {"op": nn.Linear(4, 5)}, note="one dimension"),
    Case(nn.Bilinear, lambda m, a, b: m.op(a, b), ROWS, lambda: {"op": nn.Bilinear(4, 4, 5)}),
    Case(nn.Bilinear, lambda m, a, b: m.op(a, b), TOKENS, lambda: {"op": nn.Bilinear(4, 4, 5, bias=False)},
         note="tokens"),
    Case(F.bilinear, lambda m, a, b: F.bilinear(a, b, m.w, m.c), ROWS, weights(w=(5, 4, 4), c=(5,))),
    Case(F.linear, lambda m, a, b: F.linear(a, m.w, m.c), ROWS, weights(w=(5, 4), c=(5,))),
    Case(F.linear, lambda m, a, b: F.linear(a, m.w, m.c), ROWS, weights(w=(5, 4), c=()), note="bias that is a number"),
    Case(F.linear, lambda m, a, b: F.linear(a, m.w), TOKENS, weights(w=(5, 4)), note="no bias"),
    Case(F.linear, lambda m, a, b: F.linear(a, m.w), ROWS, weights(w=(4,)), note="weight of one dimension",
         keeps=False),
    Case(F.linear, lambda m, a, b: F.linear(a, m.w, b.sum(0)), ROWS, weights(w=(4, 4)), note="bias from the input"),
    Case(F.linear, lambda m, a, b: F.linear(a, b), ROWS, note="weight from the input"),
    Case(F.linear, lambda m, a, b: F.linear(a, m.w.t(), m.c), ROWS, weights(w=(4, 5), c=(5,)), note="transposed"),
    # embeddings
    Case(nn.Embedding, lambda m, a, b: m.op(a.abs().long() % 7), ROWS, lambda: {"op": nn.Embedding(7, 5)}),
    Case(nn.Embedding, lambda m, a, b: m.op(a.abs().long() % 7), ROWS,
         lambda: {"op": nn.Embedding(7, 5, padding_idx=0)}, note="padding"),
    Case(nn.Embedding, lambda m, a, b: m.op(a.abs().long() % 7), ROWS,
         lambda: {"op": nn.Embedding(7, 5, max_norm=0.5)}, keeps=False, note="max norm"),
    Case(F.embedding, lambda m, a, b: F.embedding(a.abs().long() % 7, m.w), ROWS, weights(w=(7, 5))),
    # products of matrices
    Case(torch.matmul, lambda m, a, b: torch.matmul(a, b)),
    Case(torch.matmul, lambda m, a, b: torch.matmul(a, b[0, 0]), note="broadcast"),
    Case(torch.matmul, lambda m, a, b: torch.matmul(a, a), note="itself"),
    Case(torch.matmul, lambda m, a, b: torch.matmul(a, b[0, 0, 0]), note="by a vector"),
    Case(torch.matmul, lambda m, a, b: torch.matmul(a, m.w), TOKENS, weights(w=(4, 5)), note="by a weight"),
    Case(torch.matmul, lambda m, a, b: torch.matmul(m.w, a), TOKENS, weights(w=(3, 5)), note="of a weight"),
    Case(torch.matmul, lambda m, a, b: torch.matmul(input=a, other=b), note="keywords"),
    Case(operator.matmul, lambda m, a, b: a @ b.transpose(-1, -2), TOKENS),
    Case("matmul", lambda m, a, b: a.matmul(b.mT), TOKENS),
    Case(torch.bmm, lambda m, a, b: torch.bmm(a, b.transpose(1, 2)), TOKENS),
    Case("bmm", lambda m, a, b: a.bmm(b.transpose(1, 2)), TOKENS),
    Case(torch.mm, lambda m, a, b: torch.mm(a, b.t()), ROWS),
    Case("mm", lambda m, a, b: a.mm(m.w), ROWS, weights(w=(4, 5))),
    Case(torch.addmm, lambda m, a, b: torch.addmm(m.c, a, b.t()), ROWS, weights(c=(3,))),
    Case(torch.addmm, lambda m, a, b: torch.addmm(a, m.s, b, beta=2, alpha=3), ROWS, weights(s=(3, 3)), note="factors"),
    Case(torch.addmm, lambda m, a, b: torch.addmm(m.c, a, m.w), ROWS, weights(c=(5,), w=(4, 5)), note="a layer"),
    Case("addmm", lambda m, a, b: m.c.addmm(a, m.w), ROWS, weights(c=(5,), w=(4, 5)), note="a layer"),
    Case("addmm", lambda m, a, b: a.addmm(m.s, b), ROWS, weights(s=(3, 3))),
    Case(torch.baddbmm, lambda m, a, b: torch.baddbmm(a, a, m.s.expand(a.size(0), -1, -1)), TOKENS, weights(s=(4, 4))),
    Case("baddbmm", lambda m, a, b: a.baddbmm(b, m.s.expand(a.size(0), -1, -1)), TOKENS, weights(s=(4, 4))),
    Case(torch.einsum, lambda m, a, b: torch.einsum("bchw,bcwv->bhv", a, b)),
    Case(torch.einsum, lambda m, a, b: torch.einsum("bnc,cd->bnd", [a, m.w]), TOKENS, weights(w=(4, 5)),
         note="a weight"),
    # attention
    Case(F.scaled_dot_product_attention, lambda m, a, b: F.scaled_dot_product_attention(a, b, a)),
    Case(F.scaled_dot_product_attention,
         lambda m, a, b: F.scaled_dot_product_attention(query=b, key=a, value=b, is_causal=True), note="keywords"),
    Case(F.scaled_dot_product_attention,
         lambda m, a, b: F.scaled_dot_product_attention(a, b, b, None, 0.3 if m.training else 0.0), note="dropout"),
    Case(F.scaled_dot_product_attention,
         lambda m, a, b: F.scaled_dot_product_attention(a, b[:, :2], b[:, :2], enable_gqa=True), note="grouped heads"),
    Case(F.scaled_dot_product_attention,
         lambda m, a, b: F.scaled_dot_product_attention(a, a, b[:, :1]), note="one head of values"),
    Case(nn.MultiheadAttention, _attend, TOKENS, lambda: {"op": nn.MultiheadAttention(4, 2, batch_first=True)}),
    Case(nn.MultiheadAttention, lambda m, a, b: _attend(m, a, b, need_weights=False), TOKENS,
         lambda: {"op": nn.MultiheadAttention(4, 2, dropout=0.2, bias=False)}, note="sequence first"),
    Case(nn.MultiheadAttention, lambda m, a, b: m.op(a[0], b[0], a[0])[0], TOKENS,
         lambda: {"op": nn.MultiheadAttention(4, 2)}, note="unbatched"),
]  # fmt: skip
