"""The main job for recursions of moments: iterate them, and lay them over an ensemble of runs of the rule.

A single run says little about a second moment, so the band is that of means over groups of runs. Imported by `numerics.run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from derive.derivation import derive_all
from derive.errors import InvalidSpec
from numerics.claims.recursions import drawn_names, moments_of, simulated, start_of, theory
from numerics.claims.subject import Subject
from numerics.progress import Progress, throttled
from numerics.report import Report
from numerics.run import Outcome
from numerics.simulate import SimulationResult
from numerics.stochastic import mean_rows
from numerics.trajectory import Array, Trajectory

RECORDS = 50
SCORED = 5  # of them enter the score: neighbouring steps are nearly the same number
GROUPS = 10  # runs are shown as means over a tenth of them


def run_recursion(entry: Any, *, seed: int = 0, progress: Progress | None = None) -> Outcome:
    """Derive the recursion, iterate and simulate.

    Raises
    ------
    InvalidSpec
        If the number of runs or of steps is too small.
    """
    from codegen import compile

    show = throttled(progress)
    show(0.0, "deriving")
    made = derive_all(entry.model, title=entry.title or entry.name)
    system: Any = made.flow
    steps, runs = int(entry.values.get("time", 200)), int(entry.values.get("seeds", 200))
    if steps < SCORED or runs < 3 * GROUPS:
        raise InvalidSpec(f"time={steps}, seeds={runs}: give {SCORED} steps or more, and {3 * GROUPS} runs or more")
    subject = Subject(entry=entry, flow=system, seed=seed)
    start, params = start_of(system, subject)
    every = max(1, steps // RECORDS)
    steps -= steps % every
    show(0.1, "iterating")
    path = theory(system, moments_of(system, start, params), params, steps, every)
    show(0.2, f"{runs} runs of {steps} steps")
    seen = simulated(system, subject, start, params, steps, every, runs)
    curves = {**path.values, **path.observables}
    rows = np.unique(np.linspace((len(path.t) - 1) / SCORED, len(path.t) - 1, SCORED).astype(int))
    scored = mean_rows((1,), {n: [a[:, rows]] for n, a in seen.items()}, {n: curves[n][rows] for n in seen}, seed=seed)
    scored = tuple(
        replace(c, claim=f"{n}: the mean of the runs equals the recursion") for n, c in zip(seen, scored, strict=True)
    )
    chosen = drawn_names(system, subject.values)
    drawn = (f"drawn with seed {seed}, because the entry names no value: {', '.join(chosen)}",) if chosen else ()
    show(1.0, "done")
    return Outcome(
        derivation=made,
        source=str(compile(system, backend="numpy").source),
        trajectory=path,
        report=Report(system=entry.name, checks=scored),
        draw=lambda target: _draw(entry, path, seen, target, runs, seed),
        notes=(*drawn, f"{runs} runs of {steps} steps of the rule from one start, recorded every {every} steps"),
    )


def _draw(entry: Any, path: Trajectory, seen: Mapping[str, Array], target: Path, runs: int, seed: int) -> object:
    """Observables, then the diagonals of second moments, then means."""
    from numerics.plot import figure

    groups = min(GROUPS, runs)
    size = runs // groups
    means = {n: a[: groups * size].reshape(groups, size, *a.shape[1:]).mean(axis=1) for n, a in seen.items()}
    square = [n for n, a in path.values.items() if a.ndim == 3 and a.shape[1] == a.shape[2]]
    shown = {f"{n}_kk" if n in square else n: _diagonal(a, n in square) for n, a in path.values.items()}
    view = Trajectory(t=path.t, values=shown, status=path.status, observables=path.observables, name=path.name)
    result = SimulationResult(
        name=entry.name, t=path.t, steps=path.t.astype(int),
        values={f"{n}_kk" if n in square else n: _diagonal(means[n], n in square) for n in path.values},
        observables={n: means[n] for n in path.observables}, status=("ok",) * groups, seed=seed,
    )  # fmt: skip
    order = [*path.observables, *(f"{n}_kk" for n in square), *(n for n in shown if not n.endswith("_kk"))]
    return figure(
        view, result, target, panels=[[n] for n in order][:4], title=entry.title, time="steps $n$",
        theory_label="recursion", simulation_label=f"groups of {size} runs",
    )  # fmt: skip


def _diagonal(a: Array, square: bool) -> Array:
    return np.asarray(np.diagonal(a, axis1=-2, axis2=-1)) if square else a
