"""`validate`: one theory curve beside every other road to it, one report.

The first trajectory is the theory. Beside it may stand: another `Trajectory`, a `Reduction` (the theory is projected and
compared with the reduced system integrated by itself), a `ClosedForm` (of the theory's system, or of a reduced one named before
it), a `Kernel` (the same system integrated once more), and simulations: one `SimulationResult`, or a mapping
size -> SimulationResult of several sizes. Each road adds its rows.
Imported by users and by commands.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.system import ClosedForm, Reduction
from numerics.compare import common_deviation
from numerics.integrate import integrate
from numerics.report import Check, Report
from numerics.simulate import SimulationResult
from numerics.stochastic import FALSE_ALARM, ensemble_checks
from numerics.trajectory import Array, Trajectory

TOLERANCE = 1e-8


def validate(theory: Trajectory, *others: Any, false_alarm: float = FALSE_ALARM, command: str = "") -> Report:
    """Compare a trajectory with every other road to the same curve.

    Parameters
    ----------
    theory : Trajectory
    *others : Trajectory, Reduction, ClosedForm, Kernel, SimulationResult, or mapping size -> SimulationResult
        In order; a closed form of a reduced system stands after the reduction.
    false_alarm : float
        Probability that right simulations are rejected, per simulation row.
    command : str
        Shown with each row.

    Returns
    -------
    Report

    Raises
    ------
    InvalidSpec
        If a road has nothing in common with the theory, or was recorded at other times.
    IntegrationFailed
        If the theory, or an integration done here, did not reach its end.
    """
    theory.raise_if_failed()
    views, rows = [theory], []
    for other in others:
        clock = time.perf_counter()
        made = _road(views, other, false_alarm)
        seconds = (time.perf_counter() - clock) / max(1, len(made))
        rows += [replace(row, seconds=seconds, command=command) for row in made]
    return Report(system=theory.name, checks=tuple(rows))


def _road(views: list[Trajectory], other: Any, false_alarm: float) -> tuple[Check, ...]:
    if isinstance(other, Trajectory):
        return (
            _close(f"{_named(other.name)} agrees", views[0], other.raise_if_failed().values, other.t, _both(views[0], other)),
        )
    if isinstance(other, Reduction):
        return (_reduced(views, other),)
    if isinstance(other, ClosedForm):
        return (_solved(views, other),)
    if isinstance(other, SimulationResult):
        return _simulated(views[0], {1: other}, false_alarm)
    if isinstance(other, Mapping) and other and all(isinstance(r, SimulationResult) for r in other.values()):
        return _simulated(views[0], other, false_alarm)
    if hasattr(other, "flat_rhs"):
        return (_again(views[0], other),)
    raise InvalidSpec(
        f"validate: {type(other).__name__} is no road; pass a Trajectory, Reduction, ClosedForm, Kernel or simulations"
    )


def _both(a: Trajectory, b: Trajectory) -> float:
    return max(float(t.statistics.get("rtol", 0.0)) for t in (a, b))


def _named(name: str) -> str:
    return name or "the other trajectory"


def _close(claim: str, theory: Trajectory, values: Mapping[str, Array], t: Array, rtol: float) -> Check:
    if np.shape(t) != theory.t.shape or not np.allclose(t, theory.t, rtol=1e-12, atol=0):
        raise InvalidSpec(f"{claim}: recorded at other times than the theory; integrate both with the same t_eval")
    common = [n for n in theory.values if n in values]
    if not common:
        raise InvalidSpec(
            f"{claim}: nothing to compare; the theory has {', '.join(theory.values)}, the other {', '.join(values)}"
        )
    return Check(
        claim=claim,
        statistic=common_deviation(theory.values, {n: np.asarray(values[n]) for n in common}),
        bound=max(TOLERANCE, 100 * rtol),
        reason=f"largest relative difference of {', '.join(common)}; 1e-8, or a hundred times the rtol of {rtol:g}",
    )


def _reduced(views: list[Trajectory], reduction: Reduction) -> Check:
    from codegen import compile

    theory, system = views[0], reduction.system
    states = [b.name for b in reduction.full.state]
    missing = [n for n in states if n not in theory.values]
    if missing or reduction.project_state is None or reduction.parameters_from is None:
        raise InvalidSpec(
            f"the reduction to {system.name} needs a trajectory of {', '.join(states)} and a numerical projection"
        )
    given = dict(theory.parameters)
    found = [reduction.project_state(given, theory.at(i)) for i in range(len(theory.t))]
    projected = {n: np.array([f[n] for f in found]) for n in found[0]}
    params = {
        k: v for k, v in {**given, **reduction.parameters_from(given)}.items() if k in [b.name for b in system.parameters]
    }
    rtol = float(theory.statistics.get("rtol", 1e-8))
    span = (float(theory.t[0]), float(theory.t[-1]))
    kernel = compile(system, backend="numpy")
    path = integrate(kernel, found[0], params, span, theory.t, rtol=rtol).raise_if_failed()
    view = replace(theory, values=projected, parameters=params, name=system.name)
    views.append(view)
    return _close(f"the reduced system {system.name} follows the projected flow", view, path.values, path.t, rtol)


def _solved(views: list[Trajectory], form: ClosedForm) -> Check:
    names = [b.name for b in form.system.state]
    view = next((v for v in reversed(views) if all(n in v.values for n in names)), None)
    if view is None or form.evaluate is None:
        raise InvalidSpec(
            f"the closed form is about {', '.join(names)}, not in any trajectory here; pass its reduction before it"
        )
    values = form.evaluate(view.t - view.t[0], view.at(0), dict(view.parameters))
    shaped = {n: np.asarray(values[n]).reshape(view.values[n].shape) for n in names}
    rtol = float(view.statistics.get("rtol", 0.0))
    return _close(f"the closed form of {form.system.name} solves it", view, shaped, view.t, rtol)


def _again(theory: Trajectory, kernel: Any) -> Check:
    rtol = float(theory.statistics.get("rtol", 1e-8))
    span = (float(theory.t[0]), float(theory.t[-1]))
    path = integrate(kernel, theory.at(0), theory.parameters, span, theory.t, rtol=rtol, method="LSODA").raise_if_failed()
    return _close(f"{_named(path.name)}, integrated by LSODA, agrees", theory, path.values, path.t, rtol)


def _simulated(theory: Trajectory, results: Mapping[int, SimulationResult], false_alarm: float) -> tuple[Check, ...]:
    curves = {**theory.values, **theory.observables}
    runs: dict[str, list[Array]] = {}
    for size, result in results.items():
        bad = [i for i, s in enumerate(result.status) if s != "ok"]
        if bad:
            raise InvalidSpec(
                f"simulation at size {size}: replica {bad[0]} is {result.status[bad[0]]}; lower the step or the time"
            )
        if np.shape(result.t) != theory.t.shape or not np.allclose(result.t, theory.t, rtol=1e-9, atol=1e-12):
            raise InvalidSpec(
                f"simulation at size {size}: recorded at other times than the theory; integrate with t_eval=result.t"
            )
        seen = {**result.values, **result.observables}
        for name in curves:
            if name in seen:
                runs.setdefault(name, []).append(np.asarray(seen[name]).reshape(-1, *np.shape(curves[name])))
    shared = {n: r for n, r in runs.items() if len(r) == len(results)}
    if not shared:
        raise InvalidSpec(
            f"the simulations record nothing of {', '.join(curves)}; observe the same quantities, or project them first"
        )
    sizes = [int(n) for n in results]
    seed = int(next(iter(results.values())).seed)
    return ensemble_checks("simulation", sizes, shared, {n: curves[n] for n in shared}, seed=seed, false_alarm=false_alarm)
