"""Gradient descent and SGD for a matrix run, at two steps 1/n, so that the bias of order 1/n can be extrapolated away.

The plan of the model decides what is simulated. If a fast family makes the same step as the plan on the same items (tested
here, to 1e-12, up to one factor of time), it runs instead of the tape. Imported by `numerics.run_matrix`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from derive.errors import DerivationError, InvalidSpec
from derive.system import Flow, Reduction
from numerics.claims.ensembles import common_times
from numerics.claims.simulation import observed
from numerics.claims.states import given_of
from numerics.claims.subject import Subject
from numerics.integrate import integrate
from numerics.run import finished
from numerics.simulate import SimulationError, SimulationResult, Stream, one_step, replicate, simulate
from numerics.simulate.families import deep_linear
from numerics.trajectory import Array

STRETCH = 1.005
LINEAR = 0.005  # of the weights: where the deviation is that small, the next order in the step is as small relative to it
MOST_DESCENT = 4000  # steps of the first of four full-batch runs
MOST_RECORDED = 3000  # steps of the larger size of step, unless the entry names a time: seconds, not minutes
MOST_STILL = 4000  # the same on the tape, over the number of arrays, which its time grows with
MOST_STEPS = 1500  # of the tape, which takes about a millisecond per step
Show = Callable[[float, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Descent:
    """How to simulate: inverse steps, times of the records, records every so many steps.

    Attributes
    ----------
    sizes : (n/2, n), the learning rate is 1/n
    times : (T,) without 0
    every : steps between records, for each size
    batch, seeds : int
    """

    sizes: tuple[int, int]
    times: Array
    every: tuple[int, ...]
    batch: int
    seeds: int

    @property
    def end(self) -> float:
        """The last time."""
        return float(self.times[-1])

    @classmethod
    def of(cls, values: Mapping[str, Any], end: float, count: int) -> tuple[Descent, tuple[str, ...]]:
        """From the values of an entry: ``eta``, ``batch``, ``seeds``; and a note if the time had to be cut."""
        eta, batch, seeds = float(values.get("eta", 0.0)), int(values.get("batch", 1)), int(values.get("seeds", 8))
        if batch < 1 or seeds < 3:
            raise InvalidSpec(f"batch={batch}, seeds={seeds}: give a batch of 1 or more, and 3 or more seeds")
        if not 0 <= eta < 1:
            raise InvalidSpec(f"eta={eta:g}: give a step between 0 and 1")
        half = max(1, round(0.5 / eta)) if eta else max(10, int(MOST_STEPS / end / 2))
        last = end if "time" in values else min(end, MOST_RECORDED / half)
        cut = (
            (f"followed up to t = {last:g} (slower directions go on until about {end:.3g}; set time=... for more)",)
            if last < end
            else ()
        )
        times, every = common_times((half, 2 * half), last, count)
        return cls(sizes=(half, 2 * half), times=times, every=tuple(every), batch=batch, seeds=seeds), cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What gradient descent showed.

    Attributes
    ----------
    runs : mapping n -> {name: (seeds, T, ...)}
        Without t = 0.
    scored : names that enter the score
    etas, errors, stretched : steps of full-batch descent, and deviations from the flow and from the stretched flow
    shown : SimulationResult or None
        The runs at the smaller step, for the figure.
    """

    runs: Mapping[int, Mapping[str, Array]] = field(default_factory=dict)
    scored: tuple[str, ...] = ()
    etas: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()
    stretched: tuple[float, ...] = ()
    seconds: float = 0.0
    shown: Any = None
    label: str = ""
    notes: tuple[str, ...] = ()


def descend(
    entry: Any, model: Any, flow: Flow, reduction: Reduction | None, start: Mapping[str, Array], params: Mapping[str, Array],
    values: Mapping[str, Any], plan: Descent, seed: int, show: Show,
) -> Found:  # fmt: skip
    """Full-batch descent at four steps and SGD at two; a rule that cannot be simulated is reported, not guessed."""
    try:
        if not model.lowered.draws:
            show(0.3, "descent; nothing is drawn")
            return _still(entry, model, flow, reduction, start, params, values, plan, seed)
        return _descend(entry, model, flow, reduction, start, params, values, plan, seed, show)
    except (SimulationError, DerivationError) as error:
        return Found(notes=(f"not simulated: {error}",))


