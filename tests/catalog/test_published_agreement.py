"""Agreement of SGD and equations at the published sizes, times and numbers of runs.

Roads: the derived equations, integrated, against one-pass SGD on full weights. The published figures are largest deviations
of the mean of two to eight runs from other starts, noise included, so ours may exceed them by three standard errors of such a
mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from derive import field_rule, plan
from derive.catalog import load
from numerics.claims.ensembles import common_times, run_overlaps
from numerics.claims.simulation import observed
from numerics.claims.states import draw_values
from numerics.claims.subject import Subject, solve
from numerics.verify import derived

pytestmark = pytest.mark.slow
GOLDT, PATEL = "goldt_2019_teacher_student", "patel_2025_rl_perceptron"
ONES = {"A": [1.0, 1.0], "T": [[1.0, 0.0], [0.0, 1.0]]}
ALIKE = {"v": [1.0] * 3, "Q": 0.25 * np.eye(3), "R": [[0.1, 0.0], [0.0, 0.1], [0.05, -0.05]], **ONES}
BOTH = {"eta": 0.5, "eta_v": 0.3}


def deviations(name: str, settings: dict[str, Any], known: dict[str, Any], size: int, runs: int, end: float) -> dict[str, Any]:
    """Largest |mean - theory| of every order parameter and observable, its standard error and the theory there."""
    e = load(name, N=size, **settings)
    flow = derived(e)
    subject = Subject(entry=e, flow=flow)
    values = {**e.values, **known}
    start, params, _ = draw_values(flow, values, subject.rng(0), keep=True)
    start = {n: np.asarray(values.get(n, a), dtype=float) for n, a in start.items()}
    times, every = common_times((size,), end, 20)
    path = solve(flow, start, params, np.concatenate([[0.0], times]))
    steps = every[0] * len(times)
    seen, _ = run_overlaps(plan(e.model), field_rule(e.model), start, params, size, steps, every[0], seeds=runs, root=1)
    seen = {**seen, **observed(subject, seen, params, list(path.observables))}
    out = {}
    for n, x in seen.items():
        theory = np.asarray(path.values[n] if n in path.values else path.observables[n])[1:]
        x = x.reshape(runs, *theory.shape)
        gap = np.abs(x.mean(axis=0) - theory)
        at = np.unravel_index(gap.argmax(), gap.shape)
        out[n] = (float(gap[at]), float((x.std(axis=0, ddof=1) / np.sqrt(runs)).max()), abs(float(theory[at])))
    return out


@pytest.mark.parametrize(
    ("settings", "known", "end", "figures"),
    [
        (BOTH, {"v": [0.5, 0.3], "A": [1.0, 0.7]}, 20.0, {"eg": 0.0020, "Q": 0.010, "R": 0.010, "v": 0.010}),
        ({"K": 3, "eta": 0.4, "train": "first"}, ALIKE, 20.0, {"eg": 0.0039}),
        ({"M": 1, "eta": 0.5, "eta_v": 0.5, "kappa": 0.02}, {}, 20.0, {"eg": 0.0012}),
        ({"K": 1, "M": 1, "activation": "relu", "eta": 0.2, "train": "first"}, {}, 20.0, {"eg": 0.0035}),
        ({"activation": "relu", "sigma": 0.05}, {"v": [0.5, 0.4], "A": [1.0, 0.8]}, 10.0, {"eg": 0.0009}),
        ({"activation": "linear", "train": "first", "sigma": 0.3}, {"v": [1.0, 1.0], **ONES}, 20.0, {"eg": 0.0056}),
    ],
    ids=["erf-both", "erf-first", "erf-decay", "relu-one", "relu-both", "linear"],
)
def test_teacher_and_student(settings: dict[str, Any], known: dict[str, Any], end: float, figures: dict[str, float]) -> None:
    """N = 1000, two runs; deviations of the generalisation error, and of all overlaps in the first case."""
    found = deviations(GOLDT, settings, known, 1000, 2, end)
    for name, figure in figures.items():
        gap, error, _ = found[name]
        assert gap <= figure + 3 * error, (name, gap, error)


@pytest.mark.parametrize(
    ("settings", "percent"),
    [({"reward": "all", "T": 4}, 2.3), ({"reward": "penalty", "T": 8, "eta_2": 0.05}, 7.0)],
    ids=lambda x: x["reward"] if isinstance(x, dict) else "",
)  # fmt: skip
def test_rewarded_perceptron(settings: dict[str, Any], percent: float) -> None:
    """N = 400, eight runs from R = 0.3, Q = 1, to alpha = 20: relative deviations, finite-size terms included."""
    found = deviations(PATEL, settings, {"R": 0.3, "Q": 1.0}, 400, 8, 20.0)
    for name in ("R", "Q"):
        gap, error, theory = found[name]
        assert gap / theory <= percent / 100 + 3 * error / theory, (name, gap, error, theory)
