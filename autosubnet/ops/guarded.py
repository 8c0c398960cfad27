"""Rules of users: what they raise, and masks that do not fit, is told by rule, question and operator."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from torch import nn

from autosubnet.errors import AutoSubnetError, InputError, RuleError
from autosubnet.ops import registry
from autosubnet.ops.call import Call
from autosubnet.ops.rule import Rule


def register_rule(
    rule: Rule,
    *,
    modules: Iterable[type[nn.Module] | str] = (),
    functions: Iterable[Callable[..., Any]] = (),
    methods: Iterable[str] = (),
) -> None:
    """Make ``rule`` answer for these operators.

    Args:
        rule: the rule. Where it raises, or returns a mask that does not broadcast to the output, whoever asks gets a
            :class:`~autosubnet.errors.RuleError` that names rule, question and operator.
        modules: module classes, or their qualified names where importing them would need another package.
            A module of exactly such a class becomes one vertex.
        functions: functions such as ``torch.cat``.
        methods: names of methods of ``torch.Tensor``.

    Raises:
        InputError: ``rule`` is no instance of :class:`Rule`.
    """
    if not isinstance(rule, Rule):
        raise InputError(f"rule is {rule!r}; pass an instance of a class that derives from autosubnet.Rule")
    registry.register(Guarded(rule), modules=modules, functions=functions, methods=methods)


class Guarded(Rule):
    """Asks another rule, and tells where that goes wrong."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.kind = rule.kind


def _asked(question: str) -> Callable[..., Any]:
    def ask(self: Guarded, call: Call, *args: Any, **kwargs: Any) -> Any:
        where = f"{type(self.rule).__name__}.{question}() of {call.node.name!r}"
        try:
            answer = getattr(self.rule, question)(call, *args, **kwargs)
            answer = list(answer) if isinstance(answer, Iterator) else answer  # generators fail when they are read
        except AutoSubnetError:
            raise
        except Exception as error:
            raise RuleError(f"rule {where} raises {type(error).__name__}: {error}") from error
        if question in ("zeros", "constants") and not _fits(answer, call.node.meta["value"]):
            raise RuleError(f"rule {where} returns no mask that broadcasts to its output of {_shown(call)}")
        return answer

    return ask


def _fits(mask: Any, info: Any) -> bool:
    """Whether masks have the structure of a value, are boolean, and broadcast dimension by dimension."""
    if isinstance(info, tuple):
        return isinstance(mask, tuple) and len(mask) == len(info) and all(map(_fits, mask, info))
    if info is None:
        return True
    if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.ndim != len(info.shape):
        return False
    return all(size in (1, whole) for size, whole in zip(mask.shape, info.shape, strict=True))


def _shown(call: Call) -> str:
    info = call.node.meta["value"]
    return "several tensors" if isinstance(info, tuple) else f"shape {info.shape}"


for _question, _method in vars(Rule).items():
    if callable(_method):
        setattr(Guarded, _question, _asked(_question))
