"""A derived course against direct simulation of the same protocol, from end to end.

Matrix flows: full-batch gradient descent through all phases approaches the path with order 1 in its step, and does not when the
lengths of the theory's phases are stretched by 0.5 %; SGD at several inverse steps. Order parameters: one-pass SGD at several N
with the weights handed over, recorded as overlaps. Deletions are those of the path. Imported by `numerics.claims.simulation`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from math import gcd
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import UnsupportedNode
from derive.protocols.courses import Course, Stretch, course
from derive.spec.rules import Phase
from numerics.claims.blocks import exact_sizes, long_axis, place_blocks
from numerics.claims.ensembles import read_overlaps
from numerics.claims.simulation import BATCH, STRETCH, bound_model, roots, sizes_of, verdict
from numerics.claims.states import given_of
from numerics.claims.subject import Subject
from numerics.claims.throughout import start_values
from numerics.compare import order_checks
from numerics.protocol import course_symbols, follow, phase_values
from numerics.protocol_state import Held, lowered_value
from numerics.report import Check
from numerics.simulate import SimulationResult, Stream, simulate_protocol
from numerics.trajectory import Array, Trajectory

RECORDS = 4  # intervals between records in the shortest phase
STEPS = 400  # of the first of three descents, over the whole protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A protocol with numbers, on a lattice of times 1/unit on which all simulations have steps.

    Attributes
    ----------
    model : Model
        With lengths on the lattice.
    made : Course
    start, params : as `follow` takes them
    unit : int
    lengths : tuple of int
        Of the phases, in units of the lattice.
    every : int
        Distance of the records, likewise.
    """

    model: Any
    made: Course
    start: Mapping[str, Array]
    params: Mapping[str, Any]
    unit: int
    lengths: tuple[int, ...]
    every: int

    @property
    def times(self) -> Array:
        """Times of the records."""
        ends = np.cumsum([0, *self.lengths])
        marks = [np.arange(a, b, self.every) for a, b in pairwise(ends)]
        return np.concatenate([*marks, ends[-1:]]) / self.unit

    def path(self, made: Course | None = None, *, factor: float = 1.0, rtol: float = 1e-10, **options: Any) -> Trajectory:
        """The theory at these times, both ends of every phase included."""
        options = {"backend": "numpy", **options}
        return follow(made or self.made, self.start, self.params, self.times * factor, rtol=rtol, **options).raise_if_failed()


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Checks for the kind of the entry."""
    if any(isinstance(p, Phase) and p.until is not None for p in subject.entry.model.protocol):
        raise UnsupportedNode(
            f"{claim.label}: a phase that ends by a condition ends at another time in every run; give it a length to compare"
        )
    return _online(claim, subject) if subject.entry.kind == "online" else _matrix(claim, subject)


def setting(claim: Any, subject: Subject, model: Any, ns: tuple[int, ...]) -> Setting:
    """Start, values and a protocol whose lengths are scaled to the time of the claim."""
    known = {**subject.values, **dict(model.values)}
    start, values = start_values(subject, known)
    return lattice(model, start, values, gcd(*ns), total=claim.time, flow=subject.flow)


def lattice(model: Any, start: Mapping[str, Array], known: Mapping[str, Any], unit: int, *, total: float | None = None,
            flow: Any = None, records: int | None = None) -> Setting:  # fmt: skip
    """The same protocol with every length in proportion, rounded to multiples of 1/unit.

    Parameters
    ----------
    total : float, optional
        Sum of the lengths; as in the model if None.
    records : int, optional
        Intervals between records over the whole protocol; `RECORDS` in the shortest phase if None.
    """
    low, allowed = model.lowered, (*model.lowered.given, *model.lowered.dims)
    held = Held(state={}, known={n: v for n, v in known.items() if n in allowed and not callable(v)})
    lengths = [float(lowered_value(low, item[1], held)) for item in low.protocol if item[0] == "phase"]
    factor = unit * (1.0 if total is None else float(total) / sum(lengths))
    ticks = tuple(max(1, round(length * factor)) for length in lengths)
    left, protocol = iter(ticks), []
    for item in model.protocol:
        protocol.append(Phase(sp.Rational(next(left), unit), bind=item.bind) if isinstance(item, Phase) else item)
    made = course(model.replace(protocol=tuple(protocol)), flow=flow)
    names = course_symbols(made)
    params = {n: v for n, v in known.items() if n in names}
    return Setting(
        model=made.model, made=made, start=start, params=params, unit=unit, lengths=ticks,
        every=max(1, min(ticks) // RECORDS if records is None else round(sum(ticks) / records)),
    )  # fmt: skip


def stretched(made: Course, percent: sp.Rational) -> Course:
    """The same course with every phase longer by a factor."""
    factor = ("frac", int(percent.p), int(percent.q))
    parts = tuple(replace(p, length=("mul", factor, p.length)) if isinstance(p, Stretch) else p for p in made.parts)
    return replace(made, parts=parts)


# ------------------------------------------------------------------------------------------------------------- matrix flows
def _matrix(claim: Any, subject: Subject) -> tuple[Check, ...]:
    from derive import as_updates, plan

    ns = sizes_of(claim, subject)
    s = setting(claim, subject, bound_model(subject), ns)
    data = plan(s.model)
    given = given_of(data, {**s.params, **dict(s.model.values)})
    checks = _descent(claim.label, subject, s, data, given)
    if checks and not data["draws"]:
        return checks
    runs: dict[str, list[Array]] = {}
    path = s.path(seed=subject.seed)
    theory = _wanted(claim, path)
    options: dict[str, Any] = {"dropped": path.dropped or None, "replicas": claim.seeds}
    for n, root in zip(ns, roots(subject, len(ns)), strict=True):
        updates = plan(as_updates(s.model, eta=sp.Rational(1, n), batch=BATCH))
        run = simulate_protocol(updates, given, s.start, every=s.every * n // s.unit, seed=root, **options)
        seen = {**run.values, **run.observables}
        for name in (*theory, *(k for k in s.start if k not in theory)):
            like = path.values[name] if name in path.values else path.observables[name]
            runs.setdefault(name, []).append(_finite(seen[name].reshape(claim.seeds, *like.shape), like))
    flat = {n: _finite(a[None], a)[0] for n, a in theory.items()}
    return checks + verdict(f"{claim.label}: SGD, {BATCH} items per step", ns, runs, flat, s.start, subject.seed)


def _wanted(claim: Any, path: Trajectory) -> dict[str, Array]:
    names = claim.observables or tuple(path.values)
    return {n: np.asarray(path.values[n] if n in path.values else path.observables[n]) for n in names}


def _finite(runs: Array, like: Array) -> Array:
    """Entries that exist, (seeds, entries), without t = 0."""
    rows = np.asarray(runs)[:, 1:].reshape(len(runs), -1)
    return rows[:, np.isfinite(np.asarray(like)[1:].ravel())]


def _descent(
    label: str, subject: Subject, s: Setting, data: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[Check, ...]:  # fmt: skip
    """Order of full-batch gradient descent in its step; empty if the averages of the rule are not finite sums."""
    laws = [law["law"] for law in data["draws"]]
    laws += [bind[2]["law"] for item in data["protocol"] if item[0] == "phase" for bind in item[2] if bind[1] == "law"]
    if data["rule"]["kind"] != "rate" or any(law != "Choice" for law in laws):
        return ()
    late = stretched(s.made, sp.Rational(STRETCH).limit_denominator(1000))
    first, etas, true, slow = max(1, round(STEPS / sum(s.lengths))), [], [], []
    exact = s.path(rtol=1e-11, seed=subject.seed)
    other = s.path(late, factor=STRETCH, rtol=1e-11, seed=subject.seed)
    for parts in (1, 2, 4):
        eta = 1 / (s.unit * first * parts)
        every = s.every * first * parts
        run = simulate_protocol(data, given, s.start, dt=eta, every=every, dropped=exact.dropped or None, observe=False)
        errors = [max(float(np.nanmax(np.abs(run.values[n][0] - p.values[n]))) for n in s.start) for p in (exact, other)]
        etas.append(eta)
        true.append(errors[0])
        slow.append(errors[1])
    return order_checks(
        (etas, true, slow), seed=subject.seed,
        claim=f"{label}: full-batch gradient descent through the protocol tends to the flow with order 1 in its step",
        control=f"{label}: the order drops if the theory's phases are stretched by 0.5 %",
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------- order parameters
def _online(claim: Any, subject: Subject) -> tuple[Check, ...]:
    from derive import field_rule, plan

    ns = sizes_of(claim, subject)
    s = setting(claim, subject, subject.entry.model, ns)
    rule, data = field_rule(s.model), plan(s.model)
    path, kernels = s.path(seed=subject.seed), kernels_of(s.made)
    theory = _wanted(claim, path)
    more = [name for name in theory if name not in path.values]
    runs: dict[str, list[Array]] = {}
    for n, root in zip(ns, roots(subject, len(ns)), strict=True):
        run = run_overlaps(
            data, rule, s.start, s.params, n, s.every * n // s.unit, seeds=claim.seeds, root=root, dropped=path.dropped
        )
        seen = {**run.values, **observed_along(s.made, path, run.values, s.params, more, kernels)}
        for name in (*theory, *(k for k in s.start if k not in theory)):
            like = path.values[name] if name in path.values else path.observables[name]
            runs.setdefault(name, []).append(_finite(seen[name].reshape(claim.seeds, *like.shape), like))
    flat = {n: _finite(a[None], a)[0] for n, a in theory.items()}
    return verdict(f"{claim.label} (through the protocol)", ns, runs, flat, s.start, subject.seed)


def run_overlaps(data: Mapping[str, Any], rule: Any, start: Mapping[str, Array], params: Mapping[str, Any], size: int,
                 every: int, *, seeds: int, root: int, dropped: Any) -> SimulationResult:  # fmt: skip
    """One-pass SGD through a protocol at one size, from weights with exactly these overlaps, recorded as overlaps."""
    lengths = exact_sizes(rule, params, size)
    vectors = place_blocks(rule.overlaps, {**start, **params}, size, lengths, Stream(root=root).generator("start"))
    shapes = {**data["state"], **data["given"]}
    turned = {f: v.T if long_axis(shapes[f], lengths) == 0 else v for f, v in vectors.items()}
    state = {n: turned[n] if n in turned else np.asarray(start[n]) for n in data["state"]}
    bound = {b[0] for item in data["protocol"] if item[0] == "phase" for b in item[2]}
    used = [n for n in data["given"] if n not in lengths and (n in turned or n in params) and n not in bound]
    fixed = {n: turned[n] if n in turned else params[n] for n in used}
    counts = {d: int(params[d]) for d in data["dims"] if d in params}
    run = simulate_protocol(data, {**counts, **fixed, **lengths}, state, seed=root, replicas=seeds, every=every,
                            dropped=dropped or None, observe=False)  # fmt: skip
    if any(status != "ok" for status in run.status):
        raise ArithmeticError(f"a simulation at {rule.big} = {size} did not stay finite; lower the rate or the time")
    return replace(run, values=read_overlaps(run.values, vectors, shapes, rule.overlaps, start, size, lengths))


def kernels_of(made: Course) -> dict[int, Any]:
    """A NumPy kernel for every distinct flow of a course, by identity."""
    from codegen import compile

    flows = {id(p.flow): p.flow for p in made.stretches}
    return {key: compile(flow, backend="numpy") for key, flow in flows.items()}


def observed_along(made: Course, path: Trajectory, seen: Mapping[str, Array], params: Mapping[str, Any], names: list[str],
                   kernels: Mapping[int, Any]) -> dict[str, Array]:  # fmt: skip
    """Observables of the derived systems at simulated order parameters, arrays (seeds, T), by the numbers of each phase."""
    if not names:
        return {}
    edges = np.cumsum([0, *(len(s.t) for s in path.segments)])
    out: dict[str, list[Any]] = {n: [] for n in names}
    for part, segment, known, span in zip(made.stretches, path.segments, phase_values(made, path, params), pairwise(edges),
                                          strict=True):  # fmt: skip
        kernel = kernels[id(part.flow)]
        layout = kernel.layout(segment.at(0))
        given = {b.name: np.reshape(known[b.name], np.shape(known[b.name])[: len(b.shape)]) for b in kernel.parameters}
        look = kernel.flat_observables(layout, kernel.arguments(given))
        for t in range(*span):
            rows = []
            for seed in range(len(next(iter(seen.values())))):
                point = {n: np.asarray(a[seed, t]) for n, a in seen.items()}
                alive = {n: a[np.isfinite(a)].reshape(np.shape(segment.values[n])[1:]) for n, a in point.items()}
                rows.append(look(float(path.t[t]), layout.pack(alive)))
            for name in names:
                out[name].append([row[name] for row in rows])
    return {n: np.array(rows, dtype=float).T for n, rows in out.items()}
