r"""What a drift regression says: the terms of the equations with their scores, and the verdict.

    z_j standard normal if the equations are right:  |z_j| <= b for all j with the stated probability (Sidak's bound b)

Imported by `numerics.blame`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from derive.indices.indexed import Node, text

TIE = 1e-7  # relative; scores of terms that differ by more than rounding differ by 1e-3 or so


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A term of an equation and what the regression says about it.

    Attributes
    ----------
    equation : str
        The order parameter whose right-hand side it is in.
    node : Node
        The term as it stands in the equation.
    present : bool
        False for a candidate, which the equation does not contain.
    instead : Node or None
        Of a candidate: the present term whose place it would take.
    z : float
        Score of "this term alone is wrong".
    change : float
        Estimate of what is to be added to its coefficient, in units of the coefficient.
    error : float
        Standard error of ``change``.
    phase : str
        Of a protocol: the phase in which it is off; empty if there is none.
    """

    equation: str
    node: Node
    present: bool = True
    instead: Node | None = None
    z: float = 0.0
    change: float = 0.0
    error: float = 0.0
    phase: str = ""

    def __str__(self) -> str:
        what = f"times {1 + self.change:.3f}" if self.present else f"missing, times {self.change:.3f}"
        place = f" in place of {_short(self.instead)}" if self.instead is not None else ""
        where = f"{self.phase}: " if self.phase else ""
        return f"{where}d{self.equation}: {_short(self.node)}{place}  ({what} +- {self.error:.3f}, z = {self.z:.1f})"


def _short(node: Node) -> str:
    shown = text(node)
    return shown if len(shown) <= 90 else shown[:87] + "..."


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """Outcome of a drift regression.

    Attributes
    ----------
    system : str
    terms : tuple of Term
        Largest |z| first.
    bound : float
        Bound on the largest |z| of a right system.
    misfit, misfit_bound : float
        Score of the misfit of the worst equation (chi-squared, as a standard normal number), and its bound.
    unexplained : float
        The score of the equation of the first term after the correction of that term.
    false_alarm : float
        Probability that a right system is blamed.
    bursts : int
        Steps of direct simulation.
    """

    system: str
    terms: tuple[Term, ...]
    bound: float
    misfit: float
    misfit_bound: float
    unexplained: float
    false_alarm: float
    bursts: int

    @property
    def passed(self) -> bool:
        """Whether the equations agree with the simulation."""
        return bool(abs(self.terms[0].z) <= self.bound and self.misfit <= self.misfit_bound)

    @property
    def culprit(self) -> Term | None:
        """The term to blame; None if the equations agree with the simulation."""
        return None if self.passed else self.terms[0]

    @property
    def suspects(self) -> tuple[Term, ...]:
        """The culprit, and terms that no state told apart from it: they are one function there, up to a factor."""
        if self.passed:
            return ()
        first = self.terms[0]
        same = [t for t in self.terms if (t.equation, t.phase) == (first.equation, first.phase) and alike(t.z, first.z)]
        return (first, *(t for t in same if t != first))

    @property
    def explained(self) -> bool:
        """Whether the first term with its new coefficient accounts for the whole disagreement.

        If not, that term has a wrong form, or a term is missing, or there is more than one error.
        """
        return bool(self.unexplained <= self.misfit_bound)

    def __str__(self) -> str:
        head = f"{self.system}: largest |z| {abs(self.terms[0].z):.1f} of {len(self.terms)} terms, bound {self.bound:.1f}"
        head += f"; misfit {self.misfit:.1f}, bound {self.misfit_bound:.1f} (false alarm {self.false_alarm:g})"
        if self.passed:
            return f"{head}\n  no term disagrees with {self.bursts} steps of direct simulation"
        rest = "" if self.explained else f"\n  not explained by a coefficient alone (misfit left {self.unexplained:.1f})"
        more = len(self.suspects) - 1
        rest += f"\n  {more} other terms are the same function at these states (.suspects)" if more else ""
        return f"{head}\n  {self.terms[0]}{rest}"


def alike(one: float, other: float) -> bool:
    """Whether two scores are one up to rounding and sign."""
    return abs(abs(one) - abs(other)) <= TIE * max(abs(one), abs(other))


def limits(terms: int, equations: int, false_alarm: float) -> tuple[float, float]:
    """Bounds on the largest |z| of so many terms, and on the score of the worst misfit of so many equations."""
    from scipy.stats import norm

    share = false_alarm / 2  # half for the terms, half for the misfits
    largest = norm.isf(-np.expm1(np.log1p(-share) / max(1, terms)) / 2)
    return float(largest), float(norm.isf(share / equations))


__all__ = ["Blame", "Term", "alike", "limits"]
