r"""How the body of a user's activation enters Gaussian averages: by pieces, by patterns, or as it is.

1. Piecewise polynomials with rational corners c_1 < c_2 < ... become, exactly,

       P_0(z) + sum_k (P_k - P_{k-1})(z) step(z - c_k),

   a jump that vanishes at its corner as a multiple of relu(z - c_k). A clipped line is -1 + relu(z + 1) - relu(z - 1), however
   it was typed (Piecewise, Max and Min, products of steps). A field that is constant at a corner, an event of probability zero
   otherwise, has ``sgn(0) = 0`` in averages, so that its step counts one half.
2. Sums and products of powers and named functions of linear forms stay open, so that each factor is averaged by its pattern.
3. Everything else is one function of its argument, averaged by quadrature (`derive.gaussian.opaque`).

Imported by the extraction of the field rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from derive.gaussian.opaque import functions_in, opaque
from derive.indices.indexed import ONE, ZERO, Node, add, arr, arrays, const, fun, mul, power, replace

#: Functions with a jump or a corner.
HARD = ("step", "sgn", "relu", "abs")
_PIECES = 24


def applied(label: str, body: Node, variable: str, argument: Node) -> Node:
    """``label(argument)`` for a function with the given body in ``arr(variable)``.

    >>> z = arr("z")
    >>> clipped = add(const(-1), mul(fun("step", add(z, ONE)), add(z, ONE)), mul(const(-1), fun("relu", add(z, const(-1)))))
    >>> applied("clip", clipped, "z", arr("u"))
    -1 + relu(1 + u) - relu(-1 + u)
    """
    if any(f in HARD for f in functions_in(body)):
        found = _pieces(body, variable)
        body = body if found is None else found.node(arr(variable))
    if _open(body, variable):
        return replace(body, lambda a: argument if a.args == (variable, ()) else a)
    return fun(opaque(label, body, variable), argument)


def degree(node: Node, variable: str) -> int | None:
    """Degree in a variable; None if the node is no polynomial in it.

    >>> degree(power(add(arr("z"), ONE), 3), "z")
    3
    """
    if variable not in arrays(node):
        return 0
    if node.op == "arr":
        return 1
    if node.op not in ("add", "mul", "pow"):
        return None
    inner = [degree(a, variable) for a in node.args if isinstance(a, Node)]
    known = [d for d in inner if d is not None]
    if len(known) < len(inner):
        return None
    if node.op == "pow":
        e = node.args[1]
        return known[0] * int(e) if e.denominator == 1 and e >= 0 else None
    return max(known) if node.op == "add" else sum(known)


def _open(node: Node, variable: str) -> bool:
    if degree(node, variable) is not None:
        return True
    if node.op == "fun":
        d = degree(node.args[1], variable) if len(node.args) == 2 else None
        return d is not None and (d <= 1 or (node.args[0] == "exp" and d == 2))
    if node.op == "pow":
        e = node.args[1]
        return bool(e.denominator == 1 and e >= 0 and _open(node.args[0], variable))
    return node.op in ("add", "mul") and all(_open(a, variable) for a in node.args)


# ------------------------------------------------------------------------------------------------------------- pieces
Poly = tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """Polynomials (coefficients by power) between corners: one more polynomial than corners."""

    corners: tuple[Fraction, ...]
    polys: tuple[Poly, ...]

    def node(self, z: Node) -> Node:
        """As a sum of relus and steps."""
        terms = [_polynomial(self.polys[0], z)]
        for c, (low, high) in zip(self.corners, pairwise(self.polys), strict=True):
            jump = _sum(high, _times((const(-1),), low))
            here = add(z, const(-c))
            quotient, rest = _divided(jump, c)
            if rest == ZERO:
                terms.append(mul(_polynomial(quotient, z), fun("relu", here)))
            else:
                terms.append(mul(_polynomial(jump, z), fun("step", here)))
        return add(*terms)


def _polynomial(p: Poly, z: Node) -> Node:
    return add(*(mul(c, power(z, n)) for n, c in enumerate(p)))


def _sum(p: Poly, q: Poly) -> Poly:
    n = max(len(p), len(q))
    return _trimmed(tuple(add(*(x[i] for x in (p, q) if i < len(x))) for i in range(n)))


def _times(p: Poly, q: Poly) -> Poly:
    out = [ZERO] * (len(p) + len(q))
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            out[i + j] = add(out[i + j], mul(a, b))
    return _trimmed(tuple(out))


def _trimmed(p: Poly) -> Poly:
    n = len(p)
    while n and p[n - 1] == ZERO:
        n -= 1
    return p[:n]


def _divided(p: Poly, c: Fraction) -> tuple[Poly, Node]:
    """Quotient and remainder of the division by (z - c)."""
    out: list[Node] = []
    carry: Node = ZERO
    for a in reversed(p):
        carry = add(a, mul(const(c), carry))
        out.append(carry)
    return tuple(reversed(out[:-1])), out[-1] if out else ZERO


def _joined(parts: list[Pieces]) -> tuple[tuple[Fraction, ...], list[list[Poly]]]:
    """Common corners, and the polynomials of every part on each interval."""
    corners = tuple(sorted(dict.fromkeys(c for p in parts for c in p.corners)))
    rows = [[p.polys[sum(c <= x for c in p.corners)] for p in parts] for x in _samples(corners)]
    return corners, rows


def _samples(corners: tuple[Fraction, ...]) -> list[Fraction]:
    """One point inside each interval."""
    if not corners:
        return [Fraction(0)]
    return [corners[0] - 1, *((a + b) / 2 for a, b in pairwise(corners)), corners[-1] + 1]


def _pieces(node: Node, variable: str) -> Pieces | None:
    """A body as pieces; None if it is no piecewise polynomial with rational corners."""
    if variable not in arrays(node):
        return Pieces(corners=(), polys=(_trimmed((node,)),))
    if node.op == "arr":
        return Pieces(corners=(), polys=((ZERO, ONE),))
    if node.op == "fun":
        inner = _pieces(node.args[1], variable) if node.args[0] in HARD else None
        return None if inner is None else _hard(node.args[0], inner)
    if node.op == "pow":
        e = node.args[1]
        if e.denominator != 1 or not 0 <= e <= 16:
            return None
        parts = [_pieces(node.args[0], variable)] * int(e)
    elif node.op in ("add", "mul"):
        parts = [_pieces(a, variable) for a in node.args]
    else:
        return None
    known = [p for p in parts if p is not None]
    if len(known) < len(parts):
        return None
    corners, rows = _joined(known)
    if len(corners) > _PIECES:
        return None
    polys = []
    for row in rows:
        total: Poly = () if node.op == "add" else (ONE,)
        for p in row:
            total = _sum(total, p) if node.op == "add" else _times(total, p)
        polys.append(total)
    return _merged(corners, polys)


def _merged(corners: tuple[Fraction, ...], polys: list[Poly]) -> Pieces:
    """Without corners where nothing changes."""
    kept = [n for n in range(len(corners)) if polys[n] != polys[n + 1]]
    return Pieces(corners=tuple(corners[n] for n in kept), polys=(polys[0], *(polys[n + 1] for n in kept)))


def _hard(name: str, p: Pieces) -> Pieces | None:
    """step, sgn, relu or abs of pieces."""
    roots: list[Fraction] = []
    for poly in p.polys:
        found = _roots(poly)
        if found is None:
            return None
        roots += found
    corners = tuple(sorted(dict.fromkeys((*p.corners, *roots))))
    polys = []
    for x in _samples(corners):
        poly = p.polys[sum(c <= x for c in p.corners)]
        value = sum((a.args[0] * x**n for n, a in enumerate(poly)), Fraction(0))
        sign = (value > 0) - (value < 0)
        scale = {"step": max(sign, 0), "sgn": sign, "relu": max(sign, 0), "abs": sign}[name]
        polys.append(_times((const(scale),), poly if name in ("relu", "abs") else (ONE,)))
    return _merged(corners, polys)


def _roots(p: Poly) -> list[Fraction] | None:
    """Rational roots of a polynomial of degree two at most; None if it has others, or coefficients that are no numbers."""
    if any(a.op != "const" for a in p) or len(p) > 3:
        return None
    c, b, a = (p[n].args[0] if n < len(p) else Fraction(0) for n in range(3))
    if not a:
        return [-c / b] if b else []
    square = b * b - 4 * a * c
    if square < 0:
        return []
    root = Fraction(math.isqrt(square.numerator), math.isqrt(square.denominator))
    return [(-b - root) / (2 * a), (-b + root) / (2 * a)] if root * root == square else None
