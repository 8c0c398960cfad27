"""From an operator to its rule. Nothing else in the package knows an operator by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import fx, nn

from autosubnet.ops.rule import Rule, Unknown

_modules: dict[str, Rule] = {}
_functions: dict[Any, Rule] = {}
_methods: dict[str, Rule] = {}
_UNKNOWN = Unknown()


def register(
    rule: Rule,
    *,
    modules: Iterable[type[nn.Module] | str] = (),
    functions: Iterable[Callable[..., Any]] = (),
    methods: Iterable[str] = (),
) -> None:
    """Make ``rule`` answer for module classes (or their qualified names), functions and methods of tensors."""
    for module in modules:
        _modules[module if isinstance(module, str) else _qualified(module)] = rule
    for function in functions:
        _functions[function] = rule
    for method in methods:
        _methods[method] = rule


def rule_of(node: fx.Node, module: nn.Module | None) -> Rule:
    """Return the rule of a node; ``module`` is the leaf module that a ``call_module`` node calls."""
    if node.op == "call_module":
        return _modules.get(_qualified(type(module)), _UNKNOWN)
    if node.op == "call_method":
        return _methods.get(str(node.target), _UNKNOWN)
    return _functions.get(node.target, _UNKNOWN)


def is_known(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether the node has a rule."""
    return rule_of(node, module) is not _UNKNOWN


def is_leaf(module: nn.Module) -> bool:
    """Whether the module is exactly what its class says, and can be one vertex.

    That is: of a class with a rule, or of ``torch.nn`` without children; without hooks, parametrizations or
    a ``forward`` of its own.
    """
    cls = type(module)
    known = _qualified(cls) in _modules
    if not known and not (cls.__module__.startswith("torch.nn.modules.") and not module._modules):
        return _is_opaque(module)
    hooked = module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
    return not hooked and not any(child._forward_pre_hooks for child in module.children())


def _is_opaque(module: nn.Module) -> bool:
    # A scripted module's operations cannot be followed from Python.
    return type(module).__module__.startswith("torch.jit")


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
