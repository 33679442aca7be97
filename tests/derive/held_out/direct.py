"""The second road of these tests: vectors with given overlaps, updated step by step in NumPy, and averages over half-planes.

Nothing here knows the package: `place` makes vectors, a test updates them in its own loop, `agrees` compares overlaps with
what `integrate` says.
"""

import numpy as np

import codegen
import numerics
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import evaluate

LEGENDRE = np.polynomial.legendre.leggauss(120)


def rate(flow, name, place=(), **values):
    """One entry of a right-hand side, or an observable, at numbers."""
    if name in flow.observables:
        return float(evaluate(flow.observables[name], values, {}, NUMPY))
    return float(evaluate(flow.rhs[name], values, dict(zip(flow.block(name).indices, place, strict=True)), NUMPY))


def place(gram, n, seeds, rng):
    """Vectors (seeds, rows, n) with the same Gram matrix, V V' / n, in every copy."""
    values, vectors = np.linalg.eigh(np.asarray(gram, float))
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    frames = np.linalg.qr(rng.normal(size=(seeds, n, len(gram))))[0]
    return np.sqrt(n) * root @ np.swapaxes(frames, 1, 2)


def overlap(a, b):
    """(seeds,) from (seeds, n)."""
    return np.einsum("sn,sn->s", a, b) / a.shape[1]


def agrees(flow, start, given, seen, time, n):
    """Means over seeds within 4 standard errors and 3/n (terms of order 1/N) of the integrated equations."""
    kernel = codegen.compile(flow, backend="numpy")
    end = numerics.integrate(kernel, start, given, (0.0, time), [0.0, time], rtol=1e-6).raise_if_failed()
    for name, values in seen.items():
        spread = 4 * values.std(ddof=1) / np.sqrt(len(values)) + 3 / n
        assert abs(values.mean() - end.values[name][-1]) < spread, (name, values.mean(), end.values[name][-1], spread)
    return end


def half_plane(f, rho, low=-9.0, high=9.0):
    """E[f(u, v); low < u < high] for u = lam sgn(nu), v = |nu|, where lam, nu are standard normal with correlation rho.

    Gauss-Legendre nodes where the density 2 phi(u, v) is smooth: v > 0, and u up to an edge.
    """
    p, w = LEGENDRE
    u, wu = (high - low) / 2 * p + (high + low) / 2, (high - low) / 2 * w
    v, wv = 4.5 * (p + 1), 4.5 * w
    U, V = u[:, None], v[None, :]
    density = np.exp(-(U**2 - 2 * rho * U * V + V**2) / 2 / (1 - rho**2)) / np.pi / np.sqrt(1 - rho**2)
    return float(wu @ (f(U, V) * density) @ wv)
