"""Vertices of the dependency graph and their four kinds (OTOv3, Section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from autosubnet.ops.kind import Kind


@dataclass(frozen=True)
class Vertex:
    """One operation of the trace graph.

    Attributes:
        name: unique name, that of the ``torch.fx`` node.
        kind: stem, joint, accessory, unknown, input or output.
        label: the operator in one word, such as ``Conv2d`` or ``add``.
        module: path of the module it belongs to in the user's model, ``""`` for the model itself.
        variables: names of its parameters, as in ``model.named_parameters()``.
        inputs: names of the vertices whose tensors it reads.
        shape: shape of its output at the example inputs, ``None`` if that is not one tensor.
    """

    name: str
    kind: Kind
    label: str
    module: str
    variables: tuple[str, ...]
    inputs: tuple[str, ...]
    shape: tuple[int, ...] | None


def path_of(name: str, module: str) -> str:
    """Return where a vertex is in the user's model: ``block.add_3`` for a sum, ``block.pool`` for a module.

    Args:
        name: of the vertex.
        module: path of the module it belongs to, ``""`` for the model itself.
    """
    flat, own = module.replace(".", "_"), name.lstrip("_")
    if not flat:
        return name
    return module + own.removeprefix(flat) if own.startswith(flat) else f"{module}.{name}"
