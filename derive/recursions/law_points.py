"""Data laws as finite sums: points and weights that average every polynomial of low degree exactly.

=========  ==========================================================================================
law        points
=========  ==========================================================================================
Normal     tensor Gauss-Hermite rule of k nodes for each number: exact up to degree 2k - 1 in each
Choice     the listed values, or the unit columns
Marginal   every combination of the listed values of the entries, or of five levels with the stated moments
Moments    four random items; what the law names is then measured on them
=========  ==========================================================================================

Trees are read as typed (`derive.spec.tree_values`), so nothing here knows words, pairings or any other pass.
Imported by `derive.recursions.step_check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations_with_replacement, product
from typing import Any

import numpy as np

from derive.errors import BudgetExceeded, UnsupportedNode
from derive.spec.lowered import Draw, Lowered
from derive.spec.tree_values import tree_value

Values = dict[str, Any]
MOST = 6000  # points of one step
ITEMS = 4
ITEM = "the items"  # no user symbol can have this name


def points(low: Lowered, values: Mapping[str, Any], nodes: int) -> Iterator[tuple[float, Values]]:
    """(weight, values with the fresh draws set) over the joint law of all draws, one after the other.

    Raises
    ------
    UnsupportedNode
        If a law is no finite sum.
    BudgetExceeded
        If there are more points than a check at derivation time can visit.
    """
    fresh = [d for d in low.draws if not d.once]
    return _points(fresh, low, dict(values), nodes, 1.0, [MOST])


def _points(draws: Sequence[Draw], low: Lowered, values: Values, nodes: int, weight: float, left: list[int]) -> Iterator[Any]:
    if not draws:
        left[0] -= 1
        if left[0] < 0:
            raise BudgetExceeded(f"more than {MOST} points")
        yield weight, values
        return
    for p, drawn in _outcomes(draws[0], low, values, nodes):
        yield from _points(draws[1:], low, {**values, **drawn}, nodes, weight * p, left)


def _outcomes(draw: Draw, low: Lowered, values: Values, nodes: int) -> Iterator[tuple[float, Values]]:
    if draw.law == "Normal":
        return _normal(draw, low, values, nodes)
    if draw.law == "Choice":
        return _choice(draw, low, values)
    if draw.law == "Marginal" and draw.transform is None and draw.cov is None:
        return _marginal(draw, low, values)
    if draw.law == "Moments" and not draw.items:
        return ((1 / ITEMS, item) for item in values[ITEM][draw.symbols[0]])
    raise UnsupportedNode(f"the law {draw.law} of {', '.join(draw.symbols)} is no finite sum")


def _shape(draw: Draw, name: str, low: Lowered, values: Values) -> tuple[int, ...]:
    return tuple(int(tree_value(s, values, low)) for s in draw.shapes[name])


def _normal(draw: Draw, low: Lowered, values: Values, nodes: int) -> Iterator[tuple[float, Values]]:
    (name,) = draw.symbols
    shape = _shape(draw, name, low, values)
    rows, cols = shape or (1, 1)
    cov = 1.0 if draw.cov is None else tree_value(low.inline(draw.cov), values, low)
    cov = np.asarray(cov, dtype=float)
    spread, basis = np.linalg.eigh(cov * np.eye(rows) if cov.ndim == 0 or cov.size == 1 < rows else cov.reshape(rows, rows))
    if spread.min() < -1e-9 * max(1.0, spread.max()):
        raise UnsupportedNode(f"the covariance of {name} is not positive at a random point")
    root = basis * np.sqrt(np.maximum(spread, 0.0))
    mean = 0.0 if draw.mean is None else np.asarray(tree_value(low.inline(draw.mean), values, low), dtype=float)
    at, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    if nodes ** (rows * cols) > MOST:
        raise BudgetExceeded(f"more than {MOST} points")
    for places in product(range(nodes), repeat=rows * cols):
        x = root @ at[list(places)].reshape(rows, cols) + mean
        yield float(np.prod(weights[list(places)])), {name: x if shape else float(np.squeeze(x))}


def _choice(draw: Draw, low: Lowered, values: Values) -> Iterator[tuple[float, Values]]:
    if draw.values is None:
        (name,) = draw.symbols
        count = _shape(draw, name, low, values)[0]
        probs = np.full(count, 1 / count) if draw.probs is None else np.ravel(tree_value(low.inline(draw.probs), values, low))
        for i in range(count):
            yield float(probs[i]), {name: np.eye(count)[:, i : i + 1]}
        return
    chances = draw.probs if draw.probs is not None else (("frac", 1, len(draw.values)),) * len(draw.values)
    for outcome, chance in zip(draw.values, chances, strict=True):
        drawn = {n: tree_value(low.inline(v), values, low) for n, v in zip(draw.symbols, outcome, strict=True)}
        yield float(tree_value(low.inline(chance), values, low)), drawn


def _marginal(draw: Draw, low: Lowered, values: Values) -> Iterator[tuple[float, Values]]:
    (name,) = draw.symbols
    shape = _shape(draw, name, low, values)
    if draw.values is None:
        levels, weights = _with_moments(draw, low, values)
    else:
        levels = [float(tree_value(low.inline(v[0]), values, low)) for v in draw.values]
        if draw.probs is not None and not isinstance(draw.probs, tuple):
            raise UnsupportedNode(f"{name}: probabilities as one array")
        chances = draw.probs if draw.probs is not None else (("frac", 1, len(levels)),) * len(levels)
        weights = [tree_value(low.inline(c), values, low) for c in chances]
    if any(np.ndim(w) for w in weights) or len(levels) ** int(np.prod(shape)) > MOST:
        raise UnsupportedNode(f"{name}: its entries have too many combinations, or laws of their own")
    for places in product(range(len(levels)), repeat=int(np.prod(shape))):
        x = np.array([levels[i] for i in places]).reshape(shape)
        yield float(np.prod([weights[i] for i in places])), {name: x if shape else float(x)}


def _with_moments(draw: Draw, low: Lowered, values: Values) -> tuple[list[float], list[Any]]:
    """Levels -2 .. 2 with the stated moments up to order four; the weights may be negative, a sum is all that is needed."""
    known = {int(order): float(tree_value(low.inline(tree), values, low)) for order, tree in draw.moments}
    if not {2} <= set(known) or max(known) > 4:
        raise UnsupportedNode(f"moments of {draw.symbols[0]} of order {', '.join(map(str, sorted(known)))}")
    levels = [-2.0, -1.0, 0.0, 1.0, 2.0]
    powers = np.vander(levels, increasing=True).T
    return levels, list(np.linalg.solve(powers, [1.0, *(known.get(k, 0.0) for k in (1, 2, 3, 4))]))


def set_items(low: Lowered, values: Values, rng: np.random.Generator) -> None:
    """Random items for every open law, with the averages that it names (or leaves to be named) measured on them."""
    for draw in low.draws:
        if draw.law != "Moments" or draw.once:
            continue
        flips = [1, -1] if draw.odd or draw.even else [1]
        items = []
        for _ in range(ITEMS // len(flips)):
            item: Values = {n: rng.normal(size=_shape(draw, n, low, values)) for n in draw.symbols}
            items += [{n: a if n in draw.even else s * a for n, a in item.items()} for s in flips]
        items = [{n: a if a.ndim else float(a) for n, a in item.items()} for item in items]
        values.setdefault(ITEM, {})[draw.symbols[0]] = items
        here = [{**values, **item} for item in items]
        for tree, name in draw.moments:
            values[name] = sum(tree_value(low.inline(tree), v, low) for v in here) / len(items)
        for n in draw.symbols:
            values.setdefault(f"m{n}", sum(item[n] for item in items) / len(items))
        for a, b in combinations_with_replacement(draw.symbols, 2):
            values.setdefault(f"S{a}{b}", sum(np.atleast_2d(i[a]) @ np.atleast_2d(i[b]).T for i in items) / len(items))
