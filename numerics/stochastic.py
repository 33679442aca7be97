"""Verdicts on simulations at several sizes n (dt = 1/n: dimension of one-pass SGD, or inverse step of mini-batch SGD).

Two rows for each ensemble, both linear in what can go wrong:

1. *mean*: the seed means  m_n = limit + bias / n + noise  are extrapolated to n -> oo; the scores (limit - theory) / error are
   Student t if the theory is right, and their maximum over times and quantities stays below Sidak's bound with the stated
   probability. The bias is measured on the runs alone, so a wrong theory cannot hide in it. With one size there is no bias to
   measure, and the mean itself is scored.
2. *spread*: the deviation between runs must fall like n^(-1/2); the fitted exponent must agree within its error at the stated
   probability, and that error must be at most 0.1 to say anything.

Imported by validation and the claim checkers; the statistics are those of `numerics.simulate.stats`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from derive.errors import InvalidSpec
from numerics.report import Check
from numerics.simulate.stats import deviation, score_bound
from numerics.trajectory import Array

FALSE_ALARM = 0.01
ROUNDING = 1e-10  # relative; runs that agree to this did not draw anything up to that time


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of extrapolated means.

    Attributes
    ----------
    scores : (...)
        (limit - theory) / error, signed; 0 or infinity where nothing was drawn.
    bound : float
        Bound on the largest absolute score.
    limit, error, bias : (...)
    """

    scores: Array
    bound: float
    limit: Array
    error: Array
    bias: Array

    @property
    def statistic(self) -> float:
        """The largest absolute score."""
        return float(np.abs(self.scores).max())


def scores(sizes: Sequence[int], runs: Sequence[Array], theory: Array, *, false_alarm: float = FALSE_ALARM) -> Scores:
    """Scores of the seed means, extrapolated to infinite size, against a theory.

    Parameters
    ----------
    sizes : (S,)
        One or at least two different sizes.
    runs : S arrays (n, ...)
        Runs along the first axis, two or more.
    theory : (...)

    Raises
    ------
    InvalidSpec
        If shapes do not fit, runs are not finite, or there are too few.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> runs = [1 + 2 / n + rng.normal(0, n**-0.5, size=(20, 5)) for n in (100, 400)]
    >>> result = scores((100, 400), runs, np.ones(5))
    >>> result.statistic < result.bound, scores((100, 400), runs, 1.5 * np.ones(5)).statistic < result.bound
    (True, False)
    """
    target = np.asarray(theory, dtype=float)
    for size, sample in zip(sizes, runs, strict=True):
        if np.shape(sample)[1:] != target.shape:
            raise InvalidSpec(
                f"runs at size {size} record {np.shape(sample)[1:]}, the theory {target.shape}; use the same times"
            )
        if len(sample) < 2:
            raise InvalidSpec(f"size {size} has {len(sample)} run; two or more seeds are needed to score a mean")
        if not (np.isfinite(sample).all() and np.isfinite(target).all()):
            raise InvalidSpec(f"runs at size {size}, or the theory, hold NaN or infinity; look at their status first")
    means = np.array([np.mean(r, axis=0) for r in runs])
    noise = np.array([deviation(r)[0] / np.sqrt(len(r)) for r in runs])
    tiny = ROUNDING * np.maximum(1.0, np.abs(target))
    fixed = (noise <= tiny).any(axis=0)
    limit, error, bias = _extrapolate(np.asarray(sizes, dtype=float), means, np.where(fixed, 1.0, noise))
    gap = np.where(fixed, means[-1], limit) - target
    values = np.where(fixed, np.where(np.abs(gap) <= tiny, 0.0, np.inf), gap / error)
    moving = max(1, int(np.count_nonzero(~fixed)))
    bound = score_bound(moving, min(len(r) for r in runs), false_alarm)
    return Scores(scores=values, bound=bound, limit=limit, error=error, bias=bias)


