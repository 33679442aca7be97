"""`reduce`: one verb for all reductions, always through the invariance check.

A reduction is a manifold that the flow does not leave, with the reduced equations on it. The ansatz is data
(`derive.reductions.ansatz`); the proof is `derive.reductions.manifold` for words and `derive.reductions.balanced` for
elementwise scalars. Imported by users and by numerics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec
from derive.matrices.composite import atoms, mentions, parameters
from derive.matrices.convert import to_poly
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, atom
from derive.matrices.words import Atom, is_ones
from derive.reductions.aligned import reduce_modes
from derive.reductions.ansatz import Balanced, Gram, LambdaBalanced, Manifold, Modes, name_of
from derive.reductions.balanced import reduce_balanced, reduce_lambda_balanced, reduce_manifold
from derive.reductions.gram import reduce_gram
from derive.reductions.manifold import Proposal, on_manifold, prove, without_zeros
from derive.reductions.riccati import reduce_riccati
from derive.spec.lower import Collector
from derive.system import Block, Flow, Reduction, Step

Ansatz = Modes | Balanced | LambdaBalanced | Gram | Manifold


def reduce(system: Flow | Reduction, ansatz: Ansatz | Sequence[Ansatz]) -> Reduction:
    """Reduce a flow to a manifold, and prove that the flow stays on it.

    Parameters
    ----------
    system : Flow or Reduction
        A Reduction is reduced further, and the result reaches back to its full flow.
    ansatz : Modes, Balanced, LambdaBalanced, Gram, Manifold, or a sequence of them
        Applied one after the other.

    Raises
    ------
    NotInvariant
        If the flow leaves the manifold; carries the leftover term, a point and the size of the normal component there.
    InvalidSpec, UnsupportedNode
        If the ansatz does not fit the flow.

    >>> import derive
    >>> flow = derive.gradient_flow(derive.linear_network(depth=3))
    >>> reduce(flow, (Modes(), Balanced())).system.rhs["u"]
    3*tau^(-1)*u[i]^(4/3)*(s[i] - d[i]*u[i])
    """
    if isinstance(system, Reduction):
        return then(system, reduce(system.system, ansatz))
    if isinstance(ansatz, Ansatz):
        return _one(system, ansatz)
    if not isinstance(ansatz, Sequence) or isinstance(ansatz, str) or not ansatz:
        raise InvalidSpec(
            f"reduce: {str(ansatz)[:60]!r} is no ansatz; use Modes(...), Balanced(), LambdaBalanced(lam), Gram(), "
            "Manifold(...), or a tuple of them"
        )
    made = reduce(system, ansatz[0])
    for more in ansatz[1:]:
        made = then(made, reduce(made.system, more))
    return made


def _one(flow: Flow, ansatz: Ansatz) -> Reduction:
    if isinstance(ansatz, Modes):
        return reduce_modes(flow, ansatz)
    if isinstance(ansatz, Balanced):
        return reduce_balanced(flow, ansatz)
    if isinstance(ansatz, LambdaBalanced):
        return reduce_riccati(flow, ansatz) if flow.level == "matrix" else reduce_lambda_balanced(flow, ansatz)
    if isinstance(ansatz, Gram):
        return reduce_gram(flow, ansatz)
    return _reduce_words(flow, ansatz) if flow.level == "matrix" else reduce_manifold(flow, ansatz)


def then(outer: Reduction, inner: Reduction) -> Reduction:
    """Composition: ``outer`` reduces the full flow, ``inner`` reduces ``outer.system``."""
    from_outer, lift_outer, project_outer = outer.parameters_from, outer.lift_state, outer.project_state
    from_inner, lift_inner, project_inner = inner.parameters_from, inner.lift_state, inner.project_state

    def parameters_from(values: Mapping[Any, Any]) -> dict[str, Any]:
        assert from_outer is not None
        assert from_inner is not None
        return from_inner({**_named(values), **from_outer(values)})

    def lift_state(values: Mapping[Any, Any], reduced_state: Mapping[Any, Any], seed: int = 0) -> dict[str, Any]:
        assert from_outer is not None
        assert lift_outer is not None
        assert lift_inner is not None
        middle = lift_inner({**_named(values), **from_outer(values)}, reduced_state, seed=seed)
        return lift_outer(values, middle, seed=seed)

    def project_state(values: Mapping[Any, Any], full_state: Mapping[Any, Any]) -> dict[str, Any]:
        assert from_outer is not None
        assert project_outer is not None
        assert project_inner is not None
        return project_inner({**_named(values), **from_outer(values)}, project_outer(values, full_state))

    def constrain(values: Mapping[Any, Any], reduced_state: Mapping[Any, Any]) -> dict[str, Any]:
        assert from_outer is not None
        known = {**_named(values), **from_outer(values)}
        made = dict(reduced_state) if inner.constrain is None else inner.constrain(known, reduced_state)
        if outer.constrain is None:
            return made
        assert lift_inner is not None
        assert project_inner is not None
        return project_inner(known, outer.constrain(values, lift_inner(known, made)))

    return Reduction(
        full=outer.full,
        system=inner.system,
        lift={**outer.lift, **inner.lift},
        data={**outer.data, **inner.data},
        proof=outer.proof if outer.proof != "proved" else inner.proof,
        assumptions=(*outer.assumptions, *inner.assumptions),
        steps=(*outer.steps, *inner.steps),
        parameters_from=parameters_from if from_outer and from_inner else None,
        lift_state=lift_state if lift_outer and lift_inner and from_outer else None,
        project_state=project_state if project_outer and project_inner and from_outer else None,
        constrain=constrain if from_outer and (outer.constrain or inner.constrain) else None,
    )


def _named(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {name_of(k): v for k, v in values.items()}


# The user's manifold of a matrix flow ---------------------------------------------------------------------------------------


def _reduce_words(flow: Flow, ansatz: Manifold) -> Reduction:
    proposal = read_manifold(flow, ansatz)
    rates = prove(flow, proposal)
    observables = {n: on_manifold(p, proposal) for n, p in flow.observables.items() if isinstance(p, Poly)}
    own = {z.name for z in proposal.coordinates}
    exprs = [*rates.values(), *observables.values()]
    letters = {a.name: a for p in exprs for a in atoms(p) if a.name not in own and not is_ones(a)}
    scalars = sorted({n for p in exprs for n in parameters(p)} - own)
    known = {b.name: b for b in flow.parameters}
    blocks = [
        known.get(n) or Block(name=n, shape=(letters[n].rows, letters[n].cols), tags=letters[n].tags) for n in sorted(letters)
    ]
    blocks += [known.get(n) or Block(name=n) for n in scalars]
    step = Step(
        title="manifold of the user's",
        detail="; ".join(f"{k} = {v}" for k, v in proposal.lift.items()),
        check="rates by projection or division; every equation is met word by word",
    )
    system = Flow(
        name=f"{flow.name}_reduced",
        state=proposal.coordinates,
        rhs={z.name: rates[z.name] for z in proposal.coordinates},
        parameters=tuple(blocks),
        observables=observables,
        functions=flow.functions,
        time=flow.time,
        assumptions=flow.assumptions,
        steps=(*flow.steps, step),
        symbols={**flow.symbols, **_symbols(ansatz)},
        source=flow,
    )
    kept = [b.name for b in blocks]

    def parameters_from(values: Mapping[Any, Any]) -> dict[str, Any]:
        return {n: v for n, v in _named(values).items() if n in kept}

    def lift_state(values: Mapping[Any, Any], reduced_state: Mapping[Any, Any], seed: int = 0) -> dict[str, Any]:
        at = {**_named(values), **_named(reduced_state)}
        return {n: evaluate(p, at, functions=flow.functions) for n, p in proposal.lift.items()}

    def project_state(values: Mapping[Any, Any], full_state: Mapping[Any, Any]) -> dict[str, Any]:
        at = {**_named(values), **_named(full_state)}
        return {n: evaluate(p, at, functions=flow.functions) for n, p in proposal.solve_for.items()}

    return Reduction(
        full=flow,
        system=system,
        lift=dict(proposal.lift),
        data=dict(proposal.data),
        steps=(step,),
        parameters_from=parameters_from,
        lift_state=lift_state,
        project_state=project_state if all(z.name in proposal.solve_for for z in proposal.coordinates) else None,
    )


def read_manifold(flow: Flow, ansatz: Manifold) -> Proposal:
    """The user's SymPy expressions as words; symbols of the flow keep their shapes and tags.

    Raises
    ------
    InvalidSpec
        If a state, given array or coordinate is not what it is said to be.
    """
    given = {b.name for b in flow.parameters}
    states = {b.name for b in flow.state}
    for mapping, allowed, word in ((ansatz.lift, states, "state"), (ansatz.data, given, "given array")):
        for key in mapping:
            if name_of(key) not in allowed:
                raise InvalidSpec(
                    f"Manifold: {name_of(key)} is no {word} of {flow.name}; choose among {', '.join(sorted(allowed))}"
                )
    reader = Collector()
    for name in sorted(flow.symbols):
        if name in states | given:
            reader.symbol(flow.symbols[name])
    trees = {}
    for part, mapping in (("lift", ansatz.lift), ("data", ansatz.data), ("solve_for", ansatz.solve_for)):
        for key, e in mapping.items():
            trees[part, name_of(key)] = reader.lower(e, f"Manifold, {part}[{name_of(key)}]")
    for z in ansatz.coordinates:
        reader.symbol(z)
    tags = {b.name: b.tags for b in (*flow.state, *flow.parameters)}
    tags |= {name_of(k): tuple(v.split()) for k, v in ansatz.tags.items()}
    positive = [n for n, s in reader.symbols.items() if getattr(s, "is_positive", False)]
    made = {at: to_poly(tree, reader.shapes, tags=tags, positive=positive) for at, tree in trees.items()}
    coordinates = tuple(Block(name=z.name, shape=reader.shapes[z.name], tags=tags.get(z.name, ())) for z in ansatz.coordinates)
    lift = {n: p for (part, n), p in made.items() if part == "lift"}
    for z in coordinates:
        if z.name in states or z.name in given:
            raise InvalidSpec(f"Manifold: the coordinate {z.name} has the name of a symbol of {flow.name}; choose another name")
        if not any(mentions(p, z.name) for p in lift.values()):
            raise InvalidSpec(f"Manifold: the coordinate {z.name} occurs in no state; drop it from the coordinates")
    for (part, name), p in made.items():  # r'W b has one entry: a way to read off a number
        if part == "solve_for" and p.shape == (1, 1) and reader.shapes.get(name) == ():
            made[part, name] = p.trace()
    data = {n: p for (part, n), p in made.items() if part == "data"}
    for name in sorted(given & {name_of(k) for k in ansatz.tags} - set(data)):  # what is said of an array holds in the flow too
        if shape := reader.shapes.get(name):
            data[name] = atom(Atom(name, shape[0], shape[1], tags[name]))
    pairs = _orthogonal(ansatz, reader)
    return Proposal(
        lift=lift,
        data={n: without_zeros(p, pairs) for n, p in data.items()},
        coordinates=coordinates,
        solve_for={n: p for (part, n), p in made.items() if part == "solve_for"},
        orthogonal=pairs,
    )


def _orthogonal(ansatz: Manifold, reader: Collector) -> tuple[tuple[str, str], ...]:
    """Names of the orthogonal pairs; both arrays must occur."""
    for pair in ansatz.orthogonal:
        for symbol in pair:
            if isinstance(symbol, sp.MatrixSymbol) and symbol.name not in reader.shapes:
                raise InvalidSpec(f"Manifold: {symbol} is named orthogonal, but occurs in no expression; drop it or use it")
    return tuple((a.name, _letter_name(b, reader)) for a, b in ansatz.orthogonal)


def _letter_name(symbol: Any, reader: Collector) -> str:
    """Name of the letter that stands for an array, or for a function of one."""
    if isinstance(symbol, sp.MatrixSymbol):
        return str(symbol.name)
    ((key, _),) = to_poly(reader.lower(symbol, "Manifold, orthogonal"), reader.shapes).items()
    assert key.word is not None
    return key.word[0].atom.name


def _symbols(ansatz: Manifold) -> dict[str, sp.Basic]:
    found: dict[str, sp.Basic] = {}
    for e in (*ansatz.lift.values(), *ansatz.data.values()):
        for s in sorted(e.free_symbols, key=str):
            found[name_of(s)] = s
    return found
