"""Cases of operators that move entries about, pool, resize and reduce."""

import operator

import torch
import torch.nn.functional as F
from torch import nn

from .case import IMAGE, ROWS, TOKENS, Case, of_module, unary

LINE, VOLUME = (2, 4, 8), (2, 4, 4, 4, 4)
SHAPES = {1: LINE, 2: (2, 4, 8, 8), 3: VOLUME}


def _pools(dims):
    shape = SHAPES[dims]
    for name in ("MaxPool", "AvgPool"):
        pool = getattr(nn, f"{name}{dims}d")
        yield of_module(lambda pool=pool: pool(2), shape)
        yield of_module(lambda pool=pool: pool(3, 2, 1, ceil_mode=True), shape, note="padded")
        yield Case(pool, lambda m, a, b: m.op(a[0]), shape, lambda pool=pool: {"op": pool(2)}, note="unbatched")
        yield unary(getattr(F, f"{'max' if name == 'MaxPool' else 'avg'}_pool{dims}d"), 2, shape=shape)
    for name in ("AdaptiveAvgPool", "AdaptiveMaxPool"):
        pool = getattr(nn, f"{name}{dims}d")
        yield of_module(lambda pool=pool: pool(2), shape)
        function = getattr(F, f"adaptive_{'avg' if 'Avg' in name else 'max'}_pool{dims}d")
        yield unary(function, 1, shape=shape)
    yield of_module(lambda: getattr(nn, f"LPPool{dims}d")(2, 2), shape)


REDUCTIONS = [torch.sum, torch.mean, torch.amax, torch.amin]

