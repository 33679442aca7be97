"""The arrays of a chain plan: sizes of the dimensions, given values, the start, and the Gram matrix of all vectors.

All vectors of all families stand in one Gram matrix C, family after family; entries between blocks are zero. Overlaps of fixed
vectors are values, the others are the state. Arrays have no axes of length 1: a single vector has no label. A given array may
be a function of time. Imported by the chain only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chain_loop import NEGATIVE
from .errors import BindingError, PlanError

Array = NDArray[np.float64]
KEYS = (
    "version", "kind", "name", "big", "pace", "batch", "blocks", "families", "overlaps", "states", "given", "inputs", "noises",
    "masks", "outcomes", "later", "observe",
)  # fmt: skip


def check_plan(plan: Mapping[str, Any]) -> None:
    """Refuse what is no chain plan."""
    if plan.get("kind") == "overlap chain protocol":
        raise PlanError(
            f"{plan.get('name')} is a protocol of several phases. Run it by chain_protocol(plan, values, state, N)."
        )
    if plan.get("kind") != "overlap chain" or plan.get("version") != 2:
        raise PlanError("this is not an overlap chain of version 2. Write it with `derive.exact_chain(model)`.")
    missing = [key for key in KEYS if key not in plan]
    if missing:
        raise PlanError(f"the chain plan has no {missing[0]!r}. Write it with `derive.exact_chain(model)`.")


def moving(plan: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the overlaps that move."""
    learned = [f["name"] for f in plan["families"] if f["learned"]]
    return tuple(o["name"] for o in plan["overlaps"] if any(f in learned for f in o["families"]))


def declared_axes(plan: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Axes of every array that the user passes."""
    size = {f["name"]: f["size"] for f in plan["families"]}
    axes = {o["name"]: [size[f] for f in o["families"] if size[f] != 1] for o in plan["overlaps"]}
    return {**axes, **plan["states"], **plan["given"]}


def dimensions(plan: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of all dimensions of order one, in the order in which they appear."""
    found = [d for axes in declared_axes(plan).values() for d in axes]
    found += [f["size"] for f in plan["families"]] + [x["columns"] for x in plan["inputs"]]
    found += [i[1] for z in (*plan["noises"], *plan["masks"]) for i in z["labels"]]
    found += [p["label"][1] for o in plan["outcomes"] for p in o["places"]]
    return tuple(dict.fromkeys(d for d in found if isinstance(d, str)))


def sorted_out(
    plan: Mapping[str, Any], values: Mapping[str, Any], state: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Given arrays and initial state, complete and without strangers."""
    states = (*moving(plan), *plan["states"])
    given = tuple(name for name in declared_axes(plan) if name not in states)
    for what, wanted, passed, allowed in (("value", given, values, dimensions(plan)), ("initial value", states, state, ())):
        strangers = [name for name in passed if name not in wanted and name not in allowed]
        if strangers:
            raise BindingError(f"{strangers[0]} is no {what} of the chain; it needs {', '.join(wanted)}. Leave it out.")
        missing = [name for name in wanted if name not in passed]
        if missing:
            where = "values" if what == "value" else "state"
            raise BindingError(f"no {what} for {', '.join(missing)}. Pass {where}={{{missing[0]!r}: ...}}.")
    return {name: values[name] for name in given}, {name: state[name] for name in states}


def sizes_of(
    plan: Mapping[str, Any],
    given: Mapping[str, Any],
    state: Mapping[str, Any],
    values: Mapping[str, Any],
    replicas: int,
    N: int,
) -> dict[str, int]:
    """Size of every dimension: from the arrays, or passed by name where no array shows it (the steps of an episode)."""
    sizes: dict[str, int] = {}
    declared = declared_axes(plan)
    for name, array in (*given.items(), *state.items()):
        axes, shape = declared[name], np.shape(array(0.0) if callable(array) else array)
        if name in state and len(shape) == len(axes) + 1 and shape[0] == replicas:
            shape = shape[1:]
        if len(shape) != len(axes):
            raise BindingError(
                f"{name} has {len(shape)} axes; the chain declares ({', '.join(map(str, axes))}). Drop axes of length 1."
            )
        for d, size in zip(axes, shape, strict=True):
            if isinstance(d, str) and sizes.setdefault(d, size) != size:
                raise BindingError(f"dimension {d} is {size} in {name} and {sizes[d]} elsewhere. Make the arrays agree in {d}.")
    for d in dimensions(plan):
        if d in values:
            size = values[d]
            if not isinstance(size, (int, np.integer)) or size < 1:
                raise BindingError(f"the size of {d} is {size!r}; it must be a positive whole number.")
            if sizes.setdefault(d, int(size)) != size:
                raise BindingError(f"dimension {d} is {size} in values and {sizes[d]} in an array. Make them agree in {d}.")
    return {**sizes, plan["big"]: N}


def count_of(d: Any, sizes: Mapping[str, int]) -> int:
    """Size of an axis."""
    if isinstance(d, int):
        return d
    if isinstance(d, str) and d in sizes:
        return sizes[d]
    raise BindingError(
        f"the size of {d} occurs in no array. Pass it in values, {{{d!r}: ...}}, or give the family an array that shows it."
    )


def fit(value: Any, axes: Sequence[Any], sizes: Mapping[str, int], name: str) -> Array:
    """An array of the declared shape."""
    array, target = np.array(value, dtype=np.float64), tuple(count_of(d, sizes) for d in axes)
    if array.shape != target:
        raise BindingError(
            f"{name} has shape {array.shape}; the chain declares ({', '.join(map(str, axes))}), which is {target}."
        )
    if not np.all(np.isfinite(array)):
        raise BindingError(f"{name} holds NaN or infinity. A run starts from finite numbers.")
    return array


def fit_start(value: Any, axes: Sequence[Any], sizes: Mapping[str, int], name: str, replicas: int) -> Array:
    """An initial array for every replica."""
    if np.ndim(value) == len(axes) + 1:
        return np.stack([fit(part, axes, sizes, name) for part in value])
    return np.repeat(fit(value, axes, sizes, name)[None], replicas, axis=0)


def gram(
    plan: Mapping[str, Any],
    arrays: Mapping[str, Array],
    start: Mapping[str, int],
    sizes: Mapping[str, int],
    replicas: int,
) -> Array:
    """The Gram matrix of all vectors, checked to be one."""
    size = {f["name"]: count_of(f["size"], sizes) for f in plan["families"]}
    rows = sum(size.values())
    C = np.zeros((replicas, rows, rows))
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


def control_table(controls: Mapping[str, Callable[[float], Any]], shapes: Mapping[str, tuple[int, ...]], times: Array) -> Array:
    """Values of the controls at these times, shape (T, entries), one control after the other."""
    columns = []
    for name, control in controls.items():
        at = np.array([np.asarray(control(float(t)), dtype=np.float64) for t in times]).reshape(len(times), *shapes[name])
        if not np.all(np.isfinite(at)):
            raise BindingError(f"{name}(t) is not finite during the run. A control is a finite number at every step.")
        columns.append(at.reshape(len(times), -1))
    return np.concatenate([np.zeros((len(times), 0)), *columns], axis=1)


__all__ = [
    "Array", "check_plan", "control_table", "count_of", "declared_axes", "fit", "fit_start", "gram", "moving", "sizes_of",
    "sorted_out",
]  # fmt: skip
