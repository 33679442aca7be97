"""The time loop: one accepted step after another, with every way to end made explicit.

Drives the one-step classes of `scipy.integrate`. Around them: a limit on steps, on evaluations within a step (LSODA does not
return from a finite-time blow-up) and on wall-clock time, a check that every accepted state is finite, Ctrl-C, and for
``method="auto"`` the stiffness test of Hairer and Wanner: the explicit pair of order 8 is limited by stability, not accuracy,
when  h |f(y_new) - f(y_12)| / |y_new - y_12| > 6.1  (y_12: its last stage, also at t + h) on 15 steps; then Radau takes over
(BDF above `LARGE` states). A condition g(t, y) >= 0 may end the run before its time.
Imported by `numerics.integrate` only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from numerics.progress import Progress
from numerics.status import Status
from numerics.trajectory import Array

RightHandSide: TypeAlias = Callable[[float, Array], Array]
Condition: TypeAlias = Callable[[float, Array], float]
METHODS = ("auto", "DOP853", "RK45", "Radau", "BDF", "LSODA")
LARGE = 150  # states above which Radau's complex factorisations cost more than BDF's lower order
DIVERGED = 1e100  # a state of this size has left every model of this project
STALLED = 20  # steps in a row of a few spacings of t
LOOKS = 4  # places in every step at which a stopping condition is looked at
STIFF_RATIO, STIFF_STEPS, CALM_STEPS = 6.1, 15, 6  # Hairer and Wanner, dop853


class _Halt(Exception):
    """Leaves a step from inside the right-hand side."""

    def __init__(self, status: Status):
        super().__init__(status.value)
        self.status = status


@dataclass(slots=True)
class Guard:
    """The right-hand side with counters: it stops a step that takes too long and remembers non-finite values."""

    f: RightHandSide
    deadline: float
    per_step: int
    evaluations: int = 0
    within: int = 0
    bad: tuple[float, int] | None = None

    def __call__(self, t: float, y: Array) -> Array:
        self.evaluations += 1
        self.within += 1
        if self.within > self.per_step:
            raise _Halt(Status.STIFF_LIMIT)
        if time.monotonic() > self.deadline:
            raise _Halt(Status.TIME_LIMIT)
        out = self.f(t, y)
        if self.bad is None and not np.isfinite(out).all():
            self.bad = (float(t), int(np.flatnonzero(~np.isfinite(out))[0]))
        return out

    def begin(self) -> None:
        """A new step begins."""
        self.within, self.bad = 0, None


@dataclass(slots=True)
class Run:
    """What the loop leaves: reached times, states as rows, the end, and where it ended."""

    t: list[float] = field(default_factory=list)
    y: list[Array] = field(default_factory=list)
    status: Status = Status.OK
    where: float = 0.0
    component: int | None = None
    steps: int = 0
    method: str = ""
    switched: float | None = None
    stopped: float | None = None


@dataclass(slots=True)
class Stiffness:
    """Counts the steps of DOP853 that stability, not accuracy, limited."""

    stiff: int = 0
    calm: int = 0

    def seen(self, solver: Any) -> bool:
        """True once the evidence suffices."""
        h = solver.t - solver.t_old
        stage = solver.y_old + h * (solver.K[:11].T @ solver.A[11, :11])
        distance = np.linalg.norm(solver.y - stage)
        ratio = h * np.linalg.norm(solver.f - solver.K[11]) / distance if distance > 0 else 0.0
        if ratio > STIFF_RATIO:
            self.stiff, self.calm = self.stiff + 1, 0
        else:
            self.calm += 1
            if self.calm >= CALM_STEPS:
                self.stiff = 0
        return self.stiff >= STIFF_STEPS


def advance(
    f: RightHandSide,
    y0: Array,
    t_span: tuple[float, float],
    t_eval: Array | None,
    *,
    method: str,
    rtol: float,
    atol: Array,
    max_steps: int,
    time_limit: float,
    progress: Progress,
    max_step: float = float("inf"),
    breaks: Array | None = None,
    stop: Condition | None = None,
) -> tuple[Run, int]:
    """Integrate until an end of some kind; returns the run and the number of evaluations. Inputs are already checked.

    No step is longer than ``max_step``, nor goes beyond the next of the ``breaks``, where the right-hand side has kinks.
    With ``stop``, the run ends at the first time at which  stop(t, y) >= 0,  found on the solver's own interpolant.
    """
    guard = Guard(f, time.monotonic() + time_limit, per_step=2000 + 40 * y0.size)
    run, due, stalled, solver = Run(where=t_span[0]), 0, 0, None
    try:
        due = _record(run, None, t_span[0], y0, t_eval, due)
        if stop is not None and stop(t_span[0], y0) >= 0:
            _end(run, t_span[0], y0)
            return run, 0
        solver = _solver("DOP853" if method == "auto" else method, guard, t_span[0], y0, t_span[1], rtol, atol, run, max_step)
        evidence = Stiffness()
        while solver.status == "running":
            if run.steps >= max_steps:
                raise _Halt(Status.STEP_LIMIT)
            guard.begin()
            if breaks is not None:
                solver.max_step = min(max_step, _until(breaks, solver.t))
            with np.errstate(all="ignore"):  # trial stages may overflow; what is accepted is checked
                solver.step()
            if solver.status == "failed":
                raise _Halt(Status.STIFF_LIMIT)
            _check_state(solver, guard)
            run.steps, run.where = run.steps + 1, float(solver.t)
            stalled = stalled + 1 if solver.t - solver.t_old < 10 * _spacing(solver.t) else 0
            if stalled > STALLED and solver.status == "running":
                raise _Halt(Status.STIFF_LIMIT)
            end = None if stop is None else crossing(stop, solver)
            if end is not None:
                _record(run, solver, end, solver.dense_output()(end), t_eval, due)
                _end(run, end, solver.dense_output()(end))
                break
            due = _record(run, solver, solver.t, solver.y, t_eval, due)
            progress((solver.t - t_span[0]) / (t_span[1] - t_span[0]), f"t = {solver.t:.4g}")
            if method == "auto" and run.switched is None and evidence.seen(solver) and solver.status == "running":
                run.switched = float(solver.t)
                stiff = "Radau" if y0.size <= LARGE else "BDF"
                solver = _solver(stiff, guard, solver.t, solver.y, t_span[1], rtol, atol, run, max_step)
    except _Halt as end:
        crawling = end.status is Status.STIFF_LIMIT and solver is not None
        run.status = _diagnose(solver, guard) if crawling else end.status
    except KeyboardInterrupt:
        run.status = Status.INTERRUPTED
    except (ValueError, np.linalg.LinAlgError):  # the factorisation of a Jacobian that is not finite
        if guard.bad is None:
            raise
        run.status = Status.NONFINITE
    if run.status is Status.NONFINITE and guard.bad is not None:
        run.where, run.component = guard.bad
    return run, guard.evaluations


def _until(breaks: Array, t: float) -> float:
    """Distance to the next break, one that is reached up to rounding left out."""
    ahead = breaks[np.searchsorted(breaks, t + 100 * _spacing(t), side="right") :]
    return float(ahead[0] - t) if ahead.size else float("inf")


def crossing(stop: Condition, solver: Any) -> float | None:
    """The first time in the last step at which a condition is reached, or None; it is looked at in `LOOKS` places."""
    from scipy.optimize import brentq

    path = solver.dense_output()
    places = np.linspace(solver.t_old, solver.t, LOOKS + 1)
    for before, after in pairwise(places):
        if stop(float(after), path(after)) >= 0:
            if stop(float(before), path(before)) >= 0:
                return float(before)
            return float(
                brentq(lambda t: stop(float(t), path(t)), before, after, xtol=1e-14 * max(1.0, abs(after)), rtol=1e-14)
            )
    return None


def _end(run: Run, t: float, y: Array) -> None:
    """Close a run at a stopping condition; the state there is always recorded."""
    run.stopped = run.where = float(t)
    if not run.t or run.t[-1] != t:
        run.t.append(float(t))
        run.y.append(np.array(y))


def _solver(method: str, f: Guard, t0: float, y0: Array, t1: float, rtol: float, atol: Array, run: Run, max_step: float) -> Any:
    import scipy.integrate

    run.method = f"{run.method}, {method}" if run.method else method
    f.begin()
    start = f(t0, y0)
    if not np.isfinite(start).all():
        raise _Halt(Status.NONFINITE)
    kinds = {name: getattr(scipy.integrate, name) for name in METHODS[1:]}
    with np.errstate(all="ignore"):
        return kinds[method](f, t0, y0, t1, rtol=rtol, atol=atol, max_step=max_step)


def _check_state(solver: Any, guard: Guard) -> None:
    """Refuse to go on from a state that is not finite or has diverged."""
    if not np.isfinite(solver.y).all():
        if guard.bad is None:
            guard.bad = (float(solver.t), int(np.flatnonzero(~np.isfinite(solver.y))[0]))
        raise _Halt(Status.NONFINITE)
    if np.abs(solver.y).max() > DIVERGED:
        raise _Halt(Status.BLOWUP)


def _diagnose(solver: Any, guard: Guard) -> Status:
    """Why no step was possible: the fastest component doubles within 1e7 spacings of t, or f is not finite, or singular."""
    bad = guard.bad
    guard.within, guard.deadline = 0, float("inf")
    with np.errstate(all="ignore"):
        rate = guard.f(solver.t, solver.y)
    if not np.isfinite(rate).all():
        guard.bad = guard.bad or (float(solver.t), int(np.flatnonzero(~np.isfinite(rate))[0]))
        return Status.NONFINITE
    fastest = int(np.abs(rate).argmax())
    size, speed = float(solver.y[fastest]), float(rate[fastest])
    if size * speed > 0 and abs(size) <= 1e7 * _spacing(solver.t) * abs(speed):
        return Status.BLOWUP
    return Status.NONFINITE if bad is not None else Status.STIFF_LIMIT


def _spacing(t: float) -> float:
    """Distance from t to the next floating-point number."""
    return float(np.spacing(abs(t))) if t else float(np.finfo(float).tiny)


def _record(run: Run, solver: Any, t: float, y: Array, t_eval: Array | None, due: int) -> int:
    """Append what is due up to time t; returns the index of the next requested time."""
    if t_eval is None:
        run.t.append(float(t))
        run.y.append(y.copy())
        return due
    until = int(np.searchsorted(t_eval, t, side="right"))
    if until > due:
        wanted = t_eval[due:until]
        dense = solver.dense_output()(wanted).T if solver is not None else np.repeat(y[None], wanted.size, axis=0)
        dense[wanted == t] = y
        run.t.extend(float(s) for s in wanted)
        run.y.extend(dense)
    return max(due, until)
