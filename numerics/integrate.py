"""Integration of a compiled system:  d state / dt = rhs(t, state, parameters),  from one state to a `Trajectory`.

Checks every input by symbol and index, chooses tolerances that do not lose a small start (`numerics.tolerances`), runs the
time loop (`numerics.steppers`) and unpacks. A run that ends early is returned, never raised: look at ``trajectory.status``.
Imported by users, validation and commands.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from derive.errors import InvalidSpec, ShapeMismatch
from numerics.controls import drive, longest_step, refuse_arrays_over_time, sample, split_controls
from numerics.progress import Progress, throttled
from numerics.sliding import advance_across
from numerics.steppers import METHODS, Condition, Run, advance
from numerics.tolerances import default_atol
from numerics.trajectory import Array, Trajectory
from numerics.vanishing import advance_through


def integrate(
    kernel: Any,
    y0: Mapping[Any, npt.ArrayLike],
    params: Mapping[Any, Any],
    t_span: tuple[float, float],
    t_eval: npt.ArrayLike | None = None,
    *,
    until: Callable[[float, dict[str, Any]], float] | None = None,
    method: str = "auto",
    rtol: float = 1e-8,
    atol: float | None = None,
    max_steps: int = 200_000,
    time_limit: float = math.inf,
    progress: Progress | None = None,
) -> Trajectory:
    """Integrate a kernel from ``y0`` over ``t_span``.

    Parameters
    ----------
    kernel : Kernel
        From `codegen.compile`.
    y0, params : mapping symbol or name -> array
        Initial state and parameters; a parameter may be a function of t, a SymPy expression in `derive.t`, or a `Schedule`.
    t_span : (t0, t1)
        t0 < t1.
    t_eval : (T,), optional
        Increasing times within ``t_span``; every accepted step if None.
    until : callable(t, state by name) -> float, optional
        The run ends at the first time at which it is >= 0 (``statistics["stopped"]``); that state is always recorded.
    method : {"auto", "DOP853", "RK45", "Radau", "BDF", "LSODA"}
        "auto" starts with DOP853 and goes over to Radau (BDF for many states) on evidence of stiffness.
    rtol : float
        Relative tolerance per step.
    atol : float, optional
        Absolute tolerance; from the initial state if None, see `numerics.tolerances`.
    max_steps, time_limit : int, float
        Limits on accepted steps and on wall-clock seconds.
    progress : callable(fraction, message), optional

    Returns
    -------
    Trajectory
        With ``status`` ok, blowup, nonfinite, stiff_limit, step_limit, time_limit or interrupted; if it is not ok, the part
        that was reached.

    Raises
    ------
    InvalidSpec
        If a time, tolerance, method or value is not usable; NaN is named by symbol and index.
    ShapeMismatch
        If shapes do not fit, or the right-hand side does not return one number per state.
    """
    if not hasattr(kernel, "flat_rhs"):
        raise InvalidSpec(f"integrate: {type(kernel).__name__} is no Kernel; pass codegen.compile(system)")
    if getattr(kernel, "discrete", False):
        raise InvalidSpec(
            f"integrate: {kernel.name} is a recursion, no flow; follow it by iterate(kernel, start, params, steps)"
        )
    span, times = _times(t_span, t_eval)
    _settings(method, rtol, atol, max_steps, time_limit)
    start = checked_arrays(y0, "initial value")
    fixed, moving = split_controls(params)
    given = checked_arrays(fixed, "parameter")
    refuse_arrays_over_time(kernel, given)
    if moving:
        bound = drive(kernel, lambda first: kernel.layout({**given, **first, **start}), fixed, moving, span[0])
        layout, f = bound.layout, bound.rhs
        observe: Callable[[float, Array], Any] | None = bound.observe
    else:
        layout = kernel.layout({**given, **start})
        args = kernel.arguments({**fixed})
        f = kernel.flat_rhs(layout, args)
        observe = kernel.flat_observables(layout, args) if kernel.observable_names else None
    y = np.asarray(layout.pack(start), dtype=np.float64)
    _right_shape(f, span[0], y)
    tolerance = default_atol(f, span[0], y, rtol) if atol is None else np.full(y.shape, float(atol))
    clock = time.perf_counter()
    jumping: dict[str, Any] = {}
    if getattr(kernel, "branch", None) is not None:
        if moving or until is not None:
            raise InvalidSpec(
                f"{kernel.name} jumps at zeros of {kernel.jumps[0].state}: schedules and until= are not followed across jumps; "
                "integrate phase by phase with numbers as parameters"
            )
        run, evaluations, jumping["changes"] = advance_across(
            kernel, layout, given, y, span, times, method=method, rtol=rtol,
            atol=None if atol is None else tolerance, max_steps=max_steps, time_limit=time_limit,
        )  # fmt: skip
    elif getattr(kernel, "vanishing", ()) and not moving and until is None:
        run, evaluations, jumping["events"] = advance_through(
            kernel, layout, given, f, y, span, times, method=method, rtol=rtol, atol=tolerance,
            max_steps=max_steps, time_limit=time_limit, progress=throttled(progress),
        )  # fmt: skip
    else:
        longest, breaks = longest_step(moving, span[1] - span[0], method)
        run, evaluations = advance(
            f, y, span, times, method=method, rtol=rtol, atol=tolerance,
            max_steps=max_steps, time_limit=time_limit, progress=throttled(progress),
            max_step=longest, breaks=breaks, stop=_condition(until, layout),
        )  # fmt: skip
    states = np.array(run.y).reshape(len(run.t), y.size)
    statistics = {
        "steps": run.steps, "evaluations": evaluations, "seconds": time.perf_counter() - clock, "method": run.method,
        "rtol": rtol, "atol": float(tolerance.min()), "switched": run.switched, "stopped": run.stopped, **jumping,
    }  # fmt: skip
    courses = {n: np.array([sample(n, c, t, np.ndim(c(t))) for t in run.t]) for n, c in moving.items()}
    return Trajectory(
        t=np.array(run.t, dtype=np.float64),
        values=unpack_rows(layout, states),
        status=run.status,
        detail=_detail(run, layout, y.size),
        observables=_observables(kernel.observable_names, observe, run, states),
        parameters={**given, **courses},
        statistics=statistics,
        name=str(kernel.name),
    )


def checked_arrays(values: Mapping[Any, npt.ArrayLike], what: str) -> dict[str, Array]:
    """Values by name as float arrays.

    Raises
    ------
    InvalidSpec
        If an entry is not a finite real number: the message names symbol and index.
    """
    if not isinstance(values, Mapping):
        raise InvalidSpec(
            f"{what}s: a mapping symbol -> array is needed, found {type(values).__name__}; write {{symbol: array}}"
        )
    out = {}
    for symbol, value in values.items():
        name = symbol if isinstance(symbol, str) else str(getattr(symbol, "name", symbol))
        try:
            raw = np.asarray(value)
            if raw.dtype.kind == "c":
                raise InvalidSpec(
                    f"{what} {name}: complex numbers are not supported; pass real and imaginary parts as two symbols"
                )
            if raw.dtype.kind in "US":
                raise InvalidSpec(f"{what} {name}: real numbers are needed, found text; convert it with .astype(float)")
            array = np.asarray(raw, dtype=np.float64)
        except (TypeError, ValueError) as cause:
            raise InvalidSpec(
                f"{what} {name}: real numbers are needed, found {type(value).__name__} ({cause}); pass an array of floats"
            ) from None
        if array.size == 0:
            raise InvalidSpec(
                f"{what} {name}: its shape {array.shape} has no entries; give every dimension a size of 1 or more"
            )
        if not np.isfinite(array).all():
            at = [int(i) for i in np.argwhere(~np.isfinite(array))[0]]
            raise InvalidSpec(f"{what} {name}: entry {at} is {array[tuple(at)]}; every entry must be a finite number")
        out[name] = array
    return out


def unpack_rows(layout: Any, rows: Array) -> dict[str, Array]:
    """States as rows (T, n) to arrays by symbol, time first."""
    if not len(rows):
        return {}
    parts = [layout.unpack(row) for row in rows]
    return {name: np.array([part[name] for part in parts], dtype=np.float64) for name in parts[0]}


def _times(t_span: tuple[float, float], t_eval: npt.ArrayLike | None) -> tuple[tuple[float, float], Array | None]:
    try:
        t0, t1 = (float(t) for t in t_span)
    except (TypeError, ValueError):
        raise InvalidSpec(f"t_span: two numbers (t0, t1) are needed, found {t_span!r}") from None
    if not (math.isfinite(t0) and math.isfinite(t1) and t0 < t1):
        raise InvalidSpec(
            f"t_span = ({t0:g}, {t1:g}): finite times with t0 < t1 are needed; to go backwards change the sign of rhs"
        )
    if t_eval is None:
        return (t0, t1), None
    try:
        times = np.asarray(t_eval, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidSpec(f"t_eval: a list of times is needed, found {t_eval!r}") from None
    if times.ndim != 1 or not times.size:
        raise InvalidSpec(f"t_eval: a list of times is needed, found shape {times.shape}")
    outside = np.flatnonzero(~((times >= t0) & (times <= t1)))
    if outside.size:
        i = int(outside[0])
        raise InvalidSpec(f"t_eval: entry [{i}] = {times[i]:g} lies outside t_span = ({t0:g}, {t1:g}); widen t_span")
    if (np.diff(times) <= 0).any():
        i = int(np.flatnonzero(np.diff(times) <= 0)[0]) + 1
        raise InvalidSpec(f"t_eval: entry [{i}] = {times[i]:g} does not exceed the one before; sort the times")
    return (t0, t1), times


def _settings(method: str, rtol: float, atol: float | None, max_steps: int, time_limit: float) -> None:
    if method not in METHODS:
        raise InvalidSpec(f"method {method!r} is unknown; choose one of {', '.join(METHODS)}")
    for name, number in (("rtol", rtol), ("atol", atol), ("max_steps", max_steps), ("time_limit", time_limit)):
        if not isinstance(number, int | float | np.number) and not (name == "atol" and number is None):
            raise InvalidSpec(f"{name} = {number!r}: a number is needed; leave it out for the default")
    if not 1e-13 <= rtol < 1:
        raise InvalidSpec(f"rtol = {rtol:g}: a number from 1e-13 (round-off) to 1 is needed")
    if atol is not None and not (math.isfinite(atol) and atol > 0):
        raise InvalidSpec(f"atol = {atol:g}: a positive number is needed; leave it out to derive it from the initial state")
    if max_steps < 1:
        raise InvalidSpec(f"max_steps = {max_steps}: at least one step is needed")
    if not time_limit > 0:
        raise InvalidSpec(f"time_limit = {time_limit:g}: a positive number of seconds is needed")


def _right_shape(f: Any, t0: float, y: Array) -> None:
    """A scalar returned for several states would be broadcast in silence."""
    found = np.shape(f(t0, y))
    if found != y.shape:
        raise ShapeMismatch(f"the right-hand side returns shape {found} for a state of {y.size} numbers; return one per state")


def _detail(run: Run, layout: Any, size: int) -> str:
    if run.status.good:
        return ""
    if run.component is None:
        return f"t = {run.where:.6g}"
    return f"t = {run.where:.6g}, {component_name(layout, size, run.component)}"


def component_name(layout: Any, size: int, component: int) -> str:
    """Symbol and index of one entry of the flat state."""
    for name, part in layout.unpack(np.arange(size, dtype=np.float64)).items():
        at = np.argwhere(np.asarray(part) == component)
        if len(at):
            return f"{name}{[int(i) for i in at[0]]}" if len(at[0]) else str(name)
    return f"component {component}"


def _condition(until: Callable[[float, dict[str, Any]], float] | None, layout: Any) -> Condition | None:
    if until is None:
        return None
    if not callable(until):
        raise InvalidSpec(f"until: {type(until).__name__} is no function; write lambda t, state: state['u'] - 0.5")
    return lambda t, y: float(until(t, layout.unpack(y)))


def _observables(
    names: tuple[str, ...], observe: Callable[[float, Array], Any] | None, run: Run, states: Array
) -> dict[str, Array]:
    if observe is None:
        return {}
    with np.errstate(all="ignore"):
        rows = [observe(t, y) for t, y in zip(run.t, states, strict=True)]
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in names}
