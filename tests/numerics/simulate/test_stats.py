"""Statistics: estimators against their own definition, and verdicts against their false-alarm rate and their power."""

import numpy as np
import pytest

from numerics.simulate.stats import agreement, deviation, exponent, extrapolate, score_bound


def test_the_standard_error_of_a_deviation_is_its_scatter():
    rng = np.random.default_rng(0)
    s, error = deviation(rng.normal(0, 2, size=(21, 4000)))
    assert s.std() == pytest.approx(error.mean(), rel=0.05)  # the formula is of leading order in 1/n = 1/20


def test_the_exponent_is_found_with_an_honest_error():
    rng = np.random.default_rng(1)
    sizes = (100, 200, 400, 800)
    pulls = []
    for _ in range(400):
        spread = [deviation(rng.normal(0, size**-0.5, size=30))[0] for size in sizes]
        fit = exponent(sizes, spread, 30)
        pulls.append((fit.value + 0.5) / fit.error)
    assert abs(np.mean(pulls)) < 5 / 20  # five standard errors of the mean of 400 unit scores
    assert np.std(pulls) == pytest.approx(1, abs=0.18)  # five standard errors 1 / sqrt(800)
    assert fit.freedom == 2
    assert 0 < fit.chi2 < 20


def test_the_bias_is_separated_from_the_limit():
    limit, bias = extrapolate([50, 100, 200], [1 + 3 / 50, 1 + 3 / 100, 1 + 3 / 200], [0.1, 0.05, 0.2])
    assert (limit.value, bias.value) == (pytest.approx(1, rel=1e-12), pytest.approx(3, rel=1e-12))  # exact data
    by_numpy = np.polyfit([1 / 50, 1 / 100], [2.0, 1.0], 1)
    assert extrapolate([50, 100], [2.0, 1.0], [1.0, 1.0])[1].value == pytest.approx(
        by_numpy[0], rel=1e-12
    )  # other least squares


def test_the_bound_holds_the_false_alarm_rate_for_correlated_scores():
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(2000):
        walks = np.cumsum(rng.standard_normal((8, 12)), axis=1)
        alarms += not agreement(walks, np.zeros(12), false_alarm=0.05).passed
    assert alarms <= 2000 * 0.05 + 5 * np.sqrt(2000 * 0.05)  # at most the stated rate, five standard errors above
    assert alarms > 10  # and not a bound that nothing can exceed


def test_few_runs_need_a_wider_bound_than_the_normal_law():
    assert score_bound(1, 3, 0.05) == pytest.approx(4.3027, abs=1e-4)  # tables of Student's t, two degrees of freedom
    assert score_bound(20, 5) > score_bound(1, 5) > score_bound(1, 50)


def test_an_allowance_forgives_a_stated_bias_and_no_more():
    rng = np.random.default_rng(3)
    runs = rng.normal(1.05, 0.02, size=(25, 6))
    theory = np.ones(6)
    assert not agreement(runs, theory).passed
    assert agreement(runs, theory, allowance=0.05).passed
    assert not agreement(runs + 0.05, theory, allowance=0.05).passed


def test_points_without_scatter_must_agree_to_rounding():
    runs = np.ones((4, 2))
    runs[:, 1] += np.random.default_rng(4).normal(0, 0.1, size=4)
    assert agreement(runs, np.array([1.0, 1.0])).scores[0] == 0
    assert not agreement(runs, np.array([1.001, 1.0])).passed


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda: deviation([1.0]), "two runs"),
        (lambda: exponent([100, 100], [1.0, 1.0], 5), "two different sizes"),
        (lambda: exponent([100, 200], [1.0, 0.0], 5), "positive"),
        (lambda: agreement(np.ones((3, 2)), np.ones(3)), "theory of shape"),
        (lambda: agreement(np.full((3, 2), np.nan), np.ones(2)), "NaN"),
        (lambda: score_bound(0, 5), "one score"),
    ],
)
def test_too_little_data_is_refused(call, remedy):
    with pytest.raises(ValueError, match=remedy):
        call()
