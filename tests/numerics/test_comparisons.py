"""Comparisons that can fail: the order of gradient descent and its control, scores with a kept false-alarm rate, exponents."""

import numpy as np
import pytest

from derive.errors import InvalidSpec, ShapeMismatch
from numerics.compare import common_deviation, deviation, order
from numerics.stochastic import ensemble_checks, scores, spread_exponent

SIZES = (100, 200, 400, 800)


def test_deviation_is_relative_and_never_broadcasts():
    assert deviation(np.array([2.0, 4.0]), np.array([2.0, 5.0])) == 0.25
    assert deviation(np.zeros(2), np.array([0.0, 0.5])) == 0.5
    assert np.isnan(common_deviation({"a": np.ones(2)}, {"b": np.ones(2)}))  # nothing compared is no success
    with pytest.raises(ShapeMismatch, match="same times"):
        deviation(np.zeros((3, 1)), np.zeros(3))


def descent(eta, time):
    """Gradient descent on u' = -u, exact solution e^{-t}."""
    return (1 - eta) ** round(time / eta)


def test_order_one_and_its_control():
    etas = [0.02, 0.01, 0.005, 0.0025]
    slope, error = order(etas, [abs(descent(e, 1.0) - np.exp(-1)) for e in etas])
    assert abs(slope - 1) < 0.03  # the next order contributes about eta/2 to the slope
    assert error < 0.01
    stretched, _ = order(etas, [abs(descent(e, 1.0) - np.exp(-1.005)) for e in etas])
    assert abs(stretched - 1) > 0.3  # an offset of 0.5 % in time is larger than the smallest error


@pytest.mark.parametrize(("steps", "errors"), [([0.1, 0.2], [1, 2]), ([0.1, 0.2, 0.3], [1, 0, 2])])
def test_order_refuses_what_has_none(steps, errors):
    with pytest.raises(InvalidSpec, match="order of convergence"):
        order(steps, errors)


def ensemble(rng, shift=0.0, bias=3.0, seeds=12, entries=15, power=-0.5):
    """Random walks in time around ``shift + bias / n`` with deviation n^power."""
    walk = [np.cumsum(rng.normal(size=(seeds, entries)), axis=1) / 4 for _ in SIZES]
    return [shift + bias / n + n**power * w for n, w in zip(SIZES, walk, strict=True)]


def test_false_alarm_rate_is_kept():
    """2000 right ensembles with a 1/N bias; 1 % stated, at most 1 % + 3 standard deviations (0.7 %) seen."""
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(2000):
        result = scores(SIZES, ensemble(rng), np.zeros(15))
        alarms += result.statistic > result.bound
    assert alarms / 2000 < 0.017


def test_a_wrong_theory_is_rejected_however_large_the_bias():
    """A shift of 0.15 is 5 to 10 standard errors of the limit; the bias is measured on the runs alone and cannot absorb it."""
    rng = np.random.default_rng(1)
    for bias in (0.0, 3.0, 30.0):
        result = scores(SIZES, ensemble(rng, shift=0.15, bias=bias), np.zeros(15))
        assert result.statistic > result.bound


def test_points_before_the_first_draw_must_agree_exactly():
    runs = [np.concatenate([np.ones((5, 1)), np.random.default_rng(n).normal(size=(5, 1))], axis=1) for n in SIZES]
    assert np.isinf(scores(SIZES, runs, np.array([1.1, 0.0])).scores[0])
    assert scores(SIZES, runs, np.array([1.0, 0.0])).scores[0] == 0


def test_exponent_and_its_jackknife_error():
    """200 ensembles of strongly correlated times: the stated error is the actual scatter within 15 %."""
    rng = np.random.default_rng(2)
    found = [spread_exponent(SIZES, ensemble(rng)) for _ in range(200)]
    values, errors = np.array(found).T
    assert abs(values.mean() + 0.5) < 3 * values.std() / np.sqrt(200)  # 3 standard errors, 0.3 % false alarm
    assert 0.85 < values.std() / errors.mean() < 1.15


def test_rows_name_what_is_worst_and_reject_a_wrong_exponent():
    rng = np.random.default_rng(3)
    runs = ensemble(rng, seeds=30)
    good = ensemble_checks("e", SIZES, {"R": runs}, {"R": np.zeros(15)}, seed=0)
    assert [c.passed for c in good] == [True, True, True]
    theory = np.zeros(15)
    theory[7] = 5.0
    bad = ensemble_checks("e", SIZES, {"R": runs}, {"R": theory}, seed=0)
    assert not bad[0].passed
    assert "R[7]" in bad[0].detail
    slow = ensemble_checks("e", SIZES, {"R": ensemble(rng, seeds=30, power=-0.1)}, {"R": np.zeros(15)}, seed=0)
    assert not slow[1].passed


@pytest.mark.parametrize(
    ("runs", "theory", "message"),
    [
        ([np.zeros((1, 2))], np.zeros(2), "two or more seeds"),
        ([np.zeros((3, 2))], np.zeros(3), "use the same times"),
        ([np.full((3, 2), np.nan)], np.zeros(2), "look at their status"),
    ],
)
def test_unusable_runs_are_refused(runs, theory, message):
    with pytest.raises(InvalidSpec, match=message):
        scores((100,), runs, theory)
    with pytest.raises(InvalidSpec, match="do not differ"):
        spread_exponent((100, 200), [np.ones((4, 2)), np.ones((4, 2))])


def test_the_false_alarm_rate_is_that_of_all_rows_together() -> None:
    """Road one: the stated rate. Road two: 400 right ensembles of four quantities that move together, counted.

    Students of 20 runs over 5 correlated times are rejected in far less than 1 % by Bonferroni; 400 trials at exactly 1 % give
    more than 10 rejections with probability 0.003, which is the false-alarm rate of this test at most.
    """
    from numerics.stochastic import mean_rows

    rng = np.random.default_rng(11)
    theory = {name: np.zeros(5) for name in "QRve"}
    rejected, wrong = 0, 0
    for _ in range(400):
        common = [rng.normal(0, n**-0.5, (20, 1)) for n in (200, 400)]
        runs = {name: [c + rng.normal(0, n**-0.5, (20, 5)) for n, c in zip((200, 400), common, strict=True)] for name in theory}
        rejected += not all(row.passed for row in mean_rows((200, 400), runs, theory, seed=0))
        moved = {name: [sample + 0.1 for sample in samples] for name, samples in runs.items()}  # five errors of the mean
        wrong += not all(row.passed for row in mean_rows((200, 400), moved, theory, seed=0))
    assert rejected <= 10
    assert wrong >= 60  # the control that the rows can fail: a fifth of these shifts is less than the bound allows
