"""Conditions of optimal controls. Roads: the derived ones, and the same by hand; greedy values. Wrong ones must be caught."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive import Control, Model, Rate, fn, grad, gradient_flow, greedy, mean, online_limit, optimal, scalars, t
from derive.errors import CheckFailed, InvalidSpec, UnsupportedNode
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import const, evaluate, mul
from derive.library.episodes import rl_perceptron
from derive.library.teacher import teacher_student
from derive.matrices.evaluate import evaluate as value_of
from derive.protocols import hamiltonians
from derive.spec.laws import Normal
from derive.spec.rules import Limit, Update
from derive.spec.sugar import dot
from derive.spec.symbols import dims, vector

x, u, a, r = scalars("x u a r")


def effort() -> Model:
    """One weight whose gain 1 + g may be raised at a price, discounted by a clock c."""
    w, c, g, kappa, S, lam, beta, T, L = scalars("w c g kappa S lam beta T L")
    return Model(
        name="effort",
        state=(w, c),
        given=(g, kappa, S, lam, beta, T),
        let={L: (1 - 2 * kappa * w * (1 + g) + S * w**2 * (1 + g) ** 2) / 2 + lam * w**2 / 2},
        learn=Rate({w: -grad(L, w), c: 1}),
        control=Control((g,), fn.exp(-c) * (-L - beta * g**2), T, bounds={g: (0, sp.Rational(1, 2))}),
    )


def line() -> Any:
    return gradient_flow(Model(name="line", state=x, given=(u, a), learn=Rate({x: a * x + u})))


def test_a_gain_with_a_price() -> None:
    """Roads: words of the model's own Control; Hamiltonian, costate and stationarity by hand."""
    found = optimal(gradient_flow(effort()))
    assert found.controls == ("g",)
    assert found.horizon.name == "T"
    v = {"w": 0.3, "c": 0.2, "g": 0.4, "kappa": 2.0, "S": 5.0, "lam": 0.1, "beta": 0.3, "p_w": 0.7, "p_c": -0.2}
    w, g, p, price = 0.3, 0.4, 0.7, np.exp(-0.2)
    loss = (1 - 2 * 2 * w * (1 + g) + 5 * w**2 * (1 + g) ** 2) / 2 + 0.05 * w**2
    slope = -2 * (1 + g) + 5 * w * (1 + g) ** 2 + 0.1 * w  # of the loss by w
    bent = 5 * (1 + g) ** 2 + 0.1
    assert value_of(found.hamiltonian, v) == pytest.approx(
        price * (-loss - 0.3 * g**2) - p * slope - 0.2, rel=1e-13
    )  # rounding
    assert value_of(found.rates["w"], v) == pytest.approx(price * slope + p * bent, rel=1e-13)
    assert value_of(found.rates["c"], v) == pytest.approx(price * (-loss - 0.3 * g**2), rel=1e-13)
    by_gain = price * (2 * w - 5 * w**2 * (1 + g) - 0.6 * g) - p * (-2 + 10 * w * (1 + g))
    assert value_of(found.slopes["g"], v) == pytest.approx(by_gain, rel=1e-13)


def test_stationary_control_is_the_greedy_one_where_the_costate_is_the_gradient() -> None:
    """Roads: dH/d eta = 0 at p = d accuracy / d (Q, R), whatever the horizon; `greedy`, and the printed eta."""
    flow = online_limit(rl_perceptron("all"))
    found, best = optimal(flow, "eta_1", "accuracy"), greedy(flow, "eta_1", "accuracy")
    at = {"Q": 1.3, "R": 0.4, "T": 6, "T_wstar": 1.0}
    assert found.end is not None
    costates = {p: evaluate(found.end.rhs[y], at, {}, NUMPY) for y, p in found.costates.items()}
    eta = evaluate(found.value["eta_1"], {**at, **costates}, {}, NUMPY)
    rho = 0.4 / np.sqrt(1.3)
    printed = 6 * np.sqrt(1.3 / 2 / np.pi) * (1 - rho**2) / (rho * (1 - np.arccos(rho) / np.pi))
    assert eta == pytest.approx(best.at(at), rel=1e-12)  # rounding
    assert eta == pytest.approx(printed, rel=1e-12)
    assert evaluate(found.slopes["eta_1"], {**at, **costates, "eta_1": eta}, {}, NUMPY) == pytest.approx(0, abs=1e-12)


