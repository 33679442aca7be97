"""Linear matrix equations as calls of a solver: which one, and on which matrices.

    A X + X B + C and A X B - X + C  by doubling;  everything else by the matrix K of the map, one block for each word with X:
    A X B: kron(A, B'),   A X' B: the same with columns reordered,   tr(M X) N: vec N (vec M')'

Imported by `codegen.from_matrix`.
"""

from __future__ import annotations

from dataclasses import dataclass

from codegen.program import Expr, add
from derive.errors import UnsupportedNode
from derive.matrices.calculus import grad
from derive.matrices.composite import letter_mentions
from derive.matrices.implicit import linear_part
from derive.matrices.poly import Poly, monomial, product, text
from derive.matrices.two_sided import two_sided
from derive.matrices.words import Atom, Key, Letter, Solution


@dataclass(frozen=True, slots=True, kw_only=True)
class Solver:
    """Operations and their arguments: the first takes the last argument C; of a sum of words every one takes two more."""

    operations: tuple[str, ...]
    arguments: tuple[Poly, ...]


def solver(a: Atom) -> Solver:
    """How the equation of a letter is solved.

    Raises
    ------
    UnsupportedNode
        If the unknown stands inside a function or an elementwise product.
    """
    form = two_sided(a)
    if form is None:
        return _general(a)
    if form.continuous:
        if form.covariance:
            return Solver(operations=("lyapunov",), arguments=(form.left, form.rest))
        return Solver(operations=("sylvester",), arguments=(form.left, form.right, form.rest))
    name = "stein" if form.covariance else "stein_any"
    return Solver(operations=(name,), arguments=(form.left, form.right, form.rest))


def _general(a: Atom) -> Solver:
    assert isinstance(a.comp, Solution)
    x = Letter(Atom(a.comp.unknown, a.rows, a.cols), False)
    linear = linear_part(a.comp.equation, a.comp.unknown)
    operations, arguments = ["solve_linear"], []
    for key, c in linear.items():
        word = key.word or ()
        traces = [(w, e) for w, e in key.traces if any(y.atom == x.atom for y in w)]
        size = monomial(None, Key(key.params, tuple(t for t in key.traces if t not in traces), None), c)
        places = [i for i, y in enumerate(word) if y.atom == x.atom]
        if len(traces) == 1 and not places:
            operations.append("of_trace")
            arguments += [size * product(word, a.rows), grad(monomial(None, Key((), tuple(traces), None)), x.atom)]
        elif len(places) == 1 and not traces:
            at = places[0]
            operations.append("of_turned" if word[at].t else "of_words")
            arguments += [size * product(word[:at], a.rows), product(word[at + 1 :], a.cols)]
        if len(places) + len(traces) != 1 or any(letter_mentions(y, x.atom.name) for y in word if y.atom != x.atom):
            raise UnsupportedNode(
                f"{text(a.comp.equation)} = 0: the unknown stands inside of a function or an elementwise product; "
                "kernels solve equations whose terms are products of matrices"
            )
    return Solver(operations=tuple(operations), arguments=(*arguments, a.comp.equation - linear))


def solved(operations: list[str], parts: list[Expr]) -> Expr:
    """The call, for the arguments as expressions."""
    first, *blocks = operations
    if not blocks:
        return Expr(first, tuple(parts))
    matrix = add(*(Expr(op, (parts[2 * n], parts[2 * n + 1])) for n, op in enumerate(blocks)))
    return Expr(first, (matrix, parts[-1]))
