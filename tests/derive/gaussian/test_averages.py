"""Averages with steps, means and smooth functions. Road one: the ladder. Road two: stated in each test."""

import math
from itertools import combinations

import numpy as np
import pytest
import sympy as sp

from benchmarks.averages import deviations
from derive import fn
from derive.errors import UnsupportedNode
from derive.gaussian import average
from derive.gaussian.evaluation import function, hard_value, reference_error, smooth_value
from derive.gaussian.frames import frame, frame_angle, frame_given
from derive.gaussian.local import Local, read, rung
from derive.gaussian.orthants import nsign
from derive.indices.indexed import fun

a, b, c, d = FIELDS = sp.symbols("a b c d", real=True)


def numbers(C):
    """Variances, then covariances: the arguments of a local average."""
    n = len(C)
    return (*(C[i, i] for i in range(n)), *(C[i, j] for i, j in combinations(range(n), 2)))


def four(C):
    return float(hard_value(read("E[step|step|relu|relu]"), numbers(C)))


def partitions(items):
    if not items:
        yield []
        return
    first, *rest = items
    for p in partitions(rest):
        yield [[first], *p]
        for i in range(len(p)):
            yield [*p[:i], [first, *p[i]], *p[i + 1 :]]


def test_200_random_products_against_samples():
    found = list(deviations(200, 40_000, 11))
    z = np.array([x for *_, x in found])
    assert {made.rung for _, made, _ in found} == {"exact", "1-D integral", "2-D integral"}
    assert np.max(np.abs(z)) < 4.5  # false alarm 1.4e-3 over 200 products; the seed is fixed
    assert 0.7 < np.mean(z**2) < 1.4  # chi-square of 200: standard deviation 0.1


@pytest.mark.parametrize("pattern", list(partitions([0, 1, 2, 3])), ids=str)
def test_coinciding_fields_equal_merged_ones(pattern):
    """Road two: fields merged before averaging, so that fewer and distinct fields are left."""
    names = ["step", "step", "relu", "relu"]
    B = np.random.default_rng(3).normal(size=(4, 5))
    for group in pattern:
        B[group] = B[group[0]]
    groups = sorted(pattern, key=lambda g: sorted(names[i] for i in g))
    merged = Local(slots=tuple(tuple(sorted(names[i] for i in g)) for g in groups), means=False)
    first = B[[g[0] for g in groups]]
    assert abs(four(B @ B.T) - float(hard_value(merged, numbers(first @ first.T)))) < 1e-14  # rounding of 100 operations


NEAR = {"three": [0, 0, 0, 3], "two pairs": [0, 0, 2, 2], "one pair": [0, 1, 2, 1]}


@pytest.mark.parametrize("kind", [*NEAR, "rank two"])
def test_nearly_dependent_fields_differ_by_their_distance(kind):
    """The average is Lipschitz in the fields, also where pairs coincide and where four fields lie nearly in a plane."""
    rng = np.random.default_rng(1)
    B = rng.normal(size=(200, 4, 5))
    B = rng.normal(size=(200, 4, 2)) @ rng.normal(size=(200, 2, 5)) if kind == "rank two" else B[:, NEAR[kind]]
    scale = 1 + np.max(np.abs(B), (1, 2)) ** 2

    def many(B):
        C = np.moveaxis(B @ np.swapaxes(B, -1, -2), 0, -1)
        return hard_value(read("E[step|step|relu|relu]"), numbers(C))

    for distance in (1e-2, 1e-4, 3e-5, 1e-5, 1e-6, 1e-8, 1e-12):
        moved = distance * rng.normal(size=B.shape)
        bad = np.abs(many(B + moved) - many(B)) > scale * (10 * distance + 3e-8)  # two ReLUs, sqrt(5) moves; asin near one
        assert not np.any(bad), distance


def near(kind, distance, rng):
    """Four fields, nearly in a plane, on a line, in pairs, or two of a plane nearly equal at the root of the distance."""
    B = rng.normal(size=(4, 5))
    moved = distance * B
    if kind == "plane" or kind == "pair in a plane":
        B = rng.normal(size=(4, 2)) @ rng.normal(size=(2, 5))
    if kind == "pair in a plane":
        B[1] = B[0] + math.sqrt(distance) * B[2]
    if kind == "line":
        B = rng.normal(size=(4, 1)) * B[0]
    if kind == "pairs":
        B[1], B[3] = B[0], -B[2]
    return B + moved


