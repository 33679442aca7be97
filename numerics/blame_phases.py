r"""Drift regression of a protocol: every phase is judged by itself, with the values that it binds.

    phase f:   y_s = sum_j t_j(C_s; parameters, values bound by f) + noise,      z_jf as in `numerics.blame`

The bursts of a phase are those of the model of that phase alone, at states of its own; a value that moves in time, bound by the
phase or given as a schedule, is taken at a random time of the phase for every state. Terms of all phases stand in one list with
one bound, so the probability of blaming a right course is the stated one. Imported by `numerics.blame`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.fields.rule import field_rule
from derive.indices.indexed import Node, add, mul
from derive.protocols.courses import Course, Stretch, course
from derive.protocols.sequence import phase_model
from derive.spec.lowered import Lowered
from derive.spec.rules import Phase
from derive.spec.simulation_plan import plan as plan_of
from derive.spec.tree import names
from derive.system import Flow
from numerics.blame import absent, measure, regress, terms_of
from numerics.blame_result import Blame, limits
from numerics.blame_spots import Bind, draw_spots, same_states, sampled
from numerics.bursts import Spot
from numerics.controls import split_controls
from numerics.protocol_state import Held, lowered_value

APART = 1_000_003  # of the seeds of two phases


def blame_phases(
    model: Any,
    system: Flow | Course | None,
    *,
    values: Mapping[str, Any],
    states: int | Sequence[Spot],
    bursts: int,
    size: int,
    seed: int,
    candidates: Mapping[str, Node] | None,
    false_alarm: float,
) -> Blame:
    """As `blame`, for a model with a protocol.

    Raises
    ------
    InvalidSpec
        As `blame`; also if the course has an ansatz, or the length of a phase in which a value moves is not known.
    """
    made = system if isinstance(system, Course) else course(model, flow=system)
    if any(s.reduction is not None for s in made.stretches):
        raise InvalidSpec(f"{model.name}: bursts start from full weights; give blame the course without an ansatz")
    derived = course(model) if system is not None and candidates is None else made
    out: list[Blame] = []
    for phase, right in zip(_phases(model, made, values), derived.stretches, strict=True):
        number, bound_names = phase.number, [n for n, _ in phase.stretch.binds]
        flow, right_flow = opened(phase.stretch.flow, bound_names), opened(right.flow, bound_names)
        bound = phase_model(model, phase.item, number, keep=phase.moving)
        rule, data = field_rule(bound), plan_of(bound)
        same_states(flow, rule, bound.lowered.state)
        if isinstance(states, int):
            drawn = draw_spots(flow, rule, phase.still, states, size, seed + APART * number, phase.bind)
        else:
            drawn = tuple(_at(s, phase.bind, seed + APART * number + k) for k, s in enumerate(states))
        spots, drifts = measure(data, rule, drawn, bursts=bursts, size=size, seed=seed + APART * number)
        more = absent(flow, right_flow) if candidates is None else candidates
        result = regress(
            flow, spots, drifts, candidates=more, derived=right_flow if candidates is None else None, false_alarm=false_alarm
        )
        out.append(replace(result, terms=tuple(replace(t, phase=phase.label) for t in result.terms)))
    return _together(model.name, out, [len(s.flow.state) for s in made.stretches], false_alarm)


def opened(flow: Flow, weights: Sequence[str]) -> Flow:
    """Products of a weight with a sum written as sums, so that each term is judged by itself.

    >>> from derive.indices.indexed import arr
    >>> from derive.system import Block
    >>> whole = Flow(name="one", state=(Block(name="u"),), rhs={"u": arr("w") * (arr("a") + arr("b"))})
    >>> opened(whole, ("w",)).rhs["u"]
    a*w + b*w
    """
    return flow.replace(rhs={n: add(*(x for t in terms_of(e) for x in _spread(t, weights))) for n, e in flow.rhs.items()})


def _spread(term: Node, weights: Sequence[str]) -> Sequence[Node]:
    if term.op != "mul" or not any(a.op == "arr" and a.args[0] in weights for a in term.args):
        return (term,)
    sums = [n for n, a in enumerate(term.args) if a.op == "add"]
    if not sums:
        return (term,)
    n = sums[0]
    rest = (*term.args[:n], *term.args[n + 1 :])
    return [x for a in term.args[n].args for x in _spread(mul(*rest, a), weights)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phase:
    """A phase with its numbers."""

    number: int
    item: Phase
    stretch: Stretch
    moving: tuple[str, ...]
    still: Mapping[str, Any]
    bind: Bind

    @property
    def label(self) -> str:
        """Which phase, and what it binds."""
        plain = f"phase {self.number}"
        return plain if self.stretch.label == plain else f"{plain} ({self.stretch.label})"


def _phases(model: Any, made: Course, values: Mapping[str, Any]) -> Iterator[_Phase]:
    still, courses = split_controls(values)
    low, begin = model.lowered, 0.0
    items = [item for item in model.protocol if isinstance(item, Phase)]
    for number, (item, stretch) in enumerate(zip(items, made.stretches, strict=True), start=1):
        moving = tuple(n for n, tree in stretch.binds if "t" in names(low.inline(tree)))
        end = begin
        if moving or courses:
            end = begin + float(lowered_value(low, stretch.length, Held(state={}, known=still)))
        span = (begin, end)
        yield _Phase(
            number=number, item=item, stretch=stretch, moving=moving, still=still,
            bind=_binding(low, stretch, sampled(courses, span), span),
        )  # fmt: skip
        begin = end


def _binding(low: Lowered, stretch: Stretch, given: Bind, span: tuple[float, float]) -> Bind:
    """Values of a phase: what is given as a function of time, what its bindings use, and the bindings themselves."""

    def bind(known: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        out = dict(given(known, rng))
        used = sorted({n for _, tree in stretch.binds for n in names(low.inline(tree))} - {"t"})
        for name in used:
            if name not in known and name not in out and not low.shapes.get(name, ()):
                out[name] = rng.uniform(0.2, 0.8)  # a rate, or a probability
        held, t = Held(state={}, known={**known, **out}), rng.uniform(*span)
        bound = {n: np.asarray(lowered_value(low, tree, held, t), dtype=float) for n, tree in stretch.binds}
        return {**out, **bound}

    return bind


def _at(spot: Spot, bind: Bind, seed: int) -> Spot:
    """A state of the user's with the values of a phase."""
    bound = bind({**spot.sizes, **spot.parameters}, np.random.default_rng(seed))
    return replace(spot, parameters={**spot.parameters, **{n: np.asarray(v, dtype=float) for n, v in bound.items()}})


def _together(name: str, parts: Sequence[Blame], equations: Sequence[int], false_alarm: float) -> Blame:
    """One list of terms with one bound."""
    terms = sorted((t for p in parts for t in p.terms), key=lambda t: -abs(t.z))
    bound, misfit_bound = limits(len(terms), sum(equations), false_alarm)
    first = max(parts, key=lambda p: abs(p.terms[0].z) if p.terms else 0.0)
    return Blame(
        system=name, terms=tuple(terms), bound=bound, misfit=max(p.misfit for p in parts), misfit_bound=misfit_bound,
        unexplained=first.unexplained, false_alarm=false_alarm, bursts=sum(p.bursts for p in parts),
    )  # fmt: skip


__all__ = ["blame_phases", "opened"]
