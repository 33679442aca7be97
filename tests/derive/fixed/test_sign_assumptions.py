"""Signs are decided from assumptions only; random parameters that obey them are the second road."""

from __future__ import annotations

import random

import pytest
import sympy as sp

from derive.algebra.sign_assumptions import Signs

a, b, c = sp.symbols("a b c", positive=True)
r = sp.Symbol("r", real=True)


@pytest.mark.parametrize(
    ("stated", "e", "sign"),
    [
        ((), a * b + c, 1),
        ((), -a / (b + c), -1),
        ((), r**2 * a, 1),
        ((), r, None),
        ((), a - b, None),
        ((a - b,), b - a, -1),
        ((a - b,), (a - b) ** 2, 1),
        ((a - b, b - c), a - c, 1),
        ((a - b,), c * (a - b) + a, 1),
        ((a - b,), sp.sqrt(a - b) * c, 1),
        ((a * b - c**2,), -1 / (c**2 - a * b), 1),
        ((a - b,), a - 2 * b, None),
        ((a - b, b - 2 * c), 3 * a - 2 * b - 2 * c, 1),
    ],
)
def test_signs(stated: tuple[sp.Expr, ...], e: sp.Expr, sign: int | None) -> None:
    assert Signs(stated).sign(e) == sign
    rng, seen = random.Random(0), []
    while len(seen) < 40:
        at = {s: sp.Float(rng.uniform(0.1, 3)) for s in (a, b, c)} | {r: sp.Float(rng.uniform(-3, 3))}
        if all(p.xreplace(at) > 0 for p in stated):
            seen.append(int(sp.sign(e.xreplace(at))))
    assert set(seen) == ({sign} if sign is not None else {1, -1})


def test_what_is_learned_of_a_product_is_the_open_factor() -> None:
    signs = Signs((a - b,)).assuming(-(r - c) / (a - b))
    assert signs.sign(r - c) == -1
    assert signs.positive[-1] == c - r
