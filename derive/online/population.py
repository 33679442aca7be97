r"""Gradient flow of a population: exact equations of overlaps for a `Rate` whose averages are Gaussian.

    dV_p/dt = E[ sum_x c_p,x x + sum_r g_pr V_r ],       C_pq = V_p . V_q / N,      lam_p = V_p . x / sqrt(N):

    dC_pq/dt = N^(-1/2) sum_x E[c_p,x lam_q,x] + sum_r E[g_pr] C_rq + (p <-> q),       dtheta/dt = E[h].

There is no step and so no term quadratic in it, and nothing fluctuates: the equations close at any N, and no limit is taken.
Averages over labels (classes with laws of their own) are outermost. The rate is read as a step of length 1/N
(`derive.online.population_steps`), in its fields, and averaged as in `derive.online.limit`; products are then distributed
wherever that removes an overlap from an equation. Imported by users, by the catalogue, by `derive_all` and by numerics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from derive.errors import UnsupportedNode
from derive.fields.calculus import distributed, gathered, without_stops
from derive.fields.overlaps import Overlaps
from derive.fields.rule import FieldRule, overlaps_of, rule_of
from derive.gaussian.local import rung_text
from derive.indices.indexed import Node, arrays
from derive.online.limit import assembled
from derive.online.population_steps import Stepped, readings
from derive.spec.lowered import Lowered, LoweredRate, lowered_of
from derive.system import Assumption, Block, Flow, Step


def population_flow(model: Any) -> Flow:
    r"""Derive the equations of the overlaps under the gradient flow (or any rate) of a population of Gaussian inputs.

        dC_pq/dt = E[F_p lam_q] + E[G_pr] C_rq + (p <-> q),      dtheta/dt = E[H]

    Parameters
    ----------
    model : Model
        With ``learn=Rate({...})``, Gaussian inputs ``Normal(x)`` of the length N of the weight vectors, labels (`Choice`), and
        any number of learned and fixed families of vectors. N is the dimension along which weights meet inputs; if there are
        several, ``limit=Limit({N: oo})`` says which.

    Returns
    -------
    Flow
        State: overlaps with learned vectors (``Q``, ``R``, ...) and the other states under their own names, in the time of the
        rates. Overlaps are divided by N if the model divides its fields by sqrt(N). An overlap of two learned families that
        neither another equation nor an observable needs is left out, and a step says so. Parameters: overlaps of fixed vectors
        (``T``), the given arrays, and N where the equations depend on it.

    Assumes
    -------
    Rates are averages over fresh draws: infinitely many samples at vanishing step. No limit of large N is taken.

    Raises
    ------
    UnsupportedNode
        If the rule is no `Rate`, a rate is not linear in its inputs with coefficients that depend on fields, or an average has
        no closed form.
    CheckFailed
        If the result does not survive its own numerical check.

    Examples
    --------
    A perceptron that learns a direction by its square, phase retrieval:

    >>> from derive import Model, Normal, Rate, dims, dot, grad, population_flow, scalars, vector
    >>> N = dims("N")
    >>> w, u, x, L = vector("w", N), vector("u", N), vector("x", N), scalars("L")
    >>> m = Model(name="phase", state=w, given=u, data=Normal(x), let={L: (dot(w, x)**2 - dot(u, x)**2)**2/8},
    ...           learn=Rate({w: -grad(L, w)}))
    >>> flow = population_flow(m)
    >>> print(flow.rhs["R"])
    (-3/2)*Q*R + (3/2)*R*T
    """
    made, rule = _read(lowered_of("population_flow", model))
    averaging = not rule.finite
    flow = assembled(rule, made.lowered, _Shadow(made.lowered), "none", "t, in the unit of the rates", ())
    rhs = {name: _lean(node) for name, node in flow.rhs.items()}
    observables = {name: _lean(node) for name, node in flow.observables.items()}
    idle = _idle(rule, rhs, observables)
    rhs = {name: node for name, node in rhs.items() if name not in idle}
    flow = flow.replace(
        state=tuple(b for b in flow.state if b.name not in idle), rhs=rhs, observables=observables,
        rungs={name: rung_text(node) for name, node in {**observables, **rhs}.items()},
    )  # fmt: skip
    from derive.online.check import checked

    flow = checked(flow, rule, "none")
    return flow.replace(
        state=tuple(_plain(b, rule, made) for b in flow.state),
        parameters=tuple(_plain(b, rule, made) for b in flow.parameters),
        assumptions=_assumptions(rule, averaging),
        steps=_steps(flow.steps, rule, made, averaging, idle),
        source=model,
    )


def population_rule(model: Any) -> FieldRule:
    """The rates of a model in their fields, as the step  V <- V + rate / N  of vectors whose overlaps are divided by N.

    If the model does not divide its fields by sqrt(N) these vectors are sqrt(N) times those of the model (`vector_scale`).
    """
    return _read(model.lowered)[1]


def population_overlaps(low: Lowered) -> Overlaps:
    """Families of vectors of a model with a `Rate`, and the names of their overlaps."""
    return overlaps_of(readings(low)[0].lowered)


def vector_scale(model: Any, n: int) -> float:
    """Factor from the vectors whose overlaps are divided by N to those of the model: 1, or N^(-1/2)."""
    return 1.0 if _read(model.lowered)[0].divided else float(n) ** -0.5


def is_population(model: Any) -> bool:
    """Whether a model has a `Rate` and says that the length of its vectors tends to infinity: its verb is `population_flow`."""
    low: Lowered = model.lowered
    return isinstance(low.rule, LoweredRate) and low.limit is not None and any(v == ("oo",) for _, v in low.limit[0])


@dataclass(frozen=True, slots=True)
class _Shadow:
    """Stands for a model while its equations are checked."""

    lowered: Lowered


def _read(low: Lowered) -> tuple[Stepped, FieldRule]:
    """The step of a rate in its fields, in the reading that leaves least of N, at finite N if it can be read so."""
    found: list[tuple[tuple[int, ...], Stepped, FieldRule]] = []
    refusals: list[UnsupportedNode] = []
    for made in readings(low):
        for finite in (True, False)[: 1 + made.declared]:
            try:
                rule = rule_of(made.lowered, finite=finite)
                found.append(((not finite, *_leftover(rule, made.lowered)), made, rule))
                break
            except UnsupportedNode as reason:
                refusals.append(reason)
    if not found:
        raise refusals[0]
    return min(found, key=lambda item: item[0])[1:]


def _leftover(rule: FieldRule, low: Lowered) -> tuple[int, int]:
    """How many powers of N meet in one rate beyond the first, and how many stand in what is observed."""
    rates = 0
    for branch in rule.branches:
        for name in rule.overlaps.learned:
            parts = [*branch.F.get(name, {}).values(), *(g.coefficient for g in branch.G.get(name, ()))]
            rates += max(0, len({power for part in parts for power in gathered(part, rule.big)}) - 1)
    reader = rule.branches[0].reader
    trees = [low.inline(tree) for _, tree in low.observe]
    nodes = [without_stops(reader.scalar(tree[1] if isinstance(tree, tuple) and tree[0] == "mean" else tree)) for tree in trees]
    return rates, sum(len([power for power in gathered(node, rule.big) if power]) for node in nodes)


def _lean(node: Any) -> Node:
    """The node with products distributed, if fewer arrays occur in it then."""
    assert isinstance(node, Node)
    opened = distributed(node)
    return opened if len(arrays(opened)) < len(arrays(node)) else node


def _plain(block: Block, rule: FieldRule, made: Stepped) -> Block:
    """A block with its meaning in the vectors of the model."""
    if block.name in rule.scale.sizes:
        return replace(block, meaning="length of the vectors")
    tail = f" / {rule.scale.shown}"
    return replace(block, meaning=block.meaning.replace(tail, "")) if not made.divided else block


def _assumptions(rule: FieldRule, averaging: bool) -> tuple[Assumption, ...]:
    inputs = ", ".join(rule.input_blocks)
    out = [
        Assumption(
            text=f"Rates are averages over Gaussian inputs {inputs}: infinitely many samples, vanishing steps.",
            remedy="compare large batches and small steps; for steps of one sample use Update and online_limit",
        )
    ]
    if averaging:
        big = rule.big
        out.append(Assumption(text=f"{big} -> oo: |x|^2 / {big} is its mean.", remedy=f"compare sizes {big} and 4{big}"))
    return tuple(out)


def _idle(rule: FieldRule, rhs: Mapping[str, Node], observables: Mapping[str, Node]) -> tuple[str, ...]:
    """Overlaps of two different learned families that nothing else depends on."""
    learned = rule.overlaps.learned
    left = [name for (a, b), name in rule.overlaps.names.items() if a != b and a in learned and b in learned]
    out: list[str] = []
    while True:
        shown = {n: e for n, e in {**rhs, **{f"observable {n}": o for n, o in observables.items()}}.items() if n not in out}
        found = [n for n in left if n not in out and not any(n in arrays(e) for m, e in shown.items() if m != n)]
        if not found:
            return tuple(out)
        out += found


def _steps(steps: tuple[Step, ...], rule: FieldRule, made: Stepped, averaging: bool, idle: tuple[str, ...]) -> tuple[Step, ...]:
    title = f"rates in their fields, as a step of length 1/{rule.big}"
    changed = [replace(s, title=title) if s.title == "update in its fields" else s for s in steps]
    if not made.divided:
        note = f"vectors are multiplied by sqrt({rule.big}), so that overlaps are products without 1/{rule.big}"
        changed.insert(0, Step(title="scale", detail=note))
    if idle:
        changed.append(Step(title="closed without", detail=f"{', '.join(idle)}: no other equation and no observable needs it"))
    if not averaging:
        note = f"no average depends on {rule.big} but by explicit factors, so the equations hold at any {rule.big}"
        changed.append(Step(title="exact", detail=note))
    return tuple(changed)


__all__ = ["is_population", "population_flow", "population_overlaps", "population_rule", "vector_scale"]
