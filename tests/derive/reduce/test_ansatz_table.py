"""True ansatz are proved, false ones (one more term in the flow) are refused with that term and a point.

Roads: the proof word by word in `derive`; tangents by differences of manifolds written by hand and fields from emitted kernels
in `second_road`. For a true row both the manifold and the reduced rates are compared, at points drawn here.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from ansatz_table import ROWS, Row
from second_road import field_at, leaving, manifold

from derive import Balanced, Gram, LambdaBalanced, Modes, reduce
from derive.errors import NotInvariant
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly
from derive.reductions.riccati_value import balanced_blocks
from derive.reductions.scalar import value
from derive.reductions.tangent import draw_point

TANGENT = 1e-7  # rounding 1e-16 over steps of 1e-6, with a margin; off a manifold 1e-3 and more


def stages(row: Row, spoiled: bool) -> tuple:
    """The last system that is to be reduced, and the last ansatz."""
    system, chain = row.flow(spoiled=spoiled), row.ansatz if isinstance(row.ansatz, tuple) else (row.ansatz,)
    for ansatz in chain[:-1]:
        system = reduce(system, ansatz).system
    return system, chain[-1]


def true_point(system, ansatz) -> dict:
    """A point of the manifold: letters of the proved reduction drawn by their tags, or balanced weights."""
    made = reduce(system, ansatz)
    rng = np.random.default_rng(5)
    if isinstance(ansatz, LambdaBalanced) and system.level == "matrix":
        lam = float(ansatz.lam) if ansatz.lam.is_number else 0.7
        W1, W2 = balanced_blocks(rng.normal(size=(2, 3)), rng.normal(size=(4, 2)), lam)
        return {"W1": W1, "W2": W2, "Syx": rng.normal(size=(4, 3))}
    if isinstance(ansatz, Gram):
        return {
            "Q": rng.normal(size=(4, 3)), "O": np.linalg.qr(rng.normal(size=(3, 3)))[0], "C": rng.normal(size=(4, 4)),
        }  # fmt: skip
    if system.level != "matrix":
        return {n: rng.uniform(0.5, 1.5) for n in ("u", "s", "d", "lam", "kappa", "mu")}
    exprs = [*made.lift.values(), *made.data.values(), *(p for p in system.rhs.values() if isinstance(p, Poly))]
    return draw_point(exprs, seed=7)[0]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_true_ansatz_is_proved(row):
    system, ansatz = stages(row, spoiled=False)
    made, point = reduce(system, ansatz), true_point(system, ansatz)
    assert made.proof == "proved"
    assert leaving(system, ansatz, point) < TANGENT
    if isinstance(ansatz, Gram) or (isinstance(ansatz, LambdaBalanced) and system.level == "matrix"):
        return  # the Riccati right-hand sides have roads of their own, tests/derive/riccati
    place, coordinates = manifold(system, ansatz)
    moved = {name: _reduced_rate(made.system, point, name, ansatz, kind) for name, kind in coordinates}
    step = 1e-6
    up, down = (place({**point, **{n: point[n] + s * step * np.asarray(x) for n, x in moved.items()}})[0] for s in (1, -1))
    states, given = place(point)
    for name, rate in field_at(system, states, {**point, **given}).items():
        np.testing.assert_allclose((up[name] - down[name]) / (2 * step), np.reshape(rate, np.shape(up[name])), atol=1e-6)


def _reduced_rate(system, point, name, ansatz, kind):
    """Rate of one coordinate from the kernel of the reduced system."""
    if not isinstance(ansatz, Modes):
        states = {b.name: point[b.name] for b in system.state}
        return np.reshape(field_at(system, states, point)[name], np.shape(point[name]))
    letters = {"s": "S_mode" if "S_mode" in point else "S", "d": "D"}
    known = {**point, **{n: np.diag(point[x]) for n, x in letters.items() if x in point}}
    diagonals = {b.name: b.name.upper() for b in system.state} if len(system.state) > 1 else {"u": "A"}
    rates = field_at(system, {n: np.diag(point[x]) for n, x in diagonals.items()}, known)
    return np.diag(next(rates[n] for n, x in diagonals.items() if x == name))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_false_ansatz_is_refused_with_the_leftover_term_and_a_point(row):
    system, ansatz = stages(row, spoiled=True)
    with pytest.raises(NotInvariant) as caught:
        reduce(system, ansatz)
    refused = caught.value
    assert row.name in str(refused)  # it names the system, and
    assert refused.leftover is not None
    assert refused.point
    assert refused.size > 1e-3
    assert np.abs(_value(refused.leftover, refused.point)).max() > 1e-6  # the leftover term is there at this point
    assert leaving(system, ansatz, refused.point) > 1e-3  # and the field does leave the manifold


def _value(leftover, point):
    return evaluate(leftover, point) if isinstance(leftover, Poly) else value(leftover, point)


def test_there_are_thirty_of_each():
    assert len({row.name for row in ROWS}) == len(ROWS) >= 30
    kinds = {type(row.ansatz[-1] if isinstance(row.ansatz, tuple) else row.ansatz) for row in ROWS}
    assert {Modes, Balanced, LambdaBalanced, Gram} < kinds
