"""Operator rules: one family a file. Importing the package registers them all."""

from autosubnet.ops import (  # noqa: F401  # imported for their registrations
    arithmetic,
    attention,
    concat,
    convolution,
    creation,
    elementwise,
    layout,
    linear,
    modes,
    normalization,
    recurrent,
    reduction,
    reshape,
    slicing,
)
from autosubnet.ops.guarded import register_rule
from autosubnet.ops.rule import Rule

__all__ = ["Rule", "register_rule"]
