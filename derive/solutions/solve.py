"""`closed_form`: solutions of scalar systems, proposed by shape and accepted only after verification.

Order: equations that stand alone are recognised by their powers (affine, single power, Bernoulli and logistic, Riccati, two
powers: implicit), or by a root of a quadratic (`derive.solutions.closed_root`); one matrix as linear up to a common factor
(`derive.solutions.closed_linear`), or if symmetric by the words of a Riccati equation (`derive.solutions.closed_riccati`); two
coupled equations by a conserved quadratic form that splits into lines (`derive.solutions.closed_pair`).
Every proposal is substituted back with 60 digits (`derive.solutions.closed_check`); nothing else is returned.
Imported by users and by numerics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import NoClosedForm, UnsupportedNode
from derive.invariants.search import conserved
from derive.reductions.entries import by_entries
from derive.reductions.scalar import ScalarSystem, powers, to_scalar, value
from derive.solutions import closed_explicit as explicit
from derive.solutions.closed_check import check_explicit, check_implicit
from derive.solutions.closed_explicit import Solved
from derive.solutions.closed_implicit import two_powers
from derive.solutions.closed_linear import linear_flow
from derive.solutions.closed_pair import Pair, solve_pair
from derive.solutions.closed_riccati import matrix_riccati
from derive.solutions.closed_root import root_times_affine
from derive.spec import symbols
from derive.system import ClosedForm, ConservedQuantity, Flow, Reduction, Step, flow_of


def closed_form(system: Flow | Reduction, given: Sequence[ConservedQuantity] = ()) -> ClosedForm:
    """Solution of a scalar (or elementwise) system from known integrable shapes, verified before it is returned.

    Parameters
    ----------
    system : Flow or Reduction
        Of a Reduction the reduced system is solved.
    given : sequence of ConservedQuantity
        Conserved quantities to use; by default `conserved` looks for them when equations are coupled.

    Returns
    -------
    ClosedForm
        ``solution`` in SymPy, ``evaluate(t, initial, params)`` safe against overflow: t of shape (T,), values by name,
        scalars or arrays (r,); the result has shape (T,) or (T, r).

    Raises
    ------
    NoClosedForm
        If no shape fits; the message lists what was tried.
    CheckFailed
        If a proposal does not survive its verification.

    >>> from derive.indices.indexed import Index, arr
    >>> from derive.system import Block
    >>> i = Index("i", "r")
    >>> u, s = arr("u", i), arr("s", i)
    >>> flow = Flow(name="mode", state=(Block(name="u", shape=("r",), indices=(i,)),), rhs={"u": 2 * u * (s - u)})
    >>> closed_form(flow).solution["u"]
    s/(-(-s/u0 + 1)*exp(-2*s*t) + 1)
    >>> closed_form(flow).evaluate([0.0, 1e6], {"u": 1e-9}, {"s": 3.0})["u"].round(12).tolist()
    [1e-09, 3.0]
    """
    flow = by_entries(flow_of("closed_form", system))
    if flow.level == "matrix" and any(b.shape for b in flow.state):
        return linear_flow(flow) or matrix_riccati(flow)
    try:
        scalar = to_scalar(flow)
    except UnsupportedNode as error:
        raise NoClosedForm(f"no closed form of {flow.name}: {error}") from error
    names = [x.name for x in (*scalar.states, *scalar.parameters)]
    starts = tuple(_start(x, names) for x in scalar.states)
    coupled = any(f.has(y) for x, f in zip(scalar.states, scalar.rhs, strict=True) for y in scalar.states if y != x)
    if not coupled:
        return _separate(scalar, starts)
    if len(scalar.states) == 2:
        return _pair(scalar, (starts[0], starts[1]), tuple(given) or conserved(flow))
    raise NoClosedForm(
        f"no closed form of {flow.name}: {len(scalar.states)} coupled equations; reduce them to one or two "
        "(for equal layers: reduce(system, Balanced())), or integrate"
    )


def _start(x: sp.Symbol, taken: list[str]) -> sp.Symbol:
    name = next(n for n in (f"{x.name}0", f"{x.name}_0", f"{x.name}_start", f"{x.name}_start0") if n not in taken)
    return sp.Symbol(name, positive=True) if x.is_positive else sp.Symbol(name, real=True)


def recognise(f: sp.Expr, x: sp.Symbol, x0: sp.Symbol, t: sp.Symbol, name: str) -> Solved:
    """Proposal for x' = f(x) by the powers of x that occur.

    Raises
    ------
    NoClosedForm
        If no shape of the table fits.
    """
    parts = powers(f, x)
    if parts is None and (rooted := root_times_affine(f, x, x0, t)) is not None:
        return rooted
    if parts is None:
        raise NoClosedForm(f"no closed form for {x}' = {f} in {name}: not a sum of powers of {x}; integrate it numerically")
    exponents = list(parts)
    if all(e in (0, 1) for e in exponents):
        return explicit.affine(parts, x0, t)
    if len(exponents) == 1:
        return explicit.single_power(parts[exponents[0]], exponents[0], x0, t)
    if all(e in (0, 1, 2) for e in exponents) and 0 in exponents:
        a, b, c = (parts.get(Fraction(e), sp.Integer(0)) for e in (0, 1, 2))
        return explicit.riccati(a, b, c, x0, t)
    if len(exponents) == 2:
        low, high = exponents
        if 1 in exponents and min(low, high) > 0:
            p = high if low == 1 else low
            return explicit.bernoulli(parts[Fraction(1)], parts[p], p, x0, t)
        if low > 0:
            return two_powers(parts[low], parts[high], low, high - low, x, x0)
    shown = ", ".join(str(e) for e in exponents)
    raise NoClosedForm(
        f"no closed form for {x}' in {name}: it has the powers {shown} of {x}; tried affine, one power, Bernoulli, "
        "Riccati and two positive powers. Integrate it numerically"
    )


def _separate(scalar: ScalarSystem, starts: tuple[sp.Symbol, ...]) -> ClosedForm:
    flow, t = scalar.flow, symbols.t
    solved = [recognise(f, x, x0, t, flow.name) for x, f, x0 in zip(scalar.states, scalar.rhs, starts, strict=True)]
    implicit = [s for s in solved if s.implicit is not None]
    if implicit and len(solved) > 1:
        raise NoClosedForm(
            f"no closed form of {flow.name}: only t(u) is known for one of {len(solved)} states; solve each state alone"
        )

    def evaluate(times: Any, initial: Mapping[Any, Any], params: Mapping[Any, Any]) -> dict[str, Any]:
        at, begin, known = _arguments(scalar, times, initial, params)
        return {
            x.name: np.asarray(s.advance(at, begin[x.name], {k: value(e, known) for k, e in s.coefficients.items()}))
            for x, s in zip(scalar.states, solved, strict=True)
        }

    steps = tuple(
        Step(title=f"{x} is solved as {s.shape}", detail=f"{x}' = {f}")
        for x, f, s in zip(scalar.states, scalar.rhs, solved, strict=True)
    )
    if implicit:
        time = solved[0].implicit
        assert time is not None
        checked = check_implicit(flow.name, scalar.states[0], starts[0], time, scalar.rhs[0], evaluate)
        return _result(scalar, starts, "implicit", {"t": time}, solved[0].domain, steps, checked, evaluate)
    solution = {x: s.explicit for x, s in zip(scalar.states, solved, strict=True) if s.explicit is not None}
    rhs = dict(zip(scalar.states, scalar.rhs, strict=True))
    checked = check_explicit(flow.name, solution, rhs, dict(zip(scalar.states, starts, strict=True)), t, evaluate)
    domain = "; ".join(sorted({s.domain for s in solved}))
    return _result(scalar, starts, "explicit", {x.name: e for x, e in solution.items()}, domain, steps, checked, evaluate)


def _pair(scalar: ScalarSystem, starts: tuple[sp.Symbol, sp.Symbol], known: tuple[ConservedQuantity, ...]) -> ClosedForm:
    flow, t = scalar.flow, symbols.t
    x, y = scalar.states
    for claim in known:
        form = _expression(claim, scalar)
        if form is None:
            continue
        pair = solve_pair((x, y), (scalar.rhs[0], scalar.rhs[1]), form, starts, t)
        if pair is None:
            continue
        evaluate = _pair_evaluate(scalar, starts, pair)
        solution = {x: pair.explicit[0], y: pair.explicit[1]}
        rhs = dict(zip(scalar.states, scalar.rhs, strict=True))
        checked = check_explicit(flow.name, solution, rhs, dict(zip(scalar.states, starts, strict=True)), t, evaluate)
        steps = (
            Step(title="conserved quantity", detail=f"{form} is constant and splits into two lines"),
            Step(title="elimination by an invariant line", detail=pair.equation),
        )
        domain = "expressions: q(0) > 0, start on the positive side of the line; evaluation: every start; up to a blow-up"
        return _result(scalar, starts, "explicit", {v.name: e for v, e in solution.items()}, domain, steps, checked, evaluate)
    found = ", ".join(str(c.expr) for c in known) or "none"
    raise NoClosedForm(
        f"no closed form of {flow.name}: {x} and {y} are coupled, and no conserved quantity (found: {found}) splits into two "
        "lines with a quadratic equation on them. Integrate numerically"
    )


def _pair_evaluate(scalar: ScalarSystem, starts: tuple[sp.Symbol, sp.Symbol], pair: Pair) -> Any:
    x, y = scalar.states

    def evaluate(times: Any, initial: Mapping[Any, Any], params: Mapping[Any, Any]) -> dict[str, Any]:
        at, begin, known = _arguments(scalar, times, initial, params)
        one, two = pair.advance(at, {starts[0].name: begin[x.name], starts[1].name: begin[y.name]}, known)
        return {x.name: one, y.name: two}

    return evaluate


def _expression(claim: ConservedQuantity, scalar: ScalarSystem) -> sp.Expr | None:
    """A conserved scalar of the same flow as a SymPy expression."""
    if claim.rate != 0:
        return None
    first = scalar.flow.state[0]
    probe = Flow(name="claim", state=(first,), rhs={first.name: claim.expr}, symbols=scalar.flow.symbols)
    try:
        return to_scalar(probe).rhs[0]
    except UnsupportedNode:
        return None


def _arguments(
    scalar: ScalarSystem, times: Any, initial: Mapping[Any, Any], params: Mapping[Any, Any]
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Arrays that broadcast: t is (T,), or (T, 1) if any value carries modes."""
    begin, known = _by_name(initial), _by_name(params)
    for where, need, have in (("initial", scalar.states, begin), ("params", scalar.parameters, known)):
        missing = [s.name for s in need if s.name not in have]
        if missing:
            raise KeyError(
                f"{where}: no value for {missing[0]} of {scalar.flow.name}; given: {', '.join(sorted(have)) or 'nothing'}"
            )
    used = {s.name for s in scalar.parameters}
    known = {n: v for n, v in known.items() if n in used}
    at = np.asarray(times, dtype=float)
    if any(v.ndim for v in (*begin.values(), *known.values())):
        at = at[..., None]
    return at, begin, known


def _by_name(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(getattr(k, "name", k)): np.asarray(v, dtype=float) for k, v in values.items()}


def _result(
    scalar: ScalarSystem,
    starts: tuple[sp.Symbol, ...],
    kind: str,
    solution: dict[str, sp.Expr],
    domain: str,
    steps: tuple[Step, ...],
    checked: str,
    evaluate: Any,
) -> ClosedForm:
    return ClosedForm(
        system=scalar.flow,
        kind=kind,
        solution=solution,
        time=symbols.t,
        initial={x.name: x0 for x, x0 in zip(scalar.states, starts, strict=True)},
        domain=domain,
        assumptions=scalar.flow.assumptions,
        steps=(*scalar.flow.steps, *steps, Step(title="verified", detail=checked)),
        checked=checked,
        evaluate=evaluate,
    )
