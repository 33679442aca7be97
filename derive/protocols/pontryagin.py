r"""Optimal controls over a horizon: Pontryagin's conditions of a system, derived symbolically.

    maximise  Phi(y(T)) + int_0^T l(y, u) dt     with   dy/dt = f(y, u),   low <= u <= high
    H = sum_y p_y . f_y + l,     dp/dt = -dH/dy,     p(T) = dPhi/dy,     dH/du = 0  or  u at a bound.

The products and derivatives of both levels are those of `derive.protocols.hamiltonians`. What is derived here are conditions;
`numerics.solve_optimal` finds controls that satisfy them. Controls that look no further than the next moment are those of
`greedy`. Imported by users and by numerics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, UnsupportedNode
from derive.indices.indexed import Node, text
from derive.matrices.poly import text as poly_text
from derive.protocols.hamiltonians import IndexLevel, MatrixLevel
from derive.system import Block, Expression, Flow, Reduction, Step, flow_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimal:
    """Necessary conditions of an optimal control.

    Attributes
    ----------
    system : Flow
    controls : tuple of str
        Parameters of the system that may follow any course in time.
    hamiltonian : Poly or Node
        H, with the costates as symbols.
    costates : mapping state -> name of its costate
    rates : mapping state -> Poly or Node
        ``dp/dt = -dH/dy``, in the shape and with the labels of the state.
    slopes : mapping control -> Poly or Node
        ``dH/du``: zero along an optimal control where it is inside its bounds, pointing outwards at a bound.
    value : mapping control -> Node
        Where ``dH/du = 0`` has one solution in closed form: that u, as an expression of state and costate.
    objective, running : Poly, Node or None
        Phi and l.
    bounds : mapping control -> (low, high)
        Expressions of given symbols, or None where there is no bound.
    horizon : expression or None
        T, if the model has a `Control`.
    field : Flow
        All of it as one system, for numbers: states, costates, and every control with its slope as rate.
    end : Flow or None
        The states with ``dPhi/dy`` as rates: the costates at the horizon.
    check : str
        How far the derivatives are from differences of H.
    """

    system: Flow
    controls: tuple[str, ...]
    hamiltonian: Expression
    costates: Mapping[str, str]
    rates: Mapping[str, Expression]
    slopes: Mapping[str, Expression]
    value: Mapping[str, Node]
    objective: Expression | None
    running: Expression | None
    bounds: Mapping[str, tuple[Any, Any]]
    horizon: Any
    field: Flow
    end: Flow | None
    check: str

    def __str__(self) -> str:
        lines = [f"{self.system.name}: optimal {', '.join(self.controls)}", f"  H = {_shown(self.hamiltonian)}"]
        lines += [f"  d{p}/dt = {_shown(self.rates[y])}" for y, p in self.costates.items()]
        if self.end is not None:
            lines += [f"  {p}(T) = {_shown(self.end.rhs[y])}" for y, p in self.costates.items()]
        lines += [f"  dH/d{u} = {_shown(e)}" for u, e in self.slopes.items()]
        lines += [f"  {u} = {_shown(e)} inside its bounds" for u, e in self.value.items()]
        return "\n".join(lines)


def _shown(e: Expression) -> str:
    shown = text(e) if isinstance(e, Node) else poly_text(e)
    return shown if len(shown) <= 300 else shown[:297] + "..."


def optimal(
    system: Flow | Reduction,
    control: Any = None,
    objective: Any = None,
    *,
    running: Any = None,
    bounds: Mapping[Any, tuple[Any, Any]] | None = None,
) -> Optimal:
    r"""Conditions under which parameters, as functions of time, make an objective as large as possible.

        Phi(y(T)) + int_0^T l(y, u) dt  ->  max

    Parameters
    ----------
    system : Flow or Reduction
        At matrix or at index level.
    control : symbol or sequence of symbols, optional
        Parameters of the system, numbers or arrays: a learning rate, a difficulty, gains. By default those of the model's
        `Control`, with its ``running``, ``bounds`` and horizon.
    objective : expression or name of an observable, optional
        Phi, a number made of states and parameters; names of observables may stand in an expression as symbols. Put a minus
        sign in front of an error.
    running : expression or name of an observable, optional
        l, of states, parameters and controls; a symbol that the system does not know becomes a parameter. For a discount
        give the system a clock, a state with rate 1.
    bounds : mapping control -> (low, high), optional
        Numbers or expressions of given symbols; None for no bound.

    Raises
    ------
    InvalidSpec
        If there is nothing to make large, the control is no parameter, or the objective holds a control.
    UnsupportedNode
        If a right-hand side has no derivative in closed form.
    CheckFailed
        If a derivative disagrees with differences of H.

    Examples
    --------
    >>> from derive import Model, Rate, gradient_flow, scalars
    >>> x, u, r = scalars("x u r")
    >>> flow = gradient_flow(Model(name="line", state=x, given=u, learn=Rate({x: u - x})))
    >>> found = optimal(flow, u, -(x**2) / 2, running=-r * u**2 / 2)
    >>> print(found)
    line: optimal u
      H = p_x*u - p_x*x - 1/2*r*u^2
      dp_x/dt = p_x
      p_x(T) = -x
      dH/du = p_x - r*u
    """
    flow = flow_of("optimal", system)
    names, running, bounds, horizon = _asked(flow, control, objective, running, bounds)
    reader: Any = MatrixLevel(flow) if flow.level == "matrix" else IndexLevel(flow)
    cost = reader.read(running, "running") if running is not None else reader.nothing
    wanted = reader.read(objective, "objective") if objective is not None else None
    if wanted is not None and (held := [u for u in names if u in reader.used(wanted)]):
        raise InvalidSpec(
            f"optimal: the objective holds the control {held[0]}, which has no value at the horizon that counts; write a given "
            "symbol or a number in its place"
        )
    blocks = tuple(reader.labelled(flow.block(u)) for u in names)
    taken = [b.name for b in (*flow.state, *flow.parameters, *reader.names.more)]
    costates = {b.name: _free(f"p_{b.name}", taken) for b in flow.state}
    h = reader.hamiltonian(costates, cost)
    try:
        rates = {b.name: reader.negative(reader.gradient(h, b)) for b in flow.state}
        slopes = {b.name: reader.gradient(h, b) for b in blocks}
    except UnsupportedNode as error:
        raise UnsupportedNode(
            f"optimal: {flow.name} has right-hand sides without a derivative in closed form ({error}); use units whose "
            "averages are elementary (erf2, linear, sign), or try schedules by numbers"
        ) from error
    if idle := [u for u in names if not reader.depends(slopes[u])]:
        raise InvalidSpec(f"optimal: neither {flow.name} nor the objective depends on {idle[0]}; choose another control")
    check = reader.check(h, {**{b.name: (b, reader.negative(rates[b.name])) for b in flow.state},
                             **{b.name: (b, slopes[b.name]) for b in blocks}}, costates)  # fmt: skip
    partners = tuple(_renamed(b, costates[b.name]) for b in flow.state)
    given = tuple(b for b in (*flow.parameters, *reader.names.more) if b.name not in names)
    whole = flow.replace(
        name=f"{flow.name}_conditions",
        state=(*flow.state, *partners, *blocks),
        rhs={**flow.rhs, **{costates[n]: e for n, e in rates.items()}, **slopes},
        parameters=given,
        observables={},
        steps=(*flow.steps, Step(title="conditions of optimality", detail="dp/dt = -dH/dy, dH/du = 0", check=check)),
    )
    end = None
    if wanted is not None:
        gradient = {b.name: reader.gradient(wanted, b) for b in flow.state}
        reader.check(wanted, {b.name: (b, gradient[b.name]) for b in flow.state}, {})
        end = flow.replace(name=f"{flow.name}_end", rhs=gradient, parameters=given, observables={"objective": wanted})
    return Optimal(
        system=flow,
        controls=names,
        hamiltonian=h,
        costates=costates,
        rates=rates,
        slopes=slopes,
        value=reader.values(h, blocks),
        objective=wanted,
        running=None if running is None else cost,
        bounds=bounds,
        horizon=horizon,
        field=whole,
        end=end,
        check=check,
    )


def _asked(flow: Flow, control: Any, objective: Any, running: Any, bounds: Any) -> tuple[tuple[str, ...], Any, Any, Any]:
    """Names of the controls, what is integrated, bounds by name, and the horizon."""
    own, horizon = getattr(flow.source, "control", None), None
    if control is None:
        if own is None:
            raise InvalidSpec(
                f"optimal: {flow.name} comes from no model with a Control; name the control, optimal(flow, eta, ...)"
            )
        control, horizon = own.controls, own.horizon
        running = own.running if running is None else running
        bounds = own.bounds if bounds is None else bounds
    several = control if isinstance(control, Sequence) and not isinstance(control, str) else (control,)
    names = tuple(str(getattr(c, "name", c)) for c in several)
    known = [b.name for b in flow.parameters]
    for n in names:
        if n not in known:
            raise InvalidSpec(f"optimal: {n} is no parameter of {flow.name}; it has {', '.join(known) or 'none'}")
    if not names or (objective is None and running is None):
        raise InvalidSpec("optimal: there is nothing to make large; give a control and an objective=, or running=")
    found = {str(getattr(c, "name", c)): tuple(pair) for c, pair in (bounds or {}).items()}
    for n in found:
        if n not in names:
            raise InvalidSpec(f"optimal: bounds are given for {n}, which is no control; the controls are {', '.join(names)}")
    return names, running, {n: tuple(_bound(n, side) for side in found.get(n, (None, None))) for n in names}, horizon


def _bound(name: str, side: Any) -> Any:
    if side is None or side in (sp.oo, -sp.oo):
        return None
    e = side if isinstance(side, sp.Expr) else sp.Float(side) if isinstance(side, int | float) else None
    if e is None or e.is_real is False:
        raise InvalidSpec(f"optimal: {side!r} is no bound of {name}; write a number, an expression of given symbols, or None")
    return e


def _free(name: str, taken: list[str]) -> str:
    while name in taken:
        name += "_"
    taken.append(name)
    return name


def _renamed(b: Block, name: str) -> Block:
    return Block(
        name=name, shape=b.shape, indices=b.indices, symmetric=b.symmetric, meaning=f"costate of {b.name}", tags=b.tags
    )


__all__ = ["Optimal", "optimal"]
