"""The expressions of a chain plan as segments of a register program, each with the places where its results go.

One segment for every outcome of the labels (a unit column counts as one outcome for each of its places), one for the choice
between them, one for every later block; each reads the state at its own time, so no register is shared. Imported by the
chain only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chain_arrays import count_of, moving
from .chain_program import Key, Labels, Program, Writer, evaluate
from .errors import BindingError, NotSimulable, PlanError

Array = NDArray[np.float64]
Leaf = Callable[[list[Any], Labels], float | Key]
#: Most outcomes of the labels, places of unit columns counted one by one.
MOST_OUTCOMES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where everything stands.

    Attributes
    ----------
    start : mapping family -> first row in C
    columns : mapping input -> first column
    states : mapping state -> slice of theta
    noises, masks : mapping name -> slice
    controls : mapping given name -> first entry
    shapes : mapping state, overlap or control -> shape
    """

    start: Mapping[str, int]
    columns: Mapping[str, int]
    states: Mapping[str, slice]
    noises: Mapping[str, slice]
    masks: Mapping[str, slice]
    controls: Mapping[str, int]
    shapes: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A program whose outputs are F at (row, column), then G at (row, row), H at entries of theta; ``rows`` get new values."""

    program: Program
    F: tuple[tuple[int, int], ...] = ()
    G: tuple[tuple[int, int], ...] = ()
    H: tuple[int, ...] = ()
    rows: tuple[int, ...] = ()
    replaces: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One outcome of all labels: laws at these values, and the labels of its unit columns."""

    data: Mapping[str, Any]
    at: Labels
    shown: str


def expand(plan: Mapping[str, Any], sizes: Mapping[str, int]) -> list[Outcome]:
    """All outcomes, places of unit columns one by one."""
    out = []
    for data in plan["outcomes"]:
        for at in assignments([p["label"] for p in data["places"]], sizes):
            shown = ", ".join([*filter(None, [data["shown"]]), *(f"place {n}" for n in at.values())])
            out.append(Outcome(data=data, at=at, shown=shown))
            if len(out) > MOST_OUTCOMES:
                raise NotSimulable(
                    f"{plan['name']}: its labels have more than {MOST_OUTCOMES} outcomes. Simulate the plan with its weights."
                )
    return out


def leaf_of(plan: Mapping[str, Any], arrays: Mapping[str, Array], sizes: Mapping[str, int], places: Places) -> Leaf:
    """What a leaf of an expression is: a number, or an input of the program."""
    overlaps = {o["name"]: o["families"] for o in plan["overlaps"]}
    single = [f["name"] for f in plan["families"] if f["size"] == 1]
    still = [x["name"] for x in plan["inputs"] if x["columns"] == 1]
    moves = moving(plan)

    def columns(inputs: Sequence[str], at: Sequence[int]) -> list[int]:
        rest = iter(at)
        return [places.columns[x] + (0 if x in still else next(rest)) for x in inputs]

    def leaf(tree: list[Any], labels: Labels) -> float | Key:
        at = [labels[i, family] for i, family in tree[-1]]
        name = tree[1]
        if tree[0] == "product":
            return ("product", *sorted(columns(tree[1:3], at)))
        if tree[0] == "field":
            row = places.start[name] + (0 if name in single else at.pop(0))
            return ("field", row, *columns([tree[2]], at))
        if name in moves:
            rest = iter(at)
            p, q = (places.start[f] + (0 if f in single else next(rest)) for f in overlaps[name])
            return ("gram", *sorted((p, q)))
        if name in places.states:
            return ("state", places.states[name].start + _entry(at, places.shapes[name]))
        if name in places.noises:
            return ("noise", places.noises[name].start + (at[0] if at else 0))
        if name in places.masks:
            return ("mask", places.masks[name].start + (at[0] if at else 0))
        if name in places.controls:
            return ("control", places.controls[name] + _entry(at, places.shapes[name]))
        if name in arrays:
            return float(arrays[name][tuple(at)])
        if name in sizes:
            return float(sizes[name])
        if name in dict.fromkeys(p["label"][1] for o in plan["outcomes"] for p in o["places"]) or name in plan["blocks"]:
            return float(count_of(name, sizes))
        raise PlanError(f"{name} is declared nowhere in the chain plan. Write it with `derive.exact_chain(model)`.")

    return leaf


def _entry(at: Sequence[int], shape: tuple[int, ...]) -> int:
    return int(np.ravel_multi_index(tuple(at), shape)) if at else 0


def program_of(trees: Sequence[Any], leaf: Leaf, at: Labels | None = None) -> Program:
    """Several expressions as one program."""
    writer = Writer(leaf)
    return writer.finish([writer.write(tree, at or {}) for tree in trees])


def numbers(trees: Sequence[Any], leaf: Leaf, what: str, at: Labels | None = None) -> list[float]:
    """Expressions of given numbers."""
    program = program_of(trees, leaf, at)
    if program.inputs:
        raise BindingError(f"{what} depends on the state, on a draw or on a function of time. Make it a given number.")
    return [float(x) for x in evaluate(program, {})]


