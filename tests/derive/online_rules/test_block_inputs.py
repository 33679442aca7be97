"""Several dimensions that tend to infinity at fixed ratios: blocks of the input with lengths and variances of their own.

Road one: derived from the spec. Road two: a line of algebra, or SGD with full weights in plain NumPy.
"""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from sympy import Identity, oo, sqrt

from derive import fn
from derive.errors import UnsupportedNode
from derive.fields.rule import field_rule
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import evaluate
from derive.online.limit import online_limit
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Limit, Update
from derive.spec.sugar import dot
from derive.spec.symbols import dims, scalars, vector
from tests.derive.online_rules import curriculum

Nr, Ni = dims("Nr Ni")
N = Nr + Ni
eta, gamma, Delta, rho = scalars("eta gamma Delta rho", positive=True)
lam, L, y = scalars("lam L y")
wr, wi, b, xr, xi = vector("wr", Nr), vector("wi", Ni), vector("b", Nr), vector("xr", Nr), vector("xi", Ni)
RATIO = Limit({Nr: oo, Ni: oo}, fixed={rho: Nr / N})
TIGHT = 1e-12  # rounding of a few hundred operations


def student(g, target, *, limit=RATIO, scale=N, more=(), draws=(), observe=None):
    let = {lam: (dot(wr, xr) + dot(wi, xi)) / sqrt(scale), y: target(dot(b, xr) / sqrt(scale)), L: (g(lam) - y) ** 2 / 2}
    return Model(
        name="two_blocks", state=(wr, wi), given=(b, eta, gamma, Delta, *more),
        data=(Normal(xr), Normal(xi, cov=Delta * Identity(Ni)), *draws), let=let,
        learn=Update({w: w - eta * grad(L, w) - eta * gamma / scale * w for w in (wr, wi)}, dt=1 / scale),
        limit=limit, observe=observe or {"loss": mean(L)},
    )  # fmt: skip


AT = {"Q_wr": 0.8, "R_wr_b": 0.3, "Q_wi": 0.5, "T_b": 0.7, "eta": 0.5, "gamma": 0.2, "Delta": 0.6, "rho": 0.35}


def test_linear_student_by_hand():
    """E = Q_r + D Q_i - 2 R + T; dQ_r = -2 eta (Q_r - R + gamma Q_r) + eta^2 rho E; dQ_i likewise with D and D (1 - rho)."""
    flow = online_limit(student(lambda u: u, lambda u: u))
    assert [s.name for s in flow.state] == ["Q_wr", "R_wr_b", "Q_wi"]
    E = 0.8 + 0.6 * 0.5 - 0.6 + 0.7
    want = {
        "Q_wr": -2 * 0.5 * (0.8 - 0.3 + 0.2 * 0.8) + 0.25 * 0.35 * E,
        "R_wr_b": -0.5 * (0.3 - 0.7 + 0.2 * 0.3),
        "Q_wi": -2 * 0.5 * (0.6 * 0.5 + 0.2 * 0.5) + 0.25 * 0.6 * 0.65 * E,
    }
    for name, value in want.items():
        assert abs(float(evaluate(flow.rhs[name], AT, {}, NUMPY)) - value) < TIGHT
    assert abs(float(evaluate(flow.observables["loss"], AT, {}, NUMPY)) - E / 2) < TIGHT
    assert "steps/(Ni + Nr)" in flow.time


def test_a_scale_of_its_own():
    """Lengths measured in a third dimension: |x_r|^2 = rho_r N, |x_i|^2 = rho_i N, whatever their sum is."""
    D, ri = dims("D"), scalars("rho_i", positive=True)
    c, xd = vector("c", D), vector("xd", D)
    limit = Limit({D: oo, Nr: oo, Ni: oo}, fixed={rho: Nr / D, ri: Ni / D})
    seen = {"e": mean((dot(c, xd) / sqrt(D)) ** 2)}
    flow = online_limit(student(lambda u: u, lambda u: u, limit=limit, scale=D, more=(c,), draws=(Normal(xd),), observe=seen))
    E = 0.8 + 0.6 * 0.5 - 0.6 + 0.7
    at = {**AT, "rho_i": 1.9, "T_c": 0.4}
    want = -2 * 0.5 * (0.6 * 0.5 + 0.2 * 0.5) + 0.25 * 0.6 * 1.9 * E
    assert abs(float(evaluate(flow.rhs["Q_wi"], at, {}, NUMPY)) - want) < TIGHT
    assert abs(float(evaluate(flow.observables["e"], at, {}, NUMPY)) - 0.4) < TIGHT


