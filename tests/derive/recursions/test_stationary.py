"""Rests in the eigenbasis of H: printed formulas typed here, long iteration, linear solution of all entries, small steps.

Two exact roads to one number differ by rounding, 1e-12 of order-one sums; a solution of linear equations loses two digits more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive import Model, Normal, Update, describe, dot, grad, matrix, recursion, stationary
from derive.errors import InvalidSpec, NotClosed, UnsupportedNode
from derive.recursions.affine_map import affine_map, growth_in_numbers, rest_in_numbers
from derive.recursions.mode_form import K
from tests.derive.recursions.affine_rules import (
    DATA,
    LOSS,
    H,
    averaging,
    d,
    decaying,
    eta,
    heavy_ball,
    lam,
    loss,
    mu,
    regression,
    sigma,
    two_heads,
    w,
    with_offset,
    ws,
    x,
)  # fmt: skip

EXACT = 1e-10  # linear solutions of a few dozen equations of order one, condition number below 1e4
SPECTRUM = np.linspace(0.3, 2.0, 6)
VALUES: dict[str, Any] = {
    "H": np.diag(SPECTRUM), "eta": 0.08, "sigma": 0.5, "B": 2, "d": 6, "ws": np.ones((6, 1)), "mu": 0.6, "lam": 0.2, "rho": 0.1,
}  # fmt: skip


def near(a: Any, b: Any, bound: float = EXACT) -> bool:
    return bool(np.abs(np.asarray(a) - np.asarray(b)).max() <= bound * np.abs(np.asarray(b)).max())


def printed(h: Any, e: float, b: float, s: float) -> tuple[Any, float, float]:
    """Covariance, tau and S of SGD on linear regression at rest."""
    S = e / b * float(np.sum(h / (2 - e * (1 + 1 / b) * h)))
    tau = s**2 * S / (1 - S)
    return e * (tau + s**2) / (b * (2 - e * (1 + 1 / b) * h)), tau, S


def test_regression_has_the_printed_rest() -> None:
    rest = stationary(recursion(regression()), H)
    covariance, tau, S = printed(SPECTRUM, 0.08, 2, 0.5)
    found = rest.evaluate(VALUES)
    assert near(found["X_w"], covariance)
    assert found["tau"] == pytest.approx(tau, rel=EXACT)
    (coupling,) = rest.couplings.values()
    assert coupling == ("X_w", rest.h)  # tau = tr(H X), the one number through which the modes act on each other
    assert rest.S.shape == (1, 1)
    assert pytest.approx(1 - 0.25 * S / tau, rel=EXACT) == S


def test_rest_in_any_basis_is_where_iteration_ends() -> None:
    """A rotated H: the state U x U' stays where it is under one step of the words, and iteration tends to it."""
    rng = np.random.default_rng(1)
    U = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    values = {**VALUES, "H": U @ np.diag(SPECTRUM) @ U.T}
    made = recursion(regression())
    T, c, _ = affine_map(made, values)
    at = stationary(made, "H").state(values)
    flat = np.concatenate([at["m_w"].ravel(), at["X_w"].ravel()])
    assert near(T @ flat + c, flat)
    z = np.concatenate([np.ones(6), np.eye(6).ravel()])
    for _ in range(2000):  # the slowest factor is 1 - 0.08 * 0.3: 0.976^2000 is 1e-21
        z = T @ z + c
    assert near(z[6:], flat[6:])


def test_it_attracts_exactly_when_S_is_below_one() -> None:
    """The step at which the spectral radius of all entries is one, by bisection, against the step at which S is one."""
    made = recursion(regression())

    def growth(e: float) -> float:
        return growth_in_numbers(made, {**VALUES, "eta": e})

    low, high = 0.1, 0.9
    for _ in range(40):  # halves the bracket to 1e-12
        middle = (low + high) / 2
        low, high = (middle, high) if growth(middle) < 1 else (low, middle)
    assert printed(SPECTRUM, low, 2, 0.5)[2] == pytest.approx(1, abs=1e-8)
    assert growth(0.9 * low) < 1 < growth(1.1 * low)


@pytest.mark.parametrize("make", [heavy_ball, averaging, with_offset, two_heads, decaying])
def test_other_rules_against_the_linear_solution(make: Any) -> None:
    """Modes in closed form against all entries of all moments solved at once; entries off the diagonal are not compared."""
    made = recursion(make())
    values = {**VALUES, "p": 3, "bs": np.zeros((3, 1)), "cs": 0.0}
    found, right = stationary(made, H).evaluate(values), rest_in_numbers(made, values)
    for name in found:
        if name in right:
            a = np.asarray(right[name])
            assert np.abs(found[name] - (np.diag(a) if a.shape == (6, 6) else a.ravel())).max() <= EXACT