def _descend(
    entry: Any, model: Any, flow: Flow, reduction: Reduction | None, start: Mapping[str, Array], params: Mapping[str, Array],
    values: Mapping[str, Any], plan: Descent, seed: int, show: Show,
) -> Found:  # fmt: skip
    import sympy as sp

    from derive import as_updates
    from derive import plan as plain

    items, runs = bound_items(model, values), {}
    engine = "tape"
    factor = None
    for number, (n, every) in enumerate(zip(plan.sizes, plan.every, strict=True)):
        show(0.3 + 0.3 * number, f"{plan.seeds} runs of SGD with step 1/{n}")
        rule = plain(as_updates(model, eta=sp.Rational(1, n), batch=plan.batch))
        given = {k: np.asarray(v) for k, v in given_of(rule, values).items()}
        if number == 0 and items is not None:
            single = plain(as_updates(model, eta=sp.Rational(1, n)))
            factor = match_deep_linear(single, given, start, items, n, Stream(root=seed).generator("data"))
        steps, root = every * len(plan.times), seed + number
        if factor is not None and items is not None:
            engine = "deep linear family"
            seen = run_family(start, items, factor / n, plan, steps, every, root)
        else:
            seen = run_tape(rule, given, start, plan, steps, every, root)
        runs[n] = with_views(entry, flow, reduction, params, values, seen)
    etas: tuple[float, ...] = ()
    errors, late, seconds = etas, etas, 0.0
    if factor is not None and items is not None:
        show(0.9, "full-batch gradient descent")
        X, Y = items
        Sx, Syx, scaled = X @ X.T / X.shape[1], Y @ X.T / X.shape[1], factor

        def path(eta: float, steps: int, every: int) -> dict[str, Array]:
            run = deep_linear.full_batch(list(start.values()), Sx, Syx, eta * scaled, steps, every)
            return dict(zip(start, run.weights, strict=True))

        etas, errors, late, seconds = full_batch(flow, start, params, path, plan)
    n = plan.sizes[1]
    states = reduction.system.state if reduction is not None else ()
    return Found(
        runs=runs,
        scored=(*flow.observables, *(b.name for b in states)),
        etas=etas,
        errors=errors,
        stretched=late,
        seconds=seconds,
        shown=as_result(entry.name, runs[n], flow, plan, seed),
        label=f"SGD, step 1/{n}",
        notes=(
            f"{plan.seeds} runs of SGD with steps 1/{plan.sizes[0]} and 1/{n}, batch {plan.batch}, up to t = {plan.end:g}; "
            f"engine: {engine}",
        ),
    )


def _still(
    entry: Any, model: Any, flow: Flow, reduction: Reduction | None, start: Mapping[str, Array], params: Mapping[str, Array],
    values: Mapping[str, Any], plan: Descent, seed: int,
) -> Found:  # fmt: skip
    """Descent of a rule in which nothing is drawn: its order in the step, and one run for the figure."""
    from derive import plan as plain

    rule = plain(model)
    given = {k: np.asarray(v) for k, v in given_of(rule, values).items()}

    def path(eta: float, steps: int, every: int) -> dict[str, Array]:
        run = simulate(rule, given, start, steps, every=every, dt=eta, observe=False)
        if run.status[0] != "ok":
            raise InvalidSpec(f"descent with step {eta:.3g} did not stay finite; lower the step with --set eta=...")
        return {k: a[0].reshape(-1, *np.shape(start[k])) for k, a in run.values.items()}

    etas, errors, late, seconds = full_batch(flow, start, params, path, plan, strict=True)
    n, every, count = plan.sizes[1], plan.every[1], len(plan.times)
    seen = {k: a[None, 1 : count + 1] for k, a in path(1 / n, every * count, every).items()}
    seen = with_views(entry, flow, reduction, params, values, seen)
    return Found(
        etas=etas,
        errors=errors,
        stretched=late,
        seconds=seconds,
        shown=as_result(entry.name, seen, flow, replace(plan, seeds=1), seed),
        label=f"descent, step 1/{n}",
        notes=(f"descent with step 1/{n}, up to t = {plan.end:g}; nothing is drawn",),
    )


