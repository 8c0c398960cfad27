"""The last stage of construction: both networks are run and compared, in float64 where the graph allows it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn

from autosubnet.capture import Trace
from autosubnet.capture.trace import Mode, outputs_of
from autosubnet.errors import VerificationError
from autosubnet.subnet.precision import Pair, pairs
from autosubnet.subnet.reference import runs_in_eval, runs_in_training
from autosubnet.subnet.running import Draws, run

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
LOW_PRECISION = 5e-2  # half and bfloat16, where the model cannot be run in anything wider


Kept = Mapping[str, Mapping[int, Sequence[int]]]
"""Of each tensor that was cut, the surviving indices along each dimension."""


def verify(trace: Trace, subnet: fx.GraphModule, *, draws: Draws | None, kept: Kept | None = None) -> dict[str, Any]:
    """Compare a network with its model on the example inputs, on others, and at another resolution.

    Args:
        trace: the captured model.
        subnet: what stands for it.
        draws: of train mode, which must agree as well; ``None`` if it need not.
        kept: what is left of buffers, which must hold the same after a run in train mode; ``None`` if they need not.

    Returns:
        ``max_difference``, ``relative_difference`` (over the variation of the output over inputs) and ``dtype``.

    Raises:
        VerificationError: they differ by more than 1e-9 of the variation in float64, or 1e-4 in float32.
    """
    failure: VerificationError | None = None
    for pair in pairs(trace, subnet):
        try:
            return _verified(trace, pair, draws, kept)
        except VerificationError as error:
            failure = failure or error
    assert failure is not None, "there is always a pair"
    raise failure


def _verified(trace: Trace, pair: Pair, draws: Draws | None, kept: Kept | None) -> dict[str, Any]:
    model, network, inputs, dtype = pair.model, pair.network, pair.inputs, pair.dtype
    worst, worst_relative = 0.0, 0.0
    for training in (False, True) if draws else (False,):
        order = draws if draws and training else "in order"
        runs = runs_in_training(model, inputs, trace, order) if training else runs_in_eval(model, inputs, trace)
        for each, expected in runs:
            try:
                actual = run(network, each, training, order)
            except Exception as error:
                raise VerificationError(f"the subnet does not run where the model does: {error}") from error
            mode: Mode = "train" if training else "eval"
            difference, relative = _difference(trace, mode, expected.outputs, actual.outputs, dtype)
            if training and kept is not None:
                _require_same_buffers(expected.buffers, actual.buffers, kept, dtype)
            worst, worst_relative = max(worst, difference), max(worst_relative, relative)
    return {
        "max_difference": worst,
        "relative_difference": worst_relative,
        "dtype": str(dtype).removeprefix("torch."),
    }


def _difference(
    trace: Trace, mode: Mode, expected: list[torch.Tensor], actual: list[torch.Tensor], dtype: torch.dtype
) -> tuple[float, float]:
    """Return the absolute difference of outputs, and the relative one; refuse one that is too large."""
    for number, leaf in enumerate(expected):
        if leaf.numel() and not _is_whole(leaf) and not torch.isfinite(_reals(leaf)).any():
            raise VerificationError(
                f"{_output(trace, mode, number)} of the model holds no finite number on the example inputs, so "
                f"nothing can be compared; pass inputs on which it does, or mend its buffers"
            )
    difference, relative, excess = compare(expected, actual)
    if not excess <= _tolerance(dtype):
        excesses = [compare([e], [a])[2] for e, a in zip(expected, actual, strict=False)]
        where = f", most in {_output(trace, mode, excesses.index(max(excesses)))}" if excesses else ""
        raise VerificationError(
            f"in {mode} mode the subnet differs from the model by {difference:.3g}, {relative:.3g} "
            f"of the output's variation{where} ({_tolerance(dtype):g} is allowed in {dtype}); nothing was returned. "
            f"Values that were read off tensors while tracing: {'; '.join(trace.baked) or 'none'}. "
            f"What attributes of the model were assigned since then is not in the graph: capture it anew"
            f"{''.join(f'. {each}' for each in _out_of_sight(trace.model))}"
        )
    return difference, relative


def _tolerance(dtype: torch.dtype) -> float:
    return TOLERANCE.get(dtype, LOW_PRECISION)


def _require_same_buffers(
    expected: Mapping[str, torch.Tensor], actual: Mapping[str, torch.Tensor], kept: Kept, dtype: torch.dtype
) -> None:
    """Refuse a subnet whose buffers hold something else after a run in train mode: its later runs would differ."""
    for name, buffer in actual.items():
        if name in expected:
            other = expected[name]
            for dim, indices in kept.get(name, {}).items():
                other = other.index_select(dim, torch.tensor(indices, device=other.device))
            difference, *_ = compare([other], [buffer])
            # What is smaller than 1 may be the rounding of what was added up and cancelled.
            largest = max(1.0, float(_reals(other).nan_to_num(0.0, 0.0, 0.0).abs().max())) if other.numel() else 1.0
            if not difference <= _tolerance(dtype) * largest:
                raise VerificationError(
                    f"after a run in train mode buffer {name!r} of the subnet differs from the model's by "
                    f"{difference:.3g}; nothing was returned"
                )


def _out_of_sight(model: nn.Module) -> Iterator[str]:
    """Yield what the model does besides what its graph says, as far as that is known to happen."""
    for name, module in model.named_modules():
        if isinstance(module, nn.TransformerEncoder) and module.use_nested_tensor:
            yield f"In eval mode module {name!r} fills what is padded with 0; build it with enable_nested_tensor=False"
        if any(map(inspect.isfunction, (*module._forward_hooks.values(), *module._forward_pre_hooks.values()))):
            yield (
                f"Module {name!r} has a hook; what that keeps outside of its module (in a dict around it, say) stays "
                f"the model's own where a copy of it runs, as here: let forward return it"
            )
    hooks = nn.modules.module
    if hooks._global_forward_hooks or hooks._global_forward_pre_hooks:
        yield "Hooks of all modules are registered (register_module_forward_hook); remove them"


def _output(trace: Trace, mode: Mode, number: int) -> str:
    """Return what to call an output: its number, and the vertex that computes it."""
    nodes = outputs_of(trace.graph, mode)
    return f"output {number} ({nodes[number].name!r})" if number < len(nodes) else f"output {number}"


def compare(expected: list[torch.Tensor], actual: list[torch.Tensor]) -> tuple[float, float, float]:
    """Return the largest absolute difference of outputs, the same over the output's variation, and what counts of that.

    The variation is the largest deviation of an output from its mean over the first dimension (the batch). Where an
    output hardly varies, 16 units in its last place are not held against it: the third figure is the second without
    them. Entries that are not finite in ``expected`` are left out: nothing is promised of them. Other shapes or dtypes
    differ without bound.
    """
    if [(each.shape, each.dtype) for each in expected] != [(each.shape, each.dtype) for each in actual]:
        return float("inf"), float("inf"), float("inf")
    worst = relative = held = 0.0
    for e, a in zip(expected, actual, strict=True):
        if not e.numel():
            continue
        last_place = 0.0 if _is_whole(e) else torch.finfo(e.dtype).eps
        e, a = _reals(e), _reals(a)
        finite = torch.isfinite(e)
        difference = float(torch.where(finite, (e - a).abs(), 0.0).nan_to_num(float("inf")).max())
        e = torch.where(finite, e, 0.0)
        variation = float((e - e.mean(dim=0, keepdim=True)).abs().max()) if e.ndim else 0.0
        excess = max(0.0, difference - 16 * last_place * float(e.abs().max()))
        scale = variation or float(e.abs().max()) or 1.0
        worst, relative, held = max(worst, difference), max(relative, difference / scale), max(held, excess / scale)
    return worst, relative, held


def _is_whole(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() and not tensor.is_complex()


def _reals(tensor: torch.Tensor) -> torch.Tensor:
    tensor = tensor.dequantize() if tensor.is_quantized else tensor.to_dense()
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).double()
