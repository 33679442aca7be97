"""A chain plan with its arrays: lengths of the blocks, offsets in the Gram matrix, laws, and the tables that the loop reads.

Imported by the chain only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chain_arrays import Array, check_plan, count_of, declared_axes, fit, fit_start, gram, moving, sizes_of, sorted_out
from .chain_loop import LOADS
from .chain_program import Program
from .chain_segments import (
    Outcome,
    Places,
    Segment,
    choice,
    expand,
    increments,
    leaf_of,
    mask_law,
    noise_law,
    numbers,
    program_of,
)
from .errors import BindingError, NotSimulable

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A chain plan at given sizes and values.

    Attributes
    ----------
    N, batch : int
    dt : float
    lengths : mapping block -> its dimension D
    sizes : mapping dimension -> int
    places : Places
    rows, columns : int
        Numbers of all vectors, and of input columns of one draw.
    row_block, column_block : arrays of int
        The block of every row and column, counted in the order of ``lengths``.
    C, theta : arrays, shapes (replicas, rows, rows), (replicas, states)
    outcomes : tuple of Outcome
    scale : array, shape (outcomes, columns)
        Standard deviation of the entries of every column.
    noise_root, noise_mean : arrays, shapes (outcomes, Z, Z), (outcomes, Z)
    mask_values, mask_edges : arrays, shape (outcomes, entries, values)
    segments : tuple of Segment
        The outcomes, the choice between them, the later blocks.
    observables : mapping name -> Program
    controls : mapping name -> function of time
    """

    N: int
    batch: int
    dt: float
    lengths: Mapping[str, int]
    sizes: Mapping[str, int]
    places: Places
    rows: int
    columns: int
    row_block: Integers
    column_block: Integers
    C: Array
    theta: Array
    outcomes: tuple[Outcome, ...]
    scale: Array
    noise_root: Array
    noise_mean: Array
    mask_values: Array
    mask_edges: Array
    segments: tuple[Segment, ...]
    observables: Mapping[str, Program]
    controls: Mapping[str, Callable[[float], Any]]


