r"""Whether two simulators draw from one law: means and covariances of all quantities, over independent batches of runs.

Runs are cut into batches. In each batch every mean and every covariance (at one time) of the two samples is scored,

    z = (a - b) / sqrt(s_a^2 / n + s_b^2 / n),        n runs per batch,

so for one law the scores of a quantity are independent N(0, 1) numbers, up to 1/n. Three tests look at them: their sum over the
square root of their number (a difference of the laws), the sum of their squares, chi-square and two-sided (too wide or too
narrow), and Kolmogorov's distance from N(0, 1) (another shape). With m quantities each of the 3 m p-values is compared with
false_alarm / (3 m), so the family-wise error is ``false_alarm`` at most, whatever the correlations (Bonferroni).
Imported by `numerics` and users; imports NumPy, and SciPy at the first call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
TESTS = ("sum of z", "sum of z^2", "distance from N(0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SameLaw:
    """Verdict on two ensembles.

    Attributes
    ----------
    passed : bool
    statistic : float
        Smallest p-value times the number of tests; passed if it is not below ``false_alarm``.
    false_alarm : float
        Family-wise error.
    worst : str
        The quantity and the test of the smallest p-value.
    z : array, shape (batches, quantities)
    p : array, shape (3, quantities)
        One row for each of ``TESTS``.
    """

    passed: bool
    statistic: float
    false_alarm: float
    worst: str
    z: Array
    p: Array


def same_law(first: Any, second: Any, *, batches: int = 60, false_alarm: float = 0.01, names: Sequence[str] = ()) -> SameLaw:
    """Compare two ensembles of independent runs.

    Parameters
    ----------
    first, second : arrays, shape (runs, T, F)
        F quantities at T times; equally many runs, a multiple of ``batches``. A quantity that is constant in both is compared
        exactly.
    batches : int
        At least 8, each of 20 runs or more.
    false_alarm : float
        Probability that two equal laws fail.
    names : sequence of F str, optional

    Returns
    -------
    SameLaw

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a, b, c = rng.normal(size=(3, 4000, 1, 2))
    >>> same_law(a, b, batches=20).passed, same_law(a, 1.2 * c, batches=20).passed
    (True, False)
    """
    X, Y = (np.asarray(a, dtype=np.float64) for a in (first, second))
    if X.ndim != 3 or X.shape != Y.shape or batches < 8 or len(X) % batches or len(X) < 20 * batches:
        raise ValueError(
            f"two ensembles of shapes {X.shape} and {Y.shape} in {batches} batches: pass equal shapes (runs, T, F), and a "
            "multiple of at least 8 batches of at least 20 runs."
        )
    labels = _labels(X.shape[1], X.shape[2], names)
    if not (np.all(np.isfinite(X)) and np.all(np.isfinite(Y))):
        return SameLaw(
            passed=False, statistic=0.0, false_alarm=false_alarm, worst="a run that failed", z=np.zeros((batches, 0)),
            p=np.zeros((3, 0)),
        )  # fmt: skip
    z = np.array([_scores(a, b) for a, b in zip(np.split(X, batches), np.split(Y, batches), strict=True)])
    p = _probabilities(z)
    row, column = np.unravel_index(int(np.argmin(p)), p.shape)
    statistic = float(min(1.0, p[row, column] * p.size))
    return SameLaw(
        passed=statistic >= false_alarm, statistic=statistic, false_alarm=false_alarm, worst=f"{labels[column]}: {TESTS[row]}",
        z=z, p=p,
    )  # fmt: skip


def _labels(times: int, count: int, names: Sequence[str]) -> list[str]:
    own = list(names) or [f"quantity {f}" for f in range(count)]
    pairs = [f"cov({own[i]}, {own[j]})" for i, j in zip(*np.triu_indices(count), strict=True)]
    return [f"{what} at record {t}" for t in range(times) for what in (*(f"mean {n}" for n in own), *pairs)]


def _features(X: Array) -> Array:
    """Means and covariances as means: (n, T, F) -> (n, T * (F + F (F + 1) / 2))."""
    centred = X - X.mean(axis=0)
    i, j = np.triu_indices(X.shape[-1])
    both = np.concatenate([X, centred[..., i] * centred[..., j] * len(X) / (len(X) - 1)], axis=-1)
    return both.reshape(len(X), -1)


def _scores(X: Array, Y: Array) -> Array:
    a, b = _features(X), _features(Y)
    error = np.sqrt(a.var(axis=0, ddof=1) / len(a) + b.var(axis=0, ddof=1) / len(b))
    gap = a.mean(axis=0) - b.mean(axis=0)
    still = error <= 1e-12 * np.maximum(np.abs(a).max(axis=0), 1e-300)  # rounding of a constant
    same = np.abs(gap) <= 1e-9 * np.maximum(np.abs(a).max(axis=0), 1e-300)
    return np.where(still, np.where(same, np.nan, np.inf), gap / np.where(still, 1.0, error))


def _probabilities(z: Array) -> Array:
    """p-values of the three tests for every quantity; 1 for one that is constant and the same in both."""
    from scipy.stats import chi2, kstwo, norm

    out, n = np.ones((3, z.shape[1])), len(z)
    still = np.all(np.isnan(z), axis=0)
    out[:, ~still & ~np.all(np.isfinite(z), axis=0)] = 0.0
    good = np.all(np.isfinite(z), axis=0)
    z = z[:, good]
    total = np.sum(z**2, axis=0)
    steps, cdf = np.arange(n + 1)[:, None] / n, norm.cdf(np.sort(z, axis=0))
    distance = np.maximum((steps[1:] - cdf).max(axis=0), (cdf - steps[:-1]).max(axis=0))
    out[0, good] = 2 * norm.sf(np.abs(z.sum(axis=0)) / np.sqrt(n))
    out[1, good] = np.minimum(1.0, 2 * np.minimum(chi2.cdf(total, n), chi2.sf(total, n)))
    out[2, good] = kstwo.sf(distance, n)
    return out


__all__ = ["TESTS", "SameLaw", "same_law"]
