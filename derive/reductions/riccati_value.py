"""Numbers of the matrix Riccati equation: balanced starts, and its solution by the semigroup in Q.

The solution of  Q' = f F Q - (g/2) Q Q'Q,  up to a rotation Q O, over a time h with  F = V diag(w) V',  A = V'Q:

    Q(h) = V e^{f w h} A L^{-T},   L L' = I + A' diag(g h phi(2 f w h)) A,   phi(z) = (e^z - 1)/z.

F may be singular. One step keeps f h max|w| <= REACH and steps are repeated, because for longer ones the bracket is
ill-conditioned and later overflows; the equation of Q Q' itself is unstable below full rank and is never integrated.
Imported by `derive.reductions.riccati` and `derive.riccati_closed`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.errors import InvalidSpec
from derive.solutions.closed_explicit import phi

REACH = 8.0  # e^8 = 3e3: condition 1e7 of the bracket at worst, and rounding is not amplified
STEPS = 200_000

Array = Any


def balanced_blocks(first: Array, second: Array, lam: float) -> tuple[Array, Array]:
    """Weights W1, W2 with W2'W2 - W1 W1' = lam I, made out of any (..., h, i) and (..., o, h).

    One layer is kept (for lam = 0 up to its smallest directions), the other gets the singular vectors of its own start.

    Raises
    ------
    InvalidSpec
        If no such weights exist: lam > 0 needs h <= o, lam < 0 needs h <= i.

    >>> W1, W2 = balanced_blocks(np.ones((1, 2)), np.ones((3, 1)), 0.5)
    >>> (W2.T @ W2 - W1 @ W1.T).round(12).tolist()
    [[0.5]]
    """
    w1, w2 = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    hidden, inputs, outputs = w1.shape[-2], w1.shape[-1], w2.shape[-2]
    if (lam > 0 and hidden > outputs) or (lam < 0 and hidden > inputs):
        side, size = ("outputs", outputs) if lam > 0 else ("inputs", inputs)
        raise InvalidSpec(
            f"no weights with W2'W2 - W1 W1' = {lam:g} I exist for {hidden} hidden units and {size} {side}: a matrix of rank "
            f"{hidden} would have to fit in {size} dimensions; take at most {size} hidden units, or the other sign"
        )
    if lam < 0:
        b, a = balanced_blocks(np.swapaxes(w2, -1, -2), np.swapaxes(w1, -1, -2), -lam)
        return np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2)
    left, s, right = np.linalg.svd(w1, full_matrices=True)
    rank = min(hidden, inputs, outputs) if lam == 0 else hidden
    wide = np.zeros((*s.shape[:-1], hidden))
    wide[..., : min(s.shape[-1], rank)] = s[..., :rank]
    k = min(s.shape[-1], rank)
    w1 = (left[..., :, :k] * wide[..., None, :k]) @ right[..., :k, :]
    u, _, v = np.linalg.svd(w2 @ left[..., :, :rank], full_matrices=False)
    w2 = (u @ v) * np.sqrt(wide[..., None, :rank] ** 2 + lam) @ np.swapaxes(left[..., :, :rank], -1, -2)
    return w1, w2


def square_root(gram: Array) -> Array:
    """Q with Q Q' = M, one column for each direction, of a positive semidefinite M (..., n, n).

    Eigenvalues below the rounding of M count as zero: as columns of size 1e-8 they would grow off the manifold of the rank.

    Raises
    ------
    InvalidSpec
        If M has a negative eigenvalue beyond rounding.
    """
    m = np.asarray(gram, dtype=float)
    w, v = np.linalg.eigh((m + np.swapaxes(m, -1, -2)) / 2)
    if np.any(w[..., 0] < -1e-9 * np.abs(w).max(axis=-1)):
        raise InvalidSpec(f"a start with the negative eigenvalue {w[..., 0].min():.2g} is no Gram matrix Q Q'")
    floor = w.shape[-1] * 2e-15 * np.abs(w).max(axis=-1, keepdims=True)  # ten times the rounding of eigenvalues
    return v * np.sqrt(np.where(w > floor, w, 0.0))[..., None, :]


def riccati_path(times: Array, start: Array, field: Array, linear: float = 1.0, cubic: float = 1.0) -> Array:
    """Q(t) up to a rotation on the right, shape (T, n, k); times in any order, all >= 0.

    Parameters
    ----------
    times : array (T,)
    start : array (n, k)
    field : symmetric array (n, n)
        F.
    linear, cubic : float
        f and g of Q' = f F Q - (g/2) Q Q'Q.

    Raises
    ------
    InvalidSpec
        For negative times, a field that is not symmetric, or a span beyond the step limit.

    >>> M = riccati_path([1e3], np.full((1, 1), 1e-3), np.eye(1) * 2.0)[0]
    >>> (M @ M.T).round(9).tolist()
    [[4.0]]
    """
    t = np.asarray(times, dtype=float)
    q, f = np.asarray(start, dtype=float), np.asarray(field, dtype=float)
    if np.any(t < 0) or not np.all(np.isfinite(t)):
        raise InvalidSpec("the Riccati solution runs forwards: give finite times >= 0")
    if np.abs(f - f.T).max() > 1e-12 * max(float(np.abs(f).max()), 1e-300):
        raise InvalidSpec("F of the Riccati equation is not symmetric; check the correlations that it is made of")
    w, v = np.linalg.eigh((f + f.T) / 2)
    w = linear * w
    fastest = max(float(np.abs(w).max()), 1e-300)
    if np.max(t, initial=0.0) * fastest / REACH > STEPS:
        raise InvalidSpec(f"t = {np.max(t):.3g} is {np.max(t) * fastest:.3g} growth times; ask for at most {STEPS * REACH:.2g}")
    out = np.empty((len(t), *q.shape))
    a, now = v.T @ q, 0.0
    for i in np.argsort(t, kind="stable"):
        count = max(1, int(np.ceil((t[i] - now) * fastest / REACH)))
        h = (t[i] - now) / count
        for _ in range(count if h > 0 else 0):
            bracket = np.eye(a.shape[1]) + a.T @ ((cubic * h * phi(2 * w * h))[:, None] * a)
            a = np.linalg.solve(np.linalg.cholesky(bracket), (np.exp(w * h)[:, None] * a).T).T
        now = t[i]
        out[i] = v @ a
    return out


def tangent_kernel(first: Array, second: Array, inputs: Array) -> Array:
    """Neural tangent kernel of W2 W1 on data X (i, P): I (x) X'W1'W1 X + W2 W2' (x) X'X, shape (..., o P, o P).

    >>> tangent_kernel(np.eye(1) * 2.0, np.eye(1) * 3.0, np.eye(1)).tolist()
    [[13.0]]
    """
    w1, w2, x = (np.asarray(a, dtype=float) for a in (first, second, inputs))
    hidden = np.swapaxes(w1 @ x, -1, -2) @ (w1 @ x)
    out = w2 @ np.swapaxes(w2, -1, -2)
    o, p = out.shape[-1], x.shape[-1]
    both = np.eye(o)[:, None, :, None] * hidden[..., None, :, None, :]
    both = both + out[..., :, None, :, None] * (x.T @ x)[:, None, :]
    return both.reshape(*out.shape[:-2], o * p, o * p)
