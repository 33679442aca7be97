r"""Integration through the finite-time events at which vectors vanish, in the coordinates of their overlaps.

A vector V_k whose pull along its own direction does not fade as it shrinks reaches zero at a finite time t*, with
Q_kk = |V_k|^2 / N ~ (t* - t)^2. At t* the solver stops. With n = V_k / |V_k| any direction in the span of all vectors, the
state stays at V_k = 0 if every direction pushes back,

    n . dV_k/dt (V_k = delta n) < 0     for all n,

and then V_k = 0 is the solution (in the sense of Filippov): the overlaps of V_k are held at zero, Q_kk at a rounding of its
first value, and the others go on. The condition is looked at along every vector, along the push that V_k would feel without its
own pull, and again while it rests; where it fails, the run ends with the status "nonfinite" and names the vector.
Imported by `numerics.integrate`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from numerics.progress import Progress
from numerics.status import Status
from numerics.steppers import Run, advance
from numerics.trajectory import Array

FLOOR = 1e-12  # of the first |V|^2 at which a vector has vanished: what it still has to go is 1e-6 of its length
RESTS = 1e-24  # of the first |V|^2 that is left to a vector that rests, so that quotients of zeros stay quotients
SMALL = 1e-6  # relative length at which directions are tried
LOOKS = 8  # places of a run at which vectors that rest are looked at again
SLACK = 1e-9  # relative speed below which a push counts as none


@dataclass(slots=True)
class Vectors:
    """All vectors behind the overlaps of a system, and where their overlaps are in the flat state.

    Attributes
    ----------
    entries : (n, n) of int
        Place of the overlap of two vectors in the flat state, -1 if it is fixed.
    twins : (n, n) of int
        A second place of the same overlap (the other half of a Gram matrix), or the first again.
    fixed : (n, n)
        Values of the fixed overlaps.
    members : (m,) of int
        The vectors that may vanish.
    """

    entries: Any
    twins: Any
    fixed: Array
    members: Any

    def gram(self, y: Array) -> Array:
        """Joint Gram matrix at a state."""
        return np.where(self.entries >= 0, y[self.entries], self.fixed)

    def put(self, y: Array, k: int, row: Array, length2: float) -> Array:
        """The state with other overlaps of vector k, and another square of its length."""
        out = y.copy()
        for places in (self.entries[k], self.twins[k]):
            known = places >= 0
            out[places[known]] = row[known]
        out[self.entries[k, k]] = length2
        return out


def vectors_of(kernel: Any, layout: Any, params: Mapping[str, Any]) -> Vectors:
    """The vectors of a kernel that says which of them may vanish."""
    first = kernel.vanishing[0]
    starts = dict(zip(layout.names, layout.offsets, strict=True))
    shapes = dict(zip(layout.names, layout.shapes, strict=True)) | {n: np.shape(v) for n, v in params.items()}
    single = dict(first.families)
    sizes: dict[str, int] = {}
    for name, a, b in first.overlaps:
        axes = [f for f in (a, b) if not single[f]]
        sizes |= dict(zip(axes, shapes[name], strict=True)) | {f: 1 for f in (a, b) if single[f]}
    edges = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
    count = sum(sizes.values())
    entries, fixed = np.full((count, count), -1), np.zeros((count, count))
    twins = entries.copy()
    for name, a, b in first.overlaps:
        rows, cols = (slice(edges[f], edges[f] + sizes[f]) for f in (a, b))
        shape = (sizes[a], sizes[b])
        if name in starts:
            places = starts[name] + np.arange(sizes[a] * sizes[b]).reshape(shape)
            entries[rows, cols] = places
            twins[rows, cols] = places.T if a == b else places
            entries[cols, rows] = places.T if a != b else places
            twins[cols, rows] = places.T
        else:
            fixed[rows, cols] = np.reshape(params[name], shape)
            fixed[cols, rows] = fixed[rows, cols].T
    members = [k for v in kernel.vanishing for k in range(edges[v.family], edges[v.family] + sizes[v.family])]
    return Vectors(entries=entries, twins=twins, fixed=fixed, members=np.array(members))


@dataclass(slots=True)
class Held:
    """The right-hand side with vectors that rest at zero.

    Attributes
    ----------
    f : callable(t, y)
    vectors : Vectors
    first : mapping vector -> first square of its length
    resting : the vectors at rest
    fading : vectors that become small without vanishing
    """

    f: Any
    vectors: Vectors
    first: dict[int, float]
    resting: list[int]
    fading: list[int]

    def place(self, k: int) -> int:
        """Place of |V_k|^2 / N in the flat state."""
        return int(self.vectors.entries[k, k])

    def rates(self, t: float, y: Array, free: int = -1) -> Array:
        """Rates in which vectors at rest stay there, one of them excepted."""
        y = y.copy()
        for k, q in self.first.items():
            y[self.place(k)] = max(y[self.place(k)], RESTS * q)
        out = np.array(self.f(t, y), dtype=float)
        for k in self.resting:
            if k != free:
                for places in (self.vectors.entries[k], self.vectors.twins[k]):
                    out[places[places >= 0]] = 0.0
        return out

    def reached(self, t: float, y: Array) -> float:
        """Not negative once a vector has vanished."""
        watched = [k for k in self.first if k not in self.resting and k not in self.fading]
        return float(max((FLOOR - y[self.place(k)] / self.first[k] for k in watched), default=-1.0))

    def fades(self, t: float, y: Array, k: int) -> bool:
        """Whether the pull on V_k falls with its length, so that it takes for ever to vanish."""
        nothing, at = np.zeros(len(self.vectors.entries)), self.place(k)
        speeds = []
        for delta in (SMALL * self.first[k] ** 0.5, SMALL / 10 * self.first[k] ** 0.5):
            speeds.append(self.rates(t, self.vectors.put(y, k, nothing, delta**2), free=k)[at] / (2 * delta))
        return bool(abs(speeds[1]) < 0.5 * abs(speeds[0]))

    def pushed_back(self, t: float, y: Array, k: int) -> bool:
        """Whether V_k = delta n is pushed towards zero for every direction n that is tried."""
        vectors, at = self.vectors, self.place(k)
        delta, nothing = SMALL * self.first[k] ** 0.5, np.zeros(len(vectors.entries))
        gram = vectors.gram(y)
        known = [j for j in range(len(gram)) if j != k and gram[j, j] > FLOOR * max(self.first.values())]
        inner = gram[np.ix_(known, known)]
        push = self.rates(t, vectors.put(y, k, nothing, delta**2), free=k)
        row = vectors.entries[k]
        along = np.array([push[row[j]] if row[j] >= 0 else 0.0 for j in known])
        tries = [np.linalg.pinv(inner, rcond=1e-10) @ along, *np.eye(len(known))]
        speeds = [push[at] / (2 * delta)]
        for c in (sign * c for c in tries for sign in (1.0, -1.0)):
            length2 = float(c @ inner @ c)
            if length2 > 0:
                other = nothing.copy()
                other[known] = delta * (inner @ c) / length2**0.5
                speeds.append(self.rates(t, vectors.put(y, k, other, delta**2), free=k)[at] / (2 * delta))
        return bool(max(speeds) < -SLACK * float(np.abs(speeds).max()))


def advance_through(
    kernel: Any, layout: Any, params: Mapping[str, Any], f: Any, y0: Array, t_span: tuple[float, float], t_eval: Array | None,
    *, method: str, rtol: float, atol: Array, max_steps: int, time_limit: float, progress: Progress,
) -> tuple[Run, int, tuple[tuple[float, int], ...]]:  # fmt: skip
    """Integrate from event to event; the run, the number of evaluations, and (time, place of |V_k|^2 / N) of every event."""
    vectors = vectors_of(kernel, layout, params)
    size = float(np.abs(vectors.gram(y0)).max())
    held = Held(f, vectors, {int(k): float(y0[vectors.entries[k, k]]) or size for k in vectors.members}, [], [])
    events: list[tuple[float, int]] = []
    fine, started = atol.copy(), False
    for k, q in held.first.items():  # an error e of |V|^2 near its zero is one of e^(1/2) in the time of the event
        fine[held.place(k)] = min(fine[held.place(k)], FLOOR * q)
    deadline, t, y, total, whole = time.monotonic() + time_limit, t_span[0], y0.copy(), 0, Run(where=t_span[0])
    while True:
        due = t_eval if t_eval is None or not started else t_eval[t_eval > t]
        run, evaluations = advance(
            held.rates, y, (t, t_span[1]), due, method=method, rtol=rtol, atol=fine, max_steps=max_steps - whole.steps,
            time_limit=max(deadline - time.monotonic(), 1e-3), progress=progress, stop=held.reached,
        )  # fmt: skip
        total += evaluations
        y = np.array(run.y[-1]) if run.y else y
        if run.stopped is not None and t_eval is not None and run.stopped not in t_eval:
            del run.t[-1], run.y[-1]  # it was recorded because the piece ends there
        _join(whole, run)
        lost = _lost(held, run)
        if lost is None and run.stopped is not None:
            t = run.stopped
            small = [k for k, q in held.first.items() if y[held.place(k)] <= FLOOR * q * (1 + SMALL)]
            gone = [k for k in small if k not in held.resting and k not in held.fading]
            held.fading += [k for k in gone if held.fades(t, y, k)]
            gone = [k for k in gone if k not in held.fading]
            for k in gone:
                y = vectors.put(y, k, np.zeros(len(vectors.entries)), RESTS * held.first[k])
                held.resting.append(k)
                events.append((t, held.place(k)))
            started = True
            lost = next(((t, held.place(k)) for k in gone if not held.pushed_back(t, y, k)), None)
        if lost is not None:
            whole.status, whole.where, whole.component = Status.NONFINITE, *lost
        if lost is not None or run.stopped is None or t >= t_span[1] or whole.steps >= max_steps:
            return whole, total, tuple(events)


def _lost(held: Held, run: Run) -> tuple[float, int] | None:
    """The first place of a run, out of a few, at which a vector at rest is no longer pushed back."""
    if not held.resting or not run.y:
        return None
    for n in np.unique(np.linspace(0, len(run.y) - 1, LOOKS).astype(int)):
        for k in held.resting:
            if not held.pushed_back(run.t[n], run.y[n], k):
                return run.t[n], held.place(k)
    return None


def _join(whole: Run, run: Run) -> None:
    """Append a piece to a run."""
    repeated = bool(whole.t and run.t and whole.t[-1] == run.t[0])
    whole.t += run.t[repeated:]
    whole.y += run.y[repeated:]
    whole.status, whole.where, whole.component = run.status, run.where, run.component
    whole.steps += run.steps
    whole.method = whole.method if run.method in whole.method and whole.method else run.method
    whole.switched = whole.switched if whole.switched is not None else run.switched
