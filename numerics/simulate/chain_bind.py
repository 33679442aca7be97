"""A chain plan with its arrays: sizes, offsets of the families in the Gram matrix, programs, laws of the noises.

All vectors of all families stand in one Gram matrix C, family after family; all states of order one in one array theta.
Overlaps of fixed vectors are values, the others are the state. Arrays have no axes of length 1: a single vector has no label.
Imported by the chain only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chain_loop import NEGATIVE
from .chain_program import Key, Labels, Program, Writer, evaluate
from .errors import BindingError, NotSimulable, PlanError

Array = NDArray[np.float64]
KEYS = (
    "version", "kind", "name", "big", "pace", "families", "overlaps", "states", "given", "inputs", "noises",
    "F", "G", "H", "observe",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A chain plan at given sizes and values.

    Attributes
    ----------
    N : int
    start : mapping Family -> int
        First row of a family in C; ``rows`` is the number of all rows.
    sizes : mapping dimension -> int
    C, theta : arrays, shapes (replicas, rows, rows), (replicas, states)
    places : mapping state -> slice of theta
    shapes : mapping state or overlap -> shape
    program : Program
        Computes F, G, H; its outputs belong to ``F`` (rows), ``G`` (rows p, q) and ``H`` (entries of theta), in this order.
    noise_root, noise_mean : arrays, shapes (Z, Z), (Z,)
    noise_places : mapping noise -> slice
    variance, dt : float
    """

    N: int
    start: Mapping[str, int]
    rows: int
    sizes: Mapping[str, int]
    C: Array
    theta: Array
    places: Mapping[str, slice]
    shapes: Mapping[str, tuple[int, ...]]
    program: Program
    F: tuple[int, ...]
    G: tuple[tuple[int, int], ...]
    H: tuple[int, ...]
    observables: Mapping[str, Program]
    noise_root: Array
    noise_mean: Array
    noise_places: Mapping[str, slice]
    variance: float
    dt: float


def bind(plan: Mapping[str, Any], values: Mapping[str, Any], state: Mapping[str, Any], N: int, replicas: int) -> Bound:
    """Check the plan and the arrays, and write the programs.

    Raises
    ------
    PlanError, BindingError, NotSimulable
    """
    _check_plan(plan)
    declared = _declared(plan)
    given, start_values = _sorted_out(plan, values, state, declared)
    sizes = _sizes(plan, declared, given, start_values, replicas, N)
    arrays = {name: _fit(given[name], declared[name], sizes, name) for name in given}
    starts = {name: _fit_start(start_values[name], declared[name], sizes, name, replicas) for name in start_values}
    start, rows = {}, 0
    for family in plan["families"]:
        start[family["name"]] = rows
        rows += _count(family["size"], sizes)
    if rows + 1 > N:
        raise NotSimulable(
            f"{plan['name']}: {plan['big']} = {N} leaves no direction beside the {rows} vectors of "
            f"{', '.join(start)}. Simulate the plan with its weights, or take {plan['big']} > {rows}."
        )
    C = _gram(plan, {**arrays, **starts}, start, rows, sizes, replicas)
    places, shapes, count = {}, {}, 0
    for name, dims in plan["states"].items():
        shapes[name] = tuple(_count(d, sizes) for d in dims)
        size = int(np.prod(shapes[name], dtype=int))
        places[name] = slice(count, count + size)
        count += size
    theta = np.concatenate([np.zeros((replicas, 0)), *(starts[s].reshape(replicas, -1) for s in plan["states"])], axis=1)
    shapes |= {o["name"]: tuple(_count(d, sizes) for d in declared[o["name"]]) for o in plan["overlaps"]}
    noise_places, n = {}, 0
    for noise in plan["noises"]:
        size = _count(noise["labels"][0][1], sizes) if noise["labels"] else 1
        noise_places[noise["name"]] = slice(n, n + size)
        n += size
    leaf = _leaf(plan, arrays, sizes, start, shapes, places, noise_places, N)
    root, mean = _noise_law(plan, sizes, noise_places, n, leaf)
    program, F, G, H = _increments(plan, sizes, start, places, shapes, leaf)
    (variance,) = _numbers([plan["inputs"][0]["variance"]], leaf, "the variance of the input")
    (pace,) = _numbers([plan["pace"]], leaf, "the pace")
    if not (variance > 0 and pace > 0):
        raise BindingError(
            f"the variance of {plan['inputs'][0]['name']} is {variance:g} and the pace {pace:g}; both must be > 0."
        )
    return Bound(
        N=N, start=start, rows=rows, sizes=sizes, C=C, theta=theta, places=places, shapes=shapes, program=program,
        F=F, G=G, H=H,
        observables={name: _program([tree], leaf) for name, tree in plan["observe"].items()},
        noise_root=root, noise_mean=mean, noise_places=noise_places, variance=variance, dt=1.0 / (N * pace),
    )  # fmt: skip


