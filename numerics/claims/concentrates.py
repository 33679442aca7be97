"""Random systems that become predictable as they grow: simulated at several sizes, against a curve.

The arrays of every run are drawn by the claim; descent is run at two steps h and h/2 and extrapolated, 2 f(h/2) - f(h), so that
what remains of the step is of second order. Seed means and the spread of the runs are judged by `numerics.stochastic`; the
curve that the engine derives must equal the printed one to the rounding of a quadrature.
Imported by `numerics.verify`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from numerics.claims.expressions import value
from numerics.claims.simulation import roots
from numerics.claims.subject import Subject
from numerics.compare import deviation
from numerics.report import Check, worst
from numerics.simulate import simulate
from numerics.stochastic import ensemble_checks
from numerics.trajectory import Array


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """The derived curve against the printed one, then the simulations."""
    times = np.asarray(claim.times, dtype=float)
    known = {n: v for n, v in subject.values.items() if not isinstance(v, str)} | {"t": times}
    theory = {str(n): curve(e, known, times) for n, e in claim.theory.items()}
    rows = []
    if claim.derived is not None:
        found = claim.derived(subject.flow, known)
        missing = [n for n in theory if n not in found]
        if missing:
            raise InvalidSpec(f"{claim.label}: derived(...) gives {', '.join(found)}, but not {missing[0]}")
        rows.append(
            Check(
                claim=f"{claim.label}: derived curve",
                statistic=worst([deviation(np.asarray(found[n]), theory[n]) for n in theory]),
                bound=1e-8,
                reason=f"largest relative difference at {len(times)} times; both roads are quadratures or roots to 1e-11",
                seed=subject.seed,
            )
        )
    return (*rows, *_simulated(claim, subject, theory, times))


def curve(expression: Any, known: dict[str, Any], times: Array) -> Array:
    """A function of time; an expression is evaluated at one time after the other, since it may hold integrals over t."""
    if callable(expression) and not hasattr(expression, "free_symbols"):
        return np.asarray(expression(known), dtype=float)
    return np.array([float(value(expression, {**known, "t": t})) for t in times])


def _simulated(claim: Any, subject: Subject, theory: dict[str, Array], times: Array) -> tuple[Check, ...]:
    from derive import plan

    data = plan(subject.entry.model)
    sizes = tuple(int(n) for n in claim.sizes)
    every = np.diff(times, prepend=0.0) / claim.step
    if not np.allclose(every, np.round(every), atol=1e-6) or len(set(np.round(every))) != 1:
        raise InvalidSpec(f"{claim.label}: times must be equidistant multiples of step={claim.step:g}")
    stride = int(np.round(every[0]))
    runs: dict[str, list[Array]] = {n: [] for n in theory}
    usable, state = {*data["given"], *data["moments"]}, tuple(data["state"])
    for size, root in zip(sizes, roots(subject, len(sizes)), strict=True):
        seen: dict[str, list[Array]] = {n: [] for n in theory}
        for stream in np.random.SeedSequence(root).spawn(claim.seeds):
            fresh = claim.draw(size, np.random.default_rng(stream))
            drawn = {**subject.values, **fresh}
            given = {n: np.asarray(v) for n, v in drawn.items() if n in usable or (n in data["dims"] and n in fresh)}
            start = {n: np.asarray(drawn[n]) for n in state}
            coarse, fine = (
                simulate(data, given, start, stride * k * len(times), seed=0, every=stride * k, dt=claim.step / k).observables
                for k in (1, 2)
            )
            for n in theory:
                seen[n].append(2 * fine[n][0, 1:] - coarse[n][0, 1:])
        for n in theory:
            runs[n].append(np.array(seen[n]))
    return ensemble_checks(claim.label, sizes, runs, theory, seed=subject.seed)
