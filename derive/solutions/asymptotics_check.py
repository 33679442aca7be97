"""Check of learning times against the equations themselves, integrated at random parameters.

With T(u0) the time at which a state has half of what it has when the last one has settled, and F(u0) the formula,
(T(u) - T(v)) / (F(u) - F(v)) -> 1; the difference removes what does not grow. The integration is a fifth-order Runge-Kutta
method in log x, so a small start costs nothing. Imported by `derive.solutions.asymptotics`.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import CheckFailed
from derive.reductions.scalar import value
from derive.solutions.race import error_rate

SHARE = 0.5  # of the value at the end: "learned"
STILL = 1e-2  # of its fastest growth: the last state has settled
BOUND = 0.05  # next orders at the sizes below; a wrong power or factor is off by far more
STEPS, TRIES = 6_000, 8
LARGE = 1e3  # a state in units of one; parameters are drawn of order one


def check_times(
    race: Any, order: Sequence[str], lags: Mapping[str, sp.Expr], saddles: Sequence[Mapping[sp.Symbol, sp.Expr]],
    conditions: Sequence[sp.Expr], eps: sp.Symbol,
) -> str:  # fmt: skip
    """Sentence for ``checked``.

    Raises
    ------
    CheckFailed
        If the times disagree.
    """
    from derive.solutions.asymptotics_value import integral_value

    rng, order_of_error = random.Random(3), error_rate(race)
    power = float(race.p) - 1 if order_of_error == "log" else min(float(race.p) - 1, order_of_error)
    sizes = (1e-4, 1e-8) if power == 0 else (0.01 ** (1 / power), 0.0025 ** (1 / power))  # next orders of one per cent
    for at in _parameters(race, conditions, saddles, rng):
        seen = [stages for u in sizes if (stages := _measured(race, order, at, u)) is not None]
        if len(seen) == len(sizes):
            break  # where parameters let a state grow without end the next ones are taken
    else:
        wanted = ", ".join(f"{c} > 0" for c in (*race.signs.positive, *conditions)) or "no conditions"
        raise CheckFailed(
            f"learning times of {race.name}: at random parameters with {wanted} the last state never settled, so nothing was "
            "checked; state by positive= what keeps the states bounded, and assumptions that can hold together"
        )
    worst = 0.0
    for i, n in enumerate(order):
        gone = [s[i] for s in seen]
        claimed = [integral_value(lags[n], {**at, eps.name: u}) for u in sizes]
        worst = max(worst, abs((gone[1] - gone[0]) / (claimed[1] - claimed[0]) - 1))
        if not worst <= BOUND:
            raise CheckFailed(
                f"learning times of {race.name}: the stage that ends with {n} grows by {gone[1] - gone[0]:.4g} between starts "
                f"{sizes[0]:.1e} and {sizes[1]:.1e}, but the formula says {claimed[1] - claimed[0]:.4g}"
            )
    return (
        f"the growth of every stage between starts {sizes[0]:.1e} and {sizes[1]:.1e} agrees with the equations to {worst:.1e}"
    )


def _parameters(
    race: Any, conditions: Sequence[sp.Expr], saddles: Sequence[Mapping[sp.Symbol, sp.Expr]], rng: random.Random
) -> list[dict[str, float]]:
    """Random parameters in the wanted regime, widest margin first: near its border the leading order comes late."""
    symbols = sorted({s for f in (*race.rhs, *race.signs.positive) for s in f.free_symbols} - set(race.states), key=str)
    wanted = [*race.signs.positive, *conditions, *(v for e in saddles for v in e.values() if v != 0)]
    found: list[tuple[float, dict[str, float]]] = []
    for _ in range(400):
        at = {s.name: rng.uniform(0.4, 2.5) * (1 if s.is_positive else rng.choice((-1, 1))) for s in symbols}
        with np.errstate(all="ignore"):
            margins = [np.complex128(value(e, {k: np.float64(v) for k, v in at.items()})) for e in wanted]
        if all(m.imag == 0 and m.real > 0 for m in margins):
            found.append((min([1.0, *(float(m.real) for m in margins)]), at))
    return [at for _, at in sorted(found, key=lambda item: -item[0])[:TRIES]]


def _measured(race: Any, order: Sequence[str], at: Mapping[str, float], u0: float) -> list[float] | None:
    """Lengths of the stages, read off one run; None if it takes too many steps, or does not stay bounded."""
    names = [x.name for x in race.states]
    speeds = [f / x for f, x in zip(race.rhs, race.states, strict=True)]

    def f(z: Any) -> Any:
        known = {**at, **dict(zip(names, np.exp(z), strict=True))}
        return np.array([value(e, known) for e in speeds], dtype=float)

    z = np.log([u0 * float(value(race.start[x], at)) for x in race.states])
    step, last = 1e-3 / max(float(np.abs(f(z)).max()), 1e-300), names.index(order[-1])
    path, start, fastest = [(0.0, z)], z[last], 0.0
    for _ in range(STEPS):
        with np.errstate(all="ignore"):  # a step that overshoots is not finite, and is repeated
            new, error = _step(f, z, step)
        if not np.isfinite(error) or error > 1:
            step *= max(0.2, 0.9 * error**-0.2) if np.isfinite(error) else 0.2
            continue
        if new.max() > np.log(LARGE):
            return None
        z = new
        path.append((step, z))
        speed = float(f(z)[last])
        fastest = max(fastest, speed)
        if z[last] > start + 1 and speed < STILL * fastest:
            return _stages(path, [names.index(n) for n in order])
        step *= min(5.0, 0.9 * max(error, 1e-8) ** -0.2)
    return None


def _stages(path: Sequence[tuple[float, Any]], order: Sequence[int]) -> list[float]:
    """Times between the first moments at which states have a share of their last values, summed step by step.

    Differences of the whole times would lose a short stage behind a long one to rounding.
    """
    out, begin, rest = [], 1, 0.0
    for i in order:
        level, spent = path[-1][1][i] + np.log(SHARE), rest
        for n in range(begin, len(path)):
            step, (old, new) = path[n][0], (path[n - 1][1][i], path[n][1][i])
            if old < level <= new:
                part = float((level - old) / (new - old))
                out.append(spent + step * part)
                begin, rest = n + 1, step * (1 - part)
                break
            spent += step
        else:
            out.append(float("nan"))
    return out


def _step(f: Any, z: Any, h: float) -> tuple[Any, float]:
    """One step of Dormand and Prince, and its error over the tolerance 1e-6."""
    k = [f(z)]
    for row in _A:
        k.append(f(z + h * sum(a * q for a, q in zip(row, k, strict=False))))
    new = z + h * sum(b * q for b, q in zip(_A[-1], k, strict=False))
    error = h * sum(e * q for e, q in zip(_E, k, strict=True))
    return new, float(np.abs(error).max() / 1e-6) if np.all(np.isfinite(error)) else float("inf")


_A = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_E = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
