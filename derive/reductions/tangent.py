"""Numerical tangency test of a manifold, for counter-examples.

At a random point z of the manifold w = phi(z) the field F must lie in the span of the tangents J = d phi / dz. The size of the
normal component,  min_c |F - J c| / |F|,  is rounding on an invariant manifold and of order one off it.
Imported by `derive.reductions.manifold`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from derive.matrices.calculus import along
from derive.matrices.composite import atoms, parameters
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom, constant
from derive.matrices.words import Atom
from derive.system import Block, Flow

SEED = 20


def draw_point(
    exprs: Iterable[Poly], pairs: Sequence[tuple[str, str]] = (), seed: int = SEED
) -> tuple[dict[str, Any], dict[str, int]]:
    """Random values of all arrays and parameters of expressions that respect their tags, and the sizes they have.

    ``pairs`` names isometries with orthogonal ranges (A'B = 0); they are drawn together.
    """
    exprs = list(exprs)
    rng = np.random.default_rng(seed)
    found = {a.name: a for p in exprs for a in atoms(p)}
    letters = [found[n] for n in sorted(found)]
    sizes = _sizes(letters)
    values: dict[str, Any] = {}
    for a in letters:
        if a.name in values or a.comp is not None:
            continue
        rows, cols = (sizes[s] if isinstance(s, str) else s for s in (a.rows, a.cols))
        group = _connected(a.name, pairs, found)
        if len(group) > 1:
            widths = [sizes[w] if isinstance(w, str) else w for w in (found[n].cols for n in group)]
            q = np.linalg.qr(rng.normal(size=(rows, sum(widths))))[0]
            values |= dict(zip(group, np.split(q, np.cumsum(widths)[:-1], axis=1), strict=True))
        elif (a.name, f"abs({a.name})") in pairs and cols == 1 and rows > 1:
            half = rng.normal(size=(rows // 2, 1))
            x = np.concatenate([half, -half, np.zeros((rows % 2, 1))])
            values[a.name] = x / np.linalg.norm(x) if "orth" in a.tags else x
        elif "orth" in a.tags:
            values[a.name] = np.linalg.qr(rng.normal(size=(rows, cols)))[0]
        elif "diag" in a.tags:
            values[a.name] = np.diag(rng.uniform(0.5, 1.5, size=rows))
        else:
            x = rng.normal(size=(rows, cols))
            values[a.name] = (x + x.T) / 2 if "sym" in a.tags else x
    for name in sorted({n for p in exprs for n in parameters(p)} - set(sizes)):
        values.setdefault(name, rng.uniform(0.5, 1.5))
    return values, sizes


def _connected(name: str, pairs: Sequence[tuple[str, str]], found: Mapping[str, Atom]) -> list[str]:
    """The array and all those that a chain of pairs ties to it; they are drawn orthogonal to each other."""
    group = [name]
    for known in group:
        group += [n for pair in pairs if known in pair for n in pair if n in found and n not in group]
    return group


def _sizes(letters: Sequence[Atom]) -> dict[str, int]:
    """Small sizes; what counts the columns of an isometry is smaller than its rows."""
    narrow = {a.cols for a in letters if "orth" in a.tags and a.cols != a.rows}
    names = list(dict.fromkeys(s for a in letters for s in (a.rows, a.cols) if isinstance(s, str)))
    return {n: 2 if n in narrow else 4 + i % 3 for i, n in enumerate(names)}


def normal_component(
    flow: Flow,
    lift: Mapping[str, Poly],
    rates: Mapping[str, Poly],
    coordinates: Sequence[Block],
    pairs: Sequence[tuple[str, str]],
) -> tuple[float, dict[str, Any]]:
    """Relative size of the normal component at a random point, and the point.

    ``rates`` are the right-hand sides of the flow on the manifold.
    """
    point, sizes = draw_point([*lift.values(), *rates.values()], pairs)
    columns = []
    for z in coordinates:
        for direction, name in _directions(z, point, sizes):
            changes = [along(lift[b.name], {z.name: direction}) for b in flow.state]
            columns.append(np.concatenate([np.ravel(_value(c, name, point, sizes, flow)) for c in changes]))
    field = np.concatenate([np.ravel(_value(rates[b.name], {}, point, sizes, flow)) for b in flow.state])
    tangents = np.stack(columns, axis=1) if columns else np.zeros((len(field), 1))
    best = np.linalg.lstsq(tangents, field, rcond=None)[0]
    return float(np.linalg.norm(field - tangents @ best) / np.linalg.norm(field)), point


def _value(p: Poly, extra: Mapping[str, Any], point: Mapping[str, Any], sizes: Mapping[str, int], flow: Flow) -> Any:
    return evaluate(p, {**point, **extra}, sizes=sizes, functions=flow.functions)


def _directions(z: Block, point: Mapping[str, Any], sizes: Mapping[str, int]) -> Iterable[tuple[Poly, dict[str, Any]]]:
    if not z.shape:
        yield constant(1), {}
        return
    rows, cols = (sizes[s] if isinstance(s, str) else s for s in z.shape)
    tangent = Atom("#tangent", z.shape[0], z.shape[1])
    for i in range(rows):
        for j in range(cols):
            if ("diag" in z.tags and i != j) or ("sym" in z.tags and j < i):
                continue
            e = np.zeros((rows, cols))
            e[i, j] = 1.0
            if "sym" in z.tags:
                e[j, i] = 1.0
            yield atom(tangent), {tangent.name: e}
