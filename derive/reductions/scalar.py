"""Scalar systems: what remains of an elementwise flow when its common index is dropped.

A flow is *elementwise* if every state carries the same labels (or none) and no right-hand side contains a sum, a delta or an
entry at another label: each label then evolves by itself, and the equations are those of ordinary numbers,

    d x_k / dt = f_k(x; p).

`to_scalar` gives them as SymPy expressions, `to_node` goes back, and `value` evaluates a SymPy expression by walking it (no
text is compiled, so names of users are never executed). Imported by `reduce`, `conserved` and `closed_form`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import UnsupportedNode
from derive.indices.indexed import Index, Node, add, arr, const, fun, mul, power, substitute
from derive.matrices.poly import Poly, text
from derive.matrices.words import PI
from derive.reductions.entries import by_entries
from derive.system import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalarSystem:
    """The equations d states[k] / dt = rhs[k] of an elementwise flow, with its index dropped.

    Attributes
    ----------
    flow : Flow
        Where it comes from.
    states, parameters : tuple of SymPy symbols
    rhs : tuple of SymPy expressions
    labels : mapping name -> tuple of Index
        Labels of every state and parameter, to go back with `to_node`.
    """

    flow: Flow
    states: tuple[sp.Symbol, ...]
    rhs: tuple[sp.Expr, ...]
    parameters: tuple[sp.Symbol, ...]
    labels: Mapping[str, tuple[Index, ...]]


def symbol(flow: Flow, name: str) -> sp.Symbol:
    """The user's symbol of a scalar, or a real one of that name."""
    known = flow.symbols.get(name)
    return known if isinstance(known, sp.Symbol) else sp.Symbol(name, real=True)


def to_scalar(flow: Flow) -> ScalarSystem:
    """Drop the common index of an elementwise flow.

    Raises
    ------
    UnsupportedNode
        If states are matrices, or different indices are coupled.
    """
    flow = by_entries(flow)
    found: dict[str, tuple[Index, ...]] = {}
    rhs = []
    common = next((b.indices for b in flow.state if b.indices), ())
    for b in flow.state:
        e = flow.rhs[b.name]
        if isinstance(e, Poly):
            if b.shape:
                raise UnsupportedNode(
                    f"the state {b.name} of {flow.name} is a matrix of shape {b.shape}, but a system of scalars is needed: "
                    "reduce it first, for instance reduce(flow, Modes())"
                )
            rhs.append(_from_poly(flow, e, found))
            continue
        if len(b.indices) not in (0, len(common)):
            raise UnsupportedNode(f"the states of {flow.name} carry different indices ({b.name} has {b.indices})")
        change = {i: j for i, j in zip(b.indices, common, strict=False) if i != j}
        allowed = common if b.indices else ()
        rhs.append(_from_node(flow, substitute(e, change), allowed, found, b.name))
    states = tuple(symbol(flow, b.name) for b in flow.state)
    for b in flow.state:
        found[b.name] = common if b.indices else ()
    names = [b.name for b in flow.parameters if b.name in found]
    names += sorted(n for n in found if n not in names and n not in {b.name for b in flow.state})
    return ScalarSystem(
        flow=flow,
        states=states,
        rhs=tuple(rhs),
        parameters=tuple(symbol(flow, n) for n in names),
        labels=dict(sorted(found.items())),
    )


def _from_poly(flow: Flow, p: Poly, found: dict[str, tuple[Index, ...]]) -> sp.Expr:
    terms = []
    for key, c in p.items():
        factors: list[sp.Expr] = [sp.Rational(c.numerator, c.denominator)]
        for name, e in key.params:
            if name.isdigit():
                factors.append(sp.Integer(int(name)) ** sp.Rational(e.numerator, e.denominator))
                continue
            if name == PI:
                factors.append(sp.pi ** sp.Rational(e.numerator, e.denominator))
                continue
            found[name] = ()
            factors.append(symbol(flow, name) ** sp.Rational(e.numerator, e.denominator))
        for word, e in key.traces:
            if len(word) != 1 or word[0].rows != 1 or word[0].atom.comp is not None:
                raise UnsupportedNode(
                    f"the term {text(Poly(None, {key: c}))} of {flow.name} holds matrices: give it a name first"
                )
            found[word[0].atom.name] = ()
            factors.append(symbol(flow, word[0].atom.name) ** sp.Rational(e.numerator, e.denominator))
        terms.append(sp.Mul(*factors))
    return sp.Add(*terms)


