"""The main job for one-pass updates: order-parameter equations over SGD with full weights.

The start is a set of overlaps of order one (values of the entry, or seeded ones); weights with exactly these overlaps are
placed in R^N, so theory and runs begin at the same point. Runs at N/2 and N give the 1/N bias, which is extrapolated away.
Imported by `numerics.run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from derive.derivation import derive_all
from derive.errors import InvalidSpec
from numerics.claims.ensembles import common_times, run_overlaps
from numerics.claims.simulation import observed
from numerics.claims.states import draw_values
from numerics.claims.subject import Subject
from numerics.integrate import integrate
from numerics.progress import Progress, throttled
from numerics.report import Check, Report
from numerics.run import Outcome, finished
from numerics.simulate import SimulationResult
from numerics.stochastic import mean_rows
from numerics.trajectory import Array, Trajectory

TIMES = 40  # records of a run
SCORED = 5  # of them enter the score: neighbouring times are nearly the same number
SEEDS, END, SIZE = 10, 10.0, 400  # where the entry names none


def run_online(entry: Any, *, seed: int = 0, progress: Progress | None = None) -> Outcome:
    """Derive the order-parameter equations, integrate them and simulate.

    Raises
    ------
    InvalidSpec
        If the number of seeds or the size is too small, or the state of the entry has the wrong shape.
    IntegrationFailed
        If the equations blow up.
    """
    from codegen import compile
    from derive import field_rule, plan

    show = throttled(progress)
    show(0.0, "deriving")
    made = derive_all(entry.model, title=entry.title or entry.name)
    flow, rule, data = made.flow, field_rule(entry.model), plan(entry.model)
    size, end, seeds = _settings(entry.values, rule.big)
    subject = Subject(entry=entry, flow=flow, seed=seed)
    start, params, chosen = start_of(subject)
    sizes = (size // 2, size)
    times, every = common_times(sizes, end, TIMES)
    show(0.05, "integrating")
    kernel = compile(flow, backend="numba")
    path = finished(integrate(kernel, start, params, (0.0, float(times[-1])), np.concatenate([[0.0], times]), rtol=1e-10))
    runs: dict[int, dict[str, Array]] = {}
    engine = ""
    for number, (n, step) in enumerate(zip(sizes, every, strict=True)):
        show(0.1 + 0.5 * number, f"{seeds} runs of SGD at {rule.big} = {n}")
        seen, engine = run_overlaps(data, rule, start, params, n, step * len(times), step, seeds=seeds, root=seed + number)
        runs[n] = {**seen, **observed(subject, seen, params, list(flow.observables))}
    show(1.0, "done")
    notes = (
        *chosen,
        f"{seeds} runs of one-pass SGD at {rule.big} = {sizes[0]} and {sizes[1]} up to alpha = {times[-1]:g}, engine {engine}; "
        "their starts have exactly the overlaps of the theory's start",
    )
    return Outcome(
        derivation=made,
        source=numpy_source(flow),
        trajectory=path,
        report=Report(system=entry.name, checks=scored(sizes, runs, path, seed)),
        draw=lambda target: draw(
            path, shown_runs(entry.name, path, runs[size], seed), target, entry.title, f"SGD, {rule.big} = {size}"
        ),
        notes=notes,
    )


def numpy_source(flow: Any) -> str:
    from codegen import compile

    return str(compile(flow, backend="numpy").source)


def _settings(values: Mapping[str, Any], big: str) -> tuple[int, float, int]:
    size, end, seeds = int(values.get(big, SIZE)), float(values.get("time", END)), int(values.get("seeds", SEEDS))
    if size < 20:
        raise InvalidSpec(f"{big}={size}: the equations are a limit of large {big}; give 20 or more")
    if seeds < 3:
        raise InvalidSpec(f"seeds={seeds}: a mean needs an error; give 3 or more")
    if not end > 0:
        raise InvalidSpec(f"time={end:g}: give a positive time, in units of steps / {big}")
    return size - size % 2, end, seeds


def start_of(subject: Subject, bound: tuple[str, ...] = ()) -> tuple[dict[str, Array], dict[str, Array], tuple[str, ...]]:
    """State at t = 0 and parameters: values of the entry where it has them, else seeded ones, and what was chosen.

    Parameters in ``bound`` are set by the phases of a protocol, so nothing is said about them.
    """
    start, params, _ = draw_values(subject.flow, subject.values, subject.rng(0), keep=True)
    given = {n: np.asarray(v, dtype=float) for n, v in subject.values.items() if n in start}
    for name, array in given.items():
        if array.shape != start[name].shape:
            raise InvalidSpec(
                f"{name} has shape {array.shape} in the values of the entry, its equation has {start[name].shape}"
            )
    drawn = [n for n in start if n not in given] + [n for n in params if n not in subject.values and n not in bound]
    note = (f"drawn with seed {subject.seed}, because the entry names no value: {', '.join(drawn)}",) if drawn else ()
    return {**start, **given}, params, note


def scored(sizes: tuple[int, ...], runs: Mapping[int, Mapping[str, Array]], path: Trajectory, seed: int) -> tuple[Check, ...]:
    """Scores of the extrapolated seed means; the exponent of the spread needs more sizes and seeds, `verify` measures it."""
    count = len(path.t) - 1
    rows = np.unique(np.linspace(count / SCORED, count, SCORED).astype(int)) - 1
    curves = {**path.values, **path.observables}
    samples = {name: [runs[n][name][:, rows] for n in sizes] for name in next(iter(runs.values()))}
    return mean_rows(sizes, samples, {name: curves[name][1:][rows] for name in samples}, seed=seed)


def shown_runs(name: str, path: Trajectory, seen: Mapping[str, Array], seed: int) -> SimulationResult:
    """The runs at one size without t = 0, in the form that figures take."""
    seeds = len(next(iter(seen.values())))
    return SimulationResult(
        name=name,
        t=path.t[1:],
        steps=np.arange(1, len(path.t)),
        values={n: a for n, a in seen.items() if n in path.values},
        observables={n: a for n, a in seen.items() if n in path.observables},
        status=("ok",) * seeds,
        seed=seed,
    )


def draw(
    path: Trajectory, result: SimulationResult, target: Path, title: str, label: str, *,
    time: str = r"$\alpha$", theory: str = "order-parameter equations",
) -> object:  # fmt: skip
    """The figure: up to four panels of observables and states, theory over runs."""
    from numerics.plot import figure

    panels = [[n] for n in (*path.observables, *path.values) if np.prod(np.shape(path.values.get(n, np.zeros(1)))[1:]) <= 64]
    return figure(
        path,
        result,
        target,
        panels=panels[:4],
        title=title,
        time=time,
        theory_label=theory,
        simulation_label=label,
    )
