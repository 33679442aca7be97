"""Rows of the report of a matrix run: conserved quantities, closed form, reduced system, and the simulated roads.

Imported by `numerics.run_matrix`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from derive.derivation import Derivation
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly
from derive.printing.objects import expression_text
from derive.system import ClosedForm, Reduction
from numerics.compare import common_deviation, order_checks
from numerics.integrate import integrate
from numerics.report import Check
from numerics.run import finished
from numerics.run_descent import Found
from numerics.stochastic import mean_rows
from numerics.trajectory import Array, Trajectory

SCORED = 5  # times that enter the score: neighbouring times are nearly the same number


def conserved_checks(made: Derivation, path: Trajectory) -> list[Check]:
    """Drift of each conserved quantity along the integrated flow."""
    rows = []
    for q in made.conserved:
        if q.rate != 0 or not isinstance(q.expr, Poly):
            continue
        clock = time.perf_counter()
        seen = np.array(
            [evaluate(q.expr, {**path.parameters, **path.at(i)}, functions=made.flow.functions) for i in range(len(path.t))]
        )
        scale = max(float(np.max([np.abs(a).max() for a in path.values.values()])) ** 2, float(np.finfo(float).tiny))
        rows.append(
            Check(
                claim=f"{expression_text(q.expr)} is conserved by the matrix flow",
                statistic=float(np.abs(seen - seen[0]).max()) / scale,
                bound=1e-9,
                reason="drift relative to the squared weights; ten times the rtol of 1e-10",
                seconds=time.perf_counter() - clock,
            )
        )
    return rows


def solved_checks(
    reduction: Reduction,
    form: ClosedForm | None,
    view: Trajectory,
    start: Mapping[str, Array],
    values: Mapping[str, Any],
    times: Array,
) -> list[Check]:
    """Closed form against the reduced system, and the reduced system against the projected matrix flow."""
    from codegen import compile

    assert reduction.parameters_from is not None  # the caller lifted a state with it
    given = reduction.parameters_from(values)
    clock = time.perf_counter()
    low = finished(
        integrate(compile(reduction.system, backend="numpy"), start, given, (0.0, float(times[-1])), times, rtol=1e-11)
    )
    rows = [
        Check(
            claim="the mode equations follow the matrix flow",
            statistic=common_deviation(low.values, {n: view.values[n] for n in low.values}),
            bound=1e-8,
            reason="largest relative difference; a hundred times the rtol of the flow, 1e-10",
            seconds=time.perf_counter() - clock,
        )
    ]
    if form is not None and form.evaluate is not None:
        clock = time.perf_counter()
        solved = form.evaluate(times, dict(start), dict(given))
        rows.insert(
            0,
            Check(
                claim=f"the closed form ({form.kind}) solves the mode equations",
                statistic=common_deviation(low.values, {n: np.asarray(solved[n]) for n in low.values}),
                bound=1e-8,
                reason="largest relative difference; a thousand times the rtol of the integration, 1e-11",
                seconds=time.perf_counter() - clock,
            ),
        )
    return rows


def road_checks(found: Found, path: Trajectory, view: Trajectory, seed: int) -> list[Check]:
    """Gradient descent and SGD against the flow."""
    rows: list[Check] = []
    if found.etas:
        rows += order_checks(
            (found.etas, found.errors, found.stretched), seconds=found.seconds,
            claim="full-batch gradient descent tends to the flow with order 1 in its step",
            control="this order drops if the theory's time is stretched by 0.5 %",
        )  # fmt: skip
    if not found.runs:
        return rows
    curves = {**path.values, **path.observables, **view.values}
    count = len(path.t) - 1
    chosen = np.unique(np.linspace(count / SCORED, count, SCORED).astype(int)) - 1
    sizes = tuple(found.runs)
    samples = {name: [found.runs[n][name][:, chosen] for n in sizes] for name in found.scored}
    scored = mean_rows(sizes, samples, {name: curves[name][1:][chosen] for name in samples}, seed=seed)
    for name, row in zip(found.scored, scored, strict=True):
        claim = (
            f"{name}: the mean of the SGD runs, extrapolated to step 0 from 1/{sizes[0]} and 1/{sizes[1]}, equals the theory"
        )
        rows.append(replace(row, claim=claim))
    return rows
