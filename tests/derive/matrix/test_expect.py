"""Averages over data laws.

Roads: pairings against samples (fixed seed; every z-score is of one number, bound 4: false alarm 6e-5 each, fewer than 60
numbers, so below 0.4 % for the file); against formulas typed from the literature; unit columns against the explicit sum.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from derive.averages.expect import expect
from derive.errors import BudgetExceeded, InvalidSpec, UnsupportedNode
from derive.matrices.composite import elem, hadamard, scalar_power
from derive.matrices.convert import to_poly
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom, constant, identity, param, text
from derive.matrices.words import Atom
from derive.spec.lowered import Draw

SHAPES = {
    "X": ("N", "T"), "Z": ("N", "T"), "x": ("N", 1), "y": ("M", 1), "r": (), "q": (), "A": ("N", "N"), "B": ("T", "T"),
    "w": ("N", 1), "Lam": ("N", "N"), "mu": ("N", 1), "Sx": ("N", "N"), "Syx": ("M", "N"), "Sry": ("M", 1), "mx": ("N", 1),
    "P": (), "s": ("P", 1), "G": ("N", "P"), "V": ("M", "N"), "v": ("N", 1), "p": ("P", 1), "lam": (),
}  # fmt: skip
TAGS = {"Lam": ("sym",), "Sx": ("sym",)}
KNOWN = [*SHAPES, "N", "T", "M"]


def read(tree) -> Poly:
    return to_poly(tree, SHAPES, tags=TAGS)


def a(name: str) -> Poly:
    return read(name)


def law(kind: str, *names: str, **rest) -> Draw:
    return Draw(law=kind, symbols=names, shapes={n: SHAPES[n] for n in names}, **rest)


def averaged(p: Poly, *draws: Draw, known=KNOWN) -> Poly:
    return expect(p, draws, read, known=known)


GAUSSIAN = (law("Normal", "X", cov="Lam"), law("Normal", "Z"))


def numbers(rng, N=3, T=2):
    root = rng.standard_normal((N, N))
    return {
        "A": rng.standard_normal((N, N)), "B": rng.standard_normal((T, T)), "w": rng.standard_normal((N, 1)),
        "Lam": root @ root.T / N + np.eye(N), "mu": rng.standard_normal((N, 1)), "lam": 0.7,
    }  # fmt: skip


def samples(rng, values, count, N=3, T=2):
    root = np.linalg.cholesky(values["Lam"])
    return {"X": root @ rng.standard_normal((count, N, T)), "Z": rng.standard_normal((count, N, T))}


def words(degree: int) -> list[Poly]:
    """Products of Gaussian matrices with transposed and mixed letters, as numbers and with an open word."""
    X, Z, A, B, w = (a(n) for n in "XZABw")
    two = [(X * B * X.T * A).trace(), A * X * B * X.T * w, (X * B.T * Z.T).trace() + (Z.T * A * Z).trace()]
    if degree == 2:
        return two
    four = [(X * X.T * A * X * B * X.T).trace(), (X * B * X.T * A).trace() * (Z.T * A * Z).trace(), X * Z.T * A * Z * X.T * w]
    if degree == 4:
        return [*four, (X.T * A * Z).trace() * (Z.T * X).trace(), (X * B * Z.T).trace() * X * B * Z.T * w]
    return [four[0] * (X * X.T).trace(), (X * Z.T * X * B * Z.T * A * X * Z.T).trace(), X * B * X.T * Z * Z.T * X * X.T * w]


@pytest.mark.parametrize("degree", [2, 4, 6])
def test_gaussian_averages_agree_with_samples(degree):
    rng = np.random.default_rng(degree)
    values, count = numbers(rng), 40_000
    drawn = samples(rng, values, count)
    for p in words(degree):
        exact = np.atleast_1d(evaluate(averaged(p, *GAUSSIAN), values, sizes={"T": 2, "N": 3}))
        sampled = np.reshape(evaluate(p, {**values, **drawn}), (count, *exact.shape))
        error = sampled.std(axis=0) / np.sqrt(count)
        assert (np.abs(sampled.mean(axis=0) - exact) <= 4 * error).all(), text(p)  # z-score, see the module


def test_the_sample_test_can_fail():
    rng = np.random.default_rng(4)
    values, count = numbers(rng), 40_000
    p = words(4)[0]
    right = averaged(p, *GAUSSIAN)
    key, c = next(right.items())
    wrong = right - Poly(None, {key: c})
    sampled = evaluate(p, {**values, **samples(rng, values, count)})
    z = [abs(sampled.mean() - evaluate(e, values, sizes={"T": 2})) / (sampled.std() / np.sqrt(count)) for e in (right, wrong)]
    assert z[0] <= 4 < z[1]  # the missing pairing stands out


def test_in_context_regression_moment():
    """b = X X' w / T, w white, columns of X of covariance Lam. Typed here: E b b' = Lam^2 (1 + 1/T) + tr(Lam) Lam / T."""
    b = a("X") * a("X").T * a("w") * param("T", -1)
    found = averaged(b * b.T, law("Normal", "w"), law("Normal", "X", cov="Lam"))
    Lam, T = a("Lam"), param("T", -1)
    assert found == Lam * Lam + T * Lam * Lam + T * Lam.trace() * Lam


def test_third_moment_of_a_wishart_matrix():
    """Against E tr (Z Z')^3 = N T (N^2 + T^2 + 3 N T + 3 N + 3 T + 4)."""
    W = a("Z") * a("Z").T
    N, T = param("N"), param("T")
    expected = N * T * (N * N + T * T + (N * T + N + T).scale(3) + constant(4))
    assert averaged((W * W * W).trace(), law("Normal", "Z")) == expected


def test_mean_is_split_off_and_earlier_draws_may_enter_the_law():
    x, mu, Lam = a("x"), a("mu"), a("Lam")
    assert averaged(x * x.T, law("Normal", "x", cov="Lam", mean="mu")) == Lam + mu * mu.T
    mixture = (law("Choice", "r", values=((1,), (-1,))), law("Normal", "x", mean=("mul", "r", "mu")))
    assert averaged(param("r") * x, *mixture) == mu
    assert averaged(x, *mixture) == mu - mu
    noise = (law("Normal", "q"), law("Normal", "r", cov=("pow", "q", 2)))
    assert averaged(param("r", 4), *noise) == constant(9)  # 3 E q^4


def test_draws_that_are_made_once_stay():
    X = a("X")
    assert averaged(X * X.T, law("Normal", "X", once=True)) == X * X.T


def test_degree_cap_and_odd_degrees():
    W = a("Z") * a("Z").T
    with pytest.raises(BudgetExceeded, match="lower the degree"):
        averaged(scalar_power(W.trace(), Fraction(7)), law("Normal", "Z"))
    assert not averaged(W * a("Z"), law("Normal", "Z"))


OPEN = law(
    "Moments", "x", "y", "r",
    moments=((("matmul", "x", ("T", "x")), "Sx"), (("matmul", "y", ("T", "x")), "Syx"), (("mul", "r", "y"), "Sry"), ("x", "mx"),
             (("trace", ("matmul", ("T", "y"), "y")), "lam")),
)  # fmt: skip


def test_open_law_uses_its_names_in_both_orders_and_makes_missing_ones():
    x, y, A, w = a("x"), a("y"), a("A"), a("w")
    Sx, Syx = a("Sx"), a("Syx")
    assert averaged(x.T * A * x * w.T, OPEN) == (A * Sx).trace() * w.T
    assert averaged(y * x.T, OPEN) == Syx
    assert averaged(A * x * y.T, OPEN) == A * Syx.T
    assert averaged((w.T * x).trace() * y, OPEN) == Syx * w
    assert averaged(scalar_power((w.T * x).trace(), Fraction(2)), OPEN) == (w.T * Sx * w).trace()
    assert averaged(param("r") * y, OPEN) == a("Sry")
    assert averaged((y.T * y).trace(), OPEN) == param("lam")
    assert averaged(x + w, OPEN) == a("mx") + w
    assert text(averaged(y * y.T, OPEN)) == "Syy"
    assert text(averaged(param("r", 2), OPEN)) == "Srr"
    assert text(averaged(param("r") * x.T, OPEN)) == "Sxr'"


def test_a_made_name_that_is_taken_is_refused():
    with pytest.raises(InvalidSpec, match=r"Syy is taken; name this average"):
        averaged(a("y") * a("y").T, OPEN, known=[*KNOWN, "Syy"])


def test_open_law_refuses_higher_degrees():
    with pytest.raises(UnsupportedNode, match="use Normal"):
        averaged((a("x").T * a("x")).trace() * a("x"), OPEN)


def test_parity():
    even = law("Moments", "x", "r", moments=((("matmul", "x", ("T", "x")), "Sx"),), even=("r",))
    assert not averaged(param("r") * a("x"), even)
    assert not averaged(a("x"), even)
    assert averaged(a("x") * a("x").T, even) == a("Sx")
    assert text(averaged(param("r"), even)) == "mr"


def test_choice_of_values_also_inside_functions():
    coin = law("Choice", "r", values=((2,), (-1,)), probs=(("frac", 1, 3), ("frac", 2, 3)))
    assert averaged(param("r"), coin) == constant(0)
    found = averaged(elem("tanh", param("r") * param("lam")), coin)
    expected = np.tanh(1.4) / 3 + 2 * np.tanh(-0.7) / 3
    assert abs(evaluate(found, {"lam": 0.7}) - expected) < 1e-15  # one rounding


def items() -> list[Poly]:
    s, G, V, A, w, v = (atom(Atom("s", "P", 1)), *(a(n) for n in "GVAwv"))
    x = G * s
    h = elem("tanh", A * x + w)
    return [
        x, x * x.T, (x.T * A * x).trace(), h, h * x.T, (h.T * h).trace() * x, hadamard(h, A * x, x), x.T * A * h * x.T,
        elem("exp", (w.T * x).trace()) * (v.T * h).trace(), scalar_power((h.T * h).trace() + constant(1), Fraction(-1, 2)) * x,
        V * elem("tanh", h - A * h) * h.T, scalar_power((x.T * x).trace(), Fraction(1, 2)), elem("tanh", x.T * A) * w,
        scalar_power((x.T * A * x).trace(), Fraction(2)) * x * x.T, constant(1).scale(3),
    ]  # fmt: skip


@pytest.mark.parametrize("weighted", [False, True])
def test_unit_columns_against_the_explicit_sum(weighted):
    rng = np.random.default_rng(7)
    P = 5
    values = {n: rng.standard_normal((3, 3)) for n in "A"} | {n: rng.standard_normal((3, 1)) for n in "wv"}
    values |= {"G": rng.standard_normal((3, P)), "V": rng.standard_normal((2, 3)), "p": rng.dirichlet(np.ones(P))[:, None]}
    draw = law("Choice", "s", probs="p" if weighted else None)
    weights = values["p"][:, 0] if weighted else np.full(P, 1 / P)
    for p in items():
        direct = sum(weights[k] * evaluate(p, {**values, "s": np.eye(P)[:, [k]]}) for k in range(P))
        found = evaluate(averaged(p, draw), values, sizes={"P": P})
        assert np.abs(found - direct).max() < 1e-13 * (1 + np.abs(direct).max()), text(p)  # rounding of five terms


def test_unit_columns_leave_no_inverse():
    s, G = atom(Atom("s", "P", 1)), a("G")
    from derive.matrices.composite import inverse

    with pytest.raises(UnsupportedNode, match="inverse"):
        averaged(inverse(identity("N") + G * s * s.T * G.T), law("Choice", "s"))


def test_undeclared_letters_and_random_composites_are_refused():
    with pytest.raises(InvalidSpec, match=r"Q in .* is not declared"):
        averaged(atom(Atom("Q", "N", "N")), *GAUSSIAN)
    with pytest.raises(UnsupportedNode, match="bind the data"):
        averaged(elem("tanh", a("A") * a("x")), OPEN)
    with pytest.raises(UnsupportedNode, match="natural powers"):
        averaged(scalar_power((a("X") * a("X").T).trace(), Fraction(-1)), *GAUSSIAN)
    with pytest.raises(UnsupportedNode, match="Marginal"):
        averaged(a("x"), law("Marginal", "x"))
