"""Manifolds of elementwise systems of scalars: states as functions of fewer numbers, proved by substitution.

With  x_k = phi_k(z)  and  z = P(x)  the rate is  z' = sum_k dP/dx_k f_k  on the manifold, and every equation
dphi_k/dz z' = f_k(phi)  must hold identically. `Balanced` is the case x_k = u^{1/L}, u = x_1 ... x_L, u > 0.
Imported by `derive.reductions.reduction`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import sympy as sp

from derive.errors import InvalidSpec, NotInvariant, UnsupportedNode
from derive.reductions.ansatz import Balanced, LambdaBalanced, Manifold, name_of
from derive.reductions.scalar import ScalarSystem, to_node, to_scalar, value
from derive.system import Assumption, Block, Flow, Reduction, Step


def reduce_balanced(flow: Flow, ansatz: Balanced) -> Reduction:
    """All factors of a mode equal: one equation for their product u.

    Raises
    ------
    NotInvariant
        If equal factors do not stay equal.
    """
    system = to_scalar(flow)
    depth = len(system.states)
    taken = {b.name for b in (*flow.state, *flow.parameters)}
    name = ansatz.name if ansatz.name not in taken else f"{ansatz.name}_all"
    u = sp.Symbol(name, positive=True)
    lift = {x.name: u ** sp.Rational(1, depth) for x in system.states}
    listed = " = ".join(x.name for x in system.states)
    assumption = Assumption(
        text=f"the start is balanced and positive, {listed} > 0; differences of squares are conserved, so it stays balanced",
        remedy="keep the separate factors (the system before this reduction)",
    )
    title = "balanced factors"
    made = reduce_scalars(flow, lift, (u,), {name: sp.Mul(*system.states)}, title=title, assumptions=(assumption,))
    squares = [sp.expand(2 * (x * f - y * g)) for (x, f), (y, g) in _neighbours(system)]
    if any(e != 0 for e in squares):  # equal factors stay equal here, but differences of squares are not conserved
        plain = Assumption(text=f"the start is balanced and positive, {listed} > 0", remedy=assumption.remedy)
        made = reduce_scalars(flow, lift, (u,), {name: sp.Mul(*system.states)}, title=title, assumptions=(plain,))
    return made


def _neighbours(system: ScalarSystem) -> list[tuple[tuple[Any, Any], tuple[Any, Any]]]:
    pairs = list(zip(system.states, system.rhs, strict=True))
    return list(itertools.pairwise(pairs))


def reduce_manifold(flow: Flow, ansatz: Manifold) -> Reduction:
    """The user's manifold of an elementwise system."""
    if ansatz.data:
        raise UnsupportedNode(
            f"Manifold: {flow.name} is a system of scalars; substitute data in its parameters instead of data="
        )
    lift = {name_of(k): sp.sympify(v) for k, v in ansatz.lift.items() if isinstance(v, sp.Basic | int)}
    back = {name_of(k): v for k, v in ansatz.solve_for.items()}
    coordinates = tuple(ansatz.coordinates)
    return reduce_scalars(flow, lift, coordinates, back, title="manifold of the user's", assumptions=())


