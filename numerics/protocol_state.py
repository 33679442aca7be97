"""What happens to a state between two phases of a protocol: assignments, deletions, and the way into other coordinates.

    jump:  W -> g(W, ...)                    overlaps of long vectors follow from  V -> A V  as  C -> A C A'
    cut:   entries of a dimension leave every array that carries it, the given ones included
    coordinates:  z -> lift -> jump, cut -> project -> z',  accepted only if  lift(z') is the state that was to be reached

so a jump that leaves the manifold of a reduction, or that depends on a choice of frame, is refused.
Imported by `numerics.protocol` only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from derive.errors import DerivationError, InvalidSpec, NotInvariant, UnsupportedNode
from derive.protocols.courses import Course, Cut, Jump, Stretch
from derive.spec.lowered import Lowered, LoweredUpdate
from derive.spec.tree import Tree, names
from derive.spec.tree_values import tree_value
from numerics.trajectory import Array

CLOSE = 1e-9  # relative; rounding of a lift and a projection, each a few products and one decomposition


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Numbers at one moment of a course.

    Attributes
    ----------
    state : mapping name -> array
        In the coordinates of the system that runs.
    known : mapping name -> array or number
        Given symbols and sizes.
    alive : mapping dimension -> array of int
        Original places of the entries that are left, for every dimension that is ever cut.
    t : float
    """

    state: Mapping[str, Array]
    known: Mapping[str, Any]
    alive: Mapping[str, Any] = field(default_factory=dict)
    t: float = 0.0


def lowered_value(low: Lowered, tree: Tree, held: Held, t: float | None = None, state: Mapping[str, Any] | None = None) -> Any:
    """Value of a tree of the model at given numbers, a state and a time.

    Raises
    ------
    InvalidSpec
        If a symbol has no value.
    """
    tree = low.inline(tree)
    values = {**held.known, **(held.state if state is None else state)}
    at = {n: _column(low, n, v) for n, v in values.items() if not callable(v)}
    for name in names(tree):
        if name not in at and name != "t":
            raise InvalidSpec(f"{low.name}: the protocol uses {name}, which has no value here; pass params={{{name!r}: ...}}")
    return tree_value(tree, {**at, "t": held.t if t is None else t}, low)


def _column(low: Lowered, name: str, value: Any) -> Any:
    """An array with the axes of the model: at index level a column has one axis only."""
    array = np.asarray(value, dtype=float)
    return array[:, None] if array.ndim == 1 and len(low.shapes.get(name, ())) == 2 else array if array.ndim else float(array)


def hand_over(course: Course, before: Stretch | None, held: Held, events: Sequence[tuple[Jump | Cut, Any]],
              after: Stretch, known: Mapping[str, Any], later: Mapping[str, Any]) -> Held:  # fmt: skip
    """The state at the end of one phase as the start of the next one.

    Parameters
    ----------
    before : Stretch or None
        None at the beginning of the course.
    held : Held
        At the end of ``before``; its ``known`` are without the bindings of phases.
    events : (Jump, None) or (Cut, function of the numbers -> places to delete)
    known, later : values bound by the phase before and by the phase after

    Raises
    ------
    NotInvariant, UnsupportedNode
        If the state cannot be expressed in the coordinates of the next phase.
    InvalidSpec
        If the next phase follows an array that this one does not.
    """
    from_ = before or after
    if from_.reduction is None and after.reduction is None:
        state = held.state
        out = held
        for event, places in events:
            out = apply_event(course, from_.flow.level, out, event, places)
            state = out.state
        missing = [b.name for b in after.flow.state if b.name not in state]
        if missing:
            raise InvalidSpec(
                f"{after.flow.name} needs {missing[0]}, which the phase before does not follow; add an observable that uses it"
            )
        return replace(out, state={b.name: state[b.name] for b in after.flow.state})
    if before is None and not events:
        return held
    return _through_full(course, from_, held, events, after, later if before is None else known, later)


