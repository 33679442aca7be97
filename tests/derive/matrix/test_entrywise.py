"""Identities of entrywise powers, exponentials and logarithms, and the changes of variables that need them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import sympy as sp

import derive
from derive import fn
from derive.errors import NotInvariant, UnsupportedNode
from derive.matrices.composite import elem, hadamard
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom, param, text
from derive.matrices.words import Atom
from derive.spec.sugar import case, had, norm2
from derive.spec.symbols import dims, matrix, scalars, vector
from tests.derive.closure.roads import AGREE, solved

n, k = dims("n k")
V, z, q = (atom(Atom(name, "n", 1)) for name in ("V", "z", "q"))
P = atom(Atom("P", "n", "n"))
u, B, Y, x = matrix("u", n, k), matrix("B", n, k), matrix("Y", n, k), vector("x", n)
LETTERS = (V, z, q.scale(2), P * z, V + z)
TABLE = {"exp": np.exp, "log": np.log, "sqrt": np.sqrt, "inv": lambda a: 1 / a}


def point(seed: int = 0) -> dict[str, Any]:
    """Positive entries, where every identity is defined."""
    rng = np.random.default_rng(seed)
    return {**{name: rng.uniform(0.3, 2, (3, 1)) for name in "Vzq"}, "P": rng.uniform(0.1, 1, (3, 3))}


def test_words_and_numbers_agree() -> None:
    """Roads: normal form evaluated; NumPy on the values of the arguments. All pairs of functions, nested and multiplied."""
    at = point()
    for p in LETTERS:
        value = evaluate(p, at)
        for outer, inner in itertools.product(TABLE, TABLE):
            with np.errstate(all="ignore"):
                direct = TABLE[outer](TABLE[inner](value))
                if np.isfinite(direct).all():
                    assert np.allclose(evaluate(elem(outer, elem(inner, p)), at), direct, rtol=1e-12)  # a few roundings
                product = TABLE[outer](value) * TABLE[inner](value) * value
            made = hadamard(elem(outer, p), elem(inner, p), p)
            assert np.allclose(evaluate(made, at), product, rtol=1e-12), (outer, inner, text(p))


def test_derivatives_of_any_order() -> None:
    """Roads: words; derivatives of log and sqrt by hand."""
    at = point(1)
    a = at["z"]
    hand = {("log", 1): 1 / a, ("log", 2): -1 / a**2, ("log", 3): 2 / a**3, ("inv", 2): 2 / a**3}
    hand |= {("sqrt", 1): a**-0.5 / 2, ("sqrt", 2): -(a**-1.5) / 4}
    for (function, order), value in hand.items():
        assert np.allclose(evaluate(elem(function, z, order), at), value, rtol=1e-14)  # rounding


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (elem("exp", q + elem("log", P * z) - elem("log", z)), "(P*z o exp(q) o inv(z))"),
        (elem("exp", elem("log", z).scale(3)), "(z o z o z)"),
        (elem("log", hadamard(elem("exp", q), z)), "log(z) + q"),
        (hadamard(elem("sqrt", z), elem("sqrt", z)), "z"),
        (hadamard(elem("inv", elem("sqrt", z)), z), "sqrt(z)"),
        (hadamard(elem("inv", P * z - q), P * z - q, V), "V"),
        (hadamard(elem("exp", q), elem("exp", V - q)), "exp(V)"),
        (elem("exp", elem("log", param("s") + param("r"))), "r + s"),
        (elem("exp", elem("log", z) * param("s")), "exp(s*log(z))"),
        (elem("log", z + q), "log(q + z)"),
    ],
)
def test_normal_forms(made: Poly, shown: str) -> None:
    assert text(made) == shown


def test_transposed_factors_cancel() -> None:
    A = atom(Atom("A", "n", "m"))
    assert text(hadamard(elem("inv", A).T, A.T)) == "ones[m,1]*ones[n,1]'"


# Changes of variables -------------------------------------------------------------------------------------------------------


def flow(rate: Any, *given: Any) -> Any:
    return derive.gradient_flow(derive.Model(name="own", state=u, given=given, learn=derive.Rate({u: rate})))


NEW = {
    "square": (had(u, u), fn.sqrt(B)),
    "exponential": (fn.exp(u), fn.log(B)),
    "logarithm": (fn.log(u), fn.exp(B)),
    "reciprocal": (fn.inv(u), fn.inv(B)),
}


@pytest.mark.parametrize("name", sorted(NEW))
def test_change_of_variables_commutes_with_the_flow(name: str) -> None:
    """Roads: change the start and integrate; integrate and change the end. Held-out maps and equations, positive states."""
    new, inverse = NEW[name]
    system = flow(-had(u, u - Y) - fn.exp(-u) + 1 * Y, Y)
    changed = derive.change_variables(system, {B: new}, {u: inverse})
    rng = np.random.default_rng(3)
    start, given, times = {"u": rng.uniform(0.5, 2, (3, 2))}, {"Y": rng.uniform(0.8, 2, (3, 2))}, np.linspace(0, 1.5, 4)
    assert changed.project_state is not None
    full = solved(system, start, given, times)
    short = solved(changed.system, changed.project_state(given, start), given, times)
    assert np.abs(short["B"] - changed.project_state(given, full)["B"]).max() < AGREE


def test_squares_of_what_is_trained_move_multiplicatively() -> None:
    """B = u o u: B' = -4 B o (gradient by B), word by word."""
    L = scalars("L")
    model = derive.Model(
        name="nmf", state=u, given=Y, let={L: norm2(Y - had(u, u)) / 2}, learn=derive.Rate({u: -derive.grad(L, u)})
    )
    made = derive.change_variables(derive.gradient_flow(model), {B: had(u, u)}, {u: fn.sqrt(B)})
    assert str(made.system.rhs["B"]) == "4*(B o Y) - 4*(B o B)"


def test_a_wrong_inverse_is_refused() -> None:
    with pytest.raises((NotInvariant, derive.InvalidSpec)):
        derive.change_variables(flow(-u), {B: had(u, u)}, {u: B})


# Branches -------------------------------------------------------------------------------------------------------------------


def test_a_drawn_branch_is_averaged_exactly() -> None:
    """Roads: case over a drawn context; the sum over contexts by hand."""
    c, p, L = scalars("c"), scalars("p", positive=True), scalars("L")
    loss = case(c, {1: norm2(x - Y * vector("b", k)) / 2, 2: norm2(x) / 2, 3: norm2(2 * x)})
    data = derive.Choice(c, (1, 2, 3), (p, sp.Rational(1, 4), sp.Rational(3, 4) - p))
    learn = derive.Rate({x: -derive.grad(L, x)})
    model = derive.Model(name="cases", state=x, given=(Y, vector("b", k), p), data=data, let={L: loss}, learn=learn)
    found = derive.gradient_flow(model).rhs["x"]
    assert str(found) == "7*p*x - 25/4*x + p*Y*b"


def test_a_branch_of_a_given_number_is_refused_with_the_remedy() -> None:
    c, L = scalars("c L")
    let, learn = {L: case(c, {1: norm2(x), 2: norm2(2 * x)})}, derive.Rate({x: -derive.grad(L, x)})
    model = derive.Model(name="given", state=x, given=c, let=let, learn=learn)
    with pytest.raises(UnsupportedNode, match=r"Choice\(task.*phases"):
        derive.gradient_flow(model)
