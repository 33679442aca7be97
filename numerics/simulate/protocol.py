"""A protocol simulated from end to end: the learning rule of every phase on its own draws, the state handed over.

    phase:  round(length / dt) steps with the symbols of the phase bound, or fewer if its condition is reached
    event:  all new values at once, from the old ones;      drop: entries of a dimension leave every array that carries it

It reads the protocol of the plan by itself and shares no code with the systems derived from it. Time is global. Imported by
`numerics`; imports NumPy and this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .bind import bind_state, sizes_of
from .engine import SimulationResult
from .errors import BindingError, NotSimulable
from .interpret import Scope, evaluate
from .plan import Drop, Event, Phase, Plan, read_plan
from .stepping import Stepper, open_run
from .tape import Array, constant
from .trees import Tree, walk


def simulate_protocol(
    plan: Mapping[str, Any] | Plan,
    values: Mapping[str, Any],
    state: Mapping[str, Any],
    *,
    dt: float | None = None,
    records: int = 41,
    every: int | None = None,
    seed: int = 0,
    replicas: int = 1,
    dropped: Sequence[Sequence[int]] | None = None,
    observe: bool = True,
    mean_draws: int = 1000,
    open_law: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationResult:
    """Run the protocol of a plan.

    Parameters
    ----------
    plan, values, state, seed, replicas, observe, mean_draws, open_law
        As for `simulate`; symbols that every phase binds need no value. Each phase has random streams of its own.
    dt : float, optional
        Step of an exactly averaged `Rate`; an `Update` brings its own.
    records : int
        Records per phase, both ends included; at a switch the time stands twice, before and after it.
    every : int, optional
        Steps between records, in place of ``records``; the ends of phases are always recorded.
    dropped : one sequence of places per drop, optional
        Which entries are deleted, counted among those present; random ones by ``seed`` if None, the same in all replicas.

    Returns
    -------
    SimulationResult
        Deleted entries are NaN from then on.

    Raises
    ------
    PlanError, BindingError, NotSimulable

    Examples
    --------
    >>> rule = {"kind": "update", "blocks": [[["u", ["add", "u", ["mul", "dt", ["add", "s", ["mul", -1, "u"]]]]]]], "dt": "dt"}
    >>> steps = [["phase", 30, [["s", "value", 2]], None], ["event", [["u", ["mul", ["frac", 1, 4], "u"]]]],
    ...     ["phase", 30, [["s", "value", 5]], ["add", "u", -3]]]
    >>> data = {"version": 1, "name": "m", "state": {"u": []}, "given": {"s": [], "dt": []}, "rule": rule, "protocol": steps}
    >>> run = simulate_protocol(data, {"dt": 0.001}, {"u": 0.0})
    >>> run.switches, round(float(run.t[-1]), 3)  # log(4.5 / 2) = 0.811, later by less than a step
    (((30.0, 'u -> ..., s = 5'),), 30.811)
    """
    whole = read_plan(plan)
    phases = [part for part in whole.protocol if isinstance(part, Phase)]
    if not phases or not isinstance(whole.protocol[-1], Phase):
        raise NotSimulable(f"{whole.name}: a protocol ends with a phase. Use simulate(plan, values, state, steps) without one.")
    if records < 2 or replicas < 1 or (every is not None and every < 1):
        raise BindingError("records must be at least 2, every and replicas at least 1.")
    if replicas > 1 and any(p.until is not None for p in phases):
        raise NotSimulable(
            f"{whole.name}: every replica ends a phase with a condition at its own time. Run one replica per seed."
        )
    course = _Course(whole, dict(values), replicas, seed, dt, records, every, observe, mean_draws, open_law, progress)
    course.begin(state)
    words: list[str] = []
    drops = 0
    for part in whole.protocol:
        if isinstance(part, Phase):
            course.phase(part, words)
            words = []
        elif isinstance(part, Event):
            course.event(part)
            words += [f"{name} -> ..." for name, _ in part.pairs]
        else:
            count = sum(isinstance(p, Drop) for p in whole.protocol)
            if dropped is not None and len(dropped) != count:
                raise BindingError(
                    f"dropped holds {len(dropped)} sequences, the protocol has {count} drops. Give one for each."
                )
            words.append(f"drop {course.drop(part, drops, None if dropped is None else dropped[drops])} of {part.dimension}")
            drops += 1
    return course.result()


@dataclass(slots=True)
class _Course:
    """What was recorded so far, and where the run stands."""

    plan: Plan
    values: dict[str, Any]
    replicas: int
    seed: int
    dt: float | None
    records: int
    every: int | None
    watch: bool
    mean_draws: int
    open_law: str | None
    progress: Callable[[int, int], None] | None
    state: dict[str, Array] = field(default_factory=dict)
    t: float = 0.0
    done: int = 0
    number: int = 0
    alive: dict[str, Any] = field(default_factory=dict)
    original: dict[str, int] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    kept: dict[str, list[Array]] = field(default_factory=dict)
    seen: dict[str, list[Array]] = field(default_factory=dict)
    switches: list[tuple[float, str]] = field(default_factory=list)
    dropped: list[tuple[int, ...]] = field(default_factory=list)
    finite: Any = None

    def begin(self, state: Mapping[str, Any]) -> None:
        """Check the values and bind the start."""
        sizes = self.sizes(state)
        known = {*self.plan.given, *self.plan.moments, *self.plan.dims, *sizes}
        for name in self.values:
            if name not in known:
                raise BindingError(f"value {name} is not declared in the plan; it declares {', '.join(sorted(known))}.")
        self.state = bind_state(self.plan, state, sizes, self.replicas)
        for part in self.plan.protocol:
            if isinstance(part, Drop):
                self.original[part.dimension] = self.size(part.dimension)
                self.alive[part.dimension] = np.arange(self.original[part.dimension])
        self.kept = {name: [] for name in self.plan.state}
        self.seen = {name: [] for name in self.plan.observe} if self.watch else {}
        self.finite = np.ones(self.replicas, dtype=bool)

    def sizes(self, state: Mapping[str, Any] | None = None) -> dict[str, int]:
        """Sizes of the dimensions at this moment."""
        still = {name: value for name, value in self.values.items() if not callable(value)}
        now = {name: array[0] for name, array in self.state.items()} if state is None else state
        return sizes_of(self.plan, still, now)

    def phase(self, part: Phase, words: Sequence[str]) -> None:
        """All steps of one phase."""
        run = self._open(part)
        if self.number or words:
            bound = [f"{name} = {_short(tree)}" for name, tree in part.values] + [f"{law.label}" for law in part.laws]
            self.switches.append((self.t, ", ".join([*words, *bound])))
        count = self._steps(part, run)
        marks = np.unique(np.round(np.linspace(0, count, self.records)).astype(int)).tolist()
        if self.every is not None:
            marks = [*range(0, count, self.every), count]
        begun, step = self.t, 0
        for mark in marks:
            while step < mark and not self._reached(part, run):
                self.state = run.advance(self.state, None, self.t)
                step += 1
                self.t = begun + step * run.dt
            self._record(run, self.done + step)
            if step < mark or (part.until is not None and self._reached(part, run)):
                break
            if self.progress is not None:
                self.progress(step, count)
        self.done += step
        self.number += 1

    def _open(self, part: Phase) -> Stepper:
        """The plan of one phase with its arrays."""
        bound = part.bound
        plan = replace(
            self.plan,
            given={name: shape for name, shape in self.plan.given.items() if name not in bound},
            draws=(*part.laws, *self.plan.draws),
            let={**dict(part.values), **self.plan.let},
            protocol=(),
            phases=0,
        )
        values = {name: value for name, value in self.values.items() if name not in bound}
        return open_run(
            plan, values, self.state, self.replicas, self.seed, self.dt, self.mean_draws, self.open_law, self.number
        )

    def _steps(self, part: Phase, run: Stepper) -> int:
        length = float(run.value(part.length, self.state, self.t)[0])
        steps = length / run.dt
        if not np.isfinite(steps) or steps < 0.5:
            raise BindingError(
                f"a phase of length {length:g} holds no step of {run.dt:g}. Lengthen it, or make the step smaller."
            )
        if abs(steps - round(steps)) > 1e-6 * steps:  # lengths and steps are typed as decimal numbers
            raise BindingError(
                f"a phase of length {length:g} is {steps:.6g} steps of {run.dt:g}. Choose a step that divides it."
            )
        return round(steps)

    def _reached(self, part: Phase, run: Stepper) -> bool:
        return part.until is not None and float(np.ravel(run.value(part.until, self.state, self.t))[0]) >= 0

    def _record(self, run: Stepper, step: int) -> None:
        self.times.append(self.t)
        self.steps.append(step)
        for name, array in self.state.items():
            self.finite &= np.isfinite(array).reshape(self.replicas, -1).all(axis=1)
            self.kept[name].append(self._padded(name, array))
        for name in self.seen:
            self.seen[name].append(run.observable(name, self.state, self.t))

    def _padded(self, name: str, array: Array) -> Array:
        """The array at the places that its entries had at the start; deleted ones are NaN."""
        shape = self.plan.state[name]
        if not any(isinstance(s, str) and s in self.alive for s in shape):
            return array
        places = [
            self.alive[s] if isinstance(s, str) and s in self.alive else np.arange(n)
            for n, s in zip(array.shape[1:], shape, strict=True)
        ]
        sizes = [self.original.get(s, n) if isinstance(s, str) else n for n, s in zip(array.shape[1:], shape, strict=True)]
        out = np.full((self.replicas, *sizes), np.nan)
        out[np.ix_(np.arange(self.replicas), *places)] = array
        return out

    def event(self, part: Event) -> None:
        """New values from old ones."""
        scope = self._scope()
        new = {}
        for name, tree in part.pairs:
            node = evaluate(tree, scope)
            if node.shape != self.state[name].shape[1:]:
                raise NotSimulable(f"the event gives {name} the shape {node.shape}, its own is {self.state[name].shape[1:]}.")
            new[name] = np.broadcast_to(node.value, (self.replicas, 1, *node.shape))[:, 0].copy()
        self.state = {**self.state, **new}

    def _scope(self) -> Scope:
        """Names between two phases: the state, given values, definitions."""
        sizes = self.sizes()
        nodes = {"t": constant(self.t, 0)}
        for name, shape in {**self.plan.given, **self.plan.moments}.items():
            if name in self.values and not callable(self.values[name]):
                array = np.asarray(self.values[name], dtype=np.float64)
                array = array[:, None] if array.ndim == 1 and len(shape) == 2 else array
                nodes[name] = constant(array[None, None], array.ndim)
        for name, array in self.state.items():
            nodes[name] = constant(array[:, None], array.ndim - 1)
        return Scope(plan=self.plan, sizes=sizes, nodes=nodes, let=self.plan.let)

    def size(self, dimension: str) -> int:
        """Present size of a dimension."""
        sizes = self.sizes()
        if dimension not in sizes:
            raise BindingError(
                f"dimension {dimension} has no size: no array carries it. Pass it in values, {{{dimension!r}: ...}}."
            )
        return sizes[dimension]

    def drop(self, part: Drop, number: int, given: Sequence[int] | None) -> int:
        """Delete entries; returns how many."""
        size, wanted = self.size(part.dimension), evaluate(part.count, self._scope()).value
        count = round(float(np.ravel(wanted)[0]))
        if not 1 <= count < size:
            raise BindingError(f"{count} of {size} entries of {part.dimension} cannot be dropped. Give 1 to {size - 1}.")
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(number,)))
        places = np.sort(rng.choice(size, size=count, replace=False) if given is None else np.asarray(given, dtype=int))
        if places.shape != (count,) or len(np.unique(places)) != count or places[0] < 0 or places[-1] >= size:
            raise BindingError(f"dropped[{number}] must hold {count} different places from 0 to {size - 1}.")
        self._refuse(part)
        for name, shape in self.plan.state.items():
            for axis, s in enumerate(shape, start=1):
                if s == part.dimension:
                    self.state[name] = np.delete(self.state[name], places, axis=axis)
        for name, shape in {**self.plan.given, **self.plan.moments}.items():
            for axis, s in enumerate(shape):
                if s == part.dimension and name in self.values:
                    self.values[name] = np.delete(np.asarray(self.values[name], dtype=np.float64), places, axis=axis)
        if part.dimension in self.values:
            self.values[part.dimension] = size - count
        self.alive[part.dimension] = np.delete(self.alive[part.dimension], places)
        self.dropped.append(tuple(int(p) for p in places))
        return count

    def _refuse(self, part: Drop) -> None:
        """What a deletion cannot reach."""
        for law in self.plan.draws:
            if law.once and any(s == part.dimension for shape in law.shapes for s in shape):
                raise NotSimulable(f"{law.label} is drawn once and carries {part.dimension}: its entries cannot be dropped.")
        for name, shape in {**self.plan.state, **self.plan.given, **self.plan.moments}.items():
            for s in shape:
                if isinstance(s, tuple) and part.dimension in walk(s):
                    raise NotSimulable(f"{name} carries {part.dimension} inside {s!r}. Give that axis a name of its own.")

    def result(self) -> SimulationResult:
        """All records."""
        return SimulationResult(
            name=self.plan.name,
            t=np.array(self.times),
            steps=np.array(self.steps),
            values={name: np.stack(arrays, axis=1) for name, arrays in self.kept.items()},
            observables={name: np.stack(arrays, axis=1) for name, arrays in self.seen.items()},
            status=tuple("ok" if good else "nonfinite" for good in self.finite),
            seed=self.seed,
            switches=tuple(self.switches),
            dropped=tuple(self.dropped),
        )


def _short(tree: Tree) -> str:
    """A number or a name as it is, anything longer as dots."""
    if isinstance(tree, tuple) and tree[0] == "frac":
        return f"{tree[1]}/{tree[2]}"
    return str(tree) if isinstance(tree, (int, str)) else "..."
