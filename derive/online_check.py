r"""What is checked each time order-parameter equations are derived (about 0.2 s, seeded).

1. One step of the spec as typed, at finite size with gradients by finite differences, against the field rule. Inputs are
drawn orthogonal
   with |x|^2 = N var, so the two agree exactly.
2. Field covariances against fields sampled from the spec's inputs and noises.
3. Every right-hand side and observable against a Gauss-Hermite rule over fields and noises (Monte Carlo where functions jump).
4. Symmetry: dC_pq = dC_qp at a random state.

Imported by `online_limit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from derive.errors import BudgetExceeded, CheckFailed, UnsupportedNode
from derive.field_calculus import without_stops
from derive.fields import FieldRule, Push
from derive.gaussian.quadrature import NUMPY, factorise, gauss_hermite
from derive.indexed import Index, Node, evaluate, mul
from derive.lowered import Lowered, LoweredUpdate
from derive.overlaps import field_name
from derive.system import Flow, Step
from derive.tree import Tree, walk
from derive.tree_values import tree_value

SEED = 20_011
SAMPLES = 40_000
STEPPY = ("sgn", "step", "relu", "abs", "relu'", "abs'")


def checked(flow: Flow, rule: FieldRule, noise: str) -> Flow:
    """The same flow with the outcome of the checks in its steps.

    Raises
    ------
    CheckFailed
        If any of them fails.
    """
    low: Lowered = flow.source.lowered
    rng = np.random.default_rng(SEED)
    values = _random_values(low, rule, rng)
    outcomes = [
        _one_step(low, rule, values, rng),
        _field_law(low, rule, values, rng),
        _averages(flow, rule, noise, values, rng),
    ]
    outcomes.append(_symmetry(flow, values))
    return flow.replace(steps=(*flow.steps, *(Step(title="check", detail=d, check=c) for d, c in outcomes)))


def _random_values(low: Lowered, rule: FieldRule, rng: np.random.Generator) -> dict[str, Any]:
    """Sizes, arrays and overlaps at a random state: N = 9, the first family of two vectors, the others of one."""
    sizes: dict[str, int] = {rule.big: 9}
    for d in rule.overlaps.families.values():
        if isinstance(d, str):
            sizes.setdefault(d, 2 if len(sizes) == 1 else 1)
    values: dict[str, Any] = {d: sizes.setdefault(d, 2) for d in low.dims}
    for name in (*low.state, *low.given):
        shape = tuple(values[d] if isinstance(d, str) else int(d) for d in low.shapes[name])
        values[name] = rng.uniform(0.3, 0.9) if not shape else rng.normal(size=shape) * 0.8
    for (a, b), name in rule.overlaps.names.items():
        va, vb = _rows(values, a, rule), _rows(values, b, rule)
        gram = va @ vb.T / values[rule.big]
        drop = tuple(ax for ax, f in enumerate((a, b)) if rule.overlaps.families[f] == 1)
        values[name] = np.squeeze(gram, axis=drop) if drop else gram
    return values


def _rows(values: Mapping[str, Any], family: str, rule: FieldRule) -> Any:
    v = values[family]
    return v if v.shape[1] == values[rule.big] else v.T


def _flat(values: Mapping[str, Any], low: Lowered) -> dict[str, Any]:
    """Values as index-level arrays: axes of length 1 in the spec are dropped."""
    out = dict(values)
    for name, shape in low.shapes.items():
        if name in out and shape and 1 in shape:
            out[name] = np.squeeze(out[name], axis=tuple(ax for ax, d in enumerate(shape) if d == 1))
    return out


# ------------------------------------------------------------------------------------------------ 1: one step of the spec
def _one_step(low: Lowered, rule: FieldRule, values: Mapping[str, Any], rng: np.random.Generator) -> tuple[str, str]:
    what = "one step of the spec (finite differences, N = 9) against the field rule"
    n = values[rule.big]
    flat = _flat(values, low)
    here: dict[str, Any] = dict(values)
    if len(rule.inputs) > n:
        return what, "not run: more inputs than N"
    q, _ = np.linalg.qr(rng.normal(size=(n, max(1, len(rule.inputs)))))
    for c, (x, var) in enumerate(rule.inputs.items()):
        here[x] = q[:, c : c + 1] * np.sqrt(n * evaluate(var, flat, {}, NUMPY))
        for family, size in rule.overlaps.families.items():
            lam = _rows(values, family, rule) @ here[x][:, 0] / np.sqrt(n)
            flat[field_name(family, x)] = lam if size != 1 else lam[0]
    for z in rule.noises:
        shape = tuple(values[d] if isinstance(d, str) else int(d) for d in low.shapes[z])
        here[z] = rng.normal(size=shape) if shape else float(rng.normal())
        flat[z] = np.ravel(here[z]) if shape else here[z]
    assert isinstance(low.rule, LoweredUpdate)
    worst = 0.0
    for name, tree in low.rule.blocks[0]:
        if any(isinstance(t, tuple) and t[0] == "mean" for t in walk(low.inline(tree))):
            return what, f"not run: the step of {name} contains an average"
        try:
            typed = tree_value(low.inline(tree), here, low) - here[name]
            derived = _derived_step(rule, name, here, flat)
        except (UnsupportedNode, KeyError) as missing:
            return what, f"not run: {missing.args[0]} has no value at a single draw"
        typed = (
            np.reshape(_rows({name: typed, rule.big: n}, name, rule), np.shape(derived))
            if name in rule.F
            else np.reshape(typed, np.shape(derived))
        )
        worst = max(worst, float(np.max(np.abs(typed - derived)) / (np.max(np.abs(typed)) + 1e-12)))
    if not worst < 1e-6:  # differences of fourth order with step 1e-3: 1e-9 and below
        raise CheckFailed(
            f"{rule.name}: the field rule and one step of the spec differ by {worst:.2g} (relative); please report this model"
        )
    return what, f"relative difference {worst:.1e}, bound 1e-6"


def _derived_step(rule: FieldRule, name: str, here: Mapping[str, Any], flat: Mapping[str, Any]) -> Any:
    n = here[rule.big]
    labels = rule.labels[name]
    sizes = [int(flat[i.family]) for i in labels]
    if name not in rule.F:
        out = np.zeros(sizes)
        for place in np.ndindex(*sizes):
            out[place] = evaluate(rule.H[name], flat, dict(zip(labels, place, strict=True)), NUMPY) / n
        return out
    rows = np.zeros((*(sizes or [1]), n))
    for place in np.ndindex(*(sizes or [1])):
        at = dict(zip(labels, place, strict=False))
        for x, f in rule.F[name].items():
            rows[place] += evaluate(f, flat, at, NUMPY) * here[x][:, 0] / np.sqrt(n)
        for push in rule.G[name]:
            rows[place] += _pushed(push, rule, here, flat, at) / n
    return rows


def _pushed(push: Push, rule: FieldRule, here: Mapping[str, Any], flat: Mapping[str, Any], at: dict[Index, int]) -> Any:
    total: Any = 0.0
    for place in product(*(range(int(flat[i.family])) for i in push.bound)):
        labels = {**at, **dict(zip(push.bound, place, strict=True))}
        row = labels[push.index] if push.index else 0
        total = total + evaluate(push.coefficient, flat, labels, NUMPY) * _rows(here, push.family, rule)[row]
    return total


# --------------------------------------------------------------------------------------------------------- 2: field law
def _entries(rule: FieldRule, flat: Mapping[str, Any]) -> list[tuple[Node, dict[Index, int]]]:
    """Every scalar field and noise at the sizes of ``flat``."""
    out: list[tuple[Node, dict[Index, int]]] = []
    from derive.indexed import arr

    for x in rule.inputs:
        for family, size in rule.overlaps.families.items():
            label = Index("e" + family, size) if isinstance(size, str) else None
            out += [(rule.field(family, x, label), {label: p} if label else {}) for p in range(int(flat[size]) if label else 1)]
    for z, noise in rule.noises.items():
        label = Index("e" + z, noise.labels[0].family) if noise.labels else None
        out += [
            (arr(z, label) if label else arr(z), {label: p} if label else {})
            for p in range(int(flat[label.family]) if label else 1)
        ]
    return out


def _law_values(rule: FieldRule, flat: Mapping[str, Any]) -> tuple[list[tuple[Node, dict[Index, int]]], Any, Any]:
    """All scalar fields, their covariance (n, n) and mean (n,)."""
    entries = _entries(rule, flat)
    renamed = [(_primed(a), {_prime(i): p for i, p in at.items()}) for a, at in entries]
    cov = np.array([[evaluate(rule.law.cov(a, b), flat, {**x, **y}, NUMPY) for b, y in renamed] for a, x in entries], float)
    mean = np.array([evaluate(rule.law.mean(a), flat, x, NUMPY) for a, x in entries], float)
    return entries, cov, mean


def _prime(i: Index) -> Index:
    return Index(i.name + "'", i.family)


def _primed(a: Node) -> Node:
    from derive.indexed import substitute

    return substitute(a, {i: _prime(i) for i in a.free})


def _field_law(low: Lowered, rule: FieldRule, values: Mapping[str, Any], rng: np.random.Generator) -> tuple[str, str]:
    flat = _flat(values, low)
    entries, cov, mean = _law_values(rule, flat)
    draws = {d.symbols[0]: d for d in low.draws}
    samples: dict[str, Any] = {}
    for name in (*rule.inputs, *rule.noises):
        d = draws[name]
        size = int(values[d.shapes[name][0]]) if d.shapes[name] and isinstance(d.shapes[name][0], str) else 1
        c = np.eye(size) if d.cov is None else np.reshape(tree_value(low.inline(d.cov), values, low), (size, size))
        m = np.zeros(size) if d.mean is None else np.ravel(tree_value(low.inline(d.mean), values, low))
        root = factorise(np.asarray(c, float))
        samples[name] = (root @ rng.normal(size=(root.shape[1], SAMPLES))) + m[:, None]
    rows = []
    for a, at in entries:
        place = next(iter(at.values()), 0)
        if "." in a.args[0]:
            family, x = a.args[0].split(".")
            rows.append(_rows(values, family, rule)[place] @ samples[x] / np.sqrt(values[rule.big]))
        else:
            rows.append(samples[a.args[0]][place])
    data = np.array(rows).reshape(len(entries), SAMPLES)
    centred = data - mean[:, None]
    found = centred @ centred.T / SAMPLES
    scale = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / SAMPLES) + 1e-12
    z = float(np.max(np.abs(found - cov) / scale)) if len(entries) else 0.0
    if not z < 6:  # about n^2/2 entries: false alarm below 1e-6, and the seed is fixed
        raise CheckFailed(
            f"{rule.name}: the covariance of the fields differs from samples of the spec (z = {z:.1f}); please report "
            "this model"
        )
    return "covariance of fields and noises against samples of the spec", f"largest |z| = {z:.1f}, bound 6"


# ---------------------------------------------------------------------------------------------------------- 3: averages
def _functions(node: Node) -> tuple[str, ...]:
    found = {node.args[0]} if node.op == "fun" else set()
    for a in node.args:
        if isinstance(a, Node):
            found.update(_functions(a))
    return tuple(sorted(found))


def _targets(flow: Flow, rule: FieldRule, noise: str) -> list[tuple[str, tuple[Index, ...], Node, Node]]:
    """(name, labels, integrand, average) of every right-hand side, and of observables that are one average."""
    from derive.online import integrand

    out = []
    for (a, b), name in rule.overlaps.names.items():
        if name in flow.rhs:
            labels, body = integrand(rule, a, b, noise)
            out.append((name, labels, body, _node(flow.rhs[name])))
    out += [(s, rule.labels[s], mul(rule.pace, h), _node(flow.rhs[s])) for s, h in rule.H.items()]
    low: Lowered = flow.source.lowered
    for name, tree in low.observe:
        inner = _inside(low.inline(tree))
        if inner is not None:
            out.append((name, (), without_stops(rule.reader.scalar(inner)), _node(flow.observables[name])))
    return out


def _node(expression: object) -> Node:
    assert isinstance(expression, Node)
    return expression


def _inside(tree: Tree) -> Tree | None:
    """e of ``mean(e)``, or of a number times it."""
    if isinstance(tree, tuple) and tree[0] == "mean":
        return tree[1]
    if isinstance(tree, tuple) and tree[0] == "mul" and (inner := _inside(tree[-1])) is not None:
        return ("mul", *tree[1:-1], inner)
    return None


def _averages(flow: Flow, rule: FieldRule, noise: str, values: Mapping[str, Any], rng: np.random.Generator) -> tuple[str, str]:
    flat = _flat(values, flow.source.lowered)
    entries, cov, mean = _law_values(rule, flat)
    targets = _targets(flow, rule, noise)
    steppy = any(f in STEPPY for *_, body, _ in targets for f in _functions(body))
    try:
        rules = None if steppy else [_points(cov, mean, len(entries), n) for n in (0, 1)]
    except BudgetExceeded:
        rules = None
    if rules is None:
        root = factorise(cov)
        rules = [(root @ rng.normal(size=(root.shape[1], SAMPLES)) + mean[:, None], np.full(SAMPLES, 1 / SAMPLES))]
    worst = 0.0
    for name, labels, body, average in targets:
        for place in _places([int(flat[i.family]) for i in labels]):
            at = dict(zip(labels, place, strict=True))
            want = float(evaluate(average, flat, at, NUMPY))
            try:
                got, bound = _measured(body, rules, entries, flat, at)
            except KeyError as missing:
                return "averages against quadrature", f"not run: {missing.args[0]} has no value at a point"
            worst = max(worst, abs(got - want) / bound)
            if not abs(got - want) <= bound:
                raise CheckFailed(
                    f"{rule.name}: d {name} is {want:.8g}, quadrature over the fields gives {got:.8g} +- {bound:.1g}; "
                    "please report"
                )
    how = "Gauss-Hermite rule" if len(rules) == 2 else f"{SAMPLES} samples"
    return f"right-hand sides and observables against a {how} over all fields", f"largest deviation {worst:.2g} of its bound"


def _places(sizes: list[int]) -> list[tuple[int, ...]]:
    """A few places: the first entry, and the last of the first two rows."""
    options = [tuple(0 for _ in sizes), tuple(min(1, s - 1) * (n == len(sizes) - 1) for n, s in enumerate(sizes))]
    return list(dict.fromkeys(options))


def _points(cov: Any, mean: Any, n: int, coarser: int) -> tuple[Any, Any]:
    rank = factorise(cov).shape[1] if n else 0
    nodes = {0: 1, 1: 60, 2: 40, 3: 26, 4: 15, 5: 9}.get(rank)
    if nodes is None:
        raise BudgetExceeded("too many fields for a tensor rule")
    return gauss_hermite(cov, mean, nodes - 2 * coarser if nodes > 1 else 1)


def _measured(body: Node, rules: list[Any], entries: Any, flat: Mapping[str, Any], at: dict[Index, int]) -> tuple[float, float]:
    """Average over the points and the bound on its error: difference of two rules, or six standard errors."""
    found: list[float] = []
    spread = 0.0
    for points, weights in rules:
        here = dict(flat)
        for (a, _), row in zip(entries, points, strict=True):
            here[a.args[0]] = [*here.get(a.args[0], []), row] if a.args[1] else row
        here = {k: np.array(v) if isinstance(v, list) else v for k, v in here.items()}
        sampled = np.broadcast_to(evaluate(body, here, at, NUMPY), weights.shape)
        found.append(float(weights @ sampled))
        spread = float(np.sqrt(weights @ (sampled - found[-1]) ** 2 / len(weights)))
    if len(found) == 2:
        return found[0], 10 * abs(found[0] - found[1]) + 1e-9 * (1 + abs(found[0]))
    return found[0], 6 * spread + 1e-9


# ---------------------------------------------------------------------------------------------------------- 4: symmetry
def _symmetry(flow: Flow, values: Mapping[str, Any]) -> tuple[str, str]:
    flat = _flat(values, flow.source.lowered)
    worst = 0.0
    for block in flow.state:
        if block.symmetric and int(flat[block.indices[0].family]) > 1:
            k, m = block.indices
            one, two = (float(evaluate(_node(flow.rhs[block.name]), flat, at, NUMPY)) for at in ({k: 0, m: 1}, {k: 1, m: 0}))
            worst = max(worst, abs(one - two) / (abs(one) + abs(two) + 1e-300))
    if not worst < 1e-10:  # the two forms are the same number; rounding of a few dozen operations
        raise CheckFailed(
            f"{flow.name}: a right-hand side is not symmetric (relative difference {worst:.2g}); please report this model"
        )
    return "symmetry of the overlaps at a random state", f"relative difference {worst:.1e}, bound 1e-10"


__all__ = ["checked"]
