"""Rules other than the committee: what is extracted from a spec, what is refused, and with which remedy."""

import numpy as np
import pytest
from sympy import Rational, oo, sqrt

from derive import fn
from derive.errors import CheckFailed, DerivationError, InvalidSpec, UnsupportedNode
from derive.fields.rule import field_rule
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import const, evaluate, mul
from derive.library.teacher import teacher_student
from derive.online.check import checked
from derive.online.limit import online_limit
from derive.spec.laws import Choice, Marginal, Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean, stop
from derive.spec.rules import Limit, Rate, Update
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import activation, dims, matrix, scalars, vector

N, K, M = dims("N K M")
eta, sigma, kappa = scalars("eta sigma kappa", positive=True)
y, f, L, zeta = scalars("y f L zeta")
W, B, w, b, x = matrix("W", K, N), matrix("B", M, N), vector("w", N), vector("b", N), vector("x", N)
v, A = vector("v", K), vector("A", M)
TIGHT = 1e-12  # rounding of a few hundred operations


INPUT = (Normal(x),)


def perceptron(step, *, given=(b, eta), let=None, data=INPUT, observe=None, dt=1 / N, **more):
    """A single vector w that learns from a fixed one b; ``step`` is the move of w."""
    return Model(
        name="perceptron", state=(w,), given=given, data=data, let=let or {}, learn=Update({w: w + step}, dt=dt),
        limit=Limit({N: oo}), observe=observe or {}, **more,
    )  # fmt: skip


def single(flow, name, **values):
    return float(evaluate(flow.rhs[name], values, {}, NUMPY))


def test_field_rule_is_a_value_that_prints():
    text = str(field_rule(teacher_student(train="first", noise=False)))
    assert "erf2'(W.x[k])" in text
    assert text.splitlines()[0].endswith("A.x = A x/sqrt(N)")


def test_hebbian_rule_with_sign_teacher_is_no_gradient():
    """Road two, by hand: E[sgn(nu) lam] = sqrt(2/pi) R / sqrt(T); dQ = 2 eta E[sgn(nu) lam] + eta^2."""
    flow = online_limit(perceptron(eta / sqrt(N) * fn.sgn(dot(b, x) / sqrt(N)) * x))
    assert [s.name for s in flow.state] == ["Q", "R"]
    at = {"Q": 0.8, "R": 0.3, "T": 1.4, "eta": 0.5}
    assert abs(single(flow, "R", **at) - 0.5 * np.sqrt(2 / np.pi) * np.sqrt(1.4)) < TIGHT
    assert abs(single(flow, "Q", **at) - (2 * 0.5 * np.sqrt(2 / np.pi) * 0.3 / np.sqrt(1.4) + 0.25)) < TIGHT


def test_sign_teacher_of_an_erf_student():
    """Road two: I3 and I4 of the erf committee with 1 + C_cc replaced by C_cc in the sign's slot, typed here."""
    lam, nu = dot(w, x) / sqrt(N), dot(b, x) / sqrt(N)
    flow = online_limit(perceptron(-eta * grad(L, w), let={L: (fn.erf2(lam) - fn.sgn(nu)) ** 2 / 2}, observe={"eg": mean(L)}))
    q, r, t = 0.8, 0.3, 1.4
    want = -0.5 * (2 / np.pi) * r / (1 + q) / np.sqrt(1 + 2 * q)  # I3(a, R-slot, a): C_bc (1 + C_aa) - C_ab C_ac = r
    want += 0.5 * (2 / np.pi) / np.sqrt((1 + q) * t - r**2) * (t * (1 + q) - r**2) / (1 + q)
    assert abs(single(flow, "R", Q=q, R=r, T=t, eta=0.5) - want) < TIGHT
    eg = 0.5 * (2 / np.pi) * np.arcsin(q / (1 + q)) - (2 / np.pi) * np.arcsin(r / np.sqrt(t * (1 + q))) + 0.5
    assert abs(float(evaluate(flow.observables["eg"], {"Q": q, "R": r, "T": t}, {}, NUMPY)) - eg) < TIGHT


