"""`follow`: a protocol from end to end. Phase after phase is integrated, and the state is handed over.

    z_0 -> [phase 1, t_0 .. t_1] -> events -> [phase 2, t_1 .. t_2] -> ...,      t is global, it does not restart

Systems that are equal are compiled once. Deleted entries are NaN in the arrays of the whole path; the phases themselves, with
arrays of their own size, are its ``segments``. Imported by users, by claims and by commands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from derive.errors import InvalidSpec, UnsupportedNode
from derive.protocols.courses import Course, Cut, Jump, Stretch
from derive.spec.tree import names
from derive.system import Flow
from numerics.controls import sample, split_controls
from numerics.integrate import checked_arrays, integrate
from numerics.progress import Progress, throttled
from numerics.protocol_state import Held, choose_places, cut, dimension_size, hand_over, lowered_value
from numerics.status import Status
from numerics.trajectory import Array, Switch, Trajectory


def follow(
    course: Course,
    y0: Mapping[Any, npt.ArrayLike],
    params: Mapping[Any, Any],
    t_eval: npt.ArrayLike | None = None,
    *,
    records: int = 41,
    closed: bool = False,
    dropped: Sequence[Sequence[int]] | None = None,
    seed: int = 0,
    backend: str = "numba",
    method: str = "auto",
    rtol: float = 1e-8,
    progress: Progress | None = None,
) -> Trajectory:
    """Run a course from a start.

    Parameters
    ----------
    course : Course
        From `derive.course`.
    y0 : mapping symbol or name -> array
        State at t = 0, in the coordinates of the course's systems.
    params : mapping symbol or name -> array, number or function of t
        Given symbols that the phases do not bind, thresholds and lengths among them; bound data of the model are known.
    t_eval : (T,), optional
        Times at which to record, besides both ends of every phase; ``records`` equidistant ones per phase if None.
    closed : bool
        Evaluate the closed form of every phase, started from the state handed over, in place of integrating.
    dropped : one sequence of places per `Drop`, optional
        Which entries are deleted, counted among those present; random ones by ``seed`` if None.

    Returns
    -------
    Trajectory
        With ``switches`` and ``segments``, and ``dropped``, the places that were deleted. If a phase ends early, the part that
        was reached, with its status.

    Raises
    ------
    InvalidSpec
        If a value is missing or unknown, or a length is not positive.
    NotInvariant, UnsupportedNode
        If an event leaves the manifold of the course's ansatz.
    NoClosedForm
        With ``closed``, if a phase has none.

    Examples
    --------
    >>> from derive import Event, Model, Phase, Rate, scalars
    >>> from derive.protocols.courses import course
    >>> u, s = scalars("u s")
    >>> steps = (Phase(30, bind={s: 2}), Event({u: u / 4}), Phase(30, bind={s: 5}, until=u > 3))
    >>> path = follow(course(Model(name="m", state=u, given=s, learn=Rate({u: s - u}), protocol=steps)), {u: 0.0}, {})
    >>> [(round(x.t, 6), x.label) for x in path.switches]
    [(30.0, 'u -> u/4, s = 5')]
    >>> round(float(path.t[-1] - 30), 6), round(float(path.segments[1].values["u"][0]), 6)  # log(4.5 / 2)
    (0.81093, 0.5)
    """
    if not isinstance(course, Course):
        raise InvalidSpec(f"follow: {type(course).__name__} is no Course; pass derive.course(model)")
    if isinstance(course.parts[-1], Jump | Cut):
        raise InvalidSpec(
            f"{course.model.name}: nothing follows the last event ({course.parts[-1].label}); add a Phase after it"
        )
    if records < 2:
        raise InvalidSpec(f"records = {records}: at least 2 are needed, the ends of every phase")
    if dropped is not None and len(dropped) != len(course.cuts):
        raise InvalidSpec(
            f"dropped holds {len(dropped)} sequences, the protocol has {len(course.cuts)} Drop; give one for each"
        )
    held = _start(course, y0, params)
    original = {d: len(places) for d, places in held.alive.items()}
    run = _Run(
        course=course, backend=backend, method=method, rtol=rtol, closed=closed, original=original, show=throttled(progress)
    )
    times = None if t_eval is None else np.unique(np.asarray(t_eval, dtype=float))
    before: Stretch | None = None
    bound: dict[str, Any] = {}
    events: list[tuple[Jump | Cut, Any]] = []
    cuts = 0
    for part in course.parts:
        if isinstance(part, Stretch):
            later = _bound(course, part, held)
            held = hand_over(course, before, held, events, part, bound, later)
            run.phase(part, held, _bound(course, part, held), times, records, events)
            last = run.segments[-1]
            if not last.status.good:
                break
            held = replace(held, state=last.at(-1), t=float(last.t[-1]))
            before, bound, events = part, later, []
        elif isinstance(part, Jump):
            events.append((part, None))
        else:
            events.append((part, _places(course, part, cuts, dropped, seed)))
            cuts += 1
    return run.path(held)


@dataclass(slots=True)
class _Places:
    """Places of one deletion, chosen when its turn comes, and remembered."""

    course: Course
    part: Cut
    number: int
    given: Sequence[int] | None
    seed: int
    made: list[int] = field(default_factory=list)

    def __call__(self, held: Held) -> Array:
        places = choose_places(self.course, held, self.part, self.given, self.seed, self.number)
        self.made = [int(p) for p in places]
        return places


def _places(course: Course, part: Cut, number: int, dropped: Sequence[Sequence[int]] | None, seed: int) -> _Places:
    return _Places(course, part, number, None if dropped is None else dropped[number], seed)


def _named(key: Any) -> str:
    return key if isinstance(key, str) else str(getattr(key, "name", key))


def _start(course: Course, y0: Mapping[Any, Any], params: Mapping[Any, Any], *, need: bool = True) -> Held:
    """Checked numbers at t = 0; without ``need`` the state may be missing."""
    if not isinstance(params, Mapping):
        raise InvalidSpec(f"params: a mapping symbol -> value is needed, found {type(params).__name__}")
    low, allowed = course.model.lowered, course_symbols(course)
    own = {_named(k): v for k, v in params.items()}
    for name in own:
        if name not in allowed:
            raise InvalidSpec(f"params: {name} is no given symbol of {low.name}; it has {', '.join(allowed)}")
    known = {**{n: v for n, v in course.model.values.items() if n in allowed}, **own}
    still, moving = split_controls(known)
    numbers = {n: int(v) if n in low.dims else v for n, v in checked_arrays(still, "parameter").items()}
    held = Held(state=checked_arrays(y0, "initial value"), known={**numbers, **moving})
    first = course.stretches[0].system
    missing = [b.name for b in first.state if b.name not in held.state]
    if not need:
        return replace(held, alive={c.dimension: np.arange(0) for c in course.cuts})
    if missing:
        raise InvalidSpec(f"no initial value for {missing[0]}; the course moves {', '.join(b.name for b in first.state)}")
    lengths = {d: dimension_size(course, held, d) for d in dict.fromkeys(c.dimension for c in course.cuts)}
    return replace(held, alive={d: np.arange(n) for d, n in lengths.items()})


def course_symbols(course: Course) -> tuple[str, ...]:
    """Names that `follow` takes as parameters, sorted: given symbols, averages, sizes, and parameters of the systems."""
    low = course.model.lowered
    found = {*low.given, *low.dims, *(n for n, r in low.roles.items() if r == "moment")}
    for s in course.stretches:
        found |= {b.name for b in (*s.flow.parameters, *s.system.parameters)}
    return tuple(sorted(found))


def phase_values(course: Course, path: Trajectory | None, params: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Values of given symbols in every phase of a path, bindings and deletions included; without one, at the first phase.

    Raises
    ------
    InvalidSpec
        As `follow`.
    """
    held = _start(course, {}, params, need=False)
    out: list[dict[str, Any]] = []
    dropped = iter(path.dropped if path is not None else ())
    for part in course.parts:
        if isinstance(part, Stretch):
            out.append({**held.known, **_bound(course, part, held)})
            if path is None:
                break
        elif isinstance(part, Cut) and path is not None:
            held = cut(course, held, part, next(dropped))
    return tuple(out)