def reduce_scalars(
    flow: Flow,
    lift: Mapping[str, sp.Expr],
    coordinates: tuple[sp.Symbol, ...],
    solve_for: Mapping[str, sp.Expr],
    *,
    title: str,
    assumptions: tuple[Assumption, ...],
) -> Reduction:
    """Prove x = lift(z) for an elementwise system and return the system of z."""
    system = to_scalar(flow)
    for x in system.states:
        if x.name not in lift:
            raise InvalidSpec(
                f"the manifold gives no expression for the state {x.name} of {flow.name}; add {x.name}: ... to it"
            )
    names = {x.name: x for x in system.states}
    own = {s: names[s.name] for e in (*lift.values(), *solve_for.values()) for s in e.free_symbols if s.name in names}
    phi = {
        x: lift[x.name].xreplace({s: p for s in lift[x.name].free_symbols for p in system.parameters if p.name == s.name})
        for x in system.states
    }
    field = {x: sp.expand(f.xreplace(phi)) for x, f in zip(system.states, system.rhs, strict=True)}
    rates: dict[sp.Symbol, sp.Expr] = {}
    for z in coordinates:
        if z.name in solve_for:
            p = solve_for[z.name].xreplace(own)
            if not _zero(p.xreplace(phi) - z):
                raise InvalidSpec(
                    f"solve_for[{z}] = {p} gives {p.xreplace(phi)} on the manifold, not {z}; mend it or leave it out"
                )
            rates[z] = sp.expand(sum(sp.diff(p, x).xreplace(phi) * field[x] for x in system.states))
    _solve_rest(flow, coordinates, phi, field, rates)
    for x in system.states:
        rest = sp.expand(sum(sp.diff(phi[x], z) * rates[z] for z in coordinates) - field[x])
        if not _zero(rest):
            size, point = _normal(system, phi, field, coordinates)
            raise NotInvariant(
                f"{flow.name} leaves this manifold: in the equation of {x} the term {-rest} remains. At a random point of it "
                f"the field has a relative normal component of {size:.2g}. Keep the separate states, or state the assumption "
                "that removes the term",
                leftover=-rest,
                point=point,
                size=size,
            )
    return _result(flow, system, phi, coordinates, rates, solve_for, title, assumptions)


def _zero(e: sp.Expr) -> bool:
    e = sp.expand(e)
    return bool(e == 0) or bool(sp.cancel(sp.together(e)) == 0)


def _solve_rest(
    flow: Flow,
    coordinates: tuple[sp.Symbol, ...],
    phi: Mapping[sp.Symbol, sp.Expr],
    field: Mapping[sp.Symbol, sp.Expr],
    rates: dict[sp.Symbol, sp.Expr],
) -> None:
    """Rates without a projection: a state that depends on one unknown coordinate determines it."""
    for _ in coordinates:
        for x, e in phi.items():
            unknown = [z for z in coordinates if z not in rates and e.has(z)]
            if len(unknown) == 1:
                known = sum(sp.diff(e, z) * r for z, r in rates.items())
                rates[unknown[0]] = sp.expand(sp.cancel(sp.together((field[x] - known) / sp.diff(e, unknown[0]))))
    lost = [z for z in coordinates if z not in rates]
    if lost:
        raise UnsupportedNode(f"the rate of {lost[0]} cannot be isolated in {flow.name}: give solve_for={{{lost[0]}: ...}}")


def _normal(
    system: ScalarSystem,
    phi: Mapping[sp.Symbol, sp.Expr],
    field: Mapping[sp.Symbol, sp.Expr],
    coordinates: tuple[sp.Symbol, ...],
) -> tuple[float, dict[str, float]]:
    rng = random.Random(20)
    names = sorted({s.name for e in (*phi.values(), *field.values()) for s in e.free_symbols})
    point = {n: rng.uniform(0.5, 1.5) for n in names}
    f = np.array([float(value(field[x], point)) for x in system.states])
    j = np.array([[float(value(sp.diff(phi[x], z), point)) for z in coordinates] for x in system.states])
    best = np.linalg.lstsq(j, f, rcond=None)[0]
    return float(np.linalg.norm(f - j @ best) / np.linalg.norm(f)), point


def _off(rest: sp.Expr, whole: sp.Expr, a: sp.Symbol, b: sp.Symbol, lam: sp.Expr) -> tuple[float, dict[str, float]]:
    """Relative size of a leftover term at a random point with b^2 - a^2 = lam, and the point."""
    rng = random.Random(20)
    point = {n: rng.uniform(0.5, 1.5) for n in sorted({s.name for e in (rest, whole, a, b, lam) for s in e.free_symbols})}
    shift = float(value(lam, point))
    point |= {b.name: (point[a.name] ** 2 + shift) ** 0.5} if shift > 0 else {a.name: (point[b.name] ** 2 - shift) ** 0.5}
    return abs(float(value(rest, point)) / float(value(whole, point))), point


