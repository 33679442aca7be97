"""Closed forms: the claimed (or the derived) solution against the integrated system, from small random starts.

Imported by `numerics.verify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.system import Flow
from numerics.claims.expressions import value
from numerics.claims.states import draw_values, scattered
from numerics.claims.subject import Subject, horizon, solve
from numerics.compare import common_deviation
from numerics.report import Check
from numerics.trajectory import Array

SMALL = 1e-2  # of an order-one start: near the saddle, where forms that overflow or take the wrong branch show


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Compare at 41 times through the transition."""
    system = subject.system(claim.ansatz)
    drawn, params, sizes = draw_values(system, scattered(system, subject.values, subject.rng(1)), subject.rng(0))
    start = {name: SMALL * array for name, array in drawn.items()}
    names: dict[str, Array] = {}
    for variable, initial in claim.initial.items():
        name = str(getattr(variable, "name", variable))
        if getattr(initial, "is_Symbol", False):
            names[str(initial.name)] = start[name]
        else:
            start[name] = np.full(start[name].shape, float(initial))
    end = 3 * horizon(system, start, params, subject.values)
    times = np.linspace(0, end, 41)
    path = solve(system, start, params, times, rtol=1e-12)
    form = form_of(claim, system, start, {**sizes, **params, **names}, times)
    return (
        Check(
            claim=claim.label,
            statistic=common_deviation(path.values, form),
            bound=1e-8,
            reason="largest relative difference at 41 times; the integration has rtol 1e-12 and 1e4 growth",
            seed=subject.seed,
            detail=f"t <= {end:.3g}",
        ),
    )


def form_of(claim: Any, system: Flow, start: Mapping[str, Array], known: Mapping[str, Any], times: Array) -> dict[str, Array]:
    """The claimed solution at these times, or that of the engine if the claim prints none."""
    if not claim.solution:
        from derive.solutions.solve import closed_form

        evaluate = closed_form(system).evaluate
        assert evaluate is not None  # a ClosedForm of the engine always carries it
        return dict(evaluate(times, dict(start), dict(known)))
    out = {}
    for variable, expression in claim.solution.items():
        name = str(getattr(variable, "name", variable))
        shape = (len(times), *np.shape(start[name]))
        t = times.reshape(-1, *(1,) * (len(shape) - 1))
        out[name] = np.broadcast_to(np.asarray(value(expression, {**known, "t": t}), dtype=float), shape)
    return out
