"""`change_variables`: the same flow in other coordinates, for instance in the function that a network computes.

New variables are expressions of the states, z = P(W). If every one is a monomial - powers of numbers times at most one matrix -
the inverse is found by solving for the exponents; otherwise it is given. The rates are those of `derive.reductions.manifold`:
the manifold is the whole space, and every equation of the old states is met identically. Imported by users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, UnsupportedNode
from derive.reductions.ansatz import Manifold, name_of
from derive.reductions.reduction import reduce, then
from derive.system import Assumption, Flow, Reduction, flow_of

__all__ = ["change_variables"]


def change_variables(system: Flow | Reduction, new: Mapping[Any, Any], inverse: Mapping[Any, Any] | None = None) -> Reduction:
    """Rewrite a flow in new variables.

    Parameters
    ----------
    system : Flow or Reduction
    new : mapping new symbol -> SymPy expression of the states
        As many as states. Declare a new number positive if roots of it are needed.
    inverse : mapping state -> SymPy expression of the new symbols, optional
        Needed if a new variable is no monomial.

    Raises
    ------
    InvalidSpec
        If the two maps are not inverse to each other, or the exponents of a monomial map are not invertible.
    UnsupportedNode
        If an inverse is needed.

    >>> import sympy as sp
    >>> from derive.matrices.poly import param
    >>> from derive.system import Block
    >>> a, b, p, q = sp.symbols("a b p q", positive=True)
    >>> flow = Flow(name="mode", state=(Block(name="a"), Block(name="b")), rhs={"a": param("b"), "b": param("a")},
    ...             symbols={"a": a, "b": b})
    >>> change_variables(flow, {p: a * b, q: a / b}).system.rhs["p"]
    p/q + p*q
    """
    if isinstance(system, Reduction):
        return then(system, change_variables(system.system, new, inverse))
    system = flow_of("change_variables", system)
    states = {b.name: b for b in system.state}
    signs: tuple[Assumption, ...] = ()
    if inverse is None:
        inverse, signs = _inverted(system, new)
    missing = [n for n in states if n not in {name_of(k) for k in inverse}]
    if missing:
        raise InvalidSpec(
            f"change_variables({system.name}): {missing[0]} is given by no new variable; "
            f"add one, for instance {{{missing[0]}_new: {missing[0]}}}"
        )
    made = reduce(system, Manifold(inverse, coordinates=tuple(new), solve_for=new))
    flow = made.system.replace(
        name=f"{system.name}_in_{'_'.join(name_of(k) for k in new)}", assumptions=(*made.system.assumptions, *signs)
    )
    return Reduction(
        full=made.full,
        system=flow,
        lift=made.lift,
        assumptions=(*made.assumptions, *signs),
        steps=made.steps,
        parameters_from=made.parameters_from,
        lift_state=made.lift_state,
        project_state=made.project_state,
    )


def _inverted(flow: Flow, new: Mapping[Any, Any]) -> tuple[dict[Any, Any], tuple[Assumption, ...]]:
    """The inverse of a monomial map: exponents of the numbers by a linear system, matrices by division."""
    numbers = [b.name for b in flow.state if not b.shape or flow.level == "index"]
    matrices = [b.name for b in flow.state if b.name not in numbers]
    rows: list[tuple[Any, sp.Expr, dict[str, sp.Expr]]] = []
    arrays: dict[str, tuple[Any, sp.Expr, dict[str, sp.Expr]]] = {}
    for z, e in new.items():
        factor, powers, matrix = _monomial(flow, z, e, numbers, matrices)
        if matrix is None:
            rows.append((z, factor, powers))
        else:
            arrays[matrix] = (z, factor, powers)
    used = [n for n in numbers if any(n in powers for _, _, powers in rows)]
    exponents = sp.Matrix(len(rows), len(used), lambda i, j: rows[i][2].get(used[j], 0))
    if exponents.rows != exponents.cols or exponents.det() == 0 or len(used) < len(numbers) or len(arrays) < len(matrices):
        raise InvalidSpec(
            f"change_variables({flow.name}): {len(new)} new variables do not determine the {len(flow.state)} states; "
            "give as many independent ones as there are states"
        )
    turned = exponents.inv()
    out: dict[Any, Any] = {}
    signs = []
    for j, n in enumerate(used):
        out[n] = sp.Mul(*((z / factor) ** turned[j, i] for i, (z, factor, _) in enumerate(rows)))
        if any(not e.is_Integer for e in turned.row(j)):
            signs.append(
                Assumption(text=f"{n} > 0; it is a root of the new variables", remedy=f"keep {n} where it changes its sign")
            )
    for n, (z, factor, powers) in arrays.items():
        scale = factor * sp.Mul(*(out[k] ** e for k, e in powers.items()))
        out[n] = (1 / scale) * z
    return out, tuple(signs)


def _monomial(
    flow: Flow, z: Any, e: Any, numbers: list[str], matrices: list[str]
) -> tuple[sp.Expr, dict[str, sp.Expr], str | None]:
    """Constant factor, exponents of the numbers, and the matrix of a new variable."""
    powers: dict[str, sp.Expr] = {}
    factor: sp.Expr = sp.Integer(1)
    matrix = None
    for part in sp.Mul.make_args(e) if not isinstance(e, sp.MatMul) else e.args:
        names = {name_of(s) for s in part.free_symbols}
        if isinstance(part, sp.MatrixSymbol) and part.name in matrices and matrix is None:
            matrix = part.name
            continue
        for base, n in part.as_powers_dict().items() if not getattr(part, "is_Matrix", False) else ():
            if isinstance(base, sp.Symbol) and base.name in numbers and n.is_Rational:
                powers[base.name] = powers.get(base.name, sp.Integer(0)) + n
                names -= {base.name}
            else:
                factor = factor * base**n
        if names & {*numbers, *matrices} or getattr(part, "is_Matrix", False):
            raise UnsupportedNode(
                f"change_variables({flow.name}): {name_of(z)} = {e} is no monomial of the states (powers of numbers "
                "times at most one matrix); give the inverse too: change_variables(flow, new, inverse={state: expression})"
            )
    return factor, powers, matrix
