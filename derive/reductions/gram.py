"""The flow of one matrix followed through its Gram matrix:  M = Q Q'  if nothing changes under Q -> Q O,  M = Q'Q  under O Q.

The rate of M is written in words, and every Q Q' (or Q'Q) in it, also around a trace, is replaced by M. If Q remains in both
cases, Q matters beyond its Gram matrix, and the reduction is refused.
Imported by `derive.reductions.reduction` and `derive.solutions.closed_riccati`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import NotInvariant, UnsupportedNode
from derive.matrices.calculus import ddt
from derive.matrices.composite import atoms, mentions, parameters
from derive.matrices.poly import Poly, atom, text
from derive.matrices.relations import Relation, related
from derive.matrices.words import Atom, Letter
from derive.reductions.ansatz import Gram, name_of
from derive.reductions.counter_examples import rotated_point
from derive.reductions.riccati_value import square_root
from derive.system import Assumption, Block, Flow, Reduction, Step


def followed(flow: Flow, m: Atom, right: bool) -> Poly:
    """The rate of Q Q' (of Q'Q if ``right``) along a flow of one matrix, with M in the place of every such product."""
    b = flow.state[0]
    q = Atom(b.name, b.shape[0], b.shape[1], b.tags)
    product = atom(q).T * atom(q) if right else atom(q) * atom(q).T
    return related(ddt(product, flow), [_rule(q, m, right)])


def _rule(q: Atom, m: Atom, right: bool) -> Relation:
    return Relation(left=(Letter(q, right), Letter(q, not right)), right=atom(m))


def side_of(system: Flow) -> bool | None:
    """Which Gram matrix of the matrix Q that it was derived from a system moves: False for Q Q', True for Q'Q, else None."""
    flow = system.source
    if not isinstance(flow, Flow) or flow.level != "matrix" or len(flow.state) != 1 or len(flow.state[0].shape) != 2:
        return None
    b, q = system.state[0], flow.state[0]
    if "sym" not in b.tags:
        return None
    m = Atom(b.name, b.shape[0], b.shape[1], b.tags)
    for right, size in ((False, q.shape[0]), (True, q.shape[1])):
        if b.shape == (size, size) and followed(flow, m, right) == system.rhs[b.name]:
            return right
    return None


def reduce_gram(flow: Flow, ansatz: Gram) -> Reduction:
    """The flow of one matrix Q followed through M = Q Q', or M = Q'Q.

    Raises
    ------
    UnsupportedNode
        If the flow has more than one state, or is not at matrix level.
    NotInvariant
        If Q remains in both equations of M.
    """
    if flow.level != "matrix" or len(flow.state) != 1 or len(flow.state[0].shape) != 2:
        raise UnsupportedNode(f"Gram: {flow.name} is no flow of one matrix; reduce it first, for instance with LambdaBalanced")
    b = flow.state[0]
    taken = {x.name for x in (*flow.state, *flow.parameters)} | {
        str(n) for x in (*flow.state, *flow.parameters) for n in x.shape
    }
    name = next(x for x in (ansatz.name, *(f"{ansatz.name}_{k}" for k in range(1, 99))) if x not in taken)
    left_over = []
    for right in (False, True):
        size = b.shape[1] if right else b.shape[0]
        rate = followed(flow, Atom(name, size, size, ("sym",)), right)
        if not mentions(rate, b.name):
            return _reduction(flow, name, rate, right)
        left_over.append(rate)
    off, point = rotated_point(flow, Atom(b.name, b.shape[0], b.shape[1], b.tags))
    point[name] = point[b.name] @ point[b.name].T
    raise NotInvariant(
        f"{flow.name} is not closed in {name} = {b.name}*{b.name}': {text(left_over[0])[:160]} remains; nor in "
        f"{b.name}'*{b.name}: {text(left_over[1])[:160]}; so {b.name} matters beyond its Gram matrix; keep {b.name}",
        leftover=left_over[0],
        point=point,
        size=off,
    )


def _reduction(flow: Flow, name: str, rate: Poly, right: bool) -> Reduction:
    q = flow.state[0].name
    product = f"{q}'*{q}" if right else f"{q}*{q}'"
    assert rate.shape is not None
    step = Step(title="Gram matrix", detail=f"{name} = {product}", check=f"every word of its rate holds {q} only as {product}")
    note = Assumption(
        text=f"below full rank the equation of {name} is unstable against rounding",
        remedy=f"integrate {q}, or evaluate the closed form, which goes through {q}",
    )
    b = flow.state[0]
    rule = _rule(Atom(q, b.shape[0], b.shape[1], b.tags), Atom(name, *rate.shape, ("sym",)), right)
    shown = {n: related(p, [rule]) for n, p in flow.observables.items() if isinstance(p, Poly)}
    shown = {n: p for n, p in shown.items() if not mentions(p, q)}
    used = {a.name for p in (rate, *shown.values()) for a in atoms(p)} | {
        n for p in (rate, *shown.values()) for n in parameters(p)
    }
    system = Flow(
        name=f"{flow.name}_gram",
        state=(Block(name=name, shape=rate.shape, tags=("sym",), meaning=product),),
        rhs={name: rate},
        parameters=tuple(p for p in flow.parameters if p.name in used),
        observables=shown,
        functions=flow.functions,
        time=flow.time,
        assumptions=(*flow.assumptions, note),
        steps=(*flow.steps, step),
        symbols=flow.symbols,
        source=flow,
    )
    kept = [p.name for p in system.parameters]

    def parameters_from(values: Mapping[Any, Any]) -> dict[str, Any]:
        return {name_of(k): v for k, v in values.items() if name_of(k) in kept}

    def lift_state(values: Mapping[Any, Any], reduced_state: Mapping[Any, Any], seed: int = 0) -> dict[str, Any]:
        root = square_root({name_of(k): v for k, v in reduced_state.items()}[name])
        return {q: np.swapaxes(root, -1, -2) if right else root}

    def project_state(values: Mapping[Any, Any], full_state: Mapping[Any, Any]) -> dict[str, Any]:
        full = np.asarray({name_of(k): v for k, v in full_state.items()}[q], dtype=float)
        turned = np.swapaxes(full, -1, -2)
        return {name: turned @ full if right else full @ turned}

    return Reduction(
        full=flow,
        system=system,
        lift={},
        assumptions=(note,),
        steps=(step,),
        parameters_from=parameters_from,
        lift_state=lift_state,
        project_state=project_state,
    )
