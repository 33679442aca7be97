"""Points at which a flow leaves a manifold that is given by equations instead of coordinates.

    balance   W2'W2 - W1 W1' = lam I:  |d/dt (W2'W2 - W1 W1')| relative to the two halves of that rate
    Gram      M = Q Q':  two starts Q and Q O, with an orthogonal O, have one M; the difference of their rates of M

The numbers are for the reader of a refusal, which is decided by words. Imported by `derive.reductions.riccati` and
`derive.reductions.gram`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.matrices.calculus import ddt
from derive.matrices.composite import atoms, parameters
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom
from derive.matrices.words import Atom
from derive.reductions.riccati_value import balanced_blocks
from derive.system import Flow

SEED = 21
ABSENT = 0.7  # value of a symbol lam that no equation shows


def balanced_point(
    flow: Flow, first: Atom, second: Atom, lam: Any, *, white: tuple[str, ...] = ()
) -> tuple[float, dict[str, Any]]:
    """Relative drift of the balance of two layers at a random balanced point, and the point; ``white`` arrays are I."""
    sizes = {str(second.rows): 4, str(first.cols): 3, str(first.rows): 2}
    point = _draw(flow, sizes)
    point |= {name: np.eye(len(point[name])) for name in white if name in point}
    number = float(lam) if lam.is_number else point.setdefault(str(lam), ABSENT)
    point[first.name], point[second.name] = balanced_blocks(point[first.name], point[second.name], number)
    grown = evaluate(ddt(atom(second).T * atom(second), flow), point, sizes=sizes, functions=flow.functions)
    shrunk = evaluate(ddt(atom(first) * atom(first).T, flow), point, sizes=sizes, functions=flow.functions)
    scale = np.linalg.norm(grown) + np.linalg.norm(shrunk)
    return float(np.linalg.norm(grown - shrunk) / scale), point


def rotated_point(flow: Flow, q: Atom, *, right: bool = False) -> tuple[float, dict[str, Any]]:
    """Relative difference of the rates of Q Q' (Q'Q if ``right``) at Q and at its rotation, and the point with ``O``."""
    sizes = {str(q.rows): 4, str(q.cols): 3} if q.rows != q.cols else {str(q.rows): 3}
    point = _draw(flow, sizes)
    side = q.rows if right else q.cols
    count = side if isinstance(side, int) else sizes[str(side)]
    normal = np.random.default_rng(SEED).standard_normal((count, count))
    rotation = point["O"] = np.linalg.qr(normal)[0]
    rate = ddt(atom(q).T * atom(q) if right else atom(q) * atom(q).T, flow)
    turned = rotation @ point[q.name] if right else point[q.name] @ rotation
    one, two = (
        np.asarray(evaluate(rate, {**point, q.name: x}, sizes=sizes, functions=flow.functions)) for x in (point[q.name], turned)
    )
    return float(np.linalg.norm(one - two) / (np.linalg.norm(one) + np.linalg.norm(two))), point


def _draw(flow: Flow, sizes: dict[str, int]) -> dict[str, Any]:
    """Normal values of everything in the right-hand sides; ``sizes`` is completed."""
    rng = np.random.default_rng(SEED)
    shown = [p for p in flow.rhs.values() if isinstance(p, Poly)]
    found = {a.name: a for p in shown for a in atoms(p) if a.comp is None and not a.name.startswith("ones[")}
    found |= {b.name: Atom(b.name, b.shape[0], b.shape[1], b.tags) for b in flow.state if b.shape}
    point: dict[str, Any] = {}
    for name in sorted(found):
        a = found[name]
        shape = tuple(s if isinstance(s, int) else sizes.setdefault(str(s), 3) for s in (a.rows, a.cols))
        x = rng.standard_normal(shape)
        point[name] = x + x.T if "sym" in a.tags else np.diag(rng.uniform(0.5, 1.5, shape[0])) if "diag" in a.tags else x
    for name in sorted({n for p in shown for n in parameters(p)} - set(sizes)):
        point[name] = float(rng.uniform(0.5, 1.5))
    return point