def test_variance_of_the_input_and_of_the_noise():
    """Linear regression with x ~ N(0, D I), noise variance s: dQ = -2 eta D (Q - R) + eta^2 D (D E + s), E = Q - 2R + T."""
    D, s = scalars("D s", positive=True)
    from sympy import Identity

    err = dot(w, x) / sqrt(N) - dot(b, x) / sqrt(N) - zeta
    model = perceptron(
        -eta / sqrt(N) * err * x, given=(b, eta, D, s), data=(Normal(x, cov=D * Identity(N)), Normal(zeta, cov=s)),
        observe={"mse": mean(err**2)},
    )  # fmt: skip
    flow = online_limit(model)
    at = {"Q": 0.8, "R": 0.3, "T": 1.4, "eta": 0.5, "D": 1.7, "s": 0.2}
    E = 0.8 - 0.6 + 1.4
    assert abs(single(flow, "Q", **at) - (-2 * 0.5 * 1.7 * 0.5 + 0.25 * 1.7 * (1.7 * E + 0.2))) < TIGHT
    assert abs(float(evaluate(flow.observables["mse"], at, {}, NUMPY)) - (1.7 * E + 0.2)) < TIGHT


def test_weight_penalty_inside_the_loss_is_a_decay():
    let = {L: (dot(w, x) / sqrt(N) - dot(b, x) / sqrt(N)) ** 2 / 2 + kappa * norm2(w) / (2 * N)}
    penalty = online_limit(perceptron(-eta * grad(L, w), given=(b, eta, kappa), let=let))
    plain = online_limit(perceptron(-eta * grad(L, w), let={L: (dot(w, x) / sqrt(N) - dot(b, x) / sqrt(N)) ** 2 / 2}))
    at = {"Q": 0.8, "R": 0.3, "T": 1.4, "eta": 0.5, "kappa": 0.3}
    assert abs(single(penalty, "R", **at) - single(plain, "R", **at) + 0.5 * 0.3 * 0.3) < TIGHT
    assert abs(single(penalty, "Q", **at) - single(plain, "Q", **at) + 2 * 0.5 * 0.3 * 0.8) < TIGHT


def test_momentum_is_a_second_family():
    """w += m/N, m += -gamma m/N - eta err x/sqrt N. By hand: Q_w' = 2 Q_wm, Q_wm' = Q_m - gamma Q_wm - eta (Q_w - R_wb)."""
    m, gamma = vector("m", N), scalars("gamma", positive=True)
    err = dot(w, x) / sqrt(N) - dot(b, x) / sqrt(N)
    model = Model(
        name="momentum", state=(w, m), given=(b, eta, gamma), data=(Normal(x),),
        learn=Update({w: w + m / N, m: m - gamma / N * m - eta / sqrt(N) * err * x}, dt=1 / N), limit=Limit({N: oo}),
    )  # fmt: skip
    flow = online_limit(model)
    assert [s.name for s in flow.state] == ["Q_w", "Q_w_m", "R_w_b", "Q_m", "R_m_b"]
    at = {"Q_w": 0.9, "Q_w_m": 0.2, "R_w_b": 0.4, "Q_m": 0.6, "R_m_b": 0.1, "T_b": 1.3, "eta": 0.5, "gamma": 0.7}
    assert abs(single(flow, "Q_w", **at) - 0.4) < TIGHT
    assert abs(single(flow, "Q_w_m", **at) - (0.6 - 0.14 - 0.5 * 0.5)) < TIGHT
    E = 0.9 - 0.8 + 1.3
    assert abs(single(flow, "Q_m", **at) - (-1.4 * 0.6 - 2 * 0.5 * (0.2 - 0.1) + 0.25 * E)) < TIGHT


def test_two_teachers_and_a_taken_name():
    R0, c, E1 = scalars("R T Q")
    C = matrix("C", M, N)
    h = vector("h", M)
    model = Model(
        name="two_teachers", state=(W,), given=(v, A, h, B, C, eta, R0, c, E1), data=(Normal(x),),
        let={
            y: R0 * dot(A, fn.erf2(B * x / sqrt(N))) + c * dot(h, fn.erf2(C * x / sqrt(N))) + E1,
            L: (dot(v, fn.erf2(W * x / sqrt(N))) - y) ** 2 / 2,
        },
        learn=Update({W: W - eta * grad(L, W)}, dt=1 / N), limit=Limit({N: oo}),
    )  # fmt: skip
    flow = online_limit(model)
    assert [s.name for s in flow.state] == ["Q_W", "R_W_B", "R_W_C"]
    assert {"T_B", "T_B_C", "T_C", "R", "T", "Q"} <= {p.name for p in flow.parameters}


def test_indexed_noise_brings_kronecker_deltas():
    """Each unit has a noise of its own: dQ_kl gets eta^2 s delta_kl and nothing else."""
    z, s = vector("z", K), scalars("s", positive=True)
    model = Model(
        name="node_noise", state=(W,), given=(eta, s), data=(Normal(x), Normal(z)),
        learn=Update({W: W + eta * s / sqrt(N) * z * x.T}, dt=1 / N), limit=Limit({N: oo}),
    )  # fmt: skip
    flow = online_limit(model)
    assert repr(flow.rhs["Q"]) == "delta[k,l]*eta^2*s^2"


