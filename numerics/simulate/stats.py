"""Verdicts on ensembles: deviation between runs, exponents in N, scores of the seed mean, and their family-wise bound.

    score = (mean over n runs - theory) / (s / sqrt n),     Student t with n - 1 degrees of freedom if the theory is right
    bound: P(max over m scores > b) <= false_alarm,         b = t quantile at 1 - false_alarm / (2 m)       (Bonferroni)

Bonferroni's bound holds whatever the correlations, so neighbouring times need no correction (and make it conservative). Theory
is the limit N -> oo, runs have a finite N: the mean is off by b/N, and an *allowance* for that bias is taken off the distance
before it is scored. State where the allowance comes from: `extrapolate` measures it from several sizes.
Imported by `numerics`; imports NumPy, and SciPy at the first call.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A weighted straight-line fit: estimate, its standard error, and chi-square with its degrees of freedom."""

    value: float
    error: float
    chi2: float
    freedom: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Verdict on an ensemble against a theory.

    Attributes
    ----------
    statistic : float
        Largest absolute score.
    bound : float
        Passed by chance with probability ``false_alarm`` at most if the theory is right.
    passed : bool
    scores : array
        Signed scores, the shape of the theory.
    false_alarm : float
    runs : int
    """

    statistic: float
    bound: float
    passed: bool
    scores: Array
    false_alarm: float
    runs: int


def deviation(samples: Any) -> tuple[Array, Array]:
    """Standard deviation between runs (first axis) and its standard error s / sqrt(2 (n - 1)).

    >>> s, error = deviation([[1.0], [2.0], [3.0]])
    >>> s.tolist(), error.tolist()
    ([1.0], [0.5])
    """
    array = np.asarray(samples, dtype=np.float64)
    if array.ndim < 1 or array.shape[0] < 2:
        raise ValueError("a deviation between runs needs at least two runs along the first axis.")
    s = array.std(axis=0, ddof=1)
    return s, s / np.sqrt(2 * (array.shape[0] - 1))


def exponent(sizes: Any, deviations: Any, runs: Any) -> Fit:
    """Exponent b of deviation = a N^b, by weighted least squares on logarithms.

    Parameters
    ----------
    sizes, deviations : arrays, shape (S,)
        At least two different sizes, and the deviation between runs at each.
    runs : int or array, shape (S,)
        Number of runs behind each deviation; the standard error of its logarithm is 1 / sqrt(2 (n - 1)).

    Examples
    --------
    >>> fit = exponent([100, 400, 1600], [0.2, 0.1, 0.05], 51)
    >>> round(fit.value, 12), round(fit.error, 4)
    (-0.5, 0.051)
    """
    x, y = np.log(np.asarray(sizes, dtype=np.float64)), np.asarray(deviations, dtype=np.float64)
    if np.any(y <= 0):
        raise ValueError("every deviation must be positive; a vanishing one means that the runs do not differ at all.")
    n = np.broadcast_to(np.asarray(runs, dtype=np.float64), y.shape)
    if np.any(n < 2):
        raise ValueError("every size needs at least two runs.")
    (_, slope), errors, chi2 = _weighted(np.stack([np.ones_like(x), x], axis=1), np.log(y), 1 / np.sqrt(2 * (n - 1)))
    return Fit(value=float(slope), error=float(errors[1]), chi2=chi2, freedom=x.size - 2)


def extrapolate(sizes: Any, means: Any, errors: Any) -> tuple[Fit, Fit]:
    """Limit and 1/N bias of seed means, by weighted least squares on mean = limit + bias / N.

    Returns
    -------
    limit, bias : Fit
        ``abs(bias.value) / N`` is the allowance to give to `agreement` at size N.

    Examples
    --------
    >>> limit, bias = extrapolate([10, 20], [1.2, 1.1], [0.01, 0.01])
    >>> round(limit.value, 12), round(bias.value, 12)
    (1.0, 2.0)
    """
    inverse = 1 / np.asarray(sizes, dtype=np.float64)
    design = np.stack([np.ones_like(inverse), inverse], axis=1)
    values, spread, chi2 = _weighted(design, np.asarray(means, dtype=np.float64), np.asarray(errors, dtype=np.float64))
    limit, bias = (
        Fit(value=float(v), error=float(e), chi2=chi2, freedom=inverse.size - 2) for v, e in zip(values, spread, strict=True)
    )
    return limit, bias


def _weighted(design: Array, y: Array, errors: Array) -> tuple[Array, Array, float]:
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError("a straight line needs at least two different sizes.")
    scaled, target = design / errors[:, None], y / errors
    cov = np.linalg.inv(scaled.T @ scaled)
    values = cov @ (scaled.T @ target)
    return values, np.sqrt(np.diag(cov)), float(np.sum((target - scaled @ values) ** 2))


def score_bound(count: int, runs: int, false_alarm: float = 1e-3) -> float:
    """Bound on the largest of ``count`` two-sided Student scores of ``runs`` runs, see the head of this file.

    >>> score_bound(1, 10**6, 0.05) < 1.9601 < score_bound(10, 10**6, 0.05)
    True
    """
    from scipy.stats import t

    if count < 1 or runs < 2 or not 0 < false_alarm < 1:
        raise ValueError("a bound needs at least one score, two runs and a false-alarm rate between 0 and 1.")
    return float(t.isf(false_alarm / (2 * count), runs - 1))


def agreement(samples: Any, theory: Any, *, allowance: Any = 0.0, false_alarm: float = 1e-3) -> Agreement:
    """Compare the mean of runs with a theory, at every time and for every quantity at once.

    Parameters
    ----------
    samples : array, shape (n, ...)
        Runs along the first axis.
    theory : array, shape (...)
    allowance : float or array
        Distance that the finite size explains, for example ``abs(bias.value) / N`` of `extrapolate`; say where it comes from.
    false_alarm : float
        Probability that a right theory is rejected, over all scores together.

    Returns
    -------
    Agreement
        Points where all runs agree to rounding (the start) score 0 if the theory does too, otherwise infinity.

    Examples
    --------
    >>> runs = np.random.default_rng(0).normal(1.0, 0.1, size=(20, 5))
    >>> agreement(runs, np.ones(5)).passed, agreement(runs, 1.2 * np.ones(5)).passed
    (True, False)
    """
    array, target = np.asarray(samples, dtype=np.float64), np.asarray(theory, dtype=np.float64)
    if array.shape[1:] != target.shape:
        raise ValueError(f"runs of shape {array.shape[1:]} against a theory of shape {target.shape}.")
    if not (np.all(np.isfinite(array)) and np.all(np.isfinite(target))):
        raise ValueError("runs or theory hold NaN or infinity; nothing can be concluded from them.")
    spread, _ = deviation(array)
    gap = array.mean(axis=0) - target
    rest = np.sign(gap) * np.maximum(np.abs(gap) - allowance, 0.0)
    rounding = 1e-12 * np.maximum(1.0, np.abs(target))  # 1e-12: sums over 1e3..1e4 entries in another order
    error = spread / np.sqrt(array.shape[0])
    fixed = error <= rounding
    scores = np.where(fixed, np.where(np.abs(rest) <= rounding, 0.0, np.inf), rest / np.where(fixed, 1.0, error))
    moving = max(1, int(np.count_nonzero(~fixed)))
    bound = score_bound(moving, array.shape[0], false_alarm)
    statistic = float(np.max(np.abs(scores), initial=0.0))
    return Agreement(
        statistic=statistic,
        bound=bound,
        passed=statistic <= bound,
        scores=np.asarray(scores),
        false_alarm=false_alarm,
        runs=array.shape[0],
    )
