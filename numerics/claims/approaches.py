"""A limit system: the course of the full system tends to it as a small symbol vanishes, with a stated least power.

The full flow is integrated from starts at falling values of the small symbol; what the limit system follows is read off its
states and compared with the limit system, integrated from the same start. The largest difference relative to the distance
travelled must fall at least like small^rate. As a control the limit system's time is stretched by 0.5 %: at the smallest
size that must be seen. Imported by `numerics.verify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.system import Flow
from numerics.claims.states import draw_values
from numerics.claims.subject import Subject, fitted
from numerics.compare import order
from numerics.report import Check
from numerics.trajectory import Array

TIMES = 21
STEPS = 30  # from record to record: error 1e-8 where a rate times the whole span is 100
STRETCH = 1.005


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Deviation of the full course from the limit course along a falling small symbol."""
    reduction, system = subject.reduction(claim.on), subject.system(claim.on)
    if reduction.project_state is None or reduction.parameters_from is None:
        raise InvalidSpec(
            f"{claim.label}: the limit system cannot be read off full states; use linearise(...), or give solve_for"
        )
    errors: list[float] = []
    stretched: list[float] = []
    for small in claim.sizes:
        start = {str(getattr(n, "name", n)): np.asarray(make(small), dtype=float) for n, make in claim.start.items()}
        _, params, sizes = draw_values(subject.flow, subject.values, subject.rng(0))
        end = float(claim.time(small)) if callable(claim.time) else float(claim.time)
        values = {**sizes, **params, **start}
        full = course(subject.flow, start, params, end)
        seen = [reduction.project_state(values, at) for at in full]
        first = {n: np.asarray(a) for n, a in seen[0].items()}
        given = {**sizes, **reduction.parameters_from(values)}
        for factor, kept in ((1.0, errors), (STRETCH, stretched)):
            limit = course(system, first, given, end * factor)
            kept.append(max(_distance(*(np.array([at[n] for at in path]) for path in (seen, limit))) for n in first))
    slope, uncertain = order(claim.sizes, errors)
    name = getattr(claim.small, "name", claim.small)
    shown = ", ".join(f"{e:.1e}" for e in errors)
    return (
        Check(
            claim=f"{claim.label}: the deviation falls at least like {name}^{claim.rate:g}",
            statistic=claim.rate - slope,
            bound=0.25 * claim.rate,
            reason="what the fitted exponent falls short of; four sizes, and deviations that jump where a kink is crossed",
            seed=subject.seed,
            detail=f"exponent {slope:.3f} +- {uncertain:.3f}; deviations {shown} for {name} from {claim.sizes[0]:.1e} down",
        ),
        Check(
            claim=f"{claim.label}: a limit whose time is off by 0.5 % is seen",
            statistic=errors[-1] / stretched[-1],
            bound=0.2,
            reason="deviation at the smallest size over that from the stretched limit; near 1 the comparison could not fail",
            seed=subject.seed,
            detail=f"{errors[-1]:.1e} against {stretched[-1]:.1e}",
        ),
    )


def course(flow: Flow, start: Mapping[str, Array], params: Mapping[str, Any], end: float) -> list[dict[str, Array]]:
    """States at equal times by classical Runge-Kutta steps, which need no smoothness: kinks stall a controlled step."""
    from codegen import compile

    kernel = compile(flow, backend="numpy")
    layout = kernel.layout({**fitted(kernel, params), **start})
    f = kernel.flat_rhs(layout, kernel.arguments(fitted(kernel, params)))
    y, h, out = np.asarray(layout.pack(dict(start)), dtype=float), end / (TIMES - 1) / STEPS, [dict(start)]
    for _ in range(TIMES - 1):
        for _ in range(STEPS):
            a = f(0.0, y)
            b = f(0.0, y + h / 2 * a)
            c = f(0.0, y + h / 2 * b)
            y = y + h / 6 * (a + 2 * b + 2 * c + f(0.0, y + h * c))
        out.append({n: np.asarray(v) for n, v in layout.unpack(y).items()})
    if not np.isfinite(y).all():
        raise InvalidSpec(f"{flow.name} does not stay finite in {STEPS * (TIMES - 1)} steps to {end:.3g}; claim a shorter time")
    return out


def _distance(seen: Array, limit: Array) -> float:
    """Largest difference, relative to how far the limit course goes."""
    travelled = float(np.abs(limit - limit[0]).max())
    return float(np.abs(seen - limit).max()) / (travelled if travelled > 0 else 1.0)
