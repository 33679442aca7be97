"""Numbers of a reduction to singular modes: parameters from data, aligned weights, and mode strengths of weights.

With Syx = U diag(s) V' (leading r directions) and d_i = v_i' Sx v_i: W_l = R_{l+1} diag(a_l) R_l', R_1 = V, R_{L+1} = U, inner
R_l random isometries from a seed. Back: r_{l+1} is the direction of W_l r_l, starting from r_1 = v, and a_l = |W_l r_l|; the
last factor is u' W_L r_L, so the product of all factors is u' W_L ... W_1 v exactly, for any weights. The single factors of
weights that are not aligned depend on this choice of directions. Leading axes (time) are carried along.
Imported by `derive.reductions.aligned`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly
from derive.system import Block

Array = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeNumbers:
    """What the numerical side needs to know.

    Attributes
    ----------
    weights : tuple of Block
        The chain, first layer first.
    states : tuple of str
        Names of the mode factors, in the same order.
    cross, inner : str or None
        Names of the input-output correlation and of the input covariance (None: not in the flow).
    s, d : str
        Names of the mode parameters.
    white : bool
    scalars : tuple of str
        Parameters that are taken over.
    constants : mapping name -> Poly
        New scalars out of given arrays.
    """

    weights: tuple[Block, ...]
    states: tuple[str, ...]
    cross: str
    inner: str | None
    s: str
    d: str
    white: bool
    scalars: tuple[str, ...]
    constants: Mapping[str, Poly]

    def parameters_from(self, values: Mapping[Any, Any]) -> dict[str, Any]:
        """Strengths s (r,), variances d (r,), and the parameters that are taken over."""
        known = _named(values)
        _, s, d, _ = self._basis(known)
        out: dict[str, Any] = {self.s: s}
        if self.inner is not None and not self.white:
            out[self.d] = d
        out |= {n: known[n] for n in self.scalars if n in known}
        return out | {n: evaluate(p, known) for n, p in self.constants.items() if _has(p, known)}

    def lift_state(self, values: Mapping[Any, Any], reduced_state: Mapping[Any, Any], seed: int = 0) -> dict[str, Any]:
        """Aligned weights, inner isometries drawn from ``seed``; factors of shape (..., r)."""
        known, factors = _named(values), _named(reduced_state)
        u, s, _, v = self._basis(known)
        rng = np.random.default_rng(seed)
        inner = [self._isometry(rng, b, known, len(s)) for b in self.weights[:-1]]
        frames = [v, *inner, u]
        return {
            b.name: (frames[l + 1] * np.asarray(factors[a], dtype=float)[..., None, :]) @ frames[l].T
            for l, (b, a) in enumerate(zip(self.weights, self.states, strict=True))
        }

    def project_state(self, values: Mapping[Any, Any], full_state: Mapping[Any, Any]) -> dict[str, Any]:
        """Mode factors of weights; their product is u' W_L ... W_1 v."""
        known, full = _named(values), _named(full_state)
        u, _, _, v = self._basis(known)
        frame = v
        out = {}
        for b, a in zip(self.weights[:-1], self.states[:-1], strict=True):
            image = full[b.name] @ frame
            size = np.linalg.norm(image, axis=-2)
            out[a] = size
            frame = image / np.where(size == 0, 1.0, size)[..., None, :]
        out[self.states[-1]] = np.sum(u * (full[self.weights[-1].name] @ frame), axis=-2)
        return out

    def _isometry(self, rng: np.random.Generator, b: Block, known: Mapping[str, Any], r: int) -> Array:
        rows = _size(b, 0, known)
        if rows is None:
            raise InvalidSpec(
                f"the width {b.shape[0]} of {b.name} is not known: give {b.shape[0]} or {b.name} among the values"
            )
        return np.linalg.qr(rng.normal(size=(rows, r)))[0]

    def _basis(self, known: Mapping[str, Any]) -> tuple[Array, Array, Array, Array]:
        """U (N_out, r), s (r,), d (r,), V (N_in, r)."""
        for name in (self.cross, *(() if self.inner is None or self.white else (self.inner,))):
            if name not in known:
                raise InvalidSpec(
                    f"no value for {name}: the singular modes are those of {self.cross}; give it among the values"
                )
        cross = np.asarray(known[self.cross], dtype=float)
        covariance = np.eye(cross.shape[1]) if self.inner is None or self.white else np.asarray(known[self.inner], dtype=float)
        widths = [_size(b, 0, known) for b in self.weights]
        r = min([*cross.shape, *(w for w in widths if w is not None)])
        return singular_modes(cross, covariance, r)


def singular_modes(cross: Array, covariance: Array, r: int) -> tuple[Array, Array, Array, Array]:
    """Leading r singular modes U, s, d, V; inside groups of equal strength V diagonalises the covariance.

    Signs are fixed: the largest entry of every column of V is positive (of U, where the strength vanishes).

    >>> U, s, d, V = singular_modes(np.diag([3.0, 1.0]), np.diag([1.0, 2.0]), 2)
    >>> s.tolist(), d.tolist()
    ([3.0, 1.0], [1.0, 2.0])
    """
    left, s, right_t = np.linalg.svd(cross)
    right = right_t.T.copy()
    left = left.copy()
    k = len(s)
    tolerance = 1e-10 * max(float(s[0]), np.finfo(float).tiny)  # equal to rounding of an SVD of moderate condition
    begin = 0
    while begin < k:
        end = begin + 1
        while end < k and s[begin] - s[end] <= tolerance:
            end += 1
        zero = s[begin] <= tolerance
        stop = right.shape[1] if zero else end  # the null space is larger than the group
        if stop - begin > 1:
            block = right[:, begin:stop]
            _, turn = np.linalg.eigh(block.T @ covariance @ block)
            turn = turn[:, ::-1]
            right[:, begin:stop] = block @ turn
            if not zero:
                left[:, begin:end] = left[:, begin:end] @ turn
        begin = end
    u, v = left[:, :r], right[:, :r]
    sign = np.sign(v[np.argmax(np.abs(v), axis=0), np.arange(r)])
    u, v = u * sign, v * sign
    d = np.einsum("ir,ij,jr->r", v, covariance, v)
    return u, s[:r].copy(), d, v


def _named(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {k if isinstance(k, str) else str(k.name): v for k, v in values.items()}


def _size(b: Block, axis: int, known: Mapping[str, Any]) -> int | None:
    size = b.shape[axis]
    if isinstance(size, int):
        return size
    if b.name in known:
        return int(np.shape(known[b.name])[axis - 2])
    return int(known[size]) if size in known else None


def _has(p: Poly, known: Mapping[str, Any]) -> bool:
    from derive.matrices.composite import atoms, parameters

    return all(n in known for n in (*(a.name for a in atoms(p)), *parameters(p)))
