"""Vertices of the dependency graph and their four kinds (OTOv3, Section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

from autosubnet.ops.kind import Kind


@dataclass(frozen=True)
class Vertex:
    """One operation of the trace graph.

    Attributes:
        name: unique name, that of the ``torch.fx`` node.
        path: where it is in the user's model; calls of one module share it.
        kind: stem, joint, accessory, unknown, input or output.
        label: the operator in one word, such as ``Conv2d`` or ``add``.
        module: path of the module it belongs to in the user's model, ``""`` for the model itself.
        variables: names of its parameters, as in ``model.named_parameters()``.
        inputs: names of the vertices whose tensors it reads.
        shape: shape of its output at the example inputs, ``None`` if that is not one tensor.
    """

    name: str
    path: str
    kind: Kind
    label: str
    module: str
    variables: tuple[str, ...]
    inputs: tuple[str, ...]
    shape: tuple[int, ...] | None
