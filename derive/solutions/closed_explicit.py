"""Explicit solutions of one scalar equation x' = f(x) with constant coefficients.

    affine      x' = A + B x              x = K (1 - e^{Bt}) + x0 e^{Bt},                       K = -A/B
    power       x' = C x^p                x = (x0^{1-p} + (1-p) C t)^{1/(1-p)}
    Bernoulli   x' = B x + C x^p          x^m = K / (1 - (1 - K/x0^m) e^{-mBt}),   m = p-1,     K = -B/C  (m = 1: logistic)
    Riccati     x' = A + B x + C x^2      x = x0 + 2 f(x0) T / (k - (B + 2 C x0) T),  T = tanh(kt/2),  k^2 = B^2 - 4AC

The numerical side uses only decaying exponentials and phi(z) = (e^z - 1)/z, so it neither overflows nor divides by a
vanishing coefficient. Beyond a blow-up the value is NaN. Imported by `derive.solutions.solve` and
`derive.solutions.closed_pair`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import DerivationError

Array = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """A proposed solution of one scalar equation.

    Attributes
    ----------
    shape : str
        Name of the shape that was recognised.
    explicit, implicit : SymPy expression or None
        x as a function of t and x0, or t as a function of x and x0.
    coefficients : mapping name -> SymPy expression of the parameters
    advance : callable(t, x0, coefficients) -> array
        Safe numerical value; everything broadcasts.
    domain : str
    """

    shape: str
    explicit: sp.Expr | None = None
    implicit: sp.Expr | None = None
    coefficients: Mapping[str, sp.Expr]
    advance: Callable[[Array, Array, Mapping[str, Array]], Array]
    domain: str = ""


def phi(z: Array) -> Array:
    """(e^z - 1)/z, and 1 at z = 0."""
    z = np.asarray(z, dtype=float)
    small = np.abs(z) < 1e-300
    return np.where(small, 1.0, np.expm1(np.where(small, 1.0, z)) / np.where(small, 1.0, z))


def ratio(a: sp.Expr, b: sp.Expr) -> sp.Expr:
    """a/b with common factors cancelled."""
    return sp.cancel(sp.together(a / b))


def affine(c: Mapping[Fraction, sp.Expr], x0: sp.Symbol, t: sp.Symbol) -> Solved:
    """x' = A + B x."""
    a, b = c.get(Fraction(0), sp.Integer(0)), c.get(Fraction(1), sp.Integer(0))
    if b == 0:
        solution = x0 + a * t
    else:
        limit = -ratio(a, b)
        solution = limit * (1 - sp.exp(b * t)) + x0 * sp.exp(b * t)
    return Solved(
        shape="affine", explicit=solution, coefficients={"A": a, "B": b}, advance=_affine, domain="all t and all starts"
    )


def _affine(t: Array, x0: Array, c: Mapping[str, Array]) -> Array:
    return x0 * np.exp(c["B"] * t) + c["A"] * t * phi(c["B"] * t)


def single_power(c: sp.Expr, p: Fraction, x0: sp.Symbol, t: sp.Symbol) -> Solved:
    """x' = C x^p with p other than 0 and 1."""
    q = 1 - sp.Rational(p.numerator, p.denominator)
    m = float(p - 1)

    def advance(t: Array, x0: Array, v: Mapping[str, Array]) -> Array:
        return grow(t, x0, 0.0, v["C"], m)

    return Solved(
        shape=f"power {p}",
        explicit=(x0**q + q * c * t) ** (1 / q),
        coefficients={"C": c},
        advance=advance,
        domain="positive start, up to a blow-up or the arrival at 0",
    )


def bernoulli(b: sp.Expr, c: sp.Expr, p: Fraction, x0: sp.Symbol, t: sp.Symbol) -> Solved:
    """x' = B x + C x^p; p = 2 is the logistic equation."""
    m = sp.Rational(p.numerator, p.denominator) - 1
    limit = -ratio(b, c)
    solution = (limit / (1 - (1 - limit / x0**m) * sp.exp(-m * b * t))) ** (1 / m)
    number = float(p - 1)

    def advance(t: Array, x0: Array, v: Mapping[str, Array]) -> Array:
        return grow(t, x0, v["B"], v["C"], number)

    return Solved(
        shape="logistic" if m == 1 else f"Bernoulli, exponent {p}",
        explicit=solution,
        coefficients={"B": b, "C": c},
        advance=advance,
        domain="up to a blow-up" if m == 1 else "positive start, up to a blow-up or the arrival at 0",
    )


def grow(t: Array, x0: Array, b: Array, c: Array, m: float) -> Array:
    """Solution of x' = b x + c x^{1+m}, by the smaller of its two exponentials.

    x^-m obeys a linear equation, hence x = x0 (e^{-mbt} - m c x0^m t phi(-mbt))^{-1/m}.
    """
    t, x0, b, c = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in (t, x0, b, c)))
    z = m * b * t
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        k = m * c * np.where(x0 == 0, 0.0 if m > 0 else 1.0, x0) ** m * t
        up = z >= 0
        falling = np.exp(-np.abs(z))
        den = np.where(up, falling - k * phi(-np.abs(z)), 1.0 - k * phi(np.where(up, 0.0, z) * 1.0))
        out = np.where(up, x0, x0 * np.exp(np.where(up, 0.0, z) / m)) * np.where(den > 0, den, np.nan) ** (-1.0 / m)
    return np.where(x0 == 0, 0.0, out) if m > 0 else out


def riccati(a: sp.Expr, b: sp.Expr, c: sp.Expr, x0: sp.Expr, t: sp.Symbol) -> Solved:
    """x' = A + B x + C x^2."""
    k = sp.sqrt(sp.factor_terms(b**2 - 4 * a * c))
    tanh = sp.tanh(k * t / 2)
    return Solved(
        shape="Riccati",
        explicit=x0 + 2 * (a + b * x0 + c * x0**2) * tanh / (k - (b + 2 * c * x0) * tanh),
        coefficients={"A": a, "B": b, "C": c},
        advance=riccati_value,
        domain="real roots (B^2 >= 4AC), up to a blow-up",
    )


def riccati_value(t: Array, x0: Array, v: Mapping[str, Array]) -> Array:
    """x = x0 + 2 f(x0) (1 - E) / ((k - g) + (k + g) E) with E = e^{-kt}, g = B + 2 C x0; regular at k = 0 and at C = 0."""
    t, x0, a, b, c = np.broadcast_arrays(*(np.asarray(w, dtype=float) for w in (t, x0, v["A"], v["B"], v["C"])))
    disc = b * b - 4 * a * c
    if np.any(disc < -1e-14 * b * b):
        raise DerivationError(
            "the quadratic right-hand side has complex roots for these values, its closed form oscillates: integrate"
        )
    k = np.sqrt(np.maximum(disc, 0.0))
    g = b + 2 * c * x0
    f0 = a + b * x0 + c * x0 * x0
    e = np.exp(-k * t)
    tiny = np.finfo(float).tiny
    gap = np.where(g > 0, -4 * c * f0 / np.where(g > 0, np.maximum(k + g, tiny), 1.0), k - g)  # k - g without cancellation
    late = k * t > 1
    den = np.where(late, gap + (k + g) * e, (1 + e) - g * t * phi(-k * t))
    top = np.where(late, 2 * f0 * (1 - e), 2 * f0 * t * phi(-k * t))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        out = x0 + top / np.where(den > 0, den, np.nan)
    return np.where(f0 == 0, x0, out)
