r"""Averages of functions of an eigenvalue over a spectrum: how the modes of a large random matrix add up to one curve.

    A[f] = int f(l) rho(l) dl + sum_k m_k f(l_k),        l = low + (high - low) sin^2 q,   0 < q < pi/2

The substitution removes square-root edges, also those at which rho diverges, so Gauss-Legendre in q converges geometrically;
its pieces are halved until two results agree, and their difference is the stated error. An atom takes the limit of f if f is
not defined there (as (1 - e^{-lt})^2 / l at l = 0). ``mean_over`` averages a mode's solution over its random start and target
first. Imported by users, by the catalogue and by numerics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import CheckFailed, InvalidSpec, UnsupportedNode
from derive.reductions.scalar import NUMPY
from derive.reductions.scalar import value as scalar_value
from derive.spectra.densities import Density, exact

PANEL = 32  # Gauss-Legendre nodes on each of equal pieces of the angle
FIRST, LAST = 1, 512  # pieces: a smooth curve needs 2; e^{-2lt} at t = 1e6 about 256
WANTED = 1e-12  # relative: a sum of positive terms of this many nodes rounds at 1e-14
ACCEPTED = 1e-7  # relative; beyond it there is something between the edges that the substitution does not remove

#: Functions that may stand in a density or in what is averaged.
FUNCTIONS: Mapping[str, Any] = {
    **NUMPY, "Max": lambda *x: reduce(np.maximum, x), "Min": lambda *x: reduce(np.minimum, x), "sinh": np.sinh, "cosh": np.cosh,
    "sign": np.sign, "Heaviside": lambda x, at_zero=0.5: np.heaviside(x, at_zero),
}  # fmt: skip


def value(e: sp.Expr, known: Mapping[str, Any]) -> Any:
    """Value of an expression at arrays by name."""
    return scalar_value(e, known, FUNCTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Value of an average, and the stated error of the quadrature; arrays of one shape."""

    value: Any
    error: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectralAverage:
    """The average of an expression over a density.

    Attributes
    ----------
    integrand : SymPy expression
        f(l), with other symbols (time, parameters).
    density : Density
    at_atoms : tuple of SymPy expressions
        f at the atoms, as limits where f is not defined there.
    """

    integrand: sp.Expr
    density: Density
    at_atoms: tuple[sp.Expr, ...] = ()

    @property
    def expression(self) -> sp.Expr:
        """The average as SymPy writes it, with an unevaluated integral."""
        d = self.density
        atoms = [m * f for (_, m), f in zip(d.atoms, self.at_atoms, strict=True) if m != 0]
        return sp.Add(sp.Integral(self.integrand * d.density, (d.variable, d.low, d.high)), *atoms)

    def evaluate(self, values: Mapping[Any, Any]) -> Estimate:
        """The average at numbers or arrays, which broadcast.

        Raises
        ------
        InvalidSpec
            If a symbol has no value, or the edges are in the wrong order.
        CheckFailed
            If f diverges at an atom that has mass, or the quadrature does not converge.

        Examples
        --------
        >>> from derive.spectra.densities import marchenko_pastur
        >>> mean = spectral_average(sp.Symbol("l", positive=True), marchenko_pastur(sp.Rational(1, 2)))
        >>> float(np.round(mean.evaluate({}).value, 12))
        0.5
        """
        known = {getattr(k, "name", k): np.asarray(v, dtype=float) for k, v in values.items()}
        needed = sorted(
            {s.name for s in (*self.integrand.free_symbols, *self.density.parameters)} - {self.density.variable.name}
        )
        missing = [n for n in needed if n not in known]
        if missing:
            raise InvalidSpec(f"the average of {self.integrand} needs a value of {missing[0]}; pass values[{missing[0]!r}]")
        known = {n: known[n] for n in needed}
        low, high = (np.asarray(value(e, known), dtype=float) for e in (self.density.low, self.density.high))
        if not np.all(low <= high):
            raise InvalidSpec(f"the lower edge {self.density.low} exceeds the upper edge {self.density.high} at these values")
        points = self._points(known)
        count, (previous, _) = FIRST, self._integral(known, low, high, FIRST)
        while True:
            count *= 2
            found, size = self._integral(known, low, high, count)
            error, scale = np.abs(found - previous), size + np.abs(points)
            if np.all(error <= WANTED * scale):
                break
            if count >= LAST:
                if not np.all(error <= ACCEPTED * scale):
                    raise CheckFailed(
                        f"the average of {self.integrand} differs by {np.max(error):.1e} between {count // 2} and {count} "
                        f"times {PANEL} nodes: the density or f jumps or diverges between the edges; split the interval there"
                    )
                break
            previous = found
        return Estimate(value=found + points, error=np.broadcast_to(error, np.shape(found + points)))

    def _integral(self, known: Mapping[str, Any], low: Any, high: Any, count: int) -> tuple[Any, Any]:
        """The integral, and that of the absolute value."""
        angle, weight = _nodes(count)
        width = (high - low)[..., None]
        nodes = low[..., None] + width * np.sin(angle) ** 2
        at = {**{n: v[..., None] for n, v in known.items()}, self.density.variable.name: nodes}
        with np.errstate(all="ignore"):
            inside = value(self.density.density, at) * value(self.integrand, at) * width * np.sin(2 * angle)
        terms = np.where(width > 0, inside, 0.0) * weight
        return np.sum(terms, axis=-1), np.sum(np.abs(terms), axis=-1)

    def _points(self, known: Mapping[str, Any]) -> Any:
        total: Any = np.asarray(0.0)
        for (place, mass), f in zip(self.density.atoms, self.at_atoms, strict=True):
            size = np.asarray(value(mass, known), dtype=float)
            if not np.any(size):
                continue
            if not f.is_finite and f.has(sp.oo, sp.zoo, sp.nan, sp.AccumBounds):
                raise CheckFailed(
                    f"{self.integrand} diverges at {self.density.variable} = {place}, where the spectrum has mass {mass}: "
                    "the average is infinite; take out what diverges"
                )
            total = total + size * np.asarray(value(f, known), dtype=float)
        return total


