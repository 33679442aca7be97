"""Weights whose overlaps are exactly given, where inputs come in blocks of different dimensions.

    D_b = rho_b N,     C_pq = V_p . V_q / N  for vectors of one block,     V = sqrt(N / D_b) V',  V' placed in R^(D_b)

With one dimension that tends to infinity there is one block, D = N. Vectors of different blocks have no overlap.
Imported by the ensembles of one-pass SGD and by `numerics.bursts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.fields.overlaps import Overlaps
from derive.fields.rule import FieldRule
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import evaluate
from numerics.trajectory import Array

NEGATIVE = 1e-9  # smallest eigenvalue of a Gram matrix relative to the largest one: what an integration at rtol 1e-10 leaves


def block_sizes(rule: FieldRule, parameters: Mapping[str, Any], size: int) -> dict[str, int]:
    """Length of each infinite dimension at the scale N = ``size``, nearest whole numbers."""
    return {d: round(length) for d, length in _lengths(rule, parameters, size).items()}


def exact_sizes(rule: FieldRule, parameters: Mapping[str, Any], size: int) -> dict[str, int]:
    """Length of each infinite dimension at the scale N = ``size``; a rounded one would be a bias that no extrapolation removes.

    Raises
    ------
    InvalidSpec
        If a length is no whole number, or not positive.
    """
    found = _lengths(rule, parameters, size)
    shares = {n.args[0]: float(parameters[n.args[0]]) for n in rule.scale.ratios.values() if n.op == "arr"}
    shown = ", ".join(f"{name}={value:g}" for name, value in shares.items())
    for d, length in found.items():
        if round(length) < 1 or abs(length - round(length)) > 1e-9 * size:
            raise InvalidSpec(
                f"{rule.name}: {shown} makes {d} = {length:g} at {rule.scale.shown} = {size}, and a simulation needs whole, "
                f"positive numbers of inputs; choose {' and '.join(shares)} or the sizes so that their products are whole"
            )
    return {d: round(length) for d, length in found.items()}


def _lengths(rule: FieldRule, parameters: Mapping[str, Any], size: int) -> dict[str, float]:
    values = {**parameters, rule.big: size}
    return {d: float(evaluate(n, values, {}, NUMPY)) for d, n in rule.scale.sizes.items()}


def place_vectors(overlaps: Overlaps, gram: Mapping[str, Array], n: int, rng: np.random.Generator) -> dict[str, Array]:
    """Arrays (family size, n) of every family of one block with exactly these overlaps ``V_a V_b^T / n``.

    Raises
    ------
    ValueError
        If n is smaller than the number of vectors, or no vectors have these overlaps.
    """
    families = list(overlaps.families)
    rows = [[_part(overlaps, gram, a, b) for b in families] for a in families]
    joint = np.block(rows)
    if n < len(joint):
        raise ValueError(f"{len(joint)} vectors with free overlaps need N >= {len(joint)}, not {n}; raise the sizes")
    values, vectors = np.linalg.eigh(joint)
    if values[0] < -NEGATIVE * max(values[-1], 0.0) or values[-1] < 0:
        names = ", ".join(dict.fromkeys(overlaps.names[pair] for pair in overlaps.names))
        raise ValueError(
            f"no vectors have these overlaps {names}: their joint matrix has the eigenvalue {values[0]:.3g}, while the largest "
            f"is {values[-1]:.3g}; give values with |R|^2 <= Q T, or leave some of them out to have them drawn"
        )
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    isometry = np.linalg.qr(rng.standard_normal((n, len(joint))))[0].T
    stacked = np.sqrt(n) * root @ isometry
    edges = np.cumsum([0, *(len(row[0]) for row in rows)])
    return {f: stacked[i:j] for f, i, j in zip(families, edges[:-1], edges[1:], strict=True)}


def _part(overlaps: Overlaps, gram: Mapping[str, Array], a: str, b: str) -> Array:
    name, swapped = overlaps.name(a, b)
    array = np.asarray(gram[name], dtype=float)
    shape = tuple(1 if overlaps.families[f] == 1 else -1 for f in ((b, a) if swapped else (a, b)))
    array = array.reshape(shape) if shape != (-1, -1) else array
    return array.T if swapped else array


def project(overlaps: Overlaps, weights: Mapping[str, Array], like: Mapping[str, Array]) -> dict[str, Array]:
    """Overlaps of arrays (..., family size, N) of one block, for the names and shapes in ``like``."""
    out = {}
    for (a, b), name in overlaps.names.items():
        if name in like and (a in weights and b in weights):
            made = weights[a] @ np.swapaxes(weights[b], -1, -2) / weights[a].shape[-1]
            out[name] = made.reshape(*made.shape[:-2], *np.shape(like[name]))
    return out


def place_blocks(
    overlaps: Overlaps, gram: Mapping[str, Any], size: int, lengths: Mapping[str, int], rng: np.random.Generator
) -> dict[str, Array]:
    """Vectors of all families with exactly these overlaps ``V_a V_b^T / size``, block by block.

    Raises
    ------
    ValueError
        As `place_vectors`.
    """
    out: dict[str, Array] = {}
    for block, members in _by_block(overlaps, lengths):
        placed = place_vectors(members, gram, lengths[block], rng)
        out |= {f: v * np.sqrt(size / lengths[block]) for f, v in placed.items()}
    return out


def project_blocks(
    overlaps: Overlaps, weights: Mapping[str, Array], like: Mapping[str, Array], size: int, lengths: Mapping[str, int]
) -> dict[str, Array]:
    """Overlaps of arrays (..., family size, length of its block) over the scale ``size``."""
    out: dict[str, Array] = {}
    for block, members in _by_block(overlaps, lengths):
        inside = {f: weights[f] for f in members.families if f in weights}
        out |= {n: a * (lengths[block] / size) for n, a in project(members, inside, like).items()}
    return out


def long_axis(shape: Sequence[Any], lengths: Mapping[str, int]) -> int:
    """Which axis of a family is the long one.

    >>> long_axis(("K", "Nr"), {"Nr": 50, "Ni": 50})
    1
    """
    return 0 if shape[0] in lengths else 1


def _by_block(overlaps: Overlaps, lengths: Mapping[str, int]) -> Iterable[tuple[str, Overlaps]]:
    """The families of each infinite dimension as overlaps of their own."""
    only = next(iter(lengths))
    for block in lengths:
        families = {f: s for f, s in overlaps.families.items() if overlaps.blocks.get(f, only) == block}
        if families:
            names = {pair: n for pair, n in overlaps.names.items() if pair[0] in families and pair[1] in families}
            yield block, replace(overlaps, families=families, names=names)
