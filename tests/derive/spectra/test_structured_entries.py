"""Catalogue entries with structured data: their claims without simulation, their headlines, and claims that must fail."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pytest
import sympy as sp

import derive
from derive import catalog
from derive.claims.entry import MatchesSimulation, Published, Spectrum
from derive.errors import InvalidSpec
from derive.library.data_sets import bit_items, butterfly_factors, one_hot_items
from derive.reductions.ansatz import Balanced, LambdaBalanced, Modes
from numerics.verify import verify


def judged(name: str, keep: Any = lambda c: not isinstance(c, MatchesSimulation), **settings: Any) -> Any:
    made = catalog.load(name, **settings)
    return verify(replace(made, claims=tuple(c for c in made.claims if keep(c))))


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("saxe_2019_semantic_development", {"levels": 3, "flip": 0.2}),
        ("saxe_2019_semantic_development", {"depth": 1, "features": 40}),
        ("domine_2025_lambda_balanced", {"lam": -0.5, "inputs": 3, "outputs": 5}),
        ("domine_2025_lambda_balanced", {"lam": 0.0, "hidden": 6}),
        ("jarvis_2024_neural_modules", {"module": "bits"}),
        ("jarvis_2024_neural_modules", {"module": "codes", "kx": 2, "shown": 3}),
        ("nye_2018_fft_parity", {"levels": 2}),
        ("mcclelland_2016_crosscutting", {"copies": 1}),
        ("rubruck_2024_optimal_constant", {"bias": False}),
    ],
)
def test_claims_hold_at_other_settings(name: str, settings: dict[str, Any]) -> None:
    report = judged(name, **settings)
    assert report.passed, str(report)


def strengths(entry: Any) -> np.ndarray:
    """Singular values and half times of the modes of an entry, by its reduction and closed form."""
    values = {**entry.values, **entry.model.values}
    made = derive.reduce(derive.gradient_flow(entry.model), (Modes(), Balanced()))
    assert made.parameters_from is not None
    return np.asarray(made.parameters_from(values)["s"])


def half_times(entry: Any) -> np.ndarray:
    values = {**entry.values, **entry.model.values}
    made = derive.reduce(derive.gradient_flow(entry.model), (Modes(), Balanced()))
    form = derive.closed_form(made)
    assert made.parameters_from is not None
    assert form.evaluate is not None
    given = made.parameters_from(values)
    times = np.linspace(0, 8, 8001)
    u = form.evaluate(times, {"u": np.full(len(given["s"]), 1e-3)}, given)["u"]
    return np.asarray(times[np.argmax(u > given["s"] / given["d"] / 2, axis=0)])


def test_distinctions_are_learned_from_broad_to_fine() -> None:
    """Roads: closed form of the engine on the entry's data; ln(s/u0 - 1)/(2 s) at the printed strengths."""
    found = half_times(catalog.load("saxe_2019_semantic_development"))
    s = np.repeat([1.5623, 1.2246, 1.0049, 0.7141], [1, 1, 2, 4])
    assert np.abs(found - np.log(s / 1e-3 - 1) / (2 * s)).max() < 2e-3  # grid of 1e-3, and four decimals of s
    assert np.abs(found[[0, 1, 2, 4]] - [2.35, 2.90, 3.44, 4.60]).max() < 0.006  # two printed decimals


def test_a_frequent_crosscutting_property_comes_before_the_first_split() -> None:
    """Roads: singular values of the entry; the squares 23, 9, 7, 3, 3, 1, 1, 1 and 19, 7, 5, 3, 3, 1, 1, 1 by hand."""
    doubled = strengths(catalog.load("mcclelland_2016_crosscutting"))
    single = strengths(catalog.load("mcclelland_2016_crosscutting", copies=1))
    assert np.abs(doubled**2 - [23, 9, 7, 3, 3, 1, 1, 1]).max() < 1e-12  # rounding of an SVD
    assert np.abs(single**2 - [19, 7, 5, 3, 3, 1, 1, 1]).max() < 1e-12  # the same


def test_the_optimal_constant_is_learned_faster_with_bias() -> None:
    with_, without = (strengths(catalog.load("rubruck_2024_optimal_constant", bias=b)) for b in (True, False))
    assert with_[0] / without[0] == pytest.approx(3.0, rel=1e-12)  # sqrt(1 + 8), rounding of an SVD
    assert np.abs(with_[1:] - without[1:]).max() < 1e-13  # rounding of an SVD


