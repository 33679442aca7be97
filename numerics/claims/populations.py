"""Runs of mini-batch SGD with full vectors beside a population flow, recorded as overlaps, at several inverse steps n = 1/dt.

The flow is exact at the length N of the vectors that are simulated, so N stays and the step shrinks: W <- W + rate / n,
averaged over a batch of fresh draws. Means deviate from the flow by O(1/n), runs from each other by O(n^(-1/2)). Every run
starts from vectors with exactly the given overlaps; overlaps that the flow does not need are taken as zero there.
Imported by the claim checkers and by `numerics.run_population`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from numerics.claims.blocks import exact_sizes, long_axis, place_blocks
from numerics.claims.ensembles import read_overlaps
from numerics.simulate import Stream, simulate
from numerics.trajectory import Array

BATCH = 8  # draws per step
LENGTH = 12  # of the vectors, where the entry names none
INVERSE = (50, 100, 200)  # inverse steps, where a claim names none


def length_of(values: Mapping[str, Any], big: str, needed: int) -> int:
    """Length of the vectors: the value of its dimension, at least as many as there are vectors.

    Raises
    ------
    InvalidSpec
        If the value is smaller than the number of vectors.
    """
    n = int(values.get(big, max(LENGTH, needed)))
    if n < needed:
        raise InvalidSpec(f"{big}={n}: {needed} vectors with free overlaps need {big} >= {needed}; raise it")
    return n


def run_population(
    model: Any, start: Mapping[str, Array], given: Mapping[str, Array], inverse: int, steps: int, every: int,
    *, length: int, seeds: int, root: int,
) -> dict[str, Array]:  # fmt: skip
    """Runs at the step 1/inverse: arrays (seeds, T, ...) of every entry of ``start`` without t = 0.

    Parameters
    ----------
    start : overlaps and other states of the flow
    given : its parameters, overlaps of fixed vectors included

    Raises
    ------
    ValueError
        If no vectors have these overlaps.
    ArithmeticError
        If a run does not stay finite.
    """
    import sympy as sp

    from derive import as_updates, plan
    from derive.online.population import population_rule, vector_scale

    rule, data = population_rule(model), plan(as_updates(model, sp.Rational(1, inverse), batch=BATCH))
    overlaps, lengths = rule.overlaps, exact_sizes(rule, given, length)
    known = {**start, **given}
    counts = _counts(rule, known)
    for (a, b), name in overlaps.names.items():
        known.setdefault(name, np.zeros(tuple(counts[f] for f in (a, b) if overlaps.families[f] != 1)))
    factor = vector_scale(model, length)
    vectors = place_blocks(overlaps, known, length, lengths, Stream(root=root).generator("start"))
    shapes = {**data["state"], **data["given"]}
    turned = {f: factor * (v.T if long_axis(shapes[f], lengths) == 0 else v) for f, v in vectors.items()}
    state = {n: turned[n] if n in turned else np.asarray(start[n]) for n in data["state"]}
    fixed = {n: turned[n] if n in turned else np.asarray(given[n]) for n in data["given"] if n not in lengths}
    sizes = {**fixed, **{d: int(given[d]) for d in data["dims"] if d in given}, **lengths}
    run = simulate(data, sizes, state, steps, seed=root, replicas=seeds, every=every, observe=False)
    if any(s != "ok" for s in run.status):
        raise ArithmeticError(f"a simulation at the step 1/{inverse} did not stay finite; lower the rate or the time")
    seen = {n: a / factor if n in turned else a for n, a in run.values.items()}
    return read_overlaps(seen, vectors, shapes, overlaps, start, length, lengths, skip=1)


def vector_count(rule: Any, known: Mapping[str, Any]) -> int:
    """Number of all vectors, learned and fixed."""
    return sum(_counts(rule, known).values())


def _counts(rule: Any, known: Mapping[str, Any]) -> dict[str, int]:
    """Number of vectors of every family, read off the overlaps that are known."""
    families = rule.overlaps.families
    found = {f: 1 for f, size in families.items() if size == 1}
    for (a, b), name in rule.overlaps.names.items():
        if name in known:
            axes = [f for f in (a, b) if families[f] != 1]
            found |= dict(zip(axes, np.shape(known[name]), strict=True))
    return found
