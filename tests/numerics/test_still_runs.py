"""Runs in which nothing is drawn: descent by the plan over the derived flow (two roads); a wrong rule is noticed."""

from __future__ import annotations

import numpy as np
import pytest

from derive import Model, Rate, gradient_flow, plan, scalars
from derive.catalog import load
from numerics.compare import order
from numerics.run_descent import Descent, full_batch
from numerics.run_matrix import run_matrix
from numerics.simulate import simulate


def test_a_run_without_draws_is_checked_by_descent() -> None:
    outcome = run_matrix(load("saxe_2016_lmdp"), data=None, whitened=False)
    rows = {c.claim: c for c in outcome.report.checks}
    assert any("order 1" in claim for claim in rows), list(rows)
    assert all(c.passed for c in outcome.report.checks)
    assert any("nothing is drawn" in note for note in outcome.notes)


@pytest.mark.parametrize(("factor", "near_one"), [(1.0, True), (1.01, False)])
def test_the_order_of_descent_is_one_only_for_the_right_rule(factor: float, near_one: bool) -> None:
    u, s = scalars("u s")
    model = Model(name="logistic", state=(u,), given=(s,), learn=Rate({u: u * (s - u)}))
    flow, rule = gradient_flow(model), plan(model)

    def path(eta: float, steps: int, every: int) -> dict[str, np.ndarray]:
        run = simulate(rule, {"s": 1.0}, {"u": 0.1}, steps, every=every, dt=eta * factor, observe=False)
        return {"u": run.values["u"][0]}

    setting, _ = Descent.of({"eta": 0.01, "time": 4.0}, 4.0, 10)
    etas, errors, _, _ = full_batch(flow, {"u": np.array(0.1)}, {"s": np.array(1.0)}, path, setting, strict=near_one)
    slope, _ = order(etas, errors)
    assert (abs(slope - 1) < 0.03) is near_one  # the bound of a run; a rule 1 % too fast leaves a constant deviation


def test_a_start_at_rest_has_no_order() -> None:
    u = scalars("u")
    model = Model(name="rest", state=(u,), learn=Rate({u: -(u**3)}))
    setting, _ = Descent.of({"eta": 0.01, "time": 1.0}, 1.0, 5)
    zero = np.array(0.0)
    assert full_batch(gradient_flow(model), {"u": zero}, {}, lambda *_: {"u": np.zeros(9)}, setting)[0] == ()
