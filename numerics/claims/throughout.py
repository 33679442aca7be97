"""Claims about a whole protocol: conserved quantities, closed solutions and reductions, phase after phase.

The path is the full flow, integrated through all phases with the state handed over and the events applied; the start is that of
the entry, or random. Imported by `numerics.verify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from derive.claims.entry import Commutes, Conserved
from derive.errors import InvalidSpec, UnsupportedNode
from derive.protocols.courses import Course, course
from numerics.claims.expressions import value
from numerics.claims.solves import form_of
from numerics.claims.states import draw_values
from numerics.claims.subject import Subject
from numerics.compare import common_deviation
from numerics.protocol import course_symbols, follow, phase_values
from numerics.protocol_checks import carried, piecewise
from numerics.report import Check, worst
from numerics.trajectory import Array, Trajectory

RECORDS = 9  # per phase


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """By the kind of the claim inside."""
    if isinstance(claim.claim, Conserved):
        return _conserved(claim, subject)
    return _commutes(claim, subject) if isinstance(claim.claim, Commutes) else _solves(claim, subject)


def begin(subject: Subject, made: Course) -> tuple[dict[str, Array], dict[str, Any]]:
    """Start of the full flow and values of the given symbols: those of the entry where it has them, else random ones."""
    start, values = start_values(subject, subject.values)
    allowed = course_symbols(made)
    return start, {n: v for n, v in values.items() if n in allowed}


def start_values(subject: Subject, known: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Any]]:
    """State and values of everything given: known ones, whose arrays decide the sizes, else random ones.

    Raises
    ------
    InvalidSpec
        If a known array of the state has not the shape that the other arrays give it.
    """
    shown: dict[str, int] = {}
    for b in (*subject.flow.state, *subject.flow.parameters):
        if b.name in known and len(b.shape) == np.ndim(known[b.name]):
            axes = zip(b.shape, np.shape(known[b.name]), strict=True)
            shown |= {n: int(size) for n, size in axes if isinstance(n, str)}
    start, params, sizes = draw_values(subject.flow, {**known, **shown}, subject.rng(0), keep=True)
    for name, drawn in start.items():
        if name in known:
            if np.shape(known[name]) != drawn.shape:
                raise InvalidSpec(
                    f"{name} has shape {np.shape(known[name])} in the values of the entry, {drawn.shape} is needed"
                )
            start[name] = np.asarray(known[name], dtype=float)
    return start, {**sizes, **known, **params}


def _path(subject: Subject, made: Course) -> tuple[Trajectory, dict[str, Any]]:
    start, params = begin(subject, made)
    return follow(
        made, start, params, records=RECORDS, rtol=1e-12, backend="numpy", seed=subject.seed
    ).raise_if_failed(), params


def _conserved(claim: Any, subject: Subject) -> tuple[Check, ...]:
    inner = claim.claim
    if inner.on is not None:
        raise UnsupportedNode(f"{claim.label}: a quantity of a reduced system; state it in the full variables")
    made = course(subject.entry.model, flow=subject.flow)
    path, params = _path(subject, made)
    fixed = {n: v for n, v in params.items() if not callable(v)}
    found = carried(inner.label, path.segments, lambda at: value(inner.quantity, {**fixed, **at}))
    moved = max(float(np.abs(a[-1] - a[0]).max()) for s in path.segments for a in s.values.values())
    norms = ", ".join(f"{a:.3g} -> {b:.3g}" for a, b in found.jumps[:4])
    rows = [
        Check(
            claim=claim.label,
            statistic=worst(found.drifts),
            bound=1e-9,
            reason="largest drift within a phase relative to the squared state; a thousand times the rtol of 1e-12",
            seed=subject.seed,
            detail=f"while the state moved by {moved:.2g}; norm at the switches {norms}",
        )
    ]
    if claim.across:
        scale = max(float(np.abs(a).max()) for s in path.segments for a in s.values.values()) ** 2
        rows.append(
            Check(
                claim=f"{inner.label}, across the switches",
                statistic=worst([abs(a - b) for a, b in found.jumps]) / scale,
                bound=1e-9,
                reason="largest change of its norm at a switch relative to the squared state; rounding of the drift before",
                seed=subject.seed,
            )
        )
    return tuple(rows)


def _solves(claim: Any, subject: Subject) -> tuple[Check, ...]:
    inner = claim.claim
    made = course(subject.entry.model, flow=subject.flow)
    path, params = _path(subject, made)
    reduced = made if inner.ansatz is None else course(subject.entry.model, inner.ansatz, flow=subject.flow)
    values = phase_values(made, path, params)

    def solved(system: Any, start: Mapping[str, Array], known: Mapping[str, Any], times: Array) -> dict[str, Array]:
        names = {str(s.name): start[_name(v)] for v, s in inner.initial.items() if getattr(s, "name", "")}
        return form_of(inner, system, start, {**known, **names}, times)

    found = piecewise(reduced.stretches, path, values, solved)
    return (
        Check(
            claim=claim.label,
            statistic=worst(found),
            bound=1e-8,
            reason=f"largest relative difference from the full flow in {len(found)} phases, rtol 1e-12",
            seed=subject.seed,
            detail=f"events: {'; '.join(s.label for s in path.switches[:3])}" + ("; ..." if len(path.switches) > 3 else ""),
        ),
    )


def _name(variable: Any) -> str:
    return variable if isinstance(variable, str) else str(variable.name)


def _commutes(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """A start in reduced coordinates, followed there and in the full flow from its lift."""
    made = course(subject.entry.model, flow=subject.flow)
    small = course(subject.entry.model, claim.claim.ansatz, flow=subject.flow)
    if subject.reduced is not None:
        states = [b.name for b in subject.reduced.state]
        small = replace(small, parts=tuple(_replaced(p, subject.reduced, states) for p in small.parts))
    start, params = begin(subject, made)
    first = small.stretches[0]
    reduction = first.reduction
    assert reduction is not None  # the course was made with an ansatz
    if reduction.lift_state is None or reduction.parameters_from is None:
        raise UnsupportedNode(f"{claim.label}: this reduction has no numerical lift")
    values = phase_values(made, None, params)[0]
    if reduction.project_state is not None:
        z = {n: np.asarray(v, dtype=float) for n, v in reduction.project_state(values, start).items()}
    else:
        z, _, _ = draw_values(first.system, {**subject.values, **reduction.parameters_from(values)}, subject.rng(1))
    z = z if reduction.constrain is None else dict(reduction.constrain(values, z))
    lifted = {n: np.asarray(v, dtype=float) for n, v in reduction.lift_state(values, z).items()}
    settings: dict[str, Any] = {"records": RECORDS, "rtol": 1e-12, "backend": "numpy", "seed": subject.seed}
    high = follow(made, lifted, params, **settings).raise_if_failed()
    low = follow(small, z, params, dropped=high.dropped, **settings).raise_if_failed()
    found = []
    for part, a, b, known in zip(small.stretches, high.segments, low.segments, phase_values(made, high, params), strict=True):
        assert part.reduction is not None
        assert part.reduction.lift_state is not None
        rows = [part.reduction.lift_state(known, b.at(i)) for i in range(len(b.t))]
        found.append(common_deviation(a.values, {n: np.array([row[n] for row in rows]) for n in a.values}))
    return (
        Check(
            claim=claim.label,
            statistic=worst(found),
            bound=1e-8,
            reason=f"largest relative difference of the lifted reduced course from the full one in {len(found)} phases",
            seed=subject.seed,
            detail=f"t <= {high.t[-1]:.3g}, rtol 1e-12",
        ),
    )


def _replaced(part: Any, system: Any, states: list[str]) -> Any:
    """A phase with another reduced system in the place of its own, where the state is the same."""
    reduction = getattr(part, "reduction", None)
    if reduction is None or [b.name for b in reduction.system.state] != states:
        return part
    return replace(part, reduction=replace(reduction, system=system))
