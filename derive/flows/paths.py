"""`along`: what is observed of a flow - a loss - along a curve through its state space, as a function of one number.

    W_l(alpha) = A_l + alpha D_l,      D_l = end - start        the straight path, or any curve of the user's

The curve need not be a trajectory. It becomes a system of one number, alpha' = 1, whose observables are those of the flow on
the curve; for a polynomial one, such as the loss of a linear network, `coefficients` gives the coefficient of every power of
alpha as words. Nothing is expanded in entries, so widths do not matter. Imported by users.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import BudgetExceeded, CheckFailed, InvalidSpec, UnsupportedNode
from derive.matrices.composite import atoms, mentions, parameters
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, constant, text, zero
from derive.matrices.words import Key, is_ones
from derive.reductions.ansatz import Manifold
from derive.reductions.manifold import on_manifold
from derive.reductions.reduction import read_manifold
from derive.reductions.tangent import draw_point
from derive.system import Block, Flow, Reduction, Step, flow_of

__all__ = ["along", "coefficients"]

MOST = 5_000  # words of one observable before they are collected: six layers, four seconds
AGREE = 1e-11  # of the sum of sizes of the terms: rounding of up to MOST products of order one


def along(system: Flow | Reduction, curve: Manifold | None = None, *, observables: Sequence[str] = ()) -> Flow:
    """The observables of a matrix flow along a curve.

    Parameters
    ----------
    system : Flow or Reduction
        At matrix level, with observables.
    curve : Manifold, optional
        States as expressions of one coordinate, for instance ``Manifold({W: z*r*v.T}, coordinates=(z,), tags={r: "orth"})``;
        it need not be invariant. By default the straight path  W = W_start + alpha W_step  of all states at once, so alpha = 0
        is the start, and alpha = 1 the end if W_step is the end minus the start.
    observables : sequence of str
        Names of those that are wanted; all if left out.

    Returns
    -------
    Flow
        Its state is the coordinate, which moves at rate 1, so time is the place on the curve; its observables are those of the
        flow, in arrays of the flow and of the curve.

    Raises
    ------
    InvalidSpec
        If the curve has not one number as its coordinate, leaves a state out, or the flow has no observables.
    UnsupportedNode
        If the flow is not at matrix level.
    BudgetExceeded
        If the expansion would have more than 5,000 words.

    Examples
    --------
    >>> import derive
    >>> path = along(derive.gradient_flow(derive.linear_network(depth=3)))
    >>> [b.name for b in path.state], len(coefficients(path, "loss")) - 1
    (['alpha'], 6)
    """
    flow = flow_of("along", system)
    if flow.level != "matrix":
        raise UnsupportedNode(f"along: {flow.name} is no flow of matrices; use the flow of gradient_flow")
    observed = {n: p for n, p in flow.observables.items() if isinstance(p, Poly)}
    for name in observables:
        if name not in observed:
            raise InvalidSpec(f"along: {flow.name} has no observable {name}; it has {', '.join(observed) or 'none'}")
    observed = {n: p for n, p in observed.items() if n in observables} if observables else observed
    if not observed:
        raise InvalidSpec(f"along: {flow.name} has no observables; add observe={{'loss': mean(L)}} to the model")
    made = curve if curve is not None else straight(flow)
    if len(made.coordinates) != 1 or not isinstance(made.coordinates[0], sp.Symbol):
        raise InvalidSpec(
            f"along: a curve has one number as its coordinate, this one has {len(made.coordinates)} coordinates "
            f"({', '.join(map(str, made.coordinates)) or 'none'})"
        )
    proposal = read_manifold(flow, made)
    missing = [b.name for b in flow.state if b.name not in proposal.lift]
    if missing:
        raise InvalidSpec(f"along: the curve says nothing about {missing[0]} of {flow.name}; add {missing[0]}: ... to it")
    for name, p in observed.items():
        _budget(flow, name, p, proposal.lift)
    shown = {n: on_manifold(p, proposal) for n, p in observed.items()}
    z = proposal.coordinates[0]
    own = {b.name for b in flow.parameters}
    letters = {a.name: a for p in shown.values() for a in atoms(p) if not is_ones(a)}
    scalars = sorted({n for p in shown.values() for n in parameters(p)} - {z.name})
    blocks = [b for b in flow.parameters if b.name in letters or b.name in scalars]
    blocks += [Block(name=n, shape=(a.rows, a.cols), tags=a.tags) for n, a in sorted(letters.items()) if n not in own]
    visible = {s for a in letters.values() for s in (a.rows, a.cols)}
    blocks += [Block(name=n) for n in scalars if n not in own and n not in visible]
    step = Step(
        title="observables along a curve",
        detail="; ".join(f"{n} = {text(p)}" for n, p in proposal.lift.items()),
        check=_check(flow, proposal, observed, shown),
    )
    used = {s.name: s for e in (*made.lift.values(), *made.data.values()) for s in sorted(e.free_symbols, key=str)}
    return Flow(
        name=f"{flow.name}_path",
        state=(z,),
        rhs={z.name: constant(1)},
        parameters=tuple(blocks),
        observables=shown,
        functions=flow.functions,
        time=f"{z.name} minus its start",
        assumptions=flow.assumptions,
        steps=(*flow.steps, step),
        symbols={**flow.symbols, **used},
        source=flow,
    )


def straight(flow: Flow) -> Manifold:
    """The straight path  W = W_start + alpha W_step  of every state."""
    taken = [b.name for b in (*flow.state, *flow.parameters)]

    def fresh(wish: str) -> str:
        return next(n for n in (wish, *(f"{wish}{k}" for k in range(1, 99))) if n not in taken)

    alpha = sp.Symbol(fresh("alpha"), real=True)
    lift = {}
    for b in flow.state:
        w = flow.symbols[b.name]
        names = fresh(f"{b.name}_start"), fresh(f"{b.name}_step")
        first, step = (sp.MatrixSymbol(n, *w.shape) if b.shape else sp.Symbol(n, real=True) for n in names)
        lift[w] = first + alpha * step
    return Manifold(lift, coordinates=(alpha,))


def coefficients(path: Flow, observable: str) -> tuple[Poly, ...]:
    """Coefficients of an observable that is a polynomial of the coordinate of a curve, from power 0 on.

    Raises
    ------
    InvalidSpec
        If there is no such observable.
    UnsupportedNode
        If it is no polynomial.

    >>> import derive
    >>> coefficients(along(derive.gradient_flow(derive.linear_network(depth=2))), "loss")[4]
    1/2*tr(Sx*W1_step'*W2_step'*W2_step*W1_step)
    """
    if observable not in path.observables or not isinstance(path.observables[observable], Poly):
        raise InvalidSpec(f"{path.name} has no observable {observable}; it has {', '.join(path.observables) or 'none'}")
    p, z = path.observables[observable], path.state[0].name
    assert isinstance(p, Poly)
    found: dict[int, Poly] = {}
    for key, c in p.items():
        e = dict(key.params).get(z, Fraction(0))
        rest = Key(tuple(x for x in key.params if x[0] != z), key.traces, key.word)
        term = Poly(p.shape, {rest: c})
        if e.denominator != 1 or e < 0 or mentions(term, z):
            raise UnsupportedNode(f"{observable} is no polynomial of {z}: it holds {text(Poly(p.shape, {key: c}))}")
        found[int(e)] = found.get(int(e), zero(p.shape)) + term
    return tuple(found.get(k, zero(p.shape)) for k in range(max(found, default=0) + 1))


def _budget(flow: Flow, name: str, p: Poly, lift: Mapping[str, Poly]) -> None:
    """Refuse an expansion with too many words."""
    sizes = {n: max(1, len(e.terms)) for n, e in lift.items()}
    total = 0
    for key in p.terms:
        count = 1
        for word, e in (*key.traces, (key.word or (), Fraction(1))):
            for x in word:
                count *= sizes.get(x.atom.name, 1) ** max(1, int(abs(e)))
        total += count
    if total > MOST:
        raise BudgetExceeded(
            f"along: {name} of {flow.name} would have {total} words on this curve, more than {MOST}; write each layer with "
            "fewer terms (start + alpha*step has two), or take fewer layers"
        )


def _check(flow: Flow, proposal: Any, observed: Mapping[str, Poly], shown: Mapping[str, Poly]) -> str:
    """The expanded observables against the observables at the states of the curve, at a random point."""
    given = [*proposal.lift.values(), *shown.values(), *proposal.data.values(), *observed.values()]
    point, sizes = draw_point(given, proposal.orthogonal)

    def at(p: Poly, values: Mapping[str, Any]) -> Any:
        return np.asarray(evaluate(p, values, sizes=sizes, functions=flow.functions))

    with np.errstate(all="ignore"):
        full = {**point, **{n: at(p, point) for n, p in {**proposal.data, **proposal.lift}.items()}}
        for name, p in observed.items():
            direct, made = at(p, full), at(shown[name], point)
            scale = sum(float(np.abs(at(Poly(p.shape, {key: c}), full)).max()) for key, c in p.items())
            if not np.abs(direct - made).max() <= AGREE * scale:
                raise CheckFailed(f"{name} along the curve does not agree with {name} of {flow.name} at a random point")
    return f"agrees with the observables at the states of the curve, at a random point, to {AGREE:.0e}"