def bind(plan: Mapping[str, Any], values: Mapping[str, Any], state: Mapping[str, Any], N: int, replicas: int) -> Bound:
    """Check the plan and the arrays, and write the programs.

    Raises
    ------
    PlanError, BindingError, NotSimulable
    """
    check_plan(plan)
    declared = declared_axes(plan)
    given, start_values = sorted_out(plan, values, state)
    sizes = sizes_of(plan, given, start_values, values, replicas, N)
    controls = {name: value for name, value in given.items() if callable(value)}
    arrays = {name: fit(value, declared[name], sizes, name) for name, value in given.items() if name not in controls}
    starts = {name: fit_start(start_values[name], declared[name], sizes, name, replicas) for name in start_values}
    start, rows = _stacked([(f["name"], f["size"]) for f in plan["families"]], sizes)
    columns, width = _stacked([(x["name"], x["columns"]) for x in plan["inputs"]], sizes)
    if wrong := [o["name"] for o in plan["overlaps"] if o["name"] in controls]:
        raise BindingError(f"{wrong[0]} is an overlap of vectors that do not move; pass an array, not a function of time.")
    C = gram(plan, {**arrays, **starts}, start, sizes, replicas)
    shapes = {name: tuple(count_of(d, sizes) for d in declared[name]) for name in (*plan["states"], *moving(plan), *controls)}
    states, _ = _sliced({name: shapes[name] for name in plan["states"]})
    theta = np.concatenate([np.zeros((replicas, 0)), *(starts[s].reshape(replicas, -1) for s in plan["states"])], axis=1)
    noises, draws = _sliced({z["name"]: (count_of(z["labels"][0][1], sizes) if z["labels"] else 1,) for z in plan["noises"]})
    entries = {name: place.start for name, place in _sliced({name: shapes[name] for name in controls})[0].items()}
    masks, hidden = _sliced({m["name"]: (count_of(m["labels"][0][1], sizes) if m["labels"] else 1,) for m in plan["masks"]})
    places = Places(
        start=start, columns=columns, states=states, noises=noises, masks=masks, controls=entries, shapes=shapes
    )  # fmt: skip
    leaf = leaf_of(plan, arrays, sizes, places)
    lengths = _lengths(plan, leaf, start, sizes, N)
    outcomes = expand(plan, sizes)
    laws = [noise_law(plan, o, places, draws, leaf) for o in outcomes]
    most = max([len(law) for o in outcomes for law in o.data["masks"].values()], default=1)
    entries_of = [mask_law(plan, o, places, (hidden, most), leaf) for o in outcomes]
    pace, batch = numbers([plan["pace"], plan["batch"]], leaf, "the pace or the batch")
    if not pace > 0:
        raise BindingError(f"the pace is {pace:g}; it must be > 0.")
    if batch < 1 or batch != round(batch):
        raise BindingError(f"batch is {batch:g}; it must be a positive integer.")
    blocks = list(lengths)
    first = tuple(increments(plan, o.data, o.at, sizes, places, leaf) for o in outcomes)
    later = tuple(increments(plan, block, {}, sizes, places, leaf) for block in plan["later"])
    return Bound(
        N=N, batch=int(batch), dt=1.0 / (N * pace), lengths=lengths, sizes=sizes, places=places, rows=rows, columns=width,
        row_block=_blocks(plan["families"], "size", blocks, sizes),
        column_block=_blocks(plan["inputs"], "columns", blocks, sizes),
        C=C, theta=theta, outcomes=tuple(outcomes),
        scale=np.array([_scale(plan, o, columns, width, sizes, leaf) for o in outcomes]).reshape(len(outcomes), width),
        noise_root=np.array([root for root, _ in laws]), noise_mean=np.array([mean for _, mean in laws]),
        mask_values=np.array([v for v, _ in entries_of]), mask_edges=np.array([e for _, e in entries_of]),
        segments=(*first, choice(outcomes, leaf), *later),
        observables={name: program_of([tree], leaf) for name, tree in plan["observe"].items()}, controls=controls,
    )  # fmt: skip


def overlap_block(plan: Mapping[str, Any], bound: Bound, name: str) -> tuple[slice, slice]:
    """Where an overlap stands in C."""
    a, b = next(o["families"] for o in plan["overlaps"] if o["name"] == name)
    size = {f["name"]: count_of(f["size"], bound.sizes) for f in plan["families"]}
    start = bound.places.start
    return slice(start[a], start[a] + size[a]), slice(start[b], start[b] + size[b])


def _stacked(parts: Sequence[tuple[str, Any]], sizes: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """First places of parts that stand one after the other, and their number."""
    out, done = {}, 0
    for name, size in parts:
        out[name] = done
        done += count_of(size, sizes)
    return out, done


def _sliced(shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, slice], int]:
    out, done = {}, 0
    for name, shape in shapes.items():
        size = int(np.prod(shape, dtype=int))
        out[name] = slice(done, done + size)
        done += size
    return out, done


def _lengths(plan: Mapping[str, Any], leaf: Any, start: Mapping[str, int], sizes: Mapping[str, int], N: int) -> dict[str, int]:
    """The dimension of every block, whole numbers with room for the vectors."""
    lengths = {}
    for d, ratio in plan["blocks"].items():
        (share,) = numbers([ratio], leaf, f"the length {d}")
        length = round(share * N)
        if length < 1 or abs(share * N - length) > 1e-9 * N:  # a ratio typed as a decimal number
            raise BindingError(
                f"{plan['name']}: the length of {d} is {share * N:.6g} at {plan['big']} = {N}; it must be a positive whole "
                "number. Choose the ratio or the size so that their product is whole."
            )
        lengths[d] = length
        families = [f for f in plan["families"] if f["block"] == d]
        vectors = sum(count_of(f["size"], sizes) for f in families)
        if vectors > length:
            raise NotSimulable(
                f"{plan['name']}: {d} = {length} is less than the number {vectors} of the vectors of "
                f"{', '.join(f['name'] for f in families)}. Simulate the plan with its weights, or take {d} >= {vectors}."
            )
    return lengths


