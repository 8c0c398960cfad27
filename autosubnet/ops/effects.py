"""What a node does besides returning a value computed from its operands."""

from __future__ import annotations

from collections.abc import Iterable

from torch import fx, nn

from autosubnet.ops.call import Call
from autosubnet.ops.registry import is_known, rule_of


def call_of(node: fx.Node, module: nn.Module | None) -> Call:
    """Return the call of a node, with the names that the module itself gives its tensors."""
    tensors = {} if module is None else {name: f"{node.target}.{name}" for name, _ in _tensors(module)}
    return Call(node, module, tensors)


def _tensors(module: nn.Module) -> Iterable[tuple[str, object]]:
    if not (module._modules or module._parameters or module._buffers):
        return ()  # most are activations, and this is asked often
    return [*module.named_parameters(), *module.named_buffers()]


def draws(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node draws random numbers in train mode."""
    if node.op not in ("call_module", "call_function", "call_method"):
        return False
    return rule_of(node, module).is_random(call_of(node, module))


def may_draw(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node draws random numbers, or nothing is known of it."""
    return not is_known(node, module) or draws(node, module)


def edges(node: fx.Node, module: nn.Module | None) -> tuple[fx.Node, ...]:
    """Return the operands whose values reach the result."""
    if node.op not in ("call_module", "call_function", "call_method"):
        return tuple(node.all_input_nodes)
    return rule_of(node, module).edges(call_of(node, module))


def must_stay(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node has an effect though nobody reads it: memory, running statistics, random numbers."""
    return writes(node, module) or bool(node.meta.get("draws")) or draws(node, module)


def writes(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node writes memory, or may update buffers."""
    if node.meta.get("effect"):
        return True
    if node.op not in ("call_module", "call_function", "call_method"):
        return False
    stateful = rule_of(node, module).is_stateful(call_of(node, module))
    return stateful or (module is not None and bool(list(module.buffers())))
