"""Claims of leading order, of rest states, and about what functions make of a flow: true ones pass, broken ones fail.

The other road is a formula typed here; every broken claim differs from a true one in one constant.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive import Conserved, LeadingOrder, Published, Rests, complete, gradient_flow
from derive.catalog import load
from derive.errors import DerivationError, InvalidSpec
from derive.indices.indexed import arr, mul
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import scalars, vector
from derive.system import Block, Flow
from numerics import verify
from numerics.claims import conserved, leading, published, rests
from numerics.claims.expressions import value
from numerics.claims.subject import Subject

U, S = arr("u"), arr("s")
u, s, u0, T, eps = sp.symbols("u s u0 T eps", positive=True)


def single(power: int = 1, end: int = 1) -> Flow:
    """u' = u^power (s - u^end)."""
    rhs = mul(*[U] * power) * (S - mul(*[U] * end))
    return Flow(
        name="mode", state=(Block(name="u"),), rhs={"u": rhs}, parameters=(Block(name="s"),), observables={"loss": S - U}
    )


def subject(flow: Flow, **values: Any) -> Subject:
    entry = SimpleNamespace(values=values, model=SimpleNamespace(values={}), kind="matrix", name="x")
    return Subject(entry=entry, flow=flow)


def escape(power: int, factor: Any = 1) -> LeadingOrder:
    formula = sp.log(1 / u0) / s if power == 1 else u0 ** (1 - power) / (s * (power - 1))
    rate = "log" if power == 1 else power - 1
    return LeadingOrder(
        "escape",
        quantity=T,
        formula=factor * formula,
        small=u0,
        times={T: (u, s ** sp.Rational(1, 3) / 2)},
        start={u: u0},
        rate=rate,
    )


@pytest.mark.parametrize("power", [1, 2, 3])
def test_escape_times_of_leading_order(power: int) -> None:
    """u' = u^p (s - u^3), whose next orders are u0^(p-1) and u0^3 without logarithms."""
    flow = single(power, 3)
    rows = leading.check(escape(power), subject(flow))
    assert all(row.passed for row in rows), rows
    for factor in (sp.Rational(99, 100), sp.Rational(101, 100), 2, s):
        assert not all(row.passed for row in leading.check(escape(power, factor), subject(flow))), factor


def test_a_wrong_power_is_rejected() -> None:
    flow = single(2)
    wrong = replace(escape(2), formula=1 / (s * u0 ** sp.Rational(11, 10)))
    assert not any(row.passed for row in leading.check(wrong, subject(flow)))


def test_the_derived_formula_is_compared() -> None:
    flow = single(1)
    right = replace(escape(1), derived=lambda flow: sp.log(1 / u0) / s)
    wrong = replace(escape(1), derived=lambda flow: sp.log(2 / u0) / s)
    assert leading.check(right, subject(flow))[-1].passed
    assert not leading.check(wrong, subject(flow))[-1].passed  # the same leading order, but not the same formula


def test_levels_that_are_not_reached_and_other_refusals() -> None:
    flow = single(1)
    with pytest.raises(DerivationError, match=r"give a level that it reaches|were not reached"):
        leading.check(replace(escape(1), times={T: (u, 2 * s)}), subject(flow))
    with pytest.raises(InvalidSpec, match="no start for u"):
        leading.check(replace(escape(1), start={}), subject(flow))
    with pytest.raises(InvalidSpec, match="q is no parameter"):
        leading.check(replace(escape(1), values={"q": 1}), subject(flow))
    with pytest.raises(InvalidSpec, match="'log' or a positive number"):
        replace(escape(1), rate=-1)
    with pytest.raises(InvalidSpec, match="nothing is measured"):
        replace(escape(1), times={})


def test_extrapolation_is_exact_for_polynomials() -> None:
    g = np.array([1.0, 0.5, 0.2, 0.1])
    assert leading.extrapolated(g, 3 + 2 * g - g**2 + 5 * g**3) == pytest.approx(3, rel=1e-12)  # a cubic through four points


def test_integrals_in_claims() -> None:
    v, k = sp.symbols("v k", positive=True)
    assert value(sp.Integral(v**-k, (v, 1, sp.oo)), {"k": 3.0}) == pytest.approx(0.5, rel=1e-11)  # accuracy of quad


def test_published_rates_of_leading_order() -> None:
    """u^2 (s - u) is s u^2 for small u: the error is u/s; a constant that is off by 1e-3 leaves an error that stays."""
    flow = single(2)
    good = Published("small", rate={u: s * u**2}, small=u)
    (row,) = published.check(good, subject(flow))
    assert row.passed
    assert row.statistic == pytest.approx(0.1, rel=1e-3)  # first order, from 1e-3 to 1e-4
    assert "leading order in u" in row.claim
    for factor in (sp.Rational(1001, 1000), sp.Rational(99, 100), 2):
        assert not published.check(replace(good, rate={u: factor * s * u**2}), subject(flow))[0].passed
    exact = replace(good, rate={u: u**2 * (s - u)})
    assert published.check(exact, subject(flow))[0].statistic == 0  # below rounding: nothing is left to fall


