"""Rules that are wrong on purpose: a suite that is worth its name tells each from the right one."""

import copy
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import fx

from autosubnet.ops import registry
from autosubnet.ops.call import Call
from autosubnet.ops.masks import MaskTree
from autosubnet.ops.rule import Alias, Replace, Rule, ZerosOf, filled, leaves

TABLES: tuple[dict[Any, Rule], ...] = (registry._modules, registry._functions, registry._methods)


@contextmanager
def instead_of(right: Rule, wrong: Rule) -> Iterator[None]:
    """Let ``wrong`` answer inside the block wherever ``right`` does: a call may be recorded under another name."""
    entries = [(table, key) for table in TABLES for key, rule in table.items() if rule is right]
    for table, key in entries:
        table[key] = wrong
    try:
        yield
    finally:
        for table, key in entries:
            table[key] = right


def reads_a_zero(call: Call, zeros: ZerosOf) -> bool:
    """Whether any entry of an operand or of the module's own tensors is claimed zero."""
    read = (*call.node.all_input_nodes, *call.tensors.values())
    return any(leaf.any() for each in read for leaf in leaves(zeros(each)))


def greedy(rule: Rule) -> Rule:
    """Claim the whole output where any entry that is read is zero, or where no tensor is read."""

    def zeros(call: Call, zeros: ZerosOf) -> MaskTree:
        if reads_a_zero(call, zeros) or (not call.operands and not call.tensors):
            return filled(call.nothing_known(), True)
        return rule.zeros(call, zeros)

    return _with(rule, zeros=zeros)


def careless(rule: Rule) -> Rule:
    """Put an operand that is left in place of the result, whatever its shape, dtype, sign or factor."""

    def drops(call: Call, zero: frozenset[fx.Node]) -> Alias | None:
        left = [operand for operand in call.operands if operand not in zero]
        return Alias(left[0]) if left else None

    return _with(rule, drops=drops)


def distorting(rule: Rule) -> Rule:
    """Negate what stands for the result; of another call take an operand alone."""

    def drops(call: Call, zero: frozenset[fx.Node]) -> Alias | Replace | None:
        right = rule.drops(call, zero)
        if isinstance(right, Alias):
            return Replace(operator.neg, (right.operand,), {})
        if isinstance(right, Replace):
            return Alias(next(operand for operand in call.operands if operand not in zero))
        return None

    return _with(rule, drops=drops)


def stubborn(rule: Rule) -> Rule:
    """Leave the hyper-parameters of a module as they were when its tensors are cut."""
    return _with(rule, resized=lambda call, module, kept: None)


def _with(rule: Rule, **methods: Any) -> Rule:
    wrong = copy.copy(rule)
    for name, method in methods.items():
        setattr(wrong, name, method)
    return wrong
