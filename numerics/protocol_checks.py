"""What a protocol keeps: conserved quantities across phases and events, and closed solutions phase by phase.

    C(z(t)) = C(z(t_k))  within phase k,      C before -> C after  at every switch

A quantity that every phase conserves may still jump at an event; both are reported. The closed form of each phase is started
from the state handed over and compared with the path. Imported by claims and by commands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.errors import DerivationError
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly
from derive.printing.objects import expression_text
from derive.protocols.courses import Course, Stretch
from numerics.compare import common_deviation
from numerics.report import Check, worst
from numerics.trajectory import Array, Trajectory


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """A quantity along a protocol.

    Attributes
    ----------
    label : str
    starts, ends : tuple of arrays
        Its value at the beginning and at the end of every phase.
    drifts : tuple of float
        Largest change within every phase, relative to the squared state.
    """

    label: str
    starts: tuple[Array, ...]
    ends: tuple[Array, ...]
    drifts: tuple[float, ...]

    @property
    def jumps(self) -> tuple[tuple[float, float], ...]:
        """Frobenius norms before and after every switch; a deletion may change the shape."""
        return tuple(
            (float(np.linalg.norm(a)), float(np.linalg.norm(b))) for a, b in zip(self.ends, self.starts[1:], strict=False)
        )


def carried(label: str, segments: Sequence[Trajectory], quantity: Any) -> Carried:
    """Follow ``quantity(values) -> array`` along the phases."""
    starts, ends, drifts = [], [], []
    for segment in segments:
        seen = np.array([quantity({**segment.parameters, **segment.at(i)}) for i in range(len(segment.t))], dtype=float)
        scale = max(float(np.max([np.abs(a).max() for a in segment.values.values()])) ** 2, float(np.finfo(float).tiny))
        starts.append(seen[0])
        ends.append(seen[-1])
        drifts.append(float(np.abs(seen - seen[0]).max()) / scale)
    return Carried(label=label, starts=tuple(starts), ends=tuple(ends), drifts=tuple(drifts))


def conserved_along(course: Course, path: Trajectory) -> tuple[Carried, ...]:
    """Every quantity in words that all phases conserve, followed along a path of the full flow.

    Returns
    -------
    tuple of Carried
        Empty if there is none, or if the phases are not at matrix level.
    """
    from derive.invariants.search import conserved

    found: dict[int, dict[str, Any]] = {}
    for part in course.stretches:
        if id(part.flow) in found:
            continue
        try:
            quantities = [q for q in conserved(part.flow) if q.rate == 0 and isinstance(q.expr, Poly)]
        except DerivationError:
            quantities = []
        found[id(part.flow)] = {expression_text(q.expr): q.expr for q in quantities}
    first, *others = found.values()
    out = []
    functions = course.stretches[0].flow.functions
    for text, p in first.items():
        if all(text in other for other in others):
            out.append(carried(text, path.segments, lambda at, p=p: evaluate(p, at, functions=functions)))
    return tuple(out)


def conserved_rows(course: Course, path: Trajectory) -> list[Check]:
    """One row per quantity: its drift within phases, and in the detail what the switches did to it."""
    rows = []
    for c in conserved_along(course, path):
        between = path.switches[len(path.switches) - len(c.jumps) :]  # an event may stand before the first phase
        moves = [f"{s.label}: {a:.3g} -> {b:.3g}" for s, (a, b) in zip(between, c.jumps, strict=True)]
        shown = "; ".join(moves[:3]) + (f"; ... ({len(moves)} switches)" if len(moves) > 3 else "")
        rows.append(
            Check(
                claim=f"{c.label} is conserved in every phase",
                statistic=worst(c.drifts),
                bound=1e-9,
                reason="largest drift within a phase relative to the squared state; ten times the rtol of 1e-10",
                detail=f"norm at the switches: {shown}" if shown else "",
            )
        )
    return rows


def piecewise(parts: Sequence[Stretch], path: Trajectory, values: Sequence[Mapping[str, Any]], solved: Any) -> Array:
    """Largest relative difference, per phase, of a solution that starts from the state handed over.

    Parameters
    ----------
    parts : phases of a course that was made with an ansatz
    path : of the full flow, over the same phases
    values : numbers of each phase, for the projection and for the reduced parameters
    solved : callable(system, start, parameters, times since the beginning of the phase) -> arrays (T, ...)
    """
    out = []
    for part, segment, known in zip(parts, path.segments, values, strict=True):
        reduction = part.reduction
        project = None if reduction is None else reduction.project_state
        if reduction is not None and project is None:
            raise DerivationError(f"{part.system.name} has no numerical projection; give solve_for= to its Manifold")
        found = [segment.at(i) if project is None else project(known, segment.at(i)) for i in range(len(segment.t))]
        seen = {b.name: np.array([f[b.name] for f in found], dtype=float) for b in part.system.state}
        given = known if reduction is None or reduction.parameters_from is None else reduction.parameters_from(known)
        start = {n: a[0] for n, a in seen.items()}
        form = solved(part.system, start, {**known, **given}, segment.t - segment.t[0])
        out.append(common_deviation(seen, {n: np.asarray(form[n], dtype=float).reshape(a.shape) for n, a in seen.items()}))
    return np.array(out)