def choice(outcomes: Sequence[Outcome], leaf: Leaf) -> Segment:
    """The probabilities of all outcomes; fixed ones are checked here."""
    writer = Writer(leaf)
    weights = []
    for o in outcomes:
        factors = [o.data["weight"], *(p["weight"] for p in o.data["places"])]
        weights.append(writer.write(["mul", *factors], o.at))
    program = writer.finish(weights)
    if not program.inputs:
        found = np.array([float(x) for x in evaluate(program, {})])
        if np.any(found < 0) or abs(found.sum() - 1) > 1e-9:  # rounding of a sum of at most 4096 probabilities
            shown = "; ".join(f"{o.shown}: {w:.4g}" for o, w in list(zip(outcomes, found, strict=True))[:6])
            raise BindingError(
                f"the probabilities of the outcomes must be >= 0 and sum to 1 ({shown}; sum {found.sum():.6g}). "
                "Pass such weights."
            )
    return Segment(program=program)


def noise_law(plan: Mapping[str, Any], outcome: Outcome, places: Places, count: int, leaf: Leaf) -> tuple[Array, Array]:
    """Symmetric root of the covariance of all noises, and their means, under one outcome."""
    root, mean = np.zeros((count, count)), np.zeros(count)
    for noise in plan["noises"]:
        name, law = noise["name"], outcome.data["noises"][noise["name"]]
        place = places.noises[name]
        n = place.stop - place.start
        trees = [law["covariance"], law["mean"]]
        pairs: list[Labels] = [{}]
        if noise["labels"]:
            i, j = (tuple(label) for label in noise["labels"])
            pairs = [{i: a, j: b} for a in range(n) for b in range(n)]
        found = np.array([numbers(trees, leaf, f"the law of {name}", {**outcome.at, **at}) for at in pairs]).T.reshape(2, n, n)
        values, vectors = np.linalg.eigh(found[0])
        if values[0] < -1e-9 * max(values[-1], 0.0):  # rounding of an eigenvalue that is zero
            raise BindingError(f"the covariance of {name} has the eigenvalue {values[0]:.3g} < 0. Pass a covariance.")
        root[place, place] = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        mean[place] = found[1][:, 0]
    return root, mean


def mask_law(
    plan: Mapping[str, Any], outcome: Outcome, places: Places, shape: tuple[int, int], leaf: Leaf
) -> tuple[Array, Array]:
    """Values of every entry of every mask and upper ends of their probabilities, shape (entries, values)."""
    values, edges = np.zeros(shape), np.ones(shape)
    for mask in plan["masks"]:
        name, law = mask["name"], outcome.data["masks"][mask["name"]]
        place = places.masks[name]
        for n in range(place.stop - place.start):
            at = {**outcome.at, **{(i[0], i[1]): n for i in mask["labels"]}}
            found = np.array([numbers(pair, leaf, f"the law of {name}", at) for pair in law])
            if np.any(found[:, 1] < 0) or abs(found[:, 1].sum() - 1) > 1e-9:  # rounding of a sum of a few probabilities
                raise BindingError(f"the probabilities of {name} must be >= 0 and sum to 1, not {np.sum(found[:, 1]):.6g}.")
            values[place.start + n, : len(law)] = found[:, 0]
            values[place.start + n, len(law) :] = found[-1, 0]
            edges[place.start + n, : len(law) - 1] = np.cumsum(found[:, 1])[:-1]
    return values, edges


def increments(
    plan: Mapping[str, Any], data: Mapping[str, Any], at: Labels, sizes: Mapping[str, int], places: Places, leaf: Leaf
) -> Segment:
    """One program for F, G and H, and the places of its outputs; entries that vanish for these values are left out."""
    writer = Writer(leaf)
    force: dict[Any, int] = {}
    push: dict[Any, int] = {}
    drift: dict[Any, int] = {}

    def collect(table: dict[Any, int], place: Any, register: int) -> None:
        table[place] = writer.operate("add", table[place], register) if place in table else register

    for part in data.get("F", ()):
        steps = [part["step"]] if part["step"] else []
        for labels in assignments(part["labels"], sizes):
            for step in assignments(steps, sizes):
                row = places.start[part["family"]] + _first(labels)
                column = places.columns[part["input"]] + _first(step)
                collect(force, (row, column), writer.write(part["value"], {**at, **labels, **step}))
    for part in data["G"]:
        for labels in assignments(part["labels"], sizes):
            for bound in assignments(part["bound"], sizes):
                both = {**at, **labels, **bound}
                to = places.start[part["to"]] + (both[tuple(part["index"])] if part["index"] else 0)
                collect(push, (places.start[part["family"]] + _first(labels), to), writer.write(part["value"], both))
    for part in data["H"]:
        name = part["state"]
        for entry, labels in enumerate(assignments(part["labels"], sizes)):
            collect(drift, places.states[name].start + entry, writer.write(part["value"], {**at, **labels}))
    replaces = bool(data.get("replaces", False))
    zero = writer.constant(0.0)
    F = {p: r for p, r in force.items() if r != zero}
    G = {pq: r for pq, r in push.items() if r != zero}
    H = {i: r for i, r in drift.items() if r != zero or replaces}
    size = {f["name"]: count_of(f["size"], sizes) for f in plan["families"]}
    rows = [places.start[f] + n for f in data["families"] for n in range(size[f])] if replaces else []
    return Segment(
        program=writer.finish([*F.values(), *G.values(), *H.values()]), F=tuple(F), G=tuple(G), H=tuple(H), rows=tuple(rows),
        replaces=replaces,
    )  # fmt: skip


def assignments(labels: Sequence[Any], sizes: Mapping[str, int]) -> list[dict[tuple[str, str], int]]:
    """All values of a list of labels, the last one fastest."""
    ranges = [range(count_of(family, sizes)) for _, family in labels]
    return [{(i[0], i[1]): n for i, n in zip(labels, place, strict=True)} for place in product(*ranges)]


def _first(labels: Labels) -> int:
    return next(iter(labels.values()), 0)
