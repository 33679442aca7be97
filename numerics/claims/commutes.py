"""A reduction commutes with the flow: reduce, integrate, lift  =  lift, integrate.

The given arrays are drawn on the assumptions of the reduction (for instance Syx = U S V^T with random isometries U, V).
Imported by `numerics.verify`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.composite import atoms, parameters
from derive.errors import UnsupportedNode
from derive.evaluate import evaluate
from derive.poly import Poly
from derive.system import Reduction
from numerics.claims.states import draw_atom, draw_values
from numerics.claims.subject import Subject, horizon, solve
from numerics.compare import common_deviation
from numerics.report import Check
from numerics.trajectory import Array

SMALL = 0.1  # of an order-one start, so that the modes grow before they saturate


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Compare the full states at the claimed times (or at 9 times through the transition)."""
    reduction = subject.reduction(claim.ansatz)
    system = subject.system(claim.ansatz)
    if reduction.lift_state is None or reduction.parameters_from is None:
        raise UnsupportedNode(
            f"{claim.label}: this reduction has no numerical lift; claim the reduced rates by Published instead"
        )
    values = draw_data(reduction, subject)
    params = {b.name: np.asarray(values[b.name]) for b in reduction.full.parameters if b.name in values}
    reduced = {**reduction.parameters_from(values)}
    known = {**{k: v for k, v in values.items() if np.ndim(v) == 0}, **_sizes_of(system, reduced)}
    drawn, free, _ = draw_values(system, {**known, **reduced}, subject.rng(1))
    start = {name: SMALL * array for name, array in drawn.items()}
    if reduction.constrain is not None:
        start = reduction.constrain(values, start)
    given = {**free, **{k: np.asarray(v) for k, v in reduced.items() if k in free}}
    end = 3 * horizon(system, start, given, subject.values)
    times = np.array(claim.times, dtype=float) if claim.times else np.linspace(0, end, 9)
    times = times if times[0] == 0 else np.concatenate([[0.0], times])
    low = solve(system, start, given, times, rtol=1e-12)
    high = solve(reduction.full, dict(reduction.lift_state(values, start)), params, times, rtol=1e-12)
    lifted = [reduction.lift_state(values, low.at(i)) for i in range(len(times))]
    stacked: dict[str, Array] = {name: np.array([state[name] for state in lifted]) for name in lifted[0]}
    return (
        Check(
            claim=claim.label,
            statistic=common_deviation(high.values, stacked),
            bound=1e-8,
            reason="largest relative difference of the lifted reduced solution from the full one; both have rtol 1e-12",
            seed=subject.seed,
            detail=f"t <= {times[-1]:.3g}",
        ),
    )


def _sizes_of(system: Any, reduced: dict[str, Any]) -> dict[str, int]:
    """Sizes of index sets, read off the reduced parameters."""
    return {
        str(size): int(np.shape(reduced[b.name])[axis])
        for b in system.parameters
        if b.name in reduced
        for axis, size in enumerate(b.shape)
        if isinstance(size, str)
    }


def draw_data(reduction: Reduction, subject: Subject) -> dict[str, Any]:
    """Values of everything given to the full system, on the assumptions of a reduction, and sizes of its dimensions."""
    _, params, sizes = draw_values(reduction.full, subject.values, subject.rng(0))
    rng, smallest = subject.rng(2), min(sizes.values(), default=3)
    letters: dict[str, Any] = {}
    made = {}
    for name in sorted(reduction.data):
        p = reduction.data[name]
        if not isinstance(p, Poly):
            raise UnsupportedNode(
                f"{name} is replaced by an index-level expression; claim the reduced rates by Published instead"
            )
        for a in atoms(p):
            for size in (a.rows, a.cols):
                if isinstance(size, str):
                    sizes.setdefault(size, smallest)
            if a.name not in letters and a.comp is None:
                letters[a.name] = params[a.name] if a.name in params else draw_atom(a, sizes, rng)
        for scalar in parameters(p):
            letters.setdefault(scalar, params[scalar] if scalar in params else sizes.get(scalar, rng.uniform(0.5, 1.5)))
        made[name] = np.asarray(evaluate(p, letters, sizes=sizes))
    return {**sizes, **params, **made}
