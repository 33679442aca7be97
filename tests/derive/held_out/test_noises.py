"""Noises that are not Gaussian inputs: masks of dropout, products of two inputs, and their refusals.

Road one: derived. Road two: every mask written out as a committee of its own, or a line of algebra, or direct SGD.
"""

import numpy as np
import pytest
from sympy import Rational, oo, sqrt

from derive import (
    Limit,
    Marginal,
    Model,
    Normal,
    Update,
    dims,
    dot,
    fn,
    grad,
    had,
    matrix,
    mean,
    online_limit,
    scalars,
    vector,
)
from derive.errors import CheckFailed, UnsupportedNode
from derive.fields.rule import field_rule
from derive.library.teacher import teacher_student
from derive.online.check import checked
from tests.derive.held_out.direct import agrees, overlap, place, rate

N, K, M = dims("N K M")
eta, sigma, p = scalars("eta sigma p", positive=True)
lam, nu, f, y, L, moved = scalars("lam nu f y L moved")
W, B, v, A, m, x, z = (
    matrix("W", K, N),
    matrix("B", M, N),
    vector("v", K),
    vector("A", M),
    vector("m", K),
    vector("x", N),
    vector("z", N),
)
w, b = vector("w", N), vector("b", N)
TIGHT = 1e-11  # rounding of sums over sixteen masks


