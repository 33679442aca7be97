"""Derivation-time checks: a symbolic gradient against differences of its loss, at random sizes and points.

    <G, E>  against  (8 [L(W + hE) - L(W - hE)] - [L(W + 2hE) - L(W - 2hE)]) / 12 h,      h = 1e-3,

along random directions E. The truncation error is O(h^4), rounding costs 1e-16 / h, so agreement is asked to 1e-7 of the scale.
A kink or a pole near the point can spoil one comparison, hence other points are tried before a gradient is called wrong.
Imported by `derive.flows.flow`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import CheckFailed
from derive.matrices.composite import atoms, parameters
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, text
from derive.matrices.words import Atom, is_ones
from derive.spec.elementwise import Functions
from derive.spec.shapes import size_of
from derive.spec.tree import names

#: Largest relative deviation of a right gradient (see the module's text).
TOLERANCE = 1e-7
STEP = 1e-3
POINTS = 6
DIRECTIONS = 2


def check_gradient(
    loss: Poly, variable: Atom | str, gradient: Poly, *, functions: Functions | None = None, seed: int = 0
) -> float:
    """Relative deviation of a gradient from differences of its loss.

    Raises
    ------
    CheckFailed
        If the two disagree at every point that was tried.

    >>> from derive.matrices.poly import atom
    >>> from derive.matrices.calculus import grad
    >>> W, A = Atom("W", "n", "m"), atom(Atom("A", "m", "m"))
    >>> loss = (atom(W) * A * atom(W).T).trace()
    >>> check_gradient(loss, W, grad(loss, W)) < 1e-9
    True
    """
    worst, seen = np.inf, False
    for attempt in range(POINTS):
        rng = np.random.default_rng([seed, attempt])
        sizes, values = random_point(loss, variable, functions or {}, rng, positive=attempt % 2 == 1)
        with np.errstate(all="ignore"):
            deviation = _deviation(loss, variable, gradient, functions or {}, sizes, values, rng)
        seen = seen or bool(np.isfinite(deviation))
        worst = min(worst, deviation) if np.isfinite(deviation) else worst
        if worst <= TOLERANCE:
            return float(worst)
    name = variable if isinstance(variable, str) else variable.name
    why = f"deviates by {worst:.1e} from central differences" if seen else "could not be evaluated at random points"
    raise CheckFailed(f"the gradient by {name} of {_short(loss)} {why} (bound {TOLERANCE:g}): {_short(gradient)}")


def random_point(
    loss: Poly, variable: Atom | str, functions: Functions, rng: np.random.Generator, *, positive: bool
) -> tuple[dict[str, int], dict[str, Any]]:
    """Small random sizes, and a random value of every array and number (positive ones for logarithms and roots)."""
    found = [a for a in atoms(loss) if not is_ones(a)]
    if isinstance(variable, Atom) and variable not in found:
        found.append(variable)
    dimensions = sorted({n for a in atoms(loss) + tuple(found) for size in (a.rows, a.cols) for n in names(size)})
    sizes = {n: 2 + int(k) for n, k in zip(dimensions, rng.integers(0, 3, len(dimensions)), strict=True)}
    numbers = {*parameters(loss), *([variable] if isinstance(variable, str) else ())}
    for f in sorted(functions):
        body = functions[f].body
        numbers.update(n for n in names(body) if n != functions[f].variable)
    values: dict[str, Any] = {n: rng.uniform(0.5, 1.5) for n in sorted(numbers) if n not in sizes}
    for a in found:
        values[a.name] = random_array(a, sizes, rng, positive=positive)
    return sizes, values


def random_array(a: Atom, sizes: Mapping[str, int], rng: np.random.Generator, *, positive: bool = False) -> Any:
    """A random value of an atom that obeys its tags."""
    rows, cols = size_of(a.rows, sizes), size_of(a.cols, sizes)
    assert rows is not None
    assert cols is not None
    value = rng.uniform(0.3, 1.2, (rows, cols)) if positive else 0.8 * rng.standard_normal((rows, cols))
    if "orth" in a.tags:
        return np.linalg.qr(rng.standard_normal((rows, cols)))[0]
    if "diag" in a.tags:
        return np.diag(np.diag(value))
    return (value + value.T) / 2 if "sym" in a.tags else value


def _deviation(
    loss: Poly,
    variable: Atom | str,
    gradient: Poly,
    functions: Functions,
    sizes: Mapping[str, int],
    values: dict[str, Any],
    rng: np.random.Generator,
) -> float:
    name = variable if isinstance(variable, str) else variable.name
    g = evaluate(gradient, values, functions=functions, sizes=sizes)
    worst = 0.0
    for _ in range(DIRECTIONS):
        direction = rng.standard_normal(np.shape(values[name]))

        def at(step: float, direction: Any = direction) -> float:
            moved = {**values, name: values[name] + step * direction}
            return float(evaluate(loss, moved, functions=functions, sizes=sizes))

        difference = (8 * (at(STEP) - at(-STEP)) - (at(2 * STEP) - at(-2 * STEP))) / (12 * STEP)
        scale = abs(difference) + float(np.linalg.norm(g)) + 1e-3 * abs(at(0.0))
        worst = max(worst, abs(difference - float(np.sum(g * direction))) / scale if scale else 0.0)
    return worst


def _short(p: Poly) -> str:
    shown = text(p)
    return shown if len(shown) < 160 else shown[:157] + "..."
