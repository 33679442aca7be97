"""The main job for a model with a protocol: all phases in one run, with the state handed over.

The course is derived once, integrated from end to end, and laid over gradient descent (or one-pass SGD) that goes through the
same protocol with the same deletions. Reported are the conserved quantities of every phase, what each switch did to them, and
the scores of the extrapolated simulations. Imported by `numerics.run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import sympy as sp

from derive.derivation import derive_all
from derive.errors import DerivationError
from derive.protocols.courses import Course, course
from derive.spec.rules import Phase
from numerics.claims.protocols import Setting, kernels_of, lattice, observed_along, run_overlaps
from numerics.claims.states import given_of
from numerics.claims.subject import Subject
from numerics.progress import Progress, throttled
from numerics.protocol import course_symbols, follow
from numerics.protocol_checks import conserved_rows
from numerics.report import Check, Report
from numerics.run import Outcome
from numerics.simulate import SimulationError, SimulationResult, simulate_protocol
from numerics.stochastic import mean_rows
from numerics.trajectory import Array, Trajectory

TIMES = 80  # intervals between records, over the whole protocol
SCORED = 8  # of the records enter the score: neighbouring times are nearly the same number
BATCH, SEEDS, ETA, SIZE = 1, 8, 0.02, 400  # where the entry names none


def has_phases(model: Any) -> bool:
    """Whether a model has a protocol with phases."""
    return any(isinstance(item, Phase) for item in model.protocol)


def run_protocol(
    entry: Any, *, data: Any = None, whitened: bool = False, seed: int = 0, progress: Progress | None = None
) -> Outcome:
    """Derive the phases, follow them, and simulate the same protocol.

    Raises
    ------
    InvalidSpec
        If a value is missing, or the numbers do not fit the model.
    IntegrationFailed
        If a phase blows up.
    """
    from codegen import compile

    show = throttled(progress)
    show(0.0, "deriving")
    made = derive_all(entry.model, white=whitened, title=entry.title or entry.name)
    model, start, known, notes = _numbers(entry, made.flow, data, whitened, seed)
    show(0.1, "integrating")
    sizes = _sizes(entry)
    conditional = any(isinstance(item, Phase) and item.until is not None for item in model.protocol)
    if conditional:
        bare = course(model)
        params = {n: v for n, v in known.items() if n in course_symbols(bare)}
        path = follow(bare, start, params, rtol=1e-10, seed=seed).raise_if_failed()
        more: tuple[str, ...] = ("not simulated: a phase that ends by a condition ends at another time in every run",)
        runs: dict[int, dict[str, Array]] = {}
        followed = bare
    else:
        s = lattice(model, start, known, gcd(*sizes), records=TIMES)
        path = s.path(backend="numba", seed=seed)
        followed = s.made
        show(0.3, "simulating")
        runs, more = _simulated(entry, s, path, sizes, seed)
    checks = [*(conserved_rows(followed, path) if entry.kind == "matrix" else []), *_scores(runs, path, seed)]
    show(1.0, "done")
    label = _label(entry, sizes) if runs else ""
    result = _result(entry.name, path, runs[sizes[1]], seed) if runs else None
    return Outcome(
        derivation=made,
        source=str(compile(followed.stretches[0].flow, backend="numpy").source),
        trajectory=path,
        report=Report(system=entry.name, checks=tuple(checks)),
        draw=lambda target: _draw(entry, path, result, target, label),
        notes=(*notes, *_told(followed, path), *more),
    )


def _numbers(
    entry: Any, flow: Any, data: Any, whitened: bool, seed: int
) -> tuple[Any, dict[str, Array], dict[str, Any], tuple[str, ...]]:
    """Model on data, start, values of given symbols, and what was chosen."""
    if entry.kind == "online":
        from numerics.run_online import start_of

        named = tuple(n for part in course(entry.model, flow=flow).stretches for n, _ in part.binds)
        start, params, notes = start_of(Subject(entry=entry, flow=flow, seed=seed), named)
        return entry.model, start, {**dict(entry.values), **params}, notes
    from numerics.run_matrix import bound, prepare

    model, notes = bound(entry, data, whitened, seed)
    values: dict[str, Any] = {**entry.values, **model.values}
    setting, more = prepare(entry, flow, None, values, seed)
    return model, dict(setting.start), dict(setting.values), (*notes, *more)


def _sizes(entry: Any) -> tuple[int, int]:
    """Inverse steps n/2 and n, or dimensions N/2 and N."""
    if entry.kind == "online":
        from derive import field_rule

        size = int(entry.values.get(field_rule(entry.model).big, SIZE))
        return size // 2, 2 * (size // 2)
    half = max(1, round(0.5 / float(entry.values.get("eta", ETA))))
    return half, 2 * half


def _simulated(
    entry: Any, s: Setting, path: Trajectory, sizes: tuple[int, int], seed: int
) -> tuple[dict[int, dict[str, Array]], tuple[str, ...]]:
    """Runs at both sizes: arrays (seeds, T, ...) with t = 0; a rule that cannot be simulated is reported, not guessed."""
    seeds = int(entry.values.get("seeds", SEEDS))
    try:
        one = _online if entry.kind == "online" else _matrix
        runs = {n: one(entry, s, path, n, seeds, seed + k) for k, n in enumerate(sizes)}
    except (SimulationError, DerivationError) as error:
        return {}, (f"not simulated: {error}",)
    return runs, (
        f"{seeds} runs of {_label(entry, sizes)} and its half size, through the same protocol, with the same deletions",
    )


def _matrix(entry: Any, s: Setting, path: Trajectory, n: int, seeds: int, root: int) -> dict[str, Array]:
    from derive import as_updates, plan

    data = plan(as_updates(s.model, eta=sp.Rational(1, n), batch=int(entry.values.get("batch", BATCH))))
    given = given_of(data, {**s.params, **dict(s.model.values)})
    run = simulate_protocol(
        data,
        given,
        s.start,
        every=s.every * n // s.unit,
        seed=root,
        replicas=seeds,
        dropped=path.dropped or None,
        observe=False,
    )
    values = {k: a.reshape(seeds, *path.values[k].shape) for k, a in run.values.items()}
    return {**values, **observed_along(s.made, path, values, s.params, list(path.observables), kernels_of(s.made))}


def _online(entry: Any, s: Setting, path: Trajectory, n: int, seeds: int, root: int) -> dict[str, Array]:
    from derive import field_rule, plan

    run = run_overlaps(
        plan(s.model),
        field_rule(s.model),
        s.start,
        s.params,
        n,
        s.every * n // s.unit,
        seeds=seeds,
        root=root,
        dropped=path.dropped,
    )
    return {**run.values, **observed_along(s.made, path, run.values, s.params, list(path.observables), kernels_of(s.made))}


def _scores(runs: Mapping[int, Mapping[str, Array]], path: Trajectory, seed: int) -> tuple[Check, ...]:
    """Extrapolated seed means of the observables against the theory at a few times of the whole protocol."""
    if not runs:
        return ()
    last = len(path.t) - 1
    rows = np.unique(np.linspace(last / SCORED, last, SCORED).astype(int))
    curves = path.observables or path.values
    samples = {name: [_present(runs[n][name][:, rows], curves[name][rows]) for n in runs] for name in curves}
    theory = {name: _present(np.asarray(curves[name])[None, rows], curves[name][rows])[0] for name in samples}
    out = mean_rows(tuple(runs), samples, theory, seed=seed)
    low, high = min(runs), max(runs)
    return tuple(
        replace(
            row,
            claim=f"{name}: the mean of the runs, extrapolated from sizes {low} and {high}, equals the theory in all phases",
        )
        for name, row in zip(samples, out, strict=True)
    )


def _present(runs: Array, like: Array) -> Array:
    """Entries that are not deleted, (seeds, entries)."""
    return np.asarray(runs).reshape(len(runs), -1)[:, np.isfinite(np.asarray(like).ravel())]


def _label(entry: Any, sizes: tuple[int, int]) -> str:
    return f"SGD, N = {sizes[1]}" if entry.kind == "online" else f"SGD, step 1/{sizes[1]}"


def _told(made: Course, path: Trajectory) -> tuple[str, ...]:
    """The phases in words."""
    count = len(made.stretches)
    kernels = path.statistics.get("kernels", count)
    words = [f"t = {s.t:.4g}: {s.label}" for s in path.switches[:6]]
    more = f"; ... {len(path.switches)} switches in all" if len(path.switches) > 6 else ""
    return (f"{count} phases, {kernels} compiled; first {made.stretches[0].label}; " + "; ".join(words) + more,)


def _result(name: str, path: Trajectory, seen: Mapping[str, Array], seed: int) -> SimulationResult:
    """The runs in the form that figures take."""
    return SimulationResult(
        name=name,
        t=path.t,
        steps=np.arange(len(path.t)),
        values={n: a for n, a in seen.items() if n in path.values},
        observables={n: a for n, a in seen.items() if n in path.observables},
        status=("ok",) * len(next(iter(seen.values()))),
        seed=seed,
    )


def _draw(entry: Any, path: Trajectory, result: SimulationResult | None, target: Path, label: str) -> object:
    from numerics.plot import figure

    big = [n for n, a in path.values.items() if a[0].size > 16 and a.ndim == 3]
    strengths = {f"s_{n}": singular(path.values[n]) for n in big}
    view = replace(path, observables={**path.observables, **strengths})
    if result is not None:
        more = {f"s_{n}": singular(result.values[n]) for n in big if n in result.values}
        result = replace(result, observables={**result.observables, **more})
    scalars = [n for n, a in path.values.items() if a[0].size == 1]
    small = [[n] for n, a in path.values.items() if 1 < a[0].size <= 16]
    panels = [list(path.observables), scalars, *small, *([n] for n in strengths)]
    online = entry.kind == "online"
    return figure(
        view, result, target, panels=[p for p in panels if p][:4], title=entry.title,
        time=r"time $\alpha$" if online else "time $t$",
        theory_label="order-parameter equations" if online else "flow, phase after phase", simulation_label=label,
    )  # fmt: skip


def singular(weights: Array) -> Array:
    """Singular values along the leading axes; a deleted row or column is one of zeros."""
    return np.asarray(np.linalg.svd(np.nan_to_num(weights), compute_uv=False))
