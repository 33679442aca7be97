"""Random labels: classes, mixture components, events, switches. Averages over labels are outermost, squares included.

Road one: derived from the spec. Road two: a line of algebra or a one-dimensional quadrature in the test.
"""

from dataclasses import replace

import numpy as np
import pytest
from sympy import Identity, oo, sqrt

from derive import fn
from derive.errors import BudgetExceeded, CheckFailed, UnsupportedNode
from derive.fields.rule import field_rule
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import const, evaluate, mul
from derive.library.tasks import two_tasks
from derive.online.check import checked
from derive.online.limit import online_limit
from derive.protocols.sequence import phases
from derive.spec.laws import Choice, Marginal, Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Limit, Update
from derive.spec.sugar import dot
from derive.spec.symbols import dims, matrix, scalars, vector

N, P = dims("N P")
eta, Delta, p = scalars("eta Delta p", positive=True)
y, L, s, lam = scalars("y L s lam")
w, b, x, z, mu, mu1, mu2 = (vector(n, N) for n in ("w", "b", "x", "z", "mu", "mu1", "mu2"))
TIGHT = 1e-12  # rounding of a few hundred operations


def learner(step, *, given, data, let=None, observe=None):
    return Model(
        name="learner", state=(w,), given=given, data=data, let=let or {}, learn=Update({w: w + step}, dt=1 / N),
        limit=Limit({N: oo}), observe=observe or {},
    )  # fmt: skip


def single(flow, name, **values):
    table = flow.rhs if name in flow.rhs else flow.observables
    return float(evaluate(table[name], values, {}, NUMPY))


def hebb(*data, given=(b, eta)):
    return learner(eta / sqrt(N) * s * fn.sgn(dot(b, x) / sqrt(N)) * x, given=given, data=data)


def test_quadratic_term_is_a_mean_of_squares():
    """w += eta s sgn(nu) x / sqrt N, s = 1 or 3: dQ = 2 eta E[s] E|nu| R / T + eta^2 E[s^2], E[s^2] = p + 9 (1 - p)."""
    flow = online_limit(hebb(Normal(x), Choice(s, (1, 3), (p, 1 - p)), given=(b, eta, p)))
    at = {"Q": 0.8, "R": 0.3, "T": 1.4, "eta": 0.5, "p": 0.3}
    first, second = 0.3 + 3 * 0.7, 0.3 + 9 * 0.7
    want = 2 * 0.5 * first * np.sqrt(2 / np.pi) * 0.3 / np.sqrt(1.4) + 0.25 * second
    assert abs(single(flow, "Q", **at) - want) < TIGHT
    assert abs(0.25 * second - 0.25 * first**2) > 0.1  # the square of the mean would be seen


def test_equal_probabilities_marginals_and_joint_labels_are_one_thing():
    at = {"Q": 0.8, "R": 0.3, "T": 1.4, "eta": 0.5}
    first = online_limit(hebb(Normal(x), Choice(s, (1, 3))))
    second = online_limit(hebb(Normal(x), Marginal(s, values=(1, 3), probs=(0.5, 0.5))))
    joint = learner(eta / sqrt(N) * s * fn.sgn(y * dot(b, x) / sqrt(N)) * x, given=(b, eta),
                    data=(Normal(x), Choice((s, y), ((1, 1), (-3, -1)))))  # fmt: skip
    third = online_limit(joint)  # s sgn(y nu) = |s| sgn(nu)
    for name in ("Q", "R"):
        values = [single(f, name, **at) for f in (first, second, third)]
        assert max(values) - min(values) < TIGHT


def test_probability_may_depend_on_the_fields():
    """Labels of a noisy teacher, P(y = 1) = (1 + erf2(nu)) / 2: E[y nu] = sqrt(2/pi) T / sqrt(1 + T), E[y lam] likewise."""
    chance = (1 + fn.erf2(dot(b, x) / sqrt(N))) / 2
    flow = online_limit(
        learner(eta / sqrt(N) * y * x, given=(b, eta), data=(Normal(x), Choice(y, (1, -1), (chance, 1 - chance))))
    )
    at = {"Q": 0.8, "R": 0.3, "T": 1.4, "eta": 0.5}
    assert abs(single(flow, "R", **at) - 0.5 * np.sqrt(2 / np.pi) * 1.4 / np.sqrt(2.4)) < TIGHT
    assert abs(single(flow, "Q", **at) - (2 * 0.5 * np.sqrt(2 / np.pi) * 0.3 / np.sqrt(2.4) + 0.25)) < TIGHT


# ------------------------------------------------------------------------------------------------------------ mixtures
CLUSTERS = Choice((mu, y), ((mu1, 1), (-mu1, 1), (mu2, -1), (-mu2, -1)), (p / 2, p / 2, (1 - p) / 2, (1 - p) / 2))
AT = {
    "Q_w": 0.9, "R_w_mu1": 0.4, "R_w_mu2": -0.3, "T_mu1": 1.1, "T_mu1_mu2": 0.2, "T_mu2": 0.8, "eta": 0.5, "Delta": 0.6,
    "p": 0.3, "K": 1,
}  # fmt: skip
#: (probability, sign, cluster, label) of the four outcomes
OUTCOMES = [(0.15, 1, 0, 1), (0.15, -1, 0, 1), (0.35, 1, 1, -1), (0.35, -1, 1, -1)]
M = np.array([0.4, -0.3])
T = np.array([[1.1, 0.2], [0.2, 0.8]])


