"""The chain as plain data: what is written, what is refused and with which remedy."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from chain_models import D, K, N, b, c, eta, exact_chain, lam, nu, s, single, w, x, y
from sympy import Identity, oo, sqrt

from derive import fn
from derive.errors import UnsupportedNode
from derive.fields.rule import field_rule
from derive.library.teacher import teacher_student
from derive.spec.laws import Choice, Normal
from derive.spec.model import Model
from derive.spec.nodes import mean
from derive.spec.rules import Drop, Event, Limit, Phase, Update
from derive.spec.sugar import dot
from numerics.simulate import BindingError, NotSimulable, PlanError
from numerics.simulate.chain import chain

ROOT = Path(__file__).resolve().parents[3]


def test_the_plan_is_json_and_the_rule_gives_the_same_one():
    model = teacher_student("erf2", "both", decay=True)
    data = exact_chain(model)
    assert json.loads(json.dumps(data)) == data
    assert exact_chain(field_rule(model)) == data
    assert [f["learned"] for f in data["families"]] == [True, False]


def test_the_plan_does_not_depend_on_the_hash_seed():
    code = (
        "import json; from derive.online.chain_plan import exact_chain; from derive.library.teacher import teacher_student;"
        "print(json.dumps(exact_chain(teacher_student('erf2', 'both', decay=True))))"
    )
    made = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env={"PYTHONHASHSEED": seed, "PATH": ""}, capture_output=True, check=True
        )
        for seed in ("0", "7")
    ]
    assert made[0].stdout == made[1].stdout != b""


def test_an_observable_without_a_closed_form_is_left_out_and_says_why():
    data = exact_chain(teacher_student("tanh", "first"))
    assert data["observe"] == {}
    assert "quadrature" in data["left_out"]["eg"]


def tilted():
    """A policy y that depends on a field, whose variance depends on another label."""
    policy = Choice(y, (1, -1), ((1 + fn.erf2(lam)) / 2, (1 - fn.erf2(lam)) / 2))
    return single(eta / sqrt(N) * y * nu * x, data=(Choice(s, (1, 2)), Normal(x, cov=s * Identity(N)), policy))


def course(*protocol, given=(b, eta)):
    return single(eta / sqrt(N) * (nu - lam) * x, given=given, protocol=protocol)


REFUSED = {
    "delta function": (lambda: teacher_student("sgn", "first"), r"sgn'.*use a smooth function"),
    "average of a square": (lambda: single(eta / sqrt(N) * (lam - nu) * mean(dot(x, x) / N * lam**2) * x), r"without mean"),
    "law that moves": (
        lambda: single(eta / sqrt(N) * (nu - s) * x, given=(b, eta, D), data=(Normal(x), Normal(s, cov=D * dot(w, w) / N))),
        "scale a standard draw",
    ),
    "variance that moves": (
        lambda: single(eta / sqrt(N) * nu * x, data=(Normal(x, cov=dot(w, w) / N * Identity(N)),)), "scale a standard draw",
    ),
    "a chosen variance": (tilted, r"probability of s = 2, y = 1 depends on fields.*from one law"),
    "an end by condition": (lambda: course(Phase(5, until=dot(w, b) / N > 1)), "give its length"),
    "a drop": (
        lambda: teacher_student("erf2", "first").replace(protocol=(Phase(1), Drop(K, 1), Phase(1))),
        "simulate the plan",
    ),
    "a small event": (lambda: course(Phase(1), Event({w: w + b / N}), Phase(1)), "as a block of the update"),
    "vectors of one phase": (
        lambda: course(Phase(1, bind={b: c}), Phase(1), given=(b, c, eta)), r"does not use the vectors b.*case\(task",
    ),
    "the second block of a draw": (
        lambda: Model(
            name="twice", state=(w,), given=(b, eta), data=Normal(x), limit=Limit({N: oo}),
            learn=Update({w: w + eta / sqrt(N) * nu * x}, {w: w - eta / sqrt(N) * lam * x}, dt=1 / N),
        ), "write both moves as one block",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", list(REFUSED))
def test_refusal_of_a_plan_names_the_remedy(case):
    make, remedy = REFUSED[case]
    with pytest.raises(UnsupportedNode, match=remedy):
        exact_chain(make())


# ------------------------------------------------------------------------------------------------------ arrays for a plan
VALUES = {"T": 1.0, "eta": 0.5}
START = {"Q": 0.5, "R": 0.2}


def run(values=VALUES, state=START, size=50, steps=5, data=None, **options):
    return chain(data or exact_chain(single(eta / sqrt(N) * (nu - lam) * x)), values, state, size, steps, **options)


def test_sizes_and_times_of_a_run():
    result = run(steps=10, replicas=3, every=4)
    assert result.steps.tolist() == [0, 4, 8, 10]
    np.testing.assert_allclose(result.t, np.array([0, 4, 8, 10]) / 50, rtol=1e-15)
    assert result.values["Q"].shape == (3, 4)
    assert np.all(result.values["Q"][:, 0] == 0.5)
    assert result.status == ("ok",) * 3


def test_a_replica_does_not_depend_on_the_others_or_on_the_records():
    many, one = run(steps=40, replicas=3, seed=5), run(steps=40, seed=5, every=1)
    assert many.values["Q"][0, -1] == one.values["Q"][0, -1]
    assert many.values["Q"][1, -1] != one.values["Q"][0, -1]
    starts = {"Q": np.array([0.5, 0.5, 0.7]), "R": 0.2}
    assert run(state=starts, steps=40, replicas=3, seed=5).values["Q"][1, -1] == many.values["Q"][1, -1]


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"size": 1}, "Simulate the plan with its weights"),
        ({"state": {"Q": 0.5}}, r"state=\{'R'"),
        ({"values": {"eta": 0.5}}, r"values=\{'T'"),
        ({"values": {**VALUES, "kappa": 1.0}}, "Leave it out"),
        ({"state": {"Q": 0.5, "R": 2.0}}, "Compute them from weights"),
        ({"state": {"Q": [[0.5]], "R": 0.2}}, "Drop axes"),
        ({"state": {"Q": np.nan, "R": 0.2}}, "finite numbers"),
        ({"steps": -1}, "at least 1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, remedy):
    with pytest.raises((BindingError, NotSimulable), match=remedy):
        run(**change)


def test_shapes_of_families_must_agree():
    data = exact_chain(teacher_student("erf2", "first", noise=False))
    values = {"T": np.eye(2), "A": np.ones(2), "v": np.ones(3), "eta": 0.1}
    assert chain(data, values, {"Q": np.eye(3), "R": np.zeros((3, 2))}, 50, 1).values["R"].shape == (1, 2, 3, 2)
    with pytest.raises(BindingError, match="Make the arrays agree in"):
        chain(data, values, {"Q": np.eye(2), "R": np.zeros((3, 2))}, 50, 1)
    with pytest.raises(BindingError, match="Symmetrise"):
        chain(data, values, {"Q": np.eye(3) + np.triu(np.full((3, 3), 0.1), 1), "R": np.zeros((3, 2))}, 50, 1)


def test_a_plan_of_another_kind_and_an_unknown_function_are_refused():
    with pytest.raises(PlanError, match="exact_chain"):
        run(data={"version": 1, "name": "other"})
    data = json.loads(json.dumps(exact_chain(single(eta / sqrt(N) * fn.tanh(lam - nu) * x))).replace("tanh", "tanh'''"))
    with pytest.raises(NotSimulable, match="Write the activation with these"):
        run(data=data)
    with pytest.raises(PlanError, match="chain_protocol"):
        run(data={"version": 2, "kind": "overlap chain protocol", "name": "two"})


def test_a_run_that_diverges_says_so():
    result = run(values={"T": 1.0, "eta": 500.0}, steps=5000, replicas=2)
    assert result.status == ("nonfinite",) * 2
    assert np.isnan(result.values["Q"][0, -1])
    assert np.isfinite(result.values["Q"][0, 0])


def test_a_family_whose_size_shows_in_no_array_is_refused():
    data = exact_chain(teacher_student("erf2", "first", noise=False))
    data = {**data, "families": [*data["families"], {"name": "Z", "size": "P", "learned": False, "block": "N"}]}
    values = {"T": np.eye(1), "A": np.ones(1), "v": np.ones(1), "eta": 0.1}
    with pytest.raises(BindingError, match="occurs in no array"):
        chain(data, values, {"Q": np.eye(1), "R": np.zeros((1, 1))}, 50, 1)
