"""Learning times against formulas typed by hand; integration of the equations is the second road."""

from __future__ import annotations

import json
from importlib import import_module

import numpy as np
import pytest
import sympy as sp

import derive
from derive import Balanced, Modes, describe, learning_times, reduce
from derive.catalog import load
from derive.errors import CheckFailed, InvalidSpec, UnsupportedNode
from derive.flows.elimination import eliminate
from derive.library.fusion import two_modalities, two_strengths
from derive.solutions.asymptotics_value import integral_value
from derive.system import Flow
from tests.derive.flows_by_hand import flow

x, y, z, p, q, u0 = sp.symbols("x y z p q u0", positive=True)
sA, sB, sAB, syA, syB = sp.symbols("sA sB sAB syA syB", real=True)
SIGNS = (sA, sB, sA * sB - sAB**2, syA, syB, syA - syB, sA * syB - sAB * syA)


def fusion(layers: int, before: int) -> Flow:
    """Strengths of two modalities on the balanced cone."""
    made = reduce(derive.gradient_flow(two_modalities(layers, before)), two_strengths(layers, before))
    if before == layers:
        return made.system
    uA, uB, u = sp.symbols("uA uB u", real=True)
    return eliminate(made, u**2 - uA**2 - uB**2, u, name="c0").system


@pytest.mark.parametrize(
    ("rate", "time", "order"),
    [
        (p * x * (1 - x), sp.log(1 / u0) / p, "log"),
        (p * x - x**3, sp.log(1 / u0) / p, "log"),
        (p * x**2 - q * x**5, 1 / (p * u0), 1.0),
        (4 * x ** sp.Rational(3, 2) * (p - x), 1 / (2 * p * sp.sqrt(u0)), 0.5),
        (x**3 * (p + x - q * x**2), 1 / (2 * p * u0**2), 1.0),  # the next power is one higher, so it limits the rate
    ],
)
def test_one_state(rate: sp.Expr, time: sp.Expr, order: object) -> None:
    """x' = c x^p: log(1/u0)/c, or u0^(1-p)/(c (p-1))."""
    found = learning_times(flow({x: rate}))
    assert sp.powsimp(sp.expand_log(found.times["x"] - time, force=True)) == 0
    assert found.rate == order


def test_a_race_hands_its_rest_over() -> None:
    """Three modes with frozen rates 3, 2, 1, and 2 - 1/2, 1 - 1/4 after the first: by hand t = T/3, + (T/3)/(3/2), ..."""
    rates = {
        x: x * (3 - 3 * x),
        y: y * (2 - x / 2 - y),
        z: z * (1 - x / 4 - z),
    }
    found = learning_times(flow(rates), (x, y, z))
    T = sp.log(1 / u0)
    second = (1 - sp.Rational(2, 3)) / sp.Rational(3, 2)
    third = (1 - sp.Rational(1, 3) - second * sp.Rational(3, 4)) / sp.Rational(3, 4)
    expected = [sp.Rational(1, 3), sp.Rational(1, 3) + second, sp.Rational(1, 3) + second + third]
    for n, e in zip("xyz", expected, strict=True):
        assert sp.expand_log(found.times[n] - e * T, force=True).expand() == 0
    assert found.saddles[1] == {"x": 1, "y": 0, "z": 0}


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_late_fusion_has_one_ratio_at_every_depth(layers: int) -> None:
    """1 + (syA - syB)/(syB - syA sAB/sA), and 5 for the minimal data."""
    found = learning_times(fusion(layers, layers), ("uA", "uB"), positive=SIGNS)
    printed = 1 + (syA - syB) / (syB - syA * sAB / sA)
    plain = {s: sp.Symbol(s.name, real=True) for s in found.ratio("uB", "uA").free_symbols}
    assert sp.cancel(found.ratio("uB", "uA").xreplace(plain) - printed) == 0
    assert printed.subs({sA: 4, sAB: 1, syA: 5, syB: 2}) == 5


