"""Naive pruners: one rule or one analysis replaced by what somebody in a hurry would write."""

from . import capture, construction, joints, tensors
from .mutant import Mutant

MUTANTS = [*joints.MUTANTS, *tensors.MUTANTS, *capture.MUTANTS, *construction.MUTANTS]

__all__ = ["MUTANTS", "Mutant"]
