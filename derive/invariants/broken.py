r"""`broken_invariants`: what a flow would conserve without some of its terms, and at which rate these terms change it.

With the parameters lam set to zero the flow has constants Q (`conserved`); along the whole flow

    dQ/dt = R(lam, state),        R = 0 at lam = 0,

an exact balance law: a penalty lam |g|_1 on gates, for instance, turns  w o w - g o g = const  into
d(w o w - g o g)/dt = 2 lam |g|. Imported by users and tests.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from derive.errors import InvalidSpec, UnsupportedNode
from derive.invariants.search import conserved
from derive.matrices.calculus import ddt, substitute
from derive.matrices.composite import parameters
from derive.matrices.poly import Poly, constant, text
from derive.reductions.ansatz import name_of
from derive.system import ConservedQuantity, Flow, flow_of


@dataclass(frozen=True, slots=True, kw_only=True)
class BalanceLaw:
    """d expr / dt = rate, exactly; ``invariant`` is what the flow conserves when the parameters ``without`` are zero."""

    expr: Poly
    rate: Poly
    without: tuple[str, ...]
    invariant: ConservedQuantity

    def __str__(self) -> str:
        return f"d/dt [{text(self.expr)}] = {text(self.rate)}"


def broken_invariants(flow: Flow, without: Any) -> tuple[BalanceLaw, ...]:
    """Balance laws of a flow: its constants at ``without`` = 0, and their rates in the whole flow.

    Parameters
    ----------
    flow : Flow
        At matrix level.
    without : scalar parameter, or an iterable of them

    Raises
    ------
    InvalidSpec
        If a name is no scalar parameter of the flow.
    UnsupportedNode
        If the flow is not at matrix level, or has no value at zero.

    >>> from derive.matrices.poly import param
    >>> from derive.system import Block
    >>> a, b, k = param("a"), param("b"), param("k")
    >>> flow = Flow(name="decay", state=(Block(name="a"), Block(name="b")), parameters=(Block(name="k"),),
    ...             rhs={"a": b - k * a, "b": a - k * b})
    >>> print(*broken_invariants(flow, "k"))
    d/dt [a^2 - b^2] = 2*b^2*k - 2*a^2*k
    """
    flow = flow_of("broken_invariants", flow)
    if flow.level != "matrix":
        raise UnsupportedNode(f"{flow.name} is no system of matrices; pass the flow of gradient_flow(model)")
    given = without if isinstance(without, Iterable) and not isinstance(without, str) else (without,)
    names = tuple(name_of(s) for s in given)
    scalars = {b.name for b in flow.parameters if not b.shape}
    for n in names:
        if n not in scalars:
            raise InvalidSpec(f"{n} is no scalar parameter of {flow.name}; choose among {', '.join(sorted(scalars)) or 'none'}")
    bare = flow.replace(
        name=f"{flow.name}_without_{'_'.join(names)}", rhs={n: _without(p, names, flow.name) for n, p in flow.rhs.items()}
    )
    found = [c for c in conserved(bare) if isinstance(c.expr, Poly)]
    return tuple(BalanceLaw(expr=c.expr, rate=ddt(c.expr, flow), without=names, invariant=c) for c in found)  # type: ignore[arg-type]


def _without(p: Any, names: tuple[str, ...], what: str) -> Poly:
    if any(n in names and e < 0 for key in p.terms for n, e in key.params):
        raise UnsupportedNode(f"{what} divides by {' or '.join(names)}; name parameters that multiply a term")
    made = substitute(p, {n: constant(0) for n in names if n in parameters(p)})
    return made
