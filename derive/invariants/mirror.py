r"""`mirror_invariants`: what a flow with an elementwise metric cannot change along directions that its data do not see.

Let a state move by  dW/dt = m(W) o G,  m a function of each entry of W by itself, every word of G ending in a given array:

    G = ( ... ) X_1 + ( ... ) X_2 + ...,          psi'(z) = 1 / m(z),

so  d psi(W)/dt = G  (a mirror flow, psi its dual variable), and  psi(W) N  is constant for every N with X_1 N = X_2 N = 0.
Words that begin with given arrays give  N' psi(W)  in the same way. With m = 1 these are the weights outside the span of the
inputs of any network. The metric is found as the elementwise factors that all words of the rate share; psi is that of
`derive.invariants.dual_variable`.
Imported by users and tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import CheckFailed, UnsupportedNode
from derive.invariants.dual_variable import ENTRY, as_function, dual_variable, equal, exceptions
from derive.matrices.composite import elem, hadamard
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom, monomial, text, zero
from derive.matrices.word_space import state_poly
from derive.matrices.words import Atom, Elem, Had, Key, Letter, Word
from derive.spec.elementwise import body_of
from derive.spec.raising import to_sympy
from derive.spec.shapes import size_of
from derive.spec.tree import names as tree_names
from derive.system import Assumption, Block, ConservedQuantity, Flow, Function, flow_of


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorInvariant:
    """One family of constants of a flow:  psi(W) N  (or  N' psi(W))  for every N that the arrays in ``unseen`` send to zero.

    Attributes
    ----------
    state : str
        W.
    dual : Function or None
        psi; None if the metric is one, psi(z) = z.
    potential : SymPy expression
        psi at z > 0.
    metric : Poly or None
    drive : Poly
        m(W), None if it is one, and G of  dW/dt = m(W) o G.
    unseen : tuple of Poly
        The given arrays X with  X N = 0,  in the order in which they stand in the rate.
    side : "right" or "left"
        Where N stands.
    quantity : ConservedQuantity
        In words, N a new array.
    """

    state: str
    dual: Function | None
    potential: sp.Expr
    metric: Poly | None
    drive: Poly
    unseen: tuple[Poly, ...]
    side: str
    quantity: ConservedQuantity

    def directions(self, values: Mapping[str, Any]) -> Any:
        """Orthonormal columns that span all N at given arrays, shape (n, number of null directions)."""
        stacked = np.vstack([np.asarray(evaluate(p, values), dtype=float) for p in self.unseen])
        _, size, rows = np.linalg.svd(stacked)
        rank = int((size > 1e-10 * max(size.max(initial=0.0), 1e-300)).sum())
        return rows[rank:].T

    def value(self, values: Mapping[str, Any], state: Any) -> Any:
        """psi(W) along every null direction, at given arrays (scalar parameters among them) and one state."""
        w = np.asarray(state, dtype=float)
        if self.dual is not None:
            w = np.asarray(evaluate(_psi(self.dual), {**values, "W": w}, functions={self.dual.name: self.dual}))
        n = self.directions(values)
        return w @ n if self.side == "right" else n.T @ w

    def __str__(self) -> str:
        where = " and ".join(f"{text(p)}*N = 0" for p in self.unseen)
        dual = "" if self.dual is None else f", {self.dual.name}(z) = {self.potential} for z > 0"
        assert isinstance(self.quantity.expr, Poly)
        return f"{text(self.quantity.expr)} = const for every N with {where}{dual}"


def mirror_invariants(flow: Flow) -> tuple[MirrorInvariant, ...]:
    """Constants of a flow along directions that its given arrays do not see.

    Parameters
    ----------
    flow : Flow
        At matrix level.

    Returns
    -------
    tuple of MirrorInvariant
        For each state in turn, N on the right before N on the left; none where the data see every direction by their shape.

    Raises
    ------
    UnsupportedNode
        If the flow is not at matrix level, or 1/m has no integral that can be found.
    CheckFailed
        If a result does not pass its numerical check.

    >>> from derive import Model, Rate, fn, dims, grad, matrix, norm2, scalars, vector
    >>> d, P = dims("d P")
    >>> phi, X, Y, L = vector("phi", d), matrix("X", P, d), vector("Y", P), scalars("L")
    >>> from derive.flows.flow import gradient_flow
    >>> model = Model(name="exp", state=phi, given=(X, Y), let={L: norm2(Y - X * fn.exp(phi)) / 2},
    ...               learn=Rate({phi: -grad(L, phi)}))
    >>> print(*mirror_invariants(gradient_flow(model)))
    N'*psi_phi(phi) = const for every N with X*N = 0, psi_phi(z) = -exp(-z) for z > 0
    """
    flow = flow_of("mirror_invariants", flow)
    if flow.level != "matrix":
        raise UnsupportedNode(f"{flow.name} is no system of matrices; pass the flow of gradient_flow(model)")
    given = {b.name for b in flow.parameters if b.shape}
    out = []
    for block in flow.state:
        rhs = flow.rhs[block.name]
        if not block.shape or not isinstance(rhs, Poly) or not rhs.terms:
            continue
        metric, drive = _split(rhs, block)
        for side in ("right", "left"):
            unseen = _ends(drive, given, side)
            if unseen:
                found = _invariant(flow, block, metric, drive, unseen, side)
                _check(flow, found)
                out.append(found)
    return tuple(out)


# The metric -----------------------------------------------------------------------------------------------------------------


def _split(rhs: Poly, block: Block) -> tuple[Poly | None, Poly]:
    """Metric (None: one) and drive of a rate: the elementwise functions of the state that are a factor of every word."""
    rows = [(k, c, _factors(k.word or ())) for k, c in rhs.items()]
    shared: list[Poly] = []
    for f in rows[0][2]:
        if _own(f, block.name) and all(o.count(f) > shared.count(f) for _, _, o in rows):
            shared.append(f)
    if not shared:
        return None, rhs
    drive = zero(rhs.shape)
    for key, c, factors in rows:
        rest = list(factors)
        for f in shared:
            rest.remove(f)
        if not rest:
            return None, rhs
        drive = drive + monomial(None, Key(key.params, key.traces, None), c) * hadamard(*rest)
    return hadamard(*shared) if len(shared) > 1 else shared[0], drive


def _factors(word: Word) -> list[Poly]:
    """Elementwise factors of a word."""
    comp = word[0].atom.comp if len(word) == 1 else None
    if isinstance(comp, Had):
        return [f.T for f in comp.factors] if word[0].t else list(comp.factors)
    return [monomial((word[0].rows, word[-1].cols), Key((), (), word), Fraction(1))] if word else []


def _own(p: Poly, state: str) -> bool:
    """Is this one letter, the state itself or a function of its entries?"""
    if len(p.terms) != 1:
        return False
    word = next(iter(p.terms)).word or ()
    if len(word) != 1 or word[0].t:
        return False
    comp = word[0].atom.comp
    if comp is None:
        return word[0].atom.name == state
    return isinstance(comp, Elem) and comp.argument.shape is not None and _own(comp.argument, state)


def _scalar(p: Poly, state: str, at: sp.Expr, flow: Flow) -> sp.Expr:
    """A product of functions of the entries of the state, as a function of one number."""
    total = sp.Integer(0)
    table = {n: s for n, s in flow.symbols.items() if not isinstance(s, sp.MatrixSymbol)}
    for key, c in p.items():
        out: sp.Expr = sp.Rational(c.numerator, c.denominator)
        for f in _factors(key.word or ()):
            comp = next(iter(f.terms)).word[0].atom.comp  # type: ignore[index]
            if not isinstance(comp, Elem):
                out = out * at
                continue
            variable, body = body_of(comp.function, comp.order, flow.functions)
            symbol = sp.Symbol(variable, real=True)
            raised = to_sympy(body, {**table, variable: symbol}, flow.functions)  # type: ignore[arg-type]
            out = out * _plain(raised).subs(symbol, _scalar(comp.argument, state, at, flow))
        total = total + out
    return total


def _plain(e: Any) -> sp.Expr:
    """Applied functions replaced by their bodies."""
    return e.replace(lambda x: type(x).__name__ == "Apply", lambda x: x.args[0].body.subs(x.args[0].variable, x.args[1]))


# The dual variable ----------------------------------------------------------------------------------------------------------


def _invariant(
    flow: Flow, block: Block, metric: Poly | None, drive: Poly, unseen: tuple[Poly, ...], side: str
) -> MirrorInvariant:
    assumptions: list[Assumption] = []
    dual, potential = None, ENTRY
    w = state_poly(block)
    if metric is not None:
        slope = _scalar(metric, block.name, ENTRY, flow)
        potential = dual_variable(slope, f"{flow.name}, {block.name}")
        assumptions += exceptions(potential)
        even = equal(slope, _scalar(metric, block.name, -ENTRY, flow))
        dual = as_function(f"psi_{block.name}", potential, even)
        remedy = "integrate the flow itself; psi is singular where the metric vanishes"
        side_text = "no entry of {0} changes its sign" if even else "every entry of {0} stays positive"
        if not even or potential.subs(ENTRY, 0).is_finite is not True or slope.subs(ENTRY, 0).is_zero is not False:
            assumptions.append(Assumption(text=side_text.format(block.name), remedy=remedy))
        w = elem(dual.name, w)
    size = unseen[0].shape[1]  # type: ignore[index]
    n = atom(Atom("N", size, "r"))
    expr = w * n if side == "right" else n.T * w
    return MirrorInvariant(
        state=block.name,
        dual=dual,
        potential=potential,
        metric=metric,
        drive=drive,
        unseen=unseen,
        side=side,
        quantity=ConservedQuantity(expr=expr, assumptions=tuple(assumptions), label=f"{block.name} along null directions"),
    )


def _psi(dual: Function) -> Poly:
    return elem(dual.name, atom(Atom("W", "rows", "cols")))


# Null directions ------------------------------------------------------------------------------------------------------------


def _ends(drive: Poly, given: set[str], side: str) -> tuple[Poly, ...]:
    """The given arrays X with which every word ends (right) or begins (left; then X' is listed); empty if a word does not."""
    found: list[Letter] = []
    for key, _ in drive.items():
        word = key.word or ()
        if not word:
            return ()
        x = word[-1] if side == "right" else word[0].flip()
        if x.atom.comp is not None or x.atom.name not in given or x.cols == 1:
            return ()
        if x not in found:
            found.append(x)
    return tuple(atom(x.atom).T if x.t else atom(x.atom) for x in found)


def _check(flow: Flow, m: MirrorInvariant) -> None:
    """Along the field at a random point with data that have a null direction, d psi(W)/dt N = 0."""
    rng = np.random.default_rng(5)
    names = list(dict.fromkeys(n for b in (*flow.state, *flow.parameters) for size in b.shape for n in tree_names(size)))
    sizes = {n: 3 + i % 2 for i, n in enumerate(names)}

    def extent(size: Any) -> int:
        found = size_of(size, sizes)
        assert found is not None  # every name of a size is in the table
        return found

    width = extent(m.unseen[0].shape[1])  # type: ignore[index]
    n = np.linalg.qr(rng.normal(size=(width, 1)))[0]
    values: dict[str, Any] = {}
    for b in (*flow.parameters, *flow.state):
        drawn = rng.uniform(0.5, 1.5, size=tuple(extent(s) for s in b.shape))
        values[b.name] = drawn + drawn.T if "sym" in b.tags else drawn
    values |= {s: float(v) for s, v in sizes.items() if s not in values}
    blind = np.eye(width) - n @ n.T
    for p in m.unseen:
        (x,) = next(iter(p.terms)).word  # type: ignore[misc]
        a = values[x.atom.name]
        values[x.atom.name] = blind @ a @ blind if x.atom.symmetric else blind @ a if x.t else a @ blind
    rate = np.asarray(evaluate(flow.rhs[m.state], values, functions=flow.functions, sizes=sizes))  # type: ignore[arg-type]
    if m.metric is not None:
        rate = rate / np.asarray(evaluate(m.metric, values, functions=flow.functions, sizes=sizes))
    left = rate @ n if m.side == "right" else n.T @ rate
    if np.abs(left).max() > 1e-10 * np.abs(rate).max():  # rounding of products of numbers of order one
        raise CheckFailed(f"{flow.name}: {m} was found, but its rate does not vanish at a random point")
