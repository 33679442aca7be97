"""Scalar functions and slopes: printed helpers against mpmath, and slopes against mpmath's numerical derivative (two roads)."""

import mpmath
import numpy as np
import pytest

from codegen import compile
from derive.matrices.composite import elem
from derive.matrices.poly import atom
from derive.matrices.words import Atom
from derive.system import Block, Flow, Function

TRUTH = {
    "erf2": lambda z: mpmath.erf(z / mpmath.sqrt(2)),
    "tanh": mpmath.tanh,
    "relu": lambda z: max(z, 0),
    "exp": mpmath.exp,
    "log": mpmath.log,
    "abs": abs,
    "sq": lambda z: z**2,
    "inv": lambda z: 1 / z,
    "sqrt": mpmath.sqrt,
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "step": lambda z: mpmath.mpf(z > 0),
    "sgn": mpmath.sign,
    "mine": lambda z: z / (1 + z**2) + mpmath.tanh(z),
}
MINE = Function(
    name="mine", variable="z", body=("add", ("mul", "z", ("pow", ("add", 1, ("pow", "z", 2)), -1)), ("map", "tanh", "z"))
)
FEW = ("erf2", "relu", "step", "sgn", "mine")  # for the backend that compiles
ORDERS = {"relu": 1, "abs": 1, "step": 0, "sgn": 0}


def flow(names=tuple(TRUTH)):
    A = atom(Atom("A", "n", "m"))
    seen = {f"{f}{order}": elem(f, A, order) for f in names for order in range(ORDERS.get(f, 2) + 1)}
    kept = {n: p for n, p in seen.items() if p.shape is not None}
    return Flow(
        name="functions", state=(Block(name="A", shape=("n", "m")),), rhs={"A": A}, functions={"mine": MINE}, observables=kept
    )


@pytest.mark.parametrize("backend", ["numpy", "numba", "mpmath"])
def test_functions_and_their_first_two_derivatives(backend):
    system = flow(FEW if backend == "numba" else tuple(TRUTH))
    A = np.array([[0.3, 1.7], [2.9, 0.02]])
    kernel = compile(system, backend)
    arg = np.vectorize(mpmath.mpf, otypes=[object])(A) if backend == "mpmath" else A
    got = dict(zip(kernel.observable_names, kernel.observables(0.0, arg), strict=True))
    assert len(got) == len(system.observables) > 8
    for name, value in got.items():
        f, order = name[:-1], int(name[-1])
        for at in np.ndindex(A.shape):
            want = mpmath.diff(TRUTH[f], mpmath.mpf(A[at]), order) if order else TRUTH[f](mpmath.mpf(A[at]))
            # numerical derivatives of mpmath keep about 15 of its 15 digits at double working precision: 1e-9 for order 2
            assert abs(value[at] - want) <= (1e-9 if order else 1e-14) * max(1, abs(want)), (name, A[at])


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_kinks_and_nan(backend):
    """At the kink: step(0) = 0, sgn(0) = 0, relu(0) = 0; NaN goes through every function."""
    A = np.array([[-1.0, 0.0], [2.0, np.nan]])
    kernel = compile(flow(FEW), backend)
    got = dict(zip(kernel.observable_names, kernel.observables(0.0, A), strict=True))
    assert np.array_equal(got["step0"], [[0, 0], [1, np.nan]], equal_nan=True)
    assert np.array_equal(got["sgn0"], [[-1, 0], [1, np.nan]], equal_nan=True)
    assert np.array_equal(got["relu0"], [[0, 0], [2, np.nan]], equal_nan=True)
    assert all(np.isnan(v[1, 1]) for v in got.values() if not np.all(v == v.flat[0]))