def bound_items(model: Any, values: Mapping[str, Any]) -> tuple[Array, Array] | None:
    """The two data matrices (n, P), (m, P) of a bound law of input and target; None if there is no such law."""
    m = model.lowered
    opens = [d.opens for d in m.draws if d.opens]
    if len(opens) != 1 or len(opens[0]) != 2:
        return None
    let = dict(m.let)
    found = [let[name] for name in opens[0]]
    if not all(isinstance(tree, tuple) and tree[0] == "matmul" and tree[1] in values for tree in found):
        return None
    X, Y = (np.asarray(values[tree[1]], dtype=float) for tree in found)
    return X, Y


class _Chosen:
    """A stand-in for a generator that deals the same item always."""

    def __init__(self, item: int):
        self.item = item

    def integers(self, low: int, high: int, size: tuple[int, ...]) -> Any:
        """The chosen item."""
        return np.full(size, self.item)


def match_deep_linear(
    rule: Mapping[str, Any], given: Mapping[str, Array], start: Mapping[str, Array], items: tuple[Array, Array], n: int,
    rng: np.random.Generator,
) -> float | None:  # fmt: skip
    """The factor of time under which the deep linear family makes the steps of a plan, or None if it does not.

    Compared at two random states on two random items, to 1e-12.
    """
    names = list(rule["state"])
    chain = [np.asarray(start[k]) for k in names]
    shapes = [a.shape for a in chain]
    X, Y = items
    draws = [name for law in rule["draws"] for name in law["symbols"]]
    fits = all(len(s) == 2 for s in shapes) and all(a[0] == b[1] for a, b in pairwise(shapes))
    if not fits or len(draws) != 1 or shapes[0][1] != len(X) or shapes[-1][0] != len(Y):
        return None
    factors = []
    for _ in range(2):
        state = {k: rng.standard_normal(s) / np.sqrt(s[1]) for k, s in zip(names, shapes, strict=True)}
        item = int(rng.integers(X.shape[1]))
        hot = np.zeros((X.shape[1], 1))
        hot[item] = 1
        stepped = one_step(rule, given, state, {draws[0]: hot})
        run = deep_linear.mini_batch(_Chosen(item), [state[k] for k in names], X, Y, 1.0 / n, 1, 1)  # type: ignore[arg-type]
        ours = np.concatenate([(stepped[k] - state[k]).ravel() for k in names])
        theirs = np.concatenate([(w[-1] - state[k]).ravel() for k, w in zip(names, run.weights, strict=True)])
        factor = float(ours @ theirs / (theirs @ theirs))
        if np.abs(ours - factor * theirs).max() > 1e-12 * max(1.0, np.abs(theirs).max()):
            return None
        factors.append(factor)
    return factors[0] if abs(factors[0] - factors[1]) <= 1e-10 * abs(factors[0]) and factors[0] > 0 else None


def run_family(
    start: Mapping[str, Array], items: tuple[Array, Array], eta: float, plan: Descent, steps: int, every: int, root: int
) -> dict[str, Array]:
    """SGD by the fast kernel: arrays (seeds, T, ...) without t = 0."""
    names, chain = list(start), list(start.values())

    def one(cell: None, stream: Stream) -> tuple[Array, ...]:
        run = deep_linear.mini_batch(stream.generator("train"), chain, *items, eta, plan.batch, steps, every)
        return tuple(w[1 : len(plan.times) + 1] for w in run.weights)

    runs = replicate(one, (None,), plan.seeds, root=root)[0]
    return {name: np.array([run[i] for run in runs]) for i, name in enumerate(names)}


