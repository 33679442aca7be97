"""Printed rest states: the derived rates vanish there, and the observables have the printed values.

The rates are compared with those at a random state, so that a state of small rates does not pass for one at rest.
Imported by `numerics.verify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.recursions.discrete import Recursion
from numerics.claims.expressions import value
from numerics.claims.states import draw_values
from numerics.claims.subject import Subject, fitted, rates
from numerics.compare import deviation
from numerics.report import Check, worst
from numerics.trajectory import Array


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Rates at the claimed state, and the claimed observables."""
    system = subject.system(claim.on)
    drawn, params, sizes = draw_values(system, subject.values, subject.rng(0))
    known = {**sizes, **params}
    claimed = {str(getattr(k, "name", k)): e for k, e in claim.at.items()}
    missing = [n for n in drawn if n not in claimed]
    if missing:
        raise InvalidSpec(f"claim {claim.label!r}: no value for the state {missing[0]} of {system.name}; add it to at=")
    state = {n: np.broadcast_to(np.asarray(value(claimed[n], known), dtype=float), a.shape) for n, a in drawn.items()}
    still, moving = rates(system, state, params), rates(system, drawn, params)
    if isinstance(system, Recursion):  # what its kernel gives are values after one step: at rest these do not differ
        still, moving = ({n: a - s[n] for n, a in v.items()} for v, s in ((still, state), (moving, drawn)))
    scale = max(float(np.abs(v).max()) for v in moving.values())
    out = [
        Check(
            claim=claim.label,
            statistic=worst(float(np.abs(v).max()) for v in still.values()) / scale,
            bound=1e-10,
            reason="largest rate there, relative to the rates at a random state; rounding of sums of products",
            seed=subject.seed,
        )
    ]
    if claim.observables:
        seen = _observables(system, state, params)
        lost = [n for n in claim.observables if n not in seen]
        if lost:
            raise InvalidSpec(f"claim {claim.label!r}: {system.name} has no observable {lost[0]}; it has {', '.join(seen)}")
        pairs = {n: (seen[n], np.asarray(value(e, known), dtype=float)) for n, e in claim.observables.items()}
        out.append(
            Check(
                claim=f"{claim.label}: {', '.join(pairs)} there",
                statistic=worst(deviation(a, b) for a, b in pairs.values()),
                bound=1e-10,
                reason="largest relative difference from the printed value; rounding of sums of products",
                seed=subject.seed,
                detail=", ".join(f"{n} = {float(b):.6g}" for n, (_, b) in pairs.items() if np.ndim(b) == 0),
            )
        )
    return tuple(out)


def _observables(system: Any, state: Mapping[str, Array], params: Mapping[str, Array]) -> dict[str, Array]:
    from codegen import compile

    kernel = compile(system, backend="numpy")
    layout = kernel.layout(dict(state))
    look = kernel.flat_observables(layout, kernel.arguments(fitted(kernel, params)))
    return {n: np.asarray(v) for n, v in look(0.0, layout.pack(dict(state))).items()}