def mixture(g, by_mean=False):
    out = g(lam)
    given = (mu1, mu2, eta, Delta, p)
    let = {lam: dot(w, x) / sqrt(N), L: (out - y) ** 2 / 2}
    if by_mean:
        return learner(-eta * grad(L, w), given=given, let=let, observe={"eg": mean(L)},
                       data=(CLUSTERS, Normal(x, mean=mu / sqrt(N), cov=Delta * Identity(N))))  # fmt: skip
    return learner(-eta * grad(L, w), given=given, let={x: mu / sqrt(N) + sqrt(Delta) * z, **let}, observe={"eg": mean(L)},
                   data=(CLUSTERS, Normal(z)))  # fmt: skip


@pytest.mark.parametrize("by_mean", [False, True])
def test_linear_student_of_a_mixture(by_mean):
    """By hand, delta = lam - y, lam = s M_b + sqrt(Delta) w.z, for the outcome (s, b, y)."""
    flow = online_limit(mixture(lambda u: u, by_mean))
    D, e, Q = 0.6, 0.5, 0.9
    dQ = sum(
        c * (-2 * e * ((q * M[k] - t) * q * M[k] + D * Q) + e**2 * D * ((q * M[k] - t) ** 2 + D * Q)) for c, q, k, t in OUTCOMES
    )
    assert abs(single(flow, "Q_w", **AT) - dQ) < TIGHT
    for n, name in enumerate(("R_w_mu1", "R_w_mu2")):
        dR = -e * sum(c * ((q * M[k] - t) * q * T[k, n] + D * M[n]) for c, q, k, t in OUTCOMES)
        assert abs(single(flow, name, **AT) - dR) < TIGHT


@pytest.mark.parametrize("g", [fn.erf2, fn.relu])
def test_nonlinear_student_of_a_mixture_against_one_dimensional_quadrature(g):
    """All averages are over lam ~ N(s M_b, Delta Q): the field of a centre is its regression on lam plus independent noise."""
    flow = online_limit(mixture(g))
    nodes, weights = np.polynomial.legendre.leggauss(200)
    half = [(6 * (nodes + side), 6 * weights) for side in (1, -1)]  # 0..12 and -12..0, so that the kink is an end point
    u, weights = np.concatenate([half[0][0], half[1][0]]), np.concatenate([half[0][1], half[1][1]])
    value, slope = (NUMPY[f](u) for f in (("erf2", "erf2'") if g is fn.erf2 else ("relu", "relu'")))
    D, e, V = 0.6, 0.5, 0.6 * 0.9
    dQ, dR, eg = 0.0, np.zeros(2), 0.0
    for c, q, k, t in OUTCOMES:
        m, delta = q * M[k], value - t
        law = c * weights * np.exp(-((u - m) ** 2) / (2 * V)) / np.sqrt(2 * np.pi * V)
        dQ += law @ (-2 * e * slope * delta * u + e**2 * D * slope**2 * delta**2)
        for n in range(2):
            dR[n] += law @ (-e * slope * delta * (q * T[k, n] + D * M[n] / V * (u - m)))
        eg += law @ delta**2 / 2
    bound = 1e-9  # the stated error of one-dimensional integrals is 1e-10; sums of four
    assert abs(single(flow, "Q_w", **AT) - dQ) < bound
    assert abs(single(flow, "R_w_mu1", **AT) - dR[0]) < bound
    assert abs(single(flow, "R_w_mu2", **AT) - dR[1]) < bound
    assert abs(single(flow, "eg", **AT) - eg) < bound


def test_unit_columns_keep_the_number_of_clusters_symbolic():
    """P centres in the rows of one array: for P = 2 the same numbers as the two centres written out."""
    Mu, labels, pick, probs = matrix("Mu", P, N), vector("labels", P), vector("pick", P), vector("probs", P)
    let = {x: Mu.T * pick / sqrt(N) + sqrt(Delta) * z, L: (dot(w, x) / sqrt(N) - dot(labels, pick)) ** 2 / 2}
    model = learner(-eta * grad(L, w), given=(Mu, labels, probs, eta, Delta), let=let, observe={"eg": mean(L)},
                    data=(Choice(pick, probs=probs), Normal(z)))  # fmt: skip
    flow = online_limit(model)
    at = {"Q": 0.9, "R": M, "T": T, "labels": np.array([1.0, -1.0]), "probs": np.array([0.3, 0.7]), "eta": 0.5,
          "Delta": 0.6, "P": 2}  # fmt: skip
    D, e, Q = 0.6, 0.5, 0.9
    rows = [(0.3, 0, 1.0), (0.7, 1, -1.0)]
    dQ = sum(c * (-2 * e * ((M[k] - t) * M[k] + D * Q) + e**2 * D * ((M[k] - t) ** 2 + D * Q)) for c, k, t in rows)
    assert abs(single(flow, "Q", **at) - dQ) < TIGHT
    index = flow.block("R").indices
    for n in range(2):
        got = float(evaluate(flow.rhs["R"], at, {index[0]: n}, NUMPY))
        assert abs(got - -e * sum(c * ((M[k] - t) * T[k, n] + D * M[n]) for c, k, t in rows)) < TIGHT