def committee(mask, given=(), out=None, **more):
    """An erf committee whose hidden units are multiplied by a mask."""
    hidden = fn.erf2(W * x / sqrt(N))
    let = {f: dot(had(m, v), hidden) if out is None else out, y: dot(A, fn.erf2(B * x / sqrt(N))), L: (f - y) ** 2 / 2}
    return Model(
        name="dropout", state=(W,), given=(v, B, A, eta, *given), data=(Normal(x), mask), let=let,
        learn=Update({W: W - eta * grad(L, W)}, dt=1 / N), limit=Limit({N: oo}), **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dropout():
    return online_limit(committee(Marginal(m, values=(0, 1), probs=(1 - p, p)), given=(p,), observe={"loss": mean(L)}))


def state(rng):
    V = rng.normal(size=(4, 11))
    C = V @ V.T / 11
    return {
        "Q": C[:3, :3], "R": C[:3, 3:], "T": C[3:, 3:], "v": np.array([0.7, -0.5, 1.1]), "A": np.array([0.9]), "eta": 0.6,
        "K": 3, "M": 1,
    }  # fmt: skip


def chance(mask):
    """Probability of a mask whose units speak with probability 0.6."""
    return 0.6 ** mask.sum() * 0.4 ** (mask.size - mask.sum())


def test_dropout_is_the_mean_of_committees_with_some_units_silent(dropout):
    """Masked units have weight m_k v_k: the plain committee at these weights, averaged over the 8 masks of three units."""
    plain = online_limit(teacher_student(train="first", noise=False))
    at = state(np.random.default_rng(2))
    masks = [np.array([(n >> k) & 1 for k in range(3)], float) for n in range(8)]
    places = {"Q": [(0, 0), (0, 2), (1, 2)], "R": [(0, 0), (2, 0)]}
    for name, entries in places.items():
        for entry in entries:
            want = sum(
                0.6 ** o.sum() * 0.4 ** (3 - o.sum()) * rate(plain, name, entry, **{**at, "v": o * at["v"]}) for o in masks
            )
            assert abs(rate(dropout, name, entry, p=0.6, **at) - want) < TIGHT, (name, entry)
    want = sum(chance(o) * rate(plain, "eg", **{**at, "v": o * at["v"]}) for o in masks)
    assert abs(rate(dropout, "loss", p=0.6, **at) - want) < TIGHT


def test_moments_say_as_much_as_values(dropout):
    """Entries 0 and 1 with equal chances have all moments 1/2."""
    half = Rational(1, 2)
    flow = online_limit(committee(Marginal(m, moments={1: half, 2: half, 3: half, 4: half})))
    at = state(np.random.default_rng(4))
    for entry in ((0, 0), (0, 1)):
        assert abs(rate(flow, "Q", entry, **at) - rate(dropout, "Q", entry, p=0.5, **at)) < TIGHT


def test_a_wrong_law_of_a_mask_is_caught_at_derivation_time(dropout):
    other = field_rule(committee(Marginal(m, values=(0, 1), probs=(p, 1 - p)), given=(p,)))
    with pytest.raises(CheckFailed, match="quadrature"):
        checked(dropout, other, "sgd")


REFUSED = {
    "missing moment": (lambda: committee(Marginal(m, moments={1: 1, 2: 2})), r"needs E\[m\^3\].*add it, moments="),
    "inside a function": (
        lambda: committee(Marginal(m, values=(0, 1)), out=dot(v, fn.erf2(had(m, W * x) / sqrt(N)))),
        r"m has independent entries.*multiply the function by it",
    ),
    "drawn once": (lambda: committee(Marginal(m, values=(0, 1), once=True)), r"drop once=True"),
    "outside mean": (lambda: committee(Marginal(m, values=(0, 1)), observe={"o": dot(m, v)}), r"write mean\(...\)"),
    "an input": (
        lambda: committee(Marginal(z, values=(-1, 1)), out=dot(v, W * z) / sqrt(N)),
        r"write Normal with their variance",
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_refusal_names_the_remedy(case):
    make, remedy = REFUSED[case]
    with pytest.raises(UnsupportedNode, match=remedy):
        online_limit(make())


# ------------------------------------------------------------------------------------------------- products of two inputs
def perceptron(step, **more):
    return Model(
        name="crossed", state=(w,), given=(b, eta, sigma), data=(Normal(x), Normal(z)), learn=Update({w: w + step}, dt=1 / N),
        limit=Limit({N: oo}), **more,
    )  # fmt: skip


def test_weight_perturbation_only_diffuses_at_a_step_of_order_one():
    """L = (lam - nu)^2 / 2 at w and at w + sigma z / sqrt N, step -eta (L' - L) z / (sigma sqrt N).

    By hand, with delta = lam - nu and c = x . z / sqrt N standard normal: L' - L = sigma delta c + sigma^2 c^2 / 2, and z is
    independent of it in the limit: dR = 0, dQ = eta^2 (E[delta^2] + 3 sigma^2 / 4).
    """
    let = {lam: dot(w, x) / sqrt(N), nu: dot(b, x) / sqrt(N), moved: lam + sigma * dot(z, x) / sqrt(N)}
    flow = online_limit(perceptron(-eta / (sigma * sqrt(N)) * ((moved - nu) ** 2 - (lam - nu) ** 2) / 2 * z, let=let))
    at = {"Q": 0.8, "R": 0.3, "T": 1.4, "eta": 0.5, "sigma": 0.7}
    assert rate(flow, "R", **at) == 0
    assert abs(rate(flow, "Q", **at) - 0.25 * (0.8 - 0.6 + 1.4 + 0.75 * 0.49)) < TIGHT
    assert any("independent of the fields" in a.text for a in flow.assumptions)


def test_a_product_of_inputs_in_lower_order_vanishes():
    step = eta / sqrt(N) * (dot(b, x) / sqrt(N) - dot(w, x) / sqrt(N)) * x
    plain = online_limit(perceptron(step * sigma + 0 * z / sqrt(N) + eta / sqrt(N) * z))
    more = online_limit(perceptron(step * sigma + eta / sqrt(N) * (1 + dot(x, z) / N) * z))
    at = {"Q": 0.8, "R": 0.3, "T": 1.4, "eta": 0.5, "sigma": 0.7}
    for name in ("Q", "R"):
        assert abs(rate(plain, name, **at) - rate(more, name, **at)) < TIGHT


def test_a_product_of_inputs_inside_a_function_against_direct_sgd():
    """w += (eta / sqrt N) erf2(lam + sigma x.z / sqrt N) (nu - lam) x."""
    from scipy.special import erf

    lam_, nu_ = dot(w, x) / sqrt(N), dot(b, x) / sqrt(N)
    flow = online_limit(perceptron(eta / sqrt(N) * fn.erf2(lam_ + sigma * dot(z, x) / sqrt(N)) * (nu_ - lam_) * x))
    n, seeds = 200, 60
    rng = np.random.default_rng(8)
    student, teacher = np.moveaxis(place([[0.8, 0.3], [0.3, 1.4]], n, seeds, rng), 1, 0).copy()
    for _ in range(n):
        one, two = rng.normal(size=(2, seeds, n)) / np.sqrt(n)
        u, t = (student * one).sum(1), (teacher * one).sum(1)
        gate = erf((u + 0.7 * np.sqrt(n) * (one * two).sum(1)) / np.sqrt(2))
        student += (0.5 * gate * (t - u))[:, None] * one
    seen = {"Q": overlap(student, student), "R": overlap(student, teacher)}
    agrees(flow, {"Q": 0.8, "R": 0.3}, {"T": 1.4, "eta": 0.5, "sigma": 0.7}, seen, 1.0, n)
