"""Parameters that depend on time: a function of t, an expression in t, or values at given times.

    d y / dt = f(t, y; p_1, ..., eta(t), ...)

`Schedule(times, values)` is the piecewise linear function through its points, constant outside. No step of an integration goes
beyond the next of its points, and none is longer than a hundredth of the span for any other function of time, so that a pulse
is not stepped over. Imported by `numerics.integrate` and by users.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sympy as sp

from derive.errors import InvalidSpec, ShapeMismatch
from numerics.trajectory import Array

SHARE = 100  # steps over a span, at least, if a function of time is not a Schedule


@dataclass(frozen=True, slots=True, init=False, eq=False)
class Schedule:
    """Values at given times, joined by straight lines.

    Parameters
    ----------
    times : (n,)
        Increasing, n >= 2.
    values : (n,), or (n, ...) for an array

    Raises
    ------
    InvalidSpec
        If the times do not increase, or the number of values is another.

    Examples
    --------
    >>> ramp = Schedule([0, 1, 2], [1.0, 1.0, 0.0])
    >>> ramp(0.5), ramp(1.5), ramp(7.0)
    (1.0, 0.5, 0.0)
    """

    times: Array
    values: Array

    def __init__(self, times: npt.ArrayLike, values: npt.ArrayLike) -> None:
        at, what = np.asarray(times, dtype=float), np.asarray(values, dtype=float)
        if at.ndim != 1 or at.size < 2 or not np.isfinite(at).all() or (np.diff(at) <= 0).any():
            raise InvalidSpec(
                f"Schedule: times of shape {at.shape} must be two or more finite numbers that increase; sort them"
            )
        if what.shape[:1] != at.shape or not np.isfinite(what).all():
            raise InvalidSpec(
                f"Schedule: {at.size} times need finite values of shape ({at.size}, ...), found shape {what.shape}"
            )
        object.__setattr__(self, "times", at)
        object.__setattr__(self, "values", what)

    def __call__(self, t: float) -> Any:
        """Value at a time: a number, or an array."""
        if self.values.ndim == 1:
            return float(np.interp(t, self.times, self.values))
        at = float(np.clip(t, self.times[0], self.times[-1]))
        i = min(int(np.searchsorted(self.times, at, side="right")) - 1, self.times.size - 2)
        share = (at - self.times[i]) / (self.times[i + 1] - self.times[i])
        return (1 - share) * self.values[i] + share * self.values[i + 1]

    @property
    def spacing(self) -> float:
        """Smallest distance of two points."""
        return float(np.diff(self.times).min())


def split_controls(params: Mapping[Any, Any]) -> tuple[dict[Any, Any], dict[str, Callable[[float], Any]]]:
    """Parameters that stay, and those that are functions of time, by name.

    Raises
    ------
    InvalidSpec
        If an expression uses something that has no fixed value.
    """
    if not isinstance(params, Mapping):
        return params, {}
    fixed: dict[Any, Any] = {}
    moving: dict[str, Any] = {}
    for key, value in params.items():
        name = key if isinstance(key, str) else str(getattr(key, "name", key))
        if isinstance(value, Schedule) or (isinstance(value, sp.Basic) and value.free_symbols) or callable(value):
            moving[name] = value
        else:
            fixed[key] = value
    named = {k if isinstance(k, str) else str(getattr(k, "name", k)): v for k, v in fixed.items()}
    return fixed, {n: _expression(n, v, named) if isinstance(v, sp.Basic) else v for n, v in moving.items()}


def _expression(name: str, e: sp.Basic, known: Mapping[str, Any]) -> Callable[[float], Any]:
    from numerics.claims.expressions import value

    used = sorted(str(s.name) for s in e.free_symbols if hasattr(s, "name"))
    for other in used:
        if other != "t" and other not in known:
            raise InvalidSpec(f"parameter {name} = {e}: {other} has no fixed value; give one, or write it as a function of t")
    at = {n: known[n] for n in used if n != "t"}
    return lambda t: value(e, {**at, "t": t})


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A kernel with some parameters moving in time: the flat right-hand side and the observables at a time.

    Attributes
    ----------
    kernel, layout : as from `codegen`
    fixed : mapping name -> array
    moving : mapping name -> function of time
    """

    kernel: Any
    layout: Any
    fixed: Mapping[str, Any]
    moving: Mapping[str, Callable[[float], Any]]

    def args(self, t: float) -> list[Any]:
        """Arguments of the emitted functions at a time, shapes checked."""
        out = []
        for b in self.kernel.parameters:
            out.append(self.fixed[b.name] if b.name in self.fixed else sample(b.name, self.moving[b.name], t, len(b.shape)))
        return out

    def rhs(self, t: float, y: Array) -> Array:
        """f(t, y) on flat vectors."""
        rates = self.kernel.rhs(t, *self._state(y), *self.args(t))
        return np.concatenate([np.ravel(r) for r in rates]).astype(np.float64, copy=False)

    def observe(self, t: float, y: Array) -> dict[str, Any]:
        """Observables by name."""
        found = self.kernel.observables(t, *self._state(y), *self.args(t))
        return dict(zip(self.kernel.observable_names, found, strict=True))

    def _state(self, y: Array) -> list[Any]:
        parts = self.layout.unpack(np.ascontiguousarray(y, dtype=np.float64))
        return [parts[n] for n in self.layout.names]


