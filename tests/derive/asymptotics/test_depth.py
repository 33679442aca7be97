"""Modes at symbolic and infinite depth: against the reduction at each depth, and the printed table of times."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import derive
from derive import Balanced, Modes, at_depth, closed_form, reduce
from derive.errors import InvalidSpec, NotInvariant
from derive.indices.indexed import Index, arr
from derive.reductions.scalar import to_scalar
from derive.system import Block, Flow
from numerics.claims.subject import rates


def modes(depth: int):
    return reduce(derive.gradient_flow(derive.linear_network(depth=depth)), Modes(white=True))


@pytest.mark.parametrize("depth", [2, 3, 4])
@pytest.mark.parametrize("known", [1, 2, 3])
def test_any_depth_from_any_depth(known: int, depth: int) -> None:
    """The other road derives the network of that depth and reduces it."""
    direct = to_scalar(reduce(modes(depth), Balanced()).system)
    (f,), (g,) = to_scalar(at_depth(modes(known), depth)).rhs, direct.rhs
    assert sp.cancel(f / g) == 1
    assert at_depth(modes(known), depth).observables.keys() == {"loss"}


def test_a_symbolic_depth_is_a_parameter() -> None:
    """The kernel at L = 3 gives the rates of the three-layer network."""
    flow = at_depth(modes(2), sp.Symbol("L"))
    state, params = {"u": np.array([0.1, 0.7])}, {"s": np.array([2.0, 0.5]), "tau": 0.5, "tr_Syy": 1.0}
    seen = rates(flow, state, {**params, "L": np.asarray(3.0)})["u"]
    assert seen == pytest.approx(rates(at_depth(modes(2), 3), state, params)["u"], rel=1e-14)  # rounding of a power
    assert "u[i]**(2 - 2/L)" in str(flow)


def test_the_table_of_times_from_half_to_95_per_cent() -> None:
    """Scaled times L t of the literature (printed with 4 digits), and the implicit formula at infinite depth."""
    printed = {1: 2.303, 2: 2.944, 5: 3.466, 20: 3.779, 100: 3.869, 1000: 3.889}
    for depth, expected in printed.items():
        f = to_scalar(at_depth(modes(2), depth)).rhs[0]
        u, s = sp.Symbol("u", positive=True), sp.Symbol("s", positive=True)
        grid = np.linspace(0.5, 0.95, 20_001)
        speed = sp.lambdify(u, f.subs({s: 1, sp.Symbol("tau", positive=True): 1}), "numpy")(grid)
        assert depth * np.trapezoid(1 / speed, grid) == pytest.approx(expected, abs=6e-4)  # printed with three decimals
    limit = closed_form(at_depth(modes(2), sp.oo))
    at = {"u": 0.95, "u0": 0.5, "s": 1.0, "tau": 1.0}
    time = limit.solution["t"]
    value = float(time.subs({v: at[v.name] for v in time.free_symbols}))
    assert value == pytest.approx(np.log(0.95 * 0.5 / (0.5 * 0.05)) + 2 - 1 / 0.95, rel=1e-13)  # rounding
    assert value == pytest.approx(3.892, abs=6e-4)
    later = limit.evaluate([value], {"u": 0.5}, {"s": 1.0, "tau": 1.0})["u"]
    assert later == pytest.approx(0.95, rel=1e-9)  # inversion of t(u)


def test_layers_of_different_speed_have_no_common_depth() -> None:
    i = Index("i", "r")
    a, b, s = (arr(n, i) for n in "abs")
    blocks = tuple(Block(name=n, shape=("r",), indices=(i,)) for n in "ab")
    unequal = Flow(name="pair", state=blocks, rhs={"a": 2 * b * (s - a * b), "b": a * (s - a * b)})
    with pytest.raises(NotInvariant):
        at_depth(unequal, 3)
    other = Flow(name="pair", state=blocks, rhs={"a": b * (s - a), "b": a * (s - b)})
    with pytest.raises(NotInvariant, match=r"is not .* times a function of the product"):
        at_depth(other, 3)


@pytest.mark.parametrize("depth", [0, -1, 2.5, "L", sp.Symbol("s")])
def test_depths_that_make_no_sense(depth: object) -> None:
    with pytest.raises(InvalidSpec, match=r"give a positive integer|name the depth otherwise"):
        at_depth(modes(2), depth)
