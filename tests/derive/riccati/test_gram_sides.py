"""Gram matrices on either side of a matrix, and Riccati equations whose field is any symmetric expression of given arrays."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp

import derive
from derive.errors import NoClosedForm, NotInvariant
from derive.reductions.ansatz import Gram
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import dims, matrix, scalars
from tests.derive.closure.roads import AGREE, assert_same_roads, solved

h, d, m = dims("h d m")
W, X, S, A, B = matrix("W", h, d), matrix("X", d, m), matrix("S", m, m), matrix("A", d, d), matrix("B", h, h)
L, lam = scalars("L"), scalars("lam", positive=True)


def similarity(decay: bool = True) -> Any:
    """Quartic loss of similarities of white data with weight decay; not a system of the catalogue."""
    loss = norm2(X.T * W.T * W * X - S) / m**2 + (lam * norm2(W) if decay else 0)
    return derive.gradient_flow(
        derive.Model(
            name="similarity", state=W, given=(X, S, *((lam,) if decay else ())), let={L: loss},
            learn=derive.Rate({W: -derive.grad(L, W)}), facts=sp.Eq(X * X.T / m, sp.Identity(d)), observe={"loss": L},
        )
    )  # fmt: skip


def values(rows: int = 3, items: int = 8, hidden: int = 5, seed: int = 0) -> tuple[dict[str, Any], Any]:
    rng = np.random.default_rng(seed)
    white = np.linalg.qr(rng.normal(size=(items, rows)))[0].T * np.sqrt(items)
    given = {"X": white, "S": 3 * rng.normal(size=(items, items)), "lam": 0.2, "m": items}
    return given, 0.5 * rng.normal(size=(hidden, rows))


@pytest.mark.parametrize("hidden", [5, 3, 1])
def test_closed_form_follows_the_weights(hidden: int) -> None:
    """Roads: closed form of W'W through the semigroup; DOP853 on W, also below full rank (the start is W itself)."""
    flow = similarity()
    given, start = values(hidden=hidden)
    times = np.array([0.0, 0.5, 2.0, 6.0])
    form = derive.closed_form(derive.reduce(flow, Gram()))
    assert form.evaluate is not None
    found = form.evaluate(times, {"W": start}, given)["M"]
    path = solved(flow, {"W": start}, given, times)["W"]
    assert np.abs(found - np.swapaxes(path, 1, 2) @ path).max() < 1e-9  # a thousand times the rtol of the integration


def test_closed_form_by_hand_in_fifty_digits() -> None:
    """Roads: evaluation of the engine; e^(Ft) [M0^-1 + g int e^(2Fr)]^-1 e^(Ft) by mpmath, with the field worked out by hand.

    Loss |X'MX - S|^2/m^2 + lam |W|^2 of white data: W' = -4 W (M - (P + P')/2) - 2 lam W with P = X S X'/m^2.
    """
    given, start = values()
    form = derive.closed_form(derive.reduce(similarity(), Gram()))
    assert form.evaluate is not None
    found = form.evaluate([0.7], {"M": start.T @ start}, given)["M"][0]
    P = given["X"] @ given["S"] @ given["X"].T / given["m"] ** 2
    field = 2 * (P + P.T) - 2 * given["lam"] * np.eye(3)
    with mpmath.workdps(50):
        F, M0, t = mpmath.matrix(field.tolist()), mpmath.matrix((start.T @ start).tolist()), mpmath.mpf("0.7")
        grown = mpmath.expm(F * t, method="taylor")
        total = (grown * grown - mpmath.eye(3)) * F**-1 / 2
        hand = grown * (M0**-1 + 8 * total) ** -1 * grown
        exact = np.array(hand.tolist(), dtype=float)
    assert np.abs(found - exact).max() < 1e-13 * np.abs(exact).max()  # rounding of a few products of condition 1e2


def test_the_side_is_found() -> None:
    """W' = W A - W W'W closes in W'W, W' = B W - W W'W in W W', W' = B W A - W in neither."""

    def gram(rate: Any, *given: Any) -> Any:
        return derive.reduce(
            derive.gradient_flow(derive.Model(name="q", state=W, given=given, learn=derive.Rate({W: rate}))), Gram()
        )

    right, left = gram(W * A - W * W.T * W, A), gram(B * W - W * W.T * W, B)
    assert str(right.system.rhs["M"]) == "A'*M + M*A - 2*M*M"
    assert right.system.state[0].shape == ("d", "d")
    assert left.system.state[0].shape == ("h", "h")
    with pytest.raises(NotInvariant, match=r"nor in W'\*W.*keep W"):
        gram(B * W * A - W, A, B)


def test_traces_of_the_gram_matrix_close_too() -> None:
    """A normalised flow: tr(W A W') is tr(A M), also around the corner. Roads: reduced and full flow."""
    rate = W * A - dot(W, W * A) * W
    flow = derive.gradient_flow(
        derive.Model(name="sphere", state=W, given=A, learn=derive.Rate({W: rate}), observe={"n": norm2(W)})
    )
    reduction = derive.reduce(flow, Gram())
    assert reduction.system.observables.keys() == {"n"}
    rng = np.random.default_rng(2)
    start = {"W": rng.normal(size=(4, 3)) / 3}
    assert_same_roads(reduction, {"A": rng.normal(size=(3, 3))}, start, np.linspace(0, 2, 5))


def test_a_closure_by_words_is_solved_too() -> None:
    """`complete` with W'W gives the same equation; its solution accepts W as a start, on the right side."""
    flow = similarity(decay=False)
    closed = derive.complete(flow, {"M": W.T * W})
    form = derive.closed_form(closed)
    given, start = values()
    assert form.evaluate is not None
    at = [form.evaluate([1.0], begin, given)["M"] for begin in ({"W": start}, {"M": start.T @ start})]
    assert np.abs(at[0] - at[1]).max() < AGREE


def test_what_is_no_riccati_equation_is_refused() -> None:
    """A field that is not symmetric; a cubic term."""
    M = matrix("M", d, d)
    for rate in (A * M + M * A - M * M, -M * M * M):
        flow = derive.gradient_flow(
            derive.Model(name="m", state=M, given=(A,) if rate.has(A) else (), learn=derive.Rate({M: rate}))
        )
        with pytest.raises(NoClosedForm, match="integrate"):
            derive.closed_form(flow)
