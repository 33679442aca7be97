"""Deliberate errors must be caught: by the claims of an entry, and by simulation alone.

The wrong system takes the place of the derived one through ``verify(entry, system=...)``; nothing else is told to the checks.
"""

from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pytest
import sympy as sp
from mutate import differs, frozen, mutants, top_level

from derive import MatchesSimulation, catalog, gradient_flow, online_limit
from derive.indices.indexed import Index, arr, const, mul, sum_over
from derive.system import Block, Flow
from numerics import verify
from numerics.claims.states import draw_values


@cache
def committee():
    entry = catalog.load("goldt_2019_teacher_student", K=2, M=2)
    return entry, online_limit(entry.model)


@cache
def linear():
    entry = catalog.load("saxe_2014_deep_linear")
    return entry, gradient_flow(entry.model)


def only(entry, *kinds):
    return replace(entry, claims=tuple(c for c in entry.claims if type(c).__name__ in kinds))


def small_flow():
    k, n, j = Index("k", "K"), Index("n", "M"), Index("j", "K")
    rhs = mul(const(2), sum_over(j, mul(arr("Q", k, j), arr("R", j, n)))) - arr("R", k, n)
    blocks = (Block(name="R", shape=("K", "M"), indices=(k, n)),)
    return Flow(name="f", state=blocks, rhs={"R": rhs}, parameters=(Block(name="Q", shape=("K", "K")),))


def test_mutants_of_a_small_flow_are_all_of_them():
    """By hand: two terms times sign, twice, without; Q swapped; one other label in each of Q_kj (2), R_jn (1) and R_kn (0)."""
    found = list(mutants(small_flow()))
    assert len([m for m in found if "term" in m.label]) == 6
    assert len([m for m in found if "swapped" in m.label]) == 1
    assert len([m for m in found if "->" in m.label]) == 3
    assert [m.label for m in mutants(small_flow())] == [m.label for m in found]  # a fixed order


def test_equal_mutants_are_told_from_wrong_ones():
    """With a symmetric Q, swapping its labels changes nothing; every other mutation does."""
    flow = small_flow()
    state, params, sizes = draw_values(flow, {}, np.random.default_rng(0))
    same = [m.label for m in mutants(flow) if not differs(flow, m, state, {**params, **sizes})]
    assert len(same) == 1
    assert "swapped labels of Q" in same[0]


@pytest.mark.parametrize("number", range(8))
def test_eight_deliberate_errors_of_the_committee(number):
    """Eight of the 36 errors in whole terms (sign, factor 2, missing) of Q, R and v, spread over them, by the printed rates."""
    entry, flow = committee()
    every = list(top_level(flow))
    assert len(every) == 36
    wrong = every[number * 5]
    report = verify(only(entry, "Published"), system=wrong.flow)
    assert not report.passed, wrong.label
    assert all(wrong.block in c.claim for c in report.failures)  # blamed on the right equation


def test_errors_deep_inside_the_committee_equations():
    """Seeded sample of 4 of the first 200 mutations inside sums and roots; those equal by symmetry are sorted out by value."""
    entry, flow = committee()
    state, params, sizes = draw_values(flow, entry.values, np.random.default_rng(1))
    every = list(islice(mutants(flow), 200))
    chosen = [every[i] for i in sorted(np.random.default_rng(0).choice(len(every), 4, replace=False))]
    wrong = [m for m in chosen if differs(flow, m, state, {**params, **sizes})]
    assert len(wrong) >= 2
    for mutant in wrong:
        about = replace(entry, claims=tuple(c for c in entry.claims if f"d{mutant.block}" in c.label))
        assert about.claims  # an empty report would fail for the wrong reason
        assert not verify(about, system=mutant.flow).passed, (mutant.block, mutant.label)


@pytest.mark.parametrize("what", ["right", "noise", "sign", "frozen"])
def test_simulation_alone_tells_right_from_wrong(what):
    """One-pass SGD at N = 62 to 500 is the only witness here; false-alarm rate 1 %, seed fixed."""
    entry, flow = committee()
    every = list(top_level(flow))
    noise = next(m.flow for m in every if m.block == "Q" and "without" in m.label and "eta^2" in m.label)
    sign = next(m.flow for m in every if m.block == "R" and "sign" in m.label)
    system = {"right": flow, "noise": noise, "sign": sign, "frozen": frozen(flow, "v")}[what]
    claim = MatchesSimulation("sgd", observables=("eg", "Q", "R"), sizes=(62, 125, 250, 500), seeds=20, time=4.0)
    report = verify(replace(entry, claims=(claim,)), system=system, seed=1)
    assert report.passed is (what == "right"), str(report)


@pytest.mark.parametrize("kind", ["Published", "Commutes", "MatchesSimulation"])
def test_every_error_of_the_linear_network_is_caught_by_each_kind_of_claim(kind):
    entry, flow = linear()
    short = MatchesSimulation("sgd", sizes=(100, 200, 400), time=1.0)
    entry = replace(only(entry, kind), claims=(short,)) if kind == "MatchesSimulation" else only(entry, kind)
    assert verify(entry, seed=1, quick=True).passed
    for mutant in list(mutants(flow))[:: 9 if kind == "MatchesSimulation" else 2]:
        assert not verify(entry, system=mutant.flow, seed=1, quick=True).passed, (mutant.block, mutant.label)


def test_a_wrong_reduced_system_is_caught():
    """A mutated mode equation takes the place of the reduced system in the claims about it."""
    from derive import Balanced, Modes, reduce

    entry, flow = linear()
    reduced = reduce(flow, (Modes(white=True), Balanced())).system
    for mutant in list(mutants(reduced))[:3]:
        report = verify(only(entry, "Published", "Solves", "Commutes"), system=mutant.flow)
        failed = [c.claim for c in report.failures]
        assert "strength of a balanced mode" in failed
        assert "modes of the matrix flow" in failed


def test_a_claim_that_cannot_be_checked_fails_and_says_why():
    entry, _ = linear()
    claim = replace(entry.claims[0], rate={sp.Symbol("q"): 1})
    (row,) = verify(replace(entry, claims=(claim,))).checks
    assert not row.passed
    assert "where={q: expression}" in row.detail
    assert not verify(replace(entry, claims=())).passed  # nothing claimed is nothing verified