def _blocks(parts: Sequence[Mapping[str, Any]], size: str, blocks: Sequence[str], sizes: Mapping[str, int]) -> Integers:
    return np.array([blocks.index(p["block"]) for p in parts for _ in range(count_of(p[size], sizes))], dtype=np.int64)


def _scale(
    plan: Mapping[str, Any], outcome: Outcome, columns: Mapping[str, int], width: int, sizes: Mapping[str, int], leaf: Any
) -> Array:
    """Standard deviation of the entries of every column under one outcome."""
    out = np.zeros(width)
    for x in plan["inputs"]:
        (variance,) = numbers([outcome.data["variances"][x["name"]]], leaf, f"the variance of {x['name']}", outcome.at)
        if not variance >= 0:
            raise BindingError(f"the variance of {x['name']} is {variance:g}; it must be >= 0.")
        out[columns[x["name"]] :][: count_of(x["columns"], sizes)] = np.sqrt(variance)
    return out


# ---------------------------------------------------------------------------------------------------- tables of the loop
def wiring(bound: Bound) -> tuple[tuple[Any, ...], Array]:
    """The tables that tell the loop where inputs go and where results come from, and the initial registers."""
    registers: list[Array] = []
    tables: dict[str, list[Any]] = {name: [] for name in ("loads", "code", "F", "G", "H")}
    at: dict[str, list[int]] = {name: [0] for name in tables}
    forced = sorted({p for s in bound.segments for p, _ in s.F})
    stages = [bound.segments[: len(bound.outcomes)], *([s] for s in bound.segments[len(bound.outcomes) + 1 :])]
    pairs: list[tuple[int, int]] = []
    pair_at, rows, row_at, replaces = [0], [], [0], []
    place: dict[tuple[int, tuple[int, int]], int] = {}
    for number, stage in enumerate(stages):
        for pq in dict.fromkeys(pq for s in stage for pq in s.G):
            place[number, pq] = len(pairs)
            pairs.append(pq)
        rows += [p for s in stage for p in s.rows]
        replaces.append(int(any(s.replaces for s in stage)))
        pair_at.append(len(pairs))
        row_at.append(len(rows))
    weights: list[int] = []
    base = 0
    for number, s in enumerate(bound.segments):
        stage_of = max(0, number - len(bound.outcomes))
        program = s.program
        registers.append(program.start)
        for key, register in program.inputs.items():
            a, b = (*key[1:], 0)[:2]
            tables["loads"].append((LOADS.index(key[0]), base + register, a, b))
        tables["code"] += [(op, base + out, base + x, base + y) for op, out, x, y in program.code.tolist()]
        results = [base + register for register in program.outputs]
        if number == len(bound.outcomes):
            weights = results
        else:
            tables["F"] += [(p, c, r) for (p, c), r in zip(s.F, results, strict=False)]
            tables["G"] += [(place[stage_of, pq], r) for pq, r in zip(s.G, results[len(s.F) :], strict=False)]
            tables["H"] += [(i, r) for i, r in zip(s.H, results[len(s.F) + len(s.G) :], strict=True)]
        for name in tables:
            at[name].append(len(tables[name]))
        base += program.start.size
    width = {"loads": 4, "code": 4, "F": 3, "G": 2, "H": 2}
    flat = {name: (_integers(rows).reshape(-1, width[name]), _integers(at[name])) for name, rows in tables.items()}
    head = (bound.N, _integers(list(bound.lengths.values())), bound.batch, bound.row_block, bound.column_block, bound.scale)
    tail = (
        *flat["loads"], *flat["code"], _integers(weights), _integers(forced), *flat["F"],
        _integers(pairs).reshape(-1, 2), _integers(pair_at), *flat["G"], *flat["H"],
        _integers(rows), _integers(row_at), _integers(replaces), bound.noise_root, bound.noise_mean,
        bound.mask_values, bound.mask_edges,
    )  # fmt: skip
    return (head, tail), np.concatenate(registers)


def _integers(rows: Sequence[Any]) -> Integers:
    return np.array(rows, dtype=np.int64)
