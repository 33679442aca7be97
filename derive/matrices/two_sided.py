"""Two-sided linear equations, and what their solution means.

    continuous   A X + X B + C = 0     X = int_0^oo e^{As} C e^{Bs} ds      if no eigenvalue of A or B has a real part >= 0
    discrete     A X B - X + C = 0     X = sum_k A^k C B^k                  if they lie inside the unit circle

With B = A' the solution is a covariance (Lyapunov, Stein); an unstable A gives a matrix that solves the equation and is none.
Imported by `derive.flows.flow` (to state the domain) and by codegen (to choose a solver that notices).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from derive.matrices.composite import letter_mentions, mentions, scalar_power
from derive.matrices.implicit import linear_part
from derive.matrices.poly import Poly, identity, monomial, product, text, zero
from derive.matrices.words import Atom, Key, Letter, Solution
from derive.system import Assumption


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSided:
    """A X + X B + C = 0 if continuous, A X B - X + C = 0 otherwise."""

    continuous: bool
    left: Poly
    right: Poly
    rest: Poly

    @property
    def covariance(self) -> bool:
        """Is B the transpose of A?"""
        return self.right == self.left.T


def two_sided(a: Atom) -> TwoSided | None:
    """The equation of a composite letter as a Sylvester or Stein equation, None if it is neither.

    >>> from derive.matrices.implicit import solution
    >>> from derive.matrices.poly import atom
    >>> A, X, C = (atom(Atom(n, "n", "n")) for n in "AXC")
    >>> made = solution(A * X * A.T - X + C, "X")
    >>> found = two_sided(next(iter(made.terms)).word[0].atom)
    >>> found.continuous, found.left, found.right
    (False, A, A')
    """
    comp = a.comp
    assert isinstance(comp, Solution)
    linear, x = linear_part(comp.equation, comp.unknown), Letter(Atom(comp.unknown, a.rows, a.cols), False)
    rest = comp.equation - linear
    left, right, alone = zero((a.rows, a.rows)), zero((a.cols, a.cols)), zero(None)
    both: list[tuple[Poly, Poly]] = []
    for key, c in linear.items():
        word, size = key.word or (), monomial(None, Key(key.params, key.traces, None), c)
        places = [i for i, y in enumerate(word) if y == x]
        if len(places) != 1 or mentions(size, comp.unknown) or any(letter_mentions(y, comp.unknown) for y in word if y != x):
            return None
        before, after = word[: places[0]], word[places[0] + 1 :]
        if before and after:
            both.append((size * product(before, a.rows), product(after, a.cols)))
        elif before:
            left = left + size * product(before, a.rows)
        elif after:
            right = right + size * product(after, a.cols)
        else:
            alone = alone + size
    if not both:
        half = alone.scale(Fraction(1, 2))
        return TwoSided(continuous=True, left=left + half * identity(a.rows), right=right + half * identity(a.cols), rest=rest)
    if len(both) > 1 or left or right or not alone:
        return None
    over = scalar_power(-alone, Fraction(-1))
    return TwoSided(continuous=False, left=over * both[0][0], right=both[0][1], rest=over * rest)


def domain(name: str, value: Poly) -> Assumption:
    """What must hold for the definition of a matrix by an equation to mean what it says."""
    letters = {x.atom.name: x.atom for key in value.terms for x in key.word or () if isinstance(x.atom.comp, Solution)}
    said = list(dict.fromkeys(_said(letters[n]) for n in sorted(letters)))
    return Assumption(
        text=f"{name} is the one solution of its equation" + "".join(f"; {s}" for s in said) + ".",
        remedy="start where it is stable and follow the eigenvalues along the run; outside, kernels give NaN",
    )


def _said(a: Atom) -> str:
    form = two_sided(a)
    if form is None:
        return "the equation is regular"
    if not form.covariance:
        return "the spectra of both sides do not meet" if form.continuous else "no product of eigenvalues of both sides is 1"
    if form.continuous:
        return f"all eigenvalues of {text(form.left)} lie on one side of the imaginary axis"
    return f"all eigenvalues of {text(form.left)} lie inside the unit circle"