def stein(C, powers, signs):
    """E[prod x prod sgn] of two powers and signs by Stein's lemma on covariances, in mpmath; four signs left count zero."""
    import mpmath as mp

    if not powers:
        if len(signs) != 2:
            return mp.mpf(not signs)
        r = C[signs[0]][signs[1]] / mp.sqrt(C[signs[0]][signs[0]] * C[signs[1]][signs[1]])
        return 2 / mp.pi * mp.asin(max(min(r, 1), -1))
    x, *rest = powers
    total = sum((C[x][y] * stein(C, rest[:n] + rest[n + 1 :], signs) for n, y in enumerate(rest)), mp.mpf(0))
    for s in signs:
        if C[x][s] != 0:
            D = [[mp.mpf(0) if s in (i, j) else C[i][j] - C[i][s] * C[j][s] / C[s][s] for j in range(4)] for i in range(4)]
            left = stein(D, rest, [q for q in signs if q != s])
            total += 2 * C[x][s] / mp.sqrt(2 * mp.pi * C[s][s]) * left
    return total


@pytest.mark.parametrize("kind", ["plane", "line", "pairs", "pair in a plane"])
def test_near_singular_averages_against_60_digits(kind):
    """E[c d sgn(a) sgn(b) sgn(c) sgn(d)] - C_cd E[four signs]. Road two: covariances of the same fields in 60 digits."""
    import mpmath as mp

    rng, made = np.random.default_rng(2), read("E[sgn|sgn|sgn,x|sgn,x]")
    with mp.workdps(60):
        for distance in (1e-2, 1e-4, 1e-5, 1e-6, 1e-7, 3e-8, 1e-9):
            for _ in range(12):
                B = near(kind, distance, rng)
                exact = [
                    [mp.fsum(mp.mpf(float(x)) * mp.mpf(float(y)) for x, y in zip(p, q, strict=True)) for q in B] for p in B
                ]
                C = B @ B.T
                got = float(hard_value(made, numbers(C))) - C[2, 3] * float(nsign(np.zeros(4), C))
                # covariances in doubles know a direction to 1e-8; twenty terms of size |B|^2
                assert abs(got - float(stein(exact, [2, 3], [0, 1, 2, 3]))) < 2e-7 * (1 + np.max(np.abs(B)) ** 2)


def test_covariances_instead_of_vectors_go_wrong_near_a_plane():
    """The mutant: the same formula with residuals as differences of covariances, in doubles."""
    rng, worst, other = np.random.default_rng(3), 0.0, 0.0
    for _ in range(40):
        B = near("plane", 1e-6, rng)
        C = B @ B.T
        got = float(hard_value(read("E[sgn|sgn|sgn,x|sgn,x]"), numbers(C))) - C[2, 3] * float(nsign(np.zeros(4), C))
        wrong = float(stein(C.tolist(), [2, 3], [0, 1, 2, 3]))
        worst = max(worst, abs(got - wrong))
        other = max(other, abs(C[2, 3]))
    assert worst > 1e-4 * other


def test_a_vanishing_student_counts_as_sign_zero():
    """relu(0) = 0: with d = 0 the average of step(a) step(b) relu(c) relu(d) vanishes."""
    B = np.random.default_rng(4).normal(size=(4, 5))
    B[3] = 0.0
    C = B @ B.T
    assert four(C) == 0.0
    assert np.array_equal(frame(np.zeros(4), C)[3], np.zeros(9))


def test_limit_under_a_condition_is_that_of_smooth_signs():
    """E[s^2 | delta] = 1/3 for smooth signs, E[s^p delta] = 1/(p + 1); one coinciding sign alone averages to zero."""
    P = frame(np.zeros(4), np.array([[1.0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]]))
    left = frame_given(P, 0, 0.0)  # fields 1 and 2 coincide with the field that is zero now, field 3 is independent
    assert abs(2 / np.pi * float(frame_angle(left, 1, 2, 0.0, 0.0)) - 1 / 3) < 1e-15  # one arcsine
    assert abs(float(frame_angle(left, 1, 3, 0.0, 0.0))) < 1e-100  # the length of the direction of its own


def test_two_signs_with_means_up_to_correlation_one():
    """Road two: the same integral by mpmath's adaptive rule with panels towards its end, 25 digits."""
    import mpmath as mp

    rng = np.random.default_rng(5)
    with mp.workdps(25):
        for n in range(12):
            h, k = rng.normal(size=2)
            r = float((1 - 10.0 ** rng.uniform(-13, -1)) * rng.choice([-1, 1]))
            if n % 3 == 0:
                k = h * np.sign(r) + 10.0 ** rng.uniform(-7, 0)  # the layer near the end of the path
            end = mp.asin(r)
            f = lambda t, h=h, k=k: mp.exp(-(h * h + k * k - 2 * h * k * mp.sin(t)) / (2 * mp.cos(t) ** 2))  # noqa: E731
            want = mp.erf(h / mp.sqrt(2)) * mp.erf(k / mp.sqrt(2))
            want += 2 / mp.pi * mp.quad(f, [end * (1 - mp.mpf(4) ** -i) for i in range(14)] + [end])
            got = nsign(np.array([h, k]), np.array([[1, r], [r, 1]]))
            assert abs(float(got) - float(want)) < 1e-10


