r"""What is checked each time order-parameter equations are derived (about 0.2 s, seeded).

1. One step of the spec as typed, at finite size with gradients by finite differences, against the field rule, under every
   outcome of the labels. Inputs are drawn orthogonal with |x|^2 = N var, so the two agree exactly.
2. Field covariances against fields sampled from the spec's inputs and noises.
3. Every right-hand side and observable against a Gauss-Hermite rule over fields and noises (Monte Carlo where functions jump).
4. Symmetry: dC_pq = dC_qp at a random state.
5. Blocks after the first, if there are any: in `derive.online.later_check`.

Imported by `online_limit`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from derive.errors import BudgetExceeded, CheckFailed, UnsupportedNode
from derive.fields.concentration import limit_of
from derive.fields.increments import increments
from derive.fields.later_blocks import Push
from derive.fields.law import field_labels
from derive.fields.masks import mask_mean, mask_outcomes
from derive.fields.overlaps import field_name
from derive.fields.rule import Branch, FieldRule
from derive.gaussian.local import rung
from derive.gaussian.quadrature import FINER, NUMPY, factorise, gauss_hermite
from derive.indices.indexed import Index, Node, evaluate, mul
from derive.online.values import draw_orthogonal, flat_values, law_values, random_values, rows, with_outcome
from derive.spec.lowered import Lowered, LoweredUpdate
from derive.spec.tree import Tree, walk
from derive.spec.tree_values import tree_value
from derive.system import Flow, Step

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
    values = random_values(low, rule, rng)
    outcomes = [
        _one_step(low, rule, values, rng),
        _field_law(low, rule, values, rng),
        _averages(flow, rule, noise, values, rng),
        _symmetry(flow, values),
    ]
    if rule.later:
        from derive.online.later_check import check_later

        outcomes.append(check_later(flow, rule, noise, values))
    return flow.replace(steps=(*flow.steps, *(Step(title="check", detail=d, check=c) for d, c in outcomes)))


# ------------------------------------------------------------------------------------------------ 1: one step of the spec
def _one_step(low: Lowered, rule: FieldRule, values: Mapping[str, Any], rng: np.random.Generator) -> tuple[str, str]:
    what = "one step of the spec (finite differences, N = 9) against the field rule"
    columns = {x: values[rule.branches[0].steps.get(x, "")] if rule.step(x) else 1 for x in rule.input_blocks}
    if any(sum(columns[x] for x, b in rule.input_blocks.items() if b == block) > values[block] for block in rule.scale.sizes):
        return what, "not run: more inputs than N"
    assert isinstance(low.rule, LoweredUpdate)
    worst = 0.0
    for branch in rule.branches:
        here, places = with_outcome(values, branch, rng)
        flat = draw_orthogonal(values, here, branch, rule, places, rng)
        whole = _at_finite_size(branch, low, rule)
        for name, tree in low.rule.blocks[0]:
            if any(isinstance(t, tuple) and t[0] == "mean" for t in walk(low.inline(tree))):
                return what, f"not run: the step of {name} contains an average"
            try:
                typed = tree_value(low.inline(tree), here, low) - here[name]
                derived = _derived_step(rule, whole, name, here, flat, places)
            except (UnsupportedNode, KeyError) as missing:
                return what, f"not run: {missing.args[0]} has no value at a single draw"
            typed = rows({name: typed}, name, rule) if name in rule.overlaps.families else typed
            typed = np.reshape(typed, np.shape(derived))
            worst = max(worst, float(np.max(np.abs(typed - derived)) / (np.max(np.abs(typed)) + 1e-5)))
    if not worst < 1e-6:  # differences of fourth order with step 1e-3: 1e-9 and below
        raise CheckFailed(
            f"{rule.name}: the field rule and one step of the spec differ by {worst:.2g} (relative); please report this model"
        )
    return what, f"relative difference {worst:.1e}, bound 1e-6"


def _at_finite_size(branch: Branch, low: Lowered, rule: FieldRule) -> Branch:
    """The branch with the terms of lower order that the limit drops."""
    if not branch.dropped:
        return branch
    assert isinstance(low.rule, LoweredUpdate)
    learned = {a: rule.overlaps.families[a] for a in rule.overlaps.learned}
    _, F, G, H, _ = increments(low, low.rule, branch.reader, learned, finite=True)
    return replace(branch, F=F, G=G, H=H)


def _derived_step(
    rule: FieldRule, branch: Branch, name: str, here: Mapping[str, Any], flat: Mapping[str, Any], places: Mapping[Index, int]
) -> Any:
    n = flat[rule.big]
    labels = rule.labels[name]
    sizes = [int(flat[i.family]) for i in labels]
    if name not in branch.F:
        out = np.zeros(sizes)
        for place in np.ndindex(*sizes):
            at = {**places, **dict(zip(labels, place, strict=True))}
            out[place] = evaluate(branch.H[name], flat, at, NUMPY) / n
        return out
    made = np.zeros(np.shape(rows(here, name, rule)))
    for place in np.ndindex(*(sizes or [1])):
        at = {**places, **dict(zip(labels, place, strict=False))}
        for x, f in branch.F[name].items():
            t, centred = rule.step(x), here[field_name("", x)]
            for s in range(centred.shape[1]):
                made[place] += evaluate(f, flat, {**at, t: s} if t else at, NUMPY) * centred[:, s] / np.sqrt(n)
        for push in branch.G[name]:
            made[place] += pushed(push, rule, here, flat, at) / n
    return made


def pushed(push: Push, rule: FieldRule, here: Mapping[str, Any], flat: Mapping[str, Any], at: dict[Index, int]) -> Any:
    """Value of one term of G at given labels."""
    total: Any = 0.0
    for place in product(*(range(int(flat[i.family])) for i in push.bound)):
        labels = {**at, **dict(zip(push.bound, place, strict=True))}
        row = labels[push.index] if push.index else 0
        total = total + evaluate(push.coefficient, flat, labels, NUMPY) * rows(here, push.family, rule)[row]
    return total


# --------------------------------------------------------------------------------------------------------- 2: field law
def _field_law(low: Lowered, rule: FieldRule, values: Mapping[str, Any], rng: np.random.Generator) -> tuple[str, str]:
    count = max(5_000, SAMPLES // len(rule.branches))
    z = max(_law_deviation(low, rule, branch, values, count, rng) for branch in rule.branches)
    if not z < 6:  # about n^2/2 entries: false alarm below 1e-6, and the seed is fixed
        raise CheckFailed(
            f"{rule.name}: the covariance of the fields differs from samples of the spec (z = {z:.1f}); please report "
            "this model"
        )
    return "covariance of fields and noises against samples of the spec", f"largest |z| = {z:.1f}, bound 6"


def _law_deviation(
    low: Lowered, rule: FieldRule, branch: Branch, values: Mapping[str, Any], count: int, rng: np.random.Generator
) -> float:
    here, places = with_outcome(values, branch, rng)
    entries, cov, mean = law_values(rule, branch, flat_values(values, low), places)
    draws = {d.symbols[0]: d for d in low.draws}
    samples: dict[str, Any] = {}
    for name in (*branch.inputs, *branch.noises):
        d = draws[name]
        size = int(tree_value(d.shapes[name][0], values, low)) if d.shapes[name] else 1
        c = np.eye(size) if d.cov is None else np.reshape(tree_value(low.inline(d.cov), here, low), (size, size))
        centred = d.mean is None or name in branch.inputs  # the mean of an input is inserted where it is read
        m = np.zeros(size) if centred else np.ravel(tree_value(low.inline(d.mean), here, low))
        root = factorise(np.asarray(c, float))
        steps = values[branch.steps[name]] if name in branch.steps else 1
        samples[name] = [(root @ rng.normal(size=(root.shape[1], count))) + m[:, None] for _ in range(steps)]
    found = []
    for a, at in entries:
        if "." in a.args[0]:
            family, x = a.args[0].split(".")
            if family in branch.inputs:
                found.append(np.sum(samples[family][0] * samples[x][0], axis=0) / np.sqrt(values[rule.big]))
                continue
            row, step = field_labels(a.args[1], rule.overlaps.families[family])
            v = rows(values, family, rule)[at[row] if row else 0]
            found.append(v @ samples[x][at[step] if step else 0] / np.sqrt(values[rule.big]))
        else:
            found.append(samples[a.args[0]][0][next(iter(at.values()), 0)])
    data = np.array(found).reshape(len(entries), count) - mean[:, None]
    sampled = data @ data.T / count
    scale = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / count) + 1e-12
    return float(np.max(np.abs(sampled - cov) / scale)) if len(entries) else 0.0


# ---------------------------------------------------------------------------------------------------------- 3: averages
def _functions(node: Node) -> tuple[str, ...]:
    found = {node.args[0]} if node.op == "fun" else set()
    for a in node.args:
        if isinstance(a, Node):
            found.update(_functions(a))
    return tuple(sorted(found))


Target = tuple[str, tuple[Index, ...], Callable[[Branch], Node], Node]


def _targets(flow: Flow, rule: FieldRule, noise: str) -> list[Target]:
    """(name, labels, integrand, average) of each rate of the first block, and of observables that are one average."""
    from derive.online.limit import first_block, integrand

    out: list[Target] = []
    rhs = {n: node for n, (_, node) in first_block(rule, noise).items()} if rule.later else flow.rhs
    for (a, b), name in rule.overlaps.names.items():
        if name in flow.rhs:
            labels, _ = integrand(rule, rule.branches[0], a, b, noise)
            out.append((name, labels, lambda c, a=a, b=b: integrand(rule, c, a, b, noise)[1], _node(rhs[name])))  # type: ignore[misc]
    for s in rule.branches[0].H:
        out.append((s, rule.labels[s], lambda c, s=s: mul(rule.pace, c.H[s]), _node(rhs[s])))  # type: ignore[misc]
    low: Lowered = flow.source.lowered
    for name, tree in low.observe:
        inner = _inside(low.inline(tree))
        if inner is not None:
            out.append(
                (name, (), lambda c, e=inner, n=name: limit_of(e, c.reader, n), _node(flow.observables[name]))  # type: ignore[misc]
            )
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
    flat = flat_values(values, flow.source.lowered)
    targets = _targets(flow, rule, noise)
    steppy = any(f in STEPPY for *_, body, _ in targets for branch in rule.branches for f in _functions(body(branch)))
    samplers = [_samplers(rule, branch, flat, steppy, rng) for branch in rule.branches]
    worst = 0.0
    for name, labels, body, average in targets:
        for place in _places([int(flat[i.family]) for i in labels]):
            at = dict(zip(labels, place, strict=True))
            want = float(evaluate(average, flat, at, NUMPY))
            got, bound = 0.0, 1e-9
            try:
                for branch, made in zip(rule.branches, samplers, strict=True):
                    weight = float(evaluate(branch.weight, flat, {}, NUMPY))
                    whole = mul(branch.tilt, body(branch))
                    drawn = _masks(branch, flat)
                    if not drawn:
                        whole, drawn = mask_mean(whole, branch.masks), [(1.0, {})]
                    for (odds, masks), (chance, places, entries, rules) in product(drawn, made):
                        value, error = _measured(whole, rules, entries, {**flat, **masks}, {**at, **places})
                        got, bound = got + odds * weight * chance * value, bound + abs(odds * weight * chance) * error
            except KeyError as missing:
                return "averages against quadrature", f"not run: {missing.args[0]} has no value at a point"
            if abs(got - want) > bound and rung(average) == 3:  # the error of the quadrature itself, from a finer one
                bound += 3 * abs(want - float(evaluate(average, flat, at, FINER)))
            worst = max(worst, abs(got - want) / bound)
            if not abs(got - want) <= bound:
                raise CheckFailed(
                    f"{rule.name}: d {name} is {want:.8g}, quadrature over the fields gives {got:.8g} +- {bound:.1g}; "
                    "please report"
                )
    exact = all(len(rules) == 2 for made in samplers for *_, rules in made)
    how = "Gauss-Hermite rule" if exact else f"{SAMPLES} samples"
    return f"right-hand sides and observables against a {how} over all fields", f"largest deviation {worst:.2g} of its bound"


def _masks(branch: Branch, flat: Mapping[str, Any]) -> list[tuple[float, dict[str, Any]]]:
    """(probability, values) of all outcomes of the masks; empty if they are not enumerated."""
    shapes = branch.reader.lowered.shapes
    families = {z: str(shapes[z][0]) if shapes[z] else "" for z in branch.masks}
    sizes = {d: int(flat[d]) for d in families.values() if d}
    found = mask_outcomes(branch.masks, families, lambda node, at: float(evaluate(node, flat, dict(at), NUMPY)), sizes)
    return [(odds, {z: np.array(v) for z, v in values.items()}) for odds, values in found]


def _samplers(
    rule: FieldRule, branch: Branch, flat: Mapping[str, Any], steppy: bool, rng: np.random.Generator
) -> list[tuple[float, dict[Index, int], Any, list[Any]]]:
    """(probability, places of unit columns, fields, rules of points and weights) for every set of places."""
    out = []
    for spot in product(*(range(int(flat[p.family])) for p, _ in branch.inner)):
        places = {p: n for (p, _), n in zip(branch.inner, spot, strict=True)}
        chance = 1.0
        for p, w in branch.inner:
            chance *= float(evaluate(w, flat, {p: places[p]}, NUMPY))
        entries, cov, mean = law_values(rule, branch, flat, places)
        try:
            rules = None if steppy else [_points(cov, mean, len(entries), n) for n in (0, 1)]
        except BudgetExceeded:
            rules = None
        if rules is None:
            root = factorise(cov)
            count = max(SAMPLES // len(rule.branches), 10_000)
            rules = [(root @ rng.normal(size=(root.shape[1], count)) + mean[:, None], np.full(count, 1 / count))]
        out.append((chance, places, entries, rules))
    return out


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
        for (a, labels), row in zip(entries, points, strict=True):
            if not a.args[1]:
                here[a.args[0]] = row
                continue
            if not any(labels.values()):
                here[a.args[0]] = np.empty((*(int(flat[i.family]) for i in a.args[1]), len(row)))
            here[a.args[0]][tuple(labels[i] for i in a.args[1])] = row
        sampled = np.broadcast_to(evaluate(body, here, at, NUMPY), weights.shape)
        found.append(float(weights @ sampled))
        spread = float(np.sqrt(weights @ (sampled - found[-1]) ** 2 / len(weights)))
    if len(found) == 2:
        return found[0], 10 * abs(found[0] - found[1]) + 1e-9 * (1 + abs(found[0]))
    return found[0], 6 * spread + 1e-9


# ---------------------------------------------------------------------------------------------------------- 4: symmetry
def _symmetry(flow: Flow, values: Mapping[str, Any]) -> tuple[str, str]:
    flat = flat_values(values, flow.source.lowered)
    worst, bound = 0.0, 1e-10  # the two forms are the same number; rounding of a few dozen operations
    for block in flow.state:
        if rung(_node(flow.rhs[block.name])) == 3:
            bound = 1e-3  # a quadrature treats its fields in an order of their own; its error, at variances up to about two
        if block.symmetric and int(flat[block.indices[0].family]) > 1:
            k, m = block.indices
            one, two = (float(evaluate(_node(flow.rhs[block.name]), flat, at, NUMPY)) for at in ({k: 0, m: 1}, {k: 1, m: 0}))
            worst = max(worst, abs(one - two) / (abs(one) + abs(two) + 1e-300))
    if not worst < bound:
        raise CheckFailed(
            f"{flow.name}: a right-hand side is not symmetric (relative difference {worst:.2g}); please report this model"
        )
    return "symmetry of the overlaps at a random state", f"relative difference {worst:.1e}, bound {bound:.0e}"


__all__ = ["checked"]