def _bound(course: Course, part: Stretch, held: Held) -> dict[str, Any]:
    """Values that a phase binds: numbers, arrays, and functions of time."""
    low = course.model.lowered
    still = replace(held, state={})
    out: dict[str, Any] = {}
    for name, tree in part.binds:
        if "t" in names(low.inline(tree)):
            out[name] = _control(course, tree, still)
        elif isinstance(tree, str) and callable(held.known.get(tree)):
            out[name] = held.known[tree]
        else:
            out[name] = np.asarray(lowered_value(low, tree, still), dtype=float)
    return out


def _control(course: Course, tree: Any, held: Held) -> Callable[[float], Any]:
    return lambda t: lowered_value(course.model.lowered, tree, held, t)


@dataclass(slots=True, kw_only=True)
class _Run:
    """The phases done so far, and how to do the next one."""

    course: Course
    backend: str
    method: str
    rtol: float
    closed: bool
    original: Mapping[str, int]
    show: Progress
    kernels: dict[int, Any] = field(default_factory=dict)
    forms: dict[int, Any] = field(default_factory=dict)
    segments: list[Trajectory] = field(default_factory=list)
    padded: list[dict[str, Array]] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)

    def phase(self, part: Stretch, held: Held, bound: Mapping[str, Any], times: Array | None, records: int,
              events: Sequence[tuple[Jump | Cut, Any]]) -> None:  # fmt: skip
        """Integrate one phase from the numbers at its beginning."""
        length = float(lowered_value(self.course.model.lowered, part.length, replace(held, state={})))
        if not (math.isfinite(length) and length > 0):
            raise InvalidSpec(f"{self.course.model.name}, {part.label}: the length {length:g} is no positive number")
        if self.segments or events:
            words = [e.label for e, _ in events]
            words += [part.label] if not (words and part.label.startswith("phase ")) else []
            places = tuple(tuple(chosen.made) for _, chosen in events if chosen is not None)
            self.switches.append(Switch(t=held.t, label=", ".join(words), dropped=places))
        span = (held.t, held.t + length)
        slack = 1e-9 * length  # times that are ends of phases up to rounding are those ends
        inside = np.linspace(*span, records) if times is None else times[(times > span[0] + slack) & (times < span[1] - slack)]
        at = np.unique(np.concatenate([[span[0]], inside, [span[1]]]))
        values = {**held.known, **bound}
        params = self._parameters(part, values, held.t)
        self.show(len(self.segments) / len(self.course.stretches), part.label)
        if self.closed:
            segment = self._solved(part, held, params, at)
        else:
            kernel = self.kernel(part.system)
            wanted = {b.name for b in kernel.parameters}
            segment = integrate(
                kernel, held.state, {n: v for n, v in params.items() if n in wanted}, span, at,
                until=_condition(kernel, part.until, params) if part.until else None, method=self.method, rtol=self.rtol,
            )  # fmt: skip
        self.segments.append(segment)
        blocks = [b for b in part.system.state if b.name in segment.values]
        self.padded.append({b.name: pad(segment.values[b.name], b.shape, held.alive, self.original) for b in blocks})

    def kernel(self, system: Flow) -> Any:
        """One kernel for each distinct system."""
        from codegen import compile

        if id(system) not in self.kernels:
            self.kernels[id(system)] = compile(system, backend=self.backend)
        return self.kernels[id(system)]

    def _parameters(self, part: Stretch, values: Mapping[str, Any], t0: float) -> dict[str, Any]:
        """Values of what the system calls its parameters."""
        blocks = {b.name: len(b.shape) for b in part.system.parameters}
        if part.reduction is None:
            return {n: _axes(v, blocks.get(n)) for n, v in values.items()}
        if part.reduction.parameters_from is None:
            raise UnsupportedNode(f"{part.system.name} has no numerical parameters; run the course without the ansatz")
        moving = {n: v for n, v in values.items() if callable(v)}
        made = [part.reduction.parameters_from({**values, **{n: f(t) for n, f in moving.items()}}) for t in (t0, t0 + 1.0)]
        for name, value in made[0].items():
            if name not in moving and not np.array_equal(value, made[1][name]):
                raise UnsupportedNode(
                    f"{part.system.name}: its parameter {name} follows {', '.join(moving)} in time; run the course without the "
                    "ansatz"
                )
        return {n: _axes(v, blocks.get(n)) for n, v in {**values, **made[0], **moving}.items()}

    def _solved(self, part: Stretch, held: Held, params: Mapping[str, Any], at: Array) -> Trajectory:
        """The closed form of one phase."""
        from derive.solutions.solve import closed_form

        if part.until or any(callable(params.get(b.name)) for b in part.system.parameters):
            raise UnsupportedNode(
                f"{part.label}: a phase with a condition or a parameter that moves in time has no closed form; leave out closed"
            )
        if id(part.system) not in self.forms:
            self.forms[id(part.system)] = closed_form(part.system)
        form = self.forms[id(part.system)]
        found = form.evaluate(at - at[0], dict(held.state), {n: v for n, v in params.items() if not callable(v)})
        values = {b.name: np.asarray(found[b.name]).reshape(len(at), *np.shape(held.state[b.name])) for b in part.system.state}
        kernel = self.kernel(part.system)
        given = {b.name: params[b.name] for b in kernel.parameters}
        layout = kernel.layout({**held.state})
        look = kernel.flat_observables(layout, kernel.arguments(given)) if kernel.observable_names else None
        rows = [look(t, layout.pack({n: a[i] for n, a in values.items()})) for i, t in enumerate(at)] if look else []
        seen = {n: np.array([row[n] for row in rows], dtype=float) for n in kernel.observable_names}
        statistics = {"steps": 0, "evaluations": 0, "method": f"closed form ({form.kind})", "rtol": 0.0, "stopped": None}
        return Trajectory(t=at, values=values, status=Status.OK, observables=seen, parameters=given,
                          statistics=statistics, name=part.system.name)  # fmt: skip

    def path(self, held: Held) -> Trajectory:
        """All phases as one trajectory."""
        last, low = self.segments[-1], self.course.model.lowered
        shown = [n for n in self.segments[0].observables if all(n in s.observables for s in self.segments)]
        shown = [n for n in shown if n not in [s.until for s in self.course.stretches]]
        total = {k: sum(s.statistics[k] for s in self.segments) for k in ("steps", "evaluations")}
        statistics = {
            **last.statistics, **total, "method": ", ".join(dict.fromkeys(s.statistics["method"] for s in self.segments)),
            "kernels": len(self.kernels),
        }  # fmt: skip
        return Trajectory(
            t=np.concatenate([s.t for s in self.segments]),
            values={n: np.concatenate([p[n] for p in self.padded]) for n in self.padded[0]},
            status=last.status,
            detail=last.detail,
            observables={n: np.concatenate([s.observables[n] for s in self.segments]) for n in shown},
            parameters={n: v for n, v in held.known.items() if not callable(v) and n not in low.dims},
            statistics=statistics,
            name=self.course.model.name,
            switches=tuple(self.switches),
            segments=tuple(self.segments),
        )


