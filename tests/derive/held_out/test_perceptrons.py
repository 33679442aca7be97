"""Learning rules of the perceptron with a sign teacher: Rosenblatt, AdaTron, margins, queries, logistic loss, softmax policy.

Road one: derived from the update. Road two: equations typed here, with averages in closed form or by Gauss-Legendre nodes over
u = lam sgn(nu), v = |nu|; for one rule direct SGD.
"""

import numpy as np
import pytest
from sympy import oo, sqrt

import codegen
from derive import Choice, Limit, Model, Normal, Update, dims, dot, fn, grad, mean, norm2, online_limit, scalars, vector
from tests.derive.held_out.direct import agrees, half_plane, overlap, place, rate

N = dims("N")
eta, kappa = scalars("eta kappa", positive=True)
lam, nu, a, L = scalars("lam nu a L")
w, b, x = vector("w", N), vector("b", N), vector("x", N)
INPUT = (Normal(x),)
STUDENT, TEACHER = dot(w, x) / sqrt(N), dot(b, x) / sqrt(N)
LABEL = fn.sgn(TEACHER)
AT = {"Q": 0.8, "R": 0.5, "T": 1.3, "eta": 0.6, "kappa": 0.4}
Q, R, T, e = 0.8, 0.5, 1.3, 0.6
RHO = R / np.sqrt(Q * T)
TIGHT = 1e-12  # rounding of a few dozen operations
NODES = 1e-9  # stated error of one-dimensional integrals 1e-10, quadratures at variances near one below 1e-8 of their value


def rule(force, *later, given=(b, eta), data=INPUT, let=None, observe=None):
    """w += force x / sqrt N."""
    step = {w: w + force / sqrt(N) * x}
    return Model(
        name="rule", state=(w,), given=given, data=data, let=let or {}, learn=Update(step, *later, dt=1 / N),
        limit=Limit({N: oo}), observe=observe or {},
    )  # fmt: skip


def by_hand(force, low=-9.0, high=9.0):
    """dQ, dR of w += eta F x / sqrt N for F = sgn(nu) force(u, v), u = lam sgn(nu)."""

    def field(u, v):
        return force(np.sqrt(Q) * u, np.sqrt(T) * v)

    first = half_plane(lambda u, v: field(u, v) * np.sqrt(Q) * u, RHO, low, high)
    other = half_plane(lambda u, v: field(u, v) * np.sqrt(T) * v, RHO, low, high)
    square = half_plane(lambda u, v: field(u, v) ** 2, RHO, low, high)
    return 2 * e * first + e**2 * square, e * other


def same(flow, hand, bound):
    for name, value in zip(("Q", "R"), hand, strict=True):
        assert abs(rate(flow, name, **AT) - value) < bound, name


def test_rosenblatt_and_adatron_in_closed_form():
    angle, root = np.arccos(RHO), np.sqrt(1 - RHO**2)
    mistake = fn.step(-STUDENT * TEACHER)
    flow = online_limit(rule(eta * mistake * LABEL, observe={"eg": mean(mistake)}))
    lost = (1 - RHO) / np.sqrt(2 * np.pi)
    same(flow, (-2 * e * np.sqrt(Q) * lost + e**2 * angle / np.pi, e * np.sqrt(T) * lost), TIGHT)
    assert abs(rate(flow, "eg", **AT) - angle / np.pi) < TIGHT
    second, cross = Q * (angle - RHO * root) / np.pi, np.sqrt(Q * T) * (RHO * angle - root) / np.pi
    same(online_limit(rule(-eta * mistake * STUDENT)), ((-2 * e + e**2) * second, -e * cross), TIGHT)


def test_a_margin_splits_the_argument_of_a_step():
    """step(kappa - lam sgn(nu)) is a function of a field and of a sign."""
    flow = online_limit(rule(eta * fn.step(kappa - STUDENT * LABEL) * LABEL, given=(b, eta, kappa)))
    same(flow, by_hand(lambda u, v: 1.0 + 0 * u * v, high=0.4 / np.sqrt(Q)), NODES)


def test_hinge_loss_is_the_margin_rule_at_margin_one():
    hinge = Model(
        name="hinge", state=(w,), given=(b, eta), data=(Normal(x),), let={L: fn.relu(1 - STUDENT * LABEL)},
        learn=Update({w: w - eta * grad(L, w)}, dt=1 / N), limit=Limit({N: oo}), observe={"loss": mean(L)},
    )  # fmt: skip
    flow = online_limit(hinge)
    edge = 1 / np.sqrt(Q)
    same(flow, by_hand(lambda u, v: 1.0 + 0 * u * v, high=edge), NODES)
    loss = half_plane(lambda u, v: 1 - np.sqrt(Q) * u + 0 * v, RHO, high=edge)
    assert abs(rate(flow, "loss", **AT) - loss) < NODES


@pytest.mark.parametrize("window", [kappa, kappa * sqrt(norm2(w) / N)])
def test_queries_learn_where_the_student_is_unsure(window):
    """F = sgn(nu) where |lam| < window; the window may shrink with the student."""
    flow = online_limit(rule(eta * fn.step(window - fn.abs(STUDENT)) * LABEL, given=(b, eta, kappa)))
    edge = 0.4 / np.sqrt(Q) if window == kappa else 0.4
    same(flow, by_hand(lambda u, v: 1.0 + 0 * u * v, low=-edge, high=edge), NODES)