def test_square_of_an_input_is_self_averaging_with_the_length_of_its_block():
    """w_i -> w_i (1 - eta |x_i|^2 / N^2): |x_i|^2 / N -> (1 - rho) Delta, so dQ_i = -2 eta (1 - rho) Delta Q_i."""
    model = Model(
        name="square", state=(wi,), given=(eta, Delta, b), data=(Normal(xr), Normal(xi, cov=Delta * Identity(Ni))),
        learn=Update({wi: wi - eta * dot(xi, xi) / N**2 * wi}, dt=1 / N), limit=RATIO,
        observe={"e": mean((dot(b, xr) / sqrt(N)) ** 2)},
    )  # fmt: skip
    flow = online_limit(model)
    assert abs(float(evaluate(flow.rhs["Q"], {**AT, "Q": 0.5}, {}, NUMPY)) + 2 * 0.5 * 0.65 * 0.6 * 0.5) < TIGHT


def simulate(steps, size, rng, *, eta=1.5, kappa=0.02, D=0.4):
    """One-pass SGD of 60 perceptrons side by side; starts have exactly R = 0.1, Q_r = Q_i = 0.25, T = 0.5."""
    half, seeds = size // 2, 60
    e = np.linalg.qr(rng.normal(size=(half, 2)))[0].T * np.sqrt(size)
    B = np.sqrt(0.5) * e[0]
    start = 0.1 / np.sqrt(0.5) * e[0] + np.sqrt(0.25 - 0.02) * e[1]
    w = np.tile(np.concatenate([start, np.full(half, np.sqrt(0.5))]), (seeds, 1))
    for _ in range(steps):
        x = rng.normal(size=(seeds, size))
        x[:, half:] *= np.sqrt(D)
        lam, nu = np.sum(w * x, axis=1) / np.sqrt(size), x[:, :half] @ B / np.sqrt(size)
        gain = (NUMPY["erf2"](lam) - np.sign(nu)) * NUMPY["erf2'"](lam)
        w += -eta / np.sqrt(size) * gain[:, None] * x - eta * kappa / size * w
    r, i = w[:, :half], w[:, half:]
    return np.array([r @ B, np.sum(r**2, axis=1), np.sum(i**2, axis=1)]) / size


def test_curriculum_perceptron_against_sgd_with_full_weights():
    entry = curriculum.entry(Delta=0.4)
    flow = online_limit(entry.model)
    names = ("R_W_r_B", "Q_W_r", "Q_W_i")
    fixed = {"T_B": np.array([[0.5]]), "eta": 1.5, "kappa": 0.02, "Delta": 0.4, "rho": 0.5, "K": 1, "M": 1}

    def rhs(t, u):
        at = {**fixed, **{n: np.array([[v]]) for n, v in zip(names, u, strict=True)}}
        return [float(evaluate(flow.rhs[n], at, dict.fromkeys(flow.block(n).indices, 0), NUMPY)) for n in names]

    theory = solve_ivp(rhs, (0, 2), [0.1, 0.25, 0.25], rtol=1e-8).y[:, -1]
    runs = simulate(800, 400, np.random.default_rng(5))
    z = (runs.mean(axis=1) - theory) / (runs.std(axis=1, ddof=1) / np.sqrt(60))
    assert np.max(np.abs(z)) < 5, z  # three Student scores of 59 degrees: false alarm 2e-5, and the seed is fixed
    wrong = solve_ivp(lambda t, u: np.array(rhs(t, u)) * [1.2, 1, 1], (0, 2), [0.1, 0.25, 0.25], rtol=1e-8).y[:, -1]
    assert abs(runs[0].mean() - wrong[0]) > 5 * runs[0].std(ddof=1) / np.sqrt(60)  # a wrong constant would be seen


# ------------------------------------------------------------------------------------------------------------ refusals
@pytest.mark.parametrize(
    ("limit", "remedy"),
    [
        (Limit({Nr: oo, Ni: oo}), r"ratios are not fixed by one scale; write Limit\("),
        (Limit({Nr: oo, Ni: oo}, fixed={rho: Nr / Ni**2}), r"write it as D/\(D \+ E\) or D/N"),
    ],
)
def test_ratios_must_be_fixed(limit, remedy):
    with pytest.raises(UnsupportedNode, match=remedy):
        online_limit(student(lambda u: u, lambda u: u, limit=limit))


def test_the_rule_prints_its_scale():
    rule = field_rule(student(fn.erf2, fn.sgn))
    assert str(rule).startswith("field rule of two_blocks (N = Ni + Nr -> oo)")
    assert not rule.overlaps.together("wr", "wi")