def _through_full(course: Course, before: Stretch, held: Held, events: Sequence[tuple[Jump | Cut, Any]], after: Stretch,
                  known: Mapping[str, Any], later: Mapping[str, Any]) -> Held:  # fmt: skip
    """Lift, apply the events, project, and look whether the projection lost anything."""
    assert before.reduction is not None  # one ansatz reduces every phase of a course
    assert after.reduction is not None
    lift, lift_after, project = before.reduction.lift_state, after.reduction.lift_state, after.reduction.project_state
    constrain = after.reduction.constrain
    if lift is None or lift_after is None:
        raise UnsupportedNode(f"{before.system.name} has no numerical lift; run the course without the ansatz")
    ends = []
    for seed in (0, 1):  # two frames: what depends on a free orthogonal factor is no event of the coordinates
        full = Held(state=lift({**held.known, **known}, held.state, seed=seed) if _seeded(lift) else
                    lift({**held.known, **known}, held.state), known=held.known, alive=held.alive, t=held.t)  # fmt: skip
        for event, places in events:
            full = apply_event(course, before.flow.level, full, event, places)
        values = {**full.known, **later}

        def lifted(z: Mapping[str, Any], values: Mapping[str, Any] = values, seed: int = seed) -> dict[str, Any]:
            return lift_after(values, z, seed=seed) if _seeded(lift_after) else lift_after(values, z)

        if not events and _same(lifted(held.state), full.state):
            ends.append(dict(held.state))
            continue
        if project is None:
            raise UnsupportedNode(
                f"{_shown(events)}: {after.system.name} has no projection of a full state; give solve_for= to its Manifold, or "
                "run the course without the ansatz"
            )
        z = {n: np.asarray(v, dtype=float) for n, v in project(values, full.state).items()}
        if not _same(lifted(z), full.state) or (constrain is not None and not _same(constrain(values, z), z)):
            raise NotInvariant(
                f"{_shown(events)} leaves the manifold of {after.system.name}: the new state is none that its coordinates "
                "describe; run the course without the ansatz",
                point=full.state,
            )
        ends.append(z)
    if not _same(ends[0], ends[1]):
        raise NotInvariant(
            f"{_shown(events)}: the result depends on directions that {before.system.name} has eliminated; run the course "
            "without the ansatz"
        )
    return replace(full, state=ends[0])


def _seeded(lift: Any) -> bool:
    import inspect

    return "seed" in inspect.signature(lift).parameters


def _shown(events: Sequence[tuple[Jump | Cut, Any]]) -> str:
    return ", ".join(e.label for e, _ in events) or "the switch of phases"


def _same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    size = max(float(np.abs(v).max()) for v in b.values())
    return all(n in a and np.shape(a[n]) == np.shape(v) and np.abs(a[n] - v).max() <= CLOSE * size for n, v in b.items())


def apply_event(course: Course, level: str, held: Held, event: Jump | Cut, places: Any) -> Held:
    """One event on a full state."""
    if isinstance(event, Cut):
        size, known = dimension_size(course, held, event.dimension), len(held.alive.get(event.dimension, ()))
        if known and size != known:
            raise UnsupportedNode(
                f"{event.label}: the coordinates stand for {size} entries of {event.dimension} where there are {known}, so "
                "they do not tell them apart; reduce less far, or run the course without the ansatz"
            )
        return cut(course, held, event, places(held))
    low = course.model.lowered
    if isinstance(low.rule, LoweredUpdate) and level == "index" and low.limit is not None:
        return _jump_overlaps(course, held, event)
    state = dict(held.state)
    for name, tree in event.pairs:
        state[name] = _fitted(name, lowered_value(low, tree, held), held.state[name])
    return replace(held, state=state)