CASES = [
    *(case for dims in SHAPES for case in _pools(dims)),
    Case(F.max_pool2d, lambda m, a, b: F.max_pool2d(a, 2, 1, 1, 3), note="dilated, padded", keeps=False),
    *(Case(each, lambda m, a, b, each=each: each(a, [2], [1]), note="lists of one")
      for each in (F.avg_pool2d, F.max_pool2d)),
    Case(nn.MaxPool2d, lambda m, a, b: m.op(a), parts=lambda: {"op": nn.MaxPool2d(2, return_indices=True)},
         note="indices"),
    of_module(lambda: nn.Upsample(scale_factor=2)),
    of_module(lambda: nn.Upsample(size=9, mode="linear"), LINE, note="linear"),
    of_module(lambda: nn.UpsamplingBilinear2d(scale_factor=2)),
    of_module(lambda: nn.UpsamplingNearest2d(size=(4, 5))),
    unary(F.interpolate, None, 1.5),
    Case(F.interpolate, lambda m, a, b: F.interpolate(a, size=b.shape[-2:], mode="bicubic"), note="bicubic"),
    # reductions
    *(unary(each, 1) for each in REDUCTIONS),
    *(unary(each.__name__, (1, 2)) for each in REDUCTIONS),
    *(unary(each.__name__, -1, True, note="kept") for each in REDUCTIONS),
    *(unary(each, note="everything") for each in (torch.sum, torch.mean, torch.amax)),
    Case("mean", lambda m, a, b: a.mean([2, 3], keepdim=True), note="kept two"),
    Case("mean", lambda m, a, b: a.mean(axis=1) + 0 * a.size(0), note="keyword axis"),
    Case("sum", lambda m, a, b: a.sum(axis=1).mean(-1), note="keyword axis"),
    Case("sum", lambda m, a, b: a.sum(dim=(0, -1), dtype=torch.float32), note="dtype"),
    Case(torch.sum, lambda m, a, b: torch.sum(input=a, dim=1), note="keywords"),
    Case(torch.sum, lambda m, a, b: a + a.mean().sum(-1), note="of a number"),
    Case("max", lambda m, a, b: a.max(1), note="with indices"),
    Case("max", lambda m, a, b: a.max(dim=-1, keepdim=True)[0]),
    Case("max", lambda m, a, b: a.max(b), note="of two", keeps=False),
    Case("max", lambda m, a, b: a.max(), note="everything"),
    Case("min", lambda m, a, b: a.min(dim=2).values),
    # reshapes
    of_module(lambda: nn.Unflatten(1, (2, 2))),
    of_module(nn.Flatten),
    of_module(lambda: nn.Flatten(0, 1), note="from the batch"),
    of_module(lambda: nn.Flatten(2), note="space"),
    unary(torch.reshape, (-1, 2, 2, 36)),
    Case(torch.reshape, lambda m, a, b: torch.reshape(input=a, shape=(a.size(0), -1)), note="keywords"),
    Case("reshape", lambda m, a, b: a.reshape(a.shape[0], a.shape[1] // 2, -1)),
    Case("reshape", lambda m, a, b: a.reshape(a.size(1), -1), note="across the batch"),
    Case("view", lambda m, a, b: a.view(a.size(0), -1)),
    Case("view", lambda m, a, b: a.view(a.size(0), 2, 2, *a.shape[2:]), note="groups"),
    Case("view", lambda m, a, b: b.view(torch.int64), ROWS, note="as another dtype", keeps=False),
    Case("view", lambda m, a, b: b.view(torch.float32), ROWS, note="as a narrower dtype", keeps=False),
    unary("flatten", 1),
    unary("flatten", note="everything"),
    Case("flatten", lambda m, a, b: a.flatten(start_dim=-2), note="negative"),
    unary(torch.flatten, 1, 2),
    unary(torch.unsqueeze, 1),
    unary("unsqueeze", -1),
    Case(torch.squeeze, lambda m, a, b: torch.squeeze(a[:, :, :1])),
    Case(torch.squeeze, lambda m, a, b: torch.squeeze(a[:, :, :1], 2), note="one"),
    Case("squeeze", lambda m, a, b: a[:, :1].squeeze(1)),
    Case("squeeze", lambda m, a, b: a[..., :1].squeeze(-1), note="last"),
    unary(torch.unflatten, 1, (2, -1)),
    unary("unflatten", -1, (3, 2)),
    Case("view_as", lambda m, a, b: a.view_as(b.flatten(2))),
    Case("reshape_as", lambda m, a, b: a.reshape_as(b.flatten(1, 2))),
    *(Case(each, lambda m, a, b: torch.view_as_real(torch.view_as_complex(a.reshape(*a.shape[:-1], -1, 2))))
      for each in (torch.view_as_complex, torch.view_as_real)),
    # permutations
    unary(torch.permute, (0, 2, 3, 1)),
    Case(torch.permute, lambda m, a, b: torch.permute(input=a, dims=(1, 0, -1, 2)), note="keywords"),
    unary(torch.transpose, 1, -1),
    unary(torch.movedim, 1, -1),
    unary(torch.swapaxes, 0, 1),
    Case(torch.t, lambda m, a, b: torch.t(a), ROWS),
    unary("permute", 0, -1, 1, 2),
    unary("transpose", 1, 2),
    unary("movedim", (1, 2), (-1, 1)),
    unary("swapaxes", -1, -3),
    unary("t", shape=ROWS),
    # expansions
    unary(torch.broadcast_to, (3, *IMAGE)),
    Case(torch.broadcast_to, lambda m, a, b: torch.broadcast_to(a.mean(0), a.shape), note="to another's shape"),
    Case("broadcast_to", lambda m, a, b: a.mean(0).broadcast_to(a.shape)),
    Case("expand", lambda m, a, b: a[:, :, :1].expand(-1, -1, 5, -1)),
    Case("expand", lambda m, a, b: m.mask_a.expand(a.size(0), *m.mask_a.shape[:1], 2, 3), note="a weight"),
    Case("expand_as", lambda m, a, b: a.mean((2, 3), keepdim=True).expand_as(b)),
    # pieces
    unary(torch.chunk, 2, 1),
    unary("chunk", 3, -1),
    unary("chunk", 2, 1, note="of channels"),
    unary("chunk", 4, 1, note="unequal", shape=(2, 6, 3)),
    unary(torch.split, [1, 3], 1),
    Case("split", lambda m, a, b: a.split(3, dim=1), note="keyword"),
    Case("split", lambda m, a, b: a.split([1, 2, 1], dim=-3), note="negative"),
    unary(torch.unbind, 1),
    unary("unbind", -1),
    unary(torch.tensor_split, 3, 1),
    unary("tensor_split", (1, 3), 2),
    # slices
    Case(operator.getitem, lambda m, a, b: a[:, 1]),
    Case(operator.getitem, lambda m, a, b: a[:, 1:3, ::2]),
    Case(operator.getitem, lambda m, a, b: a[..., -1], note="ellipsis"),
    Case(operator.getitem, lambda m, a, b: a[:, -1, None, ..., 2:-1], note="none and negative"),
    Case(operator.getitem, lambda m, a, b: a[None, :, -2:], note="new first"),
    Case(operator.getitem, lambda m, a, b: a[:, 5:], note="beyond"),
    Case(operator.getitem, lambda m, a, b: a[:, : a.size(1) // 2], note="by a size"),
    Case(operator.getitem, lambda m, a, b: a[:, a.size(1) - 1], note="at a size"),
    Case(operator.getitem, lambda m, a, b: a[:, [0, 2]], note="list"),
    Case(operator.getitem, lambda m, a, b: a[:, m.index], parts=lambda: {"index": nn.Buffer(torch.tensor([3, 1]))},
         note="buffer"),
    Case(operator.getitem, lambda m, a, b: a[..., m.index, :], note="table of numbers",
         parts=lambda: {"index": nn.Buffer(torch.tensor([[2, 1, 0], [0, 0, 1]]))}),
    Case(operator.getitem, lambda m, a, b: a[1:, m.index, None, 1], note="buffer and number",
         parts=lambda: {"index": nn.Buffer(torch.tensor([3, 1]))}),
    Case(operator.getitem, lambda m, a, b: a[:, m.index], note="no number of channels",
         parts=lambda: {"index": nn.Buffer(torch.tensor(1))}),
    Case(operator.getitem, lambda m, a, b: a[:, m.index, :, m.index], note="two tables",
         parts=lambda: {"index": nn.Buffer(torch.tensor([1, 0]))}),
    Case(operator.getitem, lambda m, a, b: a[:, b.mean((0, 2, 3)).argsort()], note="by what comes in"),
    Case(operator.getitem, lambda m, a, b: a[:, m.mask], note="mask",
         parts=lambda: {"mask": nn.Buffer(torch.tensor([True, False, True, True]))}),
    Case(operator.getitem, lambda m, a, b: a[True], note="true"),
    Case(operator.getitem, lambda m, a, b: m.mask_a[:2] * a[:, :2], note="of a weight"),
    # padding
    of_module(lambda: nn.ZeroPad2d(1)),
    of_module(lambda: nn.ConstantPad2d((0, 1, 2, 0), 0.0)),
    of_module(lambda: nn.ConstantPad2d(1, 0.5), keeps=False, note="one half"),
    of_module(lambda: nn.ReflectionPad2d(1)),
    of_module(lambda: nn.ReplicationPad2d((1, 0, 0, 1))),
    of_module(lambda: nn.CircularPad2d(1)),
    unary(F.pad, (1, 1)),
    unary(F.pad, (0, 0, 0, 0, 1, 2), note="channels"),
    unary(F.pad, (1, 0), "constant", 2.0, keeps=False, note="two"),
    unary(F.pad, (1, 1, 1, 1), "reflect", note="reflect"),
    unary(F.pad, (-1, 0, -2, 1), note="crop"),
    Case(F.pad, lambda m, a, b: F.pad(a, (0, a.size(-1) % 4), value=0.0), note="by a size"),
    Case(F.pad, lambda m, a, b: F.pad(input=a, pad=(0, 0, 1, 1), value=1e-3), keeps=False, note="keywords"),
    # shuffles and the rest
    of_module(lambda: nn.PixelShuffle(2)),
    of_module(lambda: nn.PixelUnshuffle(2)),
    of_module(lambda: nn.ChannelShuffle(2)),
    of_module(lambda: nn.Unfold(2)),
    of_module(lambda: nn.Fold((4, 4), 2), (2, 4, 9)),
    unary(F.pixel_shuffle, 2),
    unary(F.pixel_unshuffle, 2),
    unary(F.channel_shuffle, 2),
    unary(F.unfold, 2),
    unary(F.fold, (4, 4), 2, shape=(2, 4, 9)),
    unary(torch.roll, 1, 1),
    unary("roll", 2, -1),
    unary(torch.flip, (1,)),
    unary("flip", -1),
    unary(torch.cumsum, 1),
    unary("cumsum", -1),
    Case(torch.index_select, lambda m, a, b: torch.index_select(a, 1, torch.tensor([2, 0]))),
    Case("index_select", lambda m, a, b: a.index_select(1, m.index),
         parts=lambda: {"index": nn.Buffer(torch.tensor([3, 1]))}),
    Case("index_select", lambda m, a, b: a.sum().index_select(0, m.index) * a, note="of a number",
         parts=lambda: {"index": nn.Buffer(torch.tensor([0]))}),
    Case("index_select", lambda m, a, b: a.index_select(-1, m.index), note="one number",
         parts=lambda: {"index": nn.Buffer(torch.tensor(1))}),
    Case(torch.gather, lambda m, a, b: torch.gather(a, 1, b.argsort(1))),
    Case("gather", lambda m, a, b: a.gather(-1, b.argsort(-1)), TOKENS),
    unary(torch.tril),
    unary("tril", -1),
    unary(torch.triu),
    unary("triu", 1),
    unary("repeat", 1, 2, 1, 1),
    unary(torch.repeat_interleave, 2, 1),
    unary("repeat_interleave", 3, -1),
    unary("repeat_interleave", 2, note="flattened"),
    unary(torch.narrow, 1, 1, 2),
    unary("narrow", 1, 0, 2),
    unary(torch.select, 1, 2),
    unary("select", -1, 0),
    unary("unfold", -1, 2, 1),
]  # fmt: skip
