r"""A protocol as a course: systems that follow each other in time, with what happens to the state between them.

    stretch   d z / dt = f(z; parameters of the phase),   for its length, or until  g(z) >= 0
    jump      W <- new value, all assignments at once from the old state            (`Event`)
    cut       entries of a dimension leave every array that carries it              (`Drop`)

Only what differs is derived: a value bound by a phase stays a parameter of the system, which the run sets, unless the structure
of the equations hangs on it (an exponent, a family of long vectors, a law). A label inside `case` of a one-pass rule is set
through its weights, ``task_is_1`` = 1 or a probability, since the equations are linear in them. Phases that come out alike
share one system. The condition ``until`` is made an observable of its system, so its averages are derived like all others, and
it follows every reduction. Imported by users and by `numerics.protocol`, which runs a course.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, UnsupportedNode
from derive.fields.labels import switches, weight_name
from derive.protocols.sequence import phase_model
from derive.spec.lowered import Lowered, LoweredUpdate, lowered_of
from derive.spec.model import Model
from derive.spec.notation import text
from derive.spec.rules import Event, Phase
from derive.spec.tree import Tree, names, walk
from derive.spec.validate import expressions
from derive.system import Flow, Reduction


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """One phase.

    Attributes
    ----------
    label : str
        What the phase binds, in words.
    model : Model
        The phase by itself.
    flow : Flow
        Its system; phases that differ in values of parameters only share one.
    reduction : Reduction or None
        Of ``flow``, if the course was made with an ansatz.
    length : tree
        In the unit of time of the rule.
    binds : tuple of (name, tree)
        Values that the run sets; a tree may hold ``t``, the time since the beginning of the course.
    until : str
        Name of the observable at whose first value >= 0 the phase ends; empty if there is none.
    """

    label: str
    model: Model
    flow: Flow
    reduction: Reduction | None = None
    length: Tree
    binds: tuple[tuple[str, Tree], ...] = ()
    until: str = ""

    @property
    def system(self) -> Flow:
        """What is integrated: the reduced system, or the flow."""
        return self.flow if self.reduction is None else self.reduction.system


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """The state is mapped at once: (state, new value), assigned simultaneously from old values."""

    label: str
    pairs: tuple[tuple[str, Tree], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """``count`` entries of a dimension leave every array that carries it."""

    label: str
    dimension: str
    count: Tree


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What follows what.

    Attributes
    ----------
    model : Model
        With its protocol.
    parts : tuple of Stretch, Jump, Cut
        In the order of the protocol.
    """

    model: Model
    parts: tuple[Stretch | Jump | Cut, ...]

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """The phases."""
        return tuple(p for p in self.parts if isinstance(p, Stretch))

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The deletions."""
        return tuple(p for p in self.parts if isinstance(p, Cut))


def course(model: Model, ansatz: Any = None, *, flow: Flow | None = None) -> Course:
    """Derive the systems of a protocol, each distinct one once.

    Parameters
    ----------
    model : Model
        With a ``protocol`` of one `Phase` or more.
    ansatz : as for `reduce`, optional
        Reduces the system of every phase.
    flow : Flow, optional
        Takes the place of the derived system in every phase that binds values only; for checks that must reject a wrong one.

    Raises
    ------
    InvalidSpec
        If there is no phase.
    UnsupportedNode
        If a binding that decides the structure of the equations depends on time.
    NotInvariant
        If a phase leaves the manifold of the ansatz.

    Examples
    --------
    >>> from derive import Event, Model, Phase, Rate, scalars, t
    >>> u, s, a = scalars("u s a")
    >>> protocol = (Phase(5, bind={s: 2}), Event({u: u / 2}), Phase(5, bind={s: a / (1 + t)}, until=u > 3))
    >>> made = course(Model(name="m", state=u, given=(s, a), learn=Rate({u: s - u}), protocol=protocol))
    >>> [part.label for part in made.parts]
    ['s = 2', 'u -> u/2', 's = a/(t + 1)']
    >>> made.stretches[0].flow.rhs["u"], made.stretches[1].until
    (s - u, 'until')
    """
    low = lowered_of("course", model)
    if not any(isinstance(item, Phase) for item in model.protocol):
        raise InvalidSpec(f"{model.name} has no phases; write protocol=(Phase(10, bind={{...}}), ...)")
    known = _Known(ansatz, flow)
    parts: list[Stretch | Jump | Cut] = []
    for number, (item, data) in enumerate(zip(model.protocol, low.protocol, strict=True), start=1):
        if isinstance(item, Phase):
            parts.append(_stretch(model, item, data, number, known))
        elif isinstance(item, Event):
            parts.append(Jump(label=", ".join(f"{n} -> {text(tree)}" for n, tree in data[1]), pairs=data[1]))
        else:
            parts.append(Cut(label=f"drop {text(data[2])} of {data[1]}", dimension=data[1], count=low.inline(data[2])))
    return Course(model=model, parts=tuple(parts))


class _Known:
    """Systems derived so far, by the digest of their model."""

    def __init__(self, ansatz: Any, flow: Flow | None):
        self.ansatz, self.flow = ansatz, flow
        self.made: dict[str, tuple[Flow, Reduction | None]] = {}

    def system(self, model: Model, until: str, plain: bool) -> tuple[Flow, Reduction | None]:
        from derive.derivation import full_flow
        from derive.reductions.reduction import reduce

        if model.digest not in self.made:
            derived = full_flow(model) if self.flow is None or until or not plain else self.flow
            if self.flow is not None and until and plain:
                derived = self.flow.replace(observables={**self.flow.observables, until: derived.observables[until]})
            self.made[model.digest] = derived, None if self.ansatz is None else reduce(derived, self.ansatz)
        return self.made[model.digest]


def _stretch(model: Model, phase: Phase, data: tuple[Any, ...], number: int, known: _Known) -> Stretch:
    low = model.lowered
    fixed, labels = structural(low), _labels(low)
    kept, binds = [], []
    for name, kind, v in data[2]:
        weights = _weights(low, name, kind, v, labels.get(name, ()))
        if weights or (kind == "value" and name not in fixed):
            kept.append(name)
            binds += weights or [(name, low.inline(v))]
    made = phase_model(model, phase, number, keep=tuple(kept))
    until = ""
    if phase.until is not None:
        until, made = _watched(model, made, phase)
    flow, reduction = known.system(made, until, plain=len(kept) == len(data[2]))
    if until and reduction is not None and until not in reduction.system.observables:
        raise UnsupportedNode(
            f"{model.name}: until={phase.until} is no function of the coordinates of {reduction.system.name}; run the course "
            "without this ansatz, or end the phase by its length"
        )
    return Stretch(
        label=_shown(data) or f"phase {sum(i[0] == 'phase' for i in low.protocol[:number])}",
        model=made, flow=flow, reduction=reduction, length=low.inline(data[1]), binds=tuple(binds), until=until,
    )  # fmt: skip


def _shown(data: tuple[Any, ...]) -> str:
    """What a phase binds, in words."""
    out = []
    for n, kind, v in data[2]:
        values = " or ".join(text(row[0]) for row in v.values or ()) if kind == "law" and len(v.symbols) == 1 else ""
        out.append(f"{n} = {text(v)}" if kind == "value" else f"{n} = {values} at random" if values else f"{n} ~ {v.law}")
    return ", ".join(out)


def _labels(low: Lowered) -> dict[str, tuple[Tree, ...]]:
    """Labels that a one-pass rule compares with numbers, and those numbers."""
    return switches(low) if isinstance(low.rule, LoweredUpdate) else {}


def _weights(low: Lowered, name: str, kind: str, value: Any, compared: tuple[Tree, ...]) -> list[tuple[str, Tree]]:
    """Weights of a label that is bound to one of its numbers, or to a law over them; empty if it is bound to anything else.

    They sum to 1, so the terms that do not depend on the label stay as they are.
    """
    found: dict[Tree, Tree] = {}
    if kind == "value":
        found = {value: 1}
    elif value.law == "Choice" and value.symbols == (name,) and value.values is not None:
        rows = [row[0] for row in value.values]
        share = value.probs if value.probs is not None else [("frac", 1, len(rows))] * len(rows)
        found = dict(zip(rows, share, strict=True)) if len(set(rows)) == len(rows) else {}
    if not found or not all(v in compared for v in found):
        return []
    taken = (*low.shapes, *low.dims)
    return [(weight_name(name, v, taken), low.inline(found.get(v, 0))) for v in compared]


def _watched(model: Model, made: Model, phase: Phase) -> tuple[str, Model]:
    """The condition of a phase as an observable, >= 0 where it holds."""
    rel = phase.until
    if not isinstance(rel, (sp.Gt, sp.Ge, sp.Lt, sp.Le)):
        raise InvalidSpec(f"{model.name}: until={rel} is no inequality; write the side from which it is reached, S > theta")
    used = {str(s.name) for s in rel.free_symbols if hasattr(s, "name")}
    if "t" in used:
        raise UnsupportedNode(f"{model.name}: until={rel} depends on time; a phase ends at a time by its length")
    name = next(n for n in ("until", *(f"until{i}" for i in range(1, 999))) if n not in {**made.observe, **made.symbols})
    kept = [s.name for s in made.given]
    given = tuple(s for s in model.given if s.name in kept or s.name in used)  # a threshold may stand in the condition only
    return name, made.replace(given=given, observe={**made.observe, name: rel.gts - rel.lts})


def structural(low: Lowered) -> tuple[str, ...]:
    """Given symbols on which the form of the equations hangs, sorted: compared by `case`, in an exponent, or with a long axis.

    Labels that are set through their weights are among them, because other values of theirs are not.
    """
    long = {str(n) for n, _ in low.limit[0]} if low.limit else set()
    found = {n for n in low.given if any(str(d) in long for d in low.shapes[n])}
    for where, tree in expressions(low):
        for node in walk(low.inline(tree)) if where != "protocol" else ():
            if isinstance(node, tuple) and node[0] in ("delta", "pow"):
                parts: Sequence[Tree] = node[1:] if node[0] == "delta" else node[2:]
                found |= {n for part in parts for n in names(part) if low.roles.get(n) == "given"}
    return tuple(sorted(found))


__all__ = ["Course", "Cut", "Jump", "Stretch", "course", "structural"]
