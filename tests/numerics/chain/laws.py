r"""Comparing two ensembles of runs: the gate of the law tests at small N.

Scores are z = (difference of the two sample means) / (its standard error), for every quantity at every time (means), and for
every product of two centred quantities at one time (covariances). With thousands of runs a score is nearly N(0, 1), so
    bound = normal quantile at 1 - false_alarm / (2 * number of scores)                                        (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from numerics.simulate import Stream
from numerics.simulate.families.committee import one_pass


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Largest score of means and covariances, its bound, and whether every run ended well."""

    statistic: float
    bound: float
    good: bool

    @property
    def passed(self):
        return self.good and self.statistic <= self.bound


def features(X):
    """Means and covariances as means: (n, T, F) -> (n, T, F + F (F + 1) / 2)."""
    centred = X - X.mean(axis=0)
    i, j = np.triu_indices(X.shape[-1])
    return np.concatenate([X, centred[..., i] * centred[..., j] * len(X) / (len(X) - 1)], axis=-1)


def scores(X, Y):
    """z of every feature at every time."""
    a, b = features(X), features(Y)
    return (a.mean(axis=0) - b.mean(axis=0)) / np.sqrt(a.var(axis=0, ddof=1) / len(a) + b.var(axis=0, ddof=1) / len(b))


def compare(X, Y, false_alarm):
    """Gate on the largest score; NaN (a run that failed) does not pass."""
    good = bool(np.all(np.isfinite(X)) and np.all(np.isfinite(Y)))
    z = scores(X, Y) if good else np.array([np.inf])
    return Verdict(statistic=float(np.max(np.abs(z))), bound=float(norm.isf(false_alarm / (2 * z.size))), good=good)


def packed(Q, R, v):
    """Independent overlaps and readouts side by side, without the start: (..., T - 1, F)."""
    i, j = np.triu_indices(Q.shape[-1])
    return np.concatenate([Q[..., i, j], R.reshape(*R.shape[:-2], -1), v], axis=-1)[..., 1:, :]


def direct(start, values, runs, seed, steps, every):
    """Runs of the hand-written kernel on full weights, from the same weights."""
    rates = {"eta": values["eta"], "eta_v": values["eta_v"], "sigma": values["sigma"], "decay": values["kappa"]}
    out = []
    for replica in range(runs):
        rng = Stream(root=seed, replica=replica).generator("train")
        run = one_pass(rng, start["W"], start["v"], start["Wstar"], values["A"], steps=steps, every=every, **rates)
        out.append(packed(run.Q, run.R, run.v))
    return np.array(out)