def _fitted(name: str, value: Any, like: Array) -> Array:
    array = np.asarray(value, dtype=float)
    if array.size != np.size(like) or not np.isfinite(array).all():
        raise InvalidSpec(
            f"the event gives {name} shape {array.shape} or a value that is not finite, its own is {np.shape(like)}"
        )
    return array.reshape(np.shape(like))


# ------------------------------------------------------------------------------------------------------------------ deletion
def dimension_size(course: Course, held: Held, dimension: str) -> int:
    """Present size of a dimension, read off the arrays."""
    for name, shape in axes_of(course, held):
        array = held.state[name] if name in held.state else held.known[name]
        for size, found in zip(shape, np.shape(array), strict=True):
            if size == dimension:
                return int(found)
    if dimension in held.known:
        return int(held.known[dimension])
    raise InvalidSpec(
        f"no array of the state or of the given symbols shows the size of {dimension}; pass params={{{dimension!r}: n}}"
    )


def axes_of(course: Course, held: Held) -> list[tuple[str, tuple[Tree, ...]]]:
    """Arrays at hand and the dimensions of their axes; at index level those of the system's blocks."""
    blocks: dict[str, tuple[Tree, ...]] = {}
    for s in course.stretches:
        for flow in (s.flow, s.system):
            blocks |= {b.name: tuple(b.shape) for b in (*flow.state, *flow.parameters)}
    low = course.model.lowered
    out = []
    for name in (*held.state, *held.known):
        array = held.state[name] if name in held.state else held.known[name]
        if callable(array):
            continue
        fits = [s for s in (blocks.get(name), low.shapes.get(name)) if s is not None and len(s) == np.ndim(array)]
        if fits and np.ndim(array):
            out.append((name, tuple(fits[0])))
    return out


def cut(course: Course, held: Held, event: Cut, places: Sequence[int]) -> Held:
    """Remove entries of a dimension from every array that carries it.

    Raises
    ------
    InvalidSpec
        If an array carries the dimension inside a sum or product of dimensions.
    """
    state, known = dict(held.state), dict(held.known)
    for name, shape in axes_of(course, held):
        for axis, size in enumerate(shape):
            if isinstance(size, tuple) and event.dimension in names(size):
                raise InvalidSpec(
                    f"{event.label}: {name} carries {event.dimension} inside {size}; give that axis a name of its own"
                )
            if size == event.dimension:
                where = state if name in state else known
                where[name] = np.delete(np.asarray(where[name], dtype=float), np.asarray(places, dtype=int), axis=axis)
    if event.dimension in known:
        known[event.dimension] = int(known[event.dimension]) - len(places)
    alive = dict(held.alive)
    if len(alive.get(event.dimension, ())):
        alive[event.dimension] = np.delete(alive[event.dimension], places)
    return replace(held, state=state, known=known, alive=alive)


def choose_places(course: Course, held: Held, event: Cut, given: Sequence[int] | None, seed: int, number: int) -> Array:
    """Places to delete among the present entries: the given ones, or random ones from a stream of their own.

    Raises
    ------
    InvalidSpec
        If the number is not that of the protocol, or nothing would be left.
    """
    size = dimension_size(course, held, event.dimension)
    count = lowered_value(course.model.lowered, event.count, held)
    if count != int(count) or not 1 <= count < size:
        raise InvalidSpec(f"{event.label}: {count:g} of {size} entries cannot be dropped; give 1 to {size - 1}")
    if given is None:
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
        return np.sort(rng.choice(size, size=int(count), replace=False))
    places = np.asarray(given, dtype=int)
    if places.shape != (int(count),) or len(np.unique(places)) != len(places) or places.min() < 0 or places.max() >= size:
        raise InvalidSpec(
            f"{event.label}: dropped[{number}] = {list(given)} must be {int(count)} different places from 0 to {size - 1}"
        )
    return np.sort(places)


