"""Invariants from Darboux polynomials: known ones come out with symbolic parameters, and hold along integrated orbits."""

import numpy as np
import pytest
import sympy as sp

from derive.errors import BudgetExceeded, UnsupportedNode
from derive.indices.indexed import Index, arr, fun
from derive.indices.text import to_sympy
from derive.invariants.darboux import darboux_polynomials, degree_within_budget, invariants_of
from derive.invariants.search import conserved
from derive.reductions.scalar import to_scalar
from derive.system import Block, Flow
from tests.derive.darboux.systems import along, numbers, orbit

u, b, s, a, c, x, y, k, l, m = sp.symbols("u b s a c x y k l m", real=True)
P, M, q = sp.symbols("P M q", positive=True)
b1, b2, b3 = sp.symbols("b1:4", real=True)

OUTPUT_BIAS = {u: 2 * u * (s - u / P - b / sp.sqrt(P)), b: sp.sqrt(P) * s - b - u / sp.sqrt(P)}
error = s - a * c / P - b / sp.sqrt(P)
BIAS_FACTORS = {a: c * error, c: a * error, b: sp.sqrt(P) * error}
miss = s - b1 * b2 * b3
ROUTING = {b1: b2 * b3 * miss / M, b2: b1 * b3 * miss, b3: b1 * b2 * miss / M}
VOLTERRA = {x: x * (k - l * y), y: y * (m * x - s)}
ROOTS = {x: 2 * sp.sqrt(x) * (s - x - y), y: 2 * sp.sqrt(y) * (s - x - y)}
RATIONAL = {x: k / (x + y), y: l * y / (x + y)}
DECAY = {a: c * (s - a * c) - k * a, c: a * (s - a * c) - k * c}

CASES = [
    ("log-linear", OUTPUT_BIAS, [u * sp.exp(-2 * b / sp.sqrt(P))]),
    ("log-linear in factors", BIAS_FACTORS, [a**2 - c**2, (a - c) * sp.exp(b / sp.sqrt(P))]),
    ("weighted balances", ROUTING, [b1**2 - b3**2, M * b1**2 - b2**2]),
    ("logarithms with symbolic weights", VOLTERRA, [s * sp.log(x) + k * sp.log(y) - m * x - l * y]),
    ("roots of states", ROOTS, [sp.sqrt(x) - sp.sqrt(y)]),
    ("rational field", RATIONAL, [y * sp.exp(-l * x / k)]),
]


def found(rhs, **options):
    flow = numbers(rhs)
    return [
        (to_sympy(i.expr, {z.name: z for z in sp.Tuple(*rhs, *rhs.values()).free_symbols}), i)
        for i in conserved(flow, **options)
    ]


@pytest.mark.parametrize(("rhs", "known"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_known_invariants(rhs, known):
    exprs = [e for e, _ in found(rhs)]
    assert len(exprs) == len(known)
    for expected in known:  # a function of those found: its gradient is a combination of theirs, at a random rational point
        names = sorted(sp.Tuple(expected, *rhs, *rhs.values()).free_symbols, key=str)
        at = {n: sp.Rational(i + 3, 2) ** 2 for i, n in enumerate(names)}  # squares, so that roots are rational
        rows = [[sp.diff(e, z).subs(at).evalf(30) for z in rhs] for e in (*exprs, expected)]
        size = np.linalg.svd(np.array(rows, dtype=float) / np.linalg.norm(np.array(rows, dtype=float), axis=1)[:, None])[1]
        assert (size > 1e-12).sum() <= len(exprs)  # double precision of unit rows


@pytest.mark.parametrize("rhs", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_drift_along_an_orbit(rhs):
    """First road: the exact null space. Second: integration of lambdified equations."""
    params = {s: 1.9, P: 4.0, M: 3.0, k: 0.8, l: 0.6, m: 0.5}
    path = orbit(rhs, params, np.linspace(0.4, 0.9, len(rhs)), np.linspace(0, 3, 7))
    assert np.abs(path[-1] - path[0]).max() > 0.1  # it moves
    for e, claim in found(rhs):
        seen = along(e, rhs, params, path)
        assert claim.status == "proved"
        assert np.abs(seen - seen[0]).max() <= 1e-9 * max(1, abs(seen[0]))  # rtol 1e-12 over O(10) steps of O(1) growth


def test_a_small_change_of_the_field_destroys_them():
    broken = {**OUTPUT_BIAS, u: OUTPUT_BIAS[u] + u * b}  # no longer a common error
    assert found(broken) == []
    assert len(found({**ROUTING, b3: 2 * ROUTING[b3] + b3})) == 1  # b1, b2 keep theirs, b3 does not


def test_relaxing_invariants_have_their_rate():
    assert found(DECAY) == []
    ((expr, claim),) = found(DECAY, relaxing=True)
    assert sp.expand(expr**2 - (a**2 - c**2) ** 2) == 0
    assert sp.simplify(claim.rate + 2 * k) == 0
    path = orbit(DECAY, {s: 1.3, k: 0.3}, [0.4, 0.9], np.array([0.0, 1.0, 2.0]))
    seen = along(expr, DECAY, {}, path)
    assert np.allclose(seen, seen[0] * np.exp(-0.6 * np.array([0, 1, 2])), rtol=1e-9)  # the rate, at rtol 1e-12


def test_polynomials_and_cofactors():
    flow = numbers({a: c * (s - a * c), c: a * (s - a * c)})
    for p in darboux_polynomials(flow):
        rate = sum(sp.diff(p.expr, z) * f for z, f in zip((a, c), (c * (s - a * c), a * (s - a * c)), strict=True))
        assert sp.expand(rate - p.cofactor * p.expr) == 0
    assert [p.expr for p in darboux_polynomials(flow)] == [a - c, a + c]


def test_known_invariants_are_not_found_again():
    system = to_scalar(numbers(ROUTING))
    first = invariants_of(system)
    assert len(first) == 2
    assert invariants_of(system, first) == ()
    assert len(invariants_of(system, first[:1])) == 1


def test_indexed_systems_keep_their_labels():
    i = Index("i", "r")
    z, v, w = (arr(n, i) for n in "zvw")
    blocks = tuple(Block(name=n, shape=("r",), indices=(i,)) for n in "zv")
    (claim,) = conserved(Flow(name="modes", state=blocks, rhs={"z": z * (w - v), "v": v * (z - w)}))
    assert all(str(letter) in str(claim.expr) for letter in (z, v))


def test_budget_and_refusals():
    many = sp.symbols("x1:7")
    flow = numbers({z: z * (1 - sum(many)) for z in many})
    assert degree_within_budget(6) == 1
    with pytest.raises(BudgetExceeded, match="degree=1"):
        darboux_polynomials(flow, degree=2)
    assert len(darboux_polynomials(flow, degree=1)) >= 6
    exponential = Flow(name="exp", state=(Block(name="x"), Block(name="y")), rhs={"x": fun("exp", arr("y")), "y": arr("x")})
    with pytest.raises(UnsupportedNode, match="elementwise"):
        darboux_polynomials(exponential)
    assert conserved(exponential) == ()
