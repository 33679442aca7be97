"""The main job for population flows: exact overlap equations over mini-batch SGD with full vectors at small steps.

The vectors have their own finite length N, which the equations hold for; runs at the steps 1/n and 2/n from vectors with the
overlaps of the theory's start give the bias of the step, which is extrapolated away. Imported by `numerics.run`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.derivation import derive_all
from derive.errors import InvalidSpec
from numerics.claims.ensembles import common_times
from numerics.claims.populations import BATCH, length_of, run_population, vector_count
from numerics.claims.simulation import observed
from numerics.claims.subject import Subject
from numerics.integrate import component_name, integrate
from numerics.progress import Progress, throttled
from numerics.report import Report
from numerics.run import Outcome, finished
from numerics.run_online import draw, numpy_source, scored, shown_runs, start_of
from numerics.trajectory import Array

TIMES = 40  # records of a run
SEEDS, END, INVERSE = 8, 10.0, 200  # where the entry names none


def run_population_entry(entry: Any, *, seed: int = 0, progress: Progress | None = None) -> Outcome:
    """Derive the equations of the overlaps, integrate them and simulate.

    Raises
    ------
    InvalidSpec
        If there are fewer than three seeds, or the vectors are too short.
    IntegrationFailed
        If the equations end early: a vector that vanishes and is not held there is named.
    """
    from codegen import compile
    from derive.online.population import population_rule

    show = throttled(progress)
    show(0.0, "deriving")
    made = derive_all(entry.model, title=entry.title or entry.name)
    flow, rule = made.flow, population_rule(entry.model)
    values = entry.values
    end, seeds, inverse = float(values.get("time", END)), int(values.get("seeds", SEEDS)), int(values.get("inverse", INVERSE))
    if seeds < 3:
        raise InvalidSpec(f"seeds={seeds}: a mean needs an error; give 3 or more")
    subject = Subject(entry=entry, flow=flow, seed=seed)
    start, params, chosen = start_of(subject)
    length = length_of(values, rule.big, vector_count(rule, {**start, **params}))
    params = {**params, **{n: np.asarray(float(length)) for n in params if n == rule.big}}
    inverses = (max(2, inverse // 2), max(4, inverse // 2 * 2))
    times, every = common_times(inverses, end, TIMES)
    show(0.05, "integrating")
    kernel = compile(flow, backend="numba")
    path = finished(integrate(kernel, start, params, (0.0, float(times[-1])), np.concatenate([[0.0], times]), rtol=1e-10))
    runs: dict[int, dict[str, Array]] = {}
    for number, (n, step) in enumerate(zip(inverses, every, strict=True)):
        show(0.1 + 0.5 * number, f"{seeds} runs of SGD at the step 1/{n}")
        seen = run_population(
            entry.model, start, params, n, step * len(times), step, length=length, seeds=seeds, root=seed + number
        )
        runs[n] = {**seen, **observed(subject, seen, params, list(flow.observables))}
    show(1.0, "done")
    layout = kernel.layout({**params, **start})
    events = [
        f"{component_name(layout, layout.size, at)} reaches zero at t = {t:.6g} and stays there"
        for t, at in path.statistics.get("events", ())
    ]
    notes = (
        *chosen,
        f"{seeds} runs of SGD with {BATCH} items per step at the steps 1/{inverses[0]} and 1/{inverses[1]}, "
        f"{rule.big} = {length}, from vectors with exactly the overlaps of the theory's start",
        *events,
    )
    return Outcome(
        derivation=made,
        source=numpy_source(flow),
        trajectory=path,
        report=Report(system=entry.name, checks=scored(inverses, runs, path, seed)),
        draw=lambda target: draw(
            path, shown_runs(entry.name, path, runs[inverses[1]], seed), target, entry.title, f"SGD, step 1/{inverses[1]}",
            time="$t$", theory="population flow",
        ),
        notes=notes,
    )  # fmt: skip
