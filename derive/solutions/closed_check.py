"""Verification of a proposed closed form, before it leaves: the equation at 50 digits, the start, and the safe evaluation.

Roads: (i) the solution is differentiated symbolically and put into the equation at random rational points, with 60 digits;
(ii) at t = 0 it must give the start (for t(u): at the start it must give 0); (iii) the floating-point evaluation must agree
with the expression. Points where the expression is not real are outside its domain and are drawn again.
Imported by `derive.solutions.solve`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from derive.errors import CheckFailed
from derive.reductions.scalar import value

DIGITS = 60
POINTS = 4


def _functions() -> Mapping[str, Any]:
    m = mpmath
    return {"exp": m.exp, "log": m.log, "tanh": m.tanh, "cos": m.cos, "sin": m.sin, "atan": m.atan, "Abs": abs, "sign": m.sign,
            "number": m.mpf, "pi": m.pi}  # fmt: skip


def _draw(rng: random.Random, names: Sequence[str]) -> dict[str, Any]:
    return {n: mpmath.mpf(rng.randint(30, 90)) / rng.randint(31, 89) for n in names}


def _real(x: Any) -> bool:
    return bool(mpmath.isfinite(x)) and abs(mpmath.im(x)) <= mpmath.mpf(10) ** (-DIGITS // 2) * (1 + abs(x))


def check_explicit(
    name: str,
    solution: Mapping[sp.Symbol, sp.Expr],
    rhs: Mapping[sp.Symbol, sp.Expr],
    starts: Mapping[sp.Symbol, sp.Symbol],
    t: sp.Symbol,
    evaluate: Callable[..., dict[str, Any]],
) -> str:
    """Substitute x(t) into x' = f; returns the sentence for `checked`.

    Raises
    ------
    CheckFailed
        If the equation, the start or the evaluation disagrees.
    """
    names = sorted(
        {s.name for e in (*solution.values(), *rhs.values()) for s in e.free_symbols} - {t.name} - {x.name for x in rhs}
    )
    rates = {x: sp.diff(e, t) for x, e in solution.items()}
    rng, worst, done = random.Random(7), mpmath.mpf(0), 0
    with mpmath.workdps(DIGITS):
        f = _functions()
        for _ in range(10 * POINTS):
            if done == POINTS:
                break
            at = {**_draw(rng, names), t.name: mpmath.mpf(rng.randint(1, 40)) / 31}
            point = {x.name: value(e, at, f) for x, e in solution.items()}
            if not all(_real(v) for v in point.values()):
                continue
            if not _compare(name, evaluate, at, t, {x.name: starts[x].name for x in solution}, point):
                continue
            done += 1
            for x in solution:
                left, right = value(rates[x], at, f), value(rhs[x], {**at, **point}, f)
                worst = max(worst, abs(left - right) / (abs(left) + abs(right) + mpmath.mpf(10) ** -40))
            start = {**at, t.name: mpmath.mpf(0)}
            for x, e in solution.items():
                worst = max(worst, abs(value(e, start, f) - at[starts[x].name]) / at[starts[x].name])
    return _verdict(name, worst, done, "substituted into the equation")


def check_implicit(
    name: str,
    u: sp.Symbol,
    u0: sp.Symbol,
    time: sp.Expr,
    rhs: sp.Expr,
    evaluate: Callable[..., dict[str, Any]],
) -> str:
    """Differentiate t(u) back: dt/du * f(u) = 1, and t(u0) = 0.

    Raises
    ------
    CheckFailed
        If the equation, the start or the evaluation disagrees.
    """
    names = sorted({s.name for s in time.free_symbols | rhs.free_symbols})
    inverse_rate = sp.diff(_without_abs(time), u)
    rng, worst, done = random.Random(7), mpmath.mpf(0), 0
    with mpmath.workdps(DIGITS):
        f = _functions()
        for _ in range(40 * POINTS):
            if done == POINTS:
                break
            at = _draw(rng, names)
            at[u.name] = at[u0.name] * (1 + mpmath.mpf(rng.randint(-20, 40)) / 100)
            elapsed = value(time, at, f)
            first, last = (value(rhs, {**at, u.name: v}, f) for v in (at[u0.name], at[u.name]))
            ahead = _real(first) and _real(last) and first * last > 0 and first * (at[u.name] - at[u0.name]) > 0
            if not ahead or not _real(elapsed) or not 0 < mpmath.re(elapsed) < 50:
                continue  # the other side of the fixed point, or backwards in time
            given = {**at, "t": mpmath.re(elapsed)}
            if not _compare(name, evaluate, given, sp.Symbol("t"), {u.name: u0.name}, {u.name: at[u.name]}):
                continue
            done += 1
            worst = max(worst, abs(value(inverse_rate, at, f) * value(rhs, at, f) - 1))
            worst = max(worst, abs(value(time, {**at, u.name: at[u0.name]}, f)))
    return _verdict(name, worst, done, "differentiated back")


def _without_abs(e: sp.Expr) -> sp.Expr:
    """log |z| has the derivative of log z; SymPy's derivative of Abs would bring in re and im."""
    return e.replace(sp.Abs, lambda z: z)


def _compare(
    name: str,
    evaluate: Callable[..., dict[str, Any]],
    at: Mapping[str, Any],
    t: sp.Symbol,
    starts: Mapping[str, str],
    point: Mapping[str, Any],
) -> bool:
    """Does the evaluation agree? False where it says NaN (beyond a blow-up); a disagreement is an error."""
    initial = {x: float(at[s]) for x, s in starts.items()}
    params = {n: float(v) for n, v in at.items() if n != t.name}
    got = evaluate([float(at[t.name])], initial, params)
    for x, v in point.items():
        if np.isnan(got[x][0]):
            return False
        true = float(mpmath.re(v))
        if not abs(float(got[x][0]) - true) <= 1e-9 * (abs(true) + 1e-3):  # conditioning of t -> u at points of order 1
            raise CheckFailed(f"closed form of {name}: {x} evaluates to {got[x][0]} but the expression gives {true}")
    return True


def _verdict(name: str, worst: Any, done: int, how: str) -> str:
    bound = mpmath.mpf(10) ** -50  # 60 digits carried, of which cancellations may take ten
    if done < POINTS:
        raise CheckFailed(f"closed form of {name}: real at {done} of {POINTS} random points only, so it could not be checked")
    if not worst < bound:
        raise CheckFailed(f"closed form of {name}: {how}, relative residual {mpmath.nstr(worst, 3)} at 50 digits")
    return f"{how} at {done} random points, {DIGITS} digits: residual {mpmath.nstr(worst, 2)}, start included"
