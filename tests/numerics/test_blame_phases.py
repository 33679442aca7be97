"""Drift regression of protocols: the phase and the term are named; values that move in time are followed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from derive import InvalidSpec, Phase, course, scalars, t
from derive.indices.indexed import arr, arrays, const, mul
from derive.library.difficulty import curriculum_perceptron
from derive.library.tasks import two_tasks
from derive.library.teacher import teacher_student
from derive.online.limit import online_limit
from numerics import Schedule
from numerics.blame import blame, terms_of
from numerics.blame_phases import opened
from numerics.bursts import Spot

TASKS = {"K": 2, "M1": 2, "M2": 1, "eta": 0.8, "eta_h": 0.6, "p": 0.4}


@pytest.fixture(scope="module")
def tasks() -> Any:
    """Task 1, task 2, both at random."""
    return two_tasks(lengths=(1, 2, 3))


def falling() -> Any:
    """A rate that falls during its phase, then stays."""
    model, e0 = teacher_student("linear", train="first", noise=False), scalars("e0")
    eta = model.symbols["eta"]
    protocol = (Phase(2, bind={eta: e0 / (1 + t)}), Phase(3, bind={eta: e0 / 10}))
    return model.replace(given=(*model.given, e0), protocol=protocol)


def test_a_right_course_is_not_blamed(tasks: Any) -> None:
    """False alarm 1e-3; phases with a label, with a law of labels, with a difficulty, with a rate that moves."""
    assert blame(tasks, values=TASKS, states=3, bursts=1000).passed
    Delta = curriculum_perceptron(lengths=(1, 1), difficulties=(0.2, 1.0))
    seen = blame(Delta, values={"K": 1, "M": 1, "eta": 1.0, "kappa": 0.3, "rho": 0.5}, states=3, bursts=1000)
    assert seen.passed
    assert {x.phase for x in seen.terms} == {"phase 1 (Delta = 1/5)", "phase 2 (Delta = 1)"}
    assert blame(falling(), values={"K": 2, "M": 1, "e0": 0.8}, states=3, bursts=1000).passed


def test_phase_and_term_are_named(tasks: Any) -> None:
    """Roads: the factor 3/2 that was typed into a term of the second task; its inverse from direct SGD."""
    flow = course(tasks).stretches[0].flow
    weights = ("task_is_1", "task_is_2")
    found = next(x for x in terms_of(opened(flow, weights).rhs["R_W_B2"]) if "task_is_2" in arrays(x) and "A2" in arrays(x))
    wrong = flow.replace(rhs={**flow.rhs, "R_W_B2": flow.rhs["R_W_B2"] + mul(const(1) / 2, found)})
    result = blame(tasks, wrong, values={**TASKS, "p": 0.9}, states=6, bursts=2000, candidates={})
    assert result.culprit is not None
    assert (result.culprit.phase, result.culprit.equation) == ("phase 2 (task = 2)", "R_W_B2")
    assert result.culprit.node == mul(const(3) / 2, found)
    assert abs(1 + result.culprit.change - 2 / 3) < 4 * result.culprit.error  # four standard errors
    assert str(result).splitlines()[-1].startswith("  phase 2 (task = 2): dR_W_B2:")


def test_an_error_under_a_rate_that_moves() -> None:
    """The step of second order too large by a half: seen in the first phase, where the rate is large."""
    model = falling()
    flow = course(model).stretches[0].flow
    square = terms_of(flow.rhs["Q"])[-1]
    wrong = flow.replace(rhs={**flow.rhs, "Q": flow.rhs["Q"] + mul(const(1) / 2, square)})
    made = course(model, flow=wrong)
    result = blame(model, made, values={"K": 2, "M": 1, "e0": 0.8}, states=4, bursts=2000, candidates={})
    assert result.culprit is not None
    assert result.culprit.node == mul(const(3) / 2, square)
    assert result.culprit.phase == "phase 1 (eta = e0/(t + 1))"


def test_a_forgotten_task_is_reported_as_missing(tasks: Any) -> None:
    """The head of task 2 at rest in the equations; candidates are what the engine derives."""
    flow = course(tasks).stretches[0].flow
    wrong = flow.replace(rhs={**flow.rhs, "h2": mul(const(0), arr("eta"))})
    result = blame(tasks, wrong, values=TASKS, states=4, bursts=1500)
    assert result.culprit is not None
    assert (result.culprit.equation, result.culprit.present) == ("h2", False)
    assert result.culprit.phase.startswith(("phase 2", "phase 3"))


def test_states_and_schedules_of_the_user() -> None:
    """A schedule without a protocol; a state given by hand, with the values of the phase put in."""
    model = teacher_student("linear", train="first", noise=False)
    flow = online_limit(model)
    ramp = Schedule([0.0, 1.0], [1.0, 0.2])
    values = {"K": 2, "M": 1, "eta": ramp}
    assert blame(model, values=values, states=3, bursts=1000).passed
    wrong = flow.replace(rhs={**flow.rhs, "Q": flow.rhs["Q"] + mul(const(1) / 2, terms_of(flow.rhs["Q"])[-1])})
    assert not blame(model, wrong, values=values, states=4, bursts=2000, candidates={}).passed
    with pytest.raises(InvalidSpec, match="give a Schedule"):
        blame(model, values={**values, "eta": lambda time: 0.5}, states=1, bursts=10)
    spot = Spot(
        state={"Q": np.array([[1.0, 0.2], [0.2, 0.7]]), "R": np.array([[0.3], [-0.1]])},
        parameters={"A": np.ones(1), "v": np.array([1.0, 0.5]), "T": np.ones((1, 1)), "e0": np.asarray(0.9)},
        sizes={"K": 2, "M": 1},
    )
    result = blame(falling(), values={"e0": 0.9}, states=[spot, spot], bursts=1000)
    assert result.passed
    assert result.bursts == 2 * 2 * 1500  # phases, states, and bursts at two sizes


def test_what_is_refused(tasks: Any) -> None:
    model = teacher_student("linear", train="first", noise=False)
    with pytest.raises(InvalidSpec, match="has no protocol"):
        blame(model, course(tasks))
    with pytest.raises(InvalidSpec, match="has the states"):
        blame(tasks, online_limit(model), values=TASKS, states=1, bursts=10)
