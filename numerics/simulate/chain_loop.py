r"""The compiled loop of the overlap chain: one step costs the same at every N.

Given the Gram matrix C of all vectors, an input x ~ N(0, s 1_N) enters through the fields and its length only, whose joint law
is exact: with C = B B' of rank r, g ~ N(0, 1_r) and z = g'g + chi^2 with N - r degrees of freedom,

    lam = sqrt(s) B g,      |x|^2 = s z,      D = 1 + G / N,
    C <- D C D' + (D lam F' + F lam' D') / N + F F' |x|^2 / N^2,      theta <- theta + H / N.

B comes from a Cholesky factorisation that takes the vector with the largest relative residual first and stops below ``TINY``:
what is left is rounding, for instance when a student has become its teacher. Compiled by `chain` at the first call; plain
Python that also runs (slowly) uncompiled.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

#: Relative residual below which a vector counts as a combination of the others.
TINY = 1e-13
#: Relative residual below minus which the overlaps are no Gram matrix at all; rounding of 10^10 steps stays above.
NEGATIVE = 1e-8
OK, NONFINITE, INDEFINITE = 0, 1, 2


def advance(
    rng: np.random.Generator,
    N: int,
    variance: float,
    C: Array,
    theta: Array,
    registers: Array,
    fields: Integers,
    square: int,
    grams: Integers,
    states: Integers,
    noises: Integers,
    noise_root: Array,
    noise_mean: Array,
    code: Integers,
    F: Integers,
    G: Integers,
    H: Integers,
    marks: Integers,
    kept_C: Array,
    kept_theta: Array,
) -> int:
    """Run ``marks[-1]`` steps, changing C and theta, and record them at ``marks``; returns OK, NONFINITE or INDEFINITE.

    ``registers`` holds the constants of the program; ``fields, square, grams (register, p, q), states, noises`` say where its
    inputs go (-1: not read), ``F (p, register), G (p, q, register), H (i, register)`` where its results come from.
    """
    n, count, draws = C.shape[0], theta.size, noises.size
    B, A, lam, mu = np.zeros((n, n)), np.zeros((n, n)), np.zeros(n), np.zeros(n)
    g, rest, used, force, raw = np.zeros(n), np.zeros(n), np.zeros(n, dtype=np.int64), np.zeros(n), np.zeros(draws)
    r, scale = registers, math.sqrt(variance)
    record, steps = 0, marks[-1]
    for step in range(steps + 1):
        total = 0.0
        for p in range(n):
            total += C[p, p]
        for i in range(count):
            total += theta[i]
        if not math.isfinite(total):
            return NONFINITE
        if marks[record] == step:
            for p in range(n):
                for q in range(n):
                    kept_C[record, p, q] = C[p, q]
            for i in range(count):
                kept_theta[record, i] = theta[i]
            record += 1
            if step == steps:
                return OK
        # factorise: C = B B', the rank many columns
        rank = 0
        for p in range(n):
            rest[p], used[p] = C[p, p], 0
            if C[p, p] < 0.0:
                return INDEFINITE
        while rank < n:
            best, pivot = TINY, -1
            for p in range(n):
                if used[p] == 0 and rest[p] > best * C[p, p]:
                    best, pivot = rest[p] / C[p, p], p
            if pivot < 0:
                break
            root = math.sqrt(rest[pivot])
            for p in range(n):
                if used[p] == 1:
                    B[p, rank] = 0.0
                elif p == pivot:
                    B[p, rank] = root
                else:
                    s = C[p, pivot]
                    for c in range(rank):
                        s -= B[p, c] * B[pivot, c]
                    B[p, rank] = s / root
                    rest[p] -= B[p, rank] * B[p, rank]
                    if rest[p] < -NEGATIVE * C[p, p]:
                        return INDEFINITE
            used[pivot] = 1
            rank += 1
        # draw: fields, length of the input, noises
        z = 0.0
        for c in range(rank):
            g[c] = rng.standard_normal()
            z += g[c] * g[c]
        z += rng.chisquare(N - rank)
        for p in range(n):
            s = 0.0
            for c in range(rank):
                s += B[p, c] * g[c]
            lam[p] = scale * s
            if fields[p] >= 0:
                r[fields[p]] = lam[p]
        for i in range(draws):
            raw[i] = rng.standard_normal()
        for i in range(draws):
            s = noise_mean[i]
            for j in range(draws):
                s += noise_root[i, j] * raw[j]
            if noises[i] >= 0:
                r[noises[i]] = s
        if square >= 0:
            r[square] = variance * z / N
        for k in range(grams.shape[0]):
            r[grams[k, 0]] = C[grams[k, 1], grams[k, 2]]
        for i in range(count):
            if states[i] >= 0:
                r[states[i]] = theta[i]
        # F, G and H at the old values
        for k in range(code.shape[0]):
            op, out, a, b = code[k, 0], code[k, 1], r[code[k, 2]], r[code[k, 3]]
            if op == 0:
                r[out] = a + b
            elif op == 1:
                r[out] = a * b
            elif op == 2:
                r[out] = a**b
            elif op == 3:
                r[out] = 1.0 / a
            elif op == 4:
                r[out] = math.sqrt(a)
            elif op == 5:
                r[out] = math.exp(a)
            elif op == 6:
                r[out] = math.log(a)
            elif op == 7:
                r[out] = math.erf(a)
            elif op == 8:
                r[out] = math.tanh(a)
            elif op == 9:
                r[out] = max(a, 0.0)
            elif op == 10:
                r[out] = 1.0 if a > 0.0 else (0.5 if a == 0.0 else 0.0)
            elif op == 11:
                r[out] = 1.0 if a > 0.0 else (0.0 if a == 0.0 else -1.0)
            elif op == 12:
                r[out] = abs(a)
            elif op == 13:
                r[out] = math.sin(a)
            elif op == 14:
                r[out] = math.cos(a)
            elif op == 15:
                r[out] = math.asin(min(1.0, max(-1.0, a)))
        # move: C <- D C D' + ..., theta <- theta + H / N
        if G.shape[0] > 0:
            for p in range(n):
                mu[p] = lam[p]
                for q in range(n):
                    A[p, q] = C[p, q]
            for k in range(G.shape[0]):
                p, d = G[k, 0], r[G[k, 2]] / N
                mu[p] += d * lam[G[k, 1]]
                for q in range(n):
                    A[p, q] += d * C[G[k, 1], q]
            for p in range(n):
                for q in range(n):
                    C[p, q] = A[p, q]
            for k in range(G.shape[0]):
                p, d = G[k, 0], r[G[k, 2]] / N
                for q in range(n):
                    C[q, p] += d * A[q, G[k, 1]]
        else:
            for p in range(n):
                mu[p] = lam[p]
        for p in range(n):
            force[p] = 0.0
        for k in range(F.shape[0]):
            force[F[k, 0]] = r[F[k, 1]] / N
        for p in range(n):
            for q in range(p + 1):
                C[p, q] += mu[p] * force[q] + force[p] * mu[q] + force[p] * force[q] * variance * z
                C[q, p] = C[p, q]
        for k in range(H.shape[0]):
            theta[H[k, 0]] += r[H[k, 1]] / N
    return OK
