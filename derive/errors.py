"""Errors of the derivation engine: one base class, one child per cause.

Every message names what went wrong, which symbol of the user's it concerns, why, and what to do about it.
Imported by every package; imports nothing.
"""


class DerivationError(Exception):
    """Base class: the model, system or reduction cannot be treated as asked."""


class InvalidSpec(DerivationError):
    """A model spec breaks a rule of the spec language (names, roles, order, values). Mend the spec."""


class ShapeMismatch(InvalidSpec):
    """Two shapes differ, or a matrix stands where a number belongs. Write the product that you mean."""


class UnsupportedNode(DerivationError):
    """A pass met a law, rule or expression that it does not treat. The message names a verb that does."""


class NotClosed(DerivationError):
    """The chosen variables do not form a closed system. The message lists what is missing and the remedy."""


class NotInvariant(DerivationError):
    """The flow leaves the proposed manifold.

    Attributes
    ----------
    leftover : object
        The term that does not vanish (an expression of the user's symbols), or None.
    point : dict
        A point of the manifold at which the field is not tangent to it.
    size : float
        Relative size of the normal component at that point.
    """

    def __init__(self, message: str, *, leftover: object = None, point: object = None, size: float | None = None):
        super().__init__(message)
        self.leftover, self.point, self.size = leftover, point, size


class NoClosedForm(DerivationError):
    """No closed form was found among the integrable shapes that the engine knows. Integrate numerically."""


class CheckFailed(DerivationError):
    """A derived result did not survive its own numerical check. This is a bug of the engine: please report it."""


class BudgetExceeded(DerivationError):
    """A symbolic pass hit its cap on operations or time. Lower the size of the problem or raise the budget."""
