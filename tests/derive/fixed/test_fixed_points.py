"""Fixed points: the list, stability and loss against lists made by hand; the check of the engine must catch what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import sympy as sp

import derive
from derive import Balanced, LambdaBalanced, Modes, describe, fixed_points, reduce
from derive.errors import CheckFailed, InvalidSpec, UnsupportedNode
from derive.library.fusion import two_modalities, two_strengths
from derive.reductions.scalar import value
from derive.rest_states.rest_points import FixedPoints
from tests.derive.flows_by_hand import flow

x, y, z = sp.symbols("x y z", real=True)
p, q = sp.symbols("p q", positive=True)
h = sp.Symbol("h", real=True)


def listed(found: FixedPoints) -> list[tuple[dict[str, sp.Expr], str]]:
    return [(dict(point.at), point.kind) for point in found]


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_a_balanced_mode_is_nothing_or_everything(depth: int) -> None:
    """u' = L u^(2 - 2/L) (s - u): 0 and s, by hand; slope -L s^(2 - 2/L) at s; loss u^2/2 - s u."""
    mode = reduce(derive.gradient_flow(derive.linear_network(depth=depth)), (Modes(white=True), Balanced()))
    found = fixed_points(mode)
    s, tau = sp.symbols("s tau", positive=True)
    assert listed(found) == [({"u": 0}, "unstable"), ({"u": s}, "stable")]
    assert found.family == "r"
    (slope, _), *_ = found[1].stability.eigenvalues
    assert sp.powsimp(slope + depth * s ** (2 - sp.Rational(2, depth)) / tau) == 0
    assert found[1].observables["loss"] == -(s**2) / 2
    assert found[0].stability.unstable == (1 if depth == 2 else 0)  # deeper ones leave at a power of time
    assert "2^r fixed points" in str(found)


def test_both_layers_of_a_mode_rest_on_a_hyperbola() -> None:
    """a b = s with b free, stable across; the origin has the eigenvalues s and -s."""
    found = fixed_points(reduce(derive.gradient_flow(derive.linear_network(depth=2)), Modes(white=True)))
    assert [point.kind for point in found] == ["saddle", "stable"]
    assert found[1].free == ("b",)
    assert found[1].stability.neutral == 1


def test_unbalanced_modes_pass_through_a_root() -> None:
    """sqrt(lam^2 + 4 u^2) (s - u) vanishes at s only for lam > 0."""
    lam = sp.Symbol("lam", positive=True)
    chain = (Modes(white=True), LambdaBalanced(lam))
    found = fixed_points(reduce(derive.gradient_flow(derive.linear_network(depth=2)), chain))
    assert [str(point.at["u"]) for point in found] == ["s"]
    assert found[0].kind == "stable"


def test_late_fusion_has_nothing_one_modality_and_the_solution() -> None:
    """By hand: uk^2 = syk/sk alone, and S^-1 s for both; the loss is that of least squares on what is learned."""
    sA, sB, sAB, syA, syB = sp.symbols("sA sB sAB syA syB", real=True)
    mode = reduce(derive.gradient_flow(two_modalities(2, 2)), two_strengths(2, 2))
    signs = ("sA", "sB", "sAB", "syA", "syB", sA * sB - sAB**2, sA * syB - sAB * syA, sB * syA - sAB * syB)
    found = fixed_points(mode, positive=signs)
    assert [point.kind for point in found] == ["unstable", "saddle", "saddle", "stable"]
    assert [point.mirrored for point in found] == [(), ("uA",), ("uB",), ("uA", "uB")]
    at = {"sA": 4.0, "sB": 1.0, "sAB": 1.0, "syA": 5.0, "syB": 2.0, "sy": 7.0}
    S, s = np.array([[4.0, 1.0], [1.0, 1.0]]), np.array([5.0, 2.0])
    best = np.linalg.solve(S, s)
    for point, w in zip(found, ([0, 0], [5 / 4, 0], [0, 2], best), strict=True):
        w = np.asarray(w, dtype=float)
        assert [float(value(point.at[n], at)) ** 2 for n in ("uA", "uB")] == pytest.approx(w, abs=1e-14)  # rounding of roots
        assert float(value(point.observables["loss"], at)) == pytest.approx((7 - 2 * w @ s + w @ S @ w) / 2, rel=1e-13)


def test_early_fusion_has_continua_only() -> None:
    """The balance u^2 - uA^2 - uB^2 is conserved, so every fixed point lies on a curve; sign open where a square is needed."""
    sA, sB, sAB = sp.symbols("sA sB sAB", real=True)
    mode = reduce(derive.gradient_flow(two_modalities(2, 1)), two_strengths(2, 1))
    found = fixed_points(mode, positive=(sA, sB, sA * sB - sAB**2))
    assert [len(point.free) for point in found] == [1, 1]
    assert [point.kind for point in found] == ["saddle", "undecided"]


