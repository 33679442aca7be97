"""Numerical check of a closure: differences of the observables along the full flow against the closed equations.

At a random state y with rates f(y), the change of an observable is  (O(y + h f) - O(y - h f)) / 2h  up to h^2; it uses neither
the product rule nor the rewriting in observables. Imported by `derive.completion.closure`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import CheckFailed
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, text
from derive.reductions.tangent import draw_point
from derive.system import Flow

TOLERANCE = 1e-6  # h = 1e-5: the cubic term leaves 1e-10 times third derivatives of words of a few letters, rounding 1e-11
STEP = 1e-5


def check_closure(flow: Flow, values: Mapping[str, Poly], constants: Mapping[str, Poly], rates: Mapping[str, Poly]) -> str:
    """Compare every closed equation at one random point; says what was done.

    Parameters
    ----------
    flow : Flow
    values : mapping variable -> expression of the full state
    constants : mapping parameter -> expression of given arrays
    rates : mapping variable -> rate in variables and parameters

    Raises
    ------
    CheckFailed
        If an equation does not agree, which is an error of the engine.
    """
    exprs = {b.name: flow.rhs[b.name] for b in flow.state}
    point, sizes = draw_point([*exprs.values(), *values.values(), *constants.values()])  # type: ignore[list-item]

    def at(p: Poly, values: Mapping[str, Any]) -> Any:
        return evaluate(p, values, sizes=sizes, functions=flow.functions)

    with np.errstate(all="ignore"):
        moved = {n: np.asarray(at(e, point)) for n, e in exprs.items() if n in point}  # type: ignore[arg-type]
        speed = max(float(np.abs(f).max() / np.abs(point[n]).max()) for n, f in moved.items())
        if not np.isfinite(speed):
            return "words cancel exactly; not compared numerically, the flow is not finite at the random point"
        h = STEP / max(speed, 1.0)
        ahead, behind = ({**point, **{n: point[n] + s * h * f for n, f in moved.items()}} for s in (1, -1))
        closed = {n: at(p, point) for n, p in {**values, **constants}.items()}
        for name, rate in rates.items():
            seen = (np.asarray(at(values[name], ahead)) - np.asarray(at(values[name], behind))) / (2 * h)
            made = np.asarray(at(rate, {**point, **closed}))
            scale = max(float(np.abs(seen).max()), float(np.abs(closed[name]).max()) * speed)
            if not np.abs(seen - made).max() <= TOLERANCE * scale:
                raise CheckFailed(
                    f"the closed equation {name}' = {text(rate)[:200]} does not agree with the flow {flow.name} at a random "
                    f"point ({np.abs(seen - made).max() / scale:.1e}, at most {TOLERANCE:.0e}); please report it"
                )
    return f"words cancel exactly; agrees with differences along the full flow at a random point to {TOLERANCE:.0e}"