def test_what_the_small_parameter_changes() -> None:
    flow = single(1)
    large = Published("large s", rate={u: s * u}, small=eps, vary={s: 1 / eps})
    assert published.check(large, subject(flow))[0].passed
    with pytest.raises(InvalidSpec, match="eps is neither a state nor a parameter of mode"):
        published.check(replace(large, vary={}), subject(flow))
    with pytest.raises(InvalidSpec, match="needs the small parameter"):
        Published("p", rate={u: 1}, vary={s: 1})


def test_rest_states() -> None:
    flow = single(1)
    assert all(row.passed for row in rests.check(Rests("learned", at={u: s}, observables={"loss": 0}), subject(flow)))
    assert not rests.check(Rests("off", at={u: s * sp.Rational(1001, 1000)}), subject(flow))[0].passed
    assert not rests.check(Rests("loss", at={u: 0}, observables={"loss": 2 * s}), subject(flow))[1].passed
    with pytest.raises(InvalidSpec, match="no value for the state u"):
        rests.check(Rests("?", at={}), subject(flow))
    with pytest.raises(InvalidSpec, match="no observable risk"):
        rests.check(Rests("?", at={u: 0}, observables={"risk": 0}), subject(flow))


def inner_products() -> tuple[Any, ...]:
    entry = load("kunin_2024_get_rich_quick")
    w, target = vector("w", sp.Symbol("d", integer=True, positive=True)), entry.model.symbols["betastar"]
    return entry, lambda flow: complete(flow, {"x": dot(w, target), "n": norm2(w)})


def test_claims_about_what_a_function_makes_of_a_flow() -> None:
    """Equations of inner products as claims about the completed system, in its own variables."""
    entry, closed = inner_products()
    a, x, n, eta_a, eta_w, square = scalars("a x n eta_a eta_w n_betastar")
    rate = {a: eta_a * (x - a * n), n: 2 * eta_w * a * (x - a * n), x: eta_w * a * (square - a * x)}
    right = Published("closure", rate=rate, on=closed)
    kept = Conserved("imbalance", eta_w * a**2 - eta_a * n, on=closed)
    assert verify(replace(entry, claims=(right, kept))).passed
    wrong = replace(right, rate={**rate, x: 2 * rate[x]})
    assert not verify(replace(entry, claims=(wrong,))).passed
    flow_only = Published("closure", rate=rate, on=lambda flow: closed(flow).system)
    assert verify(replace(entry, claims=(flow_only,))).passed


def test_a_function_must_give_a_system() -> None:
    entry, closed = inner_products()
    bad = Published("?", rate={u: 1}, on=lambda flow: "text")
    (row,) = verify(replace(entry, claims=(bad,))).checks
    assert not row.passed
    assert "let it return a Flow or a Reduction" in row.detail
    system = Subject(entry=entry, flow=gradient_flow(entry.model))
    with pytest.raises(InvalidSpec, match="needs a reduction"):
        system.reduction(lambda flow: closed(flow).system)
    assert conserved.check(Conserved("n", sp.Integer(1), on=closed), system)[0].passed


@pytest.mark.parametrize(
    ("name", "settings", "label", "field"),
    [
        ("zhang_2024_unimodal_bias", {}, "ratio of the learning times", "formula"),
        ("zhang_2024_unimodal_bias", {"layers": 3, "fusion": 2}, "lag of the second modality", "formula"),
        ("zhang_2025_linear_attention", {"attention": "separate"}, "time on the plateau", "formula"),
        ("saxe_2014_deep_linear", {"depth": 3}, "time at infinite depth", "formula"),
    ],
)
def test_broken_constants_of_catalogue_claims_are_rejected(name: str, settings: dict, label: str, field: str) -> None:
    """One per cent off, judged by the integrated system alone."""
    entry = load(name, **settings)
    claim = replace(next(c for c in entry.claims if c.label.startswith(label)), derived=None)
    broken = replace(claim, formula=claim.formula * sp.Rational(101, 100))
    assert verify(replace(entry, claims=(claim,))).passed
    assert not verify(replace(entry, claims=(broken,))).passed


def test_a_mutated_reduced_system_fails_claims_of_leading_order() -> None:
    """The frozen rate of B doubled: the times of the claim disagree."""
    from derive import reduce

    entry = load("zhang_2024_unimodal_bias")
    claim = next(c for c in entry.claims if isinstance(c, LeadingOrder))
    system = reduce(gradient_flow(entry.model), claim.on).system
    wrong = system.replace(rhs={**system.rhs, "uB": system.rhs["uB"].scale(2)})
    assert not verify(replace(entry, claims=(claim,)), system=wrong).passed