def _result(
    flow: Flow,
    system: ScalarSystem,
    phi: Mapping[sp.Symbol, sp.Expr],
    coordinates: tuple[sp.Symbol, ...],
    rates: Mapping[sp.Symbol, sp.Expr],
    solve_for: Mapping[str, sp.Expr],
    title: str,
    assumptions: tuple[Assumption, ...],
) -> Reduction:
    from derive.indices.indexed import arrays, replace

    first = flow.state[0]
    labels = {**system.labels, **{z.name: first.indices for z in coordinates}}
    rhs = {z.name: to_node(sp.factor_terms(rates[z]), labels) for z in coordinates}
    lift = {x.name: to_node(e, labels) for x, e in phi.items()}

    def lifted(leaf: Any) -> Any:
        from derive.indices.indexed import substitute

        name, indices = leaf.args
        if name not in lift:
            return leaf
        return substitute(lift[name], dict(zip(first.indices, indices, strict=True))) if indices else lift[name]

    observables = {n: replace(e, lifted) for n, e in flow.observables.items() if not hasattr(e, "terms")}
    used = {n for e in (*rhs.values(), *observables.values()) for n in arrays(e)}
    step = Step(
        title=title,
        detail="; ".join(f"{x} = {e}" for x, e in phi.items()),
        check="every equation of the states is met identically after substitution",
    )
    reduced = Flow(
        name=f"{flow.name}_{'balanced' if title.startswith('balanced') else 'reduced'}",
        state=tuple(Block(name=z.name, shape=first.shape, indices=first.indices) for z in coordinates),
        rhs=rhs,
        parameters=tuple(b for b in flow.parameters if b.name in used),
        observables=observables,
        functions=flow.functions,
        time=flow.time,
        assumptions=(*flow.assumptions, *assumptions),
        steps=(*flow.steps, step),
        symbols={**flow.symbols, **{z.name: z for z in coordinates}},
        source=flow,
    )
    kept = [b.name for b in reduced.parameters]

    def parameters_from(values: Mapping[Any, Any]) -> dict[str, Any]:
        known = {name_of(k): v for k, v in values.items()}
        return {n: known[n] for n in kept if n in known}

    def lift_state(values: Mapping[Any, Any], reduced_state: Mapping[Any, Any], seed: int = 0) -> dict[str, Any]:
        at = {**parameters_from(values), **{name_of(k): np.asarray(v, dtype=float) for k, v in reduced_state.items()}}
        return {x.name: value(e, at) for x, e in phi.items()}

    def project_state(values: Mapping[Any, Any], full_state: Mapping[Any, Any]) -> dict[str, Any]:
        at = {
            **{name_of(k): v for k, v in values.items()},
            **{name_of(k): np.asarray(v, dtype=float) for k, v in full_state.items()},
        }
        return {n: value(e, at) for n, e in solve_for.items()}

    whole = all(z.name in solve_for for z in coordinates)
    return Reduction(
        full=flow,
        system=reduced,
        lift=lift,
        assumptions=assumptions,
        steps=(step,),
        parameters_from=parameters_from,
        lift_state=lift_state,
        project_state=project_state if whole else None,
    )


