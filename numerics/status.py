"""How an integration ended: one enumeration, whose text is the message to the user and names the remedy.

Imported by the stepper, by `Trajectory` and by everything that reads one; imports the error base only.
"""

from __future__ import annotations

from enum import Enum

from derive.errors import DerivationError


class IntegrationFailed(DerivationError):
    """An integration did not reach the end of its time span. The message says how it ended, where, and what to do."""


class Status(Enum):
    """End of an integration; the value is the name that files carry, `message` says what happened and what to do.

    >>> Status.OK.good, Status.BLOWUP.good
    (True, False)
    >>> Status("blowup").message
    'the solution grows without bound: end t_span earlier, lower the step size of the learning rule, or check signs'
    """

    OK = "ok"
    BLOWUP = "blowup"
    NONFINITE = "nonfinite"
    STIFF_LIMIT = "stiff_limit"
    STEP_LIMIT = "step_limit"
    TIME_LIMIT = "time_limit"
    INTERRUPTED = "interrupted"

    @property
    def good(self) -> bool:
        """True if the end of the time span was reached."""
        return self is Status.OK

    @property
    def message(self) -> str:
        """What happened, and the remedy."""
        return _MESSAGES[self.value]


_MESSAGES = {
    "ok": "the end of the time span was reached",
    "blowup": "the solution grows without bound: end t_span earlier, lower the step size of the learning rule, or check signs",
    "nonfinite": "the right-hand side is not finite: check the domain of roots, logarithms and quotients at this state",
    "stiff_limit": "the step size fell below the spacing of the time axis: the right-hand side jumps or is singular here; "
    'end t_span before this point, or try method="Radau"',
    "step_limit": 'too many steps: raise max_steps, or try method="Radau" if the system is stiff',
    "time_limit": "the wall-clock limit was reached: raise time_limit, or loosen rtol",
    "interrupted": "stopped by the user; the part up to the last complete step is kept",
}
