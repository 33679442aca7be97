"""Leading-order claims about times, judged by convergence: quantity / formula -> 1 as the small symbol tends to 0.

The system is integrated from a start that is small, at four sizes of it, and the first times at which expressions of the state
cross their levels are measured. With g = 1/log(1/small), or g = small^rate, the ratio is 1 + c1 g + c2 g^2 + ...: its error
must fall like g, and its extrapolation to g = 0 (a polynomial through all sizes) must be 1. A formula with a wrong constant
fails both. Imported by `numerics.verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from derive.errors import DerivationError, InvalidSpec
from derive.system import Flow
from numerics.claims.expressions import value
from numerics.claims.states import draw_values
from numerics.claims.subject import Subject, fitted, horizon
from numerics.compare import deviation
from numerics.report import Check, worst
from numerics.trajectory import Array

EVALUATIONS = 400_000  # of the right-hand side; a run to a time of 1e8 from a start of 1e-4 takes some ten thousand
LOG, POWER = (1e-3, 1e-6, 1e-12, 1e-24), (1e-1, 10**-1.5, 1e-2, 10**-2.5)  # small; and small^rate
PIECES = 120  # each twice as long as the one before


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Ratios of measured and claimed values along a falling small symbol."""
    system, small = subject.system(claim.on), _name(claim.small)
    log = claim.rate == "log"
    usual = np.array(LOG) if log else np.array(POWER) ** (1 / float(claim.rate))
    sizes = np.array(claim.sizes, dtype=float) if claim.sizes else usual
    gauges = -1 / np.log(sizes) if log else sizes ** float(claim.rate)
    ratios = np.array([_ratio(claim, subject, system, {small: float(s)}) for s in sizes])
    errors = np.abs(ratios - 1)
    seen = ", ".join(f"{r:.5g}" for r in ratios)
    gauge = f"1/log(1/{small})" if log else f"{small}^{claim.rate:g}"
    rows = [
        Check(
            claim=f"{claim.label}: the error falls with {gauge}",
            statistic=0.0 if errors[-1] <= 1e-7 else float(errors[-1] / errors[0]),  # 1e-7: the accuracy of the times
            bound=float(np.sqrt(gauges[-1] / gauges[0])),
            reason="error at the smallest start over that at the largest; the square root of the ratio of the gauge",
            seed=subject.seed,
            detail=f"measured / formula: {seen} at {small} = {', '.join(f'{s:.1e}' for s in sizes)}",
        ),
        Check(
            claim=f"{claim.label}: the limit of measured / formula is 1",
            statistic=abs(extrapolated(gauges, ratios) - 1),
            bound=1e-3,
            reason="polynomial in the gauge through four sizes, taken to zero; what the fifth order leaves",
            seed=subject.seed,
        ),
    ]
    if claim.derived is not None:
        rows.append(_same(claim, subject, system, small, sizes))
    return tuple(rows)


def extrapolated(gauges: Array, seen: Array) -> float:
    """Value at gauge 0 of the polynomial through all points (Neville).

    >>> extrapolated(np.array([1.0, 0.5, 0.25]), np.array([3.0, 1.75, 1.3125]))
    1.0
    """
    table = [float(v) for v in seen]
    for step in range(1, len(table)):
        table = [
            (gauges[i] * table[i + 1] - gauges[i + step] * table[i]) / (gauges[i] - gauges[i + step])
            for i in range(len(table) - 1)
        ]
    return float(table[0])


def _name(symbol: Any) -> str:
    return symbol if isinstance(symbol, str) else str(symbol.name)


def _prepared(
    claim: Any, subject: Subject, system: Flow, small: Mapping[str, float]
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Any]]:
    """Start, parameters, and everything known, at one size of the small symbol."""
    drawn, params, sizes = draw_values(system, subject.values, subject.rng(0))
    known = {**subject.values, **sizes, **params, **small}
    given = {_name(k): np.asarray(value(e, known), dtype=float) for k, e in claim.values.items()}
    lost = [n for n in given if n not in params]
    if lost:
        raise InvalidSpec(f"claim {claim.label!r}: {lost[0]} is no parameter of {system.name} ({', '.join(params)})")
    params = {n: np.broadcast_to(given[n], a.shape).copy() if n in given else a for n, a in params.items()}
    known = {**known, **params}
    start = {_name(k): np.asarray(value(e, known), dtype=float) for k, e in claim.start.items()}
    lost = [n for n in drawn if n not in start]
    if lost:
        raise InvalidSpec(
            f"claim {claim.label!r}: no start for {lost[0]} of {system.name}; add start={{{lost[0]}: expression of "
            f"{_name(claim.small)}}}"
        )
    return {n: np.broadcast_to(start[n], a.shape).copy() for n, a in drawn.items()}, params, known


