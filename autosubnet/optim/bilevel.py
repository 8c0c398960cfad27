"""Gradients of the validation loss with respect to architecture weights (SparseNAS, Eq. 11 to 13; DARTS, Section 2.3).

Architecture weights A minimise L_val(w*(A), A), network weights w*(A) minimise L_train(w, A). First order takes
w*(A) = w. Second order takes w' = w - gamma grad_w L_train(w, A) instead (Eq. 12):

    g = grad_A L_val(w', A) - gamma grad^2_{A,w} L_train(w, A) v,   v = grad_{w'} L_val(w', A),

with the product by central differences along v:

    grad^2_{A,w} L_train v  ~  ( grad_A L_train(w + eps v, A) - grad_A L_train(w - eps v, A) ) / (2 eps),

eps = 0.01 / ||v||.

Eq. 13 as it is printed lacks gamma, and steps along grad_w L_train(w, A): it does not approximate Eq. 12. DARTS has it
as it is here, with this eps.

Nothing of the model changes. It runs by ``torch.func.functional_call`` on other weights: no copy of it is made,
``.grad`` is neither read nor written, and modes stay. Buffers, such as BatchNorm's running statistics, are copies in
every run, all starting from the model's: what w', w + eps v and w - eps v do to them is forgotten, and only the
training of w moves them. The two runs of the difference draw the same random numbers as that of grad_w L_train (dropout
would make the difference of two masks out of it, over eps); the generators end as after one run on each batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from autosubnet.errors import InputError, NonFiniteError

Batch = TypeVar("Batch")
Loss = Callable[[Callable[..., Any], Batch], Tensor]
"""``loss(network, batch)``: a scalar. ``network`` is called as the model is."""

_REACH = 0.01  # of eps, as in DARTS


def first_order_gradient(
    model: nn.Module, loss: Loss[Batch], architecture: Collection[str], valid_batch: Batch
) -> dict[str, Tensor]:
    """Return grad_A L_val(w, A): Eq. 11 with w*(A) = w.

    Args:
        model: holds w and A.
        loss: what is minimised, for instance ``lambda network, batch: cross_entropy(network(batch[0]), batch[1])``.
        architecture: names of A, as in ``model.named_parameters()``.
        valid_batch: handed to ``loss``.

    Returns:
        The gradient of each of ``architecture``, by name, in its shape; zero where the loss does not depend on it. For
        an optimizer's step, assign them to the parameters' ``.grad``.

    Raises:
        InputError: a name in ``architecture`` that is no trainable parameter, or a loss that is no scalar with a
            gradient.
    """
    a, w = _split(model, architecture)
    return _gradients(_value(model, loss, {**w, **a}, valid_batch), a)


def second_order_gradient(
    model: nn.Module,
    loss: Loss[Batch],
    architecture: Collection[str],
    train_batch: Batch,
    valid_batch: Batch,
    *,
    gamma: float,
) -> dict[str, Tensor]:
    """Return the gradient of Eq. 12, its second term by central differences (Eq. 13, corrected).

    Four runs of the model and four backward passes, where the first order takes one. In single precision the difference
    loses about half of the digits.

    Args:
        model: holds w and A.
        loss: what is minimised on both batches.
        architecture: names of A, as in ``model.named_parameters()``; the other trainable parameters are w.
        train_batch: handed to ``loss`` for L_train.
        valid_batch: handed to ``loss`` for L_val.
        gamma: step size of w', at least 0; usually the learning rate of w. The paper's step has neither momentum nor
            weight decay, and neither has this one.

    Returns:
        As :func:`first_order_gradient`.

    Raises:
        InputError: as there, or a negative ``gamma``.
        NonFiniteError: a gradient of the validation loss is NaN or infinite.
    """
    if not gamma >= 0:
        raise InputError(f"gamma is {gamma}; it must be at least 0")
    a, w = _split(model, architecture)
    if not w:
        return first_order_gradient(model, loss, architecture, valid_batch)
    devices = {p.device for p in (*w.values(), *a.values()) if p.device.type == "cuda"}
    start = [torch.get_rng_state(), *(torch.cuda.get_rng_state(device) for device in devices)]
    descent = _gradients(_value(model, loss, {**w, **a}, train_batch), w)
    ahead = {name: (p.detach() - gamma * descent[name]).requires_grad_() for name, p in w.items()}
    gradients = _gradients(_value(model, loss, {**ahead, **a}, valid_batch), {**ahead, **a})
    v = {name: gradients.pop(name) for name in w}
    norm = float(nn.utils.get_total_norm(list(v.values())))
    if not math.isfinite(norm):
        raise NonFiniteError(f"the gradient of the validation loss by the weights has norm {norm}; lower gamma")
    if norm == 0:
        return gradients
    epsilon = _REACH / norm
    differences: list[dict[str, Tensor]] = []
    with torch.random.fork_rng(devices=[device.index for device in devices]):
        for sign in (1, -1):
            torch.set_rng_state(start[0])
            for device, state in zip(devices, start[1:], strict=True):
                torch.cuda.set_rng_state(state, device)
            shifted = {name: p.detach() + sign * epsilon * v[name] for name, p in w.items()}
            differences.append(_gradients(_value(model, loss, {**shifted, **a}, train_batch), a))
    plus, minus = differences
    return {name: g - gamma * (plus[name] - minus[name]) / (2 * epsilon) for name, g in gradients.items()}


def _split(model: nn.Module, architecture: Collection[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return A and w by name."""
    trainable: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for name in architecture:
        if name not in trainable:
            raise InputError(f"architecture holds {name!r}, which is no trainable parameter of the model")
    a = {name: trainable[name] for name in architecture}
    return a, {name: p for name, p in trainable.items() if name not in a}


def _value(model: nn.Module, loss: Loss[Batch], weights: Mapping[str, Tensor], batch: Batch) -> Tensor:
    """Return the loss of the model with these weights, and with buffers of its own."""
    replaced = {**{name: buffer.clone() for name, buffer in model.named_buffers()}, **weights}

    def network(*args: Any, **kwargs: Any) -> Any:
        return functional_call(model, replaced, args, kwargs)

    with torch.enable_grad():
        value = loss(network, batch)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.requires_grad:
        raise InputError(f"the loss must be a scalar with a gradient, and is {value!r}")
    return value


def _gradients(value: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    gradients = torch.autograd.grad(value, list(weights.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(weights, gradients, strict=True))
