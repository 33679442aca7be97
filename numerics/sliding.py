"""Integration across jumps of the right-hand side at zeros of the state: crossing, or sliding along them (Filippov).

Between crossings the flow is smooth: every sgn(g_i) is held at s_i = 1 or -1 (step at 1 or 0) and the solver stops where an
entry reaches zero. There, with f+ and f- the rates of g_i on both sides,

    f+ > 0: on to the positive side       f- < 0: on to the negative side       f+ <= 0 <= f-: slide, g_i = 0,

and while it slides the held value is the one, between both sides, at which g_i rests: f(s_i) = 0, linear equations for all
sliding entries together. It leaves where this value reaches 1 or -1. If f- < 0 < f+ the way on is not unique: refused.
Imported by `numerics.integrate`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from derive.errors import UnsupportedNode
from numerics.status import Status
from numerics.steppers import Run
from numerics.tolerances import default_atol
from numerics.trajectory import Array

SLACK = 1e-9  # beyond the end of the sliding interval at which a state leaves it, so that rounding does not send it back
MOST = 10_000  # changes of side
Places: TypeAlias = Any  # array of integers


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The entries with jumps: their places in the flat state, and the arrays that hold the values of the jumps.

    Attributes
    ----------
    places : (m,) indices into the flat state
    rhs : callable(t, y, s) -> (n,)
        Rates with the held sides s, entries in [-1, 1].
    """

    places: Places
    rhs: Callable[[float, Array, Array], Array]


def sides_of(kernel: Any, layout: Any, params: Mapping[str, Any]) -> Sides:
    """Sides of a compiled system with a smooth branch."""
    branch, shapes = kernel.branch, dict(zip(layout.names, layout.shapes, strict=True))
    starts = dict(zip(layout.names, layout.offsets, strict=True))
    states = list(dict.fromkeys(j.state for j in kernel.jumps))
    sizes = {n: max(1, int(np.prod(shapes[n]))) for n in states}
    places = np.concatenate([np.arange(starts[n], starts[n] + sizes[n]) for n in states])
    cuts = dict(zip(states, np.cumsum([0, *(sizes[n] for n in states)])[:-1].tolist(), strict=True))
    order = [b.name for b in branch.parameters]
    fixed = {n: params[n] for n in order if n in params}
    blank = {j.held: np.zeros(shapes[j.state]) for j in kernel.jumps}
    args = list(branch.arguments({**fixed, **blank}))
    slots = [(order.index(j.held), j, cuts[j.state], sizes[j.state]) for j in kernel.jumps]
    unpack, pack = layout.unpack, layout.pack
    names = [b.name for b in branch.states]

    def rhs(t: float, y: Array, s: Array) -> Array:
        for slot, j, start, size in slots:
            held = s[start : start + size] if j.function == "sgn" else (1 + s[start : start + size]) / 2
            args[slot] = np.ascontiguousarray(held).reshape(shapes[j.state]) if shapes[j.state] else float(held[0])
        parts = unpack(y)
        found = branch.rhs(t, *(np.ascontiguousarray(parts[n]) if np.ndim(parts[n]) else parts[n] for n in names), *args)
        return np.asarray(pack(dict(zip(names, found, strict=True))), dtype=np.float64)

    return Sides(places=places, rhs=rhs)


def advance_across(
    kernel: Any, layout: Any, params: Mapping[str, Any], y0: Array, t_span: tuple[float, float], t_eval: Array | None,
    *, method: str, rtol: float, atol: Array | None, max_steps: int, time_limit: float,
) -> tuple[Run, int, tuple[tuple[float, int, int], ...]]:  # fmt: skip
    """Integrate a kernel with jumps; the run, the number of evaluations, and (time, place in the flat state, new side)."""
    sides = sides_of(kernel, layout, params)
    course = slide(sides, y0, t_span, t_eval, method=method, rtol=rtol, atol=atol, max_steps=max_steps, time_limit=time_limit)
    changes = tuple((t, int(sides.places[i]), side) for t, i, side in course.changes)
    return course.run, course.evaluations, changes


@dataclass(slots=True)
class Course:
    """The run, every change of side (time, entry, new side: 0 slides), and the number of evaluations."""

    run: Run
    changes: list[tuple[float, int, int]]
    evaluations: int = 0


def slide(
    sides: Sides, y0: Array, t_span: tuple[float, float], t_eval: Array | None, *, method: str, rtol: float,
    atol: Array | None, max_steps: int, time_limit: float,
) -> Course:  # fmt: skip
    """Integrate from crossing to crossing.

    Raises
    ------
    UnsupportedNode
        If the rates are not linear in the value of a jump on which the state slides, or the way on is not unique.
    """
    t, y, due = t_span[0], y0.copy(), 0
    course = Course(Run(where=t, method="DOP853" if method == "auto" else method), [])
    deadline = time.monotonic() + time_limit
    modes = _modes(sides, t, y, np.sign(y[sides.places]))
    while True:
        resting = np.flatnonzero(modes == 0)
        piece = _piece(sides, course, t, y, t_span[1], modes, resting, rtol, atol, deadline)
        if piece is None:
            return course
        end, y = float(piece.t[-1]), piece.y[:, -1].copy()
        due = _record(course.run, piece, t_eval, due)
        if piece.status == 0:
            return course
        if len(course.changes) > MOST or course.run.steps > max_steps:
            course.run.status = Status.STEP_LIMIT
            return course
        t, before = end, modes.copy()
        moving, left = np.flatnonzero(modes != 0), set()
        for k in (k for k, times in enumerate(piece.t_events) if times.size):
            if k < moving.size:
                y[sides.places[moving[k]]] = 0.0
                modes[moving[k]] = 0
            else:
                i = int(resting[k - moving.size])
                left.add(i)
                modes[i] = int(np.sign(_held(sides, t, y, before, resting)[i]))
        modes = _modes(sides, t, y, modes, left)
        course.changes += [(t, int(i), int(modes[i])) for i in np.flatnonzero(modes != before)]


