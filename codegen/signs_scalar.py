"""Averages of signs on single numbers, as text for Numba and mpmath; the mathematics is that of `derive.gaussian.signs`.

Imported by codegen only.
"""

from __future__ import annotations

import re

from codegen.frames_scalar import FRAMES
from derive.gaussian import frames, orthants, signs

_CONSTANTS = f"""TOL, ROUNDING = {signs.TOL!r}, {signs.ROUNDING!r}
DROPPED, NEAR, VANISHED, TINY = {frames.DROPPED!r}, {frames.NEAR!r}, {frames.VANISHED!r}, 2.0**-400
LAYER = {orthants.LAYER!r}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
HALF_NODES, HALF_WEIGHTS = np.polynomial.legendre.leggauss(20)"""

_FUNCTIONS = {
    "TOL, ROUNDING, DROPPED, NEAR, VANISHED, TINY, LAYER, NODES, WEIGHTS, HALF_NODES, HALF_WEIGHTS": _CONSTANTS,
    "rounded": '''def rounded(r):
    """A correlation set back to [-1, 1]; what differs from 1 by rounding is 1."""
    if r > 1.0 - ROUNDING:
        return ONE
    return -ONE if r < ROUNDING - 1.0 else r''',
    "residual": '''def residual(v, root):
    """A residual variance, or 0 where it is rounding noise of the variance root."""
    return v if v > ROUNDING * root else ZERO''',
    "inv0": '''def inv0(v, root):
    """1/v, or 0 where v vanishes against root."""
    return 1.0 / v if v > TOL * root else ZERO''',
    "angle": '''def angle(c, va, vb):
    """asin of the correlation; 0 if a variance vanishes."""
    v = va * vb
    return ASIN(rounded(c / SQRT(v))) if v > 0.0 else ZERO''',
    "two_signs": '''def two_signs(h, k, r):
    """Average of two signs of fields with unit variances, means h and k, and correlation r."""
    if h == 0.0 and k == 0.0:
        return 2.0 * ASIN(r) / PI
    if abs(r) <= 0.925:
        end, total = ASIN(r), ZERO
        for q in range(20):
            s = SIN(end * (0.5 * (float(HALF_NODES[q]) + 1.0)))
            total += float(HALF_WEIGHTS[q]) * EXP(-0.5 * (h * h + k * k - 2.0 * h * k * s) / (1.0 - s * s))
        return ERF(h / SQRT(TWO)) * ERF(k / SQRT(TWO)) + total * end / PI
    sign = ONE
    if r < 0.0:
        sign, k, r = -ONE, -k, -r
    edge = 1.0 - abs(ERF(h / SQRT(TWO)) - ERF(k / SQRT(TWO)))
    a2 = (1.0 - r) * (1.0 + r)
    if a2 <= 0.0:
        return sign * edge
    a, b, hk = SQRT(a2), abs(h - k), h * k
    c, d = (4.0 - hk) / 8.0, (12.0 - hk) / 80.0
    layer = 0.5 * b * b / a2
    cut = a * EXP(min(-layer - 0.5 * hk, ZERO)) * (1.0 - c * (b * b - a2) * (1.0 - d * b * b) / 3.0 + c * d * a2 * a2)
    tail = ERFC(SQRT(layer))
    if tail > 0.0:
        cut -= tail * EXP(-0.5 * hk) * SQRT(0.5 * PI) * b * (1.0 - c * b * b * (1.0 - d * b * b) / 3.0)
    for q in range(20):
        x = (0.5 * a * (float(HALF_NODES[q]) + 1.0)) ** 2
        root, layer = SQRT(1.0 - x), 0.5 * b * b / x
        term = EXP(min(-layer - 0.5 * hk, ZERO)) * (1.0 + c * x * (1.0 + 5.0 * d * x))
        cut -= 0.5 * a * float(HALF_WEIGHTS[q]) * (term - EXP(min(-layer - hk / (1.0 + root), ZERO)) / root)
    return sign * (edge - 2.0 * cut / PI)''',
    **FRAMES,
    "sign4": '''def sign4(va, vb, vc, vd, ab, ac, ad, bc, bd, cd):
    """Average of four centred signs from variances and covariances: the least correlated one is decoupled on a path."""
    if va <= 0.0 or vb <= 0.0 or vc <= 0.0 or vd <= 0.0:
        return ZERO
    m, R = np.empty(4OBJECT), np.empty((4, 4)OBJECT)
    R[0, 1] = rounded(ab / (SQRT(va) * SQRT(vb)))
    R[0, 2] = rounded(ac / (SQRT(va) * SQRT(vc)))
    R[0, 3] = rounded(ad / (SQRT(va) * SQRT(vd)))
    R[1, 2] = rounded(bc / (SQRT(vb) * SQRT(vc)))
    R[1, 3] = rounded(bd / (SQRT(vb) * SQRT(vd)))
    R[2, 3] = rounded(cd / (SQRT(vc) * SQRT(vd)))
    p, least = 0, 2.0 * ONE
    for i in range(4):
        m[i], R[i, i], top = ZERO, ONE, ZERO
        for j in range(4):
            if j < i:
                R[i, j] = R[j, i]
            if j != i:
                top = max(top, abs(R[min(i, j), max(i, j)]))
        if top < least:
            p, least = i, top
    panels = 4 if determinant(R) < LAYER else 1
    P, total = frame(m, R), ZERO
    for j in range(4):
        if j != p and R[p, j] != 0.0:
            k = 0 if 0 not in (p, j) else 1 if 1 not in (p, j) else 2
            total += path4(frame_given(P, float(j), ZERO), R[p, j], p, k, 6 - p - j - k, panels)
    return 4.0 * total / (PI * PI)''',
    "path4": '''def path4(P, r, p, k, l, panels):
    """Integral over the path that decouples p, under the condition of a frame; k and l are the other two fields."""
    kk, ll, kl, pk, pl = frame_cov(P, k, k), frame_cov(P, l, l), frame_cov(P, k, l), frame_cov(P, p, k), frame_cov(P, p, l)
    end, low, high, total = ASIN(r), 0.125, 1.0, ZERO
    for panel in range(panels):
        for q in range(24):
            x, w = 0.5 * (float(NODES[q]) + 1.0), 0.5 * float(WEIGHTS[q])
            if panel == panels - 1:
                y, u = 1.0 - high * (1.0 - x) ** 4, 4.0 * high * (1.0 - x) ** 3 * w
            else:
                y, u = 1.0 - (low + (high - low) * x), (high - low) * w
            rho, root = SIN(end * y), COS(end * y)
            t, c2 = rho / r, max(root * root, 1e-300)
            a, b = t * pk, t * pl
            va, vb = kk - a * (a / c2), ll - b * (b / c2)
            if va > 0.0 and vb > 0.0:
                total += u * ASIN(rounded((kl - a * (b / c2)) / (SQRT(va) * SQRT(vb))))
        low, high = 0.125 * low, low
    return end * total''',
    "mean_signs": '''def mean_signs(h, R):
    """Average of n signs with unit variances; a mean of 40 makes a sign certain. One variable p is decoupled along a path."""
    n = h.size
    if n == 0:
        return ONE
    centred = True
    for i in range(n):
        centred = centred and h[i] == 0.0
    if centred and n % 2 == 1:
        return ZERO
    if n == 1:
        return ERF(h[0] / SQRT(TWO))
    if n == 2 and centred:
        return 2.0 * ASIN(R[0, 1]) / PI
    if n == 2:
        return two_signs(h[0], h[1], R[0, 1])
    for a in range(n):
        for b in range(a):
            if abs(R[a, b]) == 1.0:
                return without_pair(h, R, a, b)
    p, least = 0, 2.0 * ONE
    for i in range(n):
        top = ZERO
        for j in range(n):
            if j != i and abs(R[i, j]) > top:
                top = abs(R[i, j])
        if top < least:
            p, least = i, top
    panels = 1 if determinant(R) >= LAYER else 4 if centred else 8
    total = ZERO
    if not centred:
        hr, Rr = np.empty(n - 1OBJECT), np.empty((n - 1, n - 1)OBJECT)
        for a in range(n - 1):
            i = a + (a >= p)
            hr[a] = h[i]
            for b in range(n - 1):
                Rr[a, b] = R[i, b + (b >= p)]
        total = ERF(h[p] / SQRT(TWO)) * mean_signs(hr, Rr)
    P = frame(h, R)
    places = np.empty(n - 2, dtype=np.int64)
    g, S = np.empty(n - 2OBJECT), np.empty((n - 2, n - 2)OBJECT)
    for j in range(n):
        if j == p or R[p, j] == 0.0:
            continue
        left = frame_given(P, float(j), ZERO)
        a = 0
        for i in range(n):
            if i != p and i != j:
                places[a] = i
                a += 1
        end, low, high = ASIN(R[p, j]), 0.125, ONE
        for panel in range(panels):
            last = panel == panels - 1
            for q in range(24):
                x, w = 0.5 * (float(NODES[q]) + 1.0), 0.5 * float(WEIGHTS[q])
                if last:
                    y, u = 1.0 - high * (1.0 - x) ** 4, 4.0 * high * (1.0 - x) ** 3 * w
                else:
                    y, u = 1.0 - (low + (high - low) * x), (high - low) * w
                rho, root = SIN(end * y), COS(end * y)
                c2 = max(root * root, 1e-300)
                t = rho / R[p, j]
                value = u * end * 2.0 / PI
                if not centred:
                    d = h[j] - h[p] * rho
                    value = value * EXP(-0.5 * min(d * d / c2 + h[p] * h[p], 1400.0))
                    if value == 0.0:
                        continue
                for a in range(n - 2):
                    b = t * frame_cov(left, p, places[a])
                    v = frame_cov(left, places[a], places[a]) - b * (b / c2)
                    m = left[places[a], 0] - b * (h[p] - rho * h[j]) / c2
                    S[a, a] = rsqrt(v)
                    g[a] = ZERO if m == 0.0 else 40.0 * ONE if m > 0.0 else -40.0 * ONE
                    if v > 0.0:
                        g[a] = max(-40.0 * ONE, min(40.0 * ONE, m * S[a, a]))
                for a in range(n - 2):
                    for e in range(a):
                        b = t * t * frame_cov(left, p, places[a]) * (frame_cov(left, p, places[e]) / c2)
                        S[a, e] = rounded((frame_cov(left, places[a], places[e]) - b) * S[a, a] * S[e, e])
                        S[e, a] = S[a, e]
                for a in range(n - 2):
                    S[a, a] = ONE
                total += value * mean_inner(g, S)
            low, high = 0.125 * low, low
    return total''',
    "without_pair": '''def without_pair(h, R, a, b):
    """Average of n signs where the fields a and b differ by a constant, perhaps after a change of sign: one sign less."""
    n = h.size
    g, S = np.empty(n - 1OBJECT), np.empty((n - 1, n - 1)OBJECT)
    i = 0
    for k in range(n):
        if k != a and k != b:
            g[i] = h[k]
            i += 1
    i = 0
    for k in range(n):
        if k != a and k != b:
            j = 0
            for l in range(n):
                if l != a and l != b:
                    S[i, j] = R[k, l]
                    j += 1
            S[i, n - 2] = S[n - 2, i] = R[k, a]
            i += 1
    S[n - 2, n - 2] = ONE
    other = R[a, b] * h[b]
    total = mean_inner(g[: n - 2].copy(), S[: n - 2, : n - 2].copy())
    if abs(h[a] - other) > 1e-15 * abs(other):
        g[n - 2] = h[a]
        first = mean_signs(g, S)
        g[n - 2] = other
        gap = first - mean_signs(g, S)
        total -= gap if h[a] > other else -gap
    return R[a, b] * total''',
    "signs1": '''def signs1(m, c):
    """Average of a sign with mean m and variance c."""
    if c <= 0.0:
        return ZERO if m == 0.0 else ONE if m > 0.0 else -ONE
    return ERF(m / SQRT(2.0 * c))''',
    "signs2": '''def signs2(m1, m2, c11, c22, c12):
    """Average of 2 signs from means, variances, covariances."""
    if c11 <= 0.0 or c22 <= 0.0:
        return signs1(m1, c11) * signs1(m2, c22)
    a, b = SQRT(c11), SQRT(c22)
    return two_signs(clipped(m1 / a), clipped(m2 / b), rounded(c12 / (a * b)))''',
    "clipped": '''def clipped(h):
    """A mean in standard deviations, at most 40: certain."""
    return max(-40.0 * ONE, min(40.0 * ONE, h))''',
    "framed1": '''def framed1(P, i1, s1):
    """Average of the sign of a field of a frame, with a noise of a given variance."""
    return signs1(frame_mean(P, i1), frame_cov(P, i1, i1) + s1)''',
    "framed2": '''def framed2(P, i1, i2, s1, s2):
    """Average of 2 signs of fields of a frame, with noises of given variances."""
    i, j = int(i1), int(i2)
    va, vb = frame_cov(P, i, i) + s1, frame_cov(P, j, j) + s2
    if va <= 0.0 or vb <= 0.0:
        return signs1(P[i, 0], va) * signs1(P[j, 0], vb)
    a, b, r = SQRT(va), SQRT(vb), ZERO
    for k in range(1, P.shape[1]):
        r += (P[i, k] / a) * (P[j, k] / b)
    return two_signs(clipped(P[i, 0] / a), clipped(P[j, 0] / b), rounded(r))''',
    "nsign": '''def nsign(m, C):
    """Average of n signs with means m and covariances C; a sign of zero variance is sgn(m)."""
    n = m.size
    factor = ONE
    h, R = np.empty(nOBJECT), np.empty((n, n)OBJECT)
    for i in range(n):
        R[i, i] = ONE
        fixed = C[i, i] <= 0.0
        if fixed:
            factor = factor * (0.0 if m[i] == 0.0 else 1.0 if m[i] > 0.0 else -1.0)
        h[i] = 40.0 * ONE if fixed else max(-40.0 * ONE, min(40.0 * ONE, m[i] / SQRT(C[i, i])))
        for j in range(i):
            free = not fixed and C[j, j] > 0.0
            R[i, j] = R[j, i] = rounded(C[i, j] / (SQRT(C[i, i]) * SQRT(C[j, j]))) if free else ZERO
    return factor * mean_signs(h, R) if factor != 0.0 else ZERO''',
    "signs_of": '''def signs_of(P, places, noises):
    """Average of the signs of some fields of a frame, each with a noise of a given variance."""
    n = places.size
    factor = ONE
    h, R, r = np.empty(nOBJECT), np.empty((n, n)OBJECT), np.empty(nOBJECT)
    for i in range(n):
        R[i, i] = ONE
        a = int(places[i])
        r[i] = rsqrt(frame_cov(P, a, a) + noises[i])
        if r[i] > 0.0:
            h[i] = max(-40.0 * ONE, min(40.0 * ONE, P[a, 0] * r[i]))
        else:
            h[i] = 40.0 * ONE
            factor = factor * (0.0 if P[a, 0] == 0.0 else 1.0 if P[a, 0] > 0.0 else -1.0)
        for j in range(i):
            total = ZERO
            for k in range(1, P.shape[1]):
                total += (P[a, k] * r[i]) * (P[int(places[j]), k] * r[j])
            R[i, j] = R[j, i] = rounded(total)
    return factor * mean_signs(h, R) if factor != 0.0 else ZERO''',
    "determinant": '''def determinant(R):
    """Determinant of correlations, by elimination."""
    n = R.shape[0]
    A, out = R.copy(), ONE
    for i in range(n):
        out = out * A[i, i]
        if A[i, i] <= 0.0:
            return ZERO
        for j in range(i + 1, n):
            f = A[j, i] / A[i, i]
            for k in range(i, n):
                A[j, k] = A[j, k] - f * A[i, k]
    return out''',
}
_WORDS = {
    "numba": {
        "SQRT": "math.sqrt",
        "ASIN": "math.asin",
        "ERF": "math.erf",
        "ERFC": "math.erfc",
        "ATAN2": "math.atan2",
        "EXP": "math.exp",
        "SIN": "math.sin",
        "COS": "math.cos",
        "PI": "math.pi",
    },
    "mpmath": {
        "SQRT": "mp.sqrt",
        "ASIN": "mp.asin",
        "ERF": "mp.erf",
        "ERFC": "mp.erfc",
        "ATAN2": "mp.atan2",
        "EXP": "mp.exp",
        "SIN": "mp.sin",
        "COS": "mp.cos",
        "PI": "mp.pi",
    },
}
_NUMBERS = {
    "numba": {"ZERO": "0.0", "ONE": "1.0", "TWO": "2.0", "OBJECT": ""},
    "mpmath": {"ZERO": "mpf(0)", "ONE": "mpf(1)", "TWO": "mpf(2)", "OBJECT": ", dtype=object"},
}


