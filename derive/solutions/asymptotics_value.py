"""Numbers of expressions with unevaluated integrals, by tanh-sinh quadrature. Imported by `asymptotics_check`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mpmath
import sympy as sp

from derive.reductions.scalar import value
from derive.solutions.closed_check import _functions


def integral_value(e: sp.Expr, at: Mapping[str, Any]) -> float:
    """Value of an expression whose integrals run over one variable.

    >>> v = sp.Symbol("v", positive=True)
    >>> integral_value(2 * sp.Integral(v**-2, (v, 1, sp.oo)), {})
    2.0
    """
    numbers: dict[str, Any] = {k: mpmath.mpf(float(x)) for k, x in at.items()}
    stand = {}
    for n, one in enumerate(sorted(e.atoms(sp.Integral), key=str)):
        ((variable, low, high),) = one.limits
        ends = [mpmath.inf if x == sp.oo else value(x, numbers, _functions()) for x in (low, high)]
        name = f"integral__{n}"

        def body(x: Any, f: sp.Expr = one.function, v: str = variable.name) -> Any:
            return value(f, {**numbers, v: x}, _functions())

        numbers[name] = mpmath.quad(body, [ends[0], 10 * (1 + abs(ends[0])), ends[1]] if ends[1] == mpmath.inf else ends)
        stand[one] = sp.Symbol(name, positive=True)
    return float(mpmath.re(value(e.xreplace(stand), numbers, _functions())))
