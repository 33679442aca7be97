"""`at_depth`: the balanced mode of a network with any number of layers, as a symbol, or infinitely many.

A mode whose loss depends on the product P = x_1 ... x_n of its factors alone has  x_l' = (P / x_l) g(P)  in every layer, with
the same g at every depth, for -g is the slope of the loss. Equal factors x_l = u^(1/L) stay equal, and the product rule gives

    u' = sum_l (u / x_l)^2 g(u) = L u^(2 - 2/L) g(u),         du / d(L t) = u^2 g(u)   as L -> oo.

Imported by users.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, NotInvariant, UnsupportedNode
from derive.indices.indexed import Node, add, arr, const, fun, mul, power
from derive.reductions.ansatz import Balanced
from derive.reductions.reduction import reduce
from derive.reductions.scalar import ScalarSystem, to_node, to_scalar
from derive.system import Assumption, Block, Flow, Reduction, Step, flow_of

__all__ = ["at_depth", "slope_of_product"]


def at_depth(system: Flow | Reduction, depth: Any) -> Flow:
    """The equation of a balanced mode at another depth.

    Parameters
    ----------
    system : Flow or Reduction
        The factors of a mode at one depth, for instance ``reduce(flow, Modes(white=True))``.
    depth : int, SymPy symbol, or ``sympy.oo``
        A symbol becomes a parameter; for oo time is the depth times t.

    Raises
    ------
    NotInvariant
        If a rate is not (product / factor) g(product) with one g.
    InvalidSpec
        If the depth is no positive integer, symbol or oo, or its name is taken.

    >>> import derive
    >>> modes = derive.reduce(derive.gradient_flow(derive.linear_network(depth=2)), derive.Modes(white=True))
    >>> at_depth(modes, 5).rhs["u"], at_depth(modes, sp.oo).rhs["u"]
    (5*tau^(-1)*u[i]^(8/5)*(s[i] - u[i]), tau^(-1)*u[i]^2*(s[i] - u[i]))
    """
    flow = flow_of("at_depth", system)
    scalar = to_scalar(flow)
    start = reduce(flow, Balanced()).system if len(scalar.states) > 1 else flow
    (block,) = start.state
    u = sp.Symbol(block.name, positive=True)
    g = slope_of_product(scalar, u)
    taken = {b.name for b in (*start.state, *start.parameters)}
    if isinstance(depth, sp.Symbol) and depth.name in taken:
        raise InvalidSpec(f"at_depth: {depth} is a symbol of {start.name}; name the depth otherwise")
    labels = {**scalar.labels, u.name: block.indices}
    node = to_node(sp.factor_terms(g), labels)
    rhs, time, more = _deepened(node, arr(u.name, *block.indices), depth, start.time)
    what = "infinitely many layers" if depth == sp.oo else f"{depth} layers"
    step = Step(
        title=f"balanced mode of {what}",
        detail=f"x_l' = ({u}/x_l)*({g}) in every layer, x_l = {u}^(1/L): {u}' = L*{u}^(2 - 2/L)*({g})",
        check="the form holds for all layers given; at their own depth the result is that of reduce(..., Balanced())",
    )
    if len(scalar.states) > 1:
        own, _, _ = _deepened(node, arr(u.name, *block.indices), len(scalar.states), start.time)
        if sp.cancel(_plain(flow, start, own) - to_scalar(start).rhs[0]) != 0:
            raise NotInvariant(f"at_depth: {flow.name} at its own depth gives {own}, not {start.rhs[block.name]}")
    assumption = Assumption(
        text="the loss of a mode depends on the product of its factors alone, at every depth; they are equal and positive",
        remedy="derive the model at each depth",
    )
    return start.replace(
        name=f"{flow.name}_{'infinitely_deep' if depth == sp.oo else f'depth_{depth}'}",
        rhs={block.name: rhs},
        parameters=(*start.parameters, *more),
        time=time,
        assumptions=(*start.assumptions, assumption),
        steps=(*start.steps, step),
        symbols={**start.symbols, u.name: u, **{b.name: depth for b in more}},
    )


def slope_of_product(scalar: ScalarSystem, u: sp.Symbol) -> sp.Expr:
    """g of  x_l' = (P / x_l) g(P)  as an expression of u = P.

    Raises
    ------
    NotInvariant
        If the rates have another form.
    """
    whole = sp.Mul(*scalar.states)
    first = scalar.states[0]
    found = []
    for x, f in zip(scalar.states, scalar.rhs, strict=True):
        g = sp.cancel(sp.together((f * x / whole).xreplace({first: u * first / whole})))
        if g.has(*scalar.states):
            raise NotInvariant(
                f"{scalar.flow.name}: {x}' = {f} is not ({whole}/{x}) times a function of the product {whole}; "
                "the layers differ, or the loss holds more than their product",
                leftover=f,
            )
        found.append(g)
    if any(sp.cancel(g - found[0]) != 0 for g in found):
        raise NotInvariant(f"{scalar.flow.name}: the layers have different rates ({found}); give them one time constant")
    return sp.factor_terms(sp.expand(found[0]))


def _deepened(g: Node, u: Node, depth: Any, time: str) -> tuple[Node, str, tuple[Block, ...]]:
    if depth == sp.oo:
        return mul(power(u, 2), g), "depth times t, the depth being infinite", ()
    if isinstance(depth, sp.Symbol):
        L = arr(depth.name)
        exponent = add(const(2), mul(const(-2), power(L, -1)))
        return mul(L, fun("power", u, exponent), g), time, (Block(name=depth.name, meaning="number of layers"),)
    if not isinstance(depth, int | sp.Integer) or isinstance(depth, bool) or depth < 1:
        raise InvalidSpec(f"at_depth: depth={depth!r}; give a positive integer, a SymPy symbol, or sympy.oo")
    return mul(const(int(depth)), power(u, 2 - Fraction(2, int(depth))), g), time, ()


def _plain(flow: Flow, start: Flow, e: Node) -> sp.Expr:
    (block,) = start.state
    try:
        return to_scalar(start.replace(rhs={block.name: e})).rhs[0]
    except UnsupportedNode as cause:
        raise NotInvariant(f"at_depth: {flow.name} is no system of modes ({cause})") from cause
