"""Curricula over the difficulty of examples: the entries verify, and their claims reject a broken equation.

Road one: derived from the spec. Road two: published equations typed by hand, and SGD with full weights.
"""

from dataclasses import replace

import pytest

from derive.catalog import load
from derive.claims.entry import Published
from derive.errors import InvalidSpec
from derive.indices.indexed import const, mul
from derive.library.difficulty import curriculum_perceptron
from numerics.claims.simulation import check
from numerics.claims.subject import Subject
from numerics.verify import derived, verify

NAMES = ("saglietti_2022_curriculum", "mannelli_2024_tilting_the_odds")


@pytest.fixture(scope="module", params=NAMES)
def case(request):
    entry = load(request.param)
    return entry, derived(entry)


def test_equations_and_simulation_agree(case):
    entry, flow = case
    report = verify(entry, system=flow)
    assert report.passed, str(report)
    assert len(report.checks) == len(entry.claims) + 2  # a simulation has rows for mean, spread and its error


def test_a_wrong_constant_is_rejected_by_every_published_equation(case):
    entry, flow = case
    wrong = replace(flow, rhs={n: mul(const(2), r) for n, r in flow.rhs.items()})
    only = replace(entry, claims=tuple(c for c in entry.claims if isinstance(c, Published)))
    assert len(only.claims) == 3
    assert not any(row.passed for row in verify(only, system=wrong).checks)


def test_the_simulation_rejects_a_wrong_drift():
    """A fifth more of dR/dalpha in the theory; the runs are those that pass with the right one."""
    entry = load(NAMES[0])
    flow = derived(entry)
    wrong = replace(flow, rhs={n: mul(const(1.2), r) if n.startswith("R") else r for n, r in flow.rhs.items()})
    rows = check(entry.claims[-1], Subject(entry=entry, flow=wrong, quick=True))
    assert not rows[0].passed


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_order_is_refused(name):
    with pytest.raises(InvalidSpec, match="curriculum, anti, hard, easy"):
        load(name, order="easy first")


def test_phases_need_one_difficulty_each():
    with pytest.raises(InvalidSpec, match="give one of each for every phase"):
        curriculum_perceptron(lengths=(1, 1), difficulties=(1,))


def test_random_states_of_the_clusters_at_several_widths():
    """The largest relative difference of all published rates at four states of each width."""
    entry = load(NAMES[1])
    flow = derived(entry)
    for width in (1, 3):
        claims = tuple(c for c in entry.claims if isinstance(c, Published))
        only = replace(entry, claims=claims, values={**entry.values, "K": width})
        rows = [row for seed in (1, 2) for row in verify(only, system=flow, seed=seed).checks]
        assert len(rows) == 6
        assert max(row.statistic for row in rows) < 1e-10  # rounding of a few hundred products
