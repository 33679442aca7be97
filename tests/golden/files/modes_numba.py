"""modes: right-hand side and observables.

Time: t.

Equations
    du[i]/dt = 2*u[i]*tau^(-1)*(s[i] - u[i])
    total = Sum_i(u[i])
    mean = r^(-1)*Sum_i(u[i])

Symbols
    u    state  (r,)
    s    given  (r,)
    tau  given  number
"""

# Written by gradientflow for numba: needs Python, NumPy and Numba; import it, or run it with `python -i`; arrays must be float64 and C-contiguous.
# rhs(t, states, parameters) and observables(...) return tuples.

import numba
import numpy as np

jit = numba.njit(cache=True, error_model="numpy", fastmath={"contract", "reassoc", "nsz", "arcp"})


@jit
def rhs(t, u, s, tau):
    """Time derivatives (u)."""
    r = u.shape[0]
    du = np.empty(r)
    x1 = 2.0 / tau
    for i in range(r):
        # du[i]/dt = 2*u[i]*tau^(-1)*(s[i] - u[i])
        du[i] = x1 * u[i] * (s[i] - u[i])
    return (du,)


@jit
def observables(t, u, s, tau):
    """(total, mean)."""
    r = u.shape[0]
    s1 = 0.0
    for i in range(r):
        s1 += u[i]
    # total = Sum_i(u[i])
    total = s1
    # mean = r^(-1)*Sum_i(u[i])
    mean = s1 / r
    return (total, mean)