# ------------------------------------------------------------------------------------------------------------ switches
@pytest.fixture(scope="module")
def switched():
    return online_limit(two_tasks(lengths=(1, 1, 1)).replace(protocol=(), given=two_tasks().given))


def test_an_unbound_switch_becomes_weights(switched):
    names = [q.name for q in switched.parameters]
    assert {"task_is_1", "task_is_2"} <= set(names)
    assert "task" not in names
    assert any("add up to 1" in a.text for a in switched.assumptions)


def test_weights_of_a_switch_give_the_systems_of_the_phases(switched):
    """Weights (1, 0), (0, 1), (p, 1 - p) against the models in which the phases are bound."""
    rng = np.random.default_rng(3)
    W, B1, B2 = rng.normal(size=(2, 9)), rng.normal(size=(1, 9)), rng.normal(size=(1, 9))
    at = {
        "Q_W": W @ W.T / 9, "R_W_B1": W @ B1.T / 9, "R_W_B2": W @ B2.T / 9, "T_B1": B1 @ B1.T / 9, "T_B2": B2 @ B2.T / 9,
        "T_B1_B2": B1 @ B2.T / 9, "h1": rng.normal(size=2), "h2": rng.normal(size=2), "A1": rng.normal(size=1),
        "A2": rng.normal(size=1), "eta": 0.7, "eta_h": 0.4, "p": 0.3, "K": 2, "M1": 1, "M2": 1,
    }  # fmt: skip
    for model, weights in zip(phases(two_tasks(lengths=(1, 1, 1))), ((1, 0), (0, 1), (0.3, 0.7)), strict=True):
        flow = online_limit(model)
        here = {**at, "task_is_1": weights[0], "task_is_2": weights[1]}
        for block in flow.state:
            for place in np.ndindex(*(at[i.family] for i in block.indices)):
                labels = dict(zip(block.indices, place, strict=True))
                one, two = (float(evaluate(f.rhs[block.name], here, labels, NUMPY)) for f in (flow, switched))
                assert abs(one - two) < TIGHT
                if block.name == ("h2" if weights == (1, 0) else "h1" if weights == (0, 1) else ""):
                    assert one == 0.0  # the head of the other task rests
    assert str(switched.observables["eg1"]) == str(flow.observables["eg1"])  # no weights: each task keeps its own error


# ------------------------------------------------------------------------------------------------------------ refusals
def test_too_many_outcomes_are_refused_with_the_remedy():
    flips = scalars("f1 f2 f3 f4 f5 f6 f7")
    move = eta / sqrt(N) * sum(flips) * x
    with pytest.raises(BudgetExceeded, match=r"128 joint outcomes.*Choice\(s\) with s of shape"):
        online_limit(learner(move, given=(eta,), data=(Normal(x), *(Choice(f, (1, -1)) for f in flips))))


def test_an_observable_outside_mean_may_not_depend_on_labels():
    with pytest.raises(UnsupportedNode, match=r"write mean\(...\)"):
        online_limit(learner(eta / sqrt(N) * y * x, given=(eta,), data=(Normal(x), Choice(y, (1, -1))), observe={"e": y}))


def test_parts_of_a_rule_with_labels_are_asked_for_by_outcome():
    rule = field_rule(hebb(Normal(x), Choice(s, (1, 3))))
    with pytest.raises(UnsupportedNode, match=r"s = 1; s = 3.*rule.branches"):
        _ = rule.F
    assert [str(c.weight) for c in rule.branches] == ["1/2", "1/2"]
    assert " if s = 3 (probability 1/2):" in str(rule)


# --------------------------------------------------------------------------------------------------------- the checks can fail
def test_a_wrong_weight_is_caught_at_derivation_time():
    model = hebb(Normal(x), Choice(s, (1, 3), (p, 1 - p)), given=(b, eta, p))
    flow, rule = online_limit(model), field_rule(model)
    one, two = rule.branches
    swapped = replace(rule, branches=(replace(one, weight=two.weight), replace(two, weight=one.weight)))
    with pytest.raises(CheckFailed, match="quadrature"):
        checked(flow, swapped, "sgd")


def test_a_one_percent_error_in_a_mixture_is_caught_at_derivation_time():
    model = mixture(lambda u: u)
    flow, rule = online_limit(model), field_rule(model)
    wrong = flow.replace(rhs={**flow.rhs, "Q_w": mul(const(99), flow.rhs["Q_w"]) / 100})
    with pytest.raises(CheckFailed, match="d Q_w is"):
        checked(wrong, rule, "sgd")