def test_sparse_factors_are_one_of_many_solutions() -> None:
    """The butterfly gives the transform, is a fixed point of the flow, and a rotated start with equal Gram matrices is too."""
    made = catalog.load("nye_2018_fft_parity")
    factors = butterfly_factors(3)
    transform = reduce(lambda product, f: f @ product, factors)
    assert np.abs(transform @ transform.T - np.eye(8)).max() < 1e-15  # entries 1/sqrt(8)
    assert np.mean(np.abs(np.stack(factors)) > 1e-3) == 0.25
    flow = derive.gradient_flow(made.model)
    from derive.matrices.evaluate import evaluate

    turn = np.linalg.qr(np.random.default_rng(4).normal(size=(8, 8)))[0]
    dense = (turn @ factors[0], factors[1] @ turn.T, factors[2])
    values = {k: made.model.values[k] for k in ("Sx", "Syx")} | {"tau": 1.0}
    for weights in (factors, dense):
        state = {f"W{l + 1}": w for l, w in enumerate(weights)}
        rates = [np.abs(evaluate(flow.rhs[n], {**values, **state})).max() for n in state]
        assert max(rates) < 1e-14  # rounding of products of orthogonal matrices
    assert np.mean(np.abs(np.stack(dense)) > 1e-3) > 0.7


def test_one_hot_items_have_the_stated_averages() -> None:
    features = np.random.default_rng(0).normal(size=(3, 5))
    X, Y = one_hot_items(features)
    assert np.abs(X.T @ X / 5 - np.eye(5)).max() < 1e-15  # rounding of sqrt(5)
    assert np.abs(Y.T @ X / 5 - features).max() < 1e-15  # rounding of sqrt(5)
    assert np.array_equal(bit_items(3).T @ bit_items(3), 8 * np.eye(3))


def test_a_wrong_table_is_rejected() -> None:
    """Mutants: a multiplicity moved from one class to another; an eigenvalue off by a thousandth; the wrong data."""
    made = catalog.load("mcclelland_2016_crosscutting")
    claim = next(c for c in made.claims if isinstance(c, Spectrum))
    moved = replace(claim, rows=(*claim.rows[:3], (3, 1), (1, 4)))
    shifted = replace(claim, rows=((claim.rows[0][0] * sp.Rational(1001, 1000), 1), *claim.rows[1:]))
    other = replace(claim, array=claim.array + 1e-6)
    for mutant in (moved, shifted):
        assert [c.passed for c in verify(replace(made, claims=(mutant,))).checks] == [False, False]
    assert [c.passed for c in verify(replace(made, claims=(other,))).checks] == [True, False]


def test_a_wrong_riccati_equation_is_rejected() -> None:
    """Mutants: the printed equation at twice the speed; the reduced system at twice the speed."""
    made = catalog.load("domine_2025_lambda_balanced")
    claim = next(c for c in made.claims if isinstance(c, Published) and c.label == "Riccati equation of Q")
    ((letter, rate),) = claim.rate.items()
    doubled = replace(claim, rate={letter: 2 * rate})
    assert not verify(replace(made, claims=(doubled,))).passed
    follow = next(c for c in made.claims if c.label == "the Riccati equation follows the matrix flow")
    reduced = derive.reduce(derive.gradient_flow(made.model), LambdaBalanced(0.5)).system
    wrong = reduced.replace(rhs={k: p.scale(2) for k, p in reduced.rhs.items()})
    assert not verify(replace(made, claims=(follow,)), system=wrong).passed
    assert verify(replace(made, claims=(follow,)), system=reduced).passed


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("saxe_2019_semantic_development", {"depth": 3}),
        ("saxe_2019_semantic_development", {"flip": 0.6}),
        ("domine_2025_lambda_balanced", {"lam": 1.0, "hidden": 6}),
        ("jarvis_2024_neural_modules", {"module": "both"}),
        ("nye_2018_fft_parity", {"levels": 1}),
        ("mcclelland_2016_crosscutting", {"copies": 0}),
        ("jarvis_2023_semantic_dementia", {"kept": 0}),
    ],
)
def test_impossible_settings_are_refused(name: str, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidSpec):
        catalog.load(name, **settings)


def test_relearning_obeys_its_claims() -> None:
    """Without the printed matrix formula, whose 60 digits take ten seconds at 23 rows."""
    report = judged(
        "jarvis_2023_semantic_dementia",
        lambda c: not isinstance(c, MatchesSimulation) and c.label != "printed solution for Q Q^T",
        kept=3,
    )
    assert report.passed, str(report)
