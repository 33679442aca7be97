"""`eliminate`: solve a conserved relation for one state, and carry on with one equation less.

On a level set  I(x, y) = c  of a conserved quantity the state x is a function of the others, x = X(y; c), and

    dy/dt = f(y, X(y; c)).

I may be a polynomial in x of degree one or two, a power of x times something (also after division by a power of x), or its
logarithm may be linear in x. Of several roots the one is taken that gives the state back at random states, which are drawn
positive unless ``root=-1`` says otherwise. Imported by users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import InvalidSpec, UnsupportedNode
from derive.flows.elimination_words import eliminate_words
from derive.flows.level_set import after, carried, level_set, reduced_flow
from derive.indices.indexed import Node, arr, arrays
from derive.indices.indexed import replace as replace_leaves
from derive.indices.text import to_sympy as node_to_sympy
from derive.reductions.ansatz import name_of
from derive.reductions.scalar import ScalarSystem, to_node, to_scalar, value
from derive.system import Assumption, Block, ConservedQuantity, Flow, Reduction, Step, flow_of

__all__ = ["eliminate", "scalar_expression"]

POINTS = 12


def eliminate(system: Flow | Reduction, invariant: Any, state: Any, *, name: str = "c0", root: int = 1) -> Reduction:
    """Eliminate a state by a conserved quantity.

    Parameters
    ----------
    system : Flow or Reduction
        At matrix level the state must be a number.
    invariant : ConservedQuantity, or a SymPy expression of the states
        Of a Reduction it may also be one of the full flow.
    state : SymPy symbol or name
        What the relation is solved for.
    name : str
        Name of the conserved value, a parameter of the result.
    root : int
        1 if the state is positive, -1 if it is negative.

    Returns
    -------
    Reduction
        ``parameters_from`` computes the conserved value if the values contain the full state (or the value itself).

    Raises
    ------
    InvalidSpec
        If the quantity is not conserved, or a name is wrong or taken.
    UnsupportedNode
        If the relation cannot be solved for the state.

    >>> from derive.indices.indexed import Index
    >>> i = Index("i", "r")
    >>> a, b, s = (arr(n, i) for n in "abs")
    >>> blocks = tuple(Block(name=n, shape=("r",), indices=(i,)) for n in "ab")
    >>> flow = Flow(name="mode", state=blocks, rhs={"a": b * (s - a * b), "b": a * (s - a * b)})
    >>> from derive.invariants.search import conserved
    >>> eliminate(flow, conserved(flow)[0], "b").system.rhs["a"]
    (a[i]^2 - c0[i])^(1/2)*(s[i] - a[i]*(a[i]^2 - c0[i])^(1/2))
    """
    if isinstance(system, Reduction):
        moved = carried(system, invariant)
        return after(system, eliminate(system.system, moved, state, name=name, root=root))
    system, x = flow_of("eliminate", system), name_of(state)
    _check_names(system, x, name, root)
    if any(b.shape for b in system.state) and system.level == "matrix":
        return eliminate_words(system, invariant, x, name=name, root=root)
    return _eliminate_scalar(system, invariant, x, name, root)


def _check_names(flow: Flow, x: str, name: str, root: int) -> None:
    states = [b.name for b in flow.state]
    if x not in states:
        raise InvalidSpec(f"eliminate: {x} is no state of {flow.name}; choose among {', '.join(states)}")
    if len(states) == 1:
        raise InvalidSpec(f"eliminate: {x} is the only state of {flow.name}; nothing would be left")
    if name in {b.name for b in (*flow.state, *flow.parameters)}:
        raise InvalidSpec(f"eliminate: {name} is a symbol of {flow.name}; give the conserved value another name, name=...")
    if root not in (1, -1):
        raise InvalidSpec(f"eliminate: root={root}; write 1 if {x} is positive, -1 if it is negative")


def scalar_expression(system: ScalarSystem, e: Any) -> sp.Expr:
    """An expression of the states, given as ConservedQuantity, Node, Poly or SymPy, in the symbols of the scalar system."""
    e = e.expr if isinstance(e, ConservedQuantity) else e
    symbols = {s.name: s for s in (*system.states, *system.parameters)}
    if isinstance(e, Node):
        plain = replace_leaves(e, lambda leaf: arr(leaf.args[0]))
        return node_to_sympy(plain, symbols)
    if not isinstance(e, sp.Basic):
        from derive.matrices.convert import to_sympy

        return to_sympy(e, symbols)
    return e.xreplace({s: symbols[s.name] for s in e.free_symbols if s.name in symbols})


def _eliminate_scalar(flow: Flow, invariant: Any, name: str, constant: str, root: int) -> Reduction:
    system = to_scalar(flow)
    quantity = scalar_expression(system, invariant)
    x = next(s for s in system.states if s.name == name)
    others = [s for s in system.states if s is not x]
    c = sp.Symbol(constant, real=True)
    _check_conserved(system, quantity)
    solution = _root(system, quantity, x, c, root)
    labels = {**system.labels, constant: _labels(system, quantity)}
    field = dict(zip(system.states, system.rhs, strict=True))
    rhs = {y.name: to_node(sp.factor_terms(field[y].xreplace({x: solution})), labels) for y in others}
    lift = {y.name: to_node(solution if y is x else y, labels) for y in system.states}

    def lifted(leaf: Any) -> Any:
        return lift[name] if leaf.args[0] == name else leaf

    observables = {n: replace_leaves(e, lifted) for n, e in flow.observables.items() if isinstance(e, Node)}
    sign = "> 0" if root == 1 else "< 0"
    assumption = Assumption(
        text=f"{x} {sign} along the trajectory, on the level set {quantity} = {c}",
        remedy=f"keep {x} as a state where it changes its sign",
    )
    step = Step(
        title=f"{x} eliminated by a conserved quantity",
        detail=f"{x} = {solution}",
        check=f"the quantity is conserved identically; the root gives {x} back at {POINTS} random states",
    )
    block = Block(
        name=constant,
        shape=flow.state[0].shape if labels[constant] else (),
        indices=labels[constant],
        meaning=f"conserved value of {quantity}",
    )
    used = {n for e in (*rhs.values(), *observables.values()) for n in arrays(e)}

    def number(e: sp.Expr) -> Callable[[Mapping[str, Any]], Any]:
        return lambda values: value(e, {n: np.asarray(v, dtype=float) for n, v in values.items()})

    reduced = reduced_flow(flow, name, rhs, observables, block, used, assumption, step)
    return level_set(flow, reduced.replace(symbols={**reduced.symbols, constant: c}), lift, number(quantity), number(solution))


def _labels(system: ScalarSystem, e: sp.Expr) -> tuple[Any, ...]:
    return next((system.labels[s.name] for s in sorted(e.free_symbols, key=str) if system.labels.get(s.name)), ())


def _check_conserved(system: ScalarSystem, quantity: sp.Expr) -> None:
    rng = np.random.default_rng(1)
    names = sorted({s.name for e in (*system.rhs, quantity) for s in e.free_symbols} | {s.name for s in system.states})
    products = [sp.diff(quantity, s) * f for s, f in zip(system.states, system.rhs, strict=True)]
    seen = 0
    for _ in range(20 * POINTS):
        at = {n: np.float64(rng.uniform(0.5, 1.5)) for n in names}
        with np.errstate(all="ignore"):
            terms = [float(value(e, at)) for e in products]  # not finite where a root of an earlier elimination is not real
        if not np.all(np.isfinite(terms)):
            continue
        seen += 1
        if abs(sum(terms)) > 1e-10 * sum(map(abs, terms)):  # rounding of a few products
            raise InvalidSpec(
                f"eliminate: {quantity} is not conserved by {system.flow.name}; take one of conserved({system.flow.name})"
            )
        if seen == POINTS:
            return
    raise UnsupportedNode(f"eliminate: {system.flow.name} is not real at random states; eliminate in another order")


def _root(system: ScalarSystem, quantity: sp.Expr, x: sp.Symbol, c: sp.Symbol, sign: int) -> sp.Expr:
    """The root of  quantity = c  that gives x back at random states."""
    rng = np.random.default_rng(2)
    roots = _roots(quantity, x, c)
    names = sorted({s.name for s in quantity.free_symbols})
    kept: Sequence[sp.Expr] = roots
    for _ in range(POINTS):
        at: dict[str, Any] = {n: np.float64(rng.uniform(0.5, 1.5)) for n in names}
        at[x.name] = sign * at[x.name]
        at[c.name] = value(quantity, at)
        with np.errstate(all="ignore"):
            kept = [r for r in kept if np.isclose(value(r, at), at[x.name], rtol=1e-9)]  # rounding near double roots
    if len(kept) != 1:
        raise UnsupportedNode(
            f"eliminate: {quantity} = {c} cannot be solved for {x}: "
            + (f"of {len(roots)} roots {len(kept)} give it back at random states" if roots else "no linear or power relation")
            + "; eliminate another state, or combine conserved quantities first"
        )
    return kept[0]


def _roots(quantity: sp.Expr, x: sp.Symbol, c: sp.Symbol) -> list[sp.Expr]:
    """Candidates of x from  quantity = c."""
    numerator, denominator = sp.fraction(sp.together(quantity))
    relation = sp.expand(numerator - c * denominator)
    if relation.is_polynomial(x):
        p = sp.Poly(relation, x)
        powers = [m for (m,) in p.monoms()]
        if p.degree() == 1:
            return [sp.cancel(-p.coeff_monomial(1) / p.LC())]
        if p.degree() == 2:
            a, b, r = p.all_coeffs()
            half = sp.sqrt(sp.factor_terms(sp.expand(b**2 - 4 * a * r))) if b != 0 else sp.sqrt(sp.cancel(-r / a))
            return [(-b + half) / (2 * a), (-b - half) / (2 * a)] if b != 0 else [half, -half]
        if powers[1:] == [0]:
            return [(-p.coeff_monomial(1) / p.LC()) ** sp.Rational(1, powers[0])]
        return []
    for left, right in ((quantity, c), (sp.expand_log(sp.log(quantity), force=True), sp.log(c))):
        slope = sp.diff(left, x)
        if not slope.has(x):
            return [sp.expand((right - left.xreplace({x: sp.Integer(0)})) / slope)]
        n = sp.cancel(slope * x)  # left = n log x + rest
        if not n.has(x):
            rest = sp.expand(left - n * sp.log(x))
            return [sp.exp(sp.expand((right - rest) / n))] if not rest.has(x) else []
    return []
