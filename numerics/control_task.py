r"""A problem of optimal control with all its numbers: kernels, grid, bounds, first guess.

The first guess of a control is its value among the parameters: a number, an array, or a function of time; without one it is
the middle of its bounds. Derivatives come from the derived conditions if these are short, from differences otherwise.
Imported by `numerics.optimal_control`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.protocols.hamiltonians import resting
from derive.protocols.pontryagin import Optimal
from numerics.adjoint import Worth, by_differences, by_equations, slope
from numerics.claims.expressions import value as value_of
from numerics.integrate import checked_arrays
from numerics.trajectory import Array

LONG = 20_000  # letters of the costate equations from which they take longer to compile than differences to evaluate


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A problem with all its numbers."""

    problem: Optimal
    worth: Worth
    course: Mapping[str, Array]
    guess: Array
    low: Array
    high: Array
    known: Mapping[str, Any]
    first: Mapping[str, Array]
    way: str
    backend: str


def named(key: Any) -> str:
    return key if isinstance(key, str) else str(getattr(key, "name", key))


def open_task(problem: Optimal, y0: Mapping[Any, Any], params: Mapping[Any, Any], t_span: tuple[float, float] | None,
          intervals: int, derivatives: str, backend: str) -> Task:  # fmt: skip
    """Kernels and checked numbers."""
    from codegen import compile

    if not isinstance(problem, Optimal):
        raise InvalidSpec(f"solve_optimal: {type(problem).__name__} is no Optimal; pass derive.optimal(flow, ...)")
    if intervals < 2:
        raise InvalidSpec(f"intervals = {intervals}: a control over time needs two pieces at least")
    flow, names, way = problem.system, problem.controls, _way(problem, derivatives)
    given = {named(k): v for k, v in params.items()}
    known = checked_arrays({n: v for n, v in given.items() if n not in names}, "parameter")
    first = checked_arrays(y0, "initial value")
    _complete(problem, known, first)
    t = np.linspace(*_span(problem, known, t_span), intervals + 1)
    sides = {n: _sides(problem, n, known) for n in names}
    course = {n: _course(n, given.get(n), sides[n], t) for n in names}
    low, high = (np.hstack([np.full_like(_flat(c), sides[n][k]) for n, c in course.items()]) for k in (0, 1))
    guess = np.clip(np.hstack([_flat(c) for c in course.values()]), low, high)
    steered = tuple(problem.field.block(n) for n in names)
    still = {b.name: resting(flow, b) for b in steered}
    shown = {} if problem.running is None else {"running": problem.running}
    ahead = flow.replace(
        state=(*flow.state, *steered), rhs={**flow.rhs, **still}, parameters=problem.field.parameters, observables=shown
    )
    at = {**{b.name: first[b.name] for b in flow.state}, **{n: c[0] for n, c in course.items()}}
    forward, gain = _flat_pair(compile(ahead, backend=backend), at, known)
    start = np.concatenate([np.ravel(first[b.name]) for b in flow.state])
    if way == "equations":
        partners = {p: np.zeros_like(first[n]) for n, p in problem.costates.items()}
        back = by_equations(_flat_pair(compile(problem.field, backend=backend), {**at, **partners}, known)[0], len(start))
    else:
        back = by_differences(forward, gain, len(start))
    end, end_value = _ending(problem, way, {b.name: first[b.name] for b in flow.state}, known, backend)
    worth = Worth(t=t, substeps=1, start=start, forward=forward, gain=gain, back=back, end=end, end_value=end_value)
    return Task(
        problem=problem, worth=worth, course=course, guess=guess, low=low, high=high, known=known, first=first, way=way,
        backend=backend,
    )  # fmt: skip


def _way(problem: Optimal, derivatives: str) -> str:
    if derivatives not in ("auto", "equations", "differences"):
        raise InvalidSpec(f"derivatives = {derivatives!r}: choose one of auto, equations, differences")
    if derivatives != "auto":
        return derivatives
    size = sum(len(str(e)) for e in (*problem.rates.values(), *problem.slopes.values()))
    return "equations" if size <= LONG else "differences"