def test_logistic_loss_with_hard_labels():
    """F = sgn(nu) / (1 + exp(u)); the argument lam sgn(nu) is split, and a smooth function meets a sign."""
    flow = online_limit(rule(eta * (1 - fn.tanh(STUDENT * LABEL / 2)) / 2 * LABEL))
    same(flow, by_hand(lambda u, v: 1 / (1 + np.exp(u)) + 0 * v), 1e-7)  # quadrature rung: 1e-8 for each of a few averages


@pytest.mark.parametrize("rho", [0.9, 0.999, 0.999999])
def test_a_smooth_student_that_has_found_a_hard_rule(rho):
    """E[sgn(nu) tanh(lam)] = E[tanh(lam) erf(rho lam / sqrt(2 Q (1 - rho^2)))], on a grid fine enough for the steepest erf."""
    flow = online_limit(rule(eta * (LABEL - fn.tanh(STUDENT)), observe={"c": mean(LABEL * fn.tanh(STUDENT))}))
    z = np.linspace(-9, 9, 600_001)
    from scipy.special import erf

    inner = np.tanh(2 * z) * erf(rho * z / np.sqrt(2 * (1 - rho**2)))
    want = float(np.sum(inner * np.exp(-(z**2) / 2)) * (z[1] - z[0]) / np.sqrt(2 * np.pi))
    got = rate(flow, "c", Q=4.0, R=2 * rho, T=1.0)
    assert abs(got - want) < 1e-9  # 24 nodes on each side of the kink; the error must not grow with the correlation
    kernel = codegen.compile(flow, backend="numpy")
    layout = kernel.layout({"Q": 4.0, "R": 2 * rho})
    seen = kernel.flat_observables(layout, kernel.arguments({"T": 1.0, "eta": 0.5}))(0.0, layout.pack({"Q": 4.0, "R": 2 * rho}))
    assert abs(seen["c"] - want) < 1e-9  # the same rule, emitted


def test_softmax_policy_with_a_baseline():
    """An action a = +-1 with P(1) = (1 + tanh lam)/2, reward 1 if it is right: F = (reward - 0.3)(a - tanh lam).

    By hand: E_a[F] = sgn(nu) (1 - tanh(lam)^2) / 2 whatever the baseline, E_a[F^2] by the two actions.
    """
    chance = (1 + fn.tanh(STUDENT)) / 2
    reward = (1 + a * LABEL) / 2
    model = rule(
        eta * (reward - 0.3) * (a - fn.tanh(STUDENT)), data=(Normal(x), Choice(a, (1, -1), (chance, 1 - chance))),
        observe={"reward": mean(reward)},
    )  # fmt: skip
    flow = online_limit(model)

    def action(u, v):  # in u, the right action is +1
        return (1 + np.tanh(u)) / 2 + 0 * v

    def square(u, v):
        right, t = action(u, v), np.tanh(u)
        return right * (0.7 * (1 - t)) ** 2 + (1 - right) * (0.3 * (1 + t)) ** 2

    drift = by_hand(lambda u, v: (1 - np.tanh(u) ** 2) / 2 + 0 * v)
    noise = half_plane(lambda u, v: square(np.sqrt(Q) * u, v) - (1 - np.tanh(np.sqrt(Q) * u) ** 2) ** 2 / 4, RHO)
    same(flow, (drift[0] + e**2 * noise, drift[1]), 1e-7)  # quadrature rung, as above
    assert abs(rate(flow, "reward", **AT) - half_plane(lambda u, v: action(np.sqrt(Q) * u, v), RHO)) < 1e-7
    seeds, n, steps = 40, 200, 200
    rng = np.random.default_rng(3)
    student, teacher = np.moveaxis(place([[Q, R], [R, T]], n, seeds, rng), 1, 0).copy()
    for _ in range(steps):
        z = rng.normal(size=(seeds, n))
        u, label = (student * z).sum(1) / np.sqrt(n), np.sign((teacher * z).sum(1))
        chosen = np.where(rng.random(seeds) < (1 + np.tanh(u)) / 2, 1.0, -1.0)
        force = ((1 + chosen * label) / 2 - 0.3) * (chosen - np.tanh(u))
        student += e * force[:, None] * z / np.sqrt(n)
    seen = {"Q": overlap(student, student), "R": overlap(student, teacher)}
    agrees(flow, {"Q": Q, "R": R}, {"T": T, "eta": e}, seen, steps / n, n)


def test_a_drifting_teacher():
    """b += sqrt(2 D / N) z, then |b|^2 = N. By hand: dR = eta sqrt(2/pi) - D R, and Q as for a resting teacher."""
    D, z = scalars("D", positive=True), vector("z", N)
    model = Model(
        name="drift", state=(w, b), given=(eta, D), data=(Normal(x), Normal(z)),
        learn=Update(
            {w: w + eta / sqrt(N) * LABEL * x, b: b + sqrt(2 * D / N) * z}, {b: b * sqrt(N) / sqrt(norm2(b))}, dt=1 / N
        ),
        limit=Limit({N: oo}),
    )  # fmt: skip
    flow = online_limit(model)
    at = {"Q_w": 0.8, "Q_w_b": 0.5, "Q_b": 1.0, "eta": 0.6, "D": 0.3}
    assert abs(rate(flow, "Q_w_b", **at) - (0.6 * np.sqrt(2 / np.pi) - 0.3 * 0.5)) < TIGHT
    assert abs(rate(flow, "Q_w", **at) - (1.2 * np.sqrt(2 / np.pi) * 0.5 + 0.36)) < TIGHT
    assert abs(rate(flow, "Q_b", **at)) < TIGHT
