"""A recursion in numbers: the affine map  z -> T z + c  of its flat state, its rest, and its largest growth per step.

The map is read off by probing: after(0) = c, after(unit) - c = columns of T. Symmetric moments keep all their entries.
Imported by `derive.recursions.stationary_modes` and by users who have arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.matrices.evaluate import evaluate
from derive.recursions.discrete import Recursion


def affine_map(made: Recursion, values: Mapping[str, Any]) -> tuple[Any, Any, dict[str, tuple[int, ...]]]:
    """T (n, n), c (n,) and the shapes of the moments, at given parameters; sizes stand among the values.

    Raises
    ------
    InvalidSpec
        If a size or a parameter has no value.
    """
    sizes = _sizes(made, values)
    shapes = {b.name: tuple(s if isinstance(s, int) else sizes[s] for s in b.shape) for b in made.state}
    count = sum(int(np.prod(s)) for s in shapes.values())
    known = {n: v for n, v in values.items() if n not in shapes}

    def after(z: Any) -> Any:
        state, at = {}, 0
        for n, s in shapes.items():
            k = int(np.prod(s))
            state[n] = z[..., at : at + k].reshape(*z.shape[:-1], *s)
            at += k
        new = [np.asarray(evaluate(p, {**known, **state}, functions=made.functions, sizes=sizes)) for _, p in made]
        lead = z.shape[:-1]
        flat = [np.broadcast_to(a, (*lead, *s)).reshape(*lead, -1) for a, s in zip(new, shapes.values(), strict=True)]
        return np.concatenate(flat, axis=-1)

    zero = after(np.zeros((1, count)))[0]
    return (after(np.eye(count)) - zero).T, zero, shapes


def _sizes(made: Recursion, values: Mapping[str, Any]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for b in made.parameters:
        if b.name not in values:
            raise InvalidSpec(f"{made.name}: the parameter {b.name} has no value; pass values={{{b.name!r}: ...}}")
        shape = np.shape(values[b.name])
        for s, n in zip(b.shape, shape if len(shape) == len(b.shape) else (), strict=False):
            if isinstance(s, str):
                sizes[s] = int(n)
    for b in made.state:
        for s in b.shape:
            if isinstance(s, str) and s not in sizes:
                if s not in values:
                    raise InvalidSpec(f"{made.name}: the dimension {s} of {b.name} has no size; pass values={{{s!r}: ...}}")
                sizes[s] = int(values[s])
    return sizes


def rest_in_numbers(made: Recursion, values: Mapping[str, Any]) -> dict[str, Any]:
    """The state at which a recursion rests, by one linear solution; it attracts if `growth_in_numbers` is below one.

    Examples
    --------
    >>> from derive import Model, Normal, Update, recursion, scalars
    >>> w, x, eta = scalars("w x eta")
    >>> made = recursion(Model(name="decay", state=w, given=eta, data=Normal(x), learn=Update({w: w - eta * (w - x)})))
    >>> round(float(rest_in_numbers(made, {"eta": 0.5})["X_w"]), 12)  # eta / (2 - eta)
    0.333333333333
    """
    T, c, shapes = affine_map(made, values)
    z, out, at = np.linalg.solve(np.eye(len(c)) - T, c), {}, 0
    for n, s in shapes.items():
        k = int(np.prod(s))
        out[n] = z[at : at + k].reshape(s)
        at += k
    return out


def growth_in_numbers(made: Recursion, values: Mapping[str, Any]) -> float:
    """Spectral radius of the linear part: deviations from rest grow by this factor per step."""
    return float(np.abs(np.linalg.eigvals(affine_map(made, values)[0])).max())
