"""A reduction commutes with the flow: reduce, integrate, lift  =  lift, integrate.

The given arrays are drawn on the assumptions of the reduction (for instance Syx = U S V^T with random isometries U, V).
Imported by `numerics.verify`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from derive.errors import UnsupportedNode
from derive.matrices.composite import atoms, parameters
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly
from derive.matrices.words import Atom
from derive.system import Reduction
from numerics.claims.states import dimension, draw_atom, draw_matrix, draw_values
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
    values = draw_data(reduction, subject, pairs_of(claim.ansatz))
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


def pairs_of(ansatz: Any) -> tuple[tuple[str, str], ...]:
    """Names of the arrays that an ansatz, or a chain of them, takes to be orthogonal."""
    steps = ansatz if isinstance(ansatz, list | tuple) else (ansatz,)
    found = [(a, b) for step in steps for a, b in getattr(step, "orthogonal", ())]
    return tuple((a.name, getattr(b, "name", f"abs({a.name})")) for a, b in found)


def draw_data(reduction: Reduction, subject: Subject, pairs: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    """Values of everything given to the full system, on the assumptions of a reduction, and sizes of its dimensions.

    The constant arrays of a lift (isometries, for instance) are drawn too; arrays of ``pairs`` are orthogonal to each other.
    """
    state, params, sizes = draw_values(reduction.full, subject.values, subject.rng(0))
    rng, smallest = subject.rng(2), min(sizes.values(), default=3)
    for b in (*reduction.system.state, *reduction.system.parameters):
        sizes = {**{n: int(subject.values[n]) for n in b.shape if isinstance(n, str) and n in subject.values}, **sizes}
    letters = _constants(reduction, {*state, *params}, sizes, smallest, rng, pairs)
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
    return {**sizes, **params, **letters, **made}


def _constants(
    reduction: Reduction, known: Collection[str], sizes: dict[str, int], smallest: int, rng: np.random.Generator,
    pairs: tuple[tuple[str, str], ...],
) -> dict[str, Any]:  # fmt: skip
    """Random values of the constant arrays of a lift in words; columns of orthogonal ones come out of one rotation."""
    moving = {b.name for b in reduction.system.state}
    found: dict[str, Atom] = {}
    for p in (*reduction.lift.values(), *reduction.data.values()):
        if isinstance(p, Poly):
            found |= {a.name: a for a in atoms(p) if a.comp is None and a.name not in known and a.name not in moving}
    for a in found.values():
        for size in (a.rows, a.cols):
            if isinstance(size, str):
                sizes.setdefault(size, smallest)
    groups: list[list[str]] = []
    for pair in (p for p in pairs if p[1] in found):
        near = [g for g in groups if g[0] in pair or any(n in pair for n in g)]
        groups = [g for g in groups if g not in near] + [list(dict.fromkeys([*(n for g in near for n in g), *pair]))]
    out: dict[str, Any] = {}
    for name in [a for a, b in pairs if b not in found and a in found]:  # orthogonal to its own absolute values
        rows = dimension(found[name].rows, sizes)
        half = rng.uniform(0.5, 1.5, (rows // 2, 1))
        column = np.concatenate([half, -half, np.zeros((rows % 2, 1))])
        out[name] = column / np.linalg.norm(column) if "orth" in found[name].tags else column
    for group in groups:
        widths = [dimension(found[n].cols, sizes) for n in group]
        rows = dimension(found[group[0]].rows, sizes)
        if sum(widths) > rows:
            raise UnsupportedNode(
                f"{', '.join(group)} have {sum(widths)} columns together, which cannot be orthogonal in {rows} dimensions; "
                "give a larger size in the entry's values"
            )
        columns = draw_matrix((rows, sum(widths)), ("orth",), rng)
        out |= dict(zip(group, np.split(columns, np.cumsum(widths)[:-1], axis=1), strict=True))
    return {n: out[n] if n in out else draw_atom(found[n], sizes, rng) for n in sorted(found)}
