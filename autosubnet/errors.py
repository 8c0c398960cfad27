"""Every error and warning of the package. Each message names the place, what was seen and what to do."""


class AutoSubnetError(Exception):
    """Base of all errors raised on purpose by this package; nothing was changed when one is raised."""


class CaptureError(AutoSubnetError):
    """The model could not be turned into a graph that computes the same function."""


class InputError(AutoSubnetError):
    """An argument or an example input does not fit the model."""


class RuleError(AutoSubnetError):
    """A rule of the user's own raised, or returned what does not fit its operator."""


class GroupError(AutoSubnetError):
    """A group was asked for that does not exist, or a set of groups cannot be removed together."""


class BudgetError(AutoSubnetError):
    """The target cannot be met; the message holds the nearest that can."""


class StateError(AutoSubnetError):
    """A state dict belongs to another model, another partition, or is damaged."""


class NonFiniteError(AutoSubnetError):
    """A weight or a gradient is NaN or infinite."""


class VerificationError(AutoSubnetError):
    """The constructed network does not return what the original returns."""


class ExportError(AutoSubnetError):
    """An exported file does not compute what the network computes, or cannot be written or read."""


class AutoSubnetWarning(UserWarning):
    """Something the user should know; the result is still exact."""