def reduce_lambda_balanced(flow: Flow, ansatz: LambdaBalanced) -> Reduction:
    """Two factors with b^2 - a^2 = lam: one equation for their product u,  u' = sqrt(lam^2 + 4 u^2) g(u).

    Proof: a' = b g(ab) and b' = a g(ab) conserve b^2 - a^2, and u' = (a^2 + b^2) g(u), where
    (a^2 + b^2)^2 = (b^2 - a^2)^2 + 4 a^2 b^2.

    Raises
    ------
    UnsupportedNode
        If there are not two states.
    NotInvariant
        If b^2 - a^2 is not conserved, or g depends on more than the product.
    """
    system = to_scalar(flow)
    if len(system.states) != 2:
        raise UnsupportedNode(f"LambdaBalanced: {flow.name} has {len(system.states)} factors, it is a rule for two layers")
    (a, b), (f, g) = system.states, system.rhs
    drift = sp.expand(2 * (b * g - a * f))
    if drift != 0:
        size, point = _off(drift, sp.Abs(2 * b * g) + sp.Abs(2 * a * f), a, b, ansatz.lam)
        raise NotInvariant(
            f"{flow.name}: {b}^2 - {a}^2 changes at the rate {drift}, so no balance lasts; give both layers one time constant",
            leftover=drift,
            point=point,
            size=size,
        )
    taken = {x.name for x in (*flow.state, *flow.parameters)}
    name, lam = "u" if "u" not in taken else "u_all", ansatz.lam
    u = sp.Symbol(name, positive=True) if lam == 0 else sp.Symbol(name, real=True)
    speed = sp.cancel(f / b).xreplace({a: u / b})
    speed = sp.factor_terms(sp.expand(sp.cancel(speed)))
    if speed.has(b) or speed.has(a):
        rest = sp.Add(*(term for term in sp.Add.make_args(sp.expand(speed)) if term.has(a) or term.has(b)))
        size, point = _off(rest, speed, a, b, lam)
        raise NotInvariant(
            f"{flow.name}: {a}'/{b} = {sp.cancel(f / b)} is no function of {u} = {a}*{b}, the term {rest} remains; "
            "keep both factors",
            leftover=rest,
            point=point,
            size=size,
        )
    root = sp.sqrt(lam**2 + 4 * u**2)
    lift = {a: sp.sqrt((root - lam) / 2), b: sp.sqrt((root + lam) / 2)}
    assumption = Assumption(
        text=f"the start has {b}^2 - {a}^2 = {lam} in every mode and {b} {a} of the sign of {u} (shown for {u} >= 0)",
        remedy="keep the separate factors (the system before this reduction)",
    )
    rates = {u: root * speed}
    back = {name: a * b}
    made = _result(flow, system, lift, (u,), rates, back, "lambda-balanced factors", (assumption,))
    step = Step(
        title="lambda-balanced factors",
        detail=f"{b}^2 - {a}^2 = {lam}, {u} = {a}*{b}, {u}' = ({a}^2 + {b}^2)*({speed})",
        check=f"({b}^2 - {a}^2)' = 0 identically; ({a}^2 + {b}^2)^2 = {lam}^2 + 4 {u}^2",
    )

    def factors(values: Mapping[Any, Any], reduced_state: Mapping[Any, Any], seed: int = 0) -> dict[str, Any]:
        at = {name_of(k): np.asarray(v, dtype=float) for k, v in {**values, **reduced_state}.items() if np.ndim(v) < 2}
        w, c = at[name], np.asarray(value(lam, at))
        wide = np.sqrt((np.hypot(c, 2 * w) + np.abs(c)) / 2)
        thin = np.where(wide > 0, w / np.where(wide > 0, wide, 1.0), 0.0)
        return {a.name: np.where(c < 0, wide, thin), b.name: np.where(c < 0, thin, wide)}

    symbols = {**made.system.symbols, **{str(s): s for s in sorted(lam.free_symbols, key=str)}}
    reduced = made.system.replace(name=f"{flow.name}_lambda_balanced", steps=(*flow.steps, step), symbols=symbols)
    scalars = [
        Block(name=str(s)) for s in sorted(lam.free_symbols, key=str) if str(s) not in {p.name for p in reduced.parameters}
    ]
    kept = [p.name for p in (*reduced.parameters, *scalars)]

    def parameters_from(values: Mapping[Any, Any]) -> dict[str, Any]:
        known = {name_of(k): v for k, v in values.items()}
        return {n: known[n] for n in kept if n in known}

    return replace(
        made,
        system=reduced.replace(parameters=(*reduced.parameters, *scalars)),
        steps=(step,),
        lift_state=factors,
        parameters_from=parameters_from,
    )
