"""Equations of the two-layer ReLU committee, both layers, against the ones typed here.

Road one: derived from the spec, evaluated and emitted. Road two: this file. A product of steps and ReLUs is a monomial on the
positive orthant of its distinct fields; Stein's lemma leaves orthant probabilities (arcsines for up to three fields, Plackett's
path from independence for four).
"""

from functools import cache

import numpy as np
import pytest

from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import evaluate
from derive.library.teacher import teacher_student
from derive.online.limit import online_limit

TIGHT = 1e-10  # 200 nodes on Plackett's path, fields with correlations below 0.9
X, W = np.polynomial.legendre.leggauss(200)


def given(C, j):
    """Covariance given that field j is zero."""
    return C - np.outer(C[:, j], C[j]) / C[j, j]


def correlation(C, i, j):
    return np.clip(C[i, j] / np.sqrt(C[i, i] * C[j, j]), -1, 1)


def orthant(C, D):
    """P(all fields of D > 0)."""
    pairs = [(i, j) for n, i in enumerate(D) for j in D[n + 1 :]]
    if len(D) < 4:
        s = sum(np.arcsin(correlation(C, i, j)) for i, j in pairs)
        return [1.0, 0.5, 0.25 + s / (2 * np.pi), 0.125 + s / (4 * np.pi)][len(D)]
    R = C[np.ix_(D, D)] / np.sqrt(np.outer(C[D, D], C[D, D]))
    total = 1 / 16
    for t, w in zip(0.5 * (X + 1), 0.5 * W, strict=True):
        at = t * R + (1 - t) * np.eye(4)
        for i in range(4):
            for j in range(i + 1, 4):
                rest = [n for n in range(4) if n not in (i, j)]
                density = 1 / (2 * np.pi * np.sqrt(1 - at[i, j] ** 2))
                total += w * R[i, j] * density * orthant(given(given(at, i), j), rest)
    return total


def first(C, d, D):
    """E[x_d 1(D > 0)], d in D or not."""
    return sum(C[d, k] / np.sqrt(2 * np.pi * C[k, k]) * orthant(given(C, k), [i for i in D if i != k]) for k in D)


def second(C, c, d, D):
    """E[x_c x_d 1(D > 0)]."""
    more = sum(C[c, j] / np.sqrt(2 * np.pi * C[j, j]) * first(given(C, j), d, [i for i in D if i != j]) for j in D)
    return C[c, d] * orthant(C, D) + more


def distinct(*fields):
    return list(dict.fromkeys(fields))


def typed(s):
    """(dQ, dR, dv, eg)."""
    Q, R, T, v, A = (s[n] for n in ("Q", "R", "T", "v", "A"))
    K, M = R.shape
    C, c, n = np.block([[Q, R], [R.T, T]]), np.concatenate([v, -A]), range(K + M)

    def I3(a, b, i):
        return second(C, b, i, distinct(a, i))

    def I4(a, b, i, j):
        return second(C, i, j, distinct(a, b, i, j))

    dR = np.array([[-s["eta"] * v[k] * sum(c[i] * I3(k, K + m, i) for i in n) for m in range(M)] for k in range(K)])
    dQ = np.zeros((K, K))
    for k in range(K):
        for m in range(K):
            dQ[k, m] = -s["eta"] * sum(c[i] * (v[k] * I3(k, m, i) + v[m] * I3(m, k, i)) for i in n)
            noise = sum(c[i] * c[j] * I4(k, m, i, j) for i in n for j in n) + s["sigma"] ** 2 * orthant(C, distinct(k, m))
            dQ[k, m] += s["eta"] ** 2 * v[k] * v[m] * noise
    dv = np.array([-s["eta_v"] * sum(c[i] * second(C, k, i, distinct(k, i)) for i in n) for k in range(K)])
    return dQ, dR, dv, 0.5 * sum(c[i] * c[j] * second(C, i, j, distinct(i, j)) for i in n for j in n)


def state(seed, K=2, M=2, size=12):
    rng = np.random.default_rng(seed)
    U, B = rng.normal(size=(K, size)), rng.normal(size=(M, size))
    return {
        "Q": U @ U.T / size, "R": U @ B.T / size, "T": B @ B.T / size, "v": rng.normal(size=K), "A": rng.normal(size=M),
        "eta": 0.7, "eta_v": 0.4, "sigma": 0.3, "K": K, "M": M,
    }  # fmt: skip


@cache
def flow():
    return online_limit(teacher_student("relu"))


def value(name, values):
    block = flow().block(name)
    out = np.zeros([values[i.family] for i in block.indices])
    for place in np.ndindex(*out.shape):
        out[place] = evaluate(flow().rhs[name], values, dict(zip(block.indices, place, strict=True)), NUMPY)
    return out


