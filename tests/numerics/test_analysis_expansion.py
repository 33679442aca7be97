"""Rest states to first order in the learning rate: exact series against rest states found by numbers, and claims about them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from derive.catalog import load
from derive.errors import InvalidSpec
from derive.indices.indexed import arrays, const, mul
from derive.library.teacher import teacher_student
from derive.online.alike_units import Group, symmetric
from derive.online.limit import online_limit
from derive.rest_states.rest_expansion import expand_rest
from numerics.analysis import find_rest
from numerics.claims.rests_near import romberg
from numerics.verify import verify

GROUPS = {"pair": Group(size="M", families=("K", "M")), "spare": Group(size="L", families=("K",))}
ONES = ("Q_pair", "R_pair", "T_pair", "A_pair", "v_pair", "v_spare")
ZEROS = ("Q_pair_pair", "Q_pair_spare", "Q_spare", "Q_spare_spare", "R_pair_pair", "R_spare_pair", "T_pair_pair")
INFORMED = {**dict.fromkeys(ONES, 1), **dict.fromkeys(ZEROS, 0)}
ETA, SIGMA, M, L = sp.Symbol("eta", positive=True), *(sp.Symbol(n, real=True) for n in ("sigma", "M", "L"))


@pytest.fixture(scope="module")
def erf():
    return symmetric(online_limit(teacher_student(train="first")), GROUPS)


def slope_by_numbers(system, at, observable, **params):
    """The first-order coefficient from rest states at four rates."""
    ratios = []
    for h in (0.04, 0.02, 0.01, 0.005):
        known = {**{n: float(v) for n, v in at.items()}, **params, "eta": h}
        rest = find_rest(
            system, {b.name: known[b.name] for b in system.state}, {b.name: known[b.name] for b in system.parameters}
        )
        ratios.append(float(rest.observables[observable]) / h)
    return romberg(ratios)[-1]


def test_the_error_of_an_overparameterised_student_grows_with_every_spare_unit(erf):
    """Roads: exact linear response for symbols M and L; the formula in print; Newton at M = 3, L = 2."""
    found = expand_rest(erf, INFORMED, small="eta")
    printed = ETA * SIGMA**2 / (2 * sp.pi) * (L + M / sp.sqrt(3))
    assert sp.expand(found.observables["eg"] - printed) == 0
    assert found.neutral == 1  # spare units may share their function in any way
    assert found.state["Q_spare"] is None
    seen = slope_by_numbers(erf.system, INFORMED, "eg", M=3.0, L=2.0, sigma=0.1)
    want = float((printed / ETA).subs({M: 3, L: 2, SIGMA: 0.1}))
    assert abs(seen / want - 1) < 1e-5  # Romberg's table with four values: eta^4 times a constant of order ten


def test_long_teachers(erf):
    """Roads: exact linear response at |teacher|^2 = 2 N; Newton at M = 2, L = 1."""
    at = {**INFORMED, "Q_pair": 2, "R_pair": 2, "T_pair": 2}
    found = expand_rest(erf, at, small="eta").observables["eg"]
    seen = slope_by_numbers(erf.system, at, "eg", M=2.0, L=1.0, sigma=0.1)
    assert abs(seen / float((found / ETA).subs({M: 2, L: 1, SIGMA: 0.1})) - 1) < 1e-5  # as above


def test_linear_units_all_cost_the_same():
    """Roads: exact linear response; eta sigma^2 K / 4, the first order of eta sigma^2 K / (4 - 2 eta K)."""
    one = symmetric(online_limit(teacher_student("linear", train="first")), GROUPS)
    found = expand_rest(one, INFORMED, small="eta")
    assert sp.expand(found.observables["eg"] - ETA * SIGMA**2 * (L + M) / 4) == 0


def test_a_state_that_moves_is_refused(erf):
    with pytest.raises(InvalidSpec, match="does not rest there"):
        expand_rest(erf, {**INFORMED, "R_pair": sp.Rational(1, 2)}, small="eta")
    with pytest.raises(InvalidSpec, match="no value for the state R_pair"):
        expand_rest(erf, {n: v for n, v in INFORMED.items() if n != "R_pair"}, small="eta")


def claim_only(**settings):
    entry = load("goldt_2019_overparameterised", **settings)
    return replace(entry, claims=tuple(c for c in entry.claims if type(c).__name__ == "RestsNear"))


def test_the_claim_holds_and_a_wrong_constant_is_rejected():
    entry = claim_only(M=2, L=1)
    assert verify(entry).passed
    (claim,) = entry.claims
    wrong = replace(claim, observables={n: e * sp.Rational(101, 100) for n, e in claim.observables.items()})
    report = verify(replace(entry, claims=(wrong,)))
    assert len(report.failures) == 2  # by the derived series and by numbers, each on its own


def test_a_wrong_equation_is_rejected():
    """The noise of the steps 2 % too strong."""
    entry = claim_only(M=1, L=1)
    flow = online_limit(entry.model)
    noisy = [t for t in flow.rhs["Q"].args if "sigma" in arrays(t)]
    assert len(noisy) == 1
    wrong = flow.replace(rhs={**flow.rhs, "Q": flow.rhs["Q"] + mul(const(1) / 50, noisy[0])})
    report = verify(entry, system=wrong)
    assert len(report.failures) == 2
    assert np.isfinite([c.statistic for c in report.checks]).all()  # the checks were carried out
