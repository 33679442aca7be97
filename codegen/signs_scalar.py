"""Averages of signs on single numbers, as text for Numba and mpmath; the mathematics is that of `derive.gaussian.signs`.

Imported by codegen only.
"""

from __future__ import annotations

import re

from derive.gaussian import signs

_CONSTANTS = f"""PAIR, SNAP, TOL, ROUNDING = {signs.PAIR!r}, {signs.SNAP!r}, {signs.TOL!r}, {signs.ROUNDING!r}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)"""

_FUNCTIONS = {
    "PAIR, SNAP, TOL, ROUNDING, NODES, WEIGHTS": _CONSTANTS,
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
    "isqrt0": '''def isqrt0(v, root):
    """v^(-1/2), or 0 where v vanishes against root."""
    return 1.0 / SQRT(v) if v > TOL * root else ZERO''',
    "angle": '''def angle(c, va, vb):
    """asin of the correlation; 0 if a variance vanishes."""
    v = va * vb
    return ASIN(rounded(c / SQRT(v))) if v > 0.0 else ZERO''',
    "angle0": '''def angle0(c, va, vb, ra, rb, nc, na, nb):
    """asin of the correlation of two conditioned fields; the limit if both variances vanish, 0 if one does."""
    da, db = va <= TOL * ra, vb <= TOL * rb
    if da and db:
        return angle(nc, na, nb)
    return ZERO if da or db else angle(c, va, vb)''',
    "erf0": '''def erf0(m, v, root):
    """Average of a sign with mean m and variance v."""
    if v > TOL * root:
        return ERF(m / SQRT(2.0 * v))
    if abs(m) <= SQRT(TOL * root):
        return ZERO
    return ONE if m > 0.0 else -ONE''',
    "sign4": '''def sign4(va, vb, vc, vd, ab, ac, ad, bc, bd, cd):
    """Average of four centred signs from variances and covariances: the least correlated one is decoupled on a path."""
    if va <= 0.0 or vb <= 0.0 or vc <= 0.0 or vd <= 0.0:
        return ZERO
    ab, ac, ad = rounded(ab / SQRT(va * vb)), rounded(ac / SQRT(va * vc)), rounded(ad / SQRT(va * vd))
    bc, bd, cd = rounded(bc / SQRT(vb * vc)), rounded(bd / SQRT(vb * vd)), rounded(cd / SQRT(vc * vd))
    det = 1.0 - (ab * ab + ac * ac + ad * ad + bc * bc + bd * bd + cd * cd)
    det += 2.0 * (ab * ac * bc + ab * ad * bd + ac * ad * cd + bc * bd * cd)
    det += (ab * cd) ** 2 + (ac * bd) ** 2 + (ad * bc) ** 2
    det -= 2.0 * (ab * ac * bd * cd + ab * ad * bc * cd + ac * ad * bc * bd)
    panels = 4 if det < 0.01 else 1
    ta, tb = max(abs(ab), abs(ac), abs(ad)), max(abs(ab), abs(bc), abs(bd))
    tc, td = max(abs(ac), abs(bc), abs(cd)), max(abs(ad), abs(bd), abs(cd))
    if td < min(ta, tb, tc):
        ab, ac, ad, bc, bd, cd = ad, bd, cd, ab, ac, bc
    elif tc < min(ta, tb):
        ab, ac, ad, bc, bd, cd = ac, bc, cd, ab, ad, bd
    elif tb < ta:
        ab, ac, ad, bc, bd, cd = ab, bc, bd, ac, ad, cd
    total = path4(ab, ac, ad, bc, bd, cd, panels)
    total += path4(ac, ab, ad, bc, cd, bd, panels) + path4(ad, ab, ac, bd, cd, bc, panels)
    return 4.0 * total / (PI * PI)''',
    "path4": '''def path4(r, pl, pm, jl, jm, lm, panels):
    """Integral over the path that decouples p from j; l and m are the other two fields."""
    total = ZERO
    if r == 0.0:
        return total
    end, low, high = ASIN(r), 0.125, 1.0
    for panel in range(panels):
        for q in range(24):
            x, w = 0.5 * (float(NODES[q]) + 1.0), 0.5 * float(WEIGHTS[q])
            if panel == panels - 1:
                y, u = 1.0 - high * (1.0 - x) ** 4, 4.0 * high * (1.0 - x) ** 3 * w
            else:
                y, u = 1.0 - (low + (high - low) * x), (high - low) * w
            rho, root = SIN(end * y), COS(end * y)
            c2 = max(root * root, 1e-300)
            t = rho / r
            bl, bm = t * pl - rho * jl, t * pm - rho * jm
            vl, vm = 1.0 - jl * jl - bl * bl / c2, 1.0 - jm * jm - bm * bm / c2
            if vl > TOL and vm > TOL:
                total += u * ASIN(rounded((lm - jl * jm - bl * bm / c2) / SQRT(vl * vm)))
            elif vl <= TOL and vm <= TOL:
                al, am = jl - bl * rho / c2, jm - bm * rho / c2
                bl, bm = bl / c2, bm / c2
                total += u * ASIN(rounded((al * am + bl * bm) / SQRT((1.0 + al * al + bl * bl) * (1.0 + am * am + bm * bm))))
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
    p, least = 0, 2.0 * ONE
    for i in range(n):
        top = ZERO
        for j in range(n):
            if j != i and abs(R[i, j]) > top:
                top = abs(R[i, j])
        if top < least:
            p, least = i, top
    panels = 8
    if centred:
        panels = 4 if determinant(R) < 0.01 else 1
    total = ZERO
    if not centred:
        hr, Rr = np.empty(n - 1OBJECT), np.empty((n - 1, n - 1)OBJECT)
        for a in range(n - 1):
            i = a + (a >= p)
            hr[a] = h[i]
            for b in range(n - 1):
                Rr[a, b] = R[i, b + (b >= p)]
        total = ERF(h[p] / SQRT(TWO)) * mean_signs(hr, Rr)
    m, C = np.empty(n - 2OBJECT), np.empty((n - 2, n - 2)OBJECT)
    E, b = np.empty((n - 2, n - 2)OBJECT), np.empty(n - 2OBJECT)
    for j in range(n):
        if j == p or R[p, j] == 0.0:
            continue
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
                    value = value * EXP(-0.5 * (d * d / c2 + h[p] * h[p]))
                    if value == 0.0:
                        continue
                a = 0
                for i in range(n):
                    if i != p and i != j:
                        b[a] = t * R[p, i] - rho * R[j, i]
                        m[a] = h[i] - R[j, i] * h[j] - b[a] * (h[p] - rho * h[j]) / c2
                        a += 1
                a = 0
                for i in range(n):
                    if i != p and i != j:
                        e = 0
                        for k in range(n):
                            if k != p and k != j:
                                C[a, e] = R[i, k] - R[j, i] * R[j, k] - b[a] * b[e] / c2
                                ja, je = R[j, i] - b[a] * rho / c2, R[j, k] - b[e] * rho / c2
                                E[a, e] = ja * je + b[a] * b[e] / (c2 * c2) + (1.0 if a == e else 0.0)
                                e += 1
                        a += 1
                total += value * conditioned(m, C, E, centred)
            low, high = 0.125 * low, low
    return total''',
    "conditioned": '''def conditioned(m, C, E, centred):
    """Average of signs with means m and covariances C, some of which vanish; E is the growth of C with a small noise."""
    n = m.size
    if n == 0:
        return ONE
    if n == 1:
        if C[0, 0] > TOL:
            return ERF(m[0] / SQRT(2.0 * C[0, 0]))
        return ZERO if abs(m[0]) <= SQRT(TOL) else ONE if m[0] > 0.0 else -ONE
    if n == 2 and centred:
        return 2.0 / PI * angle0(C[0, 1], C[0, 0], C[1, 1], 1.0, 1.0, E[0, 1], E[0, 0], E[1, 1])
    factor = ONE
    h, R = np.empty(nOBJECT), np.empty((n, n)OBJECT)
    for i in range(n):
        R[i, i] = ONE
        di = C[i, i] <= TOL
        if not di:
            h[i] = m[i] / SQRT(C[i, i])
        elif centred:
            h[i] = ZERO
        else:
            h[i] = 40.0 * ONE
            factor = factor * (0.0 if abs(m[i]) <= SQRT(TOL) else 1.0 if m[i] > 0.0 else -1.0)
        for j in range(i):
            dj = C[j, j] <= TOL
            r = ZERO
            if not di and not dj:
                r = rounded(C[i, j] / SQRT(C[i, i] * C[j, j]))
            elif di and dj and centred:
                r = rounded(E[i, j] / SQRT(E[i, i] * E[j, j]))
            R[i, j] = R[j, i] = r
    return factor * mean_signs(h, R) if factor != 0.0 else ZERO''',
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
        h[i] = 40.0 * ONE if fixed else m[i] / SQRT(C[i, i])
        for j in range(i):
            free = not fixed and C[j, j] > 0.0
            R[i, j] = R[j, i] = rounded(C[i, j] / SQRT(C[i, i] * C[j, j])) if free else ZERO
    return factor * mean_signs(h, R) if factor != 0.0 else ZERO''',
    "limit": '''def limit(m, C, root, E):
    """Average of n signs under exact conditions; those of vanishing variance are signs of the noise E."""
    n = m.size
    factor = ONE
    h, R = np.empty(nOBJECT), np.empty((n, n)OBJECT)
    for i in range(n):
        R[i, i] = ONE
        di = C[i, i] <= TOL * root[i]
        sure = di and abs(m[i]) > SQRT(TOL * root[i])
        if sure:
            factor = factor if m[i] > 0.0 else -factor
            h[i] = 40.0 * ONE
        else:
            h[i] = ZERO if di else m[i] / SQRT(C[i, i])
        for j in range(i):
            dj = C[j, j] <= TOL * root[j]
            r = ZERO
            if not di and not dj:
                r = rounded(C[i, j] / SQRT(C[i, i] * C[j, j]))
            elif di and dj and not sure and h[j] == 0.0 and E[i, i] > 0.0 and E[j, j] > 0.0:
                r = rounded(E[i, j] / SQRT(E[i, i] * E[j, j]))
            R[i, j] = R[j, i] = r
    return factor * mean_signs(h, R)''',
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
    "snap": '''def snap(C):
    """Covariances without near dependences: near pairs coincide, near combinations are exact ones. C itself is kept."""
    n = C.shape[0]
    left, out, low = np.empty((n, n)OBJECT), np.empty((n, n)OBJECT), np.empty(nOBJECT)
    for i in range(n):
        for j in range(n):
            free = C[i, i] > 0.0 and C[j, j] > 0.0
            left[i, j] = rounded(C[i, j] / SQRT(C[i, i] * C[j, j])) if free else ZERO
            out[i, j] = ZERO
    for a in range(n):
        for b in range(a + 1, n):
            if abs(left[a, b]) > 1.0 - PAIR:
                sign = 1.0 if left[a, b] > 0.0 else -1.0
                for i in range(n):
                    if i != b:
                        low[i] = sign * left[a, i]
                for i in range(n):
                    if i != b:
                        left[b, i] = left[i, b] = low[i]
    for _ in range(n):
        p = 0
        for i in range(n):
            if left[i, i] > left[p, p]:
                p = i
        top = left[p, p]
        if top <= SNAP:
            break
        for i in range(n):
            low[i] = left[p, i]
        for i in range(n):
            for j in range(n):
                step = low[j] if i == p else low[i] if j == p else low[i] * low[j] / top
                out[i, j] = out[i, j] + step
                left[i, j] = left[i, j] - step
    for i in range(n):
        low[i] = out[i, i]
    for i in range(n):
        for j in range(n):
            free = low[i] > 0.0 and low[j] > 0.0
            r = rounded(out[i, j] / SQRT(low[i] * low[j])) if free else ZERO
            out[i, j] = C[i, i] if i == j else r * SQRT(C[i, i] * C[j, j]) if free else ZERO
    return out''',
}
_WORDS = {
    "numba": {
        "SQRT": "math.sqrt",
        "ASIN": "math.asin",
        "ERF": "math.erf",
        "EXP": "math.exp",
        "SIN": "math.sin",
        "COS": "math.cos",
        "PI": "math.pi",
    },
    "mpmath": {
        "SQRT": "mp.sqrt",
        "ASIN": "mp.asin",
        "ERF": "mp.erf",
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
_RECURSIVE = ("nsign", "limit", "mean_signs", "conditioned")


def functions(backend: str) -> dict[str, str]:
    """Definitions by name for ``"numba"`` or ``"mpmath"``."""
    decorator = "@jit\n" if backend == "numba" else ""
    out = {}
    for name, body in _FUNCTIONS.items():
        for word, text in (*_WORDS[backend].items(), *_NUMBERS[backend].items()):
            body = _replaced(body, word, text)
        out[name] = decorator + body if body.startswith("def ") else body
    return _by_level(out) if backend == "numba" else out


def _by_level(definitions: dict[str, str]) -> dict[str, str]:
    """The recursion over the number of signs written out, ``nsign_4`` calls ``mean_signs_4`` calls ``mean_signs_3`` ...

    Numba compiles mutual recursion, but a process that loads it from Numba's cache ends in a segmentation fault.
    """
    out = {name: text for name, text in definitions.items() if name not in _RECURSIVE}
    out["mean_signs_0"] = "@jit\ndef mean_signs_0(h, R):\n    return 1.0"
    out["conditioned_0"] = "@jit\ndef conditioned_0(m, C, E, centred):\n    return 1.0"
    for n in range(1, LARGEST + 1):
        below = {"conditioned": max(n - 2, 0), "mean_signs": n - 1}
        for name in _RECURSIVE:
            calls = below if name == "mean_signs" else {"mean_signs": n}
            _, head, body = definitions[name].split("\n", 2)  # decorator, signature, rest
            for callee, level in calls.items():
                body = re.sub(rf"\b{callee}\(", f"{callee}_{level}(", body)
            out[f"{name}_{n}"] = "@jit\n" + head.replace(f"def {name}(", f"def {name}_{n}(") + "\n" + body
    return out


def _replaced(body: str, word: str, text: str) -> str:
    return body.replace(word, text) if word == "OBJECT" else re.sub(rf"\b{word}\b", text, body)