def _from_node(flow: Flow, n: Node, allowed: tuple[Index, ...], found: dict[str, tuple[Index, ...]], state: str) -> sp.Expr:
    def walk(m: Node) -> sp.Expr:
        if m.op == "const":
            return sp.Rational(m.args[0].numerator, m.args[0].denominator)
        if m.op == "pi":
            return sp.pi
        if m.op == "arr":
            name, indices = m.args
            if indices and indices != allowed:
                raise UnsupportedNode(
                    f"{name}{list(indices)} in the equation of {state} couples different indices: no elementwise system"
                )
            found[name] = indices
            return symbol(flow, name)
        if m.op == "pow":
            return walk(m.args[0]) ** sp.Rational(m.args[1].numerator, m.args[1].denominator)
        if m.op == "add":
            return sp.Add(*map(walk, m.args))
        if m.op == "mul":
            return sp.Mul(*map(walk, m.args))
        raise UnsupportedNode(
            f"{m} in the equation of {state} of {flow.name} is no polynomial of single entries: no elementwise system"
        )

    return walk(n)


def to_node(expr: sp.Expr, labels: Mapping[str, tuple[Index, ...]]) -> Node:
    """A SymPy expression of scalars as an index-level expression.

    Raises
    ------
    UnsupportedNode
        For anything but sums, products, rational powers and exp or log.

    >>> i = Index("i", "r")
    >>> u, s = sp.symbols("u s")
    >>> to_node(2 * u * (s - u), {"u": (i,), "s": (i,)})
    2*u[i]*(s[i] - u[i])
    """
    if isinstance(expr, sp.Rational):
        return const(Fraction(int(expr.p), int(expr.q)))
    if isinstance(expr, sp.Symbol):
        return arr(expr.name, *labels.get(expr.name, ()))
    if isinstance(expr, sp.Add):
        return add(*(to_node(a, labels) for a in expr.args))
    if isinstance(expr, sp.Mul):
        return mul(*(to_node(a, labels) for a in expr.args))
    if isinstance(expr, sp.Pow) and isinstance(expr.exp, sp.Rational):
        return power(to_node(expr.base, labels), Fraction(int(expr.exp.p), int(expr.exp.q)))
    if isinstance(expr, sp.exp | sp.log):
        return fun("exp" if isinstance(expr, sp.exp) else "log", to_node(expr.args[0], labels))
    raise UnsupportedNode(f"{expr}: only sums, products, rational powers, exp and log of scalars can be used here")


NUMPY: Mapping[str, Any] = {
    "exp": np.exp, "log": np.log, "tanh": np.tanh, "cos": np.cos, "sin": np.sin, "atan": np.arctan, "Abs": np.abs,
    "number": float, "pi": np.pi,
}  # fmt: skip


def value(expr: sp.Basic, values: Mapping[str, Any], functions: Mapping[str, Any] = NUMPY) -> Any:
    """Value of a scalar SymPy expression at numbers or arrays by name, by walking it.

    ``functions`` gives the functions by their SymPy names, ``pi``, and ``number``, which makes a number of an exact
    numerator or denominator.

    >>> x = sp.Symbol("x")
    >>> float(value(sp.sqrt(x) / 2, {"x": 9.0}))
    1.5
    """
    if isinstance(expr, sp.Rational):
        q = functions["number"](int(expr.p))
        return q / functions["number"](int(expr.q)) if expr.q != 1 else q
    if expr is sp.pi:
        return functions["pi"]
    if expr is sp.E:
        return functions["exp"](functions["number"](1))
    if isinstance(expr, sp.Symbol):
        return values[expr.name]
    parts = [value(a, values, functions) for a in expr.args]
    if isinstance(expr, sp.Pow):
        e = expr.exp
        return parts[0] ** int(e) if isinstance(e, sp.Integer) else parts[0] ** parts[1]
    if isinstance(expr, sp.Add | sp.Mul):
        out = parts[0]
        for p in parts[1:]:
            out = out + p if isinstance(expr, sp.Add) else out * p
        return out
    name = type(expr).__name__
    if name not in functions:
        raise UnsupportedNode(f"no value for the function {name} in {expr}")
    return functions[name](*parts)


def powers(expr: sp.Expr, x: sp.Symbol) -> dict[Fraction, sp.Expr] | None:
    """Coefficients of the powers of x, or None if the expression is no sum of rational powers.

    >>> u, s, d = sp.symbols("u s d")
    >>> powers(2 * u * (s - d * u), u)
    {Fraction(1, 1): 2*s, Fraction(2, 1): -2*d}
    """
    out: dict[Fraction, sp.Expr] = {}
    for term in sp.Add.make_args(sp.expand(expr)):
        c, rest = term.as_independent(x, as_Add=False)
        base, e = rest.as_base_exp()
        if rest == 1:
            e = sp.Integer(0)
        elif base != x or not isinstance(e, sp.Rational):
            return None
        key = Fraction(int(e.p), int(e.q))
        out[key] = out.get(key, sp.Integer(0)) + c
    return {e: c for e, c in sorted(out.items()) if c != 0}
