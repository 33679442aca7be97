"""The flow on a level set of a conserved quantity: what the two eliminations (scalars, words) have in common.

Imported by `derive.flows.elimination` and `derive.flows.elimination_words`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from derive.errors import InvalidSpec
from derive.indices.indexed import Node, arrays, replace
from derive.matrices.calculus import substitute
from derive.matrices.composite import mentions
from derive.matrices.poly import Poly
from derive.reductions.ansatz import name_of
from derive.system import Assumption, Block, ConservedQuantity, Expression, Flow, Reduction, Step

Number = Callable[[Mapping[str, Any]], Any]


def reduced_flow(
    flow: Flow,
    name: str,
    rhs: Mapping[str, Expression],
    observables: Mapping[str, Expression],
    constant: Block,
    used: Collection[str],
    assumption: Assumption,
    step: Step,
) -> Flow:
    """The equations of the other states; the conserved value is their last parameter."""
    return Flow(
        name=f"{flow.name}_without_{name}",
        state=tuple(b for b in flow.state if b.name != name),
        rhs=rhs,
        parameters=(*(b for b in flow.parameters if b.name in used), constant),
        observables=observables,
        functions=flow.functions,
        time=flow.time,
        assumptions=(*flow.assumptions, assumption),
        steps=(*flow.steps, step),
        symbols=flow.symbols,
        source=flow,
    )


def level_set(flow: Flow, reduced: Flow, lift: Mapping[str, Expression], level: Number, solve: Number) -> Reduction:
    """The `Reduction`: ``level`` evaluates the conserved quantity at a full state, ``solve`` the eliminated state."""
    kept = [b.name for b in reduced.state]
    (gone,) = (b.name for b in flow.state if b.name not in kept)
    constant = reduced.parameters[-1].name
    given = [b.name for b in reduced.parameters]

    def parameters_from(values: Mapping[Any, Any]) -> dict[str, Any]:
        named = {name_of(k): v for k, v in values.items()}
        if constant not in named and all(b.name in named for b in flow.state):
            named[constant] = level(named)
        return {n: v for n, v in named.items() if n in given}

    def lift_state(values: Mapping[Any, Any], reduced_state: Mapping[Any, Any], seed: int = 0) -> dict[str, Any]:
        named = {name_of(k): v for k, v in values.items()}
        named |= {n: v for n, v in parameters_from(values).items() if n == constant}
        if constant not in named:
            raise InvalidSpec(f"lift_state: the conserved value {constant} is not known; give it, or the full start, in values")
        state = {name_of(k): v for k, v in reduced_state.items()}
        return {b.name: solve({**named, **state}) if b.name == gone else state[b.name] for b in flow.state}

    def project_state(values: Mapping[Any, Any], full_state: Mapping[Any, Any]) -> dict[str, Any]:
        named = {name_of(k): v for k, v in full_state.items()}
        return {n: named[n] for n in kept}

    return Reduction(
        full=flow,
        system=reduced,
        lift=lift,
        assumptions=reduced.assumptions[-1:],
        steps=reduced.steps[-1:],
        parameters_from=parameters_from,
        lift_state=lift_state,
        project_state=project_state,
    )


def carried(outer: Reduction, invariant: Any) -> Any:
    """A conserved quantity of the full flow on the manifold of a reduction; others are left as they are."""
    e = invariant.expr if isinstance(invariant, ConservedQuantity) else invariant
    old = {b.name for b in outer.full.state}
    lift = {n: p for n, p in outer.lift.items() if n in old}
    if isinstance(e, Poly) and any(mentions(e, n) for n in old):
        words = {n: p for n, p in lift.items() if isinstance(p, Poly)}
        return substitute(e, words)
    if isinstance(e, Node) and old & set(arrays(e)):
        return replace(e, lambda leaf: lift.get(leaf.args[0], leaf))  # type: ignore[arg-type,return-value]
    return e


def after(outer: Reduction, inner: Reduction) -> Reduction:
    """Composition in which the conserved value is computed from a full start, where ``values`` contain one."""
    from derive.reductions.reduction import then

    made = then(outer, inner)

    def known(values: Mapping[Any, Any]) -> dict[str, Any]:
        named = {name_of(k): v for k, v in values.items()}
        if outer.project_state is not None and all(b.name in named for b in outer.full.state):
            named |= outer.project_state(values, {b.name: named[b.name] for b in outer.full.state})
        return named | (outer.parameters_from(values) if outer.parameters_from is not None else {})

    def parameters_from(values: Mapping[Any, Any]) -> dict[str, Any]:
        assert inner.parameters_from is not None
        return inner.parameters_from(known(values))

    def lift_state(values: Mapping[Any, Any], reduced_state: Mapping[Any, Any], seed: int = 0) -> dict[str, Any]:
        assert inner.lift_state is not None
        assert outer.lift_state is not None
        return outer.lift_state(values, inner.lift_state(known(values), reduced_state, seed=seed), seed=seed)

    return Reduction(
        full=made.full,
        system=made.system,
        lift=made.lift,
        data=made.data,
        proof=made.proof,
        assumptions=made.assumptions,
        steps=made.steps,
        parameters_from=parameters_from,
        lift_state=lift_state if outer.lift_state is not None else None,
        project_state=made.project_state,
    )
