"""Where the graphs of train and eval mode meet again: a choice between two operands, by mode."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from torch import fx

from autosubnet.ops.call import Call
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask
from autosubnet.ops.registry import register
from autosubnet.ops.rule import Rule, Tie, ZerosOf, tie_all
from autosubnet.ops.sizes import Expression, Sizes


def by_mode(train: Any, evaluation: Any) -> NoReturn:
    """Stand in a merged graph for ``train`` in train mode and for ``evaluation`` in eval mode.

    It is never called: the graph of one mode reads the operand itself.
    """
    raise NotImplementedError("a choice by mode has no value; ask for the graph of one mode")


def operand_of(node: fx.Node, mode: str) -> fx.Node | None:
    """Return what a choice by mode stands for in ``mode``; ``None`` for any other node."""
    if node.target is not by_mode:
        return None
    return node.args[0 if mode == "train" else 1]  # type: ignore[return-value]  # operands are nodes


def reaches(node: fx.Node, goal: Callable[[fx.Node], bool], passes: Callable[[fx.Node], bool]) -> bool:
    """Whether a node that is ``goal`` is among what ``node`` is computed from, all between them being ``passes``."""
    pending, seen = [node], {node}
    while pending:
        each = pending.pop()
        if goal(each):
            return True
        if passes(each):
            pending += [source for source in each.all_input_nodes if source not in seen]
            seen.update(each.all_input_nodes)
    return False


class ByMode(Rule):
    """One operand in train mode, the other in eval mode."""

    def classify(self, call: Call) -> Kind:
        """An accessory where one mode only does more on the way, else a joint."""
        return Kind.JOINT if len(self.edges(call)) > 1 else Kind.ACCESSORY

    def edges(self, call: Call) -> tuple[fx.Node, ...]:
        """The longer way alone where it starts at the other operand."""
        train, evaluation = call.node.all_input_nodes
        if reaches(train, lambda node: node is evaluation, _in_one_mode):
            return (train,)
        if reaches(evaluation, lambda node: node is train, _in_one_mode):
            return (evaluation,)
        return (train, evaluation)

    def zeros(self, call: Call, zeros: ZerosOf) -> Mask:
        """Zero where both are."""
        train, evaluation = call.operands
        return zeros(train) & zeros(evaluation)

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> Mask:
        """Where either is: what must depend on an input must do so in both modes."""
        train, evaluation = call.operands
        return constants(train) | constants(evaluation)

    def why_not_zero(self, call: Call) -> str:
        """One of the two is not."""
        return "it is not zero in one of the modes"

    def ties(self, call: Call) -> Iterable[Tie]:
        """Every index goes with the same index of both."""
        for operand in call.operands:
            yield from tie_all(call, operand)

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Those of both, where they are the same."""
        train, evaluation = (sizes.of(operand) for operand in call.operands)
        return train if train == evaluation else None


def _in_one_mode(node: fx.Node) -> bool:
    return len(node.meta["modes"]) == 1


register(ByMode(), functions=[by_mode])
