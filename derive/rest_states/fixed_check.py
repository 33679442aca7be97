"""Check of fixed points at random parameters that obey the stated signs.

Roads: (i) with 50 digits every rate vanishes at the point, and det(lam I - J), J by central differences of the rates, agrees
with the printed factors at random lam; (ii) with floats, Newton's method from many random starts must end in the listed points
only, so that none is missing. Points that exist only for some parameters are checked where they exist.
Imported by `derive.rest_states.rest_points`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from derive.algebra.sign_assumptions import Signs
from derive.errors import CheckFailed
from derive.reductions.scalar import value
from derive.solutions.closed_check import _functions
from derive.solutions.stability import LAM

DIGITS = 50
DRAWS = 400  # of parameters, to meet the conditions of a point
STARTS, ITERATIONS = 60, 60  # of Newton's method, at each of two draws
CLOSE = 1e-3  # a degenerate zero of order p is found to the p-th root of rounding only


def check_points(
    name: str, rhs: Sequence[sp.Expr], states: Sequence[sp.Symbol], points: Sequence[Any], signs: Signs,
    nonnegative: Sequence[sp.Symbol],
) -> str:  # fmt: skip
    """Sentence for ``checked``.

    Raises
    ------
    CheckFailed
        If a rate does not vanish, a Jacobian disagrees, or Newton's method finds a zero that is not listed.
    """
    symbols = sorted({s for e in (*rhs, *signs.positive) for s in e.free_symbols} - set(states), key=str)
    rng, seen, unseen = random.Random(11), 0, []
    for point in points:
        at = _draw(rng, symbols, (*signs.positive, *point.exists))
        if at is None:
            unseen.append(point)
            continue
        _check_one(name, rhs, states, point, at, rng)
        seen += 1
    found = 0
    for _ in range(2):
        at = _draw(rng, symbols, signs.positive)
        if at is not None:
            found += _check_all(name, rhs, states, points, {k: float(v) for k, v in at.items()}, nonnegative)
    late = f"; {len(unseen)} met no random parameters at which they exist" if unseen else ""
    return (
        f"{seen} points: rates and characteristic polynomial with {DIGITS} digits at random parameters; {found} runs of "
        f"Newton's method from random starts end in them{late}"
    )


def _draw(rng: random.Random, symbols: Sequence[sp.Symbol], positive: Sequence[sp.Expr]) -> dict[str, Any] | None:
    for _ in range(DRAWS):
        at = {}
        for s in symbols:
            x = mpmath.mpf(rng.randint(20, 200)) / rng.randint(61, 101)
            at[s.name] = x if s.is_positive else x * rng.choice((-1, 1))
        with mpmath.workdps(DIGITS):
            got = [value(e, at, _functions()) for e in positive]
        if all(mpmath.im(v) == 0 and mpmath.re(v) > 0 for v in got):
            return at
    return None


def _check_one(
    name: str, rhs: Sequence[sp.Expr], states: Sequence[sp.Symbol], point: Any, at: Mapping[str, Any], rng: random.Random
) -> None:
    with mpmath.workdps(DIGITS):
        f = _functions()
        known = {**at, **{n: mpmath.mpf(rng.randint(30, 90)) / 61 for n in point.free}}
        place = {x.name: value(point.at[x.name], known, f) if x.name in point.at else known[x.name] for x in states}
        scale = max([mpmath.mpf(1), *(abs(value(e, {**known, **{n: v + 1 for n, v in place.items()}}, f)) for e in rhs)])
        worst = max(abs(value(e, {**known, **place}, f)) for e in rhs) / scale
        if not worst < mpmath.mpf(10) ** (8 - DIGITS):  # eight digits for cancellations
            raise CheckFailed(f"fixed points of {name}: the rates at {dict(point.at)} are {mpmath.nstr(worst, 3)}, not 0")
        if point.stability is None or any(v == 0 and _rough(rhs, x) for x, v in zip(states, place.values(), strict=True)):
            return
        h = mpmath.mpf(10) ** (-DIGITS // 3)
        rows = [
            [
                (value(e, {**known, **place, n: v + h}, f) - value(e, {**known, **place, n: v - h}, f)) / (2 * h)
                for n, v in place.items()
            ]
            for e in rhs
        ]
        jacobian = mpmath.matrix(rows)
        for _ in range(2):
            lam = mpmath.mpf(rng.randint(30, 90)) / 31
            direct = mpmath.det(lam * mpmath.eye(len(rows)) - jacobian)
            printed = value(point.stability.characteristic, {**known, **place, LAM.name: lam}, f)
            if not abs(direct - printed) <= mpmath.mpf(10) ** -25 * (1 + abs(direct)):  # differences lose a third of the digits
                raise CheckFailed(
                    f"fixed points of {name}: at {dict(point.at)} the characteristic polynomial "
                    f"{point.stability.characteristic} disagrees with differences of the rates"
                )


def _rough(rhs: Sequence[sp.Expr], x: sp.Symbol) -> bool:
    """Is there a fractional power of x, so that differences across 0 make no sense?"""
    return any(p.exp.is_Integer is False and p.base.has(x) for e in rhs for p in e.atoms(sp.Pow))


def _check_all(
    name: str, rhs: Sequence[sp.Expr], states: Sequence[sp.Symbol], points: Sequence[Any], at: Mapping[str, float],
    nonnegative: Sequence[sp.Symbol],
) -> int:  # fmt: skip
    listed = [p for p in points if all(_real(value(e, at)) > 0 for e in p.exists)]
    sizes = [abs(_real(value(e, at))) for p in listed if not p.free for e in p.at.values()]
    size = 2 * max([1.0, *sizes])
    low = np.array([0.0 if x in nonnegative else -1.0 for x in states])[:, None]
    starts = (low + np.random.default_rng(5).random((len(states), STARTS)) * (1 - low)) * size
    found = 0
    for x in _newton(rhs, states, at, starts):
        if any(x[i] < -CLOSE * size for i, s in enumerate(states) if s in nonnegative) or np.abs(x).max() > 10 * size:
            continue
        if not any(_belongs(x, states, p, at, size) for p in listed):
            shown = ", ".join(f"{s} = {v:.6g}" for s, v in zip(states, x, strict=True))
            raise CheckFailed(f"fixed points of {name}: {shown} is one too at {dict(at)}, but is not listed")
        found += 1
    return found


def _real(x: Any) -> float:
    return float(np.real(x)) if np.isreal(x) else float("nan")


def _newton(rhs: Sequence[sp.Expr], states: Sequence[sp.Symbol], at: Mapping[str, float], x: Any) -> list[Any]:
    """Zeros that Newton's method reaches from the columns of x, all at once; runs that leave the real numbers are dropped."""

    def f(x: Any) -> Any:
        known = {**at, **{s.name: row for s, row in zip(states, x, strict=True)}}
        return np.stack([np.broadcast_to(np.asarray(value(e, known), dtype=float), x.shape[1:]) for e in rhs])

    n = len(x)
    with np.errstate(all="ignore"):
        first = np.abs(f(x)).max(axis=0)
        for _ in range(ITERATIONS):
            here, h = f(x), 1e-7 * (1 + np.abs(x))
            moves = [np.where(np.arange(n)[:, None] == i, h, 0.0) for i in range(n)]
            slopes = np.stack([(f(x + m) - f(x - m)) / (2 * h[i]) for i, m in enumerate(moves)], axis=1)
            usable = np.isfinite(here).all(axis=0) & np.isfinite(slopes).all(axis=(0, 1))
            x, here, slopes, first = x[:, usable], here[:, usable], slopes[:, :, usable], first[usable]
            done = np.abs(here).max(axis=0, initial=0.0) <= 1e-13 * (1 + first)
            step = np.linalg.pinv(np.moveaxis(slopes, 2, 0), rcond=1e-12) @ here.T[:, :, None]
            x = np.where(done, x, x - step[:, :, 0].T)
        here = f(x)
        return list(x.T[np.abs(here).max(axis=0, initial=0.0) <= 1e-12 * (1 + first)])


def _belongs(x: Any, states: Sequence[sp.Symbol], point: Any, at: Mapping[str, float], size: float) -> bool:
    signs = [np.sign(v) if s.name in point.mirrored and v else 1.0 for s, v in zip(states, x, strict=True)]
    here = dict(zip([s.name for s in states], (float(v * w) for v, w in zip(x, signs, strict=True)), strict=True))
    known = {**at, **{n: here[n] for n in point.free}}
    with np.errstate(all="ignore"):
        gaps = [abs(_real(value(e, known)) - here[n]) for n, e in point.at.items()]
    return all(g <= CLOSE * size for g in gaps)