def test_both_layers_equal_the_typed_equations():
    s = state(1)
    dQ, dR, dv, eg = typed(s)
    for name, want in (("Q", dQ), ("R", dR), ("v", dv)):
        np.testing.assert_allclose(value(name, s), want, rtol=0, atol=TIGHT)
    assert abs(evaluate(flow().observables["eg"], s, {}, NUMPY) - eg) < TIGHT
    assert flow().rungs["Q"].startswith("1-D integral")
    assert flow().rungs["R"] == "exact"


def test_the_typed_equations_see_a_wrong_four_field_average():
    """Leaving out the integral over four signs (1/16 of their average) moves dQ far beyond the tolerance."""
    s = state(1)
    C = np.block([[s["Q"], s["R"]], [s["R"].T, s["T"]]])
    pairs = sum(np.arcsin(correlation(C, i, j)) for i in range(4) for j in range(i))
    assert abs(orthant(C, [0, 1, 2, 3]) - (1 / 16 + pairs / (8 * np.pi))) > 1e4 * TIGHT  # the four-sign part alone


def test_student_equal_to_teacher_and_students_equal_to_each_other():
    """Coinciding fields: the limit of slightly different ones, since the averages are continuous."""
    for pattern in ([0, 0], [0, 1]):
        rng = np.random.default_rng(5)
        B, moved = rng.normal(size=(2, 12)), rng.normal(size=(2, 12))
        s = state(1)
        found = []
        for d in (0.0, 1e-7):
            U = B[pattern] + d * moved
            s |= {"Q": U @ U.T / 12, "R": U @ B.T / 12, "T": B @ B.T / 12}
            found.append(value("Q", s))
        np.testing.assert_allclose(found[0], found[1], rtol=0, atol=3e-6)  # 30 terms of size one times the distance 1e-7
        assert np.all(np.isfinite(found[0]))


@pytest.mark.parametrize("backend", ["numpy", "mpmath"])
def test_emitted_kernel(backend):
    from mpmath import mpf

    from codegen import compile as emit

    s = state(3)
    s["Q"][1], s["R"][1] = s["Q"][0], s["R"][0]
    s["Q"][:, 1] = s["Q"][:, 0]  # two equal students
    kernel = emit(flow(), backend=backend)
    arrays = [s[b.name] for b in (*flow().state, *flow().parameters)]
    if backend == "mpmath":
        arrays = [np.vectorize(mpf, otypes=[object])(a) if isinstance(a, np.ndarray) else mpf(a) for a in arrays]
    for name, got in zip(("Q", "R", "v"), kernel.rhs(0.0, *arrays), strict=True):
        np.testing.assert_allclose(
            np.array(got, float), value(name, s), rtol=0, atol=1e-11
        )  # rounding through arcsines near one


def test_ode_against_stochastic_gradient_descent():
    """K = M = 2, N = 1000, both layers; 4 seeds share the overlaps of their start up to O(1/sqrt N)."""
    from scipy.integrate import solve_ivp

    from codegen import compile as emit
    from numerics.simulate.families.committee import one_pass

    rates = {"eta": 0.15, "eta_v": 0.15, "sigma": 0.05}
    A, v, N = np.array([1.0, 0.8]), np.array([0.5, 0.4]), 1000
    kernel = emit(flow())
    gap = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        B = rng.normal(size=(2, N))
        U = 0.7 * rng.normal(size=(2, N)) + 0.4 * B
        run = one_pass(rng, U, v, B, A, activation="relu", steps=10 * N, every=N, **rates)
        start = {"Q": run.Q[0], "R": run.R[0], "v": v}
        given_ = {"T": run.T, "A": A, **rates}
        layout, args = kernel.layout(start), kernel.arguments(given_)
        made = solve_ivp(kernel.flat_rhs(layout, args), (0, 10), layout.pack(start), t_eval=run.t, rtol=1e-7, atol=1e-9)
        errors = []
        for i in range(len(run.t)):
            at = layout.unpack(made.y[:, i])
            ode = kernel.observables(0.0, at["Q"], at["R"], at["v"], *args)[0]
            errors.append(ode - kernel.observables(0.0, run.Q[i], run.R[i], run.v[i], *args)[0])
        gap.append(errors)
    mean, single = np.abs(np.mean(gap, 0)).max(), np.abs(gap).max()
    # measured deviations of eg at this size: single runs 1e-3 to 4e-3, here bounded by 6e-3; the mean of four by half of it
    assert single < 6e-3
    assert mean < 3e-3
    assert kernel.observables(0.0, *(start[n] for n in ("Q", "R", "v")), *args)[0] > 0.25  # eg moves by 50 times the bound
