"""Cases of normalisations."""

import torch
import torch.nn.functional as F
from torch import nn

from .case import IMAGE, ROWS, TOKENS, Case, of_module, weights

LINE, VOLUME = (2, 4, 7), (2, 4, 3, 4, 3)


def _statistics():
    return {
        "mean": nn.Buffer(torch.randn(4)),
        "variance": nn.Buffer(torch.rand(4) + 0.5),
        **weights(w=(4,), c=(4,))(),
    }


def _batch_norm(m, a, b):
    return F.batch_norm(a, m.mean, m.variance, m.w, m.c, m.training)


def _with_token(m, a, b):
    """One position beside the others that does not depend on the input."""
    return torch.cat([m.token.expand(a.size(0), -1, -1), a], 2)


def _token_and(make):
    return lambda: {"op": make(), "token": nn.Parameter(torch.randn(1, 4, 1))}


CASES = [
    *(of_module(lambda: nn.BatchNorm1d(4), shape, note=f"{len(shape)} dimensions") for shape in (ROWS, LINE)),
    of_module(lambda: nn.BatchNorm2d(4)),
    of_module(lambda: nn.BatchNorm2d(4, affine=False), keeps=False, note="not affine"),
    of_module(lambda: nn.BatchNorm2d(4, track_running_stats=False), note="no statistics"),
    of_module(lambda: nn.BatchNorm3d(4), VOLUME),
    of_module(lambda: nn.SyncBatchNorm(4)),
    Case(nn.BatchNorm1d, lambda m, a, b: m.op(_with_token(m, a, b)), LINE, _token_and(lambda: nn.BatchNorm1d(4)),
         note="a token beside"),
    Case(nn.BatchNorm1d, lambda m, a, b: m.op(_with_token(m, a, b)), LINE,
         _token_and(lambda: nn.BatchNorm1d(4, track_running_stats=False)), note="a token beside no statistics"),
    Case(F.batch_norm, _batch_norm, IMAGE, _statistics),
    Case(F.batch_norm, lambda m, a, b: F.batch_norm(a, None, None, m.w, m.c, training=True), IMAGE, _statistics,
         note="no statistics"),
    Case(F.batch_norm, lambda m, a, b: F.batch_norm(a, m.mean, m.variance, eps=1e-3), IMAGE, _statistics,
         keeps=False, note="not affine"),
    Case(F.batch_norm, lambda m, a, b: F.batch_norm(_with_token(m, a, b), None, None, m.w, m.c, True), LINE,
         lambda: {"token": nn.Parameter(torch.randn(1, 4, 1)), **_statistics()}, note="a token beside no statistics"),
    Case(F.batch_norm, lambda m, a, b: F.batch_norm(a, m.mean, m.variance, m.w, b.mean((0, 2, 3))), IMAGE, _statistics,
         note="bias from the input"),
    # instance norm
    of_module(lambda: nn.InstanceNorm1d(4, affine=True), LINE),
    of_module(lambda: nn.InstanceNorm2d(4, affine=True)),
    of_module(lambda: nn.InstanceNorm2d(4), note="not affine"),
    of_module(lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True), note="with statistics"),
    of_module(lambda: nn.InstanceNorm3d(4, affine=True), VOLUME),
    Case(nn.InstanceNorm1d, lambda m, a, b: m.op(a[0]), LINE, lambda: {"op": nn.InstanceNorm1d(4, affine=True)},
         keeps=False, note="unbatched"),
    Case(nn.InstanceNorm2d, lambda m, a, b: m.op(a[0]), IMAGE, lambda: {"op": nn.InstanceNorm2d(4, affine=True)},
         keeps=False, note="unbatched"),
    Case(nn.InstanceNorm3d, lambda m, a, b: m.op(a[0]), VOLUME, lambda: {"op": nn.InstanceNorm3d(4, affine=True)},
         keeps=False, note="unbatched"),
    Case(F.instance_norm, lambda m, a, b: F.instance_norm(a, None, None, m.w, m.c), IMAGE, weights(w=(4,), c=(4,))),
    Case(F.instance_norm, lambda m, a, b: F.instance_norm(a), IMAGE, note="not affine"),
    # group norm
    of_module(lambda: nn.GroupNorm(2, 4)),
    of_module(lambda: nn.GroupNorm(4, 4), LINE, note="a group a channel"),
    of_module(lambda: nn.GroupNorm(1, 4, affine=False), ROWS, note="not affine"),
    Case(F.group_norm, lambda m, a, b: F.group_norm(a, 2, m.w, m.c), IMAGE, weights(w=(4,), c=(4,))),
    Case(F.group_norm, lambda m, a, b: F.group_norm(a, num_groups=2, weight=m.w), IMAGE, weights(w=(4,)),
         note="keywords"),
    Case(F.group_norm, lambda m, a, b: F.group_norm(a, 2, m.w, b.mean((0, 2, 3))), IMAGE, weights(w=(4,)),
         note="bias from the input"),
    Case(nn.GroupNorm, lambda m, a, b: m.op(_with_token(m, a, b)), LINE, _token_and(lambda: nn.GroupNorm(2, 4)),
         note="a token beside"),
    # layer norm
    of_module(lambda: nn.LayerNorm(4), TOKENS),
    of_module(lambda: nn.LayerNorm((6, 6)), note="two dimensions"),
    of_module(lambda: nn.LayerNorm(4, bias=False), ROWS, note="no bias"),
    of_module(lambda: nn.LayerNorm(4, elementwise_affine=False), TOKENS, note="not affine"),
    of_module(lambda: nn.RMSNorm(4), TOKENS),
    of_module(lambda: nn.RMSNorm((6, 6), eps=1e-6, elementwise_affine=False), note="not affine"),
    Case(F.layer_norm, lambda m, a, b: F.layer_norm(a, (4,), m.w, m.c), TOKENS, weights(w=(4,), c=(4,))),
    Case(F.layer_norm, lambda m, a, b: F.layer_norm(a, a.shape[-1:], bias=m.c), TOKENS, weights(c=(4,)),
         note="sizes"),
    Case(F.layer_norm, lambda m, a, b: F.layer_norm(input=a, normalized_shape=(6, 6)), IMAGE, note="keywords"),
    Case(F.layer_norm, lambda m, a, b: F.layer_norm(a, (4,), m.w, b.mean((0, 1))), TOKENS, weights(w=(4,)),
         note="bias from the input"),
    Case(F.rms_norm, lambda m, a, b: F.rms_norm(a, (4,), m.w, 1e-6), TOKENS, weights(w=(4,))),
    # of what it divides by
    Case(F.normalize, lambda m, a, b: F.normalize(a, dim=1, eps=1e-3), keeps=False),
    Case(torch._weight_norm, lambda m, a, b: a.mean((2, 3)) @ torch._weight_norm(m.v.abs() + 1, m.g, 0), IMAGE,
         weights(v=(4, 3), g=(4, 1))),
]  # fmt: skip