def _extrapolate(sizes: Array, means: Array, noise: Array) -> tuple[Array, Array, Array]:
    """Weighted least squares of means on (1, 1/n), entry by entry; the error grows with the misfit of the line (n^-2 terms)."""
    if len(set(sizes.tolist())) == 1:
        weight = 1 / noise**2
        total = weight.sum(axis=0)
        return (weight * means).sum(axis=0) / total, total**-0.5, np.zeros_like(total)
    x = (1 / sizes).reshape(-1, *(1,) * (means.ndim - 1))
    w = 1 / noise**2
    a, b, c = w.sum(axis=0), (w * x).sum(axis=0), (w * x * x).sum(axis=0)
    p, q = (w * means).sum(axis=0), (w * x * means).sum(axis=0)
    det = a * c - b * b
    limit, bias = (c * p - b * q) / det, (a * q - b * p) / det
    freedom = len(set(sizes.tolist())) - 2
    misfit = (w * (means - limit - bias * x) ** 2).sum(axis=0) / freedom if freedom else np.ones_like(limit)
    return limit, np.sqrt(c / det * np.maximum(1.0, misfit)), bias


def spread_exponent(sizes: Sequence[int], runs: Sequence[Array]) -> tuple[float, float]:
    """Exponent of the run-to-run deviation in the size, and its standard error.

    The logarithm of the deviation between runs is averaged over times and quantities (they need no common unit) and fitted by a
    line in log size. Neighbouring times are almost the same number, so the standard error is the jackknife's, over seeds.

    >>> rng = np.random.default_rng(1)
    >>> b, error = spread_exponent((100, 400), [n**-0.5 * rng.normal(size=(200, 3)) for n in (100, 400)])
    >>> abs(b + 0.5) < 3 * error < 0.3
    True

    Raises
    ------
    InvalidSpec
        If the runs do not differ, or a size has fewer than three seeds.
    """
    if min(len(r) for r in runs) < 3:
        raise InvalidSpec("an exponent needs three or more seeds at every size; raise seeds")
    moving = np.all([_moves(r) for r in runs], axis=0)
    if not moving.any():
        raise InvalidSpec("the runs do not differ at all: there is no deviation to fit; use different seeds")
    x = np.log(np.asarray(sizes, dtype=float))
    slope = (x - x.mean()) / ((x - x.mean()) @ (x - x.mean()))
    logs = np.array([_log_spread(r[:, moving]) for r in runs])
    variances = np.array([_jackknife(r[:, moving]) for r in runs])
    return float(slope @ logs), float(np.sqrt(slope**2 @ variances))


def _moves(sample: Array) -> npt.NDArray[np.bool_]:
    """Do two seeds at least differ from the rest? Otherwise leaving one out would leave no deviation."""
    away = np.sort(np.abs(sample - np.median(sample, axis=0)), axis=0)[-2]
    return np.asarray(away > ROUNDING * np.maximum(1.0, np.abs(sample.mean(axis=0))))


def _log_spread(sample: Array) -> float:
    return float(np.mean(np.log(sample.std(axis=0, ddof=1))))


def _jackknife(sample: Array) -> float:
    """Variance of `_log_spread` from leaving out one seed at a time."""
    n = len(sample)
    left = np.array([_log_spread(np.delete(sample, i, axis=0)) for i in range(n)])
    return float((n - 1) / n * np.sum((left - left.mean()) ** 2))


