"""Cases of operators over several tensors, entry by entry, and of those that put tensors side by side."""

import operator

import torch

from .case import ROWS, TOKENS, Case, binary, unary, weights

COMPARISONS = [torch.eq, torch.ne, torch.lt, torch.le, torch.gt, torch.ge]
DIFFERENCES = (torch.ne, torch.lt, torch.gt)
BY_NAME = (torch.hstack, torch.column_stack)


def _scale(m, a, b):
    return b.mean((2, 3), keepdim=True)


CASES = [
    *(binary(each) for each in (operator.add, torch.add, operator.sub, torch.sub, torch.subtract, torch.rsub)),
    *(binary(each) for each in (operator.mul, torch.mul, torch.multiply, torch.maximum, torch.minimum)),
    *(binary(each) for each in ("add", "sub", "subtract", "mul", "multiply", "maximum", "minimum")),
    # sums
    Case(torch.add, lambda m, a, b: torch.add(a, b, alpha=-2)),
    Case(torch.add, lambda m, a, b: torch.add(a, b, alpha=0), note="alpha zero"),
    Case(torch.add, lambda m, a, b: torch.add(a, b, alpha=a.size(1)), note="alpha from a size"),
    Case(torch.add, lambda m, a, b: torch.add(input=a, other=b), note="keywords"),
    Case("add", lambda m, a, b: a.add(other=b, alpha=3), note="keywords"),
    Case(torch.sub, lambda m, a, b: torch.sub(a, b, alpha=2), note="alpha"),
    Case("sub", lambda m, a, b: a.sub(b, alpha=-1), note="alpha minus one"),
    Case(operator.add, lambda m, a, b: a + 2.0, keeps=False, note="a number"),
    Case(operator.add, lambda m, a, b: 0 + a, note="zero and a tensor"),
    Case(operator.add, lambda m, a, b: sum([a, b]), note="built in sum"),
    Case(operator.add, lambda m, a, b: a + a, note="itself"),
    Case(operator.add, lambda m, a, b: a + _scale(m, a, b), note="broadcast"),
    Case(operator.add, lambda m, a, b: a[:1] + b.mean(0), note="fewer dimensions"),
    Case(operator.add, lambda m, a, b: a.float() + b, note="two dtypes"),
    Case(operator.add, lambda m, a, b: a + m.w, parts=weights(w=(6,)), note="a weight"),
    Case(operator.sub, lambda m, a, b: 2.0 - a, keeps=False, note="number minus tensor"),
    Case(operator.sub, lambda m, a, b: 0 - a, note="zero minus tensor"),
    Case(operator.sub, lambda m, a, b: a - a.size(1), keeps=False, note="minus a size"),
    Case(operator.sub, lambda m, a, b: a.sum(1, keepdim=True) - b, note="broadcast"),
    # products and quotients
    Case(operator.mul, lambda m, a, b: a * 3, note="a number"),
    Case(operator.mul, lambda m, a, b: a * a.size(0), note="a size"),
    Case(operator.mul, lambda m, a, b: a * torch.sigmoid(_scale(m, a, b)), note="a gate"),
    Case(operator.mul, lambda m, a, b: m.w * a, parts=weights(w=(4, 1, 1)), note="a weight"),
    Case(torch.mul, lambda m, a, b: torch.mul(input=a, other=b), note="keywords"),
    Case(operator.truediv, lambda m, a, b: a / 2),
    Case(operator.truediv, lambda m, a, b: a / a.size(-1), note="by a size"),
    Case(operator.truediv, lambda m, a, b: a / (b.square() + 1), note="by a tensor"),
    Case(operator.truediv, lambda m, a, b: 3.0 / (a.square() + 1), keeps=False, note="of a number"),
    Case(torch.div, lambda m, a, b: torch.div(a, 3, rounding_mode="floor")),
    unary("div", 2.5),
    unary("true_divide", 2.5),
    *(binary(each, keeps=False) for each in (torch.atan2, torch.arctan2, torch.copysign)),
    *(binary(each, keeps=False) for each in ("atan2", "arctan2", "copysign")),
    unary(torch.signbit, keeps=False),
    unary("signbit", keeps=False),
    *(Case(each, lambda m, a, b: torch.hash_tensor(a.double(), 1).to(a) * b[:, 0], keeps=False)
      for each in (torch.hash_tensor, "hash_tensor")),
    # choices
    binary(torch.lerp, 0.3),
    binary("lerp", 0.3),
    Case(torch.lerp, lambda m, a, b: torch.lerp(a, b, a.sigmoid()), note="tensor weight"),
    Case(torch.maximum, lambda m, a, b: torch.maximum(a, b[:, :, :1]), note="broadcast"),
    Case(torch.where, lambda m, a, b: torch.where(a > b, a, b)),
    Case(torch.where, lambda m, a, b: torch.where(b > 0.5, a, 0.0), note="zero number"),
    Case(torch.where, lambda m, a, b: torch.where(b > 0.5, a, 1.0), keeps=False, note="other number"),
    Case(torch.where, lambda m, a, b: torch.where(b > 0.5, 0, a), note="number first"),
    Case(torch.where, lambda m, a, b: torch.where(b > 0.5, other=b, input=a), note="keywords"),
    Case(torch.where, lambda m, a, b: torch.where(condition=m.w.to(torch.bool), input=a, other=b + 1),
         parts=weights(w=(4, 1, 1)), keeps=False, note="all keywords"),
    Case(torch.where, lambda m, a, b: a[torch.where(a.detach() == a.detach())].sum(), note="indices", keeps=False),
    Case(torch.masked_fill, lambda m, a, b: torch.masked_fill(a, b > 0, 0)),
    Case(torch.masked_fill, lambda m, a, b: torch.masked_fill(a, b > 0, -1e3), keeps=False, note="other number"),
    Case("masked_fill", lambda m, a, b: a.masked_fill(b > 0, value=0.0)),
    Case("masked_fill", lambda m, a, b: a.masked_fill(b > 0, m.w), parts=weights(w=()), note="a weight"),
    Case(torch.addcmul, lambda m, a, b: torch.addcmul(a, b, a.cos(), value=2)),
    Case(torch.addcmul, lambda m, a, b: torch.addcmul(a, tensor1=b, tensor2=b), note="keywords"),
    Case("addcmul", lambda m, a, b: a.addcmul(a, b)),
    Case("addcmul", lambda m, a, b: a.addcmul(b, b, value=3), note="keywords"),
    # comparisons
    *(binary(each, keeps=each in DIFFERENCES) for each in COMPARISONS),
    *(binary(each.__name__, keeps=each in DIFFERENCES) for each in COMPARISONS),
    Case(torch.gt, lambda m, a, b: torch.gt(a, 0.1), keeps=False, note="a number"),
    Case(torch.logical_and, lambda m, a, b: torch.logical_and(a > 0, b > 0)),
    Case(torch.logical_or, lambda m, a, b: torch.logical_or(a > 0, b > 0)),
    Case("logical_and", lambda m, a, b: (a > 0).logical_and(b > 0)),
    Case("logical_or", lambda m, a, b: (a > 0).logical_or(b > 0)),
    # side by side
    *(Case(each, lambda m, a, b, each=each: each([a, b], 1)) for each in (torch.cat, torch.concat, torch.concatenate)),
    *(Case(each, lambda m, a, b, each=each: each((a, b, a.relu()), dim=-1), TOKENS, note="three last")
      for each in (torch.cat, torch.concat, torch.concatenate)),
    Case(torch.cat, lambda m, a, b: torch.cat(tensors=[a, b], dim=-3), note="keywords"),
    Case(torch.cat, lambda m, a, b: torch.cat([a, b]), ROWS, note="batches"),
    Case(torch.cat, lambda m, a, b: torch.cat([a, a], 1), note="twice the same"),
    Case(torch.cat, lambda m, a, b: torch.cat([a, b[:, :2], a[:, :, :, :]], 1), note="unequal blocks"),
    Case(torch.cat, lambda m, a, b: torch.cat([a, a.new_empty(0), b], 1), note="legacy empty", keeps=False),
    Case(torch.cat, lambda m, a, b: torch.cat(a.chunk(2, 1)[::-1], 1), note="tuple of chunks"),
    Case(torch.cat, lambda m, a, b: torch.cat([m.token.expand(a.size(0), -1, -1), a], 1), TOKENS,
         weights(token=(1, 1, 4)), note="class token"),
    *(Case(each, lambda m, a, b, each=each: each([a, b])) for each in BY_NAME),
    *(Case(each, lambda m, a, b, each=each: each((a, b, a.relu())), (2, 4, 8), note="three") for each in BY_NAME),
    *(Case(each, lambda m, a, b, each=each: each((a[0], b[0])), ROWS, keeps=each is torch.hstack, note="one dimension")
      for each in BY_NAME),
    Case(torch.hstack, lambda m, a, b: torch.hstack(tensors=[a, b]), ROWS, note="keyword"),
    Case(torch.stack, lambda m, a, b: torch.stack([a, b])),
    Case(torch.stack, lambda m, a, b: torch.stack([a, b, a], dim=2), TOKENS, note="middle"),
    Case(torch.stack, lambda m, a, b: torch.stack((a, b), dim=-1).sum(-1), note="and sum"),
]  # fmt: skip