def _ratio(claim: Any, subject: Subject, system: Flow, small: Mapping[str, float]) -> float:
    start, params, known = _prepared(claim, subject, system, small)
    letters = {_name(k): pair for k, pair in claim.times.items()}
    measured = first_times(system, start, params, letters, known)
    seen, claimed = (np.asarray(value(e, {**known, **measured}), dtype=float) for e in (claim.quantity, claim.formula))
    if np.ptp(seen) or np.ptp(claimed):
        raise InvalidSpec(
            f"claim {claim.label!r}: quantity and formula differ from mode to mode; give their parameters one number by values="
        )
    return float(seen.flat[0] / claimed.flat[0]) if claimed.flat[0] else float("nan")


def _same(claim: Any, subject: Subject, system: Flow, small: str, sizes: Array) -> Check:
    """The engine's own formula at the same values."""
    derived = claim.derived(system)
    found = []
    for size in sizes:
        _, _, known = _prepared(claim, subject, system, {small: float(size)})
        found.append(deviation(np.asarray(value(derived, known)), np.asarray(value(claim.formula, known))))
    return Check(
        claim=f"{claim.label}: the derived formula is the printed one",
        statistic=worst(found),
        bound=1e-8,
        reason="largest relative difference; rounding, and the accuracy of integrals that both leave unevaluated",
        seed=subject.seed,
    )


def first_times(
    system: Flow,
    start: Mapping[str, Array],
    params: Mapping[str, Array],
    crossings: Mapping[str, tuple[Any, Any]],
    known: Mapping[str, Any],
) -> dict[str, float]:
    """First times at which expressions of the state cross their levels, by LSODA in pieces of doubling length.

    Raises
    ------
    DerivationError
        If a level is not reached.
    """
    from scipy.integrate import solve_ivp

    from codegen import compile

    kernel = compile(system, backend="numpy")
    layout = kernel.layout(dict(start))
    f, y = kernel.flat_rhs(layout, kernel.arguments(fitted(kernel, params))), layout.pack(dict(start))
    count = 0

    def rhs(t: float, y: Array) -> Array:
        nonlocal count
        count += 1
        if count > EVALUATIONS:
            raise DerivationError(f"{system.name}: the levels were not reached in {EVALUATIONS} evaluations, at t = {t:.3g}")
        return np.asarray(f(t, y))

    def crossing(of: Any, level: Any) -> Callable[[float, Array], float]:
        return lambda t, y: float(np.sum(value(of, {**known, **layout.unpack(y)}) - np.asarray(value(level, known))))

    events = {name: crossing(of, level) for name, (of, level) in crossings.items()}
    tiny = 1e-9 * float(np.min(np.abs(y[y != 0]), initial=1.0))  # far below the start: exponentially small parts decide
    times: dict[str, float] = {}
    t, length = 0.0, horizon(system, dict(start), dict(params), {}) / 8
    for _ in range(PIECES):
        run = solve_ivp(rhs, (t, t + length), y, method="LSODA", rtol=1e-10, atol=tiny, events=list(events.values()))
        if not run.success or not np.all(np.isfinite(run.y[:, -1])):
            raise DerivationError(f"{system.name}: the integration stopped at t = {run.t[-1]:.3g} ({run.message})")
        for name, found in zip(events, run.t_events or (), strict=True):
            if found.size and name not in times:
                times[name] = float(found[0])
        if len(times) == len(events):
            return times
        t, y, length = t + length, run.y[:, -1], 2 * length
    lost = [n for n in events if n not in times]
    raise DerivationError(
        f"{system.name}: {crossings[lost[0]][0]} did not reach {crossings[lost[0]][1]} until t = {t:.3g}; "
        "give a level that it reaches"
    )