def test_roots_that_exist_for_some_parameters_say_so() -> None:
    """The pitchfork x' = h x - x^3: 0, and +-sqrt(h) where h > 0."""
    found = fixed_points(flow({x: h * x - x**3}))
    assert [(point.at["x"], point.exists, point.mirrored) for point in found] == [
        (0, (), ()),
        (sp.sqrt(h), (h,), ("x",)),
    ]
    assert [point.kind for point in found] == ["undecided", "stable"]  # given that it exists, it is stable
    assert found[0].stability.open == (h,)
    assert [point.kind for point in fixed_points(flow({x: h * x - x**3}), positive=("h",))] == ["unstable", "stable"]


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({x: x * (1 - x - 2 * y), y: y * (1 - y - 2 * x)}, ["unstable", "stable", "stable", "saddle"]),  # competition
        ({x: x * (1 - x**2 - y**2) - y, y: y * (1 - x**2 - y**2) + x}, ["unstable"]),  # a limit cycle around a focus
        ({x: y, y: -x}, ["neutral"]),  # an oscillator: imaginary eigenvalues
        ({x: -(x**3)}, ["stable"]),  # degenerate, decided by the lowest power
        ({x: x**2}, ["unstable"]),  # from one side is enough
        ({x: p * x**2 - q * x**5}, ["unstable", "stable"]),  # a head of linear attention
        ({x: p - x**3}, ["stable"]),  # an odd root
        ({x: (p - x) / (1 + x**2)}, ["stable"]),  # a pole that is never met
        ({x: y - x, y: z - y, z: p - z}, ["stable"]),  # a cascade
        ({x: y * z, y: x * z, z: x * y - p}, ["saddle"]),  # z = 0 on the hyperbola x y = p, because p > 0
    ],
)
def test_systems_with_known_lists(rates: dict[sp.Symbol, sp.Expr], expected: list[str]) -> None:
    """Kinds by hand, in any order."""
    assert sorted(point.kind for point in fixed_points(flow(rates))) == sorted(expected)


def test_third_order_stability_follows_routh_and_hurwitz() -> None:
    """lam^3 + lam^2 + p lam + q is stable for p > q, saddle-like for q > p: by the criterion of order three."""
    rates = {x: y, y: z, z: -q * x - p * y - z}
    assert fixed_points(flow(rates), positive=(p - q,))[0].kind == "stable"
    assert fixed_points(flow(rates), positive=(q - p,))[0].kind == "saddle"
    assert fixed_points(flow(rates))[0].stability.open == (p - q,)


def test_what_needs_a_cubic_root_is_refused() -> None:
    with pytest.raises(UnsupportedNode, match=r"p - x\*\*3 - x = 0.*set parameters to numbers"):
        fixed_points(flow({x: p - x - x**3}))
    numbers = fixed_points(flow({x: p - x - x**3}), at={p: 10})  # factors with the root 2
    assert [point.at["x"] for point in numbers] == [2]


def test_other_refusals() -> None:
    with pytest.raises(UnsupportedNode, match="more than 6; reduce the system first"):
        fixed_points(flow({s: -s for s in sp.symbols("a:g", real=True)}))
    with pytest.raises(UnsupportedNode, match="reduce it first"):
        fixed_points(derive.gradient_flow(derive.linear_network(depth=2)))
    with pytest.raises(InvalidSpec, match="k is no parameter of by_hand; it has p"):
        fixed_points(flow({x: p - x}), positive=("k",))
    with pytest.raises(UnsupportedNode, match="k is no parameter"):
        fixed_points(flow({x: p - x}), at={"k": 0})


@pytest.mark.parametrize("harm", ["drop", "shift"])
def test_the_check_catches_a_missing_and_a_wrong_point(harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newton's method from random starts is the second road for the list, 50 digits for each point."""
    module = import_module("derive.rest_states.rest_points")
    honest = module.real_solutions

    def harmed(*args, **kwargs):
        found, generic = honest(*args, **kwargs)
        last = found[-1]
        if harm == "drop":
            return found[:-1], generic
        moved = {k: v * sp.Rational(1001, 1000) for k, v in last.values.items()}
        return (*found[:-1], replace(last, values=moved)), generic

    monkeypatch.setattr(module, "real_solutions", harmed)
    with pytest.raises(CheckFailed, match=r"is one too|not 0"):
        fixed_points(flow({x: p * x - q * x**3}))


def test_a_wrong_characteristic_polynomial_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("derive.rest_states.rest_points")
    honest = module.stability

    def harmed(*args, **kwargs):
        made = honest(*args, **kwargs)
        return replace(made, characteristic=made.characteristic + sp.Rational(1, 1000))

    monkeypatch.setattr(module, "stability", harmed)
    with pytest.raises(CheckFailed, match="disagrees with differences of the rates"):
        fixed_points(flow({x: p * x - q * x**3}))


def test_printed_in_all_formats() -> None:
    found = fixed_points(flow({x: p * x - q * x**3}, {"loss": q * x**4 / 4 - p * x**2 / 2}))
    assert "x = +-sqrt(p)/sqrt(q)" in describe(found)
    assert r"\pm \frac{\sqrt{p}}{\sqrt{q}}" in describe(found, "latex")
    data = json.loads(describe(found, "json"))
    assert [point["observables"]["loss"] for point in data["points"]] == ["0", "-p**2/(4*q)"]
    assert describe(found, "markdown").startswith("## fixed points of by_hand")
    assert "p, q > 0" in str(found)


def test_time_does_not_depend_on_widths() -> None:
    """Sizes are symbols: a network of width 10 and one of symbolic width give the same text."""
    wide = derive.linear_network(depth=2, sizes=(10, 10, 10))
    texts = [
        str(fixed_points(reduce(derive.gradient_flow(m), (Modes(white=True), Balanced())))[1])
        for m in (wide, derive.linear_network(depth=2))
    ]
    assert texts[0] == texts[1]
