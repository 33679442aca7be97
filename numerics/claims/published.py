"""Published equations of motion: the claimed rates against the derived right-hand side at random states.

A letter of the paper is an expression of our state; its rate of change is the derivative of that expression along the derived
flow, taken by a complex step (exact to rounding for analytic expressions). A letter without an expression is a state, or an
observable of the system, whose rate is taken by words.
A claim of leading order is judged by convergence: its error at small = 10^-1, ..., 10^-4 must go on falling, by more than
the square root of ten in the last step; a wrong constant leaves an error that does not fall.
Indexed letters, ``Q[k, l]``, are compared entry by entry. Imported by `numerics.verify`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import InvalidSpec
from derive.matrices.calculus import ddt
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly
from derive.system import Flow
from numerics.claims.expressions import value
from numerics.claims.states import draw_values, scattered
from numerics.claims.subject import POINTS, Subject, rates
from numerics.compare import deviation
from numerics.report import Check, worst
from numerics.trajectory import Array

STEP = 1e-30
SMALL = (1e-1, 1e-2, 1e-3, 1e-4)
FLOOR = 1e-11  # an error of this size is rounding: there is nothing left to fall


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Compare every claimed rate at a few random states (of the manifold ``claim.on``)."""
    system = subject.system(claim.on)
    if claim.small is not None:
        return (_convergence(claim, subject, system),)
    name, statistic = _largest(claim, subject, system)
    return (
        Check(
            claim=claim.label,
            statistic=statistic,
            bound=1e-10,
            reason=f"largest relative difference of the rates at {POINTS} random states; rounding of sums of products",
            seed=subject.seed,
            detail=f"largest for {name}",
        ),
    )


def _largest(claim: Any, subject: Subject, system: Flow, small: float = 0.0) -> tuple[str, float]:
    """The letter with the largest relative difference at the random states, and that difference."""
    from codegen import compile

    found: dict[str, list[float]] = {}
    kernel = compile(system, backend="numpy")
    for point in range(POINTS):
        at = scattered(system, subject.values, subject.rng(POINTS + point)) if point else subject.values
        state, params, sizes = draw_values(system, at, subject.rng(point))
        known = {**subject.entry.model.values, **sizes, **params, **state}
        if claim.small is not None:
            state, params = _varied(claim, system, state, params, {**known, _name(claim.small): small})
            known = {**sizes, **params, **state, _name(claim.small): small}
        velocity = rates(system, state, params, kernel=kernel)
        letters = {_name(k): value(e, known) for k, e in claim.where.items() if not isinstance(k, sp.Indexed)}
        for letter, rate in claim.rate.items():
            derived = _derived(letter, claim.where, system, state, velocity, known)
            claimed = _claimed(letter, rate, {**known, **letters}, derived.shape)
            found.setdefault(_name(letter), []).append(deviation(derived, claimed))
    return max(((n, worst(s)) for n, s in found.items()), key=lambda item: (np.isnan(item[1]), item[1]))


def _convergence(claim: Any, subject: Subject, system: Flow) -> Check:
    """Errors along a falling sequence of the small parameter."""
    seen = [_largest(claim, subject, system, small) for small in SMALL]
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
    moved = {**known, **{n: np.asarray(y) + 1j * STEP * velocity[n] for n, y in state.items()}}
    return np.asarray(np.imag(value(expression, moved)) / STEP)


def _claimed(letter: Any, rate: Any, known: Mapping[str, Any], shape: tuple[int, ...]) -> Array:
    if not isinstance(letter, sp.Indexed):
        return np.broadcast_to(np.asarray(value(rate, known), dtype=float), shape)
    out = np.empty(shape)
    for at, labels in _entries(letter, shape):
        out[at] = value(rate, known, labels)
    return out


def _entries(letter: sp.Indexed, shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], dict[str, int]]]:
    labels = [str(i) for i in letter.indices]
    for at in itertools.product(*(range(n) for n in shape)):
        yield at, {label: i + 1 for label, i in zip(labels, at, strict=True)}
