"""What a rule answers about its operator: kind, zero transfer, channel transfer, rewrite."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from autosubnet.ops.call import Call, Value
from autosubnet.ops.kind import Kind
from autosubnet.ops.masks import Mask, MaskTree, is_zero, uniform
from autosubnet.ops.sizes import Expression, Sizes

ZerosOf = Callable[[Value], Mask]


@dataclass(frozen=True)
class Tie:
    """Index ``i`` of ``source`` along ``source_dim`` can only go together with ``target``'s indices.

    Those are ``start + i * repeat`` up to ``start + (i + 1) * repeat`` (exclusive) along ``target_dim``.
    """

    source: Value
    source_dim: int
    target: Value
    target_dim: int
    start: int = 0
    repeat: int = 1


@dataclass(frozen=True)
class Free:
    """The operator does not care which indices of ``value`` along ``dim`` there are."""

    value: Value
    dim: int


@dataclass(frozen=True)
class Alias:
    """The operator's result is this operand."""

    operand: fx.Node


@dataclass(frozen=True)
class Replace:
    """The operator's result is this other call, copied into a memory format if one is named."""

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    layout: torch.memory_format | None = None


class Rule:
    """The rule of an unknown operator: it claims nothing and lets nothing be cut. Others override."""

    kind = Kind.UNKNOWN

    def classify(self, call: Call) -> Kind:
        """Return the vertex's kind (OTOv3, Section 3.1)."""
        return self.kind

    def edges(self, call: Call) -> tuple[fx.Node, ...]:
        """Return the operands whose values reach the result: the edges of the dependency graph."""
        return tuple(call.node.all_input_nodes)

    def zeros(self, call: Call, zeros: ZerosOf) -> MaskTree:
        """Return which output entries are zero for every input, given those of the operands (zero transfer)."""
        return call.nothing_known()

    def patched(self, call: Call, masks: ZerosOf, before: MaskTree, changed: Collection[fx.Node]) -> MaskTree | None:
        """Return the mask ``before``, put right where those of the operands ``changed`` make a difference.

        For operators of so many operands that reading them all each time would be slow, and whose zeros and
        constants follow from the operands' in the same way. ``None``: it has to be computed anew.
        """
        return None

    def constants(self, call: Call, constants: ZerosOf, zeros: ZerosOf) -> MaskTree:
        """Return which output entries an input cannot change, given which operand entries it cannot.

        By default all or nothing: ``constants`` and ``zeros`` answer for operands and weights.
        """
        fixed = all(is_zero(each) for operand in call.node.all_input_nodes for each in leaves(constants(operand)))
        return filled(call.nothing_known(), fixed)

    def is_blank(self, call: Call) -> bool:
        """Whether it makes zeros out of nothing: no claim of :meth:`zeros`, for a construction may have left them."""
        return False

    def chosen(self, call: Call) -> tuple[fx.Node, tuple[Any, ...]] | None:
        """Return the condition by which it takes each entry from one operand or another, and these operands."""
        return None

    def blurs(self, call: Call, masks: ZerosOf) -> bool:
        """Whether it moves entries so that some are claimed of its input, and which these become is not told."""
        return False

    def why_not_zero(self, call: Call) -> str:
        """Return half a sentence on why a zero does not pass, for a person."""
        return "what it gets is not zero"

    def affine(self, call: Call) -> tuple[Value, ...]:
        """Return per-channel parameters whose zeros make the same channels of the output zero."""
        return ()

    def poles(self, call: Call) -> tuple[fx.Node, ...]:
        """Return operands at whose zeros its value or its gradient jumps or is not finite: what it divides by, say."""
        return ()

    def tells_sign(self, call: Call) -> bool:
        """Whether its value at a pole is finite, and another for minus zero than for zero."""
        return False

    def ties(self, call: Call) -> Iterable[Tie | Free]:
        """Return which indices go together (channel transfer); what is not named cannot be cut."""
        return ()

    def drops(self, call: Call, zero: frozenset[fx.Node]) -> Alias | Replace | None:
        """Return the same result without the operands that are ``zero``, where it is exactly the same."""
        return None

    def absorbs(self, call: Call) -> Collection[fx.Node]:
        """Return operands of which wholly zero ones can be cut out together with the indices they fill."""
        return ()

    def sizes(self, call: Call, sizes: Sizes, output: int = 0) -> list[Expression] | None:
        """Return the sizes of the output (which, of several) from those of the operands, at whatever size these have.

        ``None``, or ``None`` among them: not known.
        """
        return None

    def demands(self, call: Call) -> Iterable[tuple[fx.Node, int, int]]:
        """Return sizes of operands without which it fails, as (operand, dimension, size)."""
        return ()

    def resized(self, call: Call, module: nn.Module, kept: Callable[[Value, int], int | None]) -> None:
        """Adapt the hyper-parameters of ``module``, a copy whose tensors were cut.

        ``kept(value, dim)`` is the number of indices that are left, or ``None`` where none was cut.
        """

    def is_random(self, call: Call) -> bool:
        """Whether it draws random numbers in train mode."""
        return False

    def is_stateful(self, call: Call) -> bool:
        """Whether it updates buffers in train mode."""
        return False


class Unknown(Rule):
    """Of an operator that has no rule: nothing is claimed."""

    def why_not_zero(self, call: Call) -> str:
        """Nothing is known."""
        return "nothing is known about its values"

    def is_stateful(self, call: Call) -> bool:
        """Whether it has buffers that it could update."""
        return call.module is not None and any(True for _ in call.module.buffers())


def filled(nothing: MaskTree, mask: bool) -> MaskTree:
    """Return masks of the structure of ``nothing`` that all say ``mask``."""
    if isinstance(nothing, tuple):
        return tuple(filled(each, mask) for each in nothing)
    return None if nothing is None else uniform(nothing.ndim, mask)


def leaves(masks: MaskTree) -> list[Mask]:
    """Return the masks in a structure of them."""
    if isinstance(masks, tuple):
        return [leaf for each in masks for leaf in leaves(each)]
    return [] if masks is None else [masks]


def moved(rule: Rule, call: Call, constants: ZerosOf) -> MaskTree:
    """Constants of an operator that moves entries about as it does zeros, if nothing but its input varies."""
    others = [node for node in call.node.all_input_nodes if node is not call.node.args[0]]
    if not all(is_zero(each) for node in others for each in leaves(constants(node))):
        return filled(call.nothing_known(), False)
    return rule.zeros(call, constants)


def affine_constants(
    rule: Rule, call: Call, bias: Value | None, weight: Value | None, constants: ZerosOf, zeros: ZerosOf
) -> MaskTree:
    """Constants of x W + b: the zero transfer, with zero weights as they are and any bias taken for zero."""

    def of(value: Value) -> Mask:
        if value == bias and isinstance(value, str):
            return uniform(zeros(value).ndim, True)
        return zeros(value) if value == weight else constants(value)

    if isinstance(weight, fx.Node) and not is_zero(constants(weight)):
        return Rule.constants(rule, call, constants, zeros)
    return rule.zeros(call, of)


def known(call: Call, mask: bool) -> Mask:
    """Return the mask that says ``mask`` of every entry of the output."""
    return uniform(len(call.shape), mask)


def is_partial(mask: MaskTree) -> bool:
    """Whether some entries are claimed and some are not."""
    return any(bool(each.any()) and not each.all() for each in leaves(mask))


def tie_all(call: Call, operand: Value) -> Iterator[Tie]:
    """Tie every dimension of ``operand`` to the same dimension of the output."""
    for dim in range(len(call.shape)):
        yield Tie(operand, dim, call.node, dim)
