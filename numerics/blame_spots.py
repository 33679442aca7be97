"""Random states at which drifts are measured: consistent overlaps, and parameters that differ from state to state.

Imported by `numerics.blame`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.fields.overlaps import Overlaps
from derive.fields.rule import FieldRule
from derive.system import Flow
from numerics.bursts import Spot, snapped
from numerics.claims.gram import gram_matrices
from numerics.claims.overlap_states import draw_overlaps
from numerics.claims.states import draw_sizes, draw_values, scattered
from numerics.controls import Schedule
from numerics.trajectory import Array

WIDE = 1.8  # numbers and lengths are moved by factors between 1 / WIDE and WIDE
ALONG = 0.7  # of a learned vector along the fixed ones, in their length

Bind = Callable[[Mapping[str, Any], np.random.Generator], Mapping[str, Any]]
"""Values that a phase gives to symbols, out of those of the other symbols."""


def same_states(system: Flow, rule: FieldRule, states: Sequence[str]) -> None:
    """The equations under test are in the overlaps of the rule.

    Raises
    ------
    InvalidSpec
        If they have other states.
    """
    moving = [n for (a, b), n in rule.overlaps.names.items() if rule.overlaps.kind(a, b) != "fixed"]
    moving += [n for n in states if n not in rule.overlaps.families]
    if sorted(moving) != sorted(b.name for b in system.state):
        raise InvalidSpec(
            f"{system.name} has the states {', '.join(b.name for b in system.state)}, the model has {', '.join(moving)}; "
            "give the equations in the overlaps of online_limit(model)"
        )


def spread(system: Flow, values: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The values with every number that is a parameter moved by a factor of its own; shares of one stay below one.

    Terms that differ by powers of parameters are told apart by the spread of these, so it is wide.
    """
    known = {n: float(v) if np.ndim(v) == 0 and isinstance(v, float) else v for n, v in values.items()}
    moved = scattered(system, known, rng)
    for name, was in known.items():
        if moved[name] is not was:
            factor = WIDE ** rng.uniform(-1, 1)
            moved[name] = moved[name] if not was else was * factor if not 0 < was < 1 else min(was * factor, (1 + was) / 2)
    return moved


def varied(overlaps: Overlaps, drawn: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    """Overlaps of vectors moved by  W -> s (W + X W*):  lengths s of their own, and parts X along the fixed vectors.

    Random vectors of one length are hardly correlated with a teacher, and terms that differ by powers of overlaps look alike
    there. The overlaps stay those of vectors that exist, since the Gram matrix C becomes M C M'.
    """
    out = {n: np.asarray(a, dtype=float) for n, a in drawn.items()}
    for gram in gram_matrices(overlaps, out):
        move = np.eye(len(gram.matrix))
        for f in (f for f in gram.place if f in overlaps.learned):
            for g in (g for g in gram.place if g not in overlaps.learned):
                shape = move[gram.place[f], gram.place[g]].shape
                move[gram.place[f], gram.place[g]] = ALONG * rng.standard_normal(shape) / np.sqrt(shape[1])
            lengths = WIDE ** rng.uniform(-1, 1, gram.place[f].stop - gram.place[f].start)
            move[gram.place[f]] *= lengths[:, None]
        moved = move @ gram.matrix @ move.T
        for a, b, name in gram.pairs:
            out[name] = moved[gram.place[a], gram.place[b]].reshape(out[name].shape)
    return out


def sampled(courses: Mapping[str, Callable[[float], Any]], span: tuple[float, float] | None = None) -> Bind:
    """Values of functions of time at a random time of a span, by default that of their schedule.

    Raises
    ------
    InvalidSpec
        If there is no span, and one of them is no `Schedule`.
    """
    ends = [span] if span is not None and courses else []
    for name, f in courses.items() if span is None else ():
        if not isinstance(f, Schedule):
            raise InvalidSpec(f"values: {name} is a function of time without a span of its own; give a Schedule(times, values)")
        ends.append((float(f.times[0]), float(f.times[-1])))
    low, high = (min(a for a, _ in ends), max(b for _, b in ends)) if ends else (0.0, 0.0)

    def bind(known: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        if not courses:
            return {}
        t = rng.uniform(low, high)
        return {n: np.asarray(f(t), dtype=float) for n, f in courses.items()}

    return bind


def draw_spots(
    system: Flow, rule: FieldRule, values: Mapping[str, Any], states: int, size: int, seed: int, bind: Bind | None = None
) -> tuple[Spot, ...]:
    """Random states with consistent overlaps, and parameters that differ between them, those of a phase excepted."""
    if states < 1:
        raise InvalidSpec(f"states={states}: a drift is measured at one state at least")
    out = []
    for number in range(states):
        rng = np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=(number, 11)))
        known = spread(system, values, rng)
        if bind is not None:
            known = {**known, **bind(known, rng)}
        state, parameters, sizes = draw_values(system, known, rng)
        sizes = {**draw_sizes(system, known), **sizes}
        drawn = varied(rule.overlaps, draw_overlaps(rule.overlaps, sizes, known, rng), rng)
        state |= {n: a for n, a in drawn.items() if n in state}
        parameters = {
            n: parameters.get(n, np.asarray(a)) for n, a in {**known, **parameters}.items() if n not in sizes and n not in state
        }
        parameters |= {n: a for n, a in drawn.items() if n not in state}
        out.append(Spot(state=state, parameters=snapped(rule, parameters, size), sizes=sizes))
    return tuple(out)


__all__ = ["Bind", "draw_spots", "same_states", "sampled", "spread", "varied"]
