"""Other settings of small published systems, physics beside their claims, and mutants of their solutions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy as sp

import derive
from derive.catalog import load
from derive.claims.entry import MatchesSimulation, Published, Solves
from derive.derivation import derive_all
from derive.errors import InvalidSpec
from numerics.verify import verify
from tests.derive.closure.roads import solved

VARIANTS = [
    ("unknown_pixel_similarity", {"d": 3, "h": 2, "m": 9}),
    ("pogodin_2020_kernelized_bottleneck", {"g": 1.0, "classes": 5, "h": 3}),
    ("pogodin_2021_weight_sharing", {"N": 5, "d": 9, "g": 0.4, "tau": 2.0}),
    ("saxe_2016_lmdp", {"rule": "bellman"}),
    ("saxe_2016_lmdp", {"n": 9, "b": 3, "T": 4, "reward": -1.0}),
    ("earle_2017_subtask_discovery", {"k": 5, "tau": 0.5}),
    ("goodfellow_2015_linear_path", {"depth": 1, "N": 5}),
    ("goodfellow_2015_linear_path", {"depth": 2}),
    ("dorrell_2022_actionable", {"n": 3, "frequencies": 4}),
    ("saxe_2011_receptive_fields", {"d": 8, "tau": 3.0}),
    ("flesch_2023_gating_note", {"p": 0.4, "strengths": (3.0, 1.0)}),
    ("singh_2023_listener_subtraction", {"words": 4}),
]


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_claims_of_other_settings(name: str, settings: dict[str, Any]) -> None:
    """Algebraic claims; simulations are run for the default settings by the catalogue's own test."""
    entry = load(name, **settings)
    report = verify(replace(entry, claims=tuple(c for c in entry.claims if not isinstance(c, MatchesSimulation))))
    assert report.passed, str(report)


@pytest.mark.parametrize("name", sorted({n for n, _ in VARIANTS}))
def test_a_wrong_solution_is_rejected(name: str) -> None:
    """Mutants: every printed solution and every published rate is off by 1 %."""
    entry = load(name)
    wrong: list[Any] = []
    for claim in entry.claims:
        if isinstance(claim, Published):
            wrong += [replace(claim, rate={**claim.rate, k: sp.Rational(101, 100) * e}) for k, e in claim.rate.items()]
        if isinstance(claim, Solves) and claim.solution:
            wrong += [replace(claim, solution={**claim.solution, k: stretched(e)}) for k, e in claim.solution.items()]
    report = verify(replace(entry, claims=tuple(wrong)))
    assert len(report.checks) == len(wrong) > 0
    assert not any(row.passed for row in report.checks), str(report)


def stretched(expression: Any) -> Any:
    """The same solution, time stretched by 1 %."""
    if callable(expression) and not isinstance(expression, sp.Basic):
        return lambda values: expression({**values, "t": 1.01 * values["t"]})
    return expression.subs(derive.t, sp.Rational(101, 100) * derive.t)


@pytest.mark.parametrize(
    ("name", "settings", "word"),
    [
        ("saxe_2016_lmdp", {"rule": "td"}, "'iterate' or 'bellman'"),
        ("saxe_2016_lmdp", {"reward": 0.2}, "diverge"),
        ("goodfellow_2015_linear_path", {"depth": 7}, "1 to 5 layers"),
        ("flesch_2023_gating_note", {"p": 1.0}, "between 0 and 1"),
        ("singh_2023_listener_subtraction", {"words": 1}, "two words"),
    ],
)
def test_settings_out_of_range(name: str, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(InvalidSpec, match=word):
        load(name, **settings)


def test_the_whole_chain_ends_in_the_riccati_solution() -> None:
    made = derive_all(load("unknown_pixel_similarity").model)
    assert made.closed_form is not None
    assert list(made.closed_form.solution) == ["M"]
    assert len(made.reductions) == 1


# Physics --------------------------------------------------------------------------------------------------------------------


def run(name: str, times: Any, **settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The derived flow from the start of the entry."""
    entry = load(name, **settings)
    flow = derive.gradient_flow(entry.model)
    given = {b.name: np.asarray(entry.values[b.name], dtype=float) for b in flow.parameters}
    start = {b.name: np.asarray(entry.values[b.name], dtype=float) for b in flow.state}
    return solved(flow, start, given, np.asarray(times)), dict(entry.values)


def test_sharing_shrinks_deviations_to_g_over_g_plus_c() -> None:
    """100 neurons, the nine eigenvalues of the paper's analysis: the printed factor at t = 5, and a mean that stays."""
    path, given = run("pogodin_2021_weight_sharing", [0.0, 5.0], N=100, d=9)
    W, first, C = path["W"][-1], given["Winit"], given["C"]
    c, V = np.linalg.eigh(C)
    factor = 0.1 / (0.1 + c) + c / (0.1 + c) * np.exp(-(0.1 + c) * 5.0)
    spread = (first - first.mean(axis=0)) @ V * factor
    assert np.abs((W - W.mean(axis=0)) @ V - spread).max() < 1e-10  # rtol 1e-12 of the integration
    assert np.abs(W.mean(axis=0) - first.mean(axis=0)).max() < 1e-11


def test_solved_tasks_compose_and_iterations_agree() -> None:
    """Soft Bellman iterations against the flow at rest; values of a mixed boundary from those of single goals."""
    entry = load("saxe_2016_lmdp", T=2)
    v = entry.values
    V = np.zeros((6, 2))
    for _ in range(2000):
        V = v["q"] + np.log(v["PI"] @ np.exp(V) + v["PB"] @ np.exp(v["VB"]))
    flow = derive.gradient_flow(entry.model)
    given = {b.name: np.asarray(v[b.name]) for b in flow.parameters}
    end = solved(flow, {"V": np.zeros((6, 2))}, given, np.array([0.0, 300.0]))["V"][-1]
    assert np.abs(end - V).max() < 1e-10  # the slowest rate is a few tenths: e^-60 is left
    mixed = np.log(np.exp(v["VB"]) @ [[0.3], [0.7]])
    again = solved(flow, {"V": np.zeros((6, 1))}, {**given, "VB": mixed}, np.array([0.0, 300.0]))["V"][-1]
    assert np.abs(np.exp(again) - np.exp(V) @ [[0.3], [0.7]]).max() < 1e-10


def test_factors_stay_positive_and_the_error_falls() -> None:
    path, given = run("earle_2017_subtask_discovery", np.linspace(0, 6, 30))
    B, H = path["u"] ** 2, path["v"] ** 2
    error = np.sum((B @ H - given["Y"]) ** 2, axis=(1, 2))
    assert np.all(np.diff(error) < 0)
    assert np.all(np.sign(path["u"]) == np.sign(path["u"][0]))


def test_a_kernel_on_the_circle_is_diagonal_and_the_slowest_separation_wins() -> None:
    path, given = run("dorrell_2022_actionable", [0.0, 60.0])
    lap = given["Lap"]
    assert np.abs(lap - np.diag(np.diag(lap))).max() < 1e-13  # irreps of the circle; rounding of 24 terms
    powers = np.sum(path["W"][-1] ** 2, axis=0)
    assert powers[np.diag(lap) > np.diag(lap).max() - 1e-9].sum() == pytest.approx(1.0, abs=1e-9)  # cos and sin share it
