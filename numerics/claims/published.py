"""Published equations of motion: the claimed rates against the derived right-hand side at random states.

A letter of the paper is an expression of our state; its rate of change is the derivative of that expression along the derived
flow, taken by a complex step (exact to rounding for analytic expressions). A letter without an expression is a state, or an
observable of the system, whose rate is taken by words.
A claim of leading order is judged by convergence: its error at small = 10^-1, ..., 10^-4 must go on falling, by more than
the square root of ten in the last step; a wrong constant leaves an error that does not fall.
Indexed letters, ``Q[k, l]``, are compared entry by entry. Order-parameter equations are long sums, whose parts can be small at
one state, so they are compared at 100 states; printed rates without matrices are evaluated for all states side by side.
Imported by `numerics.verify`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import InvalidSpec
from derive.matrices.calculus import ddt
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly
from derive.recursions.discrete import Recursion
from derive.system import Flow
from numerics.claims.expressions import value
from numerics.claims.states import draw_values, scattered
from numerics.claims.subject import POINTS, Subject, rates
from numerics.compare import deviation
from numerics.report import Check, worst
from numerics.trajectory import Array

STEP = 1e-30
SMALL = (1e-1, 1e-2, 1e-3, 1e-4)
STATES = 100  # of order-parameter equations
ROUNDING = 1e-10
FLOOR = 1e-11  # an error of this size is rounding: there is nothing left to fall


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Compare every claimed rate at random states (of the manifold ``claim.on``)."""
    system = subject.system(claim.on)
    if claim.small is not None:
        return (_convergence(claim, subject, system),)
    count = claim.states or (STATES if system.level == "index" else POINTS)
    name, statistic = _largest(claim, subject, system, count)
    return (
        Check(
            claim=claim.label,
            statistic=statistic,
            bound=max(ROUNDING, claim.error),
            reason=f"largest relative difference of the rates at {count} random states; "
            + ("stated error of the derived quadrature" if claim.error > ROUNDING else "rounding of sums of products"),
            seed=subject.seed,
            detail=f"largest for {name}",
        ),
    )


