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

# Written by gradientflow for numba: needs Python, NumPy and Numba; import it, or run it with `python -i`; arrays must be float64 and C-contiguous.
# rhs(t, states, parameters) and observables(...) return tuples.

import math

import numba
import numpy as np

jit = numba.njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})


@jit
def asin(x):
    """Arcsine; arguments that left [-1, 1] by rounding are set back."""
    if x > 1.0:
        return 0.5 * math.pi
    if x < -1.0:
        return -0.5 * math.pi
    return math.asin(x)


@jit
def rhs(t, Q, R, v, T, eta, sigma, N):
    """Time derivatives (Q, R, v)."""
    K = Q.shape[0]
    M = R.shape[1]
    dQ = np.empty((K, K))
    dR = np.empty((K, M))
    dv = np.empty(K)
    A1 = np.empty(K)
    A2 = np.empty(K)
    A3 = np.empty(M)
    A4 = np.empty((K, K))
    A5 = np.empty((K, M))
    A6 = np.empty(K)
    A7 = np.empty(K)
    A8 = np.empty(M)
    A9 = np.empty(K)
    A10 = np.empty(K)
    for i in range(K):
        x1 = 1.0 + Q[i, i]
        A1[i] = 1.0 / x1
        A2[i] = 1.0 / math.sqrt(x1)
    for i in range(M):
        A3[i] = 1.0 / math.sqrt(1.0 + T[i, i])
    for i in range(K):
        for j in range(K):
            A4[i, j] = 1.0 / math.sqrt(1.0 + Q[j, j] - A1[i] * Q[i, j] ** 2)
    for i in range(K):
        for j in range(M):
            A5[i, j] = asin(A2[i] * A3[j] * R[i, j])
    for i in range(K):
        A6[i] = v[i] * A2[i]
    x2 = 1.0 / N
    x11 = eta / math.pi
    x13 = math.sqrt(2.0) * eta ** 2 / math.pi ** 2
    x16 = sigma ** 2
    for k in range(K):
        for i in range(K):
            A7[i] = 1.0 / math.sqrt(1.0 + Q[i, i] - A1[k] * Q[i, k] ** 2)
        for i in range(M):
            A8[i] = asin(A2[k] * A3[i] * R[k, i])
        s1 = 0.0
        for i in range(K):
            s1 += v[i] * asin(A2[k] * A2[i] * Q[i, k])
        s2 = 0.0
        for i in range(M):
            s2 += A8[i]
        # dv[k]/dt (equation above)
        dv[k] = s2 + x2 * math.exp(-v[k] ** 2) - s1
        x6 = 1.0 + Q[k, k]
        x12 = x11 * v[k]
        x14 = x13 * v[k] * A2[k]
        x15 = x13 * v[k]
        for l in range(k + 1):
            s3 = 0.0
            s4 = 0.0
            x3 = A1[k] * Q[k, l]
            for i in range(K):
                s3 += v[i] * A7[i] * (Q[i, l] - x3 * Q[i, k])
                s4 += v[i] * A4[l, i] * (Q[i, k] - Q[k, l] * Q[i, l] * A1[l])
            s5 = 0.0
            s6 = 0.0
            for i in range(M):
                s5 += R[k, i] * A5[l, i]
                s6 += R[l, i] * A8[i]
            x4 = Q[k, l] ** 2
            x5 = 1.0 / (1.0 + Q[l, l] - A1[k] * x4)
            x7 = x6 - A1[l] * x4
            x8 = 1.0 / x7
            for i in range(K):
                A9[i] = 1.0 / math.sqrt(1.0 + Q[i, i] - A1[k] * Q[i, k] ** 2 - x5 * (Q[i, l] - x3 * Q[i, k]) ** 2)
                A10[i] = 1.0 / math.sqrt(1.0 + Q[i, i] - Q[i, l] ** 2 * A1[l] - x8 * (Q[i, k] - Q[k, l] * Q[i, l] * A1[l]) ** 2)
            s7 = 0.0
            s8 = 0.0
            for i in range(K):
                s9 = 0.0
                s10 = 0.0
                x9 = x5 * (Q[i, l] - x3 * Q[i, k])
                x10 = x8 * (Q[i, k] - Q[k, l] * Q[i, l] * A1[l])
                for j in range(i + 1):
                    s9 += (1 if j == i else 2) * v[j] * asin(A9[i] * A9[j] * (Q[j, i] - A1[k] * Q[j, k] * Q[i, k] - x9 * (Q[j, l] - x3 * Q[j, k])))
                    s10 += (1 if j == i else 2) * v[j] * asin(A10[i] * A10[j] * (Q[j, i] - Q[j, l] * Q[i, l] * A1[l] - x10 * (Q[j, k] - Q[k, l] * Q[j, l] * A1[l])))
                s7 += v[i] * s9
                s8 += v[i] * s10
            # dQ[k,l]/dt (equation above)
            dQ[k, l] = x11 * s5 + x11 * s6 + x14 * v[l] * A7[l] * s7 + x15 * A6[l] * s8 / math.sqrt(x7) + x16 * (1 if k == l else 0) - x12 * s3 - x11 * v[l] * s4
            dQ[l, k] = dQ[k, l]
        for m in range(M):
            s11 = 0.0
            for i in range(M):
                s11 += T[i, m] * A8[i]
            # dR[k,m]/dt = Sum_i(T[i,m]*asin(R[k,i]*(1 + Q[k,k])^(-1/2)*(1 + T[i,i])^(-1/2))) - R[k,m]*eta
            dR[k, m] = s11 - eta * R[k, m]
    return (dQ, dR, dv)


@jit
def observables(t, Q, R, v, T, eta, sigma, N):
    """(eg)."""
    K = Q.shape[0]
    A1 = np.empty(K)
    for i in range(K):
        A1[i] = 1.0 / math.sqrt(1.0 + Q[i, i])
    s1 = 0.0
    for i in range(K):
        s2 = 0.0
        for j in range(i + 1):
            s2 += (1 if j == i else 2) * v[j] * asin(A1[i] * A1[j] * Q[j, i])
        s1 += s2 * v[i]
    # eg = pi^(-1)*Sum_j(v[j]*Sum_i(v[i]*asin(Q[i,j]*(1 + Q[i,i])^(-1/2)*(1 + Q[j,j])^(-1/2))))
    eg = s1 / math.pi
    return (eg,)
