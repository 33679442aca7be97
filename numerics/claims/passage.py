"""Mean first-passage times: many independent copies of a noisy rule, until the last one has left.

The copies are the entries of the states of one run of the tape engine, which shares no code with the derivation. The mean of
the times is compared with the claimed one in units of its standard error. Imported by `numerics.verify`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from numerics.claims.expressions import value
from numerics.claims.subject import Subject
from numerics.report import Check
from numerics.trajectory import Array

ALARM, BOUND = 1e-4, 3.891  # probability of a false alarm, and the normal quantile of half of it
CHUNK = 400  # steps between looks at who is left
PATIENCE = 40  # claimed means; an exponential tail leaves e^-40 of the copies
SMALL = 1e-12  # of the step at which the claimed mean is compared with the derived limit


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """The simulated mean, and the limit of small steps."""
    known = {_name(k): np.asarray(v, dtype=float) for k, v in claim.values.items()}
    mean = float(value(claim.mean, known))
    if not 0 < mean < np.inf:
        raise InvalidSpec(f"claim {claim.label!r}: the claimed mean is {mean:g}; a positive time is needed at these values")
    times = exit_times(claim, known, mean, subject)
    error = float(times.std(ddof=1) / np.sqrt(times.size))
    rows = [
        Check(
            claim=claim.label,
            statistic=abs(float(times.mean()) - mean) / error,
            bound=BOUND,
            reason=f"distance from the claimed mean in standard errors; probability of a false alarm {ALARM:g}",
            seed=subject.seed,
            detail=f"mean {times.mean():.4g} +- {error:.2g} of {times.size} copies, claimed {mean:.4g}",
        )
    ]
    if claim.derived is not None:
        limit = float(value(claim.mean, {**known, _name(claim.step): np.asarray(SMALL)}))
        derived = float(value(claim.derived, known))
        rows.append(
            Check(
                claim=f"{claim.label}: limit of small steps",
                statistic=abs(limit - derived) / abs(derived),
                bound=1e-5,
                reason="relative difference from the derived mean at a step of 1e-12, whose square root is 1e-6",
                seed=subject.seed,
            )
        )
    return tuple(rows)


def exit_times(claim: Any, known: dict[str, Any], mean: float, subject: Subject) -> Array:
    """First times at which ``leaves`` is not zero, one for each entry."""
    from derive import plan
    from numerics.simulate import simulate

    data = plan(claim.model)
    sizes = {n: int(known[n]) for n in data["dims"]}
    shapes = {n: tuple(sizes[s] if isinstance(s, str) else int(s) for s in shape) for n, shape in data["state"].items()}
    start = {_name(k): float(v) for k, v in claim.start.items()}
    missing = [n for n in shapes if n not in start]
    if missing:
        raise InvalidSpec(f"claim {claim.label!r}: no start for {missing[0]}; add it to start=")
    state = {n: np.full(shape, start[n]) for n, shape in shapes.items()}
    usable = {n: v for n, v in known.items() if n in (*data["given"], *data["dims"])}
    seeds = np.random.SeedSequence(subject.seed, spawn_key=(subject.claim, 5))
    left, clock, done = np.full(next(iter(shapes.values())), np.nan), 0.0, 0
    while np.isnan(left).any():
        if clock > PATIENCE * mean:
            raise InvalidSpec(f"claim {claim.label!r}: {int(np.isnan(left).sum())} copies are left at t = {clock:.3g}")
        root = int(np.random.SeedSequence(seeds.entropy, spawn_key=(*seeds.spawn_key, done)).generate_state(1)[0])
        run = simulate(data, usable, state, CHUNK, seed=root, every=1, observe=False)
        seen = {n: a[0] for n, a in run.values.items()}
        gone = np.broadcast_to(np.asarray(value(claim.leaves, {**known, **seen})) != 0, (CHUNK + 1, *left.shape))
        first = gone.argmax(axis=0)
        now = gone.any(axis=0) & np.isnan(left)
        left[now] = clock + run.t[first[now]]
        state, clock, done = {n: a[-1] for n, a in seen.items()}, clock + float(run.t[-1]), done + 1
    return left.ravel()


def _name(symbol: Any) -> str:
    return symbol if isinstance(symbol, str) else str(getattr(symbol, "name", symbol))
