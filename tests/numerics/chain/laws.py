r"""Comparing two ensembles of runs: the gate of the law tests, and mutants of the compiled loop.

Scores are z = (difference of the two sample means) / (its standard error), for every quantity at every time (means), and for
every product of two centred quantities at one time (covariances). With thousands of runs a score is nearly N(0, 1), so
    bound = normal quantile at 1 - false_alarm / (2 * number of scores)                                        (Bonferroni).
"""

from __future__ import annotations

import importlib.util
import inspect
from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, norm

from numerics.simulate import Stream, chain_loop
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


def battery(X, Y, batches, false_alarm):
    """Sums of z^2 of the means over independent batches, and chi-square quantiles: too large and too small both fail."""
    pairs = zip(np.split(X, batches), np.split(Y, batches), strict=True)
    z = np.array([(a.mean(0) - b.mean(0)) / np.sqrt(a.var(0, ddof=1) / len(a) + b.var(0, ddof=1) / len(b)) for a, b in pairs])
    total = np.sum(z**2, axis=0)
    tail = false_alarm / (2 * total.size)
    return total, float(chi2.ppf(tail, batches)), float(chi2.isf(tail, batches))


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


#: text of the loop -> what a mutant has instead; {w} stands for "the mutant is switched on".
MUTANTS = {
    "degrees of freedom off by the rank": ("rng.chisquare(N - rank)", "rng.chisquare(N if {w} else N - rank)"),
    "no fluctuation of the length": ("z += rng.chisquare(", "z += float(N - rank) if {w} else rng.chisquare("),
    "no decay of the overlaps": ("A[p, q] += d * C[G[k, 1], q]", "A[p, q] += 0.0 if {w} else d * C[G[k, 1], q]"),
    "first order only in D C D'": ("C[q, p] += d * A[q, G[k, 1]]", "C[q, p] += d * A[q, G[k, 1]] / (1.0 + d if {w} else 1.0)"),
    "no D in D lam F'": ("mu[p] += d * lam[G[k, 1]]", "mu[p] += 0.0 if {w} else d * lam[G[k, 1]]"),
    "no noise of the step": ("force[p] * force[q] * variance * z", "(0.0 if {w} else force[p] * force[q] * variance * z)"),
    "fields of another law": ("s = C[p, pivot]\n", "s = C[p, pivot] * (0.9 if {w} else 1.0)\n"),
    "readout step too large by 1/N": ("r[H[k, 1]] / N", "r[H[k, 1]] * (1.0 + 1.0 / N if {w} else 1.0) / N"),
}  # fmt: skip


def mutated_loop(folder):
    """The loop with a last argument ``which``: 0 runs it as it is, n the n-th mutant. One compilation for all."""
    import numba

    text = inspect.getsource(chain_loop)
    for number, (old, new) in enumerate(MUTANTS.values(), start=1):
        assert text.count(old) == 1, f"the loop no longer contains {old!r} once"
        text = text.replace(old, new.format(w=f"which == {number}"))
    text = text.replace("    kept_theta: Array,\n", "    kept_theta: Array,\n    which: int,\n")
    path = folder / "mutated_loop.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("mutated_loop", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return numba.njit(error_model="numpy")(module.advance)
