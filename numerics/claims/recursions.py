"""Recursions of moments against direct simulation of the rule: ensembles of runs from one start, recorded at every step.

The moments of a run are products of its own state; their averages over runs and over windows of steps are scored against the
iterated recursion, averaged over the same steps. Every step is compared, so the averages over windows tell terms of a few per
cent from nothing. Imported by `numerics.claims.simulation` and `numerics.run_recursion`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.matrices.evaluate import evaluate
from derive.recursions.discrete import Recursion
from numerics.claims.states import dimension, draw_values, given_of
from numerics.claims.subject import Subject, fitted
from numerics.iterate import iterate
from numerics.report import Check
from numerics.simulate import simulate
from numerics.stochastic import ensemble_checks
from numerics.trajectory import Array, Trajectory

WINDOWS = 4
STEPS = 400


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Seed means of the moments, or of the observables that the claim names, over four windows of steps."""
    made: Any = subject.flow
    steps = int(claim.time or subject.values.get("time", STEPS))
    steps = max(WINDOWS, (steps // 2 if subject.quick else steps) // WINDOWS * WINDOWS)
    replicas = max(20, claim.seeds // 2) if subject.quick else claim.seeds
    start, params = start_of(made, subject)
    path = theory(made, moments_of(made, start, params), params, steps)
    runs = simulated(made, subject, start, params, steps, 1, replicas)
    wanted = claim.observables or tuple(made.moments)
    lost = [n for n in wanted if n not in runs]
    if lost:
        raise InvalidSpec(f"claim {claim.label!r}: {made.name} has no {lost[0]}; it has {', '.join(runs)}")
    curves = {**path.values, **path.observables}
    samples = {n: [windows(runs[n][:, 1:], 1)] for n in wanted}
    expected = {n: windows(curves[n][1:], 0) for n in wanted}
    rows = ensemble_checks(claim.label, (1,), samples, expected, seed=subject.seed, mean_only=True)
    said = f"{claim.label}: the mean of {replicas} runs over {WINDOWS} windows of {steps // WINDOWS} steps equals the recursion"
    return tuple(replace(row, claim=said) for row in rows)


def windows(a: Array, axis: int) -> Array:
    """Averages over equal windows of a time axis."""
    count = a.shape[axis] // WINDOWS
    return np.asarray(a.reshape(*a.shape[:axis], WINDOWS, count, *a.shape[axis + 1 :]).mean(axis=axis + 1))


def start_of(made: Recursion, subject: Subject) -> tuple[dict[str, Array], dict[str, Array]]:
    """State of the model at the first step (values of the entry, else of order one), and everything that it is given."""
    _, params, sizes = draw_values(made, subject.values, subject.rng(0))  # type: ignore[arg-type]  # it has the fields of a Flow
    lowered, rng, known = made.source.lowered, subject.rng(1), {**sizes, **subject.values}
    out: dict[str, Array] = {}
    for name in (*lowered.state, *lowered.given):
        shape = tuple(dimension(s, known) for s in lowered.shapes[name])
        drawn = rng.standard_normal(shape)
        out[name] = np.asarray(known.get(name, params.get(name, drawn)), dtype=float).reshape(shape)
    state = {n: out.pop(n) for n in lowered.state}
    return state, {**{n: np.asarray(float(known[n])) for n in lowered.dims if n in known}, **out, **params}


def drawn_names(made: Recursion, values: Mapping[str, Any]) -> tuple[str, ...]:
    """What an entry leaves to be drawn."""
    lowered = made.source.lowered
    return tuple(n for n in (*lowered.state, *lowered.given) if n not in values)


def moments_of(made: Recursion, state: Mapping[str, Array], params: Mapping[str, Array]) -> dict[str, Array]:
    """Moments of a state (or of a batch of states along leading axes)."""
    sizes = {n: int(v) for n, v in params.items() if n in made.source.lowered.dims}
    known = {**params, **state}
    return {n: np.asarray(evaluate(p, known, functions=made.functions, sizes=sizes)) for n, p in made.moments.items()}


def theory(made: Recursion, start: Mapping[str, Array], params: Mapping[str, Array], steps: int, every: int = 1) -> Trajectory:
    """The recursion iterated from the moments of the start."""
    from codegen import compile

    kernel = compile(made, backend="numpy")
    return iterate(kernel, start, fitted(kernel, params), steps, every=every).raise_if_failed()


def simulated(
    made: Recursion, subject: Subject, start: Mapping[str, Array], params: Mapping[str, Array],
    steps: int, every: int, replicas: int,
) -> dict[str, Array]:  # fmt: skip
    """Moments and observables of every run, arrays (replicas, T, ...), the start included."""
    from derive import plan

    data = plan(made.source)
    given = {n: np.asarray(v) for n, v in given_of(data, {**subject.values, **params}).items()}
    seed = int(np.random.SeedSequence(subject.seed, spawn_key=(subject.claim, 99)).generate_state(1)[0])
    run = simulate(data, given, start, steps, seed=seed, replicas=replicas, every=every, observe=False)
    if any(s != "ok" for s in run.status):
        raise ArithmeticError(f"a simulation of {made.name} did not stay finite; lower the step size")
    found = moments_of(made, run.values, params)
    seen = {n: np.asarray(evaluate(p, {**params, **found}, functions=made.functions)) for n, p in made.observables.items()}
    return {**found, **{n: np.broadcast_to(a, (replicas, len(run.t))) for n, a in seen.items()}}
