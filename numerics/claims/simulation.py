"""The derived system against direct simulation, which shares no code with the derivation.

Matrix flows: full-batch gradient descent approaches the flow with order 1 in its step, and does not when the theory's time is
stretched by 0.5 % (the control that the comparison can fail); mini-batch SGD on drawn items by scores of the seed mean and the
exponent of the spread, at several inverse steps. Order-parameter equations: one-pass SGD at several N, likewise.
Imported by `numerics.verify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.spec.laws import Moments
from derive.spec.rules import Phase
from numerics.claims.ensembles import common_times, run_overlaps
from numerics.claims.populations import BATCH as POPULATION_BATCH
from numerics.claims.populations import INVERSE, length_of, run_population, vector_count
from numerics.claims.states import dimension, draw_sizes, draw_values, given_of
from numerics.claims.subject import Subject, fitted, horizon, solve
from numerics.compare import order_checks
from numerics.report import Check
from numerics.simulate import simulate
from numerics.stochastic import ensemble_checks
from numerics.trajectory import Array, Trajectory

ITEMS = 12  # of a drawn data set: more than the inputs of a small network, few enough to enumerate
STRETCH = 1.005
BATCH = 4  # items per step of mini-batch SGD; the spread's own correction, noise times step, is a quarter of that of one item
SIZES = (100, 200, 400, 800)
DESCENT = (64, 128, 256, 512)  # steps in each of eight pieces of the time, for full-batch descent


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Checks for the kind of the entry; a model with a protocol is followed through all of it."""
    if any(isinstance(item, Phase) for item in subject.entry.model.protocol):
        from numerics.claims.protocols import check as follow_protocol

        return follow_protocol(claim, subject)
    if subject.entry.kind == "recursion":
        from numerics.claims.recursions import check as follow_steps

        return follow_steps(claim, subject)
    if subject.entry.kind == "population":
        return _population(claim, subject)
    return _online(claim, subject) if subject.entry.kind == "online" else _matrix(claim, subject)


def sizes_of(claim: Any, subject: Subject) -> tuple[int, ...]:
    """The sizes of the claim; if quick a quarter of them, but not below what is still large (dimension) or small (step)."""
    sizes = tuple(int(n) for n in claim.sizes) or SIZES
    least = 50 if subject.entry.kind == "online" else 100
    factor = min(1.0, max(0.25, least / min(sizes))) if subject.quick else 1.0
    return tuple(round(n * factor) for n in sizes)


def roots(subject: Subject, count: int) -> list[int]:
    words = np.random.SeedSequence(subject.seed, spawn_key=(subject.claim, 99)).generate_state(count)
    return [int(w) for w in words]


def verdict(
    label: str,
    sizes: tuple[int, ...],
    runs: Mapping[str, list[Array]],
    theory: Mapping[str, Array],
    start: Mapping[str, Array],
    seed: int,
) -> tuple[Check, ...]:
    """The mean of what was asked for, and the spread of the state."""
    asked = {n: runs[n] for n in theory}
    return ensemble_checks(label, sizes, asked, theory, seed=seed, spread={n: runs[n] for n in start})


# ---------------------------------------------------------------------------------------------------------- matrix flows
def _matrix(claim: Any, subject: Subject) -> tuple[Check, ...]:
    from derive import as_updates, plan

    model = bound_model(subject)
    known = {**subject.values, **dict(model.values)}
    start, params, sizes = draw_values(subject.flow, known, subject.rng(0))
    end = float(claim.time or horizon(subject.flow, start, params, known))
    values = {**params, **dict(model.values)}
    data = plan(model)
    given = {n: np.asarray(v) for n, v in given_of(data, {**sizes, **values}).items()}
    counts = tuple(int(n) for n in claim.sizes) if claim.sizes and not data["draws"] else DESCENT
    checks = descent_checks(claim.label, subject, data, given, start, params, end, counts)
    if checks and not data["draws"]:
        return checks  # nothing is drawn: descent is all there is to simulate
    ns = sizes_of(claim, subject)
    times, every = common_times(ns, end, 4)
    path = solve(subject.flow, start, params, np.concatenate([[0.0], times]))
    theory, runs = theory_and_runs(claim, path, start)
    for n, step, root in zip(ns, every, roots(subject, len(ns)), strict=True):
        updates = plan(as_updates(model, eta=rational(n), batch=BATCH))
        run = simulate(
            updates, given, start, step * len(times), seed=root, replicas=claim.seeds, every=step,
            observe=any(name not in start for name in theory),
        )  # fmt: skip
        for name in runs:
            seen = run.values[name] if name in run.values else run.observables[name]
            runs[name].append(seen[:, 1:].reshape(claim.seeds, len(times), *np.shape(path.at(0).get(name, 0.0))))
    return checks + verdict(f"{claim.label}: SGD, {BATCH} items per step", ns, runs, theory, start, subject.seed)


def theory_and_runs(
    claim: Any, path: Trajectory, start: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, list[Array]]]:
    """The theory of what a claim compares, after the start, and empty lists for the runs of this and of every state."""
    wanted = claim.observables or tuple(start)
    theory = {n: np.asarray((path.values if n in path.values else path.observables)[n])[1:] for n in wanted}
    return theory, {n: [] for n in (*wanted, *(s for s in start if s not in wanted))}