def _nodes(count: int) -> tuple[Any, Any]:
    """Angles between 0 and pi/2 and their weights."""
    x, w = np.polynomial.legendre.leggauss(PANEL)
    half = 0.25 * np.pi / count
    middles = half * (2 * np.arange(count) + 1)
    return (middles[:, None] + half * x).ravel(), np.tile(half * w, count)


def spectral_average(integrand: Any, density: Density) -> SpectralAverage:
    r"""Average of an expression over a spectrum.

    .. math:: A[f] = \int f(l) \rho(l) dl + \sum_k m_k f(l_k)

    Parameters
    ----------
    integrand : SymPy expression
        In the variable of the density, for instance the solution of a mode at time t.
    density : Density

    Raises
    ------
    InvalidSpec
        If the integrand is no expression.
    UnsupportedNode
        If its limit at an atom is not found.

    Examples
    --------
    >>> from derive.spectra.densities import marchenko_pastur
    >>> l, t = sp.symbols("l t", positive=True)
    >>> decay = spectral_average(sp.exp(-l * t), marchenko_pastur(1))
    >>> np.round(decay.evaluate({"t": [0.0, 1.0]}).value, 6).tolist()
    [1.0, 0.523778]
    """
    if isinstance(integrand, str | sp.MatrixExpr):
        raise InvalidSpec(f"spectral_average: {integrand!r} is no number; give a SymPy expression in {density.variable}")
    f = exact(sp.sympify(integrand, strict=True))
    return SpectralAverage(
        integrand=f, density=density, at_atoms=tuple(_at(f, density.variable, place) for place, _ in density.atoms)
    )


def _at(f: sp.Expr, variable: sp.Symbol, place: sp.Expr) -> sp.Expr:
    """f at an atom; the limit from above if f is not defined there, compared with f nearby."""
    direct = f.subs(variable, place)
    if not direct.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
        return direct
    try:
        found = sp.limit(f, variable, place, "+")
    except NotImplementedError as reason:
        raise UnsupportedNode(f"the limit of {f} at {variable} = {place} is not found; write {f} without the pole") from reason
    if found.has(sp.Limit):
        raise UnsupportedNode(f"the limit of {f} at {variable} = {place} is not found; write {f} without the pole")
    if found.has(sp.oo, sp.zoo, sp.nan):
        return found
    numbers = {s: sp.Rational(7 + 2 * n, 9) for n, s in enumerate(sorted(f.free_symbols - {variable}, key=str))}
    near = [complex(f.subs(variable, place + sp.Rational(1, 10**k)).subs(numbers).evalf(60)) for k in (8, 10)]
    exact = complex(found.subs(numbers).evalf(30))
    if abs(near[1] - exact) > 1e-6 * (1 + abs(exact)) or abs(near[1] - exact) > abs(near[0] - exact) + 1e-25:
        raise CheckFailed(f"the limit {found} of {f} at {variable} = {place} does not agree with values nearby")
    return found


def mean_over(expression: Any, variances: Mapping[Any, Any]) -> sp.Expr:
    r"""Average of a polynomial over independent normal numbers of mean zero.

    .. math:: E[z^{2k}] = (2k - 1)!! \, v^k, \quad E[z^{2k+1}] = 0

    Parameters
    ----------
    expression : SymPy expression
        A polynomial in the random symbols, with any coefficients.
    variances : mapping SymPy symbol -> variance

    Raises
    ------
    UnsupportedNode
        If the expression is no polynomial in them.

    Examples
    --------
    >>> z, w, a = sp.symbols("z w a")
    >>> mean_over((a * z + w) ** 2, {z: 3, w: 1})
    3*a**2 + 1
    """
    symbols = tuple(variances)
    if not symbols:
        return sp.sympify(expression)
    e = sp.sympify(expression, strict=True)
    if not e.is_polynomial(*symbols):
        raise UnsupportedNode(f"mean_over: {e} is no polynomial of {', '.join(map(str, symbols))}; average it by quadrature")
    total: sp.Expr = sp.Integer(0)
    for exponents, coefficient in sp.Poly(e, *symbols).terms():
        if all(k % 2 == 0 for k in exponents):
            parts = [
                sp.factorial2(k - 1) * sp.sympify(variances[s]) ** (k // 2) for s, k in zip(symbols, exponents, strict=True)
            ]
            total = total + coefficient * sp.Mul(*parts)
    return total
