"""Functions that an emitted module needs to solve linear matrix equations, as text.

    lyapunov   A X + X A' + C = 0          sylvester   A X + X B + C = 0          stein   A X B - X + C = 0
    solve_linear   K vec X + vec C = 0,    K the sum of the matrices of X -> A X B, A X' B, tr(M'X) N  (row by row)

By doubling, X = sum_k S^k C T^k: k terms become 2k at the price of four products, O(n^3 log). A continuous equation becomes
such a sum by  S = (p - A)^-1 (p + A). The sum converges if the equation is stable, and an equation for a covariance that is not
is answered by NaN, which stops an integrator; other equations then go to ``solve_linear``, O(n^6).
Imported by codegen only.
"""

from __future__ import annotations

from collections.abc import Mapping

#: Functions of arrays; Numba compiles the same text.
PLAIN: Mapping[str, str] = {
    "doubled": '''def doubled(S, T, C):
    """Sum of S^k C T^k over k = 0, 1, ...; NaN if it does not converge."""
    for _ in range(60):
        more = S @ C @ T
        size = np.max(np.abs(more))
        if not size < 1e60:
            break
        C = C + more
        if size <= 1e-17 * np.max(np.abs(C)):
            return C
        S = S @ S
        T = T @ T
    return C * np.nan''',
    "resolvent": '''def resolvent(A, p):
    """(p - A)^-1."""
    M = -A
    for i in range(len(A)):
        M[i, i] += p
    return np.ascontiguousarray(np.linalg.inv(M))''',
    "continuous": '''def continuous(A, B, C):
    """X with A X + X B + C = 0 as an integral over all times; NaN if that diverges in both directions of time."""
    sign = 1.0 if np.trace(A) + np.trace(B) <= 0.0 else -1.0
    p = 0.5 * sign * (np.linalg.norm(A) / math.sqrt(len(A)) + np.linalg.norm(B) / math.sqrt(len(B)))
    if not 0.0 < abs(p) < 1e200:
        return C * np.nan
    left, right = (2.0 * p) * resolvent(A, p), resolvent(B, p)
    first = left @ C @ right
    right = (2.0 * p) * right
    for i in range(len(A)):
        left[i, i] -= 1.0
    for i in range(len(B)):
        right[i, i] -= 1.0
    return doubled(left, right, first)''',
    "lyapunov": '''def lyapunov(A, C):
    """X with A X + X A' + C = 0; NaN if A is neither stable nor stable backwards in time."""
    return continuous(np.ascontiguousarray(A), np.ascontiguousarray(A.T), np.ascontiguousarray(C))''',
    "sylvester": '''def sylvester(A, B, C):
    """X with A X + X B + C = 0."""
    A, B, C = np.ascontiguousarray(A), np.ascontiguousarray(B), np.ascontiguousarray(C)
    X = continuous(A, B, C)
    if not math.isfinite(np.sum(X)):
        return solve_linear(of_words(A, np.eye(len(B))) + of_words(np.eye(len(A)), B), C)
    return X''',
    "stein": '''def stein(A, B, C):
    """X with A X B - X + C = 0; NaN if the powers of A and B do not decay."""
    return doubled(np.ascontiguousarray(A), np.ascontiguousarray(B), np.ascontiguousarray(C))''',
    "stein_any": '''def stein_any(A, B, C):
    """X with A X B - X + C = 0."""
    X = stein(A, B, C)
    if not math.isfinite(np.sum(X)):
        return solve_linear(of_words(A, B) - np.eye(C.size), C)
    return X''',
    "of_words": '''def of_words(A, B):
    """Matrix of X -> A X B, rows of X one after the other."""
    out = np.empty((A.shape[0] * B.shape[1], A.shape[1] * B.shape[0]))
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            for k in range(B.shape[1]):
                for l in range(B.shape[0]):
                    out[i * B.shape[1] + k, j * B.shape[0] + l] = A[i, j] * B[l, k]
    return out''',
    "of_turned": '''def of_turned(A, B):
    """Matrix of X -> A X' B."""
    K = of_words(A, B)
    out = np.empty(K.shape)
    rows, cols = B.shape[0], A.shape[1]
    for i in range(rows):
        for j in range(cols):
            out[:, i * cols + j] = K[:, j * rows + i]
    return out''',
    "of_trace": '''def of_trace(N, M):
    """Matrix of X -> tr(M' X) N."""
    return np.outer(np.ascontiguousarray(N), np.ascontiguousarray(M))''',
    "solve_linear": '''def solve_linear(K, C):
    """X with K vec X + vec C = 0."""
    right = np.ascontiguousarray(C).reshape(C.size)
    return -np.linalg.solve(K, right).reshape(C.shape)''',
}
#: The same with numbers of any precision, always by elimination.
EXACT: Mapping[str, str] = {
    "of_words": '''def of_words(A, B):
    """Matrix of X -> A X B, rows of X one after the other."""
    return np.kron(A, B.T)''',
    "of_turned": '''def of_turned(A, B):
    """Matrix of X -> A X' B."""
    rows, cols = B.shape[0], A.shape[1]
    return of_words(A, B)[:, np.arange(rows * cols).reshape(cols, rows).T.ravel()]''',
    "of_trace": '''def of_trace(N, M):
    """Matrix of X -> tr(M' X) N."""
    return np.outer(N, M)''',
    "solve_linear": '''def solve_linear(K, C):
    """X with K vec X + vec C = 0."""
    found = mp.lu_solve(mp.matrix(K.tolist()), mp.matrix([-c for c in C.ravel()]))
    return np.array(list(found), dtype=object).reshape(C.shape)''',
    "unit": '''def unit(n):
    """Identity matrix."""
    return np.array([[mpf(int(i == j)) for j in range(n)] for i in range(n)], dtype=object)''',
    "sylvester": '''def sylvester(A, B, C):
    """X with A X + X B + C = 0."""
    return solve_linear(of_words(A, unit(len(B))) + of_words(unit(len(A)), B), C)''',
    "lyapunov": '''def lyapunov(A, C):
    """X with A X + X A' + C = 0."""
    return sylvester(A, A.T, C)''',
    "stein": '''def stein(A, B, C):
    """X with A X B - X + C = 0."""
    return solve_linear(of_words(A, B) - unit(C.size), C)''',
    "stein_any": '''def stein_any(A, B, C):
    """X with A X B - X + C = 0."""
    return stein(A, B, C)''',
}
#: Formats of the operations, the same in all backends.
METHODS: Mapping[str, str] = {
    **{name: f"{name}({{}}, {{}})" for name in ("lyapunov", "of_words", "of_turned", "of_trace", "solve_linear")},
    **{name: f"{name}({{}}, {{}}, {{}})" for name in ("sylvester", "stein", "stein_any")},
}


def support(backend: str) -> dict[str, str]:
    """Definitions by name, in an order in which Python and Numba can read them."""
    if backend == "mpmath":
        return dict(EXACT)
    order = (
        "doubled",
        "resolvent",
        "continuous",
        "of_words",
        "of_turned",
        "of_trace",
        "solve_linear",
        "lyapunov",
        "sylvester",
        "stein",
        "stein_any",
    )
    return {name: ("@jit\n" if backend == "numba" else "") + PLAIN[name] for name in order}
