r"""Spectral densities: an expression on an interval, and point masses.

    mu(dl) = rho(l) dl on (low, high)  +  sum_k m_k delta(l - l_k)

Imported by users and by `derive.spectra.mode_averages`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec


@dataclass(frozen=True, slots=True, init=False)
class Density:
    """A measure on the line: a density between two edges, and atoms.

    Parameters
    ----------
    variable : SymPy symbol
        The eigenvalue l.
    density : SymPy expression
        rho(l) between the edges; it may vanish or diverge there like a square root.
    low, high : SymPy expressions
        The edges, both finite.
    atoms : iterable of pairs (position, mass)

    Raises
    ------
    InvalidSpec
        If an entry is no expression, or an edge or atom depends on the variable.

    Examples
    --------
    >>> l = sp.Symbol("l")
    >>> Density(l, 1 / sp.pi / sp.sqrt(1 - l**2), -1, 1).atoms
    ()
    """

    variable: sp.Symbol
    density: sp.Expr
    low: sp.Expr
    high: sp.Expr
    atoms: tuple[tuple[sp.Expr, sp.Expr], ...]

    def __init__(self, variable: Any, density: Any, low: Any, high: Any, atoms: Iterable[tuple[Any, Any]] = ()):
        if not isinstance(variable, sp.Symbol):
            raise InvalidSpec(f"Density: the variable {variable!r} is no SymPy symbol; write sp.Symbol('l')")
        ends = [_expression(e, "an edge") for e in (low, high)]
        points = tuple((_expression(p, "an atom"), _expression(m, "a mass")) for p, m in atoms)
        for e in (*ends, *(x for pair in points for x in pair)):
            if e.has(variable) or e.has(sp.oo, sp.nan, sp.zoo):
                raise InvalidSpec(f"Density: {e} must be finite and free of {variable}; map an infinite range to a finite one")
        object.__setattr__(self, "variable", variable)
        object.__setattr__(self, "density", _expression(density, "the density"))
        object.__setattr__(self, "low", ends[0])
        object.__setattr__(self, "high", ends[1])
        object.__setattr__(self, "atoms", points)

    @property
    def parameters(self) -> tuple[sp.Symbol, ...]:
        """Symbols besides the variable, by name."""
        parts = (self.density, self.low, self.high, *(x for pair in self.atoms for x in pair))
        found = {s for e in parts for s in e.free_symbols} - {self.variable}
        return tuple(sorted(found, key=str))


def _expression(e: Any, what: str) -> sp.Expr:
    if isinstance(e, str | sp.MatrixExpr):
        raise InvalidSpec(f"Density: {what} is {e!r}; give a number or a SymPy expression")
    made = sp.sympify(e, strict=True)
    if not isinstance(made, sp.Expr):
        raise InvalidSpec(f"Density: {what} is {e!r}; give a number or a SymPy expression")
    return exact(made)


def exact(e: sp.Expr) -> sp.Expr:
    """Floats as the decimals that were typed."""
    return e.xreplace({x: sp.Rational(str(x)) for x in sorted(e.atoms(sp.Float))})


def marchenko_pastur(ratio: Any, variable: Any = None) -> Density:
    r"""Spectrum of X X' for X of N rows and P = ratio N columns with independent entries of variance 1/N, N -> oo.

    .. math:: \rho(l) = \sqrt{(l_+ - l)(l - l_-)} / (2 \pi l), \quad l_\pm = (1 \pm \sqrt{ratio})^2,

    of mass min(1, ratio), and the mass (1 - ratio)_+ at zero.

    Parameters
    ----------
    ratio : number or SymPy symbol
        Columns per row, positive.
    variable : SymPy symbol, optional
        By default a positive symbol ``l``.

    Examples
    --------
    >>> marchenko_pastur(4).low, marchenko_pastur(4).high
    (1, 9)
    """
    made = _expression(ratio, "the ratio of sizes")
    if made.is_nonpositive:
        raise InvalidSpec(f"marchenko_pastur: ratio={ratio} must be positive: columns per row of the matrix")
    l = sp.Symbol("l", positive=True) if variable is None else variable
    low, high = (1 - sp.sqrt(made)) ** 2, (1 + sp.sqrt(made)) ** 2
    return Density(l, sp.sqrt((high - l) * (l - low)) / (2 * sp.pi * l), low, high, ((0, sp.Max(0, 1 - made)),))


def semicircle(radius: Any, variable: Any = None) -> Density:
    r"""Spectrum of a symmetric matrix with independent entries of variance radius^2 / (4 N), N -> oo.

    .. math:: \rho(l) = 2 \sqrt{R^2 - l^2} / (\pi R^2)

    >>> semicircle(2).high
    2
    """
    made = _expression(radius, "the radius")
    l = sp.Symbol("l", real=True) if variable is None else variable
    return Density(l, 2 * sp.sqrt(made**2 - l**2) / (sp.pi * made**2), -made, made)
