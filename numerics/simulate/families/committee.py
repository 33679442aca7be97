"""One-pass SGD of a two-layer student on a two-layer teacher, Gaussian inputs, full weights.

    lambda = W x / sqrt N,  nu = W* x / sqrt N,  delta = sum_k v_k g(lambda_k) - sum_m A_m g(nu_m) - sigma zeta
    w_k <- (1 - decay/N) w_k - eta/sqrt(N) v_k g'(lambda_k) delta x,      v_k <- v_k - eta_v/N g(lambda_k) delta

with x ~ N(0, 1_N) and zeta ~ N(0, 1) fresh at every step and old values on every right-hand side. Time is steps / N. Only the
overlaps Q = W W'/N, R = W W*'/N, T = W* W*'/N and the readouts v are recorded, so memory does not grow with N.
Imports NumPy, and Numba at the first call.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .jit import compiled

Array = NDArray[np.float64]

ACTIVATIONS = ("erf2", "linear", "relu")
#: Bytes of draws made at once: they stay in the cache of the processor.
BLOCK = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitteeRun:
    """Overlaps along a run.

    Attributes
    ----------
    t : array, shape (T,)
        Steps divided by N.
    Q : array, shape (T, K, K)
    R : array, shape (T, K, M)
    T : array, shape (M, M)
        Overlaps of the teacher; they do not move.
    v : array, shape (T, K)
    W_end : array, shape (K, N)
        Weights after the last step.
    """

    t: Array
    Q: Array
    R: Array
    T: Array
    v: Array
    W_end: Array


def one_pass(
    rng: np.random.Generator,
    W: Any,
    v: Any,
    W_teacher: Any,
    A: Any,
    *,
    activation: str = "erf2",
    eta: float,
    eta_v: float = 0.0,
    sigma: float = 0.0,
    decay: float = 0.0,
    steps: int,
    every: int | None = None,
) -> CommitteeRun:
    """Run one-pass SGD from given weights.

    Parameters
    ----------
    rng : Generator
        Each step draws x, then zeta; the run does not depend on ``every``.
    W, v : arrays, shapes (K, N), (K,)
        Student. They are not changed.
    W_teacher, A : arrays, shapes (M, N), (M,)
        Teacher.
    activation : {"erf2", "linear", "relu"}
        g, with erf2(z) = erf(z / sqrt 2); relu'(0) = 1/2.
    eta, eta_v, sigma, decay : float
        Rates of both layers, label noise, weight decay of the first layer.
    steps, every : int
        Steps, and steps between records (a hundred records by default; the last step is always recorded).

    Raises
    ------
    ValueError
        Unknown activation, or arrays that do not fit together.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> teacher = rng.standard_normal((1, 50))
    >>> run = one_pass(rng, np.zeros((1, 50)), [1.0], teacher, [1.0], activation="linear", eta=0.5, steps=1000)
    >>> bool(abs(run.R[-1] - run.T).max() < 1e-3)
    True
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation {activation!r}: this family knows {', '.join(ACTIVATIONS)}. Simulate a plan for others.")
    weights = np.array(W, dtype=np.float64, order="C", ndmin=2)
    teacher = np.array(W_teacher, dtype=np.float64, order="C", ndmin=2)
    readout, signs = np.array(v, dtype=np.float64).reshape(-1), np.array(A, dtype=np.float64).reshape(-1)
    (K, N), M = weights.shape, teacher.shape[0]
    if teacher.shape[1] != N or readout.size != K or signs.size != M:
        raise ValueError(
            f"W {weights.shape}, v {readout.shape}, W_teacher {teacher.shape}, A {signs.shape} do not fit together."
        )
    if steps < 0 or (every is not None and every < 1):
        raise ValueError("steps must be >= 0 and every at least 1.")
    every = every or max(1, steps // 100)
    marks = np.array([*range(0, steps, every), steps])
    Q, R, v_kept = np.empty((marks.size, K, K)), np.empty((marks.size, K, M)), np.empty((marks.size, K))
    fields = np.empty((3, K + M))
    both = np.concatenate([readout, -signs])
    rates = np.array([eta, eta_v, sigma, decay])
    rows = max(1, BLOCK // (8 * (N + 1)))
    buffer = np.empty((rows, N + 1))
    advance, kind, done, record = _kernel(), ACTIVATIONS.index(activation), 0, 0
    while True:
        n = min(rows, steps - done)
        rng.standard_normal(out=buffer[:n])
        record = advance(weights, both, teacher, buffer[:n], rates, kind, fields, done, marks, record, Q, R, v_kept)
        done += n
        if done == steps:
            break
    _overlaps(weights, teacher, Q[-1], R[-1])
    v_kept[-1] = both[:K]
    return CommitteeRun(t=marks / N, Q=Q, R=R, T=teacher @ teacher.T / N, v=v_kept, W_end=weights)


def _overlaps(weights: Array, teacher: Array, Q: Array, R: Array) -> None:
    N = weights.shape[1]
    Q[...] = weights @ weights.T / N
    R[...] = weights @ teacher.T / N


@cache
def _kernel() -> Callable[..., int]:
    return compiled(_advance)


def _advance(
    W: Array,
    c: Array,
    teacher: Array,
    draws: Array,
    rates: Array,
    kind: int,
    fields: Array,
    done: int,
    marks: NDArray[np.int64],
    record: int,
    Q: Array,
    R: Array,
    v_kept: Array,
) -> int:
    """Steps for the draws of one block; c holds (v, -A). Records before a step; returns the number of the next record."""
    K, N = W.shape
    M = teacher.shape[0]
    root, half = 1.0 / math.sqrt(N), math.sqrt(0.5)
    eta, eta_v, sigma, decay = rates[0], rates[1], rates[2], rates[3]
    for step in range(draws.shape[0]):
        if marks[record] == done + step:
            for k in range(K):
                v_kept[record, k] = c[k]
                for l in range(K):
                    s = 0.0
                    for i in range(N):
                        s += W[k, i] * W[l, i]
                    Q[record, k, l] = s / N
                for m in range(M):
                    s = 0.0
                    for i in range(N):
                        s += W[k, i] * teacher[m, i]
                    R[record, k, m] = s / N
            record += 1
        x = draws[step]
        delta = -sigma * x[N]
        for k in range(K + M):
            s = 0.0
            if k < K:
                for i in range(N):
                    s += W[k, i] * x[i]
            else:
                for i in range(N):
                    s += teacher[k - K, i] * x[i]
            z = s * root
            if kind == 0:
                value, slope = math.erf(z * half), math.sqrt(2 / math.pi) * math.exp(-0.5 * z * z)
            elif kind == 1:
                value, slope = z, 1.0
            else:
                value, slope = max(z, 0.0), (1.0 if z > 0.0 else (0.5 if z == 0.0 else 0.0))
            fields[0, k], fields[1, k] = value, slope
            delta += c[k] * value
        for k in range(K):
            push = eta * root * c[k] * fields[1, k] * delta
            keep = 1.0 - decay / N
            for i in range(N):
                W[k, i] = keep * W[k, i] - push * x[i]
            fields[2, k] = c[k] - eta_v / N * fields[0, k] * delta
        for k in range(K):
            c[k] = fields[2, k]
    return record
