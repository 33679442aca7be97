"""Normal form of trees: one tree for every way of typing the same sum or product.

Sums and products are flat; like terms and numeric factors are collected; equal bases join their numeric exponents; scalars
stand before the matrix; commutative entries are sorted by their JSON text; transposes stand on symbols; identities vanish in
products. Nothing is expanded but a number times a sum: products of sums stay products. Imported by lowering and by every pass
that builds trees.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from fractions import Fraction

from derive.spec.shapes import Shape, is_number, shape_of
from derive.spec.tree import Tree, as_fraction, children, number, rebuild

_HALF = Fraction(1, 2)


def order(tree: Tree) -> str:
    """Sort key of a tree: its JSON text."""
    return json.dumps(tree)


def normalise(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    """Normal form of a tree of correct shapes.

    >>> normalise(("add", ("mul", 2, "x"), "y", "x"), {})
    ('add', 'y', ('mul', 3, 'x'))
    >>> shapes = {"W": ("K", "N"), "x": ("N", 1)}
    >>> normalise(("T", ("matmul", "W", ("mul", "a", "x"))), shapes)
    ('mul', 'a', ('matmul', ('T', 'x'), ('T', 'W')))
    """
    if isinstance(tree, (str, int)):
        return tree
    parts = tuple(normalise(p, shapes) for p in children(tree))
    if not parts:
        return tree
    return _combine(rebuild(tree, parts), shapes)


def _combine(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    """Normal form of a node whose entries are in normal form."""
    head = tree[0]
    rule = _RULES.get(head)
    return rule(tree, shapes) if rule else tree


def _split(term: Tree) -> tuple[Fraction, Tree]:
    """Coefficient and rest of a term; the rest of a number is 1."""
    q = as_fraction(term)
    if q is not None:
        return q, 1
    if isinstance(term, tuple) and term[0] == "mul":
        q = as_fraction(term[1])
        if q is not None:
            return q, (term[2] if len(term) == 3 else ("mul", *term[2:]))
    return Fraction(1), term


def _scaled(coefficient: Fraction, rest: Tree) -> Tree:
    if rest == 1:
        return number(coefficient)
    if coefficient == 1:
        return rest
    inner = rest[1:] if isinstance(rest, tuple) and rest[0] == "mul" else (rest,)
    return ("mul", number(coefficient), *inner)


def _flat(head: str, parts: Iterable[Tree]) -> list[Tree]:
    out: list[Tree] = []
    for part in parts:
        if isinstance(part, tuple) and part[0] == head:
            out += _flat(head, part[1:])
        else:
            out.append(part)
    return out


def _is(tree: Tree, head: str) -> bool:
    return isinstance(tree, tuple) and tree[0] == head


def _zero(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    shape = shape_of(tree, shapes)
    return ("zeros", *shape) if shape else 0


def _add(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    table: dict[Tree, Fraction] = {}
    for term in _flat("add", tree[1:]):
        if _is(term, "zeros"):
            continue
        coefficient, rest = _split(term)
        table[rest] = table.get(rest, Fraction(0)) + coefficient
    terms = sorted((_scaled(c, rest) for rest, c in table.items() if c), key=order)
    if not terms:
        return _zero(tree[1], shapes)
    return terms[0] if len(terms) == 1 else ("add", *terms)


def _mul(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    coefficient, matrix = Fraction(1), None
    powers: dict[Tree, Fraction] = {}
    for factor in _flat("mul", tree[1:]):
        q = as_fraction(factor)
        if q is not None:
            coefficient *= q
        elif is_number(factor, shapes):
            base, exponent = (factor[1], as_fraction(factor[2])) if _is(factor, "pow") else (factor, Fraction(1))
            if exponent is None:
                base, exponent = factor, Fraction(1)
            powers[base] = powers.get(base, Fraction(0)) + exponent
        else:
            matrix = factor
    scalars: list[Tree] = []
    for base, exponent in powers.items():
        made = _pow(("pow", base, number(exponent)), shapes)
        q = as_fraction(made)
        if q is not None:
            coefficient *= q
        else:
            scalars.append(made)
    if coefficient == 0 or _is(matrix, "zeros"):
        return 0 if matrix is None else _zero(matrix, shapes)
    parts = sorted(scalars, key=order) + ([matrix] if matrix is not None else [])
    if coefficient != 1 and len(parts) == 1 and _is(parts[0], "add"):  # a number times a sum is a sum, as SymPy has it
        return _add(("add", *(_mul(("mul", number(coefficient), term), shapes) for term in parts[0][1:])), shapes)
    if coefficient != 1 or not parts:
        parts.insert(0, number(coefficient))
    return parts[0] if len(parts) == 1 else ("mul", *parts)


def _pow(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    _, base, exponent = tree
    e, b = as_fraction(exponent), as_fraction(base)
    if e is None:
        return tree
    if e == 0 or b == 1:
        return 1
    if e == 1:
        return base
    if e.denominator == 1 and abs(e.numerator) <= 64:
        if b is not None and (b or e > 0):
            return number(b**e.numerator)
        if _is(base, "pow") and as_fraction(base[2]) is not None:
            return _pow(("pow", base[1], number(as_fraction(base[2]) * e)), shapes)  # type: ignore[operator]
        if _is(base, "mul"):
            return _mul(("mul", *(_pow(("pow", f, exponent), shapes) for f in base[1:])), shapes)
    return tree


def _pull(parts: list[Tree]) -> tuple[list[Tree], list[Tree]]:
    """Scalars in front of matrix factors, and the bare factors."""
    scalars: list[Tree] = []
    bare: list[Tree] = []
    for part in parts:
        if _is(part, "mul"):
            scalars += part[1:-1]
            part = part[-1]
        bare.append(part)
    return scalars, bare


def _with_scalars(scalars: list[Tree], matrix: Tree, shapes: Mapping[str, Shape]) -> Tree:
    return _mul(("mul", *scalars, matrix), shapes) if scalars else matrix


def _matmul(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    scalars, bare = _pull(_flat("matmul", tree[1:]))
    bare = _flat("matmul", bare)
    if any(_is(p, "zeros") for p in bare):
        return _zero(tree, shapes)
    kept = [p for p in bare if not _is(p, "eye")] or bare[:1]
    return _with_scalars(scalars, kept[0] if len(kept) == 1 else ("matmul", *kept), shapes)


def _transpose(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    a = tree[1]
    if isinstance(a, str) or a[0] in ("stack", "grad", "root"):
        return tree
    head = a[0]
    if head == "T":
        return a[1]
    if head in ("eye", "diag"):
        return a
    if head in ("ones", "zeros"):
        return (head, a[2], a[1])
    if head == "matmul":
        return ("matmul", *(_transpose(("T", p), shapes) for p in reversed(a[1:])))
    if head == "mul":
        return ("mul", *a[1:-1], _transpose(("T", a[-1]), shapes))
    parts = tuple(_transpose(("T", p), shapes) for p in children(a))
    return _combine(rebuild(a, parts), shapes)


def _trace(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    scalars, (a,) = _pull([tree[1]])
    if _is(a, "zeros"):
        return 0
    made: Tree = a[1] if _is(a, "eye") else ("trace", a[1] if _is(a, "T") else a)
    return _with_scalars(scalars, made, shapes)


def _inv(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    scalars, (a,) = _pull([tree[1]])
    made: Tree = a[1] if _is(a, "inv") else a if _is(a, "eye") else ("inv", a)
    return _with_scalars([_pow(("pow", s, -1), shapes) for s in scalars], made, shapes)


def _had(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    scalars, bare = _pull(_flat("had", tree[1:]))
    bare = _flat("had", bare)
    if any(_is(p, "zeros") for p in bare):
        return _zero(tree[1], shapes)
    kept = sorted((p for p in bare if not _is(p, "ones")), key=order) or bare[:1]
    return _with_scalars(scalars, kept[0] if len(kept) == 1 else ("had", *kept), shapes)


def _map(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    power = {"sq": 2, "inv": -1, "sqrt": number(_HALF)}.get(tree[1])
    if power is not None and is_number(tree[2], shapes):
        return _pow(("pow", tree[2], power), shapes)
    return tree


def _delta(tree: Tree, shapes: Mapping[str, Shape]) -> Tree:
    i, j = sorted(tree[1:], key=order)
    if i == j:
        return 1
    return 0 if as_fraction(i) is not None and as_fraction(j) is not None else ("delta", i, j)


_RULES = {
    "add": _add, "mul": _mul, "pow": _pow, "matmul": _matmul, "T": _transpose, "trace": _trace, "inv": _inv, "had": _had,
    "map": _map, "delta": _delta,
}  # fmt: skip
