r"""`expand_rest`: where a system comes to rest when a small parameter pushes it away from a known fixed point, to first order.

Let the right-hand sides be  small^p (f0(x) + small f1(x) + ...)  with f0(x0) = 0. The rest state moves to  x0 + small x1 + ...,

    J x1 = -f1(x0),   J = df0/dx (x0);         an observable g becomes  g(x0) + small dg/dx (x0) . x1.

For order-parameter equations p = 1 and small is the learning rate: f0 is gradient flow, f1 the noise of the steps. J may have
neutral directions (spare units that share one function in any way); an observable has an answer if its gradient does not see
them, and that is checked, not assumed. All is exact arithmetic in a field with the roots and parameters that occur. Imported by
users and by `numerics.analysis`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import sympy as sp
from sympy import QQ
from sympy.polys.matrices import DomainMatrix
from sympy.polys.polyerrors import CoercionFailed, ExactQuotientFailed

from derive.errors import CheckFailed, InvalidSpec, UnsupportedNode
from derive.fields.calculus import differentiate, powers_of
from derive.indices.indexed import ONE, ZERO, Node, replace
from derive.indices.text import from_sympy, to_sympy
from derive.system import Flow, Reduction, Step, flow_of

LARGEST = 24  # numbers in a system
_NONE, _ONE = Fraction(0), Fraction(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RestExpansion:
    """A rest state and its observables to first order in a small parameter.

    Attributes
    ----------
    system : str
    small : SymPy symbol
    at : mapping name -> SymPy expression
        Rest state at small = 0.
    state : mapping name -> SymPy expression or None
        First-order coefficient of every state; None where a neutral direction leaves it open.
    observables : mapping name -> SymPy expression or None
        Value and first-order term, an expression of ``small``; None if it depends on a neutral direction.
    neutral : int
        Number of neutral directions.
    steps : tuple of Step
    """

    system: str
    small: sp.Symbol
    at: Mapping[str, sp.Expr]
    state: Mapping[str, sp.Expr | None]
    observables: Mapping[str, sp.Expr | None]
    neutral: int
    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.system}: rest state to first order in {self.small}"]
        lines += [
            f"  {n} = {self.at[n]} + " + (f"{self.small}*({e})" if e is not None else f"{self.small}*(open: neutral direction)")
            for n, e in self.state.items()
        ]
        lines += [
            f"  {n} = {e if e is not None else 'open: depends on a neutral direction'}" for n, e in self.observables.items()
        ]
        lines += [f"  {s.title}: {s.detail} [{s.check}]" for s in self.steps]
        return "\n".join(lines)


def expand_rest(system: Flow | Reduction, at: Mapping[Any, Any], *, small: Any) -> RestExpansion:
    r"""Expand a rest state and the observables there around ``small`` = 0.

        J x1 = -f1(x0),    g = g(x0) + small dg/dx (x0) . x1

    Parameters
    ----------
    system : Flow or Reduction
        Of numbers, e.g. of `symmetric`; parameters may stay symbols.
    at : mapping name or symbol -> number or SymPy expression
        Every state at small = 0, and any parameters that have a value.
    small : symbol or name

    Returns
    -------
    RestExpansion

    Raises
    ------
    InvalidSpec
        If a state has no value, or the system does not rest there at small = 0.
    UnsupportedNode
        If the equations are not a series in ``small``, or not smooth at the point.

    Examples
    --------
    A linear committee of K units, trained on noisy labels (Q = R = T = 1 at small rate):

    >>> from derive.library.teacher import teacher_student
    >>> from derive.online.limit import online_limit
    >>> from derive.online.alike_units import Group, symmetric
    >>> flow = online_limit(teacher_student("linear", train="first"))
    >>> one = symmetric(flow, {"u": Group(size=1, families=("K", "M"))})
    >>> point = {"Q_u": 1, "R_u": 1, "T_u": 1, "A_u": 1, "v_u": 1}
    >>> expand_rest(one, point, small="eta").observables["eg"]
    eta*sigma**2/4
    """
    flow = flow_of("expand_rest", system)
    name = str(getattr(small, "name", small))
    values = {str(getattr(k, "name", k)): sp.sympify(v) for k, v in at.items() if not isinstance(v, str)}
    states = [b.name for b in flow.state]
    missing = [n for n in states if n not in values]
    if missing or len(values) < len(at):
        raise InvalidSpec(f"expand_rest: no value for the state {(missing or ['?'])[0]}; add {(missing or ['?'])[0]}: number")
    if any(b.indices for b in flow.state) or flow.level != "index":
        raise UnsupportedNode(f"{flow.name} has arrays as states; restrict it to numbers first, symmetric(flow, groups)")
    if len(states) > LARGEST:
        raise UnsupportedNode(f"{flow.name} has {len(states)} states; at most {LARGEST} are expanded exactly")
    known = {n: from_sympy(v) for n, v in values.items()}
    f0, f1 = _orders(flow, name)

    def here(e: Node, where: str) -> sp.Expr:
        return _at(e, known, flow, where)

    rest = [here(e, n) for e, n in zip(f0, states, strict=True)]
    moving = next((n for n, e in zip(states, rest, strict=True) if not _vanishes(e)), None)
    if moving is not None:
        raise InvalidSpec(
            f"expand_rest: the system does not rest there at {name} = 0: d{moving} is "
            f"{rest[states.index(moving)]}; give a fixed point of the limit"
        )
    matrix = [[here(_slope(e, s), n) for s in states] for e, n in zip(f0, states, strict=True)]
    push = [-here(e, n) for e, n in zip(f1, states, strict=True)]
    observed = {n: powers_of(e, name, f"observable {n}") for n, e in flow.observables.items() if isinstance(e, Node)}
    slopes = {n: [here(_slope(g.get(_NONE, ZERO), s), n) for s in states] for n, g in observed.items()}
    x1, kernel, first = _solve(matrix, push, slopes, flow.name)
    eta = sp.Symbol(name, positive=True)
    out: dict[str, sp.Expr | None] = {}
    for n, g in observed.items():
        slope = first[n]
        change = None if slope is None else slope + here(g.get(_ONE, ZERO), n)
        out[n] = None if change is None else _neat(here(g.get(_NONE, ZERO), n)) + _neat(change) * eta
    return RestExpansion(
        system=flow.name,
        small=eta,
        at={n: values[n] for n in states},
        state={n: None if e is None else _neat(e) for n, e in zip(states, x1, strict=True)},
        observables=out,
        neutral=len(kernel),
        steps=(
            Step(
                title=f"first order in {name}",
                detail=f"J x1 = -f1 with {len(states)} numbers, {len(kernel)} neutral directions",
                check="substituted: J x1 + f1 = 0 exactly; observables do not see the neutral directions",
            ),
        ),
    )


def _orders(flow: Flow, name: str) -> tuple[list[Node], list[Node]]:
    """f0 and f1 of the right-hand sides, over their common lowest power of the small parameter."""
    parts = []
    for b in flow.state:
        node = flow.rhs[b.name]
        assert isinstance(node, Node)
        parts.append(powers_of(node, name, f"d{b.name}"))
    low = min((p for part in parts for p in part), default=_NONE)
    between = [p for part in parts for p in part if low < p < low + 1]
    if between:
        raise UnsupportedNode(
            f"{flow.name}: the equations hold {name}^({low}) and {name}^({between[0]}), so the rest state is no "
            f"power series in {name}; use its root as the small parameter"
        )
    return [part.get(low, ZERO) for part in parts], [part.get(low + 1, ZERO) for part in parts]


def _slope(e: Node, state: str) -> Node:
    return differentiate(e, lambda a: ONE if a.args[0] == state else ZERO)


def _at(e: Node, known: Mapping[str, Node], flow: Flow, where: str) -> sp.Expr:
    """Value with numbers put in, expanded."""
    try:
        value = sp.expand(to_sympy(replace(e, lambda a: known.get(a.args[0], a)), flow.symbols))
    except ZeroDivisionError:
        value = sp.nan
    if value.has(sp.nan, sp.zoo, sp.oo, -sp.oo):
        raise UnsupportedNode(f"{flow.name}: the equation of {where} is not smooth at this point; choose another point")
    return value


def _vanishes(e: Any) -> bool:
    e = sp.expand(sp.sympify(e))
    return bool(e == 0 or sp.cancel(sp.together(sp.radsimp(e))) == 0)


def _neat(e: Any) -> sp.Expr:
    """Factored, unless it is a quotient of polynomials with roots, where that may take long."""
    e = sp.sympify(e)
    return sp.factor(sp.expand(e)) if sp.denom(e).is_number else e


def _solve(
    matrix: list[list[sp.Expr]], push: list[sp.Expr], wanted: Mapping[str, list[sp.Expr]], where: str
) -> tuple[list[sp.Expr | None], list[list[bool]], dict[str, sp.Expr | None]]:
    """One solution of a linear system (None where it is not unique), the support of its kernel, and ``wanted`` . solution.

    Fraction-free elimination over polynomials in the symbols, with coefficients in the field of the roots that occur.
    """
    n = len(push)
    whole = [[*row, p] for row, p in zip(matrix, push, strict=True)]
    ring, rows = _polynomials([*whole, *([*w, sp.Integer(0)] for w in wanted.values())], where)
    reduced, den, pivots = DomainMatrix(rows[:n], (n, n + 1), ring).rref_den(method="FF")
    if n in pivots:
        raise InvalidSpec(
            f"{where}: the push has a part along a direction that nothing restores, so no rest state is near; the point is not "
            "the limit of rest states"
        )
    table = reduced.to_list()
    x1 = [ring.zero] * n
    for row, p in zip(table, pivots, strict=False):
        x1[p] = row[n]
    kernel = []
    for f in (f for f in range(n) if f not in pivots):
        k = [ring.zero] * n
        k[f] = den
        for row, p in zip(table, pivots, strict=False):
            k[p] = -row[f]
        kernel.append(k)
    for row in rows[:n]:  # the solution and the kernel, substituted
        for vector, right in ((x1, row[n] * den), *((k, ring.zero) for k in kernel)):
            if sum((a * b for a, b in zip(row[:n], vector, strict=True)), ring.zero) != right:
                raise CheckFailed(f"{where}: the first-order rest state does not satisfy its equation; please report it")
    found: dict[str, sp.Expr | None] = {}
    for name, row in zip(wanted, rows[n:], strict=True):
        seen = any(sum((a * b for a, b in zip(row, k, strict=False)), ring.zero) != ring.zero for k in kernel)
        top = sum((a * b for a, b in zip(row, x1, strict=False)), ring.zero)
        found[name] = None if seen else _quotient(top, den, ring) / _LEVEL
    open_ = [[v != ring.zero for v in k] for k in kernel]
    state = [None if any(k[i] for k in open_) else _quotient(e, den, ring) for i, e in enumerate(x1)]
    return state, open_, found


_LEVEL = sp.pi  # wanted rows are multiplied by it, like all others


def _polynomials(rows: list[list[sp.Expr]], where: str) -> tuple[Any, list[list[Any]]]:
    """The entries, times pi, as elements of one polynomial ring."""
    rows = [[sp.expand(_LEVEL * e) for e in row] for row in rows]
    swapped = [[e.subs(sp.pi, _CIRCLE) for e in row] for row in rows]
    powers = [a for row in swapped for e in row for a in e.atoms(sp.Pow)]
    if any(a.has(_CIRCLE) and a.exp.is_negative for a in powers):
        shift = max(-a.exp for a in powers if a.base == _CIRCLE and a.exp.is_negative)
        raise UnsupportedNode(
            f"{where}: the linear system holds pi^(-{shift + 1}); only 1/pi and polynomials in pi are treated"
        )
    roots = sorted({a for a in powers if a.is_number}, key=sp.default_sort_key)
    names = sorted({a for row in swapped for e in row for a in e.free_symbols}, key=str)
    field = QQ.algebraic_field(*roots) if roots else QQ
    ring = field[tuple(names)] if names else field
    try:
        return ring, [[ring.from_sympy(e) for e in row] for row in swapped]
    except CoercionFailed as error:
        raise UnsupportedNode(f"{where}: a coefficient at this point is no polynomial in the parameters ({error})") from error


_CIRCLE = sp.Symbol("pi__", positive=True)


def _quotient(top: Any, den: Any, ring: Any) -> sp.Expr:
    """top / den, by exact division where the denominator divides."""
    if top == ring.zero:
        return sp.Integer(0)
    try:
        value = ring.to_sympy(ring.exquo(top, den))
    except ExactQuotientFailed:
        value = ring.to_sympy(top) / ring.to_sympy(den)
    return sp.expand(value).subs(_CIRCLE, sp.pi) if value.is_polynomial() else value.subs(_CIRCLE, sp.pi)


__all__ = ["RestExpansion", "expand_rest"]