def test_stop_is_not_differentiated():
    lam, nu = dot(w, x) / sqrt(N), dot(b, x) / sqrt(N)
    semi = online_limit(perceptron(-eta * grad(L, w), let={L: (lam - stop(2 * lam) - nu) ** 2 / 2}))
    assert abs(single(semi, "R", Q=0.8, R=0.3, T=1.4, eta=0.5) - 0.5 * (0.3 + 1.4)) < TIGHT  # d = -eta E[(-lam - nu) nu]


def test_users_polynomial_activation_is_exact():
    """g(z) = z + a z^3 for w = the only vector: E[g(lam)^2] = Q + 6 a Q^2 + 15 a^2 Q^3."""
    a = scalars("a")
    g = activation("cubic", lambda z: z + a * z**3)
    err = g(dot(w, x) / sqrt(N)) - fn.sq(dot(b, x) / sqrt(N))
    flow = online_limit(
        perceptron(-eta / sqrt(N) * err * x, given=(b, eta, a), observe={"e": mean(g(dot(w, x) / sqrt(N)) ** 2)})
    )
    assert (
        abs(float(evaluate(flow.observables["e"], {"Q": 0.7, "a": 0.2}, {}, NUMPY)) - (0.7 + 1.2 * 0.49 + 0.6 * 0.343)) < TIGHT
    )


def relu_two(C, i, j):
    a, b = np.sqrt(C[i, i]), np.sqrt(C[j, j])
    th = np.arccos(np.clip(C[i, j] / a / b, -1, 1))
    return a * b / 2 / np.pi * (np.sin(th) + (np.pi - th) * np.cos(th))


def relu_three(C, a, b, c):
    th = np.arccos(np.clip(C[a, c] / np.sqrt(C[a, a] * C[c, c]), -1, 1))
    area = np.sqrt(max(C[a, a] * C[c, c] - C[a, c] ** 2, 0.0))
    return (C[a, b] * area / C[a, a] + C[b, c] * (np.pi - th)) / 2 / np.pi


@pytest.mark.parametrize("same", [False, True])
def test_relu_population_flow(same):
    """Against the arc-cosine forms of <a+ b+> and <step(a) b c+>, typed above; also with teacher = second student."""
    flow = online_limit(teacher_student("relu"), noise="none")
    V = np.random.default_rng(1).normal(size=(3, 9))
    if same:
        V[2] = V[1]
    C, c = V @ V.T / 9, np.array([0.5, -0.3, -0.9])
    s = {"Q": C[:2, :2], "R": C[:2, 2:], "T": C[2:, 2:], "v": c[:2], "A": -c[2:], "K": 2, "M": 1, "eta": 0.6, "eta_v": 0.4}
    for name in ("Q", "R", "v"):
        labels = flow.block(name).indices
        for place in np.ndindex(*(s[i.family] for i in labels)):
            if name == "v":
                want = -0.4 * sum(c[i] * relu_two(C, place[0], i) for i in range(3))
            else:
                k, p = place[0], place[1] + (2 if name == "R" else 0)
                want = -0.6 * c[k] * sum(c[i] * relu_three(C, k, p, i) for i in range(3))
                if name == "Q":
                    want -= 0.6 * c[p] * sum(c[i] * relu_three(C, p, k, i) for i in range(3))
            got = evaluate(flow.rhs[name], s, dict(zip(labels, place, strict=True)), NUMPY)
            assert abs(got - want) < 1e-7  # arccos of a correlation of 1 keeps half of the digits


