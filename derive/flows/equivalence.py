"""`equivalent`: are two flows the same up to the clock?

    dx/dt = f(x),    dy/ds = g(y),    f = h g  with one scalar h      means      the same orbits, with  ds = h dt.

h is read off the first component that does not vanish and must fit all others, identically. It may contain parameters and
powers of states, but no other zeros or poles: flows that rest at different points are not the same. Imported by users.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, UnsupportedNode
from derive.matrices.calculus import substitute
from derive.matrices.composite import atoms, parameters
from derive.matrices.poly import Poly, atom, monomial, param, power
from derive.matrices.words import Atom, Key
from derive.reductions.ansatz import name_of
from derive.reductions.scalar import to_scalar
from derive.system import Flow, flow_of

__all__ = ["Equivalence", "equivalent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """f = factor * g: time of the second flow runs ``factor`` times as fast as that of the first.

    Attributes
    ----------
    factor : SymPy expression or Poly
        In the symbols of the first flow; a number or a parameter if the clocks differ by a constant.
    constant : bool
        The factor contains no state.
    """

    factor: Any
    constant: bool


def equivalent(first: Flow, second: Flow, rename: Mapping[Any, Any] | None = None) -> Equivalence | None:
    """The time rescaling that turns the second flow into the first, or None if there is none.

    Parameters
    ----------
    first, second : Flow
        Both elementwise systems of scalars, or both flows of matrices.
    rename : mapping, optional
        Names (or symbols) of the second flow to those of the first. States that are not mentioned keep their names, or, if the
        names differ, their order.

    Raises
    ------
    InvalidSpec
        If the states cannot be matched.
    UnsupportedNode
        If the flows are of different kinds.

    >>> from derive.indices.indexed import arr
    >>> from derive.system import Block
    >>> u, s, q = arr("u"), arr("s"), arr("q")
    >>> slow = Flow(name="slow", state=(Block(name="u"),), rhs={"u": 2 * u * (s - u)})
    >>> fast = Flow(name="fast", state=(Block(name="q"),), rhs={"q": 6 * q * q * (s - q)})
    >>> equivalent(fast, slow).factor
    3*q
    """
    first, second = flow_of("equivalent", first), flow_of("equivalent", second)
    table = _table(first, second, {name_of(k): name_of(v) for k, v in (rename or {}).items()})
    matrices = [any(b.shape for b in f.state) and f.level == "matrix" for f in (first, second)]
    if matrices[0] != matrices[1]:
        raise UnsupportedNode(
            f"equivalent: {first.name} and {second.name} are a flow of matrices and one of numbers; reduce one first"
        )
    return _of_words(first, second, table) if matrices[0] else _of_scalars(first, second, table)


def _table(first: Flow, second: Flow, rename: dict[str, str]) -> dict[str, str]:
    ours, theirs = [b.name for b in first.state], [b.name for b in second.state]
    if len(ours) != len(theirs):
        raise InvalidSpec(
            f"equivalent: {first.name} has {len(ours)} states and {second.name} {len(theirs)}; reduce the larger one first"
        )
    if not any(n in rename for n in theirs) and sorted(ours) != sorted(theirs):
        rename = {**dict(zip(theirs, ours, strict=True)), **rename}
    image = [rename.get(n, n) for n in theirs]
    if sorted(image) != sorted(ours):
        raise InvalidSpec(
            f"equivalent: the states {', '.join(theirs)} become {', '.join(image)}, not {', '.join(ours)}; mend rename"
        )
    return rename


def _of_scalars(first: Flow, second: Flow, table: Mapping[str, str]) -> Equivalence | None:
    a, b = to_scalar(first), to_scalar(second)
    known = {s.name: s for s in (*a.states, *a.parameters)}
    change = {
        s: known.get(table.get(s.name, s.name), sp.Symbol(table.get(s.name, s.name), real=True))
        for s in (*b.states, *b.parameters)
    }
    ours = dict(zip(a.states, a.rhs, strict=True))
    theirs = {change[s]: f.xreplace(change) for s, f in zip(b.states, b.rhs, strict=True)}
    pivot = next((s for s in a.states if sp.expand(theirs[s]) != 0), None)
    if pivot is None:
        return None
    factor = sp.factor(sp.cancel(sp.together(ours[pivot] / theirs[pivot])))
    if not _monomial(factor, a.states) or any(sp.cancel(sp.together(ours[s] - factor * theirs[s])) != 0 for s in a.states):
        return None
    return Equivalence(factor=factor, constant=not factor.has(*a.states))


def _monomial(factor: sp.Expr, states: tuple[sp.Symbol, ...]) -> bool:
    moving = factor.as_independent(*states, as_Add=False)[1]
    return bool(factor != 0) and all(base in states for base in moving.as_powers_dict() if base != 1)


def _of_words(first: Flow, second: Flow, table: Mapping[str, str]) -> Equivalence | None:
    ours = {b.name: first.rhs[b.name] for b in first.state}
    theirs = {table.get(b.name, b.name): _renamed(second.rhs[b.name], table) for b in second.state}
    factor: Poly | None = None
    for n, f in ours.items():
        g = theirs[n]
        if not isinstance(f, Poly) or f.shape != g.shape:
            return None
        if factor is None and g:
            factor = _ratio(f, g)
            if factor is None:
                return None
        if f != (factor * g if factor is not None else g):
            return None
    if factor is None or not factor:
        return None
    states = set(ours)
    moving = {*parameters(factor), *(a.name for a in atoms(factor))}
    return Equivalence(factor=factor, constant=not states & moving)


def _ratio(f: Poly, g: Poly) -> Poly | None:
    """f / g if it is a monomial of numbers and traces; read off a pair of equal words."""
    for k1, c1 in f.items():
        for k2, c2 in g.items():
            if k1.word == k2.word:
                over = power(monomial(None, Key(k2.params, k2.traces, None), c2), Fraction(-1))
                ratio = monomial(None, Key(k1.params, k1.traces, None), c1) * over
                if ratio * g == f:
                    return ratio
    return None


def _renamed(p: Any, table: Mapping[str, str]) -> Poly:
    assert isinstance(p, Poly)
    change = {a.name: atom(Atom(table[a.name], a.rows, a.cols, a.tags)) for a in atoms(p) if a.name in table}
    return substitute(p, {**change, **{n: param(table[n]) for n in parameters(p) if n in table}})
