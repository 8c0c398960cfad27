"""The kinds of vertices (OTOv3, Section 3.1)."""

from enum import StrEnum


class Kind(StrEnum):
    """What a vertex does to its tensors; ``INPUT`` and ``OUTPUT`` are the two ends of a graph."""

    INPUT = "input"
    STEM = "stem"
    JOINT = "joint"
    ACCESSORY = "accessory"
    UNKNOWN = "unknown"
    OUTPUT = "output"
