"""From a trained model with zeros to the smaller network that returns the same.

In this order: zero propagation over the real values of the parameters (``graph/zeros.py``); ``erase`` decides which
zeros can be dropped, and what is still live; ``cut`` decides which indices of which tensors can go; where a zero
block cannot be cut out of its concat after all, both are decided again with the block as an explicit zero, and where
something would go for the sake of zeros that stay (``going``), without these; ``emit`` writes the smaller graph;
``verify`` runs both networks and compares. ``planning`` holds the decisions together, ``construct`` all of it.
"""

from autosubnet.subnet.construct import construct
from autosubnet.subnet.report import Report

__all__ = ["Report", "construct"]
