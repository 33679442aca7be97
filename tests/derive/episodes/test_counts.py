"""Averages over binomial counts. Two roads: the closed form, and the sum over all counts with SciPy's probabilities."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.stats import binom

from derive.errors import UnsupportedNode
from derive.fields.binomial import binomial, binomial_tail
from derive.fields.counts import Law, count_mean
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import Node, add, arr, const, evaluate, fun, mul, power, text

K, N, C, A = arr("k"), arr("T"), arr("c"), arr("a")
LAW = Law(name="k", n=add(N, const(-1)), p=arr("P"), sizes=("T",))
HALF = const(Fraction(1, 2))


def at_least(c: Node) -> Node:
    return fun("step", add(K, mul(const(-1), c), HALF))


REWARDS = {
    "constant": A,
    "power": power(K, 4),
    "quotient": mul(power(K, 2), power(N, -2)),
    "all": fun("is_zero", K - N),
    "all squared": power(fun("is_zero", K - N), 2),
    "none": fun("is_zero", K),
    "exactly c": mul(K, fun("is_zero", K - C)),
    "two values": mul(fun("is_zero", K - C), fun("is_zero", K - const(2))),
    "at least": at_least(C),
    "at most": fun("step", add(C, mul(const(-1), K), HALF)),
    "power times threshold": mul(power(K, 3), at_least(C)),
    "tiered squared": power(add(mul(A, at_least(C)), at_least(const(4))), 2),
    "threshold at a value": mul(at_least(C), fun("is_zero", K - const(3))),
    "kink": fun("relu", K - C),
    "distance": fun("abs", K - C),
    "majority": fun("sgn", mul(const(2), K) - N - HALF),
    "exponential": fun("exp", mul(A, K) - C),
    "tilted threshold": mul(K, fun("exp", mul(A, K)), at_least(C)),
    "more than T": fun("is_zero", K - N - const(2)),
}


@pytest.mark.parametrize("name", REWARDS)
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_closed_form_is_the_sum(name: str, shift: int) -> None:
    closed = count_mean(REWARDS[name], LAW, shift)
    for T in (1, 2, 5, 9):
        for p in (0.0, 0.3, 0.85, 1.0):
            values = {"T": T, "P": p, "c": 3.0, "a": 0.7}
            pmf = [binom.pmf(k, T - 1, p) for k in range(T)]
            known = [evaluate(REWARDS[name], {**values, "k": k + shift}, {}, NUMPY) for k in range(T)]
            want = float(np.dot(pmf, known))
            # sums of a few dozen terms of the size of the largest reward
            assert abs(float(evaluate(closed, values, {}, NUMPY)) - want) <= 1e-12 * (1 + max(map(abs, known)))


def test_only_the_number_of_trials_is_symbolic_in_powers() -> None:
    assert text(count_mean(REWARDS["all"], LAW, 1)) == "power(P, -1 + T)"  # T - 1 others, all right
    assert text(count_mean(REWARDS["all"], LAW, 0)) == "0"  # at most T - 1 of T


def test_probabilities_are_those_of_scipy() -> None:
    for n in (1, 7, 400, 3000):
        for p in (1e-9, 0.2, 0.5, 0.97, 1.0):
            for k in (0, 1, n // 3, n // 2, n - 1, n):
                # SciPy's own probabilities are right to about 1e-11 for thousands of trials
                assert math.isclose(binomial(k, n, p), binom.pmf(k, n, p), rel_tol=1e-10, abs_tol=1e-280)
                assert math.isclose(binomial_tail(k, n, p), binom.sf(k - 1, n, p), rel_tol=1e-10, abs_tol=1e-13)


@pytest.mark.parametrize(
    ("reward", "remedy"),
    [
        (fun("step", K - C), "move the jump between two values"),
        (fun("step", mul(const(2), K) - N), "move the jump between two values"),
        (fun("step", mul(A, K) - HALF), "divide the comparison by it"),
        (fun("tanh", K - C), "list its values with case"),
        (power(K, -1), "list its values with case"),
    ],
)
def test_refusals_name_the_remedy(reward: Node, remedy: str) -> None:
    with pytest.raises(UnsupportedNode, match=remedy):
        count_mean(reward, LAW)