def bound_model(subject: Subject) -> Any:
    """The model on data: as it is if it is bound or its laws are concrete, else on seeded items with correlated targets."""
    model = subject.entry.model
    rng = subject.rng(7)
    arrays: dict[str, Array] = {}
    sizes = draw_sizes(subject.flow, subject.values)
    for law in model.data:
        if isinstance(law, Moments):
            common = rng.standard_normal((ITEMS, 3))
            for symbol in law.symbols:
                shape = model.lowered.shapes[symbol.name]
                width = dimension(shape[0], sizes) if shape else 1
                own = rng.standard_normal((ITEMS, width))
                arrays[symbol.name] = 0.7 * common @ rng.standard_normal((3, width)) / np.sqrt(3) + 0.7 * own
    return model.bind(**arrays) if arrays else model


def rational(n: int) -> Any:
    import sympy as sp

    return sp.Rational(1, n)


def descent_checks(
    label: str, subject: Subject, data: Mapping[str, Any], given: Mapping[str, Array], start: Mapping[str, Array],
    params: Mapping[str, Array], end: float, counts: tuple[int, ...] = DESCENT,
) -> tuple[Check, ...]:  # fmt: skip
    """Order of full-batch gradient descent in its step; empty if the averages of the rule are not finite sums."""
    if data["rule"]["kind"] != "rate" or any(law["law"] not in ("Choice",) for law in data["draws"]):
        return ()
    pieces, etas, true, stretched = 8, [], [], []
    times = np.linspace(0, end, pieces + 1)
    exact = solve(subject.flow, start, params, times, rtol=1e-11)
    late = solve(subject.flow, start, params, times * STRETCH, rtol=1e-11)
    for parts in counts[:-1] if subject.quick and len(counts) > 2 else counts:
        eta = end / pieces / parts
        run = simulate(data, given, start, pieces * parts, every=parts, dt=eta, observe=False)
        errors = [max(float(np.abs(run.values[n][0] - path.values[n]).max()) for n in start) for path in (exact, late)]
        etas.append(eta)
        true.append(errors[0])
        stretched.append(errors[1])
    return order_checks(
        (etas, true, stretched), seed=subject.seed,
        claim=f"{label}: full-batch gradient descent tends to the flow with order 1 in its step",
        control=f"{label}: the order drops if the theory's time is stretched by 0.5 %",
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------- order parameters
def _online(claim: Any, subject: Subject) -> tuple[Check, ...]:
    from derive import field_rule, plan

    rule, data = field_rule(subject.entry.model), plan(subject.entry.model)
    start, params, _ = draw_values(subject.flow, subject.values, subject.rng(0))
    end = float(claim.time or subject.values.get("time", 5.0))
    ns = sizes_of(claim, subject)
    times, every = common_times(ns, end, 5)
    path = solve(subject.flow, start, params, np.concatenate([[0.0], times]))
    theory, runs = theory_and_runs(claim, path, start)
    engine = ""
    for n, step, root in zip(ns, every, roots(subject, len(ns)), strict=True):
        seen, engine = run_overlaps(data, rule, start, params, n, step * len(times), step, seeds=claim.seeds, root=root)
        seen = {**seen, **observed(subject, seen, params, [w for w in theory if w not in seen])}
        for name in runs:
            runs[name].append(seen[name])
    return verdict(f"{claim.label} ({engine})", ns, runs, theory, start, subject.seed)


# -------------------------------------------------------------------------------------------------------- population flows
def _population(claim: Any, subject: Subject) -> tuple[Check, ...]:
    from derive.online.population import population_rule

    model, rule = subject.entry.model, population_rule(subject.entry.model)
    start, params, sizes = draw_values(subject.flow, subject.values, subject.rng(0), keep=True)
    length = length_of(subject.values, rule.big, vector_count(rule, {**start, **params}))
    params = {**params, **{n: np.asarray(float(length)) for n in params if n == rule.big}}
    given: dict[str, Any] = {**sizes, **params}
    end = float(claim.time or subject.values.get("time", 5.0))
    ns = tuple(int(n) for n in claim.sizes) or INVERSE
    times, every = common_times(ns, end, 4)
    path = solve(subject.flow, start, params, np.concatenate([[0.0], times]))
    theory, runs = theory_and_runs(claim, path, start)
    for n, step, root in zip(ns, every, roots(subject, len(ns)), strict=True):
        seen = run_population(model, start, given, n, step * len(times), step, length=length, seeds=claim.seeds, root=root)
        seen = {**seen, **observed(subject, seen, params, [w for w in theory if w not in seen])}
        for name in runs:
            runs[name].append(seen[name])
    return verdict(f"{claim.label}: SGD, {POPULATION_BATCH} items per step", ns, runs, theory, start, subject.seed)


def observed(subject: Subject, seen: Mapping[str, Array], params: Mapping[str, Array], names: list[str]) -> dict[str, Array]:
    """Observables of the derived system at simulated order parameters, arrays (seeds, T)."""
    if not names:
        return {}
    from codegen import compile

    kernel = compile(subject.flow, backend="numpy")
    seeds, count = next(iter(seen.values())).shape[:2]
    first = {n: a[0, 0] for n, a in seen.items()}
    layout = kernel.layout(first)
    look = kernel.flat_observables(layout, kernel.arguments(fitted(kernel, params)))
    points = [[{n: a[s, t] for n, a in seen.items()} for t in range(count)] for s in range(seeds)]
    rows = [[look(0.0, layout.pack(point)) for point in run] for run in points]
    return {name: np.array([[row[name] for row in run] for run in rows], dtype=float) for name in names}
