"""Implicit solution t(u) of a separable equation with two powers, u' = B u^p + C u^{p+g}, g > 0, with a fixed point r.

With r = (-B/C)^{1/g}, x = (u/r)^{1/q} and q the common denominator of p and g the equation has no parameter left:

    t = (q r^{1-p} / B) [H(x)] from x0 to x,    dH/dx = x^e / (1 - x^n),    n = q g,  e = q - 1 - q p.

Partial fractions over the n-th roots of unity, written with real logarithms and arc tangents (no complex branches):

    H = sum_k x^{k+1}/(k+1)  (k = e, e+n, ... < 0;  log x for k = -1)
        - 1/n sum_j Re[ w_j^{m+1} log(x - w_j) ],    w_j = e^{2 pi i j/n},  m = the first of these k that is >= 0.

Numerically t(u) is inverted in y = log |log x|, in which both the escape from 0 and the approach to r are straight lines.
Imported by `derive.solutions.solve`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, lcm
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import DerivationError
from derive.solutions.closed_explicit import Solved, grow, ratio

Array = Any
_FAR = 2.0  # beyond this x the antiderivative is summed as a series in 1/x


def antiderivative(x: sp.Expr, e: int, n: int) -> sp.Expr:
    """A real antiderivative of x^e / (1 - x^n) by exact partial fractions.

    >>> x = sp.Symbol("x")
    >>> antiderivative(x, -1, 1)
    log(x) - log(Abs(x - 1))
    """
    polynomial, m = _split(e, n)
    out = [sp.log(x) if k == -1 else sign * x ** (k + 1) / (k + 1) for k, sign in polynomial]
    out.append(-sp.log(sp.Abs(1 - x)) / n)
    for j in range(1, n // 2 + 1):
        angle = 2 * sp.pi * j / n
        if 2 * j == n:
            out.append(-(sp.Integer(-1) ** (m + 1)) * sp.log(1 + x) / n)
            continue
        real = sp.cos((m + 1) * angle) * sp.log(1 - 2 * x * sp.cos(angle) + x**2)
        turned = 2 * sp.sin((m + 1) * angle) * sp.atan((x - sp.cos(angle)) / sp.sin(angle))
        out.append((turned - real) / n)
    return sp.Add(*out)


def _split(e: int, n: int) -> tuple[list[tuple[int, int]], int]:
    """Powers split off from x^e / (1 - x^n), with signs, and the exponent 0 <= m < n of the rest."""
    polynomial, m = [], e
    while m < 0:
        polynomial.append((m, 1))
        m += n
    while m >= n:
        m -= n
        polynomial.append((m, -1))
    return polynomial, m


@dataclass(frozen=True, slots=True, kw_only=True)
class Antiderivative:
    """H as a numerical function of l = log x, accurate for x -> 0, x -> 1 (even if l underflows) and x -> infinity.

    The constant is such that H tends to 0 for x -> infinity where it converges.
    """

    e: int
    n: int

    def value(self, l: Array, y: Array) -> Array:
        """H at l = log x, with y = log |l| (used where l underflows)."""
        x = np.exp(np.minimum(l, np.log(_FAR)))
        log_gap = np.where(y < -30, y, np.log(np.abs(np.expm1(np.where(y < -30, 1.0, np.minimum(l, 1.0))))))
        polynomial, m = _split(self.e, self.n)
        out = -log_gap / self.n - self._constant(m)
        for k, sign in polynomial:
            out = out + (np.minimum(l, np.log(_FAR)) if k == -1 else sign * x ** (k + 1) / (k + 1))
        for j in range(1, self.n // 2 + 1):
            if 2 * j == self.n:
                out = out - (-1.0) ** (m + 1) * np.log1p(x) / self.n
                continue
            angle = 2 * np.pi * j / self.n
            c, s = np.cos(angle), np.sin(angle)
            real = np.cos((m + 1) * angle) * np.log(1 - 2 * x * c + x * x)
            out = out + (2 * np.sin((m + 1) * angle) * np.arctan((x - c) / s) - real) / self.n
        if self.e + 1 - self.n >= 0:
            return out
        far = l > np.log(_FAR)
        big = np.where(far, l, np.log(_FAR))
        series = np.zeros_like(out)
        for k in range(ceil(56 / self.n) + 1, 0, -1):
            power = self.e - k * self.n + 1
            series = series - np.exp(power * big) / power
        return np.where(far, series, out)

    def _constant(self, m: int) -> float:
        """Limit of the arc tangents for x -> infinity."""
        js = [j for j in range(1, self.n // 2 + 1) if 2 * j != self.n]
        return float(sum(np.pi * np.sin((m + 1) * 2 * np.pi * j / self.n) / self.n for j in js))

    def slope(self, l: Array) -> Array:
        """dH/dl = x^{e+1} / (1 - x^n)."""
        z = self.n * l
        safe = np.where(z == 0, 1.0, z)
        with np.errstate(over="ignore", divide="ignore"):
            return -np.exp((self.e + 1) * l) / np.where(z == 0, np.finfo(float).tiny, np.expm1(safe))

    def invert(self, target: Array, y0: Array, side: Array) -> Array:
        """The l with H = target >= H(x0): bracketed Newton in y, then Newton in l where l is not small."""
        high, step = y0 * np.ones_like(target), np.ones_like(target)
        low = high - step
        for _ in range(64):
            open_ = self.value(side * np.exp(low), low) < target
            if not np.any(open_):
                break
            step = np.where(open_, 2 * step, step)
            low = np.where(open_, high - step, low)
        y = 0.5 * (low + high)
        for _ in range(200):
            l = side * np.exp(y)
            gap = self.value(l, y) - target
            low, high = np.where(gap > 0, y, low), np.where(gap > 0, high, y)
            slope = self.slope(l) * l
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                newton = y - gap / slope
            inside = np.isfinite(newton) & (newton > low) & (newton < high)
            new = np.where(inside, newton, 0.5 * (low + high))
            done = np.abs(new - y) <= 4e-16 * np.maximum(1.0, np.abs(y))
            y = new
            if np.all(done | (high - low <= 4e-16 * np.maximum(1.0, np.abs(y)))):
                break
        l = side * np.exp(y)
        for _ in range(2):
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                step = (self.value(l, np.log(np.abs(l))) - target) / self.slope(l)
            l = np.where((np.abs(l) > 0.1) & (np.abs(step) < 1e-6 * np.abs(l)), l - step, l)
        return l


def two_powers(b: sp.Expr, c: sp.Expr, p: Fraction, g: Fraction, u: sp.Symbol, u0: sp.Symbol) -> Solved:
    """u' = B u^p + C u^{p+g}: the depth-L balanced mode has p = 2 - 2/L, g = 1."""
    q = lcm(p.denominator, g.denominator)
    n, e = int(q * g), int(q - 1 - q * p)
    ps, gs = (sp.Rational(v.numerator, v.denominator) for v in (p, g))
    r = (-ratio(b, c)) ** (1 / gs)
    prefactor = q * r ** (1 - ps) / b
    x, x0 = (u / r) ** sp.Rational(1, q), (u0 / r) ** sp.Rational(1, q)
    h = Antiderivative(e=e, n=n)
    p_, g_ = float(p), float(g)

    def advance(t: Array, u0: Array, v: Mapping[str, Array]) -> Array:
        return _advance(t, u0, v["B"], v["C"], h, q, p_, g_)

    return Solved(
        shape=f"separable, powers {p} and {p + g}",
        implicit=prefactor * (antiderivative(x, e, n) - antiderivative(x0, e, n)),
        coefficients={"B": b, "C": c},
        advance=advance,
        domain="positive start on either side of the stable fixed point",
    )