# ------------------------------------------------------------------------------------------------------------- refusals
NU = dot(b, x) / sqrt(N)
HEBB = fn.sgn(NU) * x
REFUSED = {
    "no sqrt(N) in the field": (
        lambda: perceptron(eta / sqrt(N) * fn.sgn(dot(b, x)) * x),
        r"products such as W\*x by sqrt\(N\)",
    ),
    "step too large": (lambda: perceptron(eta * HEBB), r"diverges; multiply it by N\^\(-1/2\)"),
    "step too small": (lambda: perceptron(eta / N * HEBB), r"vanishes in the limit; multiply it by"),
    "decay too large": (lambda: perceptron(-eta * w + HEBB / sqrt(N)), r"along w.*diverges"),
    "wrong dt": (lambda: perceptron(eta / sqrt(N) * HEBB, dt=Rational(1, 10)), r"write Update\(..., dt=1/N\)"),
    "elementwise in N": (lambda: perceptron(eta / N * dot(b, fn.tanh(x)) * x), r"elementwise functions of such vectors"),
    "fixed draw": (lambda: perceptron(eta / sqrt(N) * HEBB, data=(Normal(x, once=True),)), r"needs fresh draws at every step"),
    "a mean of order one in every entry": (
        lambda: perceptron(eta / sqrt(N) * HEBB, data=(Normal(x, mean=b),)),
        r"argument of sgn mixes|argument of sgn is of order N",
    ),
    "a noise whose moments are not all given": (
        lambda: perceptron(eta / sqrt(N) * y * HEBB, data=(Normal(x), Marginal(y, moments={2: 1}))),
        r"needs E\[y\^1\].*add it, moments=",
    ),
    "label drawn once": (
        lambda: perceptron(eta / sqrt(N) * y * HEBB, data=(Normal(x), Choice(y, (1, -1), once=True))),
        r"needs fresh draws at every step",
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_refusal_names_the_remedy(case):
    make, remedy = REFUSED[case]
    with pytest.raises(UnsupportedNode, match=remedy):
        online_limit(make())


def test_rules_without_an_update_and_limits_without_n_are_refused():
    rate = Model(
        name="rate", state=(w,), given=(b,), data=(Normal(x),), learn=Rate({w: dot(b, x) * x - w}), limit=Limit({N: oo})
    )
    with pytest.raises(UnsupportedNode, match="gradient_flow"):
        online_limit(rate)
    finite = Model(name="finite", state=(w,), given=(b,), data=(Normal(x),), learn=Update({w: w + dot(b, x) * x}, dt=1 / N))
    with pytest.raises(UnsupportedNode, match=r"limit=Limit\(\{N: oo\}\)"):
        online_limit(finite)
    blocks = Model(
        name="blocks", state=(w,), given=(b,), data=(Normal(x),), limit=Limit({N: oo}),
        learn=Update({w: w + dot(b, x) * x / N}, {w: w + dot(w, x) * x / N}, dt=1 / N),
    )  # fmt: skip
    with pytest.raises(UnsupportedNode, match=r"uses the draw x again.*one block"):
        online_limit(blocks)


def test_observables_must_be_averages_of_order_one():
    step = eta / sqrt(N) * fn.sgn(dot(b, x) / sqrt(N)) * x
    with pytest.raises(UnsupportedNode, match=r"mean\(...\)"):
        online_limit(perceptron(step, observe={"e": dot(w, x) / sqrt(N)}))
    with pytest.raises(UnsupportedNode, match="divide by N"):
        online_limit(perceptron(step, observe={"n": norm2(w)}))
    flow = online_limit(perceptron(step, observe={"n": norm2(w) / N}))
    assert repr(flow.observables["n"]) == "Q"


def test_functions_without_a_closed_form_name_their_rung():
    flow = online_limit(teacher_student("tanh", train="readout", noise=False))
    assert "quadrature" in flow.rungs["v"]


def test_noise_word_and_teacher_words_are_checked():
    with pytest.raises(InvalidSpec, match="'sgd'"):
        online_limit(teacher_student(), noise="off")
    for bad in ({"train": "all"}, {"activation": "erf"}, {"train": "readout", "decay": True}):
        with pytest.raises(DerivationError, match="teacher_student"):
            teacher_student(**bad)


# --------------------------------------------------------------------------------------- the derivation-time checks can fail
@pytest.mark.parametrize("name", ["Q", "R", "v", "eg"])
def test_a_one_percent_error_is_caught_at_derivation_time(name):
    model = teacher_student()
    flow, rule = online_limit(model), field_rule(model)
    table = flow.observables if name == "eg" else flow.rhs
    wrong = {**table, name: mul(const(101), table[name]) / 100}
    broken = flow.replace(observables=wrong) if name == "eg" else flow.replace(rhs=wrong)
    with pytest.raises(CheckFailed):
        checked(broken, rule, "sgd")


def test_a_wrong_field_rule_is_caught_at_derivation_time():
    model = teacher_student(train="first")
    flow, rule = online_limit(model), field_rule(model)
    from dataclasses import replace

    (branch,) = rule.branches
    wrong = replace(rule, branches=(replace(branch, F={"W": {"x": mul(const(-1), rule.F["W"]["x"])}}),))
    with pytest.raises(CheckFailed, match="one step of the spec"):
        checked(flow, wrong, "sgd")
