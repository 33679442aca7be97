r"""Order-parameter equations of one-pass learning in high dimension.

For a step  V_p += (1/sqrt N) sum_x F_p,x x + (1/N) sum_r G_pr V_r,  theta += H / N  (see `derive.fields.rule`), the overlaps
C_pq = V_p . V_q / N concentrate as N grows and obey, in time alpha = steps / N,

    dC_pq/dalpha = sum_x E[F_p,x lam_q,x] + sum_r E[G_pr] C_rq + (p <-> q) + sum_x rho_x var(x) E[F_p,x F_q,x] / B,
    dtheta/dalpha = E[H],

with rho_x N the length of the input x and B the batch; averages over labels are outermost, and later blocks act as in
`derive.fields.later_blocks`. The last sum is the noise of stochastic gradient descent; ``noise="none"`` drops it (gradient
flow of the population). The averages are taken by `derive.gaussian`, once for all sizes of the families. Imported by users, by
the catalogue and by the command line.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.errors import InvalidSpec, UnsupportedNode
from derive.fields.calculus import powers_of
from derive.fields.concentration import limit_of
from derive.fields.crossed import crosses_in
from derive.fields.labels import label_symbols, switches
from derive.fields.later_blocks import after, in_effect
from derive.fields.rule import Branch, FieldRule, averaged, field_rule
from derive.gaussian.local import rung_text
from derive.indices.indexed import ZERO, Index, Node, add, arrays, mul, power, substitute, sum_over, text
from derive.spec.lowered import Lowered, lowered_of
from derive.spec.tree import Tree, children, names, rebuild
from derive.system import Assumption, Block, Flow, Step


def online_limit(model: Any, *, noise: str = "sgd") -> Flow:
    r"""Derive the closed equations of the order parameters of a one-pass update.

        dC_pq/dalpha = E[F_p lam_q] + E[G_pr] C_rq + (p <-> q) + var(x) E[F_p F_q],      dtheta/dalpha = E[H]

    Parameters
    ----------
    model : Model
        With ``learn=Update({...}, dt=1/N)`` and ``limit=Limit({N: oo})``; the class of updates is that of `field_rule`.
    noise : ``"sgd"`` or ``"none"``
        ``"none"`` drops the term that is quadratic in the step: learning at vanishing rate.

    Returns
    -------
    Flow
        State: overlaps with learned vectors (``Q``, ``R``, ...) and the O(1) states under their own names, in time alpha =
        steps/N. Parameters: overlaps of fixed vectors (``T``) and the given O(1) arrays. Observables: those of the model,
        averaged.

    Assumes
    -------
    N -> oo with all other dimensions of order one; a fresh Gaussian input at each step. Squares |x|^2/N of inputs stand for
    their limits, and lower powers of N beside them are dropped, which the flow states (outputs as long as the input).

    Raises
    ------
    UnsupportedNode
        If the update is not linear in its inputs, has a wrong power of N, or an average has no closed form.
    CheckFailed
        If the result does not survive its own numerical check.

    Examples
    --------
    >>> from derive.library.teacher import teacher_student
    >>> flow = online_limit(teacher_student("linear", train="first", noise=False))
    >>> [b.name for b in flow.state], [b.name for b in flow.parameters]
    (['Q', 'R'], ['A', 'T', 'eta', 'v'])
    >>> flow.rhs["R"]
    -eta*v[k]*Sum_#0(R[#0,l]*v[#0]) + eta*v[k]*Sum_#0(A[#0]*T[#0,l])
    """
    if noise not in ("sgd", "none"):
        raise InvalidSpec(f"online_limit: noise={noise!r}; write 'sgd' for the finite step, 'none' for the population flow")
    rule = field_rule(model)
    shown = rule.scale.shown if rule.scale.shown == rule.big else f"({rule.scale.shown})"
    pace = rule.pace.op == "const"
    time = f"alpha = steps/{shown}" if pace else f"time of the update, {text(rule.pace)}/{rule.big} steps per unit"
    flow = assembled(rule, lowered_of("online_limit", model), model, noise, time, _assumptions(rule, noise))
    from derive.online.check import checked

    return checked(flow, rule, noise)


def assembled(rule: FieldRule, low: Lowered, source: Any, noise: str, time: str, assumptions: tuple[Assumption, ...]) -> Flow:
    """The equations of a field rule, not yet checked."""
    rates = first_block(rule, noise)
    state = _blocks(rule, low, rates)
    rhs = {name: node for name, (_, node) in rates.items()}
    for later in in_effect(rule.later):
        rhs = after(rule.overlaps, later, {n: (rates[n][0], node) for n, node in rhs.items()}, rule.pace)
    for name in rhs:
        _free_of(rhs[name], rule, f"d {name}/dalpha")
    observables = _observables(low, rule)
    return Flow(
        name=rule.name,
        state=tuple(state),
        rhs=rhs,
        parameters=_parameters(low, rule, state, (*rhs.values(), *observables.values())),
        observables=observables,
        time=time,
        assumptions=assumptions,
        steps=_steps(rule, noise),
        rungs={name: rung_text(node) for name, node in {**observables, **rhs}.items()},
        symbols=_symbols(low, rule),
        source=source,
    )


def drift(rule: FieldRule, branch: Branch, a: str, i: Index | None, b: str, j: Index | None) -> Node:
    """Mean of N d(a_i . b_j)/N per step from the move of ``a`` alone, as an integrand (not yet averaged)."""
    f = [
        over_steps(rule, x, mul(relabel(rule, a, i, force), rule.field(b, x, j)))
        for x, force in branch.F[a].items()
        if rule.overlaps.together(a, b)
    ]
    g = []
    for push in branch.G[a]:
        body = mul(
            relabel(rule, a, i, push.coefficient), rule.overlaps.entry(push.family, _moved(rule, a, i, push.index), b, j)
        )
        for label in push.bound:
            body = sum_over(label, body)
        g.append(body)
    return add(*f, *g)


def relabel(rule: FieldRule, family: str, i: Index | None, node: Node) -> Node:
    """A part of the rule of ``family`` at row i."""
    return substitute(node, dict(zip(rule.labels[family], (i,), strict=True))) if i else node


def over_steps(rule: FieldRule, x: str, node: Node) -> Node:
    """Sum over the steps of an episode, if the input x is one."""
    t = rule.step(x)
    return node if t is None else sum_over(t, node)


def _moved(rule: FieldRule, family: str, i: Index | None, label: Index | None) -> Index | None:
    return i if label is not None and label in rule.labels[family] else label


def step_noise(rule: FieldRule, branch: Branch, a: str, i: Index | None, b: str, j: Index | None) -> Node:
    """Integrand of the term that is quadratic in the step."""
    f, g = branch.F[a], branch.F[b]
    square = [
        mul(rule.ratio(x), branch.inputs[x], over_steps(rule, x, mul(relabel(rule, a, i, f[x]), relabel(rule, b, j, g[x]))))
        for x in f
        if x in g
    ]
    return mul(power(rule.batch, -1), add(*square))


def overlap_labels(rule: FieldRule, a: str, b: str) -> tuple[Index | None, Index | None]:
    """Labels of the two axes of an overlap."""
    low = rule.branches[0].reader.lowered
    letters = iter([c for c in "klmnpqrs" if c not in (*low.shapes, *low.dims)])
    i, j = (None if d == 1 else Index(next(letters), str(d)) for d in (rule.overlaps.families[a], rule.overlaps.families[b]))
    return i, j


def integrand(rule: FieldRule, branch: Branch, a: str, b: str, noise: str) -> tuple[tuple[Index, ...], Node]:
    """Labels and integrand of the right-hand side of an overlap, without the blocks after the first."""
    i, j = overlap_labels(rule, a, b)
    terms = []
    if a in branch.F:
        terms.append(drift(rule, branch, a, i, b, j))
    if b in branch.F:
        terms.append(drift(rule, branch, b, j, a, i))
    if noise == "sgd" and a in branch.F and b in branch.F:
        terms.append(step_noise(rule, branch, a, i, b, j))
    return tuple(x for x in (i, j) if x), mul(rule.pace, add(*terms))


def first_block(rule: FieldRule, noise: str) -> dict[str, tuple[tuple[Index, ...], Node]]:
    """Labels and right-hand sides of the first block alone: averages over fresh draws and labels."""
    out = {}
    for (a, b), name in rule.overlaps.names.items():
        if rule.overlaps.kind(a, b) != "fixed":
            labels, _ = integrand(rule, rule.branches[0], a, b, noise)
            out[name] = (labels, averaged(rule.branches, lambda c, a=a, b=b: integrand(rule, c, a, b, noise)[1]))  # type: ignore[misc]
    low = rule.branches[0].reader.lowered
    for s in (n for n in low.state if n not in rule.overlaps.families):
        labels = rule.labels[s] if s in rule.labels else next(x.labels[s] for x in rule.later if s in x.labels)
        step = averaged(rule.branches, lambda c, s=s: c.H[s]) if s in rule.labels else ZERO  # type: ignore[misc]
        out[s] = (labels, mul(rule.pace, step))
    return out


def _blocks(rule: FieldRule, low: Any, rates: dict[str, tuple[tuple[Index, ...], Node]]) -> list[Block]:
    pairs = {name: pair for pair, name in rule.overlaps.names.items()}
    out = []
    for name, (indices, _) in rates.items():
        if name in pairs:
            a, b = pairs[name]
            out.append(
                Block(
                    name=name, shape=tuple(i.family for i in indices), indices=indices,
                    symmetric=a == b and len(indices) == 2, meaning=f"overlap {a} . {b} / {rule.scale.shown}",
                )
            )  # fmt: skip
        else:
            out.append(Block(name=name, shape=_shape(low.shapes[name]), indices=indices, meaning="state of order one"))
    return out


def _shape(shape: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(d for d in shape if d != 1)


def _free_of(node: Node, rule: FieldRule, where: str) -> Node:
    if rule.finite:
        return node
    parts = powers_of(node, rule.big, where)
    if any(p for p in parts):
        worst = max(parts, key=abs)
        raise UnsupportedNode(
            f"{where}: the term {text(parts[worst])[:120]} is of order {rule.big}^({worst}); every observable must be "
            f"of order one, divide by {rule.big}"
        )
    return parts.get(next(iter(parts), None), ZERO) if parts else ZERO  # type: ignore[arg-type]


def _observables(low: Any, rule: FieldRule) -> dict[str, Node]:
    out: dict[str, Node] = {}
    drawn = label_symbols(low)
    for name, tree in low.observe:
        tree = low.inline(tree)
        if low.shape(tree):
            raise UnsupportedNode(f"observable {name} is a matrix; online_limit follows numbers, observe its trace or norm")
        reader = rule.branches[0].reader
        node = _free_of(limit_of(tree, reader, f"observable {name}"), rule, f"observable {name}")
        outside = _outside_means(tree)
        fresh = (*rule.branches[0].noises, *rule.branches[0].masks)
        if any(n in fresh or "." in n for n in arrays(node)) or any(n in drawn for n in names(outside)):
            raise UnsupportedNode(f"observable {name} depends on the input of one step; write mean(...) around it")
        out[name] = node
    return out


def _outside_means(tree: Tree) -> Tree:
    """The tree with every average replaced by a number."""
    if isinstance(tree, tuple) and tree[0] == "mean":
        return 1
    parts = children(tree)
    return rebuild(tree, tuple(_outside_means(p) for p in parts)) if parts else tree


def _parameters(low: Any, rule: FieldRule, state: list[Block], nodes: tuple[Node, ...]) -> tuple[Block, ...]:
    moving = [b.name for b in state]
    overlaps = {name: pair for pair, name in rule.overlaps.names.items()}
    steps = rule.branches[0].steps.values()
    used = {n: None for node in nodes for n in arrays(node)}
    axes = [d for n in used for d in low.shapes.get(n, ())]
    out = []
    for name in sorted({n for node in nodes for n in arrays(node)}):
        number = name in steps or (rule.finite and name in rule.scale.sizes)
        if name in moving or (name in low.dims and (not number or name in axes)):
            continue
        if name in overlaps:
            a, b = overlaps[name]
            sizes = tuple(d for d in (rule.overlaps.families[a], rule.overlaps.families[b]) if d != 1)
            meaning = f"overlap {a} . {b} / {rule.scale.shown}, fixed"
            out.append(Block(name=name, shape=sizes, symmetric=a == b and len(sizes) == 2, meaning=meaning))
        else:
            known = name in low.shapes  # else the weight of a switch, or the number of steps of an episode
            meaning = "given" if known else "steps of an episode" if name in steps else "weight"
            out.append(Block(name=name, shape=_shape(low.shapes[name]) if known else (), meaning=meaning))
    return tuple(out)


def _symbols(low: Any, rule: FieldRule) -> dict[str, sp.Basic]:
    out = {name: s for name, s in low.symbols.items() if name not in rule.overlaps.families and name not in rule.input_blocks}
    for (a, b), name in rule.overlaps.names.items():
        sizes = [low.symbols[d] if isinstance(d, str) else d for d in (rule.overlaps.families[a], rule.overlaps.families[b])]
        out[name] = sp.Symbol(name, real=True) if sizes == [1, 1] else sp.MatrixSymbol(name, *sizes)
    return out


def _assumptions(rule: FieldRule, noise: str) -> tuple[Assumption, ...]:
    sizes = sorted({str(d) for d in rule.overlaps.families.values() if d != 1})
    big = rule.big
    out = [
        Assumption(
            text=f"{big} -> oo" + (f" with {', '.join(sizes)} of order one." if sizes else "."), remedy="compare sizes N and 4N"
        ),
        Assumption(
            text=f"One pass: a fresh input {', '.join(rule.input_blocks)} ~ N(mean, var I) at each step."
            if any(c.reader.means for c in rule.branches)
            else f"One pass: a fresh input {', '.join(rule.input_blocks)} ~ N(0, var I) at each step.",
            remedy="do not reuse samples",
        ),
        Assumption(
            text=f"Overlaps start at values of order one (not 1/sqrt({big})).",
            remedy="start with order-one overlaps when comparing",
        ),
    ]
    nodes = (f for b in rule.branches for parts in b.F.values() for f in parts.values())
    crossed = dict.fromkeys(n for f in nodes for n in crosses_in(f, rule.input_blocks))
    out += [
        Assumption(
            text=f"{n} = {n.replace('.', ' . ')} / sqrt({big}) is Gaussian and independent of the fields; what it adds to the "
            f"drift is of order 1/sqrt({big}) and left out.",
            remedy="compare sizes N and 4N",
        )
        for n in crossed
    ]
    dropped = {n: squares for b in rule.branches for n, squares in b.dropped.items()}
    for n, squares in dropped.items():
        shown = " and ".join(f"{s}/{big}" for s in squares)
        text_ = (
            f"In the step of {n}, {shown} concentrate{'s' * (len(squares) == 1)}; terms of lower order in {big} are dropped."
        )
        out.append(Assumption(text=text_, remedy="compare sizes N and 4N"))
    for s, values in switches(rule.branches[0].reader.lowered).items():
        shown = " + ".join(text(c.weight) for c in rule.branches) if len(rule.branches) == len(values) else f"those of {s}"
        out.append(
            Assumption(
                text=f"{s} takes one of the values that it is compared with: the weights add up to 1 ({shown}).",
                remedy=f"bind {s} in a Phase and use phases(model)",
            )
        )
    if any(later.projection for later in rule.later):
        out.append(
            Assumption(
                text="The state starts on the manifold that the later block of the update maps to.",
                remedy="apply that block once to the initial state",
            )
        )
    if noise == "none":
        out.append(
            Assumption(
                text="Population flow: the terms quadratic in the step are dropped.", remedy="use noise='sgd' for finite steps"
            )
        )
    return tuple(out)


def _steps(rule: FieldRule, noise: str) -> tuple[Step, ...]:
    shown = f"({rule.scale.shown})" if " + " in rule.scale.shown else rule.scale.shown
    names = ", ".join(f"{name} = {a} . {b} / {shown}" for (a, b), name in rule.overlaps.names.items())
    quadratic = " + (terms quadratic in the step)" if noise == "sgd" else ""
    return (
        Step(title="update in its fields", detail=str(rule)),
        Step(title="order parameters", detail=names),
        Step(title="drift of the overlaps", detail=f"dC_pq = E[F_p lam_q] + E[G_pr] C_rq + (p <-> q){quadratic}"),
        Step(
            title="Gaussian averages",
            detail="condition on Gaussian factors, Stein's lemma, averages of signs",
        ),
    )