def run_tape(
    rule: Mapping[str, Any],
    given: Mapping[str, Array],
    start: Mapping[str, Array],
    plan: Descent,
    steps: int,
    every: int,
    root: int,
) -> dict[str, Array]:
    """SGD by the plan: arrays (seeds, T, ...) without t = 0."""
    run = simulate(rule, given, start, steps, seed=root, replicas=plan.seeds, every=every, observe=False)
    if any(s != "ok" for s in run.status):
        raise InvalidSpec(f"SGD with {steps} steps did not stay finite; lower the step with --set eta=...")
    count = len(plan.times)
    return {k: a[:, 1 : count + 1].reshape(plan.seeds, count, *np.shape(start[k])) for k, a in run.values.items()}


def with_views(
    entry: Any,
    flow: Flow,
    reduction: Reduction | None,
    params: Mapping[str, Array],
    values: Mapping[str, Any],
    seen: dict[str, Array],
) -> dict[str, Array]:
    """Observables and mode strengths beside the weights."""
    if not all(np.isfinite(a).all() for a in seen.values()):
        raise InvalidSpec("SGD did not stay finite; lower the step with --set eta=...")
    out = {**seen, **observed(Subject(entry=entry, flow=flow), seen, params, list(flow.observables))}
    if reduction is not None and reduction.project_state is not None:
        out |= {k: np.asarray(a) for k, a in reduction.project_state(values, seen).items()}
    return out


def full_batch(
    flow: Flow,
    start: Mapping[str, Array],
    params: Mapping[str, Array],
    path: Callable[[float, int, int], Mapping[str, Array]],
    plan: Descent,
    *,
    strict: bool = False,
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], float]:
    """Steps of full-batch descent, deviations from the flow, and from the flow whose time is stretched by 0.5 per cent.

    ``path(step, steps, every)`` records the weights along descent, the start included. A start at rest has no order. With
    ``strict`` the first run is nearer to the flow, of fewer steps, and no order is given if that cannot be had.
    """
    from codegen import compile

    clock, pieces = time.perf_counter(), 8
    kernel = compile(flow, backend="numba")
    grid = np.linspace(0, plan.end, pieces + 1)
    exact, late = (
        finished(integrate(kernel, start, params, (0.0, float(t[-1])), t, rtol=1e-11)).values for t in (grid, grid * STRETCH)
    )
    scale = max(float(np.abs(a).max()) for a in exact.values())
    if max(float(np.abs(a - a[0]).max()) for a in exact.values()) <= 1e-6 * scale:
        return (), (), (), time.perf_counter() - clock

    def compare(parts: int) -> tuple[float, float, float]:
        """Step, and deviations from the flow and from the stretched flow, of descent with ``parts`` steps per piece."""
        eta = plan.end / pieces / parts
        seen = path(eta, pieces * parts, parts)
        away = [max(float(np.abs(seen[k] - flown[k]).max()) for k in start) for flown in (exact, late)]
        return eta, away[0], away[1]

    linear, most = (LINEAR / 2, MOST_STILL // len(start)) if strict else (LINEAR, MOST_DESCENT)
    parts, first = 16, compare(16)
    while first[1] > linear * scale and pieces * parts < most:
        parts *= 2
        first = compare(parts)
    if strict and first[1] > linear * scale:
        return (), (), (), time.perf_counter() - clock
    rows = [first, *(compare(parts * 2**k) for k in (1, 2, 3))]
    etas, errors, stretched = (tuple(column) for column in zip(*rows, strict=True))
    return etas, errors, stretched, time.perf_counter() - clock


def as_result(name: str, seen: Mapping[str, Array], flow: Flow, plan: Descent, seed: int) -> SimulationResult:
    """Runs in the form that figures take."""
    return SimulationResult(
        name=name,
        t=plan.times,
        steps=np.arange(1, len(plan.times) + 1) * plan.every[1],
        values={k: a for k, a in seen.items() if k not in flow.observables},
        observables={k: a for k, a in seen.items() if k in flow.observables},
        status=("ok",) * plan.seeds,
        seed=seed,
    )