def _ending(
    problem: Optimal, way: str, state: Mapping[str, Array], known: Mapping[str, Array], backend: str
) -> tuple[Any, Any]:
    """dPhi/dy and Phi."""
    from codegen import compile

    if problem.end is None:
        return None, None
    if way == "equations":
        return _flat_pair(compile(problem.end, backend=backend), state, known)
    bare = problem.end.replace(rhs={b.name: resting(problem.system, b) for b in problem.end.state})
    _, value = _flat_pair(compile(bare, backend=backend), state, known)
    return lambda t, y: slope(lambda z: float(value(t, z)["objective"]), y), value


def _flat_pair(kernel: Any, state: Mapping[str, Array], known: Mapping[str, Array]) -> tuple[Any, Any]:
    """Rates and observables on flat vectors."""
    params = {b.name: known[b.name] for b in kernel.parameters if b.name in known}
    layout, args = kernel.layout({**params, **state}), kernel.arguments(params)
    return kernel.flat_rhs(layout, args), kernel.flat_observables(layout, args) if kernel.observable_names else None


def _flat(course: Array) -> Array:
    return course.reshape(len(course), -1)


def _complete(problem: Optimal, known: Mapping[str, Array], first: Mapping[str, Array]) -> None:
    """Every state has a value, and no value is for an unknown name."""
    flow = problem.system
    for b in flow.state:
        if b.name not in first:
            raise InvalidSpec(f"no initial value for {b.name}; the states are {', '.join(x.name for x in flow.state)}")
    sides = [s for pair in problem.bounds.values() for s in pair if s is not None]
    loose = [str(s) for e in (*sides, problem.horizon) if e is not None for s in getattr(e, "free_symbols", ())]
    sizes = [str(d) for b in (*flow.state, *problem.field.parameters) for d in b.shape]
    allowed = sorted({*(b.name for b in problem.field.parameters), *loose, *sizes, *flow.symbols})
    for n in known:
        if n not in allowed:
            raise InvalidSpec(f"params: {n} is no parameter of {flow.name}; it has {', '.join(allowed)}")


def _span(problem: Optimal, known: Mapping[str, Array], t_span: Any) -> tuple[float, float]:
    if t_span is None:
        if problem.horizon is None:
            raise InvalidSpec(
                "solve_optimal: the horizon is not known; give t_span=(0, T), or a Control with a horizon in the model"
            )
        t_span = (0.0, float(value_of(problem.horizon, known)))
    t0, t1 = (float(x) for x in t_span)
    if not (math.isfinite(t0) and math.isfinite(t1) and t0 < t1):
        raise InvalidSpec(f"t_span = ({t0:g}, {t1:g}): finite times with t0 < t1 are needed")
    return t0, t1


def _sides(problem: Optimal, name: str, known: Mapping[str, Array]) -> tuple[float, float]:
    low, high = problem.bounds[name]
    out = (
        -math.inf if low is None else float(value_of(low, known)),
        math.inf if high is None else float(value_of(high, known)),
    )
    if not out[0] <= out[1]:
        raise InvalidSpec(f"bounds of {name}: {out[0]:g} is not below {out[1]:g}; exchange them")
    return out


def _course(name: str, guess: Any, sides: tuple[float, float], t: Array) -> Array:
    """The first guess at the ends of the intervals."""
    if guess is None:
        if not (math.isfinite(sides[0]) and math.isfinite(sides[1])):
            raise InvalidSpec(
                f"solve_optimal: no first guess for {name}; give params={{{name!r}: value}}, or bounds on both sides"
            )
        guess = (sides[0] + sides[1]) / 2
    rows = [checked_arrays({name: guess(x) if callable(guess) else guess}, "first guess of")[name] for x in t]
    return np.stack(rows)


__all__ = ["Task", "named", "open_task"]