def _advance(t: Array, u0: Array, b: Array, c: Array, h: Antiderivative, q: int, p: float, g: float) -> Array:
    t, u0, b, c = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in (t, u0, b, c)))
    if np.any(u0 < 0) or np.any(b < 0) or np.any(c > 0):
        raise DerivationError(
            "this implicit solution needs a start >= 0, growth at small values and saturation at large ones "
            "(signal and input variance >= 0): integrate the equation for other values"
        )
    general = (u0 > 0) & (b > 0) & (c < 0)
    bs, cs, us = (np.where(general, v, d) for v, d in ((b, 1.0), (c, -1.0), (u0, 0.5)))
    log_r = np.log(-bs / cs) / g
    l0 = (np.log(us) - log_r) / q
    moving = l0 != 0
    side = np.where(l0 < 0, -1.0, 1.0)
    y0 = np.log(np.where(moving, np.abs(l0), 1.0))
    with np.errstate(over="ignore"):
        scaled = t * bs / q * np.exp((p - 1) * log_r)
    l = h.invert(h.value(l0, y0) + scaled, y0, side)
    out = us * np.exp(q * np.where(moving & (scaled > 0), l - l0, 0.0))
    # one of the two terms is absent: a single power
    alone = np.where(b == 0, grow(t, u0, 0.0, c, p + g - 1), grow(t, u0, 0.0, b, p - 1) if p > 1 else np.nan)
    return np.where(general, out, np.where(u0 == 0, 0.0, alone))