def overlap_block(plan: Mapping[str, Any], bound: Bound, name: str) -> tuple[slice, slice]:
    """Where an overlap stands in C."""
    a, b = next(o["families"] for o in plan["overlaps"] if o["name"] == name)
    size = {f["name"]: _count(f["size"], bound.sizes) for f in plan["families"]}
    return slice(bound.start[a], bound.start[a] + size[a]), slice(bound.start[b], bound.start[b] + size[b])


def moving(plan: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the overlaps that move."""
    learned = [f["name"] for f in plan["families"] if f["learned"]]
    return tuple(o["name"] for o in plan["overlaps"] if any(f in learned for f in o["families"]))


# --------------------------------------------------------------------------------------------------- plan, names, sizes
def _check_plan(plan: Mapping[str, Any]) -> None:
    if plan.get("kind") != "overlap chain" or plan.get("version") != 1:
        raise PlanError(
            "this is not an overlap chain of version 1. Write it with `derive.online.chain_plan.exact_chain(model)`."
        )
    missing = [key for key in KEYS if key not in plan]
    if missing:
        raise PlanError(f"the chain plan has no {missing[0]!r}. Write it with `derive.online.chain_plan.exact_chain(model)`.")
    if len(plan["inputs"]) != 1:
        shown = ", ".join(x["name"] for x in plan["inputs"]) or "none"
        raise NotSimulable(
            f"{plan['name']}: the chain follows one input per step, the plan has {shown}. Simulate the plan with its weights."
        )


def _declared(plan: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Axes of every array that the user passes."""
    size = {f["name"]: f["size"] for f in plan["families"]}
    axes = {o["name"]: [size[f] for f in o["families"] if size[f] != 1] for o in plan["overlaps"]}
    return {**axes, **plan["states"], **plan["given"]}


def _sorted_out(
    plan: Mapping[str, Any], values: Mapping[str, Any], state: Mapping[str, Any], declared: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Given arrays and initial state, complete and without strangers."""
    states = (*moving(plan), *plan["states"])
    given = tuple(name for name in declared if name not in states)
    dims = [d for axes in declared.values() for d in axes if isinstance(d, str)]
    for what, wanted, passed, allowed in (("value", given, values, dims), ("initial value", states, state, [])):
        strangers = [name for name in passed if name not in wanted and name not in allowed]
        if strangers:
            raise BindingError(f"{strangers[0]} is no {what} of the chain; it needs {', '.join(wanted)}. Leave it out.")
        missing = [name for name in wanted if name not in passed]
        if missing:
            where = "values" if what == "value" else "state"
            raise BindingError(f"no {what} for {', '.join(missing)}. Pass {where}={{{missing[0]!r}: ...}}.")
    return {name: values[name] for name in given}, {name: state[name] for name in states}


def _sizes(
    plan: Mapping[str, Any],
    declared: Mapping[str, Any],
    given: Mapping[str, Any],
    state: Mapping[str, Any],
    replicas: int,
    N: int,
) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, array in (*given.items(), *state.items()):
        axes, shape = declared[name], np.shape(array)
        if name in state and len(shape) == len(axes) + 1 and shape[0] == replicas:
            shape = shape[1:]
        if len(shape) != len(axes):
            raise BindingError(
                f"{name} has {len(shape)} axes; the chain declares ({', '.join(map(str, axes))}). Drop axes of length 1."
            )
        for d, size in zip(axes, shape, strict=True):
            if isinstance(d, str) and sizes.setdefault(d, size) != size:
                raise BindingError(f"dimension {d} is {size} in {name} and {sizes[d]} elsewhere. Make the arrays agree in {d}.")
    return {**sizes, plan["big"]: N}


def _count(d: Any, sizes: Mapping[str, int]) -> int:
    if isinstance(d, int):
        return d
    if isinstance(d, str) and d in sizes:
        return sizes[d]
    raise BindingError(
        f"the size of {d} occurs in no array. Give the family a dimension of its own, with an array that shows it."
    )


def _fit(value: Any, axes: Sequence[Any], sizes: Mapping[str, int], name: str) -> Array:
    array, target = np.array(value, dtype=np.float64), tuple(_count(d, sizes) for d in axes)
    if array.shape != target:
        raise BindingError(
            f"{name} has shape {array.shape}; the chain declares ({', '.join(map(str, axes))}), which is {target}."
        )
    if not np.all(np.isfinite(array)):
        raise BindingError(f"{name} holds NaN or infinity. A run starts from finite numbers.")
    return array


def _fit_start(value: Any, axes: Sequence[Any], sizes: Mapping[str, int], name: str, replicas: int) -> Array:
    if np.ndim(value) == len(axes) + 1:
        return np.stack([_fit(part, axes, sizes, name) for part in value])
    return np.repeat(_fit(value, axes, sizes, name)[None], replicas, axis=0)


def _gram(
    plan: Mapping[str, Any],
    arrays: Mapping[str, Array],
    start: Mapping[str, int],
    rows: int,
    sizes: Mapping[str, int],
    replicas: int,
) -> Array:
    """The Gram matrix of all vectors, checked to be one."""
    C = np.zeros((replicas, rows, rows))
    size = {f["name"]: _count(f["size"], sizes) for f in plan["families"]}
    for overlap in plan["overlaps"]:
        a, b = overlap["families"]
        block = np.broadcast_to(arrays[overlap["name"]].reshape(-1, size[a], size[b]), (replicas, size[a], size[b]))
        if a == b and not np.allclose(block, block.swapaxes(1, 2), rtol=0, atol=1e-12 * np.max(np.abs(block), initial=1.0)):
            raise BindingError(
                f"{overlap['name']} is not symmetric, but it holds the products of {a} with itself. Symmetrise it."
            )
        i, j = slice(start[a], start[a] + size[a]), slice(start[b], start[b] + size[b])
        C[:, i, j], C[:, j, i] = block, block.swapaxes(1, 2)
        if a == b:
            C[:, i, i] = (block + block.swapaxes(1, 2)) / 2
    diagonal = np.sqrt(np.maximum(np.einsum("rii->ri", C), 0.0))
    root = np.where(diagonal > 0, diagonal, 1.0)
    lowest = float(np.min(np.linalg.eigvalsh(C / root[:, :, None] / root[:, None, :])))
    if lowest < -NEGATIVE or np.any(np.einsum("rii->ri", C) < 0):
        names = ", ".join(o["name"] for o in plan["overlaps"])
        raise BindingError(
            f"{names} are not the overlaps of any vectors (eigenvalue {lowest:.2g} < 0). Compute them from weights."
        )
    return C


# ------------------------------------------------------------------------------------------------------------- programs
def _leaf(
    plan: Mapping[str, Any], arrays: Mapping[str, Array], sizes: Mapping[str, int], start: Mapping[str, int],
    shapes: Mapping[str, tuple[int, ...]], places: Mapping[str, slice], noises: Mapping[str, slice], N: int,
) -> Any:  # fmt: skip
    """What a leaf of an expression is: a number, or an input of the program."""
    overlaps = {o["name"]: o["families"] for o in plan["overlaps"]}
    single = [f["name"] for f in plan["families"] if f["size"] == 1]
    frozen = [o for o in overlaps if o not in moving(plan)]

    def leaf(tree: list[Any], labels: Labels) -> float | Key:
        if tree[0] == "square":
            return ("square",)
        name = tree[1]
        at = tuple(labels[i, family] for i, family in tree[-1])
        if tree[0] == "field":
            return ("field", start[name] + (at[0] if at else 0))
        if name in overlaps and name not in frozen:
            rest = iter(at)
            p, q = (start[f] + (0 if f in single else next(rest)) for f in overlaps[name])
            return ("gram", *sorted((p, q)))
        if name in places:
            return ("state", places[name].start + int(np.ravel_multi_index(at, shapes[name])) if at else places[name].start)
        if name in noises:
            return ("noise", noises[name].start + (at[0] if at else 0))
        if name in arrays:
            return float(arrays[name][at])
        if name in sizes:
            return float(sizes[name])
        raise PlanError(
            f"{name} is declared nowhere in the chain plan. Write it with `derive.online.chain_plan.exact_chain(model)`."
        )

    return leaf


def _program(trees: Sequence[Any], leaf: Any) -> Program:
    writer = Writer(leaf)
    return writer.finish([writer.write(tree, {}) for tree in trees])


def _numbers(trees: Sequence[Any], leaf: Any, what: str) -> list[float]:
    program = _program(trees, leaf)
    if program.inputs:
        raise PlanError(f"{what} depends on the state or on a draw. Make it a given number.")
    return [float(x) for x in evaluate(program, {})]


def _noise_law(
    plan: Mapping[str, Any], sizes: Mapping[str, int], places: Mapping[str, slice], count: int, leaf: Any
) -> tuple[Array, Array]:
    """Symmetric root of the covariance of all noises, and their means."""
    root, mean = np.zeros((count, count)), np.zeros(count)
    for noise in plan["noises"]:
        place, writer = places[noise["name"]], Writer(leaf)
        n = place.stop - place.start
        at = (
            [{}]
            if not noise["labels"]
            else [{tuple(i): a, tuple(j): b} for i, j in [noise["labels"]] for a in range(n) for b in range(n)]
        )
        program = writer.finish(
            [writer.write(noise["covariance"], x) for x in at] + [writer.write(noise["mean"], x) for x in at]
        )
        if program.inputs:
            raise PlanError(f"the law of {noise['name']} depends on the state or on a draw. Make it a given one.")
        found = np.array([float(x) for x in evaluate(program, {})]).reshape(2, n, n)
        values, vectors = np.linalg.eigh(found[0])
        if values[0] < -1e-9 * max(values[-1], 0.0):  # rounding of an eigenvalue that is zero
            raise BindingError(f"the covariance of {noise['name']} has the eigenvalue {values[0]:.3g} < 0. Pass a covariance.")
        root[place, place] = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
        mean[place] = found[1][:, 0]
    return root, mean


def _increments(
    plan: Mapping[str, Any], sizes: Mapping[str, int], start: Mapping[str, int], places: Mapping[str, slice],
    shapes: Mapping[str, tuple[int, ...]], leaf: Any,
) -> tuple[Program, tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...]]:  # fmt: skip
    """One program for F, G and H, and the places of its outputs; entries that vanish for these values are left out."""
    writer = Writer(leaf)
    force: dict[int, int] = {}
    push: dict[tuple[int, int], int] = {}
    drift: dict[int, int] = {}

    def collect(table: Any, place: Any, register: int) -> None:
        table[place] = writer.operate("add", table[place], register) if place in table else register

    for part in plan["F"]:
        for labels in _assignments(part["labels"], sizes):
            collect(force, start[part["family"]] + _first(labels), writer.write(part["value"], labels))
    for part in plan["G"]:
        for labels in _assignments(part["labels"], sizes):
            for bound in _assignments(part["bound"], sizes):
                both = {**labels, **bound}
                to = start[part["to"]] + (both[tuple(part["index"])] if part["index"] else 0)
                collect(push, (start[part["family"]] + _first(labels), to), writer.write(part["value"], both))
    for part in plan["H"]:
        name = part["state"]
        for entry, labels in enumerate(_assignments(part["labels"], sizes)):
            collect(drift, places[name].start + entry, writer.write(part["value"], labels))
    zero = writer.constant(0.0)
    F = {p: r for p, r in force.items() if r != zero}
    G = {pq: r for pq, r in push.items() if r != zero}
    H = {i: r for i, r in drift.items() if r != zero}
    return writer.finish([*F.values(), *G.values(), *H.values()]), tuple(F), tuple(G), tuple(H)


def _assignments(labels: Sequence[Any], sizes: Mapping[str, int]) -> list[dict[tuple[str, str], int]]:
    """All values of a list of labels, the last one fastest."""
    ranges = [range(_count(family, sizes)) for _, family in labels]
    return [{tuple(i): n for i, n in zip(labels, place, strict=True)} for place in product(*ranges)]


def _first(labels: Labels) -> int:
    return next(iter(labels.values()), 0)
