"""Conserved quantities: their drift along an integrated flow from a random start. Imported by `numerics.verify`."""

from __future__ import annotations

from typing import Any

import numpy as np

from numerics.claims.expressions import value
from numerics.claims.states import draw_values, scattered
from numerics.claims.subject import Subject, horizon, solve
from numerics.report import Check


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Integrate with rtol 1e-10 and follow the quantity."""
    system = subject.system(claim.on)
    state, params, sizes = draw_values(system, scattered(system, subject.values, subject.rng(1)), subject.rng(0))
    times = np.linspace(0, horizon(system, state, params, subject.values), 21)
    path = solve(system, state, params, times, rtol=1e-10)
    seen = np.array([value(claim.quantity, {**sizes, **params, **path.at(i)}) for i in range(len(times))])
    scale = max(float(np.abs(seen[0]).max()), float(np.finfo(float).tiny))
    moved = max(float(np.abs(a[-1] - a[0]).max()) for a in path.values.values())
    return (
        Check(
            claim=claim.label,
            statistic=float(np.abs(seen - seen[0]).max()) / scale,
            bound=1e-9,
            reason="drift relative to the initial value; ten times the rtol of 1e-10",
            seed=subject.seed,
            detail=f"while the state moved by {moved:.2g}",
        ),
    )