def ensemble_checks(
    label: str,
    sizes: Sequence[int],
    runs: Mapping[str, Sequence[Array]],
    theory: Mapping[str, Array],
    *,
    seed: int,
    spread: Mapping[str, Sequence[Array]] | None = None,
    false_alarm: float = FALSE_ALARM,
    mean_only: bool = False,
) -> tuple[Check, ...]:
    """The rows *mean* and (with two sizes or more, unless ``mean_only``) *spread* for several quantities at once.

    Parameters
    ----------
    runs : mapping name -> S arrays (n, T, ...)
    theory : mapping name -> (T, ...)
    spread : like ``runs``, optional
        Quantities whose deviation is fitted, if not all of them: at its minimum a loss varies by the square of the weights'
        deviation, so its own falls like 1/size.
    """
    flat = _flat(runs, len(sizes))
    target = np.concatenate([np.asarray(theory[name]).ravel() for name in runs])
    result = scores(sizes, flat, target, false_alarm=false_alarm)
    n = min(len(r) for r in flat)
    several = len(set(sizes)) > 1
    how = (
        f"seed mean extrapolated to infinite size from {', '.join(map(str, sizes))}"
        if several
        else f"seed mean at size {sizes[0]}"
    )
    checks = [
        Check(
            claim=f"{label}: {how} equals the theory",
            statistic=result.statistic,
            bound=result.bound,
            reason=f"largest Student score of {n} seeds over {target.size} entries; Sidak, false-alarm rate {false_alarm:g}",
            seed=seed,
            detail=_worst(result, runs, theory),
        )
    ]
    if several and not mean_only:
        value, error = spread_exponent(sizes, flat if spread is None else _flat(spread, len(sizes)))
        checks += [
            Check(
                claim=f"{label}: deviation between runs falls like size^(-1/2)",
                statistic=abs(value + 0.5) / error,
                bound=score_bound(1, n, false_alarm),
                reason=f"distance of the exponent from -1/2 in jackknife errors; Student, false-alarm rate {false_alarm:g}",
                seed=seed,
                detail=f"exponent {value:.3f} +- {error:.3f}",
            ),
            Check(
                claim=f"{label}: the exponent is measured well enough to say so",
                statistic=error,
                bound=0.1,
                reason="standard error of the exponent; a fifth of its value",
                seed=seed,
            ),
        ]
    return tuple(checks)


def mean_rows(
    sizes: Sequence[int],
    runs: Mapping[str, Sequence[Array]],
    theory: Mapping[str, Array],
    *,
    seed: int,
    false_alarm: float = FALSE_ALARM,
) -> tuple[Check, ...]:
    """The row *mean* for each quantity on its own; the false-alarm rate is that of all rows together, shared equally.

    Bonferroni over rows holds whatever their correlation, and quantities of one run are correlated: a run in which one of them
    strays by chance tends to take the others along.

    >>> rng = np.random.default_rng(0)
    >>> runs = {name: [1 + rng.normal(0, n**-0.5, size=(20, 5)) for n in (100, 400)] for name in ("Q", "R")}
    >>> [row.passed for row in mean_rows((100, 400), runs, {"Q": np.ones(5), "R": 1.5 * np.ones(5)}, seed=0)]
    [True, False]
    """
    share = false_alarm / max(1, len(runs))
    rows = [
        ensemble_checks(name, sizes, {name: samples}, {name: theory[name]}, seed=seed, false_alarm=share, mean_only=True)[0]
        for name, samples in runs.items()
    ]
    return tuple(replace(row, reason=f"{row.reason} ({false_alarm:g} for all {len(rows)} rows)") for row in rows)


def _flat(runs: Mapping[str, Sequence[Array]], count: int) -> list[Array]:
    """All quantities of each size as rows (n, entries)."""
    return [np.concatenate([r[i].reshape(len(r[i]), -1) for r in runs.values()], axis=1) for i in range(count)]


def _worst(result: Scores, runs: Mapping[str, Sequence[Array]], theory: Mapping[str, Array]) -> str:
    """Name and index of the entry with the largest score."""
    at = int(np.abs(result.scores).argmax())
    for name in runs:
        size = np.asarray(theory[name]).size
        if at < size:
            index = [int(i) for i in np.unravel_index(at, np.asarray(theory[name]).shape)]
            return f"largest at {name}{index}"
        at -= size
    return ""
