"""Zhang 2018: simulation against the recursion to its printed agreement, and equations without one of the fourth moments.

Fourth moments enter twice, as H X H / B and as H tr(H X) / B; without either the printed step, the state at rest and the
simulation alone must object. False alarms: 1 % for the simulation, at the first choice of a seed, which is fixed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from derive import recursion
from derive.catalog import load
from derive.claims.entry import MatchesSimulation, Published, Rests
from derive.errors import InvalidSpec
from derive.matrices.poly import Poly, text
from numerics.claims.recursions import moments_of, simulated, start_of, theory
from numerics.claims.subject import Subject
from numerics.run import run, write
from numerics.verify import verify

NAME = "zhang_2018_energy_entropy"
TERMS = ("eta^2*H*X_w*H/B", "eta^2*tr(H*X_w)*H/B")


def without(made, term):
    """The recursion without one term of the second moments."""
    rhs = made.after["X_w"]
    found = [k for k, c in rhs.items() if text(Poly(rhs.shape, {k: c})) == term]
    assert len(found) == 1, f"{term} is not there"
    return made.replace(after={**made.after, "X_w": Poly(rhs.shape, {k: c for k, c in rhs.items() if k not in found})})


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("kind", [Published, Rests])
def test_a_missing_fourth_moment_breaks_the_printed_equations(kind, term):
    entry = load(NAME)
    entry = replace(entry, claims=tuple(c for c in entry.claims if isinstance(c, kind)))
    assert verify(entry).passed
    assert not verify(entry, system=without(recursion(entry.model), term)).passed


@pytest.mark.parametrize(("factor", "passes"), [(1, True), (sp.Rational(101, 100), False)])
def test_a_letter_that_is_no_state_is_compared_after_one_step(factor, passes):
    """q = |E[w - ws]|^2 after one step is m'(1 - eta H)^2 m; one per cent more is rejected."""
    entry = load(NAME)
    n = sp.Symbol("d", integer=True, positive=True)
    m, H, eta, q = sp.MatrixSymbol("m_w", n, 1), sp.MatrixSymbol("H", n, n), sp.Symbol("eta"), sp.Symbol("q")
    moved = m - eta * H * m
    claim = Published("norm of the mean", where={q: sp.Trace(m.T * m)}, rate={q: factor * sp.Trace(moved.T * moved)})
    assert verify(replace(entry, claims=(claim,))).passed is passes


@pytest.mark.parametrize("term", TERMS)
def test_a_missing_fourth_moment_is_seen_by_simulation_alone(term):
    """Single items per step, where fourth moments weigh most; the right recursion passes on the same runs."""
    entry = load(NAME, B=1, seeds=200)
    entry = replace(entry, claims=(MatchesSimulation("SGD", seeds=200, time=400),))
    assert not verify(entry, system=without(recursion(entry.model), term)).passed


def test_the_right_recursion_passes_where_the_wrong_ones_fail():
    entry = load(NAME, B=1, seeds=200)
    assert verify(replace(entry, claims=(MatchesSimulation("SGD", seeds=200, time=400),))).passed


def test_agreement_with_400_runs():
    """Trace of the covariance at rest, averaged over 400 runs and 600 steps: 3 to 20 steps, 1 / (2 eta h), are one sample of an
    entry, so its standard error is half a per cent. Bound: four of them."""
    entry = load(NAME)
    made = recursion(entry.model)
    subject = Subject(entry=entry, flow=made, seed=0)
    start, params = start_of(made, subject)
    runs = simulated(made, subject, start, params, 800, 1, 400)
    path = theory(made, moments_of(made, start, params), params, 800)
    seen = np.trace(runs["X_w"][:, 200:], axis1=-2, axis2=-1).mean(axis=1)
    expected = np.trace(path.values["X_w"][200:], axis1=-2, axis2=-1).mean()
    error = seen.std(ddof=1) / np.sqrt(len(seen)) / expected
    assert error < 0.006  # each fourth moment moves the trace by 2 % or more
    assert abs(seen.mean() / expected - 1) < 4 * error


def test_a_run_writes_its_figure(tmp_path):
    """The whole command at a small size: theory and groups of runs agree, and five files are written."""
    outcome = run(load(NAME, d=3, seeds=60, time=60))
    assert outcome.report.passed
    assert outcome.derivation.kind == "moment recursion"
    files = write(outcome, tmp_path / "out")
    assert all(f.stat().st_size > 500 for f in files)
    assert "X_{w}(n+1)" in (tmp_path / "out" / "derivation.md").read_text()


def test_steps_at_which_it_diverges_are_refused():
    with pytest.raises(InvalidSpec, match="not below 1"):
        load(NAME, eta=0.6)
    with pytest.raises(InvalidSpec, match="give 0 < low"):
        load(NAME, low=-1.0)