@pytest.mark.parametrize("n", [3, 4, 6])
def test_n_signs_against_independence_and_samples(n):
    """Road two: exact products for independent fields; 10^6 samples for correlated ones."""
    h = np.array([0.3, -0.5, 0.8, 0.2, -0.1, 0.4])[:n] * (n < 6)
    if n < 6:
        want = math.prod(math.erf(x / math.sqrt(2)) for x in h)
        assert abs(float(nsign(h, np.eye(n))) - want) < 1e-14
    rng = np.random.default_rng(n)
    B = rng.normal(size=(n, n))
    u = np.prod(np.sign(B @ rng.normal(size=(n, 1_000_000)) + h[:, None]), 0)
    assert abs(u.mean() - float(function(f"signs{n}")(*h, *numbers(B @ B.T)))) < 4.5 * u.std() / 1000  # false alarm 7e-6


def test_softness_to_zero():
    """erf(x / (s sqrt 2)) tends to sgn(x) as s -> 0: the committee average I4 with the argument scaled, errors of order s."""
    B = np.random.default_rng(7).normal(size=(4, 6))
    C = B @ B.T
    hard = average(fn.sgn(a) * fn.sgn(b) * fn.sgn(c) * fn.sgn(d), FIELDS, C)
    errors = []
    for s in (100, 10_000):
        soft = average(fn.erf2(s * a) * fn.erf2(s * b) * fn.sgn(c) * fn.sgn(d), FIELDS, C)
        errors.append(abs(soft.value - hard.value))
    assert hard.rung == "1-D integral"
    assert errors[0] < 1e-3
    assert errors[1] < 1e-7  # error s^-2 for distinct fields


def test_exponentials_are_exact():
    """Road two: completing the square by hand. E[e^u g] shifts means; E[e^{-u'Au}] = det(1 + 2 C A)^(-1/2)."""
    B = np.random.default_rng(8).normal(size=(2, 3)) * 0.5
    C, A = B @ B.T, np.array([[1.5, 0.5], [0.5, 0.75]])
    made = average(sp.exp(a - 2 * b) * fn.erf2(a), (a, b), C)
    w = np.array([1.0, -2.0])
    want = math.exp(w @ C @ w / 2) * math.erf((C @ w)[0] / math.sqrt(2 * (1 + C[0, 0])))
    assert made.rung == "exact"
    assert abs(made.value - want) < 1e-14  # one exp, one erf
    form = sp.Rational(3, 2) * a**2 + a * b + sp.Rational(3, 4) * b**2
    made = average(sp.exp(-form) * a * b, (a, b), C)
    P = np.linalg.inv(np.linalg.inv(C) + 2 * A)
    assert abs(made.value - np.linalg.det(np.eye(2) + 2 * C @ A) ** -0.5 * P[0, 1]) < 1e-14
    q, r = sp.symbols("q r", real=True)
    assert average(sp.exp(a) * b, (a, b), sp.Matrix([[q, r], [r, 1]])).value == r * sp.exp(q / 2)


@pytest.mark.parametrize("name", ["E[tanh|tanh]", "E[tanh'|tanh'|tanh|tanh]", "Em[tanh'|tanh]"])
def test_smooth_rule_states_its_error(name):
    """Road two: a rule with twice the nodes at a covariance other than that of the statement."""
    made = read(name)
    n = len(made.slots)
    B = np.random.default_rng(9).normal(size=(n, n + 1)) * 0.3
    args = (*([0.3] * n if made.means else []), *numbers(B @ B.T))
    gap = abs(smooth_value(made, args) - smooth_value(made, args, finer=2.0))
    assert gap < 30 * reference_error(name) + 1e-12  # variances up to 0.9, correlations up to 0.8
    assert rung(fun(name)) == 3


def test_what_is_refused():
    with pytest.raises(UnsupportedNode, match="give numbers"):
        average(
            fn.sgn(a) * fn.sgn(b) * fn.sgn(c) * fn.sgn(d), FIELDS, sp.Matrix(4, 4, lambda i, j: sp.Symbol(f"C{i + j}{i * j}"))
        )
    from derive.gaussian.factors import factor
    from derive.gaussian.measure import linear_measure
    from derive.gaussian.product import product_average
    from derive.indices.indexed import ONE, ZERO, arr

    law = linear_measure(lambda n: True, lambda p, q: ONE, lambda p: ZERO)
    five = tuple(factor("fun", arr(x), function="tanh") for x in "pqrst")
    with pytest.raises(UnsupportedNode, match="5 fields is too large"):
        product_average(law, five)
    with pytest.raises(UnsupportedNode, match="3 fields with a jump or a kink"):
        product_average(law, (five[0], *(factor("fun", arr(x), function="relu") for x in "qrs")))
