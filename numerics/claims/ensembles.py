"""Ensembles of one-pass SGD at several N, recorded as overlaps, from weights whose overlaps are exactly the given ones.

Vectors with a joint Gram matrix C are  V = sqrt(N) C^(1/2) E  with E a random isometry (rows orthonormal in R^N), so every size
starts at the same point of the order-parameter equations and the runs differ by their draws alone.
The plan runs on the tape; if a fast family reproduces one step of the plan on the same draws to 1e-12, it is used instead.
Imported by the claim checkers only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, gcd
from typing import Any

import numpy as np

from derive.overlaps import Overlaps
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


def place_vectors(overlaps: Overlaps, gram: Mapping[str, Array], n: int, rng: np.random.Generator) -> dict[str, Array]:
    """Arrays (family size, n) of every family with exactly these overlaps ``V_a V_b^T / n``.

    Raises
    ------
    ValueError
        If n is smaller than the number of vectors.
    """
    families = list(overlaps.families)
    rows = [[_block(overlaps, gram, a, b) for b in families] for a in families]
    joint = np.block(rows)
    if n < len(joint):
        raise ValueError(f"{len(joint)} vectors with free overlaps need N >= {len(joint)}, not {n}; raise the sizes")
    values, vectors = np.linalg.eigh(joint)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    isometry = np.linalg.qr(rng.standard_normal((n, len(joint))))[0].T
    stacked = np.sqrt(n) * root @ isometry
    edges = np.cumsum([0, *(len(row[0]) for row in rows)])
    return {f: stacked[i:j] for f, i, j in zip(families, edges[:-1], edges[1:], strict=True)}


def _block(overlaps: Overlaps, gram: Mapping[str, Array], a: str, b: str) -> Array:
    name, swapped = overlaps.name(a, b)
    array = np.asarray(gram[name], dtype=float)
    shape = tuple(1 if overlaps.families[f] == 1 else -1 for f in ((b, a) if swapped else (a, b)))
    array = array.reshape(shape) if shape != (-1, -1) else array
    return array.T if swapped else array


def project(overlaps: Overlaps, weights: Mapping[str, Array], like: Mapping[str, Array]) -> dict[str, Array]:
    """Overlaps of arrays (..., family size, N), for the names and shapes in ``like``."""
    out = {}
    for (a, b), name in overlaps.names.items():
        if name in like and (a in weights and b in weights):
            made = weights[a] @ np.swapaxes(weights[b], -1, -2) / weights[a].shape[-1]
            out[name] = made.reshape(*made.shape[:-2], *np.shape(like[name]))
    return out


def run_overlaps(
    plan: Mapping[str, Any],
    overlaps: Overlaps,
    big: str,
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
    start : overlaps and O(1) states of the order-parameter system.
    given : its parameters (overlaps of fixed vectors included).
    """
    vectors = place_vectors(overlaps, {**start, **given}, size, Stream(root=root).generator("start"))
    turned = {f: v.T if _axis(plan, f, big) == 0 else v for f, v in vectors.items()}
    state = {n: turned[n] if n in turned else np.asarray(start[n]) for n in plan["state"]}
    fixed = {n: turned[n] if n in turned else np.asarray(given[n]) for n in plan["given"] if n != big}
    weights = Weights(state=state, given=fixed)
    fast = match_committee(plan, weights, Stream(root=root).generator("data"))
    if fast is not None:
        return _run_committee(fast, weights, overlaps, start, steps, every, seeds, root), "committee"
    run = simulate(plan, {**fixed, big: size}, state, steps, seed=root, replicas=seeds, every=every, observe=False)
    if any(s != "ok" for s in run.status):
        raise ArithmeticError(f"a simulation at {big} = {size} did not stay finite; lower the rate or the time of the claim")
    moving = {f: (np.swapaxes(run.values[f], -1, -2) if _axis(plan, f, big) == 0 else run.values[f])[:, 1:]
              for f in vectors if f in run.values}  # fmt: skip
    resting = {f: v for f, v in vectors.items() if f not in moving}
    out = project(overlaps, {**resting, **moving}, start)
    for name in start:
        if name not in out:
            out[name] = run.values[name][:, 1:].reshape(seeds, -1, *np.shape(start[name]))
    return out, "tape"


def _axis(plan: Mapping[str, Any], family: str, big: str) -> int:
    shape = plan["state"].get(family) or plan["given"][family]
    return int(shape[0] != big)


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
