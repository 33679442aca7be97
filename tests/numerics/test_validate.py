"""`validate` on the two-layer linear network: every road that agrees passes, every road that does not is refused or fails."""

from functools import cache

import numpy as np
import pytest

from codegen import compile
from derive import Balanced, Modes, closed_form, gradient_flow, linear_network, reduce
from derive.errors import InvalidSpec
from numerics import integrate, validate
from numerics.simulate import SimulationResult

TIMES = np.linspace(0, 12, 13)


@cache
def chain():
    """Flow, reduction and closed form; white inputs, aligned start with strengths 1e-3."""
    flow = gradient_flow(linear_network(depth=2))
    reduction = reduce(flow, (Modes(white=True), Balanced()))
    rng = np.random.default_rng(0)
    values = {"Sx": np.eye(4), "Syx": rng.normal(size=(3, 4)), "Syy": 9 * np.eye(3), "tau": 1.0, "N1": 3}
    start = reduction.lift_state(values, {"u": np.array([1e-3, 2e-3, 1e-3])})
    params = {b.name: values[b.name] for b in flow.parameters if b.name in values}
    path = integrate(compile(flow, backend="numpy"), start, params, (0, 12), TIMES, rtol=1e-11)
    return flow, reduction, closed_form(reduction.system), path


def test_four_roads_one_report():
    flow, reduction, form, path = chain()
    report = validate(path, path, compile(flow, backend="numpy"), reduction, form, command="again")
    assert report.passed, str(report)
    assert len(report.checks) == 4
    assert all(c.command == "again" and c.bound == 1e-8 for c in report.checks)


def test_a_late_closed_form_fails():
    """The control: the same form with time stretched by 1e-4."""
    from dataclasses import replace

    _, reduction, form, path = chain()
    late = replace(form, evaluate=lambda t, initial, params: form.evaluate(1.0001 * t, initial, params))
    report = validate(path, reduction, late)
    assert [c.passed for c in report.checks] == [True, False]


def test_a_closed_form_before_its_reduction_is_refused_with_the_remedy():
    _, _, form, path = chain()
    with pytest.raises(InvalidSpec, match="pass its reduction before it"):
        validate(path, form)


def simulation(path, shift=0.0, seed=0, times=TIMES):
    """Ten runs: the theory plus noise that grows from nothing, as made by hand."""
    rng = np.random.default_rng(seed)
    noise = 0.01 * np.linspace(0, 1, len(times))
    values = {n: a + (shift + rng.normal(size=(10, 1, 1, 1))) * noise[:, None, None] for n, a in path.values.items()}
    return SimulationResult(
        name="by hand", t=times, steps=np.arange(len(times)), values=values, observables={}, status=("ok",) * 10, seed=seed
    )


def test_simulations_are_scored():
    _, _, _, path = chain()
    assert validate(path, simulation(path)).passed
    assert not validate(path, simulation(path, shift=8.0)).passed  # 8 deviations are 25 standard errors of ten runs


def test_several_sizes_add_the_exponent():
    _, _, _, path = chain()
    report = validate(path, {100: simulation(path, seed=1), 400: simulation(path, seed=2)})
    assert "falls like" in report.checks[1].claim
    assert not report.checks[1].passed  # by construction this noise does not depend on the size


def test_what_cannot_be_compared_is_refused():
    _, _, _, path = chain()
    with pytest.raises(InvalidSpec, match="with t_eval=result"):
        validate(path, simulation(path, times=2 * TIMES))
    with pytest.raises(InvalidSpec, match="is no road"):
        validate(path, 3)
