"""committee: right-hand side and observables.

Time: t.

Equations
    dQ[k,l]/dt = -eta*v[k]*pi^(-1)*Sum_i(v[i]*(1 + Q[i,i] - Q[i,k]^2*(1 + Q[k,k])^(-1))^(-1/2)*(Q[i,l] -
        Q[i,k]*Q[k,l]*(1 + Q[k,k])^(-1))) - eta*v[l]*pi^(-1)*Sum_i(v[i]*(1 + Q[i,i] - Q[i,l]^2*(1 +
        Q[l,l])^(-1))^(-1/2)*(Q[i,k] - Q[i,l]*Q[k,l]*(1 + Q[l,l])^(-1))) +
        eta*pi^(-1)*Sum_i(R[k,i]*asin(R[l,i]*(1 + Q[l,l])^(-1/2)*(1 + T[i,i])^(-1/2))) +
        eta*pi^(-1)*Sum_i(R[l,i]*asin(R[k,i]*(1 + Q[k,k])^(-1/2)*(1 + T[i,i])^(-1/2))) +
        v[k]*v[l]*2^(1/2)*pi^(-2)*eta^2*(1 + Q[k,k])^(-1/2)*(1 + Q[l,l] - Q[k,l]^2*(1 +
        Q[k,k])^(-1))^(-1/2)*Sum_j(v[j]*Sum_i(v[i]*asin((1 + Q[i,i] - Q[i,k]^2*(1 + Q[k,k])^(-1) - (1 +
        Q[l,l] - Q[k,l]^2*(1 + Q[k,k])^(-1))^(-1)*(Q[i,l] - Q[i,k]*Q[k,l]*(1 + Q[k,k])^(-1))^2)^(-1/2)*(1 +
        Q[j,j] - Q[j,k]^2*(1 + Q[k,k])^(-1) - (1 + Q[l,l] - Q[k,l]^2*(1 + Q[k,k])^(-1))^(-1)*(Q[j,l] -
        Q[j,k]*Q[k,l]*(1 + Q[k,k])^(-1))^2)^(-1/2)*(Q[i,j] - Q[i,k]*Q[j,k]*(1 + Q[k,k])^(-1) - (1 + Q[l,l] -
        Q[k,l]^2*(1 + Q[k,k])^(-1))^(-1)*(Q[i,l] - Q[i,k]*Q[k,l]*(1 + Q[k,k])^(-1))*(Q[j,l] -
        Q[j,k]*Q[k,l]*(1 + Q[k,k])^(-1)))))) + v[k]*v[l]*2^(1/2)*pi^(-2)*eta^2*(1 + Q[k,k] - Q[k,l]^2*(1 +
        Q[l,l])^(-1))^(-1/2)*(1 + Q[l,l])^(-1/2)*Sum_j(v[j]*Sum_i(v[i]*asin((1 + Q[i,i] - Q[i,l]^2*(1 +
        Q[l,l])^(-1) - (1 + Q[k,k] - Q[k,l]^2*(1 + Q[l,l])^(-1))^(-1)*(Q[i,k] - Q[i,l]*Q[k,l]*(1 +
        Q[l,l])^(-1))^2)^(-1/2)*(1 + Q[j,j] - Q[j,l]^2*(1 + Q[l,l])^(-1) - (1 + Q[k,k] - Q[k,l]^2*(1 +
        Q[l,l])^(-1))^(-1)*(Q[j,k] - Q[j,l]*Q[k,l]*(1 + Q[l,l])^(-1))^2)^(-1/2)*(Q[i,j] - Q[i,l]*Q[j,l]*(1 +
        Q[l,l])^(-1) - (1 + Q[k,k] - Q[k,l]^2*(1 + Q[l,l])^(-1))^(-1)*(Q[i,k] - Q[i,l]*Q[k,l]*(1 +
        Q[l,l])^(-1))*(Q[j,k] - Q[j,l]*Q[k,l]*(1 + Q[l,l])^(-1)))))) + delta[k,l]*sigma^2
    dR[k,m]/dt = Sum_i(T[i,m]*asin(R[k,i]*(1 + Q[k,k])^(-1/2)*(1 + T[i,i])^(-1/2))) - R[k,m]*eta
    dv[k]/dt = Sum_i(asin(R[k,i]*(1 + Q[k,k])^(-1/2)*(1 + T[i,i])^(-1/2))) - Sum_i(v[i]*asin(Q[i,k]*(1 +
        Q[i,i])^(-1/2)*(1 + Q[k,k])^(-1/2))) + N^(-1)*exp(-v[k]^2)
    eg = pi^(-1)*Sum_j(v[j]*Sum_i(v[i]*asin(Q[i,j]*(1 + Q[i,i])^(-1/2)*(1 + Q[j,j])^(-1/2))))

Symbols
    Q      state  (K, K)  symmetric
    R      state  (K, M)
    v      state  (K,)
    T      given  (M, M)
    eta    given  number
    sigma  given  number
    N      given  number  a size
"""

# Written by gradientflow for numpy: needs Python and NumPy; import it, or run it with `python -i`.
# rhs(t, states, parameters) and observables(...) return tuples.

import numpy as np