def _axes(value: Any, axes: int | None) -> Any:
    """A column of the model as the one axis that an index-level system has."""
    if axes is None or callable(value):
        return value if axes is None else _squeezed(value, axes)
    array = np.asarray(value, dtype=float)
    return array[:, 0] if array.ndim == 2 and axes == 1 and array.shape[1] == 1 else array


def _squeezed(control: Callable[[float], Any], axes: int) -> Callable[[float], Any]:
    return control if axes != 1 else lambda t: np.reshape(control(t), -1)


def _condition(kernel: Any, name: str, params: Mapping[str, Any]) -> Callable[[float, dict[str, Any]], float]:
    """The observable that ends a phase, as a function of time and state."""
    place = kernel.observable_names.index(name)
    moving = {b.name: params[b.name] for b in kernel.parameters if callable(params[b.name])}
    args = kernel.arguments({b.name: sample(b.name, moving[b.name], 0.0, len(b.shape)) if b.name in moving else params[b.name]
                             for b in kernel.parameters})  # fmt: skip

    def gap(t: float, state: dict[str, Any]) -> float:
        now = [sample(b.name, moving[b.name], t, len(b.shape)) if b.name in moving else a
               for b, a in zip(kernel.parameters, args, strict=True)]  # fmt: skip
        found = kernel.observables(
            t, *(np.ascontiguousarray(state[b.name]) if b.shape else state[b.name] for b in kernel.states), *now
        )
        return float(found[place])

    return gap


def pad(array: Array, shape: Sequence[Any], alive: Mapping[str, Any], original: Mapping[str, int]) -> Array:
    """An array (T, ...) at the places that its entries had at t = 0; deleted ones are NaN.

    >>> pad(np.ones((1, 2)), ("K",), {"K": np.array([0, 2])}, {"K": 3}).tolist()
    [[1.0, nan, 1.0]]
    """
    if not any(s in alive for s in shape if isinstance(s, str)):
        return np.asarray(array, dtype=float)
    sizes = [original[s] if isinstance(s, str) and s in alive else n for n, s in zip(array.shape[1:], shape, strict=True)]
    kept = [alive[s] if isinstance(s, str) and s in alive else np.arange(n) for n, s in zip(sizes, shape, strict=True)]
    out = np.full((len(array), *sizes), np.nan)
    out[np.ix_(np.arange(len(array)), *kept)] = array
    return out
