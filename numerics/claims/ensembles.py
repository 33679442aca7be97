"""Ensembles of one-pass SGD at several N, recorded as overlaps, from weights whose overlaps are exactly the given ones.

Vectors with a joint Gram matrix C are  V = sqrt(N) C^(1/2) E  with E a random isometry (rows orthonormal in R^N), so every size
starts at the same point of the order-parameter equations and the runs differ by their draws alone (`numerics.claims.blocks`).
The plan runs on the tape; if a fast family reproduces one step of the plan on the same draws to 1e-12, it is used instead.
Imported by the claim checkers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, gcd
from typing import Any

import numpy as np

from derive.fields.overlaps import Overlaps
from derive.fields.rule import FieldRule
from numerics.claims.blocks import exact_sizes, long_axis, place_blocks, project_blocks
from numerics.simulate import Stream, one_step, replicate, simulate
from numerics.simulate.families import committee
from numerics.trajectory import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Arrays of a plan at one size: the state, and what is given."""

    state: dict[str, Array]
    given: dict[str, Array]


def common_times(sizes: Sequence[int], end: float, count: int) -> tuple[Array, list[int]]:
    """About ``count`` equidistant times up to ``end`` (0 excluded) that are whole numbers of steps at every size.

    >>> common_times((100, 250), 2.0, 4)
    (array([0.5, 1. , 1.5, 2. ]), [50, 125])
    """
    unit = gcd(*sizes)
    ticks = max(1, round(end * unit / count))
    number = max(1, ceil(end * unit / ticks - 1e-9))
    return np.asarray(np.arange(1, number + 1) * (ticks / unit), dtype=np.float64), [ticks * size // unit for size in sizes]


def run_overlaps(
    plan: Mapping[str, Any],
    rule: FieldRule,
    start: Mapping[str, Array],
    given: Mapping[str, Array],
    size: int,
    steps: int,
    every: int,
    *,
    seeds: int,
    root: int,
) -> tuple[dict[str, Array], str]:
    """Runs at one size: arrays (seeds, T, ...) of every entry of ``start`` without t = 0, and the engine that was used.

    Parameters
    ----------
    rule : FieldRule
        Says which overlaps are taken of which arrays, and how long the blocks of inputs are.
    start : overlaps and O(1) states of the order-parameter system.
    given : its parameters (overlaps of fixed vectors included).

    Raises
    ------
    ValueError
        If no vectors have these overlaps at this size.
    InvalidSpec
        If a block has no whole number of inputs.
    ArithmeticError
        If a run does not stay finite.
    """
    lengths, overlaps = exact_sizes(rule, given, size), rule.overlaps
    vectors = place_blocks(overlaps, {**start, **given}, size, lengths, Stream(root=root).generator("start"))
    shapes = {**plan["state"], **plan["given"]}
    turned = {f: v.T if long_axis(shapes[f], lengths) == 0 else v for f, v in vectors.items()}
    state = {n: turned[n] if n in turned else np.asarray(start[n]) for n in plan["state"]}
    fixed = {n: turned[n] if n in turned else np.asarray(given[n]) for n in plan["given"] if n not in lengths}
    weights = Weights(state=state, given=fixed)
    fast = match_committee(plan, weights, Stream(root=root).generator("data")) if len(lengths) == 1 else None
    if fast is not None:
        return _run_committee(fast, weights, overlaps, start, steps, every, seeds, root), "committee"
    counts = {d: int(given[d]) for d in plan["dims"] if d in given}  # sizes of draws that no array carries
    sizes = {**fixed, **counts, **lengths}
    run = simulate(plan, sizes, state, steps, seed=root, replicas=seeds, every=every, observe=False)
    if any(s != "ok" for s in run.status):
        raise ArithmeticError(
            f"a simulation at {rule.big} = {size} did not stay finite; lower the rate or the time of the claim"
        )
    return read_overlaps(run.values, vectors, shapes, overlaps, start, size, lengths, skip=1), "tape"


def read_overlaps(
    seen: Mapping[str, Array],
    vectors: Mapping[str, Array],
    shapes: Mapping[str, Any],
    overlaps: Overlaps,
    like: Mapping[str, Array],
    size: int,
    lengths: Mapping[str, int],
    *,
    skip: int = 0,
) -> dict[str, Array]:
    """Recorded weights (seeds, T, rows, columns) as the order parameters in ``like``, without the first ``skip`` records.

    Families that were not recorded rest at ``vectors``.
    """
    weights = dict(vectors)
    for f in vectors:
        if f in seen:
            weights[f] = (np.swapaxes(seen[f], -1, -2) if long_axis(shapes[f], lengths) == 0 else seen[f])[:, skip:]
    out = project_blocks(overlaps, weights, like, size, lengths)
    for name in like:
        if name not in out:
            array = seen[name][:, skip:]
            out[name] = array.reshape(*array.shape[:2], *np.shape(like[name]))
    return out


# ------------------------------------------------------------------------------------------------------- the committee family
def match_committee(plan: Mapping[str, Any], weights: Weights, rng: np.random.Generator) -> dict[str, Any] | None:
    """Settings under which the committee family makes the same step as the plan on the same draws, or None.

    The rates are read by the names of `derive.teacher_student`; what decides is the comparison of one step, to 1e-12.
    """
    arrays = {**weights.given, **weights.state}
    draws = [name for law in plan["draws"] for name in law["symbols"]]
    if not {"W", "Wstar", "v", "A", "eta"} <= set(arrays) or draws not in (["x"], ["x", "zeta"]):
        return None
    names = {"eta": "eta", "eta_v": "eta_v", "sigma": "sigma", "decay": "kappa"}
    rates = {key: float(arrays[n]) if n in arrays else 0.0 for key, n in names.items()}
    if "v" in weights.given:
        rates["eta_v"] = 0.0
    noise = _Recorded(rng, arrays["W"].shape[1])
    drawn = {"x": noise.row[:-1], "zeta": noise.row[-1]}
    size = arrays["W"].shape[1]
    stepped = one_step(plan, {**weights.given, "N": size}, weights.state, {n: drawn[n] for n in draws})
    for activation in committee.ACTIVATIONS:
        settings = {"activation": activation, **rates}
        run = committee.one_pass(noise, arrays["W"], arrays["v"], arrays["Wstar"], arrays["A"], steps=1, **settings)  # type: ignore[arg-type]
        pairs = [(stepped["W"], run.W_end)] + ([(stepped["v"].ravel(), run.v[-1])] if "v" in stepped else [])
        if all(np.abs(a - b).max() <= 1e-12 * max(1.0, np.abs(a).max()) for a, b in pairs):
            return settings
    return None


class _Recorded:
    """A stand-in for a generator that deals one known row of normal numbers."""

    def __init__(self, rng: np.random.Generator, n: int):
        self.row = rng.standard_normal(n + 1)

    def standard_normal(self, out: Array) -> None:
        """Fill ``out`` with the row."""
        out[...] = self.row


def _run_committee(
    settings: dict[str, Any],
    weights: Weights,
    overlaps: Overlaps,
    start: Mapping[str, Array],
    steps: int,
    every: int,
    seeds: int,
    root: int,
) -> dict[str, Array]:
    arrays = {**weights.given, **weights.state}

    def one(cell: None, stream: Stream) -> dict[str, Array]:
        rng = stream.generator("train")
        run = committee.one_pass(
            rng, arrays["W"], arrays["v"], arrays["Wstar"], arrays["A"], steps=steps, every=every, **settings
        )
        named = {overlaps.name("W", "W")[0]: run.Q, overlaps.name("W", "Wstar")[0]: run.R, "v": run.v}
        return {name: named[name][1:].reshape(-1, *np.shape(start[name])) for name in start}

    runs = replicate(one, (None,), seeds, root=root)[0]
    return {name: np.array([run[name] for run in runs]) for name in start}
