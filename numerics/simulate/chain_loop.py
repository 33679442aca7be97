r"""The compiled loop of the overlap chain: one step costs the same at every N.

Given the Gram matrix C = B B' of all vectors, of rank r_b within a block of D_b dimensions, every input column x_s of that
block is written in an orthonormal frame: r_b directions that span the vectors, then one new direction for each column,

    x_s = sigma_s (g_1 .. g_r, h_1 .. h_{s-1}, chi_{D_b - r_b - s + 1}, 0 ...),       g, h ~ N(0, 1),

which is exact (columns of a Gaussian matrix, orthogonalised one after the other). Fields, products x_s . x_t and the moved
vectors are coordinates in this frame, over all columns and draws of a mini-batch:

    lam_s = B x_s,   U = sum_s F_s x_s' / N,   C <- D C D' + D B U' + U B' D' + U U',   theta <- theta + H / N,   D = 1 + G / N,

with means over the batch for U, G and H. The outcome of the labels is drawn with its probability, which may depend on fields.
Then later blocks act: C <- A C A', theta <- h. B comes from a Cholesky factorisation that takes the vector with the largest
relative residual first and stops below ``TINY``: what is left is rounding, for instance when a student has become its teacher.
Compiled by `chain` at the first call; plain Python that also runs (slowly) uncompiled.
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
OK, NONFINITE, INDEFINITE, IMPROPER = 0, 1, 2, 3
#: What a row of ``loads`` fetches, in the order of the branches below.
LOADS = ("field", "product", "noise", "gram", "state", "control", "mask")


def advance(
    rng: np.random.Generator,
    N: int,
    lengths: Integers,
    batch: int,
    row_block: Integers,
    column_block: Integers,
    scale: Array,
    C: Array,
    theta: Array,
    registers: Array,
    loads: Integers,
    load_at: Integers,
    code: Integers,
    code_at: Integers,
    weights: Integers,
    forced: Integers,
    F: Integers,
    F_at: Integers,
    pairs: Integers,
    pair_at: Integers,
    G: Integers,
    G_at: Integers,
    H: Integers,
    H_at: Integers,
    new_rows: Integers,
    row_at: Integers,
    replaces: Integers,
    noise_root: Array,
    noise_mean: Array,
    mask_values: Array,
    mask_edges: Array,
    controls: Array,
    marks: Integers,
    kept_C: Array,
    kept_theta: Array,
) -> int:
    """Run ``marks[-1]`` steps, changing C and theta, and record them at ``marks``; returns OK or what failed.

    ``X_at`` says which rows of the table ``X`` belong to a segment of the program: the outcomes, the choice between them, the
    later blocks. ``loads`` (kind, register, a, b) say where inputs of the program go; ``F (row, column, register)``,
    ``G (pair, register)``, ``H (i, register)`` where its results come from; ``pairs (p, q)`` are the entries of D - 1.
    ``replaces`` is 1 for a stage that gives new values, in the rows ``new_rows``.
    """
    n, count, columns, outcomes, draws = C.shape[0], theta.size, column_block.size, scale.shape[0], noise_mean.shape[1]
    stages, moved, most = replaces.size, forced.size, n + batch * column_block.size
    B, A, M, first = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
    X, U = np.zeros((columns, most)), np.zeros((n, most))
    lam, alone, used_up = np.zeros((n, columns)), batch * columns == 1, most
    rest, used, where, left = np.zeros(n), np.zeros(n, np.int64), np.zeros(most, np.int64), np.zeros(lengths.size, np.int64)
    raw, push, drift, r = np.zeros(draws), np.zeros(pairs.shape[0]), np.zeros(count), registers
    hidden = mask_values.shape[1]
    chance, record, steps = np.zeros(hidden), 0, marks[-1]
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
        for b in range(lengths.size):
            left[b] = lengths[b]
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
            used[pivot], where[rank] = 1, row_block[pivot]
            left[row_block[pivot]] -= 1
            if left[row_block[pivot]] < 0:
                return INDEFINITE
            rank += 1
        top, picked = rank, 0
        for stage in range(stages):
            for k in range(pair_at[stage], pair_at[stage + 1]):
                push[k] = 0.0
            for i in range(count):
                drift[i] = 0.0
            if stage == 0:
                for f in range(moved):
                    p = forced[f]
                    for d in range(used_up):
                        U[p, d] = 0.0
                    for q in range(n):
                        M[p, q] = 0.0
            share = 1.0 if replaces[stage] == 1 else 1.0 / (N * batch) if stage == 0 else 1.0 / N
            for _ in range(batch if stage == 0 else 1):
                if stage == 0:  # draw: coordinates of the inputs, noises
                    for s in range(columns):
                        b = column_block[s]
                        for d in range(top):
                            X[s, d] = rng.standard_normal() if where[d] == b else 0.0
                        if left[b] > 0:
                            for other in range(s):
                                X[other, top] = 0.0
                            X[s, top] = math.sqrt(rng.chisquare(left[b]))
                            where[top] = b
                            left[b] -= 1
                            top += 1
                        for q in range(n):
                            lam[q, s] = 0.0
                            for c in range(rank):
                                lam[q, s] += B[q, c] * X[s, c]
                    for i in range(draws):
                        raw[i] = rng.standard_normal()
                    for i in range(hidden):
                        chance[i] = rng.random()
                    picked = 0
                for part in range(2):  # the choice of an outcome, then its step
                    if part == 0 and (stage > 0 or outcomes == 1):
                        continue
                    segment = outcomes if part == 0 else picked if stage == 0 else outcomes + stage
                    for k in range(load_at[segment], load_at[segment + 1]):
                        kind, out, a, b = loads[k, 0], loads[k, 1], loads[k, 2], loads[k, 3]
                        s = 0.0
                        if kind == 0:
                            r[out] = scale[picked, b] * lam[a, b]
                        elif kind == 1:
                            for c in range(top):
                                s += X[a, c] * X[b, c]
                            r[out] = scale[picked, a] * scale[picked, b] * s / N
                        elif kind == 2:
                            s = noise_mean[picked, a]
                            for j in range(draws):
                                s += noise_root[picked, a, j] * raw[j]
                            r[out] = s
                        elif kind == 3:
                            r[out] = C[a, b]
                        elif kind == 4:
                            r[out] = theta[a]
                        elif kind == 5:
                            r[out] = controls[step, a]
                        elif kind == 6:
                            b = 0
                            while b < mask_values.shape[2] - 1 and chance[a] >= mask_edges[picked, a, b]:
                                b += 1
                            r[out] = mask_values[picked, a, b]
                    for k in range(code_at[segment], code_at[segment + 1]):
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
                        elif op == 16:
                            r[out] = 1.0 if a == 0.0 else 0.0
                    if part == 0:
                        u, total, picked, last = rng.random(), 0.0, -1, 0
                        for o in range(outcomes):
                            w = r[weights[o]]
                            if math.isnan(w):
                                return NONFINITE
                            if not w >= -1e-9:  # rounding of a difference of probabilities
                                return IMPROPER
                            total += w
                            last = o if w > 0.0 else last
                            if picked < 0 and u < total:
                                picked = o
                        if not abs(total - 1.0) <= 1e-9:  # rounding of a sum of at most 10^6 of them
                            return IMPROPER
                        if picked < 0:
                            picked = last
                        continue
                    for k in range(F_at[segment], F_at[segment + 1]):
                        p, s = F[k, 0], F[k, 1]
                        strength = r[F[k, 2]] * scale[picked, s] * share
                        for q in range(n):
                            M[p, q] += strength * lam[q, s]
                        if alone:
                            U[p, 0] += strength
                        else:
                            for d in range(top):
                                U[p, d] += strength * X[s, d]
                    for k in range(G_at[segment], G_at[segment + 1]):
                        push[G[k, 0]] += r[G[k, 1]] * share
                    for k in range(H_at[segment], H_at[segment + 1]):
                        drift[H[k, 0]] += r[H[k, 1]] * share
            # move: M <- D B U', C <- D C D' + M + M' + U U', theta <- theta + H / N
            if stage == 0 and pair_at[1] > 0:
                for f in range(moved):
                    q = forced[f]
                    for p in range(n):
                        first[q, p] = M[q, p]
                    for k in range(pair_at[0], pair_at[1]):
                        M[q, pairs[k, 0]] += push[k] * first[q, pairs[k, 1]]
            if pair_at[stage + 1] > pair_at[stage] or row_at[stage + 1] > row_at[stage]:
                for p in range(n):
                    for q in range(n):
                        A[p, q] = C[p, q]
                for k in range(row_at[stage], row_at[stage + 1]):
                    for q in range(n):
                        A[new_rows[k], q] = 0.0
                for k in range(pair_at[stage], pair_at[stage + 1]):
                    for q in range(n):
                        A[pairs[k, 0], q] += push[k] * C[pairs[k, 1], q]
                for p in range(n):
                    for q in range(n):
                        C[p, q] = A[p, q]
                for k in range(row_at[stage], row_at[stage + 1]):
                    for q in range(n):
                        C[q, new_rows[k]] = 0.0
                for k in range(pair_at[stage], pair_at[stage + 1]):
                    for q in range(n):
                        C[q, pairs[k, 0]] += push[k] * A[q, pairs[k, 1]]
            if stage == 0:  # below the diagonal, which is copied; a single column is not written out in coordinates
                for p in range(n):
                    for q in range(p + 1):
                        C[p, q] += M[p, q] + M[q, p]
                square = 0.0
                if alone:
                    for d in range(top):
                        square += X[0, d] * X[0, d]
                used_up = 1 if alone else top
                for f in range(moved):
                    p = forced[f]
                    for h in range(f + 1):
                        q = forced[h]
                        s = U[p, 0] * U[q, 0] * square
                        if not alone:
                            s = 0.0
                            for d in range(top):
                                s += U[p, d] * U[q, d]
                        C[p, q] += s
            for p in range(n):
                for q in range(p):
                    C[q, p] = C[p, q]
            if replaces[stage] == 1:
                for k in range(H_at[outcomes + stage], H_at[outcomes + stage + 1]):
                    theta[H[k, 0]] = 0.0
            for i in range(count):
                theta[i] += drift[i]
    return OK