@pytest.mark.parametrize(("layers", "before"), [(3, 2), (4, 2), (4, 3)])
def test_intermediate_fusion(layers: int, before: int) -> None:
    """The integral from u0 to 1 at a small u0 (NumPy), and the lag, as printed."""
    found = learning_times(fusion(layers, before), ("uA", "uB"), positive=SIGNS, at={"c0": 0})
    at = {"sA": 4.0, "sB": 1.0, "sAB": 1.0, "syA": 5.0, "syB": 2.0, "tau": 1.0}
    small, kappa = 1e-5, 2 / 5
    s = np.linspace(np.log(small), 0, 200_001)
    a = np.exp(s)
    c = small ** (1 - kappa) if before == 2 else (1 - kappa) * small ** (2 - before)
    b = a**kappa * c if before == 2 else (kappa * a ** (2 - before) + c) ** (1 / (2 - before))
    first = np.trapezoid(a / (5 * a ** (before - 1) * (a**2 + b**2) ** ((layers - before) / 2)), s)
    assert integral_value(found.times["uA"], {**at, "u0": small}) == pytest.approx(first, rel=2e-5)  # the upper limit matters
    wait = np.log(1 / small) if before == 2 else small ** (2 - before) / (before - 2)
    lag = wait * (1 - kappa) / ((2 - 5 / 4) * (5 / 4) ** (1 - before / layers))
    assert integral_value(found.lags["uB"], {**at, "u0": small}) == pytest.approx(lag, rel=1e-12)  # rounding of powers


def test_unequal_starts_and_conditions() -> None:
    """Lotka-Volterra with x^2: y waits for 1/u0 - (3/2)/u0 ... from a start of u0/2 instead; the order is a condition."""
    made = flow({x: x**2 * (p - x), y: y**2 * (q - y)})
    found = learning_times(made, (x, y), start={y: sp.Rational(1, 2)})
    assert sp.cancel(found.times["x"] - 1 / (p * u0)) == 0
    assert sp.cancel(found.times["y"] - 2 / (q * u0)) == 0  # independent states: each its own time
    assert found.conditions == (2 * p - q,)


def test_modes_of_the_catalogue() -> None:
    """The time in front of an eigenvector is tau/(lam^2 z0)."""
    entry = load("zhang_2025_linear_attention", attention="separate")
    one = next(c.on for c in entry.claims if c.label.startswith("time on the plateau"))
    found = learning_times(reduce(derive.gradient_flow(entry.model), one), positive=("D", "N", sp.Symbol("D") - 1))
    lam, tau = sp.symbols("lam tau", positive=True)
    assert sp.cancel(found.times["z"] - tau / (lam**2 * u0)) == 0


def test_refusals() -> None:
    two = flow({x: x * (p - x), y: y * (q - y)})
    with pytest.raises(InvalidSpec, match="list states among x, y"):
        learning_times(two)
    with pytest.raises(InvalidSpec, match="list states among x, y"):
        learning_times(two, ("x", "w"))
    with pytest.raises(UnsupportedNode, match=r"y is not number 1.*give another order"):
        learning_times(two, (y, x), positive=(p - q,))
    with pytest.raises(UnsupportedNode, match="take closed_form"):
        learning_times(flow({x: p - x}))
    with pytest.raises(UnsupportedNode, match="one common power"):
        learning_times(flow({x: x * (p - x), y: y**2 * (q - y)}), (x, y))
    with pytest.raises(UnsupportedNode, match="not homogeneous"):
        learning_times(flow({x: x**2 * (x + y**2) * (p - x), y: y**2 * (x + y**2) * (q - y)}), (x, y))
    with pytest.raises(InvalidSpec, match="name the small start otherwise"):
        learning_times(flow({x: u0 * x - x**2}))
    with pytest.raises(CheckFailed, match="never settled"):
        learning_times(flow({x: p * x + x**2}))  # grows without end


def test_the_check_catches_a_wrong_constant(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("derive.solutions.asymptotics")
    honest = module._run

    def harmed(*args):
        stages = honest(*args)
        return [type(s)(lag=s.lag * sp.Rational(11, 10), saddle=s.saddle, conditions=s.conditions) for s in stages]

    monkeypatch.setattr(module, "_run", harmed)
    with pytest.raises(CheckFailed, match="but the formula says"):
        learning_times(flow({x: p * x - q * x**3}))


def test_printed_and_labelled_as_leading_order() -> None:
    mode = reduce(derive.gradient_flow(derive.linear_network(depth=3)), (Modes(white=True), Balanced()))
    found = learning_times(mode)
    assert "leading order in u0" in str(found).splitlines()[0]
    assert r"\to 0" in describe(found, "latex")
    assert json.loads(describe(found, "json"))["rate"] == pytest.approx(1 / 3)