# -------------------------------------------------------------------------------------------------- overlaps of long vectors
def _jump_overlaps(course: Course, held: Held, event: Jump) -> Held:
    """O(1) states by value, families of long vectors by the matrix A of  V -> A V, which acts on their Gram matrices."""
    from derive.fields.rule import field_rule

    low = course.model.lowered
    overlaps = field_rule(course.model).overlaps
    new = dict(event.pairs)
    state = dict(held.state)
    for name, tree in new.items():
        if name in overlaps.families:
            continue
        vectors = [f for f in names(low.inline(tree)) if f in overlaps.families]
        if vectors:
            raise UnsupportedNode(
                f"{event.label}: the new {name} depends on {vectors[0]} itself, not on overlaps alone; {REMEDY}"
            )
        state[name] = _fitted(name, lowered_value(low, tree, held), held.state[name])
    moved = [f for f in overlaps.families if f in new]
    if not moved:
        return replace(held, state=state)
    gram, rows = _gram(overlaps, {**held.known, **held.state})
    mix = np.eye(len(gram))
    for f in moved:
        mix[rows[f]] = _mixing(low, f, new[f], held, rows, len(gram), event)
    gram = mix @ gram @ mix.T
    for (a, b), name in overlaps.names.items():
        if name in state:
            state[name] = gram[np.ix_(_places(rows[a]), _places(rows[b]))].reshape(np.shape(held.state[name]))
    return replace(held, state=state)


REMEDY = "write it as O(1) matrices times the vectors, or do the event in a simulation"


def _places(rows: slice) -> Any:
    return np.arange(rows.start, rows.stop)


def _gram(overlaps: Any, arrays: Mapping[str, Any]) -> tuple[Array, dict[str, slice]]:
    """The joint Gram matrix of all families, and the rows of each; overlaps between different blocks do not exist and are 0."""
    count = {}
    for f in overlaps.families:
        name = overlaps.name(f, f)[0]
        if name not in arrays:
            raise InvalidSpec(f"an event on long vectors needs the overlaps {name}; pass them with the start or the parameters")
        count[f] = int(np.sqrt(np.size(arrays[name])))
    edges = np.cumsum([0, *count.values()])
    rows = {f: slice(int(i), int(j)) for f, i, j in zip(count, edges[:-1], edges[1:], strict=True)}
    gram = np.zeros((edges[-1], edges[-1]))
    for (a, b), name in overlaps.names.items():
        if name in arrays:
            block = np.asarray(arrays[name], dtype=float).reshape(count[a], count[b])
            gram[rows[a], rows[b]], gram[rows[b], rows[a]] = block, block.T
    return gram, rows


def _mixing(low: Lowered, family: str, tree: Tree, held: Held, rows: Mapping[str, slice], total: int, event: Jump) -> Array:
    """A of  V_family -> A (all vectors): the rule at unit vectors, and once more at random ones to see that it is linear."""
    long = [str(n) for n, _ in (low.limit or ((), ()))[0]]
    if any(n in names(low.inline(tree)) for n in long):
        raise UnsupportedNode(f"{event.label}: {long[0]} occurs in the new {family}; {REMEDY}")
    rng = np.random.default_rng(0)
    probe = rng.standard_normal((total, total + 2))

    def at(vectors: Array) -> Array:
        placed = {}
        for f, r in rows.items():
            columns = str(low.shapes[f][0]) in long
            placed[f] = vectors[r].T if columns else vectors[r]
        out = np.asarray(lowered_value(low, tree, held, state={**held.state, **placed}), dtype=float)
        return out.T if str(low.shapes[family][0]) in long else out

    try:
        mixing = at(np.eye(total))
        linear = mixing.shape[1] == total and np.allclose(at(probe), mixing @ probe, rtol=1e-10, atol=1e-10)
    except (DerivationError, ValueError, IndexError):
        linear = False
    if not linear:
        raise UnsupportedNode(f"{event.label}: the new {family} is no linear mixture of the long vectors; {REMEDY}")
    return mixing