def test_arrays_have_arrays_as_costates() -> None:
    """Roads: indexed derivatives of the linear committee; dH/dR by hand, at K = 3, M = 2."""
    flow = online_limit(teacher_student("linear", train="first", noise=False))
    found = optimal(flow, flow.symbols["eta"], -sp.Symbol("eg"))
    assert [b.symmetric for b in found.field.state] == [True, False, True, False, False]
    rng = np.random.default_rng(1)
    v, A, pR, eta = rng.standard_normal(3), rng.standard_normal(2), rng.standard_normal((3, 2)), 0.3
    pQ = rng.standard_normal((3, 3))
    pQ, E = pQ + pQ.T, rng.standard_normal((5, 5))
    C = E @ E.T  # overlaps of vectors that exist
    known = {"v": v, "A": A, "p_R": pR, "p_Q": pQ, "eta": eta, "Q": C[:3, :3], "R": C[:3, 3:], "T": C[3:, 3:], "K": 3, "M": 2}
    k, m = found.field.block("R").indices
    got = np.array([[evaluate(found.rates["R"], known, {k: i, m: n}, NUMPY) for n in range(2)] for i in range(3)])
    # dR/dt = -eta v (v'R - A'T),  dQ/dt = -eta (v (v'Q - A'R') + transposed) + eta^2 v v' |error|^2 with the error v'lam - A'nu
    by_r = -eta * np.outer(v, pR.T @ v) + 2 * eta * np.outer(pQ @ v, A) - 2 * eta**2 * (v @ pQ @ v) * np.outer(v, A)
    assert np.allclose(got, -by_r, rtol=1e-12, atol=1e-12)  # rounding


@pytest.mark.parametrize("level", ["MatrixLevel", "IndexLevel"])
def test_a_wrong_derivative_is_caught(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The derivative by a state or a control 1 % too large."""
    right = getattr(hamiltonians, level).gradient

    def wrong(self: Any, h: Any, b: Any) -> Any:
        found = right(self, h, b)
        return found.scale(Fraction(101, 100)) if level == "MatrixLevel" else mul(found, const(Fraction(101, 100)))

    monkeypatch.setattr(getattr(hamiltonians, level), "gradient", wrong)
    matrices = level == "MatrixLevel"
    call = (line(), u, -(x**2) / 2) if matrices else (online_limit(rl_perceptron("all")), "eta_1", "accuracy")
    with pytest.raises(CheckFailed):
        optimal(*call)


def test_what_is_refused() -> None:
    flow = line()
    with pytest.raises(InvalidSpec, match="name the control"):
        optimal(flow)
    with pytest.raises(InvalidSpec, match="no parameter of line; it has u, a"):
        optimal(flow, x, -x)
    with pytest.raises(InvalidSpec, match="nothing to make large"):
        optimal(flow, u)
    with pytest.raises(InvalidSpec, match="the objective holds the control u"):
        optimal(flow, u, -x * u)
    with pytest.raises(InvalidSpec, match="which is no control"):
        optimal(flow, u, -x, bounds={a: (0, 1)})
    with pytest.raises(InvalidSpec, match="give the system a clock"):
        optimal(flow, u, -x, running=-t * u**2)
    with pytest.raises(InvalidSpec, match="no observable of line"):
        optimal(flow, u, "loss")
    idle = gradient_flow(Model(name="two", state=(x, r), given=(u, a), learn=Rate({x: -a * x, r: u - r})))
    assert optimal(idle, u, -r).controls == ("u",)
    committee = online_limit(teacher_student("linear", train="first"))
    with pytest.raises(InvalidSpec, match="Q has 2 labels"):
        optimal(committee, "eta", sp.Symbol("Q"))
    with pytest.raises(InvalidSpec, match="the objective holds the control v"):
        optimal(committee, "v", -sp.Symbol("eg"))
    with pytest.raises(UnsupportedNode, match="elementary"):
        optimal(online_limit(teacher_student("relu", train="first")), "eta", -sp.Symbol("eg"))


def test_draws_are_not_part_of_a_price() -> None:
    N, eta = dims("N"), scalars("eta", positive=True)
    w, b, z = vector("w", N), vector("b", N), vector("z", N)
    error = dot(w - b, z) / sp.sqrt(N)
    model = Model(
        name="lms",
        state=(w,),
        given=(b, eta),
        data=(Normal(z),),
        learn=Update({w: w - eta / sp.sqrt(N) * error * z}, dt=1 / N),
        limit=Limit({N: sp.oo}),
        observe={"eg": mean(error**2 / 2)},
    )
    flow = online_limit(model)
    assert optimal(flow, eta, "eg").controls == ("eta",)
    with pytest.raises(UnsupportedNode, match="not read here"):
        optimal(flow, eta, running=-(error**2))
