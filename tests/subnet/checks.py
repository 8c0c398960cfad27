"""From a model with zeros to its subnet, with everything that a construction promises checked on the way."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

import promises
import torch
from probes import Inputs, redraw, run
from torch import Tensor, fx, nn

import autosubnet
from autosubnet.subnet import Report


def example(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def settled(model: nn.Module, *inputs: Tensor, seed: int = 0) -> nn.Module:
    """Return the model in float64 and eval mode; vectors are away from zero, statistics calibrated."""
    generator = torch.Generator().manual_seed(seed)
    model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.rand(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(noise + 0.5 if parameter.ndim < 2 else (noise - 0.5) * 2 / parameter[0].numel() ** 0.5)
        for number in range(3):
            model.train()(*redraw(inputs, 4, number))
    return model.eval()


def zero(model: nn.Module, names: Iterable[str]) -> None:
    """Set every parameter to zero whose name, or whose module's name, fits one of the globs."""
    for glob in names:
        chosen = [p for n, p in model.named_parameters() if fnmatchcase(n, glob) or fnmatchcase(n, f"{glob}.*")]
        assert chosen, f"{glob} fits no parameter"
        for parameter in chosen:
            parameter.data.zero_()


def report_of(subnet: nn.Module) -> Report:
    report: Report = subnet.meta["autosubnet"]
    return report


def shrink(model: nn.Module, inputs: Inputs, *names: str, train: bool = True, sizes: Inputs = ()) -> fx.GraphModule:
    """Zero ``names``, construct, and check promises 1 to 5.

    Args:
        model: a model that :func:`settled` has prepared.
        inputs: example inputs.
        names: globs of modules or parameters that become zero.
        train: whether train mode must agree too.
        sizes: more inputs, of other resolutions, at which both must agree.
    """
    zero(model, names)
    before = copy.deepcopy(model)
    subnet = autosubnet.remove_zeros(model, inputs)
    untouched(model, before)
    shares_nothing(model, subnet)
    check(model, subnet, inputs, train=train)
    for each in sizes:
        same(model, subnet, (each,))
    return subnet


def check(model: nn.Module, subnet: fx.GraphModule, inputs: Inputs, *, train: bool = True) -> None:
    """Promises 1 to 5."""
    kept = report_of(subnet).kept
    promises.equal_outputs(model, subnet, inputs)
    promises.equal_gradients(model, subnet, inputs, kept, train=False)
    if train:
        assert report_of(subnet).training_notes == ()
        promises.equal_train_outputs(model, subnet, inputs, kept)
        promises.equal_gradients(model, subnet, inputs, kept, train=True)
        promises.equal_training(model, subnet, inputs, kept)
    promises.names_kept(model, subnet, kept)
    promises.stands_alone(subnet)
    promises.fixed_point(subnet, autosubnet.remove_zeros(subnet, redraw(inputs, 2, 4)))
    counts = tuple(sum(p.numel() for p in module.parameters()) for module in (model, subnet))
    assert report_of(subnet).num_params == counts


def same(model: nn.Module, subnet: nn.Module, inputs: Inputs, tolerance: float = 1e-9) -> None:
    """Equal outputs, shapes and dtypes on these inputs, in eval mode."""
    with torch.no_grad():
        expected, got = run(model, inputs, train=False), run(subnet, inputs, train=False)
    assert len(expected) == len(got)
    for a, b in zip(expected, got, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        assert float((a - b).abs().max()) <= tolerance * max(1.0, float(a.abs().max()))


def untouched(model: nn.Module, before: nn.Module) -> None:
    """Nothing of the user's model changed."""
    state = before.state_dict()
    assert list(model.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert [m.training for m in model.modules()] == [m.training for m in before.modules()]
    assert [type(m) for m in model.modules()][1:] == [type(m) for m in before.modules()][1:]
    assert all(p.grad is None for p in model.parameters())
    assert all(p.requires_grad == q.requires_grad for p, q in zip(model.parameters(), before.parameters(), strict=True))


def shares_nothing(model: nn.Module, subnet: nn.Module) -> None:
    """No tensor of one lies in the memory of the other, and no module is in both."""
    mine, theirs = (
        {t.untyped_storage().data_ptr() for t in [*m.parameters(), *m.buffers()] if t.numel()} for m in (model, subnet)
    )
    assert not mine & theirs, "the subnet shares memory with the model"
    assert not set(model.modules()) & set(subnet.modules()), "the subnet shares modules with the model"


def left(subnet: nn.Module) -> set[str]:
    """Names of the modules that still have parameters."""
    return {name.rpartition(".")[0] for name, _ in subnet.named_parameters()}


def operations(subnet: fx.GraphModule) -> list[str]:
    """Names of the functions, methods and modules that the subnet calls, in order."""
    return [_name(node.target) for node in subnet.graph.nodes if node.op.startswith("call_")]


def _name(target: Any) -> str:
    return target if isinstance(target, str) else target.__name__
