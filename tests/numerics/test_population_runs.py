"""Simulations beside population flows: what is placed, what is projected, and what a run of the command finds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive import Entry, Limit, MatchesSimulation, Model, Normal, Rate, dims, dot, fn, grad, population_flow, scalars, vector
from derive.errors import InvalidSpec
from numerics.claims.populations import length_of, run_population
from numerics.run import run
from numerics.verify import verify

N = dims("N")
w, u, x, L = vector("w", N), vector("u", N), vector("x", N), scalars("L")


def entry(scale: Any = 1, factor: Any = 1, **values: Any) -> Entry:
    loss = (fn.erf2(dot(w, x) / scale) - fn.erf2(dot(u, x) / scale)) ** 2 / 2
    model = Model(
        name="one_unit", state=w, given=u, data=Normal(x), let={L: loss}, learn=Rate({w: -factor * grad(L, w)}),
        limit=Limit({N: sp.oo}),
    )  # fmt: skip
    claim = MatchesSimulation("mini-batch SGD", observables=("Q", "R", "L"), sizes=(25, 50, 100), time=2.0, seeds=40)
    start = {"Q": 1.0, "R": 0.2, "T": 1.5}
    return Entry(name="one_unit", model=model, kind="population", values={**start, "N": 5, **values}, claims=(claim,))


@pytest.mark.parametrize(("scale", "factor"), [(1, 1), (sp.sqrt(N), N)])
def test_runs_start_at_the_given_overlaps_and_drift_as_the_flow(scale: Any, factor: Any) -> None:
    """Vectors of the model's own scale: the mean first step of 4000 runs against the right-hand side, z <= 5."""
    made = entry(scale, factor)
    start, given = {"Q": np.array(1.0), "R": np.array(0.2)}, {"T": np.array(1.5)}
    seen = run_population(made.model, start, given, 100, 1, 1, length=5, seeds=4000, root=1)
    from codegen import compile

    flow = population_flow(made.model)
    assert [b.name for b in flow.parameters] == ["T"]
    rates = dict(zip([b.name for b in flow.state], compile(flow, backend="numpy").rhs(0.0, 1.0, 0.2, 1.5), strict=True))
    for name, first in start.items():
        drift = (seen[name][:, 0] - first) * 100
        error = drift.std() / len(drift) ** 0.5
        assert abs(drift.mean() - float(rates[name])) < 5 * error  # |dw|^2 of one step of 1/100 adds 2e-3 to Q: one error
        assert error < 0.02  # so that a drift of 0.2 would be seen


def test_the_claim_accepts_the_flow_and_rejects_a_faster_one() -> None:
    """Mutant: a flow whose R moves 30 % too fast."""
    made = entry()
    assert [row.passed for row in verify(made).checks][:2] == [True, True]
    flow = population_flow(made.model)
    wrong = flow.replace(rhs={**flow.rhs, "R": flow.rhs["R"] * 13 / 10})
    assert not verify(made, system=wrong).checks[0].passed


def test_a_run_derives_integrates_and_simulates() -> None:
    outcome = run(entry(time=1.0, seeds=4))
    assert outcome.derivation.kind == "population flow"
    assert outcome.report.passed
    assert set(outcome.trajectory.values) == {"Q", "R"}
    assert any("N = 5" in note for note in outcome.notes)


def test_vectors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="raise it"):
        length_of({"N": 2}, "N", 3)
    with pytest.raises(InvalidSpec, match="seeds"):
        run(entry(time=1.0, seeds=2))
