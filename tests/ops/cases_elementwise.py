"""Cases of operators on each entry of one tensor."""

import operator

import torch
import torch.nn.functional as F
from timm.layers.activations import GELU, GELUTanh, Swish
from timm.layers.drop import DropPath
from torch import nn
from torchvision.ops import StochasticDepth

from .case import ROWS, TOKENS, Case, binary, of_module, unary, weights

KEEPING_MODULES = [
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Tanh,
    nn.Tanhshrink, nn.Softsign, nn.Softshrink, nn.Hardshrink, nn.Identity, nn.RReLU, Swish, GELU, GELUTanh,
    nn.Hardtanh,
]  # fmt: skip
KEEPING_FUNCTIONS = [
    F.relu, F.relu6, F.leaky_relu, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.hardswish, F.tanh, F.tanhshrink,
    F.softsign, F.softshrink, F.hardshrink, F.rrelu, torch.relu, torch.tanh, torch.neg, torch.abs, torch.sin,
    torch.sign, torch.square, torch.selu, torch.clone, torch.detach, operator.neg, operator.abs, operator.pos,
    F.hardtanh, torch.expm1, torch.erf, torch.sinh, torch.asinh, torch.tan, torch.atan, torch.floor, torch.ceil,
    torch.round, torch.trunc,
]  # fmt: skip
KEEPING_METHODS = [
    "relu", "tanh", "neg", "abs", "sin", "sign", "square", "clone", "detach", "contiguous", "float", "double", "half",
    "bfloat16", "cpu", "nan_to_num", "positive", "expm1", "erf", "sinh", "asinh", "tan", "atan", "floor", "ceil",
    "round", "trunc",
]  # fmt: skip
LOSING_MODULES = [nn.Sigmoid, nn.Hardsigmoid, nn.LogSigmoid, nn.Softplus]
LOSING_FUNCTIONS = [
    F.sigmoid, F.hardsigmoid, F.logsigmoid, F.softplus, torch.sigmoid, torch.exp, torch.cos,
]  # fmt: skip

