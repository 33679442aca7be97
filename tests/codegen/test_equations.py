"""Kernels that solve linear matrix equations, against SciPy's solvers and the dictionary of words.

Roads: emitted doubling (or a Kronecker solve) against Schur methods of SciPy; 1e-10 relative, rounding times the condition of
equations that are not close to a change of stability.
"""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov, solve_sylvester

from codegen import compile
from derive.matrices.evaluate import evaluate
from derive.matrices.implicit import solution
from derive.matrices.poly import Poly, atom
from derive.matrices.words import Atom
from derive.system import Block, Flow

RNG = np.random.default_rng(1)
A, M, P, K, X = (atom(Atom(n, "n", "n")) for n in ("A", "M", "P", "K", "X"))


def flow(value: Poly) -> Flow:
    blocks = {n: Block(name=n, shape=("n", "n")) for n in "AMK"}
    return Flow(
        name="solved", state=(blocks["A"],), rhs={"A": value + M.scale(0) + K.scale(0)}, parameters=(blocks["M"], blocks["K"])
    )


def kernel_value(value: Poly, v: dict[str, np.ndarray], backend: str = "numpy") -> np.ndarray:
    kernel = compile(flow(value), backend=backend)
    layout = kernel.layout({"A": v["A"]})
    f = kernel.flat_rhs(layout, kernel.arguments({b.name: v[b.name] for b in kernel.parameters}))
    return np.asarray(layout.unpack(f(0.0, layout.pack({"A": v["A"]})))["A"])


def point(n: int, size: float = 0.3, shift: float = 1.0) -> dict[str, np.ndarray]:
    made = {k: size * RNG.standard_normal((n, n)) for k in "AMK"}
    return {"A": made["A"] - shift * np.eye(n), "M": made["M"] - shift * np.eye(n), "K": made["K"]}


@pytest.mark.parametrize("n", [1, 2, 7])
def test_classical_equations(n: int):
    v = point(n)
    near = {**v, "A": v["A"] / 3, "M": v["M"] / 3}
    cases = (
        (A * P + P * A.T + K, v, solve_continuous_lyapunov(v["A"], -v["K"])),
        (K - A * P - P * A.T, v, solve_continuous_lyapunov(v["A"], v["K"])),
        (A * P + P * M + K, v, solve_sylvester(v["A"], v["M"], -v["K"])),
        (A * P * A.T - P + K, near, solve_discrete_lyapunov(near["A"], near["K"])),
    )
    for equation, at, exact in cases:
        assert np.abs(kernel_value(solution(equation, "P"), at) - exact).max() < 1e-10 * (1 + np.abs(exact).max())


@pytest.mark.parametrize("equation", [
    A * P.T * M + P.scale(3) + K, (M * P).trace() * A + P.scale(3) + K, A * P * M + M * P * K + P.scale(4) + K,
    A * P * M - P + K,
], ids=["turned", "trace", "two words", "stein of two"])  # fmt: skip
def test_other_equations_against_the_dictionary(equation: Poly):
    v = point(3)
    value = solution(equation, "P")
    assert np.abs(kernel_value(value, v) - evaluate(value, v)).max() < 1e-11


def test_sylvester_without_stability_is_still_solved():
    """Spectra on both sides of the axis that do not meet: the integral diverges, the equation has one solution."""
    v = point(3)
    v["M"] = -v["A"].T + 0.5 * np.eye(3)
    exact = solve_sylvester(v["A"], v["M"], -v["K"])
    assert np.abs(kernel_value(solution(A * P + P * M + K, "P"), v) - exact).max() < 1e-10 * np.abs(exact).max()


def test_an_unstable_covariance_is_nan_not_a_matrix():
    v = point(3)
    v["A"] = np.diag([-1.0, -0.5, 0.2])
    assert np.isnan(kernel_value(solution(A * P + P * A.T + K, "P"), v)).all()
    v["A"] = np.diag([0.5, 0.3, 1.01])
    assert np.isnan(kernel_value(solution(A * P * A.T - P + K, "P"), v)).all()


def test_nearly_unstable_and_defective_matrices():
    """Doubling needs no eigenvectors: a Jordan block, and a rate of 1e-4 beside one of 10."""
    v = point(3)
    for matrix in (np.array([[-1.0, 1, 0], [0, -1, 1], [0, 0, -1]]), np.diag([-10.0, -1e-4, -1.0]) + 0.0):
        v["A"] = matrix
        exact = solve_continuous_lyapunov(matrix, -v["K"])
        found = kernel_value(solution(A * P + P * A.T + K, "P"), v)
        assert np.abs(found - exact).max() < 1e-11 * np.abs(exact).max()  # the condition 1e5 acts on both in the same entry


def test_fifty_digits():
    v = point(2)
    value = solution(A * P + P * A.T + K, "P")
    with mpmath.workdps(50):
        exact = {n: np.array([[mpmath.mpf(float(x)) for x in row] for row in a], dtype=object) for n, a in v.items()}
        found = kernel_value(value, exact, backend="mpmath")
        rest = exact["A"] @ found + found @ exact["A"].T + exact["K"]
        assert max(abs(x) for x in rest.ravel()) < mpmath.mpf(10) ** -45  # 50 digits less the condition
    assert np.abs(found.astype(float) - kernel_value(value, v)).max() < 1e-13


@pytest.mark.slow
def test_numba_agrees_with_numpy():
    v = point(4)
    value = solution(A * P + P * A.T + K, "P") + solution(A * P + P * M + K, "P")
    assert np.abs(kernel_value(value, v, "numba") - kernel_value(value, v)).max() < 1e-12  # the same sums in another order


def test_names_of_solvers_are_not_given_to_symbols():
    """A user's array called lyapunov does not hide the function."""
    L = atom(Atom("lyapunov", "n", "n"))
    block = Block(name="lyapunov", shape=("n", "n"))
    made = Flow(name="clash", state=(block,), rhs={"lyapunov": solution(L * P + P * L.T + L * L.T, "P")})
    kernel = compile(made, backend="numpy")
    value = -np.eye(2)
    layout = kernel.layout({"lyapunov": value})
    out = layout.unpack(kernel.flat_rhs(layout, ())(0.0, layout.pack({"lyapunov": value})))
    assert np.allclose(out["lyapunov"], np.eye(2) / 2)  # -2 P + 1 = 0
