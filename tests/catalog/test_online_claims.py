"""Every one-pass system: printed right-hand sides at 100 random states, and fluctuations that fall like N^(-1/2).

Roads: the derivation from the update rule, against equations typed from the papers, and against SGD on full weights. A row
about runs comes out wrong with probability 1 % at the first choice of a seed; the seed is fixed, so it never does later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest

from derive.catalog import load, names
from derive.claims.entry import Entry, MatchesSimulation, Published
from derive.system import Flow
from numerics.verify import derived, verify

#: Documented settings beside the default ones.
SETTINGS: dict[str, tuple[dict[str, Any], ...]] = {
    "goldt_2019_teacher_student": (
        {"train": "first"}, {"kappa": 0.02}, {"K": 3, "M": 1, "sigma": 0.0}, {"activation": "linear"},
        {"activation": "linear", "train": "first"},
        {"activation": "linear", "train": "first", "kappa": 0.05}, {"activation": "relu", "K": 1, "M": 1},
    ),
    "goldt_2019_overparameterised": ({"L": 0},),
    "lee_2021_continual_learning": ({"phase": 1}, {"phase": 2}),
    "lee_2022_maslows_hammer": ({"phase": 3},),
    "lee_2024_shaping": ({"task": "primitive"}, {"task": "composite"}),
    "mannelli_2024_tilting_the_odds": ({"K": 1}, {"K": 3}),
    "patel_2025_rl_perceptron": tuple({"reward": r} for r in ("penalty", "at_least", "linear", "survival")),
    "saglietti_2022_curriculum": ({"order": "anti"}, {"rho": 0.25}),
}  # fmt: skip
#: Minutes rather than seconds: every derived average is a quadrature.
HEAVY: dict[str, tuple[dict[str, Any], ...]] = {
    "goldt_2019_teacher_student": ({"activation": "relu"}, {"activation": "relu", "K": 2, "M": 1, "kappa": 0.1}),
    "mannelli_2024_tilting_the_odds": ({"activation": "relu", "K": 1}, {"activation": "relu", "K": 2}),
}
#: One setting of every kind of run that the default settings do not have.
RUNS: dict[str, tuple[dict[str, Any], ...]] = {
    "goldt_2019_teacher_student": (
        {"activation": "relu", "K": 1, "M": 1}, {"activation": "linear", "train": "first", "kappa": 0.05},
    ),
    "lee_2021_continual_learning": ({"phase": 2},),
    "lee_2024_shaping": ({"task": "composite"},),
    "mannelli_2024_tilting_the_odds": ({"K": 1},),
    "patel_2025_rl_perceptron": ({"reward": "penalty"},),
    "saglietti_2022_curriculum": ({"rho": 0.25},),
}  # fmt: skip
#: Systems of the same papers that are no limit N -> oo, and what takes the place of N there.
NO_SIZE = {
    "lufkin_2024_localization": "a flow in n dimensions, n finite; the central limit is approximate, see test_localization",
    "loewe_2024_insight": "a flow of weights and gates at finite n; runs differ by the step",
    "flesch_2022_context": "full-batch descent; the limit is that of large weights (Approaches)",
}


def online_entries() -> tuple[str, ...]:
    return tuple(name for name in names() if entry(name).kind == "online")


@cache
def entry(name: str, settings: tuple[tuple[str, Any], ...] = ()) -> Entry:
    return load(name, **dict(settings))  # type: ignore[no-any-return]


@cache
def flow(name: str, settings: tuple[tuple[str, Any], ...] = ()) -> Flow:
    return derived(entry(name, settings))


def cases(table: dict[str, tuple[dict[str, Any], ...]], *, slow: bool = False, default: bool = False) -> list[Any]:
    found = [(name, ()) for name in online_entries()] if default else []
    found += [(name, tuple(one.items())) for name, several in table.items() for one in several]
    marks = [pytest.mark.slow] if slow else []
    return [pytest.param(n, s, id="-".join([n, *(f"{k}={v}" for k, v in s)]), marks=marks) for n, s in found]


ALL = [*cases(SETTINGS, default=True), *cases(HEAVY, slow=True)]


def letters(claim: Published) -> set[str]:
    return {str(getattr(getattr(k, "base", k), "label", k)) for k in claim.rate}


@pytest.mark.parametrize(("name", "settings"), ALL)
def test_every_order_parameter_has_a_printed_rate(name: str, settings: tuple[tuple[str, Any], ...]) -> None:
    """No equation of the derived system is left without one that was typed independently."""
    claimed = set().union(*(letters(c) for c in entry(name, settings).claims if isinstance(c, Published) and c.small is None))
    assert {block.name for block in flow(name, settings).state} <= claimed


@pytest.mark.parametrize(("name", "settings"), ALL)
def test_runs_are_compared_at_N_and_4N(name: str, settings: tuple[tuple[str, Any], ...]) -> None:
    runs = [c for c in entry(name, settings).claims if isinstance(c, MatchesSimulation)]
    assert runs
    assert all(len(c.sizes) >= 2 and max(c.sizes) >= 4 * min(c.sizes) for c in runs)


def only(e: Entry, kind: type) -> Entry:
    return replace(e, claims=tuple(c for c in e.claims if isinstance(c, kind)))


@pytest.mark.parametrize(("name", "settings"), [*cases(SETTINGS), *cases(HEAVY, slow=True)])
def test_printed_rates_at_a_hundred_states(name: str, settings: tuple[tuple[str, Any], ...]) -> None:
    """At other than default settings; those are in `test_claims`."""
    report = verify(only(entry(name, settings), Published), system=flow(name, settings))
    assert report.passed, str(report)
    few = (name, dict(settings).get("K")) == ("mannelli_2024_tilting_the_odds", 2)  # a second for each state
    for row in report.checks:
        assert row.bound == 1e-10  # rounding of sums of a few hundred products
        assert f"at {5 if few else 100} random states" in row.reason


@pytest.mark.parametrize("name", online_entries())
def test_default_settings_are_judged_at_a_hundred_states(name: str) -> None:
    for claim in entry(name).claims:
        if isinstance(claim, Published) and claim.small is None:
            assert claim.states is None or claim.states >= 100


@dataclass(frozen=True)
class Louder:
    """A printed rate that is larger by one part in a million."""

    rate: Any
    side_by_side: bool = True

    def __call__(self, values: Any) -> Any:
        return self.rate(values) * (1 + 1e-6)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("goldt_2019_teacher_student", {"activation": "relu", "K": 1, "M": 1}),
     ("goldt_2019_teacher_student", {"activation": "linear"}), ("goldt_2019_teacher_student", {"kappa": 0.02}),
     ("lee_2024_shaping", {}), ("patel_2025_rl_perceptron", {"reward": "at_least"})],
)  # fmt: skip
def test_one_part_in_a_million_is_rejected(name: str, settings: dict[str, Any]) -> None:
    """Of each letter in turn: the statistic is a relative difference, and the bound lies four orders below."""
    key = tuple(settings.items())
    e = only(entry(name, key), Published)
    for claim in e.claims:
        assert isinstance(claim, Published)
        for letter, rate in claim.rate.items():
            wrong = Louder(rate) if callable(rate) else rate * (1 + 1e-6)
            (row,) = verify(
                replace(e, claims=(replace(claim, rate={**claim.rate, letter: wrong}),)), system=flow(name, key)
            ).checks
            assert not row.passed
            assert row.statistic == pytest.approx(1e-6, rel=1e-3)  # rounding of the rates


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), cases(RUNS))
def test_fluctuations_fall_like_the_root_of_the_size(name: str, settings: tuple[tuple[str, Any], ...]) -> None:
    report = verify(only(entry(name, settings), MatchesSimulation), system=flow(name, settings))
    assert report.passed, str(report)
    spread = [row for row in report.checks if "size^(-1/2)" in row.claim]
    assert len(spread) == 1
    assert "false-alarm rate 0.01" in spread[0].reason


def test_entries_without_a_size_say_what_takes_its_place() -> None:
    for name, reason in NO_SIZE.items():
        assert entry(name).kind == "matrix", reason
        assert any(isinstance(c, MatchesSimulation) for c in entry(name).claims)
