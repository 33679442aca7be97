"""Errors of the independent road: own classes, because `numerics.simulate` imports nothing of the derivation.

Every message names what went wrong, which symbol of the user's it concerns, why, and what to do about it.
Imported by every file of `numerics.simulate`; imports nothing.
"""


class SimulationError(Exception):
    """Base class: the plan cannot be simulated as asked."""


class PlanError(SimulationError, ValueError):
    """The plan is not well formed: an unknown key, operation or symbol. Write it with `derive.plan(model)`."""


class BindingError(SimulationError, ValueError):
    """The arrays do not fit the plan: a value is missing, unknown, or has another shape than declared."""


class NotSimulable(SimulationError):
    """The plan is well formed, but this engine has no honest way to run it. The message names one that works."""