CASES = [
    *(of_module(each) for each in KEEPING_MODULES),
    *(unary(each) for each in KEEPING_FUNCTIONS),
    *(unary(each) for each in KEEPING_METHODS),
    *(of_module(each, keeps=False) for each in LOSING_MODULES),
    *(unary(each, keeps=False) for each in LOSING_FUNCTIONS),
    of_module(lambda: nn.GELU("tanh"), TOKENS, note="tanh"),
    of_module(lambda: nn.LeakyReLU(0.3, inplace=True), note="in place"),
    of_module(lambda: nn.ReLU(inplace=True), ROWS, note="in place"),
    Case(F.relu, lambda m, a, b: F.relu(input=a), note="keyword input"),
    Case(torch.sqrt, lambda m, a, b: torch.sqrt(a.abs())),
    Case(torch.log1p, lambda m, a, b: torch.log1p(a.abs())),
    Case("log1p", lambda m, a, b: a.abs().log1p()),
    *(unary(each, -0.5, 2.0) for each in (torch.clamp, torch.clip, "clamp", "clip")),
    Case("clamp", lambda m, a, b: a.clamp(b, b + 1), keeps=False, note="by tensors"),
    Case("sqrt", lambda m, a, b: a.abs().sqrt()),
    unary("to", torch.float32),
    Case("to", lambda m, a, b: a.to(dtype=torch.float32, copy=True), note="keyword dtype"),
    Case("to", lambda m, a, b: a.to(b.float()), note="as another tensor"),
    unary("type", torch.float32),
    Case("type_as", lambda m, a, b: a.type_as(b.float())),
    Case("contiguous", lambda m, a, b: a.permute(0, 2, 3, 1).contiguous(), note="permuted"),
    # those that map zero to something else
    of_module(lambda: nn.Threshold(0.1, 20.0), keeps=False),
    of_module(lambda: nn.Hardtanh(0.5, 2.0), keeps=False, note="from one half"),
    unary(F.threshold, 0.1, 20.0, keeps=False),
    unary(F.hardtanh, 0.5, 2.0, keeps=False, note="from one half"),
    unary(torch.clamp, 0.5, 2.0, keeps=False, note="from one half"),
    unary("clamp", 0.5, 2.0, keeps=False, note="from one half"),
    Case("clamp", lambda m, a, b: a.clamp(min=0.1), keeps=False, note="keyword"),
    unary("sigmoid", keeps=False),
    unary("exp", keeps=False),
    unary("cos", keeps=False),
    Case(torch.rsqrt, lambda m, a, b: torch.rsqrt(a.square() + 1), keeps=False),
    *(Case(each, lambda m, a, b, f=each: f(a.square() + 1), keeps=False)
      for each in (torch.log, torch.log2, torch.log10)),
    Case(torch.reciprocal, lambda m, a, b: torch.reciprocal(a.square() + 1), keeps=False),
    Case("rsqrt", lambda m, a, b: (a.square() + 1).rsqrt(), keeps=False),
    *(Case(each, lambda m, a, b, f=each: getattr(a.square() + 1, f)(), keeps=False)
      for each in ("log", "log2", "log10")),
    Case("reciprocal", lambda m, a, b: (a.square() + 1).reciprocal(), keeps=False),
    *(Case(each, lambda m, a, b, each=each: each(a.abs()), keeps=False, note="of zero")
      for each in (torch.rsqrt, torch.log, torch.log2, torch.log10, torch.reciprocal)),
    *(Case(each, lambda m, a, b, each=each: getattr(a.abs(), each)(), keeps=False, note="of zero")
      for each in ("rsqrt", "log", "log2", "log10", "reciprocal")),
    # dropout and its kin
    of_module(lambda: nn.Dropout(0.4)),
    of_module(lambda: nn.Dropout(0.4, inplace=True), note="in place"),
    of_module(lambda: nn.Dropout(0.0), note="never"),
    of_module(lambda: nn.Dropout1d(0.4), TOKENS),
    of_module(lambda: nn.Dropout2d(0.4)),
    of_module(lambda: nn.Dropout3d(0.4), (2, 4, 2, 3, 3)),
    of_module(lambda: StochasticDepth(0.4, "row")),
    of_module(lambda: StochasticDepth(0.4, "batch"), TOKENS, note="batch"),
    of_module(lambda: DropPath(0.4)),
    Case(F.dropout, lambda m, a, b: F.dropout(a, 0.4, m.training)),
    Case(F.dropout, lambda m, a, b: F.dropout(a, p=0.4, training=m.training, inplace=True), note="in place"),
    Case(F.dropout1d, lambda m, a, b: F.dropout1d(a, 0.4, m.training), TOKENS),
    Case(F.dropout2d, lambda m, a, b: F.dropout2d(a, 0.4, m.training)),
    Case(F.dropout3d, lambda m, a, b: F.dropout3d(a, 0.4, m.training), (2, 4, 2, 3, 3)),
    Case(torch.dropout, lambda m, a, b: torch.dropout(a, 0.4, m.training)),
    Case(F.rrelu, lambda m, a, b: F.rrelu(a, 0.0, 0.5, m.training), note="from zero"),
    # powers
    Case(operator.pow, lambda m, a, b: a**2),
    Case(operator.pow, lambda m, a, b: 2.0**a, keeps=False, note="of a number"),
    Case(operator.pow, lambda m, a, b: a.abs() ** b.abs(), keeps=False, note="by a tensor"),
    Case(operator.pow, lambda m, a, b: a**0, keeps=False, note="to zero"),
    unary(torch.pow, 3),
    Case(torch.pow, lambda m, a, b: torch.pow(a.square() + 1, exponent=-1.0), keeps=False, note="negative"),
    Case(torch.pow, lambda m, a, b: torch.pow(input=a, exponent=2), note="keywords"),
    unary("pow", 2.0),
    # softmax and its kin
    of_module(lambda: nn.Softmax(1), keeps=False),
    of_module(lambda: nn.LogSoftmax(-1), keeps=False),
    of_module(nn.Softmax2d, keeps=False),
    of_module(lambda: nn.Softmin(1), keeps=False),
    *(unary(each, 1, keeps=False) for each in (F.softmax, F.log_softmax, F.softmin, torch.softmax, torch.log_softmax)),
    unary("softmax", -1, keeps=False),
    unary("log_softmax", -1, keeps=False),
    # slopes and gates
    of_module(nn.PReLU),
    of_module(lambda: nn.PReLU(4), note="a slope a channel"),
    of_module(lambda: nn.PReLU(4), ROWS, note="rows"),
    Case(F.prelu, lambda m, a, b: F.prelu(a, m.slope), parts=weights(slope=(4,))),
    Case(torch.prelu, lambda m, a, b: torch.prelu(a, m.slope), parts=weights(slope=(1,))),
    Case(F.prelu, lambda m, a, b: F.prelu(a, m.slope), parts=weights(slope=()), note="slope that is a number"),
    Case(F.prelu, lambda m, a, b: F.prelu(a, b.mean((0, 2, 3))), note="slope from the input"),
    of_module(lambda: nn.GLU(1)),
    of_module(nn.GLU, TOKENS, note="last"),
    unary(F.glu, 1),
    unary(F.glu, shape=TOKENS, note="last"),
    Case(F.glu, lambda m, a, b: F.glu(a, dim=-3), note="negative dim"),
    binary("type_as", note="same dtype"),
]  # fmt: skip
