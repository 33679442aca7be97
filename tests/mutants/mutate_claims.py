"""Systematic single mutations of printed equations: every claim of an entry with one error in it.

The expressions of a claim (rates of `Published`, quantity of `Conserved`, solution of `Solves`) are changed in one place:

    whole expression     the opposite sign, twice
    sum, at any depth    one term with the opposite sign, twice, dropped
    product of matrices  a square letter transposed, two neighbours swapped where shapes permit
    letter               replaced by another letter of the same kind and shape that occurs in the expression
    indexed letter       its two labels swapped

A change after which the shapes do not fit is no mutant. What equals the claim for a mathematical reason must be sorted out by
value, see `equal_claims`. A solution that is a Python function is mutated by sign and factor only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import sympy as sp

from derive.claims.entry import Conserved, Published, Solves
from derive.errors import DerivationError
from derive.spec.lower import Collector
from derive.spec.shapes import shape_of

LOCAL = (sp.Sum,)  # nodes whose bound labels stay as they are


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongClaim:
    """A claim with one error: which claim, which expression of it, what was done, and the claim."""

    label: str
    letter: Any
    what: str
    kind: str
    right: Any
    claim: Any


def wrong_claims(claims: tuple[Any, ...]) -> Iterator[WrongClaim]:
    """Every single mutation of every claim that states an equation, in a fixed order."""
    for claim in claims:
        if isinstance(claim, Published):
            for letter, rate in claim.rate.items():
                for kind, what, wrong in mutations(rate):
                    yield _wrong(claim, letter, kind, what, replace(claim, rate={letter: wrong}), letter)
        elif isinstance(claim, Conserved):
            for kind, what, wrong in mutations(claim.quantity):
                if kind != "whole":  # a multiple of a conserved quantity is conserved
                    yield _wrong(claim, claim.label, kind, what, replace(claim, quantity=wrong), None)
        elif isinstance(claim, Solves):
            for letter, solution in claim.solution.items():
                for kind, what, wrong in mutations(solution):
                    yield _wrong(claim, letter, kind, what, replace(claim, solution={**claim.solution, letter: wrong}), None)


def _wrong(claim: Any, letter: Any, kind: str, what: str, wrong: Any, only: Any) -> WrongClaim:
    right = claim if only is None else replace(claim, rate={only: claim.rate[only]})
    return WrongClaim(label=claim.label, letter=letter, what=what, kind=kind, right=right, claim=wrong)


def mutations(e: Any) -> Iterator[tuple[str, str, Any]]:
    """(kind, what was done, wrong expression) of one expression."""
    if callable(e) and not isinstance(e, sp.Basic):
        yield "whole", "opposite sign", _scaled(e, -1)
        yield "whole", "twice", _scaled(e, 2)
        return
    e = sp.sympify(e, strict=True)
    if e == 0:
        return
    yield "whole", "opposite sign", -e
    yield "whole", "twice", 2 * e
    seen, shape = {e}, _shape(e)
    for kind, what, wrong in _inside(e, _letters(e)):
        if wrong not in seen and _shape(wrong) == shape:
            seen.add(wrong)
            yield kind, what, wrong


def _scaled(f: Callable[..., Any], factor: int) -> Callable[..., Any]:
    return lambda values: factor * f(values)


def _inside(e: Any, letters: list[Any]) -> Iterator[tuple[str, str, Any]]:
    if isinstance(e, sp.Add | sp.MatAdd):
        yield from _of_sum(e)
    if isinstance(e, sp.MatMul):
        yield from _of_product(e)
    if isinstance(e, sp.Indexed):
        a, b = (*e.indices, None, None)[:2]
        if b is not None and a != b:
            yield "labels", f"labels of {e} swapped", e.base[b, a]
        return
    if isinstance(e, sp.Symbol | sp.MatrixSymbol):
        yield from (("letter", f"{e} -> {other}", other) for other in letters if other != e and _alike(other, e))
        return
    for n, part in enumerate(e.args):
        if isinstance(part, sp.Expr | sp.MatrixExpr) and not part.is_Number:
            for kind, what, wrong in _inside(part, letters):
                yield kind, what, _rebuilt(e, n, wrong)


def _of_sum(e: Any) -> Iterator[tuple[str, str, Any]]:
    for n, term in enumerate(e.args):
        others = [t for m, t in enumerate(e.args) if m != n]
        shown = str(term)[:50]
        yield "sign", f"opposite sign of {shown}", e.func(*others, -term)
        yield "factor", f"twice {shown}", e.func(*others, 2 * term)
        yield "dropped", f"without {shown}", e.func(*others) if len(others) > 1 else others[0]


def _of_product(e: Any) -> Iterator[tuple[str, str, Any]]:
    for n, x in enumerate(e.args):
        if getattr(x, "is_Matrix", False) and x.shape[0] == x.shape[1]:
            yield "transposed", f"{str(x)[:40]} transposed", sp.MatMul(*e.args[:n], sp.Transpose(x), *e.args[n + 1 :])
    for n in range(len(e.args) - 1):
        a, b = e.args[n : n + 2]
        if getattr(a, "is_Matrix", False) and getattr(b, "is_Matrix", False) and a != b:
            try:
                swapped = sp.MatMul(*e.args[:n], b, a, *e.args[n + 2 :], evaluate=False)
            except sp.matrices.exceptions.ShapeError:
                continue
            yield "order", f"{str(a)[:30]} and {str(b)[:30]} swapped", swapped


def _rebuilt(e: Any, n: int, part: Any) -> Any:
    args = [*e.args[:n], part, *e.args[n + 1 :]]
    if isinstance(e, sp.MatMul | sp.HadamardProduct):
        return e.func(*args, evaluate=False)
    return e.func(*args)


def _letters(e: Any) -> list[Any]:
    bound = {x for s in e.atoms(sp.Sum) for x in s.variables} | {i for x in e.atoms(sp.Indexed) for i in x.indices}
    found = (e.atoms(sp.Symbol) - bound - {x.base.label for x in e.atoms(sp.Indexed)}) | e.atoms(sp.MatrixSymbol)
    return sorted((s for s in found if not s.is_integer or isinstance(s, sp.MatrixSymbol)), key=lambda s: (s.is_Matrix, str(s)))


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, sp.MatrixSymbol) or isinstance(b, sp.MatrixSymbol):
        return isinstance(a, sp.MatrixSymbol) and isinstance(b, sp.MatrixSymbol) and a.shape == b.shape
    return not b.is_integer


def _shape(e: Any) -> Any:
    """Strict shape; None if the shapes do not fit, True for expressions with indexed letters, which have no shapes."""
    if e.has(sp.Indexed):
        return True
    collector = Collector()
    try:
        return shape_of(collector.raw(e), collector.shapes)
    except DerivationError:
        return None