def _piece(
    sides: Sides, course: Course, t: float, y: Array, end: float, modes: Places, resting: Places, rtol: float,
    atol: Array | None, deadline: float,
) -> Any:  # fmt: skip
    """The smooth run to the next change of side; None, with the status set, if it did not get there."""
    import scipy.integrate

    solve: Any = scipy.integrate.solve_ivp  # its stubs do not know a method that is chosen at run time

    def field(s: float, state: Array) -> Array:
        course.evaluations += 1
        if time.monotonic() > deadline:
            raise TimeoutError
        out = sides.rhs(s, state, _held(sides, s, state, modes, resting))
        out[sides.places[resting]] = 0.0
        return out

    tolerance = default_atol(field, t, y, rtol) if atol is None else atol
    try:
        found = solve(
            field, (t, end), y, method=course.run.method, rtol=rtol, atol=tolerance, events=_events(sides, modes, resting),
            dense_output=True,
        )  # fmt: skip
    except TimeoutError:
        course.run.status = Status.TIME_LIMIT
        return None
    finite = bool(np.isfinite(found.y[:, -1]).all())
    if found.status < 0 or not finite:
        course.run.status = Status.STIFF_LIMIT if finite else Status.NONFINITE
        return None
    course.run.steps += found.t.size - 1
    course.run.where = float(found.t[-1])
    return found


def _record(run: Run, piece: Any, t_eval: Array | None, due: int) -> int:
    """Append what is due of a smooth piece; returns the index of the next requested time."""
    if t_eval is None:
        first = 0 if not run.t else 1
        run.t.extend(float(v) for v in piece.t[first:])
        run.y.extend(piece.y.T[first:])
        return due
    until = int(np.searchsorted(t_eval, piece.t[-1], side="right" if piece.status == 0 else "left"))
    for v in t_eval[due:until]:
        run.t.append(float(v))
        run.y.append(piece.y[:, -1] if v == piece.t[-1] else piece.sol(v))
    return max(due, until)


def _modes(sides: Sides, t: float, y: Array, guess: Array, fixed: Collection[int] = ()) -> Places:
    """Side of every entry: its sign, and at zero the side (or none) to which the rates send it."""
    modes = np.asarray(guess, dtype=int).copy()
    open_ = [int(i) for i in np.flatnonzero(y[sides.places] == 0) if i not in fixed]
    for _ in range(2 + len(open_)):
        before = modes.copy()
        for i in open_:
            resting = np.array([k for k in open_ if modes[k] == 0 and k != i], dtype=int)
            plus, minus = (_rate(sides, t, y, modes, resting, i, side) for side in (1.0, -1.0))
            if plus > 0 > minus:
                raise UnsupportedNode(
                    f"entry {i} of the states with jumps is at zero, and the rates lead away from it on both sides "
                    f"({plus:.3g}, {minus:.3g}): the solution is not unique; start from a value that is not zero"
                )
            modes[i] = 1 if plus > 0 else -1 if minus < 0 else 0
        if (modes == before).all():
            return modes
    return modes


def _rate(sides: Sides, t: float, y: Array, modes: Places, resting: Places, i: int, side: float) -> float:
    trial = modes.astype(float)
    trial[i] = side
    s = _held(sides, t, y, trial, resting)
    return float(sides.rhs(t, y, s)[sides.places[i]])


def _held(sides: Sides, t: float, y: Array, modes: Places, resting: Places) -> Array:
    """Held values: the sides, and for sliding entries the values at which they rest."""
    s = np.asarray(modes, dtype=float).copy()
    if not resting.size:
        return s
    at = sides.places[resting]
    s[resting] = 0.0
    base = sides.rhs(t, y, s)[at]
    slopes = np.empty((resting.size, resting.size))
    for column, i in enumerate(resting):
        s[i] = 1.0
        above = sides.rhs(t, y, s)[at]
        s[i] = -1.0
        below = sides.rhs(t, y, s)[at]
        s[i] = 0.0
        slopes[:, column] = (above - below) / 2
        scale = np.abs(above).max() + np.abs(below).max() + np.abs(base).max()
        if np.abs(above + below - 2 * base).max() > 1e-9 * scale:  # rounding of rates of one size
            raise UnsupportedNode(
                "the rates are not linear in the value of a jump on which the state slides; write the penalty so that sgn(g) "
                "occurs once in every term"
            )
    s[resting] = np.linalg.lstsq(slopes, -base, rcond=None)[0]
    return s


def _events(sides: Sides, modes: Places, resting: Places) -> list[Callable[[float, Array], float]]:
    """Zeros of the moving entries, then ends of sliding; all stop the solver."""
    out: list[Any] = []
    for i in np.flatnonzero(modes != 0):

        def zero(t: float, y: Array, place: int = int(sides.places[i])) -> float:
            return float(y[place])

        zero.terminal, zero.direction = True, -float(modes[i])  # type: ignore[attr-defined]
        out.append(zero)
    for i in resting:

        def leaves(t: float, y: Array, i: int = int(i)) -> float:
            return float(1 + SLACK - abs(_held(sides, t, y, modes, resting)[i]))

        leaves.terminal, leaves.direction = True, -1.0  # type: ignore[attr-defined]
        out.append(leaves)
    return out