LARGEST = 6
_RECURSIVE = ("nsign", "signs_of", "mean_signs", "without_pair")


def functions(backend: str) -> dict[str, str]:
    """Definitions by name for ``"numba"`` or ``"mpmath"``."""
    decorator = "@jit\n" if backend == "numba" else ""
    out = {}
    for name, body in _FUNCTIONS.items():
        for word, text in (*_WORDS[backend].items(), *_NUMBERS[backend].items()):
            body = _replaced(body, word, text)
        out[name] = decorator + body if body.startswith("def ") else body
    if backend == "numba":
        return _by_level(out)
    return out | {name: out[name].replace("mean_inner(", "mean_signs(") for name in ("mean_signs", "without_pair")}


def _by_level(definitions: dict[str, str]) -> dict[str, str]:
    """The recursion over the number of signs written out: ``nsign_4`` calls ``mean_signs_4``, that
    calls ``mean_signs_3`` and ``mean_signs_2`` ...

    Numba compiles mutual recursion, but a process that loads it from Numba's cache ends in a segmentation fault.
    """
    out = {name: text for name, text in definitions.items() if name not in _RECURSIVE}
    out |= {
        "mean_signs_0": "@jit\ndef mean_signs_0(h, R):\n    return 1.0",
        "mean_signs_1": "@jit\ndef mean_signs_1(h, R):\n    return math.erf(h[0] / math.sqrt(2.0))",
        "mean_signs_2": "@jit\ndef mean_signs_2(h, R):\n    return two_signs(h[0], h[1], R[0, 1])",
    }
    for n in range(1, LARGEST + 1):
        for name in reversed(_RECURSIVE):
            if f"{name}_{n}" in out:
                continue
            calls = {"mean_signs": n} if name in ("nsign", "signs_of") else {"mean_signs": n - 1, "mean_inner": max(n - 2, 0)}
            _, head, body = definitions[name].split("\n", 2)  # decorator, signature, rest
            for callee, level in calls.items():
                body = re.sub(rf"\b{callee}\(", f"mean_signs_{level}(", body)
            body = body.replace("without_pair(", f"without_pair_{n}(")
            out[f"{name}_{n}"] = "@jit\n" + head.replace(f"def {name}(", f"def {name}_{n}(") + "\n" + body
    return out


def _replaced(body: str, word: str, text: str) -> str:
    return body.replace(word, text) if word == "OBJECT" else re.sub(rf"\b{word}\b", text, body)
