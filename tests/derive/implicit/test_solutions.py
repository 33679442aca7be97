"""Matrices defined by linear equations: value, gradient, normal form, refusals.

Roads: the dictionary of words (adjoint equation, Kronecker solution) against SciPy's Lyapunov and Sylvester solvers, and
against central differences of values. Invariant subspaces are checked by substituting numbers before and after.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov, solve_sylvester

from derive.errors import InvalidSpec, ShapeMismatch, UnsupportedNode
from derive.flows.check import check_gradient
from derive.matrices.calculus import along, grad, substitute
from derive.matrices.evaluate import evaluate
from derive.matrices.implicit import solution
from derive.matrices.poly import Poly, atom, constant, identity, param
from derive.matrices.words import Atom

RNG = np.random.default_rng(0)


def square(*names: str) -> tuple[Poly, ...]:
    return tuple(atom(Atom(n, "n", "n")) for n in names)


def values(n: int = 4, **more: np.ndarray) -> dict[str, np.ndarray]:
    made = {k: 0.3 * RNG.standard_normal((n, n)) - np.eye(n) for k in "AMN"}
    return {
        **made,
        "B": RNG.standard_normal((n, 2)),
        "C": RNG.standard_normal((2, n)),
        "K": RNG.standard_normal((n, n)),
        **more,
    }


A, M, N, P, K = square("A", "M", "N", "P", "K")
B, C = atom(Atom("B", "n", "m")), atom(Atom("C", "m", "n"))


def test_values_of_the_classical_equations():
    """Against SciPy; 1e-11 because the Kronecker matrix of these points has condition below 1e3."""
    v = values()
    lyapunov = evaluate(solution(A * P + P * A.T + B * B.T, "P"), v)
    assert np.abs(lyapunov - solve_continuous_lyapunov(v["A"], -v["B"] @ v["B"].T)).max() < 1e-11
    sylvester = evaluate(solution(A * P + P * M + K, "P"), v)
    assert np.abs(sylvester - solve_sylvester(v["A"], v["M"], -v["K"])).max() < 1e-11
    small = {**v, "A": v["A"] / 3}
    stein = evaluate(solution(A * P * A.T - P + B * B.T, "P"), small)
    assert np.abs(stein - solve_discrete_lyapunov(small["A"], v["B"] @ v["B"].T)).max() < 1e-11


@pytest.mark.parametrize("equation", [
    A * P + P * A.T + B * B.T,
    A * P * A.T - P + B * B.T,
    A * P + P * M + K,
    A * P.T * M + (N * P).trace() * K + P.scale(3) + B * B.T,
    A * P * M + N * P * K - P.scale(5) + B * C,
], ids=["lyapunov", "stein", "sylvester", "turned and trace", "two words"])  # fmt: skip
def test_gradient_by_the_adjoint_equation(equation: Poly):
    """Against central differences, the bound of `check_gradient` (1e-7) for every letter of the equation."""
    X = solution(equation, "P")
    loss = (X * X.T * K).trace() + (C * X * C.T).trace()
    for letter in "ABKM":
        rows, cols = ("n", "m") if letter == "B" else ("n", "n")
        check_gradient(loss, Atom(letter, rows, cols), grad(loss, Atom(letter, rows, cols)))


def test_gradient_of_a_gradient():
    """A Hessian product: the adjoint solution is differentiated again."""
    X = solution(A * P + P * A.T + B * B.T, "P")
    first = grad((C * X * C.T).trace(), Atom("A", "n", "n"))
    second = (first * first.T).trace()
    check_gradient(second, Atom("A", "n", "n"), grad(second, Atom("A", "n", "n")))


def test_tangent_against_a_difference_quotient():
    v, h = values(), 1e-5
    X = solution(A * P + P * A.T + B * B.T, "P")
    change = evaluate(along(X, {"A": K}), v)
    ahead, behind = (evaluate(X, {**v, "A": v["A"] + s * h * v["K"]}) for s in (1, -1))
    scale = np.abs(change).max()
    assert np.abs(change - (ahead - behind) / (2 * h)).max() < 1e-7 * scale  # h^2 times the third derivative, and 1e-16 / h


def test_mutated_adjoint_is_caught():
    """The check of gradients refuses a factor 2 and a missing transpose."""
    from derive.errors import CheckFailed

    X = solution(A * P + P * A.T + B * C, "P")
    loss = (K * X).trace()
    right = grad(loss, Atom("A", "n", "n"))
    for wrong in (right.scale(2), right.T):
        with pytest.raises(CheckFailed, match="gradient by A"):
            check_gradient(loss, Atom("A", "n", "n"), wrong)


def test_normal_form_is_linear_and_symmetric():
    first, second = (solution(A * P + P * A.T + c, "P") for c in (B * B.T, K))
    both = solution((A * P + P * A.T).scale(3) + (B * B.T + K.scale(2)).scale(3), "P")
    assert both == first + second.scale(2)
    assert first == first.T
    assert solution(A * P + P * A.T + K.T, "P") == second.T
    assert solution(A.T * P + P * A + K.T, "P") == solution(P * A + A.T * P + K, "P").T


def test_one_sided_equations_are_inverses():
    v = values()
    x = atom(Atom("x", "n", 1))
    b, w = atom(Atom("b", "n", 1)), atom(Atom("w", "n", 1))
    v |= {"b": RNG.standard_normal((4, 1)), "w": RNG.standard_normal((4, 1))}
    assert repr(solution(A * P - B * C, "P")) == "(A)^-1*B*C"
    assert np.allclose(evaluate(solution(P * A - K, "P"), v), v["K"] @ np.linalg.inv(v["A"]))
    found = evaluate(solution(A * x + b * (w.T * x) - b, "x"), v)  # w'x is a number in normal form
    assert np.allclose(found, np.linalg.solve(v["A"] + v["b"] @ v["w"].T, v["b"]))


def test_solutions_live_in_the_invariant_subspace_of_their_data():
    """W = R M R', u = R a: the n x n equation is an h x h one; values agree to rounding."""
    R, a = atom(Atom("R", "n", "h", ("orth",))), atom(Atom("a", "h", 1))
    W, u, small = atom(Atom("W", "n", "n")), atom(Atom("u", "n", 1)), atom(Atom("m", "h", "h"))
    one = identity("n")
    full = solution((W - one) * P + P * (W - one).T + u * u.T, "P")
    inside = substitute(full, {"W": R * small * R.T, "u": R * a})
    (key,) = inside.terms
    assert [x.atom.name for x in (key.word[0], key.word[-1])] == ["R", "R"]
    assert key.word[1].atom.rows == "h"
    v = {
        "R": np.linalg.qr(RNG.standard_normal((5, 2)))[0],
        "m": 0.4 * RNG.standard_normal((2, 2)),
        "a": RNG.standard_normal((2, 1)),
    }
    outside = {"W": v["R"] @ v["m"] @ v["R"].T, "u": v["R"] @ v["a"]}
    assert np.allclose(evaluate(inside, v), evaluate(full, outside), atol=1e-13)
    # a subspace that is not invariant is left alone: the solution keeps its size
    kept = substitute(full, {"W": small_general(), "u": R * a})
    assert all(x.atom.name != "a" for key in kept.terms for x in key.word)


def small_general() -> Poly:
    return atom(Atom("G", "n", "n"))


def test_one_by_one_solutions_are_quotients():
    u, c = atom(Atom("u", "n", 1, ("orth",))), param("c")
    W = (constant(1) - c) * u * u.T
    equation = (W - identity("n")) * P + P * (W - identity("n")).T + u * u.T
    assert repr(solution(equation, "P")) == "1/2*u*u'/c"
    assert repr(solution(param("x") * c - param("y"), "x")) == "y/c"


def test_refusals_name_the_unknown_and_the_remedy():
    with pytest.raises(UnsupportedNode, match=r"not linear in P.*by hand"):
        solution(P * P - A, "P")
    with pytest.raises(UnsupportedNode, match=r"not linear in x"):
        solution(param("x") * param("x") - param("c"), "x")
    with pytest.raises(InvalidSpec, match=r"does not determine P.*mend"):
        solution(A + K, "P")
    with pytest.raises(ShapeMismatch, match="every entry"):
        solution(C * P - C, "P")
