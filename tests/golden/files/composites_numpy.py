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

# Written by gradientflow for numpy: needs Python and NumPy; import it, or run it with `python -i`.
# rhs(t, states, parameters) and observables(...) return tuples.

import numpy as np


def relu(x):
    """max(x, 0)."""
    return np.maximum(x, 0.0)


def d_tanh(z):
    """tanh'(z) = 1 - tanh(z)^2"""
    return 1.0 - np.tanh(z) ** 2


def bump(z, beta_):
    """bump(z) = exp(-beta*z^2)"""
    return np.exp(-beta_ * z ** 2)


def d_erf2(z):
    """erf2'(z) = (2*pi^(-1))^(1/2)*exp((-1/2)*z^2)"""
    return np.sqrt(2.0 / np.pi) * np.exp(-z ** 2 / 2)


def rhs(t, W, b, c, V, x, beta):
    """Time derivatives (W, b, c, V)."""
    K = W.shape[0]
    N = W.shape[1]
    E1 = b + W @ x
    H1 = np.tanh(E1)
    H2 = d_tanh(E1)
    D1 = (V.T @ H1) * H2
    D2 = b * H2
    E2 = D1 - D2
    # dW/dt = (V'*tanh(b + W*x) o tanh'(b + W*x))*x'/N - 1/3*W - (b o tanh'(b + W*x))*x'/N
    dW = (E2 @ x.T) / N - W / 3
    H3 = np.exp(-b)
    H4 = bump(V @ E1, beta)
    H5 = d_erf2(b)
    H6 = relu(b)
    # db/dt (equation above)
    db = D1 + b * b * H3 + H4 + H5 + H6 - D2
    c1 = np.sum(x * x)
    H7 = np.sqrt(1.0 + c1)
    # dc/dt = sqrt(1 + (x'*x)) + 1/(x'*x)^(1/2) + 2^(1/2)*c*(x'*x)
    dc = H7 + 1.0 / np.sqrt(c1) + np.sqrt(2.0) * c * c1
    V1 = np.linalg.inv(np.eye(K) + V @ V.T)
    # dV/dt = (I + V*V')^-1*V - 2*I + b*ones[K,1]'
    dV = V1 @ V + b @ np.ones((K, 1)).T - 2 * np.eye(K)
    return (dW, db, dc, dV)


def observables(t, W, b, c, V, x, beta):
    """(size, slope)."""
    # size = c*tr(V) + tr(W*W')
    size = c * np.trace(V) + np.sum(W * W)
    H1 = np.tanh(b + W @ x)
    # slope = (b'*tanh(b + W*x))
    slope = np.sum(b * H1)
    return (size, slope)
