"""Trees to matrix-level expressions, and back to SymPy.

``to_poly`` multiplies everything out into a dictionary of words, so two ways of typing one expression give one `Poly`.
Nodes with a meaning beyond algebra (``grad``, ``mean``, ``stop``) are handed to the caller's ``special``.
Imported by the passes; the printers read `derive.printing.poly`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, ShapeMismatch, UnsupportedNode
from derive.matrices.composite import (
    atoms,
    composite,
    diagonal,
    elem,
    functions_in,
    hadamard,
    inverse,
    ones,
    parameters,
    scalar_power,
)
from derive.matrices.entrywise import DELTA
from derive.matrices.poly import Poly, atom, constant, identity, param, text, zero
from derive.matrices.words import PI, Atom, Elem, flip, sort_runs
from derive.spec.elementwise import Functions, body_of
from derive.spec.lowered import Function
from derive.spec.notation import text as tree_text
from derive.spec.tree import Tree, as_fraction

Special = Callable[[Tree], Poly]
NO_TAGS: Mapping[str, tuple[str, ...]] = {}


def to_poly(
    tree: Tree,
    shapes: Mapping[str, tuple[Tree, ...]],
    *,
    tags: Mapping[str, tuple[str, ...]] = NO_TAGS,
    positive: Collection[str] = (),
    special: Special | None = None,
) -> Poly:
    """Matrix-level expression of a tree.

    Parameters
    ----------
    tree : Tree
    shapes : mapping
        Shape of every name; a name that occurs as a size only is a dimension.
    tags : mapping
        Tags of atoms (``sym diag orth square``).
    positive : collection of str
        Numbers known to be positive (dimensions are): roots of products are split over them.
    special : callable
        Value of a ``grad``, ``mean`` or ``stop`` node; without it they are refused.

    Raises
    ------
    InvalidSpec
        If a name has no shape.
    UnsupportedNode
        If a node has no matrix-level form.

    Examples
    --------
    >>> shapes = {"W": ("K", "N"), "x": ("N", 1), "y": ("K", 1)}
    >>> error = ("add", "y", ("mul", -1, ("matmul", "W", "x")))
    >>> to_poly(("trace", ("matmul", ("T", error), error)), shapes)
    (x'*W'*W*x) - 2*(x'*W'*y) + (y'*y)
    """
    sizes = {d for shape in shapes.values() for d in _dimensions(shape)}
    return _Reader(shapes, tags, {*positive, *sizes, PI}, sizes, special).read(tree)


def _dimensions(shape: tuple[Tree, ...]) -> list[str]:
    found: list[str] = []
    for size in shape:
        if isinstance(size, str):
            found.append(size)
        elif isinstance(size, tuple):
            found += _dimensions(size[1:])
    return found


class _Reader:
    """One conversion; equal sub-trees are converted once."""

    def __init__(
        self,
        shapes: Mapping[str, tuple[Tree, ...]],
        tags: Mapping[str, tuple[str, ...]],
        positive: Collection[str],
        sizes: Collection[str],
        special: Special | None,
    ):
        self.shapes, self.tags, self.positive, self.sizes, self.special = shapes, tags, positive, sizes, special
        self.memo: dict[Tree, Poly] = {}

    def read(self, tree: Tree) -> Poly:
        if tree not in self.memo:
            self.memo[tree] = self._read(tree)
        return self.memo[tree]

    def _read(self, tree: Tree) -> Poly:
        if isinstance(tree, str):
            return self._name(tree)
        q = as_fraction(tree)
        if q is not None:
            return constant(q)
        head = tree[0]
        if head in ("grad", "mean", "stop"):
            if self.special is None:
                raise UnsupportedNode(f"{tree_text(tree)}: {head} has a meaning in a rule only; use gradient_flow")
            return self.special(tree)
        if head == "map":
            return self._map(tree[1], self.read(tree[2]))
        if head == "pi":
            return param(PI)
        if head == "eye":
            return identity(tree[1])
        if head == "ones":
            return ones(tree[1], tree[2])
        if head == "zeros":
            return zero((tree[1], tree[2]))
        if head not in _RULES:
            raise UnsupportedNode(
                f"{tree_text(tree)}: {head!r} has no matrix-level form; words know sums, products, transposes, traces, "
                "inverses, elementwise products and functions, powers of numbers, diag, eye, ones, zeros"
            )
        if head == "pow":
            exponent = as_fraction(tree[2])
            if exponent is None:
                raise UnsupportedNode(f"{tree_text(tree)}: the exponent is not a number; write it with fn.exp and fn.log")
            return self._power(self.read(tree[1]), exponent)
        return _RULES[head](*(self.read(p) for p in tree[1:]))

    def _name(self, name: str) -> Poly:
        shape = self.shapes.get(name)
        if shape is None:
            if name not in self.sizes:
                raise InvalidSpec(f"{name} has no shape here: declare it in the model (state, given, data or let)")
            return param(name)
        return atom(Atom(name, shape[0], shape[1], tuple(self.tags.get(name, ())))) if shape else param(name)

    def _map(self, function: str, p: Poly) -> Poly:
        if function == "sqrt" and p.shape is None:
            return self._power(p, Fraction(1, 2))
        if function == "inv" and p.shape is None:
            return self._power(p, Fraction(-1))
        return elem(function, p)

    def _power(self, p: Poly, exponent: Fraction) -> Poly:
        if p.shape is not None:
            raise ShapeMismatch(f"power of {text(p)} of shape {p.shape}: powers are of numbers; write had(A, A) or A*A")
        if exponent.denominator == 1 or len(p.terms) != 1 or self._splits(p):
            return scalar_power(p, exponent)
        if exponent.denominator != 2:
            raise UnsupportedNode(f"power {exponent} of {text(p)}, which may be negative; declare its symbols positive")
        return scalar_power(composite(Elem("sqrt", 0, p), None), 2 * exponent)

    def _splits(self, p: Poly) -> bool:
        """May a root be taken factor by factor? Only one factor may have an unknown sign, and not as a square."""
        (key, c), *_ = p.items()
        unknown = [e for name, e in key.params if name not in self.positive]
        unknown += [e for word, e in key.traces if not _is_square(word)]
        return c > 0 and (not unknown or (len(unknown) == 1 and unknown[0].numerator % 2 == 1))


def _is_square(word: Any) -> bool:
    """Is the scalar word of the form u' u, a sum of squares?"""
    half = len(word) // 2
    return len(word) % 2 == 0 and sort_runs(flip(word[half:])) == word[:half]


def _sum(*parts: Poly) -> Poly:
    out = parts[0]
    for p in parts[1:]:
        out = out + p
    return out


def _product(*parts: Poly) -> Poly:
    out = parts[0]
    for p in parts[1:]:
        out = out * p
    return out


_RULES: Mapping[str, Callable[..., Poly]] = {
    "add": _sum,
    "mul": _product,
    "matmul": _product,
    "had": hadamard,
    "T": lambda p: p.T,
    "trace": lambda p: p.trace(),
    "inv": inverse,
    "diag": diagonal,
    "pow": scalar_power,
    "delta": lambda a, b: elem(DELTA, a - b),
}


def to_sympy(p: Poly, symbols: Mapping[str, Any] | None = None, functions: Functions | None = None) -> sp.Basic:
    """SymPy expression of a Poly, factored as it is printed; symbols that are not given are made by name.

    >>> A = atom(Atom("A", "n", "n"))
    >>> to_sympy((A * A.T).trace().scale(2))
    2*Trace(A*A.T)
    """
    from derive.printing.poly import poly_tree
    from derive.spec.raising import to_sympy as raised

    table = dict(symbols or {})
    known = dict(functions or {})
    for a in atoms(p):
        for size in _dimensions((a.rows, a.cols)):
            table.setdefault(size, sp.Symbol(size, integer=True, positive=True))
        if a.name not in table:
            table[a.name] = sp.MatrixSymbol(a.name, *(raised(size, table) for size in (a.rows, a.cols)))
    for name in parameters(p):
        table.setdefault(name, sp.Symbol(name, real=True))
    for name in functions_in(p):
        for order in range(1, 4):
            if _uses(p, name, order):
                variable, body = body_of(name, order, known)
                known[name + "'" * order] = Function(name=name + "'" * order, variable=variable, body=body)
    return raised(poly_tree(p), table, known)


def _uses(p: Poly, name: str, order: int) -> bool:
    from derive.matrices.composite import inside

    letters = [x for key in p.terms for word in (*(w for w, _ in key.traces), key.word or ()) for x in word]
    for x in letters:
        comp = x.atom.comp
        if isinstance(comp, Elem) and (comp.function, comp.order) == (name, order):
            return True
        if comp is not None and any(_uses(q, name, order) for q in inside(comp)):
            return True
    return False
