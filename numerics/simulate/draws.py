"""Sampling and enumeration of the laws of a plan.

Normal: x = mean + L z with L L' = cov, columns independent. Choice: finitely many values, or a uniformly random unit vector.
Marginal: independent entries with given values. Moments: an open law; it is refused unless the caller chooses
``open_law="normal"``, the zero-mean Gaussian with the named second moments.

Draws are constants on the tape. Arrays have shape (replicas, 1..., count) + matrix axes; every replica has its own generator.
Imported by the engine only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .errors import NotSimulable
from .interpret import Scope, evaluate
from .plan import Law
from .tape import Array, Node, constant
from .trees import Tree, dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampler:
    """Draws laws with one generator for each replica.

    ``fixed`` holds the names that never change during a run; a covariance of such names is factorised once (``factors``).
    """

    generators: tuple[np.random.Generator, ...]
    fixed: frozenset[str]
    open_law: str | None = None
    factors: dict[Tree, Array] = field(default_factory=dict)

    def draw(self, laws: Sequence[Law], scope: Scope, count: int) -> None:
        """Draw ``count`` samples of each law, in order, into the scope."""
        for law in laws:
            for name, node in _SAMPLE[law.law](self, law, scope, count).items():
                scope.nodes[name] = node

    def fill(self, method: str, scope: Scope, count: int, shape: tuple[int, ...], *args: float) -> Array:
        """Raw random numbers of shape (replicas, 1..., count) + shape, replica by replica."""
        arrays = [np.asarray(getattr(rng, method)(*args, size=(count, *shape)), dtype=np.float64) for rng in self.generators]
        return np.stack(arrays).reshape(len(arrays), *(1,) * scope.depth, count, *shape)


def enumerate_laws(laws: Sequence[Law], scope: Scope, limit: int) -> Array | None:
    """Every joint outcome of finite laws, put into the scope along the last batch axis; returns the probabilities.

    Returns None, and leaves the scope alone, if a law is not a `Choice` or if there are more than ``limit`` outcomes.
    """
    if not laws or any(law.law != "Choice" or _columns(law, scope) != 1 for law in laws):
        return None
    if np.prod([_count(law, scope) for law in laws], dtype=float) > limit:
        return None
    weights = np.ones((1,) * (scope.depth + 2))
    known = dict(scope.nodes)
    for number, law in enumerate(laws):
        values, probs = _outcomes(law, scope)
        for name in [n for n in scope.nodes if n in scope.let and n not in known]:
            del scope.nodes[name]  # a definition used by the law: its value belongs to the outcomes of the earlier laws only
        n = probs.shape[-1]
        joint = weights[..., :, None] * (probs if probs.ndim == 1 else _along(probs, weights.ndim))
        size = weights.shape[-1]
        weights = joint.reshape(*joint.shape[:-2], size * n)
        for earlier in laws[:number]:
            for name in earlier.symbols:
                node = scope.nodes[name]
                scope.nodes[name] = constant(np.repeat(node.value, n, axis=-1 - node.rank), node.rank)
        for name, value in zip(law.symbols, values, strict=True):
            scope.nodes[name] = constant(_tile(value, size, scope.depth + 1), value.rank)
    return weights


def _tile(value: _Outcomes, size: int, lead: int) -> Array:
    """Outcomes (batch..., n, shape) for each of ``size`` earlier outcomes: (batch..., size * n, shape)."""
    batch = value.array.shape[: value.array.ndim - value.rank - 1]
    shape = value.array.shape[len(batch) :]
    if not batch:
        batch = (1,) * lead + (1,)
    array = value.array.reshape(*batch, *shape)
    array = np.broadcast_to(array, (*batch[:-1], size, *shape))
    return np.ascontiguousarray(array).reshape(*batch[:-1], size * shape[0], *shape[1:])


@dataclass(frozen=True, slots=True)
class _Outcomes:
    """Values of one symbol: array of shape (batch..., n) + matrix axes."""

    array: Array
    rank: int


def _along(probs: Array, ndim: int) -> Array:
    return probs.reshape(*(1,) * (ndim + 1 - probs.ndim), *probs.shape)


def _shape(law: Law, index: int, scope: Scope) -> tuple[int, ...]:
    return tuple(dimension(tree, scope.sizes) for tree in law.shapes[index])


def _columns(law: Law, scope: Scope) -> int:
    shape = _shape(law, 0, scope)
    return shape[1] if shape and law.values is None else 1


def _count(law: Law, scope: Scope) -> int:
    return len(law.values) if law.values is not None else _shape(law, 0, scope)[0]


def _outcomes(law: Law, scope: Scope) -> tuple[list[_Outcomes], Array]:
    """Values of each symbol and their probabilities (batch..., n)."""
    if law.values is None:
        values = [_Outcomes(np.eye(_one_hot(law, scope))[:, :, None], 2)]
    else:
        values = [_column(law, index, scope) for index in range(len(law.symbols))]
    n = values[0].array.shape[values[0].array.ndim - values[0].rank - 1]
    return values, _probabilities(law, scope, n)


def _one_hot(law: Law, scope: Scope) -> int:
    """Length of the random unit vector that a choice without values is."""
    shape = _shape(law, 0, scope)
    if len(law.symbols) != 1 or len(shape) != 2:
        raise NotSimulable(f"{law.label} has no values: only a single vector can be a random unit vector. Pass values.")
    return shape[0]


def _column(law: Law, index: int, scope: Scope) -> _Outcomes:
    assert law.values is not None
    nodes = [evaluate(value[index], scope) for value in law.values]
    shape = _shape(law, index, scope)
    if any(node.shape != shape for node in nodes):
        raise NotSimulable(f"{law.label}: a value of {law.symbols[index]} has another shape than declared, {shape}.")
    rank = nodes[0].rank
    batch = np.broadcast_shapes(*(node.batch for node in nodes))
    arrays = [np.broadcast_to(node.value, (*batch, *shape)) for node in nodes]
    return _Outcomes(np.stack(arrays, axis=len(batch)), rank)


def _probabilities(law: Law, scope: Scope, n: int) -> Array:
    if law.probs is None:
        return np.full(n, 1.0 / n)
    if law.listed:
        nodes = [evaluate(tree, scope) for tree in law.probs]
        probs = np.stack(np.broadcast_arrays(*(node.value for node in nodes)), axis=-1)
    else:
        node = evaluate(law.probs, scope)
        if node.rank != 2 or node.shape[1] != 1:
            raise NotSimulable(f"{law.label}: the probabilities have shape {node.shape}; they must be a column vector.")
        probs = node.value[..., 0]
    if probs.shape[-1] != n:
        raise NotSimulable(f"{law.label} has {n} values and {probs.shape[-1]} probabilities. Give one for each value.")
    return _checked(probs, law)


def _checked(probs: Array, law: Law) -> Array:
    total = probs.sum(axis=-1)
    if np.any(probs < 0) or np.any(np.abs(total - 1) > 1e-9):  # 1e-9: rounding of a sum of at most 1e6 probabilities
        raise NotSimulable(f"{law.label}: the probabilities must be >= 0 and sum to 1; the sum is {np.ravel(total)[0]:.6g}.")
    return np.asarray(probs)


def _choice(sampler: Sampler, law: Law, scope: Scope, count: int) -> dict[str, Node]:
    if law.values is None:  # the n unit vectors are not written out: n is the number of items of a data set
        values: list[_Outcomes] = []
        probs = _probabilities(law, scope, _one_hot(law, scope))
    else:
        values, probs = _outcomes(law, scope)
    n, columns = probs.shape[-1], _columns(law, scope)
    extra = (columns,) if columns > 1 else ()
    if law.probs is None:
        index = sampler.fill("integers", scope, count, extra, 0, n).astype(np.intp)
    else:
        u = sampler.fill("random", scope, count, extra)
        edges = np.cumsum(probs, axis=-1)
        if edges.ndim == 1:
            index = np.searchsorted(edges, u, side="right")
        else:
            index = ((edges[..., None, :] if extra else edges) <= u[..., None]).sum(axis=-1)
        index = np.minimum(index, n - 1)
    if law.values is None:
        picked = np.zeros((*index.shape, n))
        np.put_along_axis(picked, index[..., None], 1.0, axis=-1)
        return {law.symbols[0]: constant(picked.swapaxes(-1, -2) if extra else picked[..., None], 2)}
    return {name: constant(_take(value, index), value.rank) for name, value in zip(law.symbols, values, strict=True)}


def _take(value: _Outcomes, index: np.ndarray) -> Array:
    if value.array.ndim == value.rank + 1:
        return np.asarray(value.array[index])
    lead = value.array.ndim - value.rank - 1
    array = np.broadcast_to(value.array, (*index.shape, *value.array.shape[lead:]))
    picked = np.take_along_axis(array, index.reshape(*index.shape, *(1,) * (value.rank + 1)), axis=index.ndim)
    return np.asarray(np.squeeze(picked, axis=index.ndim))


def _normal(sampler: Sampler, law: Law, scope: Scope, count: int) -> dict[str, Node]:
    if len(law.symbols) != 1 and (law.cov is not None or law.mean is not None):
        raise NotSimulable(f"{law.label}: a covariance or mean of several symbols is not defined. Write one Normal for each.")
    drawn = {}
    for index, name in enumerate(law.symbols):
        shape = _shape(law, index, scope)
        value = sampler.fill("standard_normal", scope, count, shape)
        if law.cov is not None and law.cov != 1 and (not isinstance(law.cov, tuple) or law.cov[0] != "eye"):
            root = _factor(sampler, law, scope)
            if root.rank == 2 and len(shape) == 2 and root.shape == (shape[0], shape[0]):
                value = root.value @ value
            elif root.rank == 0:
                value = (root.value[..., None, None] if shape else root.value) * value
            else:
                raise NotSimulable(f"{law.label}: a covariance of shape {root.shape} for a draw of shape {shape}.")
        if law.mean is not None and law.mean != 0:
            mean = evaluate(law.mean, scope)
            if mean.shape not in (shape, (*shape[:1], 1)):
                raise NotSimulable(f"{law.label}: a mean of shape {mean.shape} for a draw of shape {shape}.")
            value = mean.value + value
        drawn[name] = constant(value, len(shape))
    return drawn


def _factor(sampler: Sampler, law: Law, scope: Scope) -> Node:
    """Square root of a covariance; kept if it cannot change during the run."""
    if law.cov in sampler.factors:
        array = sampler.factors[law.cov]
        return constant(array, 2 if array.ndim >= 2 else 0)
    cov = evaluate(law.cov, scope)
    if cov.rank == 0:
        if np.any(cov.value < 0):
            raise NotSimulable(f"{law.label}: negative variance {cov.value.min():.3g}.")
        return constant(np.sqrt(cov.value), 0)
    root = semidefinite_root(cov.value, law.label)
    if all(name in sampler.fixed or name in scope.plan.let for name in scope.plan.reach((law.cov,))):
        sampler.factors[law.cov] = root
    return constant(root, 2)


def semidefinite_root(cov: Array, label: str) -> Array:
    """A matrix L with L L' = cov, for a positive semidefinite cov of shape (batch..., n, n).

    Raises
    ------
    NotSimulable
        The matrix is not symmetric, or has a negative eigenvalue beyond rounding.
    """
    scale = float(np.max(np.abs(cov), initial=0.0))
    if np.any(np.abs(cov - cov.swapaxes(-1, -2)) > 1e-10 * scale):  # 1e-10: products of matrices are symmetric to rounding
        raise NotSimulable(f"{label}: the covariance is not symmetric.")
    try:
        return np.asarray(np.linalg.cholesky(cov), dtype=np.float64)
    except np.linalg.LinAlgError:  # singular or indefinite: the eigenvalues tell which
        values, vectors = np.linalg.eigh(cov)
    if np.any(values < -1e-10 * scale):  # 1e-10: rounding of the eigenvalues of a singular covariance
        raise NotSimulable(f"{label}: the covariance has the negative eigenvalue {values.min():.3g}.")
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :], dtype=np.float64)


def _marginal(sampler: Sampler, law: Law, scope: Scope, count: int) -> dict[str, Node]:
    """Independent entries: a function of normal numbers, or values with probabilities (a column: one for each row)."""
    name, shape = law.symbols[0], _shape(law, 0, scope)
    if law.cov is not None:
        raise NotSimulable(
            f"{law.label}: one entry and a covariance are no joint law. Draw z ~ Normal, and define {name} = f(z) in `let`."
        )
    if law.transform is not None:
        normal = constant(sampler.fill("standard_normal", scope, count, shape), len(shape))
        inner = Scope(plan=scope.plan, sizes=scope.sizes, nodes={name: normal}, outer=scope, depth=scope.depth)
        return {name: constant(evaluate(("map", law.transform, name), inner).value, len(shape))}
    if law.values is None:
        raise NotSimulable(
            f"{law.label}: its values are left open. Write Marginal({name}, values=..., probs=...) to simulate it."
        )
    nodes = [evaluate(value[0], scope) for value in law.values]
    if any(node.value.size != 1 for node in nodes):
        raise NotSimulable(f"{law.label}: the values of an entry must be fixed numbers.")
    support = np.array([float(node.value.reshape(())) for node in nodes])
    edges = np.cumsum(_entry_probabilities(law, scope, shape), axis=-1)
    u = sampler.fill("random", scope, count, shape)
    index = np.minimum((edges <= u[..., None]).sum(axis=-1), len(support) - 1)
    return {name: constant(support[index], len(shape))}


def _entry_probabilities(law: Law, scope: Scope, shape: tuple[int, ...]) -> Array:
    """Probabilities of the values, shape (batch...) + (rows or 1, 1 for a matrix) + (n,)."""
    if law.probs is None or not law.listed:
        return _probabilities(law, scope, len(law.values or ()))
    nodes = [evaluate(tree, scope) for tree in law.probs]
    if any(node.rank and (not shape or node.shape != (shape[0], 1)) for node in nodes):
        raise NotSimulable(f"{law.label}: a probability is a number or a column with one entry for each row of the draw.")
    arrays = [node.value if node.rank or not shape else node.value[..., None, None] for node in nodes]
    return _checked(np.stack(np.broadcast_arrays(*arrays), axis=-1), law)


def _moments(sampler: Sampler, law: Law, scope: Scope, count: int) -> dict[str, Node]:
    """The zero-mean Gaussian with the named moments; a symbol without E[y y'] becomes its own regression on the others."""
    if sampler.open_law != "normal":
        raise NotSimulable(
            f"{law.label} leaves the joint law open, so there is nothing to draw. Bind data, model.bind({law.symbols[0]}=X, "
            "...), or choose simulate(..., open_law='normal'): the zero-mean Gaussian with the named moments."
        )
    blocks: dict[tuple[str, str], Array] = {}
    for tree, name in law.moments:
        match tree:
            case ("matmul", str() as a, ("T", str() as b)) if a in law.symbols and b in law.symbols:
                moment = scope.lookup(name).value
                moment = moment.reshape(moment.shape[-2:])
                blocks[a, b], blocks[b, a] = moment, moment.T
            case _:
                raise NotSimulable(
                    f"{law.label}: the moment {name} = E[{tree!r}] is no second moment E[a b']. Bind data instead."
                )
    sources = [name for name in law.symbols if (name, name) in blocks]
    for a in law.symbols:
        for b in sources:
            if (a, b) not in blocks:
                raise NotSimulable(
                    f"{law.label}: E[{a} {b}'] is not named, so no Gaussian is singled out. Name it or bind data."
                )
    if not sources:
        raise NotSimulable(f"{law.label}: no symbol has a named covariance E[x x']. Name one or bind data.")
    cov = np.block([[blocks[a, b] for b in sources] for a in sources])
    z = sampler.fill("standard_normal", scope, count, (cov.shape[0], 1))
    joint = semidefinite_root(cov, law.label) @ z
    edges = np.cumsum([0, *(blocks[name, name].shape[0] for name in sources)])
    drawn = {name: joint[..., i:j, :] for name, i, j in zip(sources, edges[:-1], edges[1:], strict=True)}
    for name in law.symbols:
        if name not in drawn:
            cross = np.hstack([blocks[name, b] for b in sources])
            drawn[name] = cross @ np.linalg.pinv(cov, hermitian=True) @ joint
    return {name: constant(drawn[name], 2) for name in law.symbols}


_SAMPLE = {"Normal": _normal, "Choice": _choice, "Marginal": _marginal, "Moments": _moments}
