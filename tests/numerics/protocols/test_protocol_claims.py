"""Claims about whole protocols: they hold for the derived systems, and reject wrong equations, solutions and hand-overs."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive import (
    Conserved,
    Drop,
    Entry,
    LambdaBalanced,
    MatchesSimulation,
    Modes,
    Phase,
    Solves,
    Throughout,
    course,
    gradient_flow,
    linear_network,
    online_limit,
    two_tasks,
)
from derive.catalog import load
from derive.errors import InvalidSpec
from derive.system import Flow
from numerics import follow, verify
from numerics.protocol_checks import conserved_along, conserved_rows


def judged(entry: Any, kind: Any, **options: Any) -> Any:
    return verify(replace(entry, claims=tuple(c for c in entry.claims if isinstance(c, kind))), quick=True, **options)


@cache
def dementia() -> tuple[Any, Flow]:
    entry = load("jarvis_2023_semantic_dementia", kept=4, each=4)
    return entry, gradient_flow(entry.model)


def scaled(flow: Flow, name: str, factor: Any) -> Flow:
    return flow.replace(rhs={**flow.rhs, name: flow.rhs[name].scale(factor)})


def test_claims_of_the_damaged_network_hold() -> None:
    report = judged(dementia()[0], Throughout)
    assert report.passed, str(report)
    assert len(report.checks) == 4
    solved = next(c for c in report.checks if "closed form" in c.claim)
    assert solved.statistic < 1e-8  # the bound asked for; the semigroup and the flow agree far better


@pytest.mark.parametrize(("name", "factor"), [("W1", sp.Rational(101, 100)), ("W2", -1)])
def test_a_wrong_flow_breaks_what_holds_throughout(name: str, factor: Any) -> None:
    """One layer 1 % faster, or backwards: no balance, no Riccati equation (its reduction refuses), no closed form."""
    entry, flow = dementia()
    report = judged(entry, Throughout, system=scaled(flow, name, factor))
    assert [c.claim for c in report.checks if c.passed] == []


def test_a_wrong_flow_is_rejected_by_simulation_of_the_protocol() -> None:
    """Both layers 1 % faster: the balance still holds, descent through the deletions does not tend to it with order 1."""
    entry, flow = dementia()
    both = flow.replace(rhs={n: p.scale(sp.Rational(101, 100)) for n, p in flow.rhs.items()})
    small = replace(entry, claims=(MatchesSimulation("sgd", observables=("loss",), sizes=(50, 100), seeds=6),))
    report = verify(small, system=both)
    assert any("order 1" in c.claim for c in report.failures)
    assert not any("order 1" in c.claim for c in verify(small).failures)


def test_a_wrong_reduced_system_does_not_commute_with_the_course() -> None:
    from derive import Commutes, reduce

    entry, flow = dementia()
    right = reduce(flow, LambdaBalanced(0)).system
    wrong = right.replace(rhs={n: p.scale(sp.Rational(101, 100)) for n, p in right.rhs.items()})
    claim = next(c for c in entry.claims if isinstance(c, Throughout) and isinstance(c.claim, Commutes))
    bare = replace(entry, claims=(claim,))
    assert verify(bare, system=right).passed
    assert not verify(bare, system=wrong).passed


def modes_entry(solution: Any) -> Entry:
    """Deep linear modes with both layers halved between phases."""
    from derive import Event

    network = linear_network(depth=2)
    W1, W2 = network.state
    made = network.replace(protocol=(Phase(1), Event({W1: W1 / 2, W2: W2 / 2}), Phase(1)))
    rng = np.random.default_rng(0)
    u, v = np.linalg.qr(rng.standard_normal((4, 3)))[0], np.linalg.qr(rng.standard_normal((3, 3)))[0]
    s = np.array([2.0, 1.0, 0.5])
    values = {"Sx": np.eye(3), "Syx": u * s @ v.T, "Syy": u * s**2 @ u.T, "tau": 1.0, "N1": 3,
              "W1": 0.4 * v.T, "W2": 0.4 * u}  # fmt: skip
    from derive import Balanced

    x = sp.Symbol("u", positive=True)
    claim = Throughout(Solves("mode", {x: solution}, initial={x: sp.Symbol("u0")}, ansatz=(Modes(white=True), Balanced())))
    return Entry(name="modes", model=made, values=values, claims=(claim,))


def test_a_printed_solution_is_followed_phase_by_phase() -> None:
    """The sigmoid from the strength at the beginning of each phase; with a rate that is off by 1 % it fails."""
    s, u0, t, tau = sp.symbols("s u0 t tau")
    right = s / (1 - (1 - s / u0) * sp.exp(-2 * s * t / tau))
    report = verify(modes_entry(right))
    assert report.passed, str(report)
    assert not verify(modes_entry(right.subs(t, t * sp.Rational(101, 100)))).passed


def test_forgetting_rejects_wrong_order_parameter_equations() -> None:
    """Two linear tasks in sequence. Roads: one-pass SGD with the weights handed over; the equations, one of wrong sign."""
    model = two_tasks(lambda z: z, lengths=(1, 1))
    values = {"K": 2, "M1": 1, "M2": 1, "N": 100, "eta": 0.5, "eta_h": 0.5, "A1": [1.0], "A2": [1.0]}
    claim = MatchesSimulation("sgd", observables=("eg1", "eg2"), sizes=(40, 80), seeds=12, time=4.0)
    entry = Entry(name="tasks", model=model, kind="online", values=values, claims=(claim,))
    flow = online_limit(model)
    assert verify(entry).checks[0].passed  # the row of the mean; the exponent needs more seeds
    wrong = flow.replace(rhs={**flow.rhs, "R_W_B2": -1 * flow.rhs["R_W_B2"]})
    assert not verify(entry, system=wrong).checks[0].passed


def test_a_deletion_changes_the_balance_to_a_submatrix() -> None:
    """Unbalanced weights: C = W2'W2 - W1 W1' is constant in each phase and becomes its own submatrix at the deletion."""
    N1 = linear_network(depth=2).symbols["N1"]
    rng = np.random.default_rng(2)
    made = course(linear_network(depth=2).replace(protocol=(Phase(1), Drop(N1, 2), Phase(1))))
    y0 = {"W1": rng.standard_normal((5, 3)), "W2": rng.standard_normal((4, 5))}
    params = {"Sx": np.eye(3), "Syx": rng.standard_normal((4, 3)), "Syy": np.eye(4), "tau": 1.0}
    path = follow(made, y0, params, backend="numpy", rtol=1e-11, dropped=[(0, 4)]).raise_if_failed()
    (balance,) = conserved_along(made, path)
    start = y0["W2"].T @ y0["W2"] - y0["W1"] @ y0["W1"].T
    sign = np.sign(balance.starts[0][0, 0] * start[0, 0])
    assert np.abs(sign * balance.starts[0] - start).max() < 1e-12  # rounding
    assert np.abs(sign * balance.starts[1] - start[1:4, 1:4]).max() < 1e-8  # a thousand times the rtol
    assert max(balance.drifts) < 1e-9
    ((before, after),) = balance.jumps
    assert before == pytest.approx(np.linalg.norm(start), rel=1e-8)
    assert after == pytest.approx(np.linalg.norm(start[1:4, 1:4]), rel=1e-8)
    assert after < before
    (row,) = conserved_rows(made, path)
    assert row.passed
    assert f"{before:.3g} -> {after:.3g}" in row.detail


def test_only_claims_that_can_be_followed_are_wrapped() -> None:
    with pytest.raises(InvalidSpec, match="wrap Conserved"):
        Throughout(MatchesSimulation("sgd"))  # type: ignore[arg-type]
    entry, _ = dementia()
    W1, W2 = (entry.model.symbols[n] for n in ("W1", "W2"))
    wrong = Throughout(Conserved("sum", W2.T * W2 + W1 * W1.T))
    assert not verify(replace(entry, claims=(wrong,))).passed
