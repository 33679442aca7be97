"""Published equations of motion: the claimed rates against the derived right-hand side at random states.

A letter of the paper is an expression of our state; its rate of change is the derivative of that expression along the derived
flow, taken by a complex step (exact to rounding for analytic expressions). A letter without an expression is a state.
Indexed letters, ``Q[k, l]``, are compared entry by entry. Imported by `numerics.verify`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import InvalidSpec
from derive.system import Flow
from numerics.claims.expressions import value
from numerics.claims.states import draw_values
from numerics.claims.subject import POINTS, Subject, rates
from numerics.compare import deviation
from numerics.report import Check, worst
from numerics.trajectory import Array

STEP = 1e-30


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """Compare every claimed rate at a few random states (of the manifold ``claim.on``)."""
    system = subject.system(claim.on)
    found: dict[str, list[float]] = {}
    for point in range(POINTS):
        state, params, sizes = draw_values(system, subject.values, subject.rng(point))
        velocity = rates(system, state, params)
        known = {**sizes, **params, **state}
        letters = {_name(k): value(e, known) for k, e in claim.where.items() if not isinstance(k, sp.Indexed)}
        for letter, rate in claim.rate.items():
            derived = _derived(letter, claim.where, system, state, velocity, known)
            claimed = _claimed(letter, rate, {**known, **letters}, derived.shape)
            found.setdefault(_name(letter), []).append(deviation(derived, claimed))
    name, statistic = max(((n, worst(s)) for n, s in found.items()), key=lambda item: (np.isnan(item[1]), item[1]))
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
