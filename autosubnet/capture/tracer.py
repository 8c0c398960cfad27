"""The value-carrying tracer: runs the model once and records every operation on the way.

Unlike ``torch.fx.symbolic_trace`` nothing is a proxy: tensors are real, so Python control flow on shapes,
on ``None`` and on configuration takes its course, while arithmetic on sizes is recorded (``sizes.py``). A
``TorchFunctionMode`` sees every function and method; ``Module.__call__`` is patched to record leaf modules
whole. In-place operations are recorded out of place where nobody else holds the same memory; where somebody
does, they stay as they are and every value of that memory is marked ``mutated``: nothing is claimed of it.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping, Set
from functools import partial
from typing import Any

import torch
from torch import fx, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import CheckpointFunction

from autosubnet.capture import functions
from autosubnet.capture.observe import (
    autocast,
    info_of,
    leaves_of,
    source_line,
    storage_of,
    tensors_in,
)
from autosubnet.capture.patching import patched
from autosubnet.capture.placeholders import placeholders
from autosubnet.capture.recording import Recording, UnfollowableError
from autosubnet.capture.settings import settings_of
from autosubnet.capture.sharing import overlap
from autosubnet.capture.sizes import plain, sizes_of, traced
from autosubnet.capture.structure import returned
from autosubnet.capture.trace import Mode
from autosubnet.capture.unseen import Unseen
from autosubnet.errors import CaptureError
from autosubnet.ops.effects import draws
from autosubnet.ops.registry import is_known, is_leaf


class Tracer(Recording, TorchFunctionMode):
    """Records one run of a model in one mode.

    Args:
        model: what is run.
        mode: the mode that it is in.
        opaque: modules that are recorded as one vertex each, since they cannot be followed.
        frozen: modules that the model keeps in eval mode when it trains; they are traced into, so that what they
            do is written out and no longer depends on a mode.
        gradients: run as in training, so that what forward computes under ``no_grad`` can be told from the rest.
        keys: let sizes be keys of tables; else they are not hashable, which caches take for a reason to do without.

    Attributes:
        replaced: leaf modules that are not the model's own, by the name used in the graph.
        unseen: what modules do that cannot be followed, or have no rule.
        batch: the size that the first dimensions of all inputs share, if they do.
    """

    def __init__(
        self,
        model: nn.Module,
        mode: Mode,
        opaque: Set[str] = frozenset(),
        frozen: Set[nn.Module] = frozenset(),
        gradients: bool = True,
        keys: bool = False,
    ) -> None:
        super().__init__(model, mode, keys=keys)
        self.opaque = opaque
        self.frozen = frozen
        self.replaced: dict[str, Any] = {}
        self.unseen = Unseen(self._values)
        self.batch: int | None = None
        self._gradients = gradients
        self._module_names = {module: name for name, module in self._modules.items()}
        self._weights: dict[int, list[tuple[str, nn.Parameter]]] = {}  # by storage
        for name, parameter in model.named_parameters():
            self._weights.setdefault(storage_of(parameter), []).append((name, parameter))

    def run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Run the model on the inputs (which may be written to) and record it, output included."""
        args, kwargs = placeholders(self.model, self._values, args, kwargs)
        self._settings = {module: settings_of(module) for module in self._modules.values() if is_leaf(module)}
        with torch.set_grad_enabled(self._gradients), patched(self._call_module, self._apply), self:
            self._values.detaches = torch.is_grad_enabled()  # not under inference_mode
            result = self.model(*args, **kwargs)
        self._done = True
        self.unseen.require_visible(self.mode)
        self.graph.output(returned(result, self._node, self._number))
        for node in self.graph.nodes:
            node.meta.setdefault("value", None)
            node.meta.setdefault("module", "")
            node.meta.setdefault("root", node)
            node.meta["mutated"] = node.meta["root"] in self._values.mutated
            node.meta.setdefault("drew", False)
            node.meta["draws"] = node.meta["drew"] or draws(node, self._leaf(node))
            node.meta["modes"] = frozenset({self.mode})

    # ------------------------------------------------------------------ modules

    def _apply(self, cls: type[torch.autograd.Function], apply: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Record a function with a backward of its own as one vertex; of a checkpoint, what is inside."""
        if self._paused:
            return apply(*args)
        if cls is CheckpointFunction:
            function, _, *given = args
            return function(*given)
        if what := functions.unheld(args):
            raise self._unfollowable(f"{cls.__name__}, a torch.autograd.Function, gets {what}, which no graph can hold")
        node = self.graph.call_function(functions.applied(cls), self._args(args))
        self._require_same_autocast()
        with self._pause(), self._watched(node), self.unseen.leaves_alone(args, cls.__name__):
            result = apply(*args)
        return self._bind_result(result, node, args)

    def _call_module(
        self, original: Callable[..., Any], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self._paused:
            return original(module, *args, **kwargs)
        if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            return module.module(*args, **kwargs)  # one device computes the same as several
        outer = self._values.module
        self._values.module = self._module_names.get(module, outer)
        self._path.append(self._values.module)
        self._autocasts.append(autocast())
        try:
            if module in self._module_names and self._is_leaf_call(module, args):
                return self._call_leaf(original, module, args, kwargs)
            if module._backward_hooks or module._backward_pre_hooks:
                what = "the model" if module is self.model else "it"
                raise UnfollowableError(
                    f"{what} has hooks on its gradients, which no graph of what is inside can hold; take them off for "
                    f"the capture, and register them on modules of the subnet",
                    self._values.module,
                )
            result = original(module, *args, **kwargs)
            for tensor in tensors_in(result):
                self._node(tensor)  # else this module made it out of sight, not who reads it next
            return result
        finally:
            self._values.module = outer
            self._path.pop()
            self._autocasts.pop()

    def _is_leaf_call(self, module: nn.Module, args: tuple[Any, ...]) -> bool:
        """Whether the module can be one node; one that writes memory that others hold cannot."""
        if self._module_names[module] in self.opaque:
            return True
        if module is self.model or module in self.frozen or not is_leaf(module):
            return False
        if self._settings.get(module) != settings_of(module):
            return False  # it computes something else in this call: its weights, its mode or a number were exchanged
        return not getattr(module, "inplace", False) or (
            len(args) == 1 and self._values.owned(args[0]) and not self._keeps_gradient(args[0])
        )

    def _call_leaf(
        self, original: Callable[..., Any], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        name, caller = self._module_names[module], self._path[-2] if self._path[1:] else ""
        if what := functions.unheld((args, kwargs)):
            raise self._unfollowable(f"{what} enters module {name!r}", module=caller)
        for tensor in tensors_in((args, kwargs)):
            self._node(tensor, caller)
        if getattr(module, "inplace", False):
            self.replaced[name] = copy.copy(module)
            self.replaced[name].inplace = False
        node = self.graph.call_module(name, self._args(args), self._args(kwargs))
        self._require_same_autocast()
        hidden = name in self.opaque or not is_known(node, module)
        looked_at = (args, kwargs) if hidden else ()
        own = [*module.parameters(), *module.buffers()] if hidden else []
        alone = self.unseen.leaves_alone(looked_at, f"module {name!r}")
        with self._pause(), self._watched(node), alone, self.unseen.may_write(own, name):
            result = original(module, *args, **kwargs)
        if getattr(module, "inplace", False):
            self._values.bind(result, node, node)
            return result
        if hidden and (what := functions.unheld(list(leaves_of(result)))):
            remedy = "let it return tensors, or tuples, lists, dicts or dataclasses of them"
            raise self._unfollowable(f"module {name!r} returns {what}", remedy, caller)
        if hidden:
            self.unseen.results.setdefault(name, []).append(info_of(result))
        return self._bind_result(result, node, (args, kwargs, own))

    # ------------------------------------------------------------------ functions

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self._paused:
            return func(*args, **kwargs)
        if functions.is_getter(func):
            return self._get(func, args[0])
        if functions.sets_data(func):
            raise CaptureError(f"{self._called(args[0])} gets other memory (.data = ...) at {source_line()}")
        name = functions.name_of(func)
        if name in functions.CHANGES_GRADIENTS or func is torch.autograd.grad:
            raise self._unfollowable(f"gradients are changed ({name.strip('_')})")
        if name in functions.SIZES:
            return self._sizes(name, func, args, kwargs)
        if name in functions.READS_VALUE:
            return self._read(name, func, args, kwargs)
        if functions.sets_trainable(func, args) and isinstance(args[0], nn.Parameter):
            raise self._unfollowable(f"requires_grad of {self._called(args[0])} is changed")
        if name in functions.SILENT:
            return func(*args, **kwargs)
        if name == "__getitem__" and args[1] is ... and self._values.knows(args[0]):
            return self._all_of(args[0])
        return self._record(func, name, args, kwargs)

    def _all_of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Record ``tensor[...]`` as the tensor itself: that is what reads behind a write are made of."""
        with self._pause():
            result = tensor[...]
        node = self._node(tensor)
        self._values.bind(result, node, node.meta["root"])
        return result

    def _get(self, getter: Any, tensor: torch.Tensor) -> Any:
        value, name = getter(tensor), getter.__self__.__name__
        if name == "nbytes" and self._values.knows(tensor):
            self.losses.append((f"nbytes at {source_line()}", frozenset({(self._node(tensor), None)})))
        if name == "shape" and self._values.knows(tensor):
            return sizes_of(tensor, self._node(tensor), self._lose)
        if isinstance(value, torch.Tensor) and name != "grad" and self._values.knows(tensor):
            node = self._attribute(self._node(tensor), name, tensor.ndim)
            return self._bind_result(value, node, (tensor,))
        return value

    def _attribute(self, node: fx.Node, name: str, ndim: int) -> fx.Node:
        """Record the read of an attribute that is a tensor; a transpose as the method that rules know."""
        if name == "mT" or (name == "T" and ndim == 2):
            return self.graph.call_method("transpose", (node, -2, -1))
        return self.graph.call_function(getattr, (node, name))

    def _sizes(self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        tensor = args[0]
        if not self._values.knows(tensor):
            return func(*args, **kwargs)
        if name == "__len__":  # Python insists on a number of its own
            if self._is_sized_by_values(self._node(tensor)):
                self._route("len(tensor)")
            self.losses.append((f"len(tensor) at {source_line()}", frozenset({(self._node(tensor), 0)})))
            return len(tensor)
        sizes = sizes_of(tensor, self._node(tensor), self._lose)
        if name in ("numel", "nelement"):
            node = self._node(tensor)
            emit = partial(self.graph.call_method, "numel", (node,))
            return traced(tensor.numel(), self.graph, emit, frozenset({(node, None)}), self._lose)
        dim = args[1] if len(args) > 1 else kwargs.get("dim")
        return sizes if dim is None else sizes[int(plain(dim))]

    def _read(self, name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
        if self._values.knows(args[0]) and self._varies(self._node(args[0])):
            if self._is_random(self._node(args[0])) and not functions.is_certain(self._node(args[0])):
                raise self._unfollowable(f"a random number is read off a tensor ({name.strip('_')})")
            self.baked.append(f"{name.strip('_')} at {source_line()}")
            self.deciders.append(self._values.module)
        return func(*args, **kwargs)

    def _record(self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: Any) -> Any:
        target = functions.written(func, name, args, kwargs)
        if target is None:
            node = self._emit(func, name, args, kwargs)
            with self._watched(node):
                result = func(*args, **kwargs)
            return self._bind_result(result, node, (args, kwargs))
        for weight, parameter in self._weights.get(storage_of(target), ()):
            if overlap(parameter, target):
                raise CaptureError(
                    f"parameter {weight!r} is written in forward at {source_line()}; constrain weights in the training "
                    f"loop, or by a parametrization; what is state and no weight, make a buffer"
                )
        if self._keeps_gradient(target):
            return self._record_without_gradient(func, name, args, kwargs, target)
        pure = functions.out_of_place(func, name, args, kwargs)
        if pure is not None and self._values.owned(target):
            return self._record_out_of_place(pure, func, args, kwargs, target)
        return self._record_write(func, name, args, kwargs, target)

    def _record_write(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: Any, target: torch.Tensor
    ) -> Any:
        """Record an in-place operation as it is."""
        node = self._emit(func, name, args, kwargs)
        root = self._node(target).meta["root"]
        node.meta.update(effect=True, root=root)
        self._values.mutated.add(root)
        with self._watched(node):
            result = func(*args, **kwargs)
        if isinstance(result, torch.Tensor):
            self._values.bind(result, node, root)
        self._follow_write(root, result)
        return result

    def _follow_write(self, root: fx.Node, result: Any) -> None:
        """Give every tensor over written memory a node behind the write, so that later reads come after it."""
        everything: Any = ...
        for tensor in self._values.holders(root):
            if tensor is not result:
                self._values.bind(
                    tensor, self.graph.call_function(operator.getitem, (self._node(tensor), everything)), root
                )

    def _keeps_gradient(self, target: torch.Tensor) -> bool:
        """Whether a write under ``no_grad`` leaves memory whose gradient goes on as if nothing had been written."""
        if torch.is_grad_enabled() or not self._values.detaches:
            return False
        return any(tensor.requires_grad for tensor in self._values.holders(self._node(target).meta["root"]))

    def _record_without_gradient(
        self, func: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: Any, target: torch.Tensor
    ) -> Any:
        """Record a write under ``no_grad`` as one through detached tensors: with gradients on, that is the same."""
        detached: dict[int, torch.Tensor] = {}

        def through(value: Any) -> Any:
            if not isinstance(value, torch.Tensor) or not (value.requires_grad or value is target):
                return value
            if id(value) not in detached:
                detached[id(value)] = self._record(torch.Tensor.detach, "detach", (value,), {})
            return detached[id(value)]

        args, kwargs = tree_map(through, (args, kwargs))
        result = self._record_write(func, name, args, kwargs, detached[id(target)])
        return target if result is detached[id(target)] else result

    def _record_out_of_place(
        self, pure: functions.Pure, func: Any, args: tuple[Any, ...], kwargs: Any, target: torch.Tensor
    ) -> Any:
        node = self._emit(pure.func, pure.name, args, {**kwargs, **pure.kwargs})
        others = [each for each in tensors_in((args, kwargs)) if each is not target]
        result = func(*args, **kwargs)
        if any(each.dtype != target.dtype for each in others) or not functions.has_dtype(pure.name, target.dtype):
            # An in-place operation keeps the dtype of what it writes, where out of place would promote.
            self._values.describe(node, target)
            node = self.graph.call_method("to", (node, target.dtype))
        self._values.bind(target, node, node)
        return result