def test_leading_order_is_isotropic() -> None:
    leading = stationary(recursion(regression()), H).leading(eta)
    B = sp.Symbol("B", integer=True, positive=True)
    assert sp.expand(leading["X_w"] - eta * sigma**2 / (2 * B)) == 0
    covariance = printed(SPECTRUM, 0.08, 2, 0.5)[0]
    off = covariance / (0.08 * 0.25 / 4) - 1
    assert off.min() == pytest.approx(0.20, abs=0.005)  # two printed digits
    assert off.max() == pytest.approx(0.34, abs=0.005)


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    [
        (heavy_ball, "X_w", eta * sigma**2 / (2 * (1 - mu))),  # over B; the effective step is eta / (1 - mu)
        (averaging, "X_v", eta * sigma**2 / 2),  # with rho held while eta vanishes the average follows the weights
        (decaying, "m_w", None),
        (with_offset, "X_c", eta * sigma**2 / 2),  # over B; an offset is one more weight, of eigenvalue one
    ],
)
def test_leading_orders_are_approached(make: Any, name: str, expected: Any) -> None:
    """The leading order over the exact rest tends to one with the step; and it is the formula known from elsewhere."""
    rest = stationary(recursion(make()), H)
    leading = rest.leading(eta)[name]
    if expected is not None:
        batch = sp.Symbol("B", integer=True, positive=True)
        assert sp.cancel(leading - expected / (batch if leading.has(batch) else 1)) == 0
    symbols = {s.name: s for s in leading.free_symbols if isinstance(s, sp.Symbol)}
    h = next(s for n, s in symbols.items() if s == rest.h) if rest.h in symbols.values() else rest.h
    errors = []
    for e in (1e-3, 1e-4):
        here = {**VALUES, "eta": e, "cs": 0.0}
        exact = np.ravel(rest.evaluate(here)[name])[0]
        values = {s: here[n] if n != "ws" else 1.0 for n, s in symbols.items() if n in here}
        errors.append(abs(float(leading.subs({**values, h: SPECTRUM[0]})) / exact - 1))
    assert errors[1] <= max(0.2 * errors[0], EXACT)  # first order: a tenth, with room for the next one


def test_matrices_that_are_no_basis_are_refused() -> None:
    made = recursion(regression())
    with pytest.raises(InvalidSpec, match="symmetric ones are: H"):
        stationary(made, "eta_v")
    A = matrix("A", d, d)
    turned = Update({w: w - eta * A * grad(loss, w)})
    bad = recursion(Model(name="turned", state=w, given=(ws, H, A, eta, sigma), data=DATA, let=LOSS, learn=turned))
    with pytest.raises(NotClosed, match=r"A in .* is no function of H; take the rest in numbers"):
        stationary(bad, H)
    with pytest.raises(InvalidSpec, match="not known to be symmetric"):
        stationary(bad, A)


def test_entries_off_the_diagonal_are_refused() -> None:
    """x is averaged with a fixed direction u: u' X u needs all entries of X."""
    pulled = Update({w: w - eta * dot(ws, w) * x - eta * H * w})
    made = recursion(Model(name="pulled", state=w, given=(ws, H, eta), data=Normal(x, cov=H), learn=pulled))
    with pytest.raises(NotClosed, match="off the diagonal"):
        stationary(made, H)
    with pytest.raises(UnsupportedNode, match="not diagonal"):
        stationary(recursion(decaying()), H).state(VALUES)


def test_a_moment_that_keeps_its_value_has_no_single_rest() -> None:
    still = Update({w: w - eta * dot(w, x) * x})
    free = Model(name="free", state=w, given=(H, eta), data=Normal(x, cov=H), learn=still)
    assert stationary(recursion(free), H).modes["X_w"] == 0  # no noise, nothing at rest
    walk = Model(name="walk", state=w, given=(H, eta), data=Normal(x, cov=H), learn=Update({w: w + eta * x}))
    with pytest.raises(NotClosed, match="no single rest"):
        stationary(recursion(walk), H)


def test_it_prints_and_sums_run_over_modes() -> None:
    rest = stationary(recursion(regression()), H)
    assert "tau = s/(1 - S)" in describe(rest)
    assert "S < 1" in describe(rest, "markdown")
    assert '"kind": "stationary"' in describe(rest, "json")
    assert rest.S[0, 0].limits[0][0] == K
    assert "relative deviation" in rest.checked
    assert lam not in rest.modes["X_w"].free_symbols
