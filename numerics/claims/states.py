"""Random states and parameters at which claims are tested.

Matrix level: normal entries of variance 1/columns; letters tagged ``sym`` are positive definite, ``diag`` positive diagonal,
``orth`` isometries. Index level: each index set f gets vectors V_f in R^n, and an array over (f, g) is their Gram matrix
V_f V_g^T / n, so any set of overlaps is consistent and positive semidefinite; arrays over one index set are positive.
Imported by the claim checkers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.matrices.words import Atom
from derive.spec.tree import names
from derive.system import Block, Flow
from numerics.claims.overlap_states import draw_overlaps, joint_overlaps
from numerics.trajectory import Array

DEPTH = 12  # length n of the vectors behind a Gram matrix; more than any index set drawn here


def dimension(size: Any, sizes: Mapping[str, Any]) -> int:
    """A size from a tree of names and integers.

    >>> dimension(("add", "N", 1), {"N": 4})
    5
    """
    if isinstance(size, int):
        return size
    if isinstance(size, str):
        if size not in sizes:
            raise InvalidSpec(f"the dimension {size} has no size; give it in the entry's values, or as --set {size}=...")
        return int(sizes[size])
    parts = [dimension(s, sizes) for s in size[1:]]
    if size[0] not in ("add", "mul"):
        raise InvalidSpec(f"cannot compute a size from {size!r}; use sums and products of dimensions")
    return sum(parts) if size[0] == "add" else int(np.prod(parts))


def draw_sizes(flow: Flow, known: Mapping[str, Any]) -> dict[str, int]:
    """A size for every dimension of a system: the known one, else 3, 4, 5, 6, 3, ... in order of appearance."""
    sizes: dict[str, int] = {}
    for block in (*flow.state, *flow.parameters):
        for name in _names(block.shape):
            if name not in sizes:
                sizes[name] = int(known[name]) if name in known else 3 + len(sizes) % 4
    return sizes


def _names(tree: Any) -> list[str]:
    if isinstance(tree, str):
        return [] if tree in ("add", "mul") else [tree]
    return [n for part in tree for n in _names(part)] if isinstance(tree, tuple) else []


def scattered(flow: Flow, known: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The known values with every number that is a parameter moved a little, by a factor of its own, or away from zero.

    At the values of an entry two time constants may be equal, or one, or a strength zero, and a claim that confuses or forgets
    them would pass. Sizes, whole numbers and what the facts of a model speak of stay.
    """
    source = flow.source
    while isinstance(source, Flow):
        source = source.source
    lowered = getattr(source, "lowered", None)
    bound = {n for fact in getattr(lowered, "facts", ()) for side in fact for n in names(side)}
    free = [b.name for b in flow.parameters if not b.shape and b.name not in bound and isinstance(known.get(b.name), float)]
    return {**known, **{name: known[name] * rng.uniform(0.75, 1.35) if known[name] else rng.uniform(0.1, 0.4) for name in free}}


def draw_values(
    flow: Flow, known: Mapping[str, Any], rng: np.random.Generator, *, keep: bool = False
) -> tuple[dict[str, Array], dict[str, Array], dict[str, int]]:
    """Random state, parameters (known ones where shapes fit) and sizes of a system.

    With ``keep``, overlaps that are drawn go together with those of the state that are known: the start of a run.
    """
    sizes = draw_sizes(flow, known)
    vectors: dict[str, Array] = {}
    state = {b.name: _draw(b, flow.level, sizes, vectors, rng) for b in flow.state}
    params = {}
    for b in flow.parameters:
        drawn = _draw(b, flow.level, sizes, vectors, rng)
        fits = b.name in known and np.shape(known[b.name]) == drawn.shape
        params[b.name] = np.asarray(known[b.name], dtype=float) if fits else drawn
    overlaps = joint_overlaps(flow, known, keep=keep)
    if overlaps is not None:
        drawn_together = draw_overlaps(overlaps, sizes, known, rng, keep=keep)
        state |= {n: a for n, a in drawn_together.items() if n in state}
        params |= {n: a for n, a in drawn_together.items() if n in params}
    return state, params, sizes


def _draw(block: Block, level: str, sizes: Mapping[str, int], vectors: dict[str, Array], rng: np.random.Generator) -> Array:
    if not block.shape:
        return np.asarray(sizes[block.name] if block.name in sizes else rng.uniform(0.5, 1.5), dtype=float)
    shape = tuple(dimension(s, sizes) for s in block.shape)
    if level == "matrix":
        return draw_matrix(shape, block.tags, rng)
    if len(shape) == 1:
        return rng.uniform(0.5, 1.5, shape)
    for family, size in zip(block.shape, shape, strict=True):
        if str(family) not in vectors:
            vectors[str(family)] = rng.standard_normal((size, DEPTH))
    rows, cols = (vectors[str(f)] for f in block.shape[:2])
    return rows @ cols.T / DEPTH


def draw_matrix(shape: tuple[int, ...], tags: tuple[str, ...], rng: np.random.Generator) -> Array:
    """A random matrix of a kind, see the head of this file."""
    rows, cols = shape
    if "diag" in tags:
        return np.diag(rng.uniform(0.5, 1.5, rows))
    if "orth" in tags:
        if rows < cols:
            raise InvalidSpec(f"an isometry of shape {shape} does not exist: it needs at least as many rows as columns")
        return np.asarray(np.linalg.qr(rng.standard_normal((rows, cols)))[0])
    if "sym" in tags:
        a = rng.standard_normal((rows, 2 * rows))
        return np.asarray(a @ a.T / (2 * rows))
    return np.asarray(rng.standard_normal(shape) / np.sqrt(cols))


def draw_atom(atom: Atom, sizes: Mapping[str, int], rng: np.random.Generator) -> Array:
    """A random value of a letter of a word."""
    return draw_matrix((dimension(atom.rows, sizes), dimension(atom.cols, sizes)), atom.tags, rng)


def given_of(plan: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the values that a plan takes: given symbols, moments, and sizes."""
    usable = {*plan["given"], *plan["moments"], *plan["dims"]}
    return {name: value for name, value in values.items() if name in usable}
