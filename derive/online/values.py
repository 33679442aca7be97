r"""Random states at which derived equations are checked: sizes, vectors, overlaps, labels, draws, all as plain arrays.

Two readings of one state: arrays as the spec has them (rows, columns), and index-level arrays, where axes of length 1 are
dropped. Imported by the checks of `online_limit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from derive.fields.crossed import cross_name, crosses_in
from derive.fields.labels import switches, weight_name
from derive.fields.overlaps import field_name
from derive.fields.rule import Branch, FieldRule
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import Index, Node, arr, evaluate, substitute
from derive.spec.lowered import Lowered
from derive.spec.tree_values import tree_value

Values = dict[str, Any]
Entries = list[tuple[Node, dict[Index, int]]]


def random_values(low: Lowered, rule: FieldRule, rng: np.random.Generator) -> Values:
    """Sizes, arrays and overlaps at a random state: N = 9, two vectors in the first family, one in the others, three steps."""
    sizes: dict[str, int] = {d: 9 - 2 * n for n, d in enumerate(rule.scale.sizes)}
    for d in rule.overlaps.families.values():
        if isinstance(d, str):
            sizes.setdefault(d, 2 if len(sizes) == len(rule.scale.sizes) else 1)
    steps = rule.branches[0].steps.values()
    values: Values = {d: sizes.setdefault(d, 3 if d in steps else 2) for d in low.dims}
    for d in rule.scale.sizes:
        values.setdefault(d, sizes[d])
    values.setdefault(rule.big, sum(sizes[d] for d in rule.scale.shown.split(" + ")))
    for d, ratio in rule.scale.ratios.items():
        if ratio.op == "arr":
            values[ratio.args[0]] = sizes[d] / values[rule.big]
    for name in (*low.state, *low.given):
        if name not in values:
            shape = tuple(int(tree_value(d, values, low)) for d in low.shapes[name])
            values[name] = rng.uniform(0.3, 0.9) if not shape else rng.normal(size=shape) * 0.8
    for s, options in switches(low).items():
        weights = rng.dirichlet(np.ones(len(options)))
        values |= {weight_name(s, v, (*low.shapes, *low.dims)): float(w) for v, w in zip(options, weights, strict=True)}
    set_overlaps(values, rule)
    return values


def set_overlaps(values: Values, rule: FieldRule) -> None:
    """Overlaps of the vectors in ``values``, stored under their names."""
    for (a, b), name in rule.overlaps.names.items():
        gram = rows(values, a, rule) @ rows(values, b, rule).T / values[rule.big]
        drop = tuple(ax for ax, f in enumerate((a, b)) if rule.overlaps.families[f] == 1)
        values[name] = np.squeeze(gram, axis=drop) if drop else gram


def rows(values: Mapping[str, Any], family: str, rule: FieldRule) -> Any:
    """The vectors of a family as rows."""
    v = values[family]
    low = rule.branches[0].reader.lowered
    return v if low.shapes[family][1] in rule.scale.sizes else v.T


def flat_values(values: Mapping[str, Any], low: Lowered) -> Values:
    """Values as index-level arrays: axes of length 1 in the spec are dropped."""
    out = dict(values)
    for name, shape in low.shapes.items():
        if name in out and shape and 1 in shape:
            out[name] = np.squeeze(out[name], axis=tuple(ax for ax, d in enumerate(shape) if d == 1))
    return out


def with_outcome(values: Mapping[str, Any], branch: Branch, rng: np.random.Generator) -> tuple[Values, dict[Index, int]]:
    """The arrays of the spec under one outcome of the labels, and the places of unit columns."""
    low = branch.reader.lowered
    here, places = dict(values), {}
    for name, p in branch.outcome.columns.items():
        places[p] = int(rng.integers(values[p.family]))
        here[name] = np.eye(values[p.family])[:, places[p] : places[p] + 1]
    for name, tree in branch.outcome.values.items():
        here[name] = tree_value(low.inline(tree), here, low)
    return here, places


def draw_orthogonal(
    values: Mapping[str, Any],
    here: Values,
    branch: Branch,
    rule: FieldRule,
    places: Mapping[Index, int],
    rng: np.random.Generator,
) -> Values:
    """One draw of every input and noise, put into ``here``; inputs orthogonal, with ``|x - mean|^2 = D var``.

    Returns the index-level values with fields and noises.
    """
    low = branch.reader.lowered
    flat = flat_values(values, low)
    for block in rule.scale.sizes:
        members = [x for x in branch.inputs if rule.input_blocks[x] == block]
        n = values[block]
        columns = [values[branch.steps[x]] if x in branch.steps else 1 for x in members]
        q, _ = np.linalg.qr(rng.normal(size=(n, max(1, sum(columns)))))
        for c, (x, count) in enumerate(zip(members, columns, strict=True)):
            first = sum(columns[:c])
            centred = q[:, first : first + count] * np.sqrt(n * evaluate(branch.inputs[x], flat, dict(places), NUMPY))
            for family, size in rule.overlaps.families.items():
                if rule.overlaps.blocks.get(family, block) == block:
                    lam = rows(values, family, rule) @ centred / np.sqrt(values[rule.big])
                    lam = lam if x in branch.steps else lam[:, 0]
                    flat[field_name(family, x)] = lam if size != 1 else lam[0]
            mean = branch.reader.means.get(x)
            here[x] = centred if mean is None else centred + tree_value(mean, here, low)
            here[field_name("", x)] = centred
    flat |= {cross_name(x, y): 0.0 for x, y in combinations(branch.inputs, 2)}  # orthogonal
    for z in (*branch.noises, *branch.masks):
        shape = tuple(int(tree_value(d, values, low)) for d in low.shapes[z])
        here[z] = rng.normal(size=shape) if shape else float(rng.normal())
        flat[z] = np.ravel(here[z]) if shape else here[z]
    return flat


def entries_of(rule: FieldRule, branch: Branch, flat: Mapping[str, Any]) -> Entries:
    """Every scalar field and noise at the sizes of ``flat``."""
    out: Entries = []
    for x in branch.inputs:
        for family, size in rule.overlaps.families.items():
            if rule.overlaps.blocks.get(family, rule.input_blocks[x]) == rule.input_blocks[x]:
                labels = [Index("e" + family, size)] if isinstance(size, str) else []
                name = field_name(family, x)
                labels += [Index("s" + x, branch.steps[x])] if x in branch.steps else []
                sizes = [int(flat[i.family]) for i in labels]
                out += [(arr(name, *labels), dict(zip(labels, at, strict=True))) for at in np.ndindex(*sizes)]
    nodes = [*(f for parts in branch.F.values() for f in parts.values()), *branch.H.values()]
    nodes += [push.coefficient for pushes in branch.G.values() for push in pushes]
    crossed = dict.fromkeys(n for node in nodes for n in crosses_in(node, branch.inputs))
    out += [(arr(n), {}) for n in crossed]
    for z, noise in branch.noises.items():
        label = Index("e" + z, noise.labels[0].family) if noise.labels else None
        count = int(flat[label.family]) if label else 1
        out += [(arr(z, label) if label else arr(z), {label: p} if label else {}) for p in range(count)]
    return out


def law_values(
    rule: FieldRule, branch: Branch, flat: Mapping[str, Any], places: Mapping[Index, int]
) -> tuple[Entries, Any, Any]:
    """All scalar fields, their covariance (n, n) and mean (n,)."""
    found = entries_of(rule, branch, flat)
    renamed = [(_primed(a), {_prime(i): p for i, p in at.items()}) for a, at in found]
    cov = [[evaluate(branch.law.cov(a, b), flat, {**places, **x, **y}, NUMPY) for b, y in renamed] for a, x in found]
    mean = [evaluate(branch.law.mean(a), flat, {**places, **x}, NUMPY) for a, x in found]
    return found, np.array(cov, float).reshape(len(found), len(found)), np.array(mean, float)


def _prime(i: Index) -> Index:
    return Index(i.name + "'", i.family)


def _primed(a: Node) -> Node:
    return substitute(a, {i: _prime(i) for i in a.free})


__all__ = [
    "draw_orthogonal", "entries_of", "flat_values", "law_values", "random_values", "rows", "set_overlaps", "with_outcome",
]  # fmt: skip