def sample(name: str, control: Callable[[float], Any], t: float, axes: int) -> Any:
    """Value of a control at a time, as a kernel takes it.

    Raises
    ------
    ShapeMismatch
        If it has not as many axes as the parameter; the one message for every wrong shape over time.
    InvalidSpec
        If it is no finite real number.
    """
    raw = control(t)
    try:
        found = np.asarray(raw, dtype=np.float64, order="C")
    except (TypeError, ValueError):
        raise InvalidSpec(
            f"parameter {name} at t = {t:g} is {type(raw).__name__}, not made of real numbers; return numbers"
        ) from None
    if found.ndim != axes:
        want = "one number" if not axes else f"an array with {axes} axes"
        raise ShapeMismatch(f"parameter {name} at t = {t:g} has shape {found.shape}, the system takes {want}; return that")
    if not np.isfinite(found).all():
        raise InvalidSpec(f"parameter {name} at t = {t:g} is not finite; mend its function of time")
    return found if axes else float(found)


def drive(kernel: Any, layout_of: Callable[[Mapping[str, Any]], Any], fixed: Mapping[str, Any],
          moving: Mapping[str, Callable[[float], Any]], t0: float) -> Drive:  # fmt: skip
    """Check parameters, fixed and moving, against a kernel at t0, and bind them.

    Raises
    ------
    InvalidSpec, ShapeMismatch
        As `Kernel.arguments` and `sample`; sizes must agree with the state.
    """
    axes = {b.name: len(b.shape) for b in kernel.parameters}
    first = {n: sample(n, f, t0, axes.get(n, 0)) for n, f in moving.items()}
    layout = layout_of(first)
    args = dict(zip(axes, kernel.arguments({**fixed, **first}), strict=True))
    kernel.flat_rhs(layout, tuple(args.values()))  # compares the sizes of state and parameters
    return Drive(kernel=kernel, layout=layout, fixed={n: args[n] for n in axes if n not in moving}, moving=dict(moving))


def longest_step(moving: Mapping[str, Callable[[float], Any]], span: float, method: str) -> tuple[float, Array | None]:
    """No step may be longer than this, nor go beyond the next of these times; LSODA knows none and takes small steps."""
    schedules = [f for f in moving.values() if isinstance(f, Schedule)]
    longest = span / SHARE if len(schedules) < len(moving) else math.inf
    if not schedules:
        return longest, None
    if method == "LSODA":
        return min(longest, *(f.spacing for f in schedules)), None
    return longest, np.unique(np.concatenate([f.times for f in schedules]))


def refuse_arrays_over_time(kernel: Any, params: Mapping[str, Array]) -> None:
    """A number given as an array: the remedy for a course in time is named.

    Raises
    ------
    ShapeMismatch
    """
    for b in getattr(kernel, "parameters", ()):
        if not b.shape and b.name in params and np.ndim(params[b.name]):
            raise ShapeMismatch(
                f"parameter {b.name} is a number, but an array of shape {np.shape(params[b.name])} was given; give one number, "
                f"or Schedule(times, values) or a function of t for a course in time"
            )
