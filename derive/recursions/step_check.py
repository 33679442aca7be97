"""What is checked each time a recursion is derived (about 0.2 s, seeded): one step of the spec as typed, by enumeration.

Two random states with random weights make a law of the state; the draws are replaced by finite sums that average polynomials
of low degree exactly (`derive.recursions.law_points`), and a batch of two by all pairs of draws. The averages of the moments
over states and draws before and after one step must obey the recursion. Gradients are finite differences, and no word, pairing
or rule for batches is shared with the derivation. Imported by `derive.recursions.averaged_step`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import BudgetExceeded, CheckFailed, UnsupportedNode
from derive.matrices.evaluate import evaluate
from derive.recursions.discrete import Recursion
from derive.recursions.law_points import ITEM, points, set_items
from derive.spec.lowered import Lowered, LoweredUpdate
from derive.spec.tree import Tree, names, walk
from derive.spec.tree_values import tree_value
from derive.system import Step

SEED = 20_018
STATES = 2
NODES = (3, 4, 6)  # for each Gaussian number: exact for degree 5, 7, 11
TOLERANCE = 1e-8  # relative; finite differences of the gradients leave 1e-11
PAIRS = 2  # draws of a batch whose combinations are enumerated

Values = dict[str, Any]


def checked(made: Recursion, low: Lowered) -> Recursion:
    """The same recursion with the outcome of the check in its steps.

    Raises
    ------
    CheckFailed
        If enumeration and recursion differ.
    """
    title = "one step of the spec as typed, by enumeration over states and draws, against the recursion"
    try:
        worst = deviation(made, low)
    except (UnsupportedNode, BudgetExceeded, KeyError) as reason:
        return made.replace(steps=(*made.steps, Step(title="check", detail=title, check=f"not run: {reason}")))
    said = f"largest relative deviation {worst:.0e}, bound {TOLERANCE:.0e}"
    return made.replace(steps=(*made.steps, Step(title="check", detail=title, check=said)))


def deviation(made: Recursion, low: Lowered, *, nodes: tuple[int, ...] = NODES) -> float:
    """Largest relative deviation of a recursion from the enumeration of one step at a random point.

    Raises
    ------
    CheckFailed
        If it exceeds the tolerance under rules of every order.
    UnsupportedNode, BudgetExceeded
        If a law is no finite sum, or one of too many points.
    """
    rng = np.random.default_rng(SEED)
    values = random_given(made, low, rng)
    starts = [random_state(low, values, rng) for _ in range(STATES)]
    weights = rng.dirichlet(np.ones(STATES))
    batch = _batch(low, values)
    plain = {n: a for n, a in values.items() if n != ITEM}
    before = _averages(made, plain, list(zip(weights, starts, strict=True)))
    claimed = {n: evaluate(p, {**plain, **before}, functions=made.functions) for n, p in made.after.items()}
    seen: list[float] = []
    for count in nodes:
        try:
            ends = [
                (w * p, s)
                for w, start in zip(weights, starts, strict=True)
                for p, s in _steps(low, {**values, **start}, count, batch)
            ]
        except BudgetExceeded:
            if seen:
                break
            raise
        after = _averages(made, plain, ends)
        scale = max(float(np.abs(a).max()) for a in after.values())
        seen.append(max(float(np.abs(after[n] - np.asarray(claimed[n])).max()) for n in after) / scale)
        if seen[-1] <= TOLERANCE:
            return seen[-1]
    raise CheckFailed(
        f"{made.name}: the recursion differs from an enumeration of one step by {seen[-1]:.1e} (bound {TOLERANCE:g}); "
        "please report this model"
    )


def random_given(made: Recursion, low: Lowered, rng: np.random.Generator) -> Values:
    """Sizes and every array that stays fixed during a step."""
    if any(left != ("T", right) and right != ("T", left) for left, right in low.facts):
        raise UnsupportedNode("facts between given arrays, which random arrays break")
    values: Values = dict.fromkeys(low.dims, 2)
    number = names(low.rule.batch) if isinstance(low.rule, LoweredUpdate) else ()
    values |= dict.fromkeys(number, PAIRS)
    tags = {b.name: b.tags for b in made.parameters}
    covariances = [d.cov for d in low.draws if isinstance(d.cov, str)]
    weighted = [d.probs for d in low.draws if d.law == "Choice" and d.values is None and d.probs is not None]
    once = [s for d in low.draws if d.once for s in d.symbols]
    for name in (*low.given, *once):
        if name in values:
            continue
        shape = tuple(int(tree_value(s, values, low)) for s in low.shapes[name])
        a: Any = rng.normal(size=shape) * 0.8 if shape else rng.uniform(0.2, 0.8)
        if shape and ("sym" in tags.get(name, ()) or name in covariances):
            a = a @ a.T + 0.1 * np.eye(shape[0])
        if any(name in names(p) for p in weighted) and shape:
            a = np.abs(a) / np.abs(a).sum(axis=0)
        values[name] = a
    set_items(low, values, rng)
    return values


def random_state(low: Lowered, values: Mapping[str, Any], rng: np.random.Generator) -> Values:
    """One random state."""
    out: Values = {}
    for name in low.state:
        shape = tuple(int(tree_value(s, values, low)) for s in low.shapes[name])
        out[name] = rng.normal(size=shape) if shape else float(rng.normal())
    return out


def _batch(low: Lowered, values: Mapping[str, Any]) -> int:
    assert isinstance(low.rule, LoweredUpdate)
    return round(float(tree_value(low.rule.batch, values, low)))


def _steps(low: Lowered, values: Values, nodes: int, batch: int) -> list[tuple[float, Values]]:
    """(weight, state after one step) over all draws, and over all combinations of the draws of a batch."""
    assert isinstance(low.rule, LoweredUpdate)
    first, later = low.rule.blocks[0], low.rule.blocks[1:]
    single = [(p, v, _assigned(low, first, v)) for p, v in points(low, values, nodes)]
    if batch == 1:
        return [(p, _rest(low, later, {**v, **new}, new)) for p, v, new in single]
    if batch > PAIRS:
        return _large_batch(low, later, values, single, batch)
    if len(single) ** 2 > 250_000:
        raise BudgetExceeded(f"{len(single)} draws have too many pairs")
    p = np.array([q for q, _, _ in single])
    moved = {n: np.array([np.asarray(new[n]) for *_, new in single]) for n, _ in first}
    pairs = {n: ((a[:, None] + a[None]) / 2).reshape(-1, *a.shape[1:]) for n, a in moved.items()}
    weight = np.outer(p, p).ravel()
    if not later:
        return [(1.0, {**{n: values[n] for n in low.state}, **pairs, "weight": weight})]
    rows = [{n: a[k] if a[k].ndim else float(a[k]) for n, a in pairs.items()} for k in range(len(weight))]
    return [(float(w), _rest(low, later, {**values, **new}, new)) for w, new in zip(weight, rows, strict=True)]


def _large_batch(low: Lowered, later: Any, values: Values, single: list[Any], batch: int) -> list[tuple[float, Values]]:
    """The mean of a large batch by two points with its mean and covariance along every principal direction."""
    shapes = {n: np.shape(new) for n, new in single[0][2].items()}
    rows = np.array([np.concatenate([np.ravel(new[n]) for n in shapes]) for *_, new in single])
    p = np.array([q for q, _, _ in single])
    mean = p @ rows
    cov = (p[:, None] * (rows - mean)).T @ (rows - mean) / batch
    size, basis = np.linalg.eigh(cov)
    out = []
    for s, u in zip(np.maximum(size, 0), basis.T, strict=True):
        for sign in (1, -1):
            flat, new = mean + sign * np.sqrt(s * len(size)) * u, {}
            for n, shape in shapes.items():
                count = int(np.prod(shape))
                new[n] = flat[:count].reshape(shape) if shape else float(flat[0])
                flat = flat[count:]
            out.append((0.5 / len(size), _rest(low, later, {**values, **new}, new)))
    return out


def _assigned(low: Lowered, block: tuple[tuple[str, Tree], ...], values: Mapping[str, Any]) -> Values:
    for _, tree in block:
        if any(isinstance(t, tuple) and t[0] == "mean" for t in walk(low.inline(tree))):
            raise UnsupportedNode("the step contains an average")
    return {n: tree_value(low.inline(tree), values, low) for n, tree in block}


def _rest(low: Lowered, later: Any, values: Values, new: Values) -> Values:
    for block in later:
        more = _assigned(low, block, values)
        values, new = {**values, **more}, {**new, **more}
    return {n: new.get(n, values[n]) for n in low.state}


def _averages(made: Recursion, values: Mapping[str, Any], states: list[tuple[float, Values]]) -> dict[str, Any]:
    """Averages of the moments over weighted states; a state may be a batch of them, with its ``weight``."""
    total: dict[str, Any] = {}
    for w, state in states:
        inner = state.get("weight")
        here = {**values, **{n: a for n, a in state.items() if n != "weight"}}
        for name, p in made.moments.items():
            found = np.asarray(evaluate(p, here, functions=made.functions))
            if inner is not None:
                rank = len(made.block(name).shape)
                found = np.tensordot(inner, np.broadcast_to(found, (len(inner), *found.shape[found.ndim - rank :])), axes=1)
            total[name] = total.get(name, 0.0) + w * found
    return total


__all__ = ["checked", "deviation"]
