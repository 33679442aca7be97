"""Frames of Gaussian fields on single numbers, as text for Numba and mpmath, with the mathematics of `derive.gaussian.frames`.

Words in capitals are filled in by `codegen.signs_scalar`, which prints them. Imported by codegen only.
"""

from __future__ import annotations

#: Definitions by name.
FRAMES = {
    "frame": '''def frame(m, C):
    """Fields as vectors: mean, a factor of the covariance by pivoting, and a tiny direction of each field's own."""
    n = C.shape[0]
    left, unit, P = np.empty((n, n)OBJECT), np.empty((n, n)OBJECT), np.empty((n, 2 * n + 1)OBJECT)
    for i in range(n):
        for j in range(n):
            live = C[i, i] > 0.0 and C[j, j] > 0.0
            left[i, j] = rounded(C[i, j] / (SQRT(C[i, i]) * SQRT(C[j, j]))) if live else ZERO
            unit[i, j] = ZERO
    for r in range(n):
        p = 0
        for i in range(n):
            if left[i, i] > left[p, p]:
                p = i
        if left[p, p] <= DROPPED:
            break
        root = SQRT(left[p, p])
        for i in range(n):
            unit[i, r] = left[p, i] / root
        for i in range(n):
            for j in range(n):
                left[i, j] = left[i, j] - unit[i, r] * unit[j, r]
        for i in range(n):
            left[i, p] = left[p, i] = ZERO
    for a in range(n):
        for b in range(a + 1, n):
            plus, minus = ZERO, ZERO
            for r in range(n):
                plus += (unit[b, r] + unit[a, r]) ** 2
                minus += (unit[b, r] - unit[a, r]) ** 2
            if min(plus, minus) < NEAR * NEAR:
                for r in range(n):
                    unit[b, r] = unit[a, r] if minus <= plus else -unit[a, r]
    for i in range(n):
        s = SQRT(C[i, i]) if C[i, i] > 0.0 else ZERO
        P[i, 0] = m[i]
        for r in range(n):
            P[i, 1 + r] = s * unit[i, r]
            P[i, 1 + n + r] = TINY * s if i == r else ZERO
    return P''',
    "frame_given": '''def frame_given(P, t, s):
    """The frame under the condition that field t plus a noise of variance s is zero."""
    t, n, width = int(t), P.shape[0], P.shape[1]
    Q = P.copy()
    size = s + ZERO
    for r in range(1, width):
        size += P[t, r] * P[t, r]
    if size <= 0.0:
        return Q
    length = SQRT(size)
    c, end, top = 0, ZERO, SQRT(s + ZERO)
    if s == 0.0:
        c = 1
        for r in range(1, width):
            if abs(P[t, r]) > abs(P[t, c]):
                c = r
        end, top = length if P[t, c] >= 0.0 else -length, abs(P[t, c])
    beta = 1.0 / (length * (length + top))
    for i in range(n):
        weight = ZERO
        for r in range(1, width):
            weight += P[i, r] * P[t, r]
        Q[i, 0] = P[i, 0] - weight / size * P[t, 0]
        part = beta * (weight + (end * P[i, c] if s == 0.0 else ZERO))
        for r in range(1, width):
            Q[i, r] = P[i, r] - part * P[t, r]
        if s == 0.0:
            Q[i, c] = ZERO
            own, rest = Q[i, 1 + n + i] / TINY, ZERO
            for r in range(1, n + 1):
                rest += Q[i, r] * Q[i, r]
            if rest <= (VANISHED * own) ** 2:
                for r in range(1, n + 1):
                    Q[i, r] = ZERO
                if abs(Q[i, 0]) <= VANISHED * (abs(own) + abs(P[i, 0])):
                    Q[i, 0] = ZERO
    if s == 0.0:
        for r in range(width):
            Q[t, r] = ZERO
    return Q''',
    "frame_cov": '''def frame_cov(P, i, j):
    """Covariance of two fields of a frame."""
    i, j, total = int(i), int(j), ZERO
    for r in range(1, P.shape[1]):
        total += P[i, r] * P[j, r]
    return total''',
    "frame_mean": '''def frame_mean(P, i):
    """Mean of a field of a frame."""
    return P[int(i), 0]''',
    "rsqrt": '''def rsqrt(v):
    """v^(-1/2), or 0 where v is not positive."""
    return 1.0 / SQRT(v) if v > 0.0 else ZERO''',
    "normal_weight": '''def normal_weight(m, r):
    """exp(-m^2 r^2 / 2)."""
    return EXP(-0.5 * min(abs(m * r), 40.0) ** 2)''',
    "frame_angle": '''def frame_angle(P, i, j, s, r):
    """asin of the correlation of two centred fields with noises of variances s and r; 0 if one is zero."""
    i, j = int(i), int(j)
    a, b = frame_cov(P, i, i) + s, frame_cov(P, j, j) + r
    if a <= 0.0 or b <= 0.0:
        return ZERO
    ra, rb = 1.0 / SQRT(a), 1.0 / SQRT(b)
    minus = s * ra * ra + r * rb * rb
    plus = minus
    for k in range(1, P.shape[1]):
        minus += (P[i, k] * ra - P[j, k] * rb) ** 2
        plus += (P[i, k] * ra + P[j, k] * rb) ** 2
    return 0.5 * PI - 2.0 * ATAN2(SQRT(minus), SQRT(plus))''',
}