def asin(x):
    """Arcsine; arguments that left [-1, 1] by rounding are set back."""
    return np.arcsin(np.minimum(np.maximum(x, -1.0), 1.0))


def rhs(t, Q, R, v, T, eta, sigma, N):
    """Time derivatives (Q, R, v)."""
    K = Q.shape[0]
    M = R.shape[1]
    dQ = np.empty((K, K))
    dR = np.empty((K, M))
    dv = np.empty(K)
    A4 = np.empty((K, K))
    A5 = np.empty((K, M))
    A7 = np.empty(K)
    A8 = np.empty(M)
    A9 = np.empty(K)
    A10 = np.empty(K)
    x1 = 1.0 + np.diagonal(Q)
    A1 = 1.0 / x1
    A2 = 1.0 / np.sqrt(x1)
    A3 = 1.0 / np.sqrt(1.0 + np.diagonal(T))
    for i in range(K):
        A4[i, :] = 1.0 / np.sqrt(1.0 + np.diagonal(Q) - A1[i] * Q[i, :] ** 2)
    for i in range(K):
        A5[i, :] = asin(A2[i] * A3 * R[i, :])
    A6 = v * A2
    x2 = 1.0 / N
    x11 = eta / np.pi
    x13 = np.sqrt(2.0) * eta ** 2 / np.pi ** 2
    x16 = sigma ** 2
    for k in range(K):
        A7[:] = 1.0 / np.sqrt(1.0 + np.diagonal(Q) - A1[k] * Q[:, k] ** 2)
        A8[:] = asin(A2[k] * A3 * R[k, :])
        s1 = np.sum(v * asin(A2[k] * A2 * Q[:, k]))
        s2 = np.sum(A8)
        # dv[k]/dt (equation above)
        dv[k] = s2 + x2 * np.exp(-v[k] ** 2) - s1
        x6 = 1.0 + Q[k, k]
        x12 = x11 * v[k]
        x14 = x13 * v[k] * A2[k]
        x15 = x13 * v[k]
        for l in range(k + 1):
            x3 = A1[k] * Q[k, l]
            s3 = np.sum(v * A7 * (Q[:, l] - x3 * Q[:, k]))
            s4 = np.sum(v * A4[l, :] * (Q[:, k] - Q[k, l] * Q[:, l] * A1[l]))
            s5 = np.sum(R[k, :] * A5[l, :])
            s6 = np.sum(R[l, :] * A8)
            x4 = Q[k, l] ** 2
            x5 = 1.0 / (1.0 + Q[l, l] - A1[k] * x4)
            x7 = x6 - A1[l] * x4
            x8 = 1.0 / x7
            A9[:] = 1.0 / np.sqrt(1.0 + np.diagonal(Q) - A1[k] * Q[:, k] ** 2 - x5 * (Q[:, l] - x3 * Q[:, k]) ** 2)
            A10[:] = 1.0 / np.sqrt(1.0 + np.diagonal(Q) - Q[:, l] ** 2 * A1[l] - x8 * (Q[:, k] - Q[k, l] * Q[:, l] * A1[l]) ** 2)
            s7 = 0.0
            s8 = 0.0
            for i in range(K):
                x9 = x5 * (Q[i, l] - x3 * Q[i, k])
                x10 = x8 * (Q[i, k] - Q[k, l] * Q[i, l] * A1[l])
                s9 = np.sum(v * asin(A9[i] * A9 * (Q[:, i] - A1[k] * Q[:, k] * Q[i, k] - x9 * (Q[:, l] - x3 * Q[:, k]))))
                s10 = np.sum(v * asin(A10[i] * A10 * (Q[:, i] - Q[:, l] * Q[i, l] * A1[l] - x10 * (Q[:, k] - Q[k, l] * Q[:, l] * A1[l]))))
                s7 += v[i] * s9
                s8 += v[i] * s10
            # dQ[k,l]/dt (equation above)
            dQ[k, l] = x11 * s5 + x11 * s6 + x14 * v[l] * A7[l] * s7 + x15 * A6[l] * s8 / np.sqrt(x7) + x16 * (1 if k == l else 0) - x12 * s3 - x11 * v[l] * s4
            dQ[l, k] = dQ[k, l]
        for m in range(M):
            s11 = np.sum(T[:, m] * A8)
            # dR[k,m]/dt = Sum_i(T[i,m]*asin(R[k,i]*(1 + Q[k,k])^(-1/2)*(1 + T[i,i])^(-1/2))) - R[k,m]*eta
            dR[k, m] = s11 - eta * R[k, m]
    return (dQ, dR, dv)


def observables(t, Q, R, v, T, eta, sigma, N):
    """(eg)."""
    K = Q.shape[0]
    A1 = 1.0 / np.sqrt(1.0 + np.diagonal(Q))
    s1 = 0.0
    for i in range(K):
        s2 = np.sum(v * asin(A1[i] * A1 * Q[:, i]))
        s1 += s2 * v[i]
    # eg = pi^(-1)*Sum_j(v[j]*Sum_i(v[i]*asin(Q[i,j]*(1 + Q[i,i])^(-1/2)*(1 + Q[j,j])^(-1/2))))
    eg = s1 / np.pi
    return (eg,)
