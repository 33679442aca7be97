"""Every claim of every catalogue entry, through the public `verify`: two roads for each are named in the claim's row.

A false alarm of a stochastic row has probability 1 % at the first choice of a seed; the seed is fixed, so it never comes later.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import sympy as sp

from derive.catalog import load, names
from derive.claims.entry import Entry, MatchesSimulation, Published
from derive.derivation import derive_all, full_flow
from derive.printing.objects import describe
from numerics.verify import verify

VARIANTS = {
    "saxe_2014_deep_linear": ({}, {"depth": 3}, {"depth": 5}),
    "goldt_2019_teacher_student": ({}, {"K": 3, "M": 1}, {"train": "first"}),
}
CASES = [(name, settings) for name in names() for settings in VARIANTS.get(name, ({},))]


def claims() -> list[object]:
    """One case for each claim; simulations of the first variant only."""
    out = []
    for name, settings in CASES:
        for number, claim in enumerate(load(name, **settings).claims):
            if settings and isinstance(claim, MatchesSimulation):
                continue
            label = "-".join([name, *(f"{k}={v}" for k, v in settings.items()), claim.label])
            marks = [pytest.mark.slow] if isinstance(claim, MatchesSimulation) else []
            out.append(pytest.param(name, settings, number, id=label, marks=marks))
    return out


@pytest.mark.parametrize(("name", "settings", "number"), claims())
def test_claim(name: str, settings: dict[str, object], number: int) -> None:
    entry = load(name, **settings)
    report = verify(replace(entry, claims=(entry.claims[number],)), quick=True)
    assert report.passed, str(report)


def test_every_entry_claims_something_published_and_a_simulation() -> None:
    for name in names():
        kinds = [type(claim) for claim in load(name).claims]
        assert Published in kinds, name
        assert MatchesSimulation in kinds, name


@pytest.mark.parametrize("name", names())
def test_a_wrong_claim_is_rejected(name: str) -> None:
    """One coefficient of one published rate is changed by 1 %."""
    entry = load(name)
    claim = next(c for c in entry.claims if isinstance(c, Published))
    letter, rate = next(iter(claim.rate.items()))
    wrong = replace(claim, rate={**claim.rate, letter: sp.Rational(101, 100) * rate})
    report = verify(replace(entry, claims=(wrong,)))
    assert not report.passed
    assert report.checks[0].statistic == pytest.approx(0.01, rel=1e-6)  # relative size of the change; rounding of the rates


@pytest.mark.parametrize("name", names())
def test_claims_do_not_reach_the_derivation(name: str) -> None:
    """Everything derived prints the same without any claim."""
    entry = load(name)
    bare = Entry(name=entry.name, model=entry.model, kind=entry.kind)
    assert describe(derive_all(entry.model), "json") == describe(derive_all(bare.model), "json")
    assert describe(full_flow(entry.model), "markdown") == describe(full_flow(bare.model), "markdown")


def test_each_file_documents_itself() -> None:
    for name in names():
        docs = load(name).docs
        for word in ("Reference:", "Assumes", "Fails", "symbol", "name in the paper"):
            assert word in docs, f"{name} lacks {word!r}"