def _largest(claim: Any, subject: Subject, system: Flow, count: int, small: float = 0.0) -> tuple[str, float]:
    """The letter with the largest relative difference at the random states, and that difference."""
    from codegen import compile

    kernel = compile(system, backend="numpy")
    points = [_point(claim, subject, system, number, small) for number in range(count)]
    velocity = [rates(system, p.state, p.params, kernel=kernel) for p in points]
    found = {}
    for letter, rate in claim.rate.items():
        derived = [_derived(letter, claim.where, system, p.state, v, p.known) for p, v in zip(points, velocity, strict=True)]
        claimed = _claimed_at(points, system, claim.where, letter, rate, derived[0].shape)
        found[_name(letter)] = worst([deviation(a, b) for a, b in zip(derived, claimed, strict=True)])
    return max(found.items(), key=lambda item: (np.isnan(item[1]), item[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """One random state: the arrays of the system, and everything that has a value there."""

    state: Mapping[str, Array]
    params: Mapping[str, Array]
    known: Mapping[str, Any]


def _point(claim: Any, subject: Subject, system: Flow, number: int, small: float) -> _Point:
    """The first one has the parameters of the entry, the others move them a little."""
    at = scattered(system, subject.values, subject.rng(STATES + number)) if number else subject.values
    state, params, sizes = draw_values(system, at, subject.rng(number))
    known = {**subject.entry.model.values, **sizes, **params, **state}
    if claim.small is not None:
        state, params = _varied(claim, system, state, params, {**known, _name(claim.small): small})
        known = {**sizes, **params, **state, _name(claim.small): small}
    return _Point(state=state, params=params, known=known)


def _claimed_at(
    points: list[_Point], system: Flow, where: Mapping[Any, Any], letter: Any, rate: Any, shape: tuple[int, ...]
) -> list[Array]:
    """The printed rate at every point; all at once if it is made of numbers and entries of arrays, or says that it can."""
    meant = {_name(k): e for k, e in where.items() if not isinstance(k, sp.Indexed)}
    whole = bool(getattr(rate, "side_by_side", False))
    plain = whole or (_of_numbers(rate) and (not shape or _indexed(letter)))
    if system.level != "index" or not plain or not all(_of_numbers(e) for e in meant.values()):
        each = [{**p.known, **{k: value(e, p.known) for k, e in meant.items()}} for p in points]
        return [_claimed(letter, rate, known, shape) for known in each]
    known = _side_by_side(points)
    known |= {k: value(e, known, side_by_side=True) for k, e in meant.items()}
    if whole:
        return list(np.moveaxis(rate(known), -1, 0))
    out = np.empty((*shape, len(points)))
    for at, labels in _entries(letter, shape):
        out[at] = value(rate, known, labels, side_by_side=True)
    return list(np.moveaxis(out, -1, 0))


def _side_by_side(points: list[_Point]) -> dict[str, Any]:
    """Values of all points along a last axis; a number that is the same at all of them, such as a count, stays a number."""
    first = points[0]
    stacked = {n: np.stack([p.known[n] for p in points], axis=-1) for n in (*first.state, *first.params)}
    return {**first.known, **{n: a for n, a in stacked.items() if a.ndim > 1 or np.ptp(a) > 0}}


def _indexed(letter: Any) -> bool:
    return isinstance(letter, sp.Indexed)


def _of_numbers(expression: Any) -> bool:
    return isinstance(expression, sp.Expr) and not expression.has(sp.MatrixExpr, sp.matrices.MatrixBase)


def _convergence(claim: Any, subject: Subject, system: Flow) -> Check:
    """Errors along a falling sequence of the small parameter."""
    seen = [_largest(claim, subject, system, POINTS, small) for small in SMALL]
    errors = [e for _, e in seen]
    done = errors[-1] <= FLOOR and all(np.isfinite(errors))
    return Check(
        claim=f"{claim.label} (leading order in {_name(claim.small)})",
        statistic=0.0 if done else errors[-1] / errors[-2] if errors[-2] else float("nan"),
        bound=10**-0.5,
        reason=f"ratio of the errors at {SMALL[-1]:g} and {SMALL[-2]:g}: 1 if a constant is wrong, else a power of 1/10",
        seed=subject.seed,
        detail=f"errors {', '.join(f'{e:.1e}' for e in errors)}, largest for {seen[-1][0]}",
    )


def _varied(
    claim: Any, system: Flow, state: Mapping[str, Array], params: Mapping[str, Array], known: Mapping[str, Any]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """State and parameters at one value of the small parameter."""
    moved = {_name(k): e for k, e in (claim.vary or {claim.small: claim.small}).items()}
    lost = [n for n in moved if n not in state and n not in params]
    if lost:
        raise InvalidSpec(
            f"claim {claim.label!r}: {lost[0]} is neither a state nor a parameter of {system.name}; say by "
            f"vary={{symbol: expression of {_name(claim.small)}}} what the small parameter changes"
        )
    new = {n: np.asarray(value(e, known), dtype=float) for n, e in moved.items()}
    return {n: new.get(n, a) for n, a in state.items()}, {n: new.get(n, a) for n, a in params.items()}


def _name(letter: Any) -> str:
    if isinstance(letter, sp.Indexed):
        return str(letter.base.label)
    return letter if isinstance(letter, str) else str(getattr(letter, "name", letter))


def _derived(
    letter: Any,
    where: Mapping[Any, Any],
    system: Flow,
    state: Mapping[str, Array],
    velocity: Mapping[str, Array],
    known: Mapping[str, Any],
) -> Array:
    expression = next((e for k, e in where.items() if _name(k) == _name(letter)), None)
    if expression is None:
        observed = system.observables.get(_name(letter))
        if _name(letter) not in velocity and isinstance(observed, Poly):
            return np.asarray(evaluate(ddt(observed, system), known, functions=system.functions))
        if _name(letter) not in velocity:
            raise InvalidSpec(
                f"claim about {_name(letter)}: it is no state of {system.name} ({', '.join(velocity)}); "
                f"say what it is by where={{{_name(letter)}: expression}}"
            )
        return np.asarray(velocity[_name(letter)])
    if isinstance(system, Recursion):  # of a recursion the letters are compared after one step
        return np.asarray(value(expression, {**known, **velocity}))
    moved = {**known, **{n: np.asarray(y) + 1j * STEP * velocity[n] for n, y in state.items()}}
    return np.asarray(np.imag(value(expression, moved)) / STEP)


def _claimed(letter: Any, rate: Any, known: Mapping[str, Any], shape: tuple[int, ...]) -> Array:
    if not isinstance(letter, sp.Indexed):
        return np.broadcast_to(np.asarray(value(rate, known), dtype=float), shape)
    out = np.empty(shape)
    for at, labels in _entries(letter, shape):
        out[at] = value(rate, known, labels)
    return out


def _entries(letter: Any, shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], dict[str, int]]]:
    labels = [str(i) for i in getattr(letter, "indices", ())]
    for at in itertools.product(*(range(n) for n in shape)):
        yield at, {label: i + 1 for label, i in zip(labels, at, strict=True)}
