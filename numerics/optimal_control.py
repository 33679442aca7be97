r"""Controls that satisfy the conditions of `derive.optimal`: ascent on a control over time, with the exact adjoint.

    u(t) = straight lines through u_0, ..., u_n,   low <= u <= high:      J(u_0, ..., u_n) -> max,      dJ/du_j = w_j dH/du(t_j)

by L-BFGS-B in coordinates in which the scalar product is the integral over time; J and its derivative are those of
`numerics.adjoint`. Runge-Kutta steps are halved until J stays the same, and the control found is integrated once more by
`integrate`. A maximum near the first guess is found; where there may be several, start from several. Imported by users.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from derive.errors import InvalidSpec
from derive.protocols.pontryagin import Optimal
from derive.system import Block
from numerics.adjoint import Worth
from numerics.control_task import Task, named, open_task
from numerics.controls import Schedule
from numerics.integrate import integrate
from numerics.trajectory import Array, Trajectory

STEPS = 4096  # Runge-Kutta steps in all, at most
SAME = 1e-7  # relative change of J when every step is halved; that of the halved steps is 16 times smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimalRun:
    """A control over time, and the run under it.

    Attributes
    ----------
    t : array, shape (n + 1,)
    control, slope : mapping control -> array, shape (n + 1, ...)
        The values at these times, joined by straight lines; and dH/du there.
    costates : mapping name -> array, shape (n + 1, ...)
    trajectory : Trajectory
        The system under the control, integrated with error control; the integral of ``running`` so far is its state ``gained``.
    value, value_at_start : float
        J of the control that was found, and of the first guess.
    residual : float
        Largest |dH/du| that no bound holds back, relative to the largest |dH/du| at the first guess or beside it.
    error : float
        Difference of J between the steps of the search and the trajectory, relative to J.
    success : bool
        Whether the residual is below the tolerance.
    message : str
        What the search said at its end.
    iterations : int
    derivatives : str
        "equations" or "differences", where the costates came from.
    """

    t: Array
    control: Mapping[str, Array]
    slope: Mapping[str, Array]
    costates: Mapping[str, Array]
    trajectory: Trajectory
    value: float
    value_at_start: float
    residual: float
    error: float
    success: bool
    message: str
    iterations: int
    derivatives: str

    def schedule(self, name: Any) -> Schedule:
        """A control, as `integrate`, `follow` and `simulate` take a parameter."""
        return Schedule(self.t, self.control[named(name)])

    def __str__(self) -> str:
        kind = "maximum" if self.success else f"no maximum ({self.message})"
        lines = [f"{kind} after {self.iterations} iterations: J from {self.value_at_start:.8g} to {self.value:.8g}"]
        lines += [f"  {n}: from {np.ravel(u[0])[0]:.4g} to {np.ravel(u[-1])[0]:.4g}" for n, u in self.control.items()]
        way = f"costates by {self.derivatives}"
        lines.append(f"  residual {self.residual:.1e} ({way}), J of an adaptive run differs by {self.error:.1e}")
        return "\n".join(lines)


def solve_optimal(
    problem: Optimal,
    y0: Mapping[Any, npt.ArrayLike],
    params: Mapping[Any, Any],
    t_span: tuple[float, float] | None = None,
    *,
    intervals: int = 50,
    tolerance: float = 1e-6,
    iterations: int = 500,
    derivatives: str = "auto",
    backend: str = "numpy",
) -> OptimalRun:
    """A control that makes the objective of a problem as large as possible.

        max over u(t) of   Phi(y(T)) + int_0^T l(y, u) dt,        low <= u(t) <= high

    Parameters
    ----------
    problem : Optimal
        From `derive.optimal`.
    y0 : mapping symbol or name -> array
        The state at the beginning.
    params : mapping symbol or name -> array or number
        Values of all parameters; the value of a control, a number, an array or a function of time, is the first guess, by
        default the middle of its bounds.
    t_span : (t0, t1), optional
        From 0 to the horizon of the model's `Control` if None.
    intervals : int
        Straight pieces of the control.
    tolerance : float
        On the residual.
    iterations : int
        At most.
    derivatives : {"auto", "equations", "differences"}
        Costates by the derived equations, or by differences of the right-hand sides. "auto" takes the equations unless they are
        longer than 20,000 letters, as those of committees are: then differences are faster to compile.
    backend : str
        Of `codegen.compile`; "numba" pays for committees and many iterations.

    Raises
    ------
    InvalidSpec
        If a value is missing, the horizon is unknown, bounds cross, or the first guess does not stay finite.

    Examples
    --------
    The largest x(T) for d x / dt = u - x at a price u^2 / 2 has u = exp(t - T), worth (1 - exp(-2 T)) / 4:

    >>> from derive import Model, Rate, gradient_flow, optimal, scalars
    >>> x, u = scalars("x u")
    >>> flow = gradient_flow(Model(name="line", state=x, given=u, learn=Rate({x: u - x})))
    >>> run = solve_optimal(optimal(flow, u, x, running=-(u**2) / 2), {x: 0.0}, {u: 0.0}, (0, 2))
    >>> run.success, round(run.value, 4), round(float(run.control["u"][0]), 4)
    (True, 0.2454, 0.1353)
    """
    from scipy import optimize

    minimize: Any = optimize.minimize
    task = open_task(problem, y0, params, t_span, intervals, derivatives, backend)
    best = task.guess
    task = _refined(task, best)
    weights = task.worth.weights
    start, slope = task.worth.gradient(best)
    scale = max(float(np.abs(slope / weights).max()), _beside(task, best), 1e-300)
    unit = max(abs(start), float((np.abs(slope) * np.maximum(np.abs(best), 1.0)).sum()), 1e-300)
    root = np.sqrt(weights) * np.ones_like(best)  # with it the scalar product is the integral over time
    limits = np.stack([(task.low * root).ravel(), (task.high * root).ravel()], axis=1)
    options = {
        "maxiter": iterations, "maxfun": 20 * iterations, "ftol": 1e-16, "maxcor": 30,
        "gtol": tolerance * scale * float(root.min()) / unit,
    }  # fmt: skip
    steps, message = 0, ""
    for _ in range(4):
        found = minimize(
            _scaled(task.worth, start, unit, root), (best * root).ravel(), jac=True, method="L-BFGS-B", bounds=limits,
            options=options,
        )  # fmt: skip
        best = np.clip(found.x.reshape(best.shape) / root, task.low, task.high)
        steps, message = steps + int(found.nit), str(found.message)
        finer = _refined(task, best)
        if finer.worth.substeps == task.worth.substeps:
            break
        task = finer
    value, slope = task.worth.gradient(best)
    slope = slope / weights
    held = ((best <= task.low) & (slope < 0)) | ((best >= task.high) & (slope > 0))
    residual = float(np.abs(np.where(held, 0.0, slope)).max()) / scale
    path, seen = _along(task, best)
    shape = [task.course[n].shape for n in problem.controls]
    return OptimalRun(
        t=task.worth.t, control=_split(problem.controls, shape, best), slope=_split(problem.controls, shape, slope),
        costates=_costates(task, best), trajectory=path, value=value, value_at_start=start, residual=residual,
        error=abs(seen - value) / max(abs(value), abs(value - start), 1e-300),
        success=residual <= tolerance, message=message, iterations=steps,
        derivatives=task.way,
    )  # fmt: skip


def _scaled(worth: Worth, start: float, unit: float, root: Array) -> Callable[[Array], tuple[float, Array]]:
    """What is minimised, with its gradient, both of order one."""

    def objective(z: Array) -> tuple[float, Array]:
        j, g = worth.gradient(z.reshape(root.shape) / root)
        if not (math.isfinite(j) and np.isfinite(g).all()):
            return 1e6, np.zeros_like(z)  # a step of the line search that was too long: it is shortened
        return -(j - start) / unit, -(g / root).ravel() / unit

    return objective


def _refined(task: Task, u: Array) -> Task:
    """Steps so short that J of a control stays the same when they are halved."""
    worth = task.worth
    here = worth.value(u)
    while True:
        half = replace(worth, substeps=2 * worth.substeps)
        there = half.value(u)
        if math.isfinite(here) and abs(there - here) <= SAME * max(abs(there), 1e-12):
            return replace(task, worth=worth)
        if half.substeps * (len(worth.t) - 1) > STEPS:
            raise InvalidSpec(
                f"solve_optimal: {task.problem.system.name} does not stay finite or needs more than {STEPS} steps under the "
                "control it starts from; give another first guess among the parameters, bounds=, or a shorter horizon"
            )
        worth, here = half, there


def _beside(task: Task, u: Array) -> float:
    """Size of dH/du at a control beside this one: what a slope is compared with where the first guess is the best one."""
    away = 0.1 * np.maximum(np.abs(u), 1.0)
    moved = np.where(u + away <= task.high, u + away, np.maximum(u - away, task.low))
    slope = task.worth.gradient(moved)[1] / task.worth.weights
    return float(np.abs(slope).max()) if np.isfinite(slope).all() else 0.0


def _along(task: Task, u: Array) -> tuple[Trajectory, float]:
    """The run under a control with error control, and its J."""
    from codegen import compile

    problem, names = task.problem, task.problem.controls
    flow = problem.system
    counted = problem.running is not None
    gained = next(n for n in ("gained", *(f"gained{k}" for k in range(99))) if n not in flow.symbols)
    if counted:
        flow = flow.replace(name=flow.name, state=(*flow.state, Block(name=gained)), rhs={**flow.rhs, gained: problem.running})
    flow = flow.replace(parameters=(*problem.field.parameters, *(flow.block(n) for n in names)))
    kernel = compile(flow, backend=task.backend)
    wanted = [b.name for b in kernel.parameters]
    course = _split(names, [task.course[n].shape for n in names], u)
    moving = {n: Schedule(task.worth.t, course[n]) for n in names}
    span = (float(task.worth.t[0]), float(task.worth.t[-1]))
    path = integrate(
        kernel, {**task.first, **({gained: 0.0} if counted else {})},
        {**{n: v for n, v in task.known.items() if n in wanted}, **moving}, span, task.worth.t, rtol=1e-9,
    )  # fmt: skip
    if not path.status.good:
        return path, math.nan
    j = float(path.values[gained][-1]) if counted else 0.0
    if task.worth.end_value is not None:
        last = np.concatenate([np.ravel(path.values[b.name][-1]) for b in problem.system.state])
        j += float(task.worth.end_value(span[1], last)["objective"])
    return path, j


def _costates(task: Task, u: Array) -> dict[str, Array]:
    rows, out, at = task.worth.costates(u), {}, 0
    for b in task.problem.system.state:
        shape = np.shape(task.first[b.name])
        size = int(np.prod(shape))
        out[task.problem.costates[b.name]] = rows[:, at : at + size].reshape(len(rows), *shape)
        at += size
    return out


def _split(names: tuple[str, ...], shapes: list[tuple[int, ...]], u: Array) -> dict[str, Array]:
    out, at = {}, 0
    for n, shape in zip(names, shapes, strict=True):
        size = int(np.prod(shape[1:]))
        out[n] = u[:, at : at + size].reshape(shape)
        at += size
    return out


__all__ = ["OptimalRun", "solve_optimal"]
