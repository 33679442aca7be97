r"""Mean time at which a noisy number leaves an interval.

For  dx = f(x) dt + noise,  of variance D(x) per unit of time, the mean time T(x) to leave (a, b) from x obeys

    D T'' / 2 + f T' = -1,       T(a) = T(b) = 0,

    T' = e^{-P} (C - int 2 e^{P} / D dx),     P = int 2 f / D dx,

with both integrals in closed form or not at all. The result is substituted back at random parameters in 40 digits.
Imported by users, the catalogue's claims and tests.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.errors import CheckFailed, InvalidSpec, NoClosedForm

DIGITS, POINTS = 40, 3


def exit_time(x: sp.Symbol, *, drift: Any = 0, variance: Any = 1, between: tuple[Any, Any]) -> sp.Expr:
    """Mean time to leave an interval, as an expression of the start ``x``.

    Parameters
    ----------
    x : SymPy symbol
    drift, variance : expressions in x
        Per unit of time; the variance must not vanish inside.
    between : (a, b)
        Ends of the interval, free of x.

    Raises
    ------
    InvalidSpec
        If an end contains x, or the variance is zero.
    NoClosedForm
        If an integral is not found.
    CheckFailed
        If the result does not solve its equation.

    >>> w, b, s = sp.symbols("w b s", positive=True)
    >>> exit_time(w, variance=s**2, between=(-b, b))
    b**2/s**2 - w**2/s**2
    """
    f, D, a, b = (sp.sympify(e, strict=True) for e in (drift, variance, *between))
    if a.has(x) or b.has(x):
        raise InvalidSpec(f"exit_time: an end of ({a}, {b}) contains {x}; give ends that are fixed")
    if D == 0:
        raise InvalidSpec("exit_time: without noise there is no mean exit time; give variance > 0")
    plain = {s: sp.Dummy(s.name) for s in sorted((f.free_symbols | D.free_symbols | a.free_symbols | b.free_symbols), key=str)}
    plain.setdefault(x, sp.Dummy(x.name))  # integrals of plain symbols: with assumptions SymPy may drop branches
    z, (g, E, low, high) = plain[x], (e.xreplace(plain) for e in (f, D, a, b))
    _known(sp.cancel(g / E), E, z, x)
    P = _integral(2 * g / E, z)
    inner = _integral(sp.expand(2 * sp.exp(P) / E), z)
    first, second = _integral(sp.expand(sp.exp(-P)), z), _integral(sp.expand(sp.exp(-P) * inner), z)
    C = (second.subs(z, high) - second.subs(z, low)) / (first.subs(z, high) - first.subs(z, low))
    found = C * (first - first.subs(z, low)) - (second - second.subs(z, low))
    result = sp.expand(found.xreplace({d: s for s, d in plain.items()}))
    _check(result, x, f, D, a, b)
    return result


def _known(ratio: sp.Expr, E: sp.Expr, z: sp.Symbol, x: sp.Symbol) -> None:
    """The integrals are known for constant noise and drift, and for powers of x with drift / variance ~ 1/x."""
    constant = not ratio.has(z) and not E.has(z)
    euler = not sp.cancel(ratio * z).has(z) and not sp.cancel(z * sp.diff(E, z) / E).has(z)
    if not constant and not euler:
        raise NoClosedForm(
            f"exit_time: no closed form is known for this drift and variance in {x}; known are constants, and powers "
            f"of {x} with drift proportional to variance / {x}. Solve D T''/2 + f T' = -1 "
            "numerically"
        )


def _integral(e: sp.Expr, z: sp.Symbol) -> sp.Expr:
    found = sp.integrate(e, z).replace(sp.Piecewise, lambda first, *rest: first[0])  # the generic branch; checked at the end
    if found.has(sp.Integral):
        raise NoClosedForm(f"exit_time: the integral of {e} over {z} was not found; integrate the equation of T numerically")
    return found


def _check(T: sp.Expr, x: sp.Symbol, f: sp.Expr, D: sp.Expr, a: sp.Expr, b: sp.Expr) -> None:
    """Equation and both ends, at a few values of the parameters."""
    rest = D * sp.diff(T, x, 2) / 2 + f * sp.diff(T, x) + 1
    free = sorted(T.free_symbols | f.free_symbols | D.free_symbols | {x}, key=str)
    small = sp.Float(10, DIGITS) ** (15 - DIGITS)
    for k in range(POINTS):
        at = {s: sp.Rational(3 + 2 * i + 5 * k, 7 + i) for i, s in enumerate(free)}
        residuals = [sp.N(e.xreplace(at), DIGITS) for e in (rest, T.subs(x, a), T.subs(x, b))]
        if any(not r.is_number or abs(r) > small for r in residuals):
            raise CheckFailed(f"exit_time: {T} does not solve its equation; report the drift {f} and the variance {D}")
