"""Families: runs against exact results, independence of the records, refusals, and the cache on disk.

That one step and a whole run equal the tape is tested in tests/witness.
"""

from itertools import pairwise

import numpy as np
import pytest

from numerics.simulate import Stream
from numerics.simulate.families import committee, deep_linear, jit
from numerics.simulate.stats import agreement


def teacher_student(N, K, M, stream):
    rng = stream.generator("start")
    return rng.standard_normal((K, N)), rng.standard_normal((M, N))


def test_linear_committee_settles_at_its_stationary_error():
    """Roads: SGD of full weights; E' = E - (2 eta K - eta^2 K^2 (1 + 2/N)) E / N + eta^2 K^2 sigma^2 / N, exact at every N for
    fresh Gaussian inputs (E|x|^4 = N (N + 2)); its fixed point is the stationary error."""
    N, K, eta, sigma = 60, 2, 0.3, 0.5
    finals = []
    for r in range(12):
        stream = Stream(root=11, replica=r)
        W, teacher = teacher_student(N, K, 1, stream)
        rng = stream.generator("train")
        run = committee.one_pass(
            rng, W, np.ones(K), teacher, [1.0], activation="linear", eta=eta, sigma=sigma, steps=2000 * N, every=10 * N
        )
        E = run.Q.sum(axis=(1, 2)) - 2 * run.R.sum(axis=(1, 2)) + run.T[0, 0]
        finals.append(E[run.t > 100].mean())
    a = eta * K
    exact = a**2 * sigma**2 / (2 * a - a**2 * (1 + 2 / N))
    limit = eta * sigma**2 * K / (2 - eta * K)
    assert agreement(np.array(finals)[:, None], np.array([exact])).passed
    assert not agreement(np.array(finals)[:, None], np.array([1.2 * limit])).passed  # the test has the power to reject


def test_a_run_does_not_depend_on_its_records_or_on_the_block_of_draws(monkeypatch):
    W, teacher = teacher_student(40, 2, 2, Stream(root=1))

    def end(every):
        rng = np.random.default_rng(5)
        return committee.one_pass(rng, W, [1, 1], teacher, [1, -1], eta=0.5, eta_v=0.1, sigma=0.1, steps=3000, every=every)

    reference = end(None)
    assert np.array_equal(reference.W_end, end(7).W_end)
    assert reference.t[[0, -1]].tolist() == [0, 75]
    assert reference.Q.shape == (101, 2, 2)
    assert np.array_equal(W, teacher_student(40, 2, 2, Stream(root=1))[0])  # the start is not overwritten
    monkeypatch.setattr(committee, "BLOCK", 8 * 41 * 13)
    assert np.array_equal(reference.W_end, end(None).W_end)


@pytest.mark.parametrize("activation", ["relu", "erf2", "linear"])
def test_a_student_that_is_the_teacher_stays(activation):
    W, _ = teacher_student(30, 2, 1, Stream(root=2))
    run = committee.one_pass(
        np.random.default_rng(0), W, [1, 1], W, [1, 1], activation=activation, eta=0.5, eta_v=0.5, steps=500
    )
    assert np.max(np.abs(run.W_end - W)) < 1e-12  # a difference of equal sums, at most rounding
    nearby = committee.one_pass(np.random.default_rng(0), 0.5 * W, [1, 1], W, [1, 1], activation=activation, eta=0.5, steps=500)
    assert np.max(np.abs(nearby.W_end - 0.5 * W)) > 1e-2


def test_deep_linear_modes_follow_the_exact_recursion_of_their_strength():
    """Roads: matrices; the scalar map of one aligned mode, a <- a + eta b (s - ab), in plain Python, for the same start."""
    rng = np.random.default_rng(3)
    U, V, R = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(3))
    s, a, b = np.array([3.0, 2.0, 1.0]), np.array([0.1, 0.2, 0.3]), np.array([0.3, 0.1, 0.2])
    weights = (R @ np.diag(a) @ V.T, U @ np.diag(b) @ R.T)
    run = deep_linear.full_batch(weights, np.eye(3), U @ np.diag(s) @ V.T, 0.01, 400, every=400)
    for _ in range(400):
        gap = s - a * b
        a, b = a + 0.01 * b * gap, b + 0.01 * a * gap
    assert np.max(np.abs(U.T @ run.product[-1] @ V - np.diag(a * b))) < 1e-10  # 400 steps, amplification of rounding below e^8


@pytest.mark.parametrize("depth", [1, 3])
def test_every_layer_width_and_depth_agrees_between_the_compiled_and_the_wide_form(depth, monkeypatch):
    rng = np.random.default_rng(4)
    widths = [4, 6, 2, 3][: depth + 1]
    weights = [0.5 * rng.standard_normal((n, m)) for m, n in pairwise(widths)]
    X, Y = rng.standard_normal((4, 9)), rng.standard_normal((widths[-1], 9))
    runs = []
    for narrow in (24, 0):
        monkeypatch.setattr(deep_linear, "NARROW", narrow)
        full = deep_linear.full_batch(weights, X @ X.T / 9, Y @ X.T / 9, 0.05, 50, 20)
        batch = deep_linear.mini_batch(np.random.default_rng(6), weights, X, Y, 0.05, 3, 50, 20)
        runs.append((full, batch))
    for compiled, wide in zip(*runs, strict=True):
        assert compiled.t.tolist() == pytest.approx([0, 1, 2, 2.5])
        assert compiled.product.shape == (4, widths[-1], 4)
        assert np.max(np.abs(compiled.product - wide.product)) < 1e-12  # 50 steps of the same sums in another order


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="first layer first"):
        deep_linear.full_batch([np.ones((2, 3)), np.ones((3, 3))], np.eye(3), np.eye(3), 0.1, 1)
    with pytest.raises(ValueError, match="3 inputs"):
        deep_linear.full_batch([np.ones((2, 3))], np.eye(2), np.ones((2, 3)), 0.1, 1)
    with pytest.raises(ValueError, match="erf2"):
        committee.one_pass(
            np.random.default_rng(0), np.ones((1, 3)), [1], np.ones((1, 3)), [1], activation="gelu", eta=1, steps=1
        )
    with pytest.raises(ValueError, match="do not fit"):
        committee.one_pass(np.random.default_rng(0), np.ones((1, 3)), [1], np.ones((1, 4)), [1], eta=1, steps=1)


def double(x):
    return 2 * x


def test_a_cache_that_cannot_be_written_or_read_costs_a_compilation_only(monkeypatch):
    import numba

    real = numba.njit

    class Damaged:
        def compile(self, types):
            raise EOFError("truncated")

    def read_only(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(**options)

    def truncated(*args, cache=False, **options):
        return (lambda function: Damaged()) if cache else real(**options)

    for broken in (read_only, truncated):
        monkeypatch.setattr(numba, "njit", broken)
        assert jit.compiled(double)(21) == 42
