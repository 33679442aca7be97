"""Drift of order parameters, measured by bursts of one step of direct learning from weights with exactly given overlaps.

    y = < (C(after one step) - C) / dt >  over independent draws,      y(N) = y + bias / N + O(1/N^2),

taken at N and at 4N and extrapolated, so that what is left of the bias is of order 1/(4 N^2). A burst of one step from a state
that is known exactly has no error of discretisation in time; its noise falls with the number of bursts alone. The steps are
made by `numerics.simulate`, which knows nothing of the derivation. Imported by `numerics.blame`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.fields.rule import FieldRule
from numerics.claims.blocks import block_sizes, long_axis, place_blocks, project_blocks
from numerics.simulate.plan import Plan, read_plan
from numerics.simulate.stepping import Stepper, open_run
from numerics.simulate.tape import Node, constant
from numerics.simulate.trees import dimension
from numerics.trajectory import Array

RATIO = 4  # of the two sizes
CHUNK = 1 << 19  # numbers in one array of weights: a few megabytes, so that a step stays in the cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A state of the order-parameter system with the parameters there, by name.

    Attributes
    ----------
    state, parameters : mapping name -> array
    sizes : mapping dimension -> int
    """

    state: Mapping[str, Array]
    parameters: Mapping[str, Array]
    sizes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Measured drift at one state.

    Attributes
    ----------
    mean : array, shape (E,)
        Extrapolated drift of the entries, in the order of the names of the state, each flattened.
    covariance : array, shape (E, E)
        Of ``mean``.
    bursts : int
    """

    mean: Array
    covariance: Array
    bursts: int


def measure_drift(
    plan: Mapping[str, Any], rule: FieldRule, spot: Spot, *, size: int = 32, bursts: int = 8000, seed: int = 0
) -> Drift:
    """Mean velocity of the order parameters at a state, by direct simulation at N = ``size`` and 4 ``size``.

    Parameters
    ----------
    plan : mapping
        Of the model; nothing else of it is simulated.
    rule : FieldRule
        Says which overlaps are taken of which arrays.
    spot : Spot
    size, bursts, seed : int
        The smaller N; bursts at the larger size (half as many at the smaller one).

    Raises
    ------
    InvalidSpec
        If a symbol of the model has no value, or the steps do not stay finite.
    """
    parsed = read_plan(plan)
    sizes = (size, RATIO * size)
    counts = (max(2, bursts // 2), bursts)
    made = [_moments(parsed, rule, spot, n, c, seed + 7919 * k) for k, (n, c) in enumerate(zip(sizes, counts, strict=True))]
    (low, vl), (high, vh) = made
    a, b = RATIO / (RATIO - 1), 1 / (RATIO - 1)
    return Drift(mean=a * high - b * low, covariance=a**2 * vh + b**2 * vl, bursts=sum(counts))


def snapped(rule: FieldRule, parameters: Mapping[str, Array], size: int) -> dict[str, Array]:
    """The parameters with every ratio of infinite dimensions moved to the nearest one that exists at N = ``size``."""
    lengths = block_sizes(rule, parameters, size)
    if min(lengths.values()) < 1:
        raise InvalidSpec(f"{rule.name}: a block of inputs is empty at {rule.big} = {size}; raise size=")
    out = dict(parameters)
    for d, ratio in rule.scale.ratios.items():
        if ratio.op == "arr":
            out[ratio.args[0]] = np.asarray(lengths[d] / size)
    return out


def on_manifold(plan: Mapping[str, Any], rule: FieldRule, spot: Spot, *, size: int = 32, seed: int = 0) -> Spot:
    """The state after the projections among the later blocks of the rule (normalisations), applied once by the simulator."""
    if not any(later.projection for later in rule.later):
        return spot
    bench = _bench(read_plan(plan), rule, spot, size, seed)
    blocks = tuple(b for b, later in zip(bench.run.rule.blocks[1:], rule.later, strict=True) if later.projection)
    still = replace(bench.run, rule=replace(bench.run.rule, blocks=((), *blocks)), laws=())
    moved = _one_burst(still, bench.state, 1)
    after = bench.read({n: a[:, 0] for n, a in moved.items()}, spot.state)
    return replace(spot, state={n: np.asarray(after[n]).reshape(np.shape(a)) for n, a in spot.state.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bench:
    """A plan with weights at one size, ready to make steps."""

    run: Stepper
    rule: FieldRule
    size: int
    lengths: dict[str, int]
    vectors: dict[str, Array]
    state: dict[str, Array]

    def read(self, moved: Mapping[str, Array], like: Mapping[str, Array]) -> dict[str, Array]:
        """Order parameters of states (count, ...)."""
        weights = {f: v for f, v in self.vectors.items() if f not in moved}
        for f in self.vectors:
            if f in moved:
                upright = long_axis(_shape(self.run.plan, f), self.lengths) == 1
                weights[f] = moved[f] if upright else np.swapaxes(moved[f], -1, -2)
        out = project_blocks(self.rule.overlaps, weights, like, self.size, self.lengths)
        return out | {n: moved[n] for n in like if n not in out}


def _bench(plan: Plan, rule: FieldRule, spot: Spot, size: int, seed: int) -> _Bench:
    lengths = block_sizes(rule, spot.parameters, size)
    rng = np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=(size,)))
    vectors = place_blocks(rule.overlaps, {**spot.state, **spot.parameters}, size, lengths, rng)
    turned = {f: v.T if long_axis(_shape(plan, f), lengths) == 0 else v for f, v in vectors.items()}
    known: dict[str, Any] = {**spot.parameters, **spot.sizes, **lengths}
    missing = [n for n in plan.given if n not in turned and n not in known]
    if missing:
        raise InvalidSpec(f"{rule.name}: no value for {missing[0]}; pass values={{{missing[0]!r}: ...}}")
    state = {n: turned[n] if n in turned else np.asarray(spot.state[n]) for n in plan.state}
    given = {n: turned[n] if n in turned else np.asarray(known[n]) for n in plan.given if n not in lengths}
    counts = {d: int(known[d]) for d in plan.dims if d in known and d not in given}
    run = open_run(plan, {**given, **counts}, state, 1, seed, None, 1000, None)
    return _Bench(run=run, rule=rule, size=size, lengths=lengths, vectors=vectors, state=state)


def _moments(plan: Plan, rule: FieldRule, spot: Spot, size: int, bursts: int, seed: int) -> tuple[Array, Array]:
    """Mean of the drift at one size, and covariance of that mean."""
    bench = _bench(plan, rule, spot, size, seed)
    start = np.concatenate([np.asarray(a, dtype=float).ravel() for a in spot.state.values()])
    total, square, done = np.zeros(len(start)), np.zeros((len(start), len(start))), 0
    width = sum(v.size for v in bench.state.values()) * bench.run.batch
    for count in _chunks(bursts, max(1, CHUNK // max(1, width))):
        moved = {n: a[:, 0] for n, a in _one_burst(bench.run, bench.state, count).items()}
        after = bench.read(moved, spot.state)
        change = np.concatenate([np.reshape(after[n], (count, -1)) for n in spot.state], axis=1) - start
        change /= bench.run.dt
        total, square, done = total + change.sum(axis=0), square + change.T @ change, done + count
    if not (np.isfinite(total).all() and np.isfinite(square).all()):
        raise InvalidSpec(f"{rule.name}: a step at {rule.big} = {size} is not finite; check the values of rates and norms")
    mean = total / done
    return mean, (square / done - np.outer(mean, mean)) / (done - 1)


def _chunks(count: int, most: int) -> Iterator[int]:
    while count > 0:
        yield min(count, most)
        count -= most


def _one_burst(run: Stepper, state: Mapping[str, Array], count: int) -> dict[str, Array]:
    """States after one step, (count, 1, ...) each, from independent draws."""
    shaped = {}
    for name, array in state.items():
        shape = tuple(dimension(d, run.base.sizes) for d in run.plan.state[name])
        shaped[name] = np.broadcast_to(np.reshape(array, shape), (count, *shape))
    scope = run.scope({n: a[:1] for n, a in shaped.items()})
    run.train.draw(run.laws, scope, count * run.batch)
    draws: dict[str, Node] = {}
    for law in run.laws:
        for name in law.symbols:
            node = scope.nodes[name]
            flat = np.broadcast_to(node.value, (1, count * run.batch, *node.shape))
            draws[name] = constant(flat.reshape(count, run.batch, *node.shape), node.rank)
    return {n: a[:, None] for n, a in run.advance(shaped, draws).items()}


def _shape(plan: Plan, family: str) -> tuple[Any, ...]:
    return plan.state[family] if family in plan.state else plan.given[family]
