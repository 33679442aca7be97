"""Iteration of a compiled recursion:  state(n+1) = after(state(n), parameters).

Imported by users, validation and commands.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from derive.errors import InvalidSpec
from numerics.integrate import checked_arrays, unpack_rows
from numerics.status import Status
from numerics.trajectory import Array, Trajectory


def iterate(
    kernel: Any,
    y0: Mapping[Any, npt.ArrayLike],
    params: Mapping[Any, Any],
    steps: int,
    *,
    every: int = 1,
) -> Trajectory:
    """Iterate the kernel of a recursion from ``y0``.

    Parameters
    ----------
    kernel : Kernel
        From `codegen.compile` of a `Recursion`.
    y0, params : mapping symbol or name -> array
        Initial state and parameters; a parameter may be a function of the number of steps n (a schedule of learning rates).
    steps : int
        1 or more.
    every : int
        Steps between records; the start and the last step are always recorded.

    Returns
    -------
    Trajectory
        With ``t`` the number of steps. If a state is not finite any more the status is nonfinite, and the part before it is
        returned.

    Raises
    ------
    InvalidSpec
        If the kernel is that of a flow, or a number is not usable; NaN is named by symbol and index.
    ShapeMismatch
        If shapes do not fit.
    """
    if not getattr(kernel, "discrete", False):
        raise InvalidSpec(f"iterate: {getattr(kernel, 'name', type(kernel).__name__)} is no recursion; integrate it over time")
    for name, number in (("steps", steps), ("every", every)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise InvalidSpec(f"iterate: {name} = {number!r}; a whole number of 1 or more is needed")
    start = checked_arrays(y0, "initial value")

    def given(n: int) -> dict[str, Array]:
        named = {k: v(n) if callable(v) else v for k, v in params.items()}
        return checked_arrays(named, "parameter")

    moved = {_name(k) for k, v in params.items() if callable(v)}
    first = given(0)
    layout, args = kernel.layout({**first, **start}), kernel.arguments(first)
    y = np.asarray(layout.pack(start), dtype=np.float64)
    counts, rows, used, status = [0], [y], [args], Status.OK
    with np.errstate(all="ignore"):
        for n in range(1, int(steps) + 1):
            y = kernel.flat_rhs(layout, args)(float(n - 1), y)
            args = kernel.arguments(given(n)) if moved else args
            if not np.isfinite(y).all():
                status = Status.NONFINITE
                break
            if n % every == 0 or n == steps:
                counts.append(n)
                rows.append(y)
                used.append(args)
    courses = {k: np.array([given(n)[k] for n in counts]) for k in first if k in moved}
    return Trajectory(
        t=np.array(counts, dtype=np.float64),
        values=unpack_rows(layout, np.array(rows)),
        status=status,
        detail="" if status is Status.OK else f"step {n}",
        observables=_observables(kernel, layout, used, counts, rows),
        parameters={**first, **courses},
        statistics={"steps": counts[-1]},
        name=str(kernel.name),
    )


def _name(symbol: Any) -> str:
    return symbol if isinstance(symbol, str) else str(getattr(symbol, "name", symbol))


def _observables(kernel: Any, layout: Any, used: list[Any], counts: list[int], rows: list[Array]) -> dict[str, Array]:
    """At the parameters of each record."""
    if not kernel.observable_names:
        return {}
    with np.errstate(all="ignore"):
        seen = [kernel.flat_observables(layout, a)(float(n), y) for a, n, y in zip(used, counts, rows, strict=True)]
    return {name: np.array([row[name] for row in seen], dtype=np.float64) for name in kernel.observable_names}
