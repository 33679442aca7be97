"""composites: right-hand side and observables.

Time: t.

Equations
    dW/dt = (V'*tanh(b + W*x) o tanh'(b + W*x))*x'/N - 1/3*W - (b o tanh'(b + W*x))*x'/N
    db/dt = (V'*tanh(b + W*x) o tanh'(b + W*x)) + (b o b o exp(-b)) - (b o tanh'(b + W*x)) + bump(V*b +
        V*W*x) + erf2'(b) + relu(b)
    dc/dt = sqrt(1 + (x'*x)) + 1/(x'*x)^(1/2) + 2^(1/2)*c*(x'*x)
    dV/dt = (I + V*V')^-1*V - 2*I + b*ones[K,1]'
    size = c*tr(V) + tr(W*W')
    slope = (b'*tanh(b + W*x))

Symbols
    W     state  (K, N)
    b     state  (K, 1)
    c     state  number
    V     state  (K, K)
    x     given  (N, 1)
    beta  given  number
"""

# Written by gradientflow for mpmath: needs Python, NumPy and mpmath; set mpmath.mp.dps, pass object arrays of mpf.
# rhs(t, states, parameters) and observables(...) return tuples.

import numpy as np
from mpmath import mp, mpf


def relu(x):
    """max(x, 0)."""
    return mpf(0) if x <= 0 else x


def each(f, A, *extra):
    """f of every entry of A."""
    out = np.empty(A.shape, dtype=object)
    for place in np.ndindex(A.shape):
        out[place] = f(A[place], *extra)
    return out


def inverse(A):
    """Inverse of a square matrix."""
    return np.array((mp.matrix(A.tolist()) ** -1).tolist(), dtype=object).reshape(A.shape)


def filled(rows, columns, value, diagonal):
    """Matrix with one value, and another one on its diagonal."""
    out = np.empty((rows, columns), dtype=object)
    out[:] = mpf(value)
    for i in range(min(rows, columns)):
        out[i, i] = mpf(diagonal)
    return out


def d_tanh(z):
    """tanh'(z) = 1 - tanh(z)^2"""
    return mpf(1) - mp.tanh(z) ** 2


def bump(z, beta_):
    """bump(z) = exp(-beta*z^2)"""
    return mp.exp(-beta_ * z ** 2)


def d_erf2(z):
    """erf2'(z) = (2*pi^(-1))^(1/2)*exp((-1/2)*z^2)"""
    return mp.sqrt(mpf(2) / mp.pi) * mp.exp(-z ** 2 / 2)


def rhs(t, W, b, c, V, x, beta):
    """Time derivatives (W, b, c, V)."""
    K = W.shape[0]
    N = W.shape[1]
    E1 = b + W @ x
    H1 = each(mp.tanh, E1)
    H2 = each(d_tanh, E1)
    D1 = (V.T @ H1) * H2
    D2 = b * H2
    E2 = D1 - D2
    # dW/dt = (V'*tanh(b + W*x) o tanh'(b + W*x))*x'/N - 1/3*W - (b o tanh'(b + W*x))*x'/N
    dW = (E2 @ x.T) / mpf(N) - W / 3
    H3 = each(mp.exp, -b)
    H4 = each(bump, V @ E1, beta)
    H5 = each(d_erf2, b)
    H6 = each(relu, b)
    # db/dt (equation above)
    db = D1 + b * b * H3 + H4 + H5 + H6 - D2
    c1 = np.sum(x * x)
    H7 = mp.sqrt(mpf(1) + c1)
    # dc/dt = sqrt(1 + (x'*x)) + 1/(x'*x)^(1/2) + 2^(1/2)*c*(x'*x)
    dc = H7 + mpf(1) / mp.sqrt(c1) + mp.sqrt(mpf(2)) * c * c1
    V1 = inverse(filled(K, K, 0, 1) + V @ V.T)
    # dV/dt = (I + V*V')^-1*V - 2*I + b*ones[K,1]'
    dV = V1 @ V + b @ filled(K, 1, 1, 1).T - 2 * filled(K, K, 0, 1)
    return (dW, db, dc, dV)


def observables(t, W, b, c, V, x, beta):
    """(size, slope)."""
    # size = c*tr(V) + tr(W*W')
    size = c * np.trace(V) + np.sum(W * W)
    H1 = each(mp.tanh, b + W @ x)
    # slope = (b'*tanh(b + W*x))
    slope = np.sum(b * H1)
    return (size, slope)
