r"""The overlap chain of a field rule, as plain data.

For Gaussian inputs and an update that is linear in them,

    V_p += (1/B) sum_draws [(1/sqrt N) sum_s F_ps x_s + (1/N) sum_q G_pq V_q],      theta += (1/B) sum_draws (1/N) H,

the Gram matrix C_pq = V_p . V_q / N of every block and the states theta of order one are a Markov chain at *every* N, not
only as N -> oo: F, G and H depend on the vectors through the fields V x / sqrt N, the overlaps and the products x_s . x_t only,
and the law of those given C is known exactly. This module writes down what the chain needs: families, blocks, laws and, for
every outcome of the labels, the expressions F, G, H. The numerical part (`numerics.simulate.chain`) runs it, and reads nothing
else.
The products x_s . x_t / N, which the limit replaces by numbers, are kept here. Blocks of the update after the first one are
maps of the state alone, V <- A V or V += G V / N, and act on C as they stand.

Format (JSON; an expression is a nested list)::

    {"version": 2, "kind": "overlap chain", "name", "big": "N", "pace": expression (1 / (N dt)), "batch": expression,
     "blocks": {dimension: expression (its length / N)},
     "families": [{"name", "size": dimension or 1, "learned", "block"}], "overlaps": [{"name", "families": [A, B]}],
     "states": {name: [dimensions]}, "given": {name: [dimensions]},
     "inputs": [{"name", "block", "columns": dimension or 1}], "noises": [{"name", "labels": [] or [i, j]}],
     "masks": [{"name", "labels": [] or [i]}],
     "outcomes": [{"shown", "weight": expression, "places": [{"label", "weight"}], "variances": {input: expression},
                   "noises": {name: {"covariance", "mean"}}, "masks": {name: [[value, probability]]},
                   "F": [{"family", "labels", "input", "step", "value"}],
                   "G": [{"family", "labels", "bound", "to", "index", "value"}], "H": [{"state", "labels", "value"}]}],
     "later": [{"replaces", "families", "G", "H"}], "observe": {name: expression}, "left_out": {name: why}}

    expression: ["const", p, q]  ["pi"]  ["arr", name, labels]  ["field", family, input, labels]  ["product", x, y, labels]
                ["kron", i, j]  ["add", a, ...]  ["mul", a, ...]  ["pow", a, p, q]  ["fun", name, a, ...]  ["sum", i, a]
    label: [name, dimension]

A model with a protocol gives ``"kind": "overlap chain protocol"``, see `derive.online.chain_course`. Imported by users, and
by entries whose law is checked at finite N.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

from derive.errors import UnsupportedNode
from derive.fields.calculus import differentiate, without_stops
from derive.fields.concentration import square_name
from derive.fields.increments import row_labels, step_label
from derive.fields.labels import label_symbols
from derive.fields.later_blocks import Later, Push, later_block
from derive.fields.rates import rates
from derive.fields.rule import Branch, FieldRule, averaged, field_rule
from derive.fields.values import Reader
from derive.fields.vectors import Part
from derive.gaussian.terms import expand
from derive.indices.indexed import ONE, ZERO, Index, Node, arr, arrays, kron, mul, power
from derive.indices.indexed import replace as put
from derive.online.chain_write import Writing
from derive.spec.lowered import Lowered, LoweredUpdate


def exact_chain(rule_or_model: Any) -> dict[str, Any]:
    """Write the overlap chain of a one-pass update as plain data.

    Parameters
    ----------
    rule_or_model : FieldRule or Model
        Of the class of `field_rule`: any number of Gaussian inputs, in several blocks, or episodes of them; labels, whose
        probabilities may depend on fields; mini-batches; later blocks; a protocol of phases and events. Averages are not
        needed, so every activation is welcome.

    Returns
    -------
    dict
        The format stands at the head of this module. Observables that are no function of the chain's state are listed under
        ``"left_out"`` with the reason.

    Assumes
    -------
    Nothing about N: the chain has the law of the update itself.

    Raises
    ------
    UnsupportedNode
        If the update leaves the class of `field_rule`, contains the derivative of a jump, or has laws that move with the state.

    Examples
    --------
    >>> from derive.library.teacher import teacher_student
    >>> data = exact_chain(teacher_student("linear", train="first", noise=False))
    >>> [o["name"] for o in data["overlaps"]], data["families"][0]
    (['Q', 'R', 'T'], {'name': 'W', 'size': 'K', 'learned': True, 'block': 'N'})
    """
    if isinstance(rule_or_model, FieldRule):
        return chain_of(rule_or_model)
    if rule_or_model.protocol:
        from derive.online.chain_course import chain_course

        return chain_course(rule_or_model)
    return chain_of(field_rule(rule_or_model))


def chain_of(rule: FieldRule) -> dict[str, Any]:
    """The chain of one rule, without a protocol."""
    branches = exact_branches(rule)
    reader = branches[0].reader
    low: Lowered = reader.lowered
    if odd := [a for a, size in rule.overlaps.families.items() if not isinstance(size, str) and size != 1]:
        raise UnsupportedNode(f"{rule.name}: the number of vectors of {odd[0]} has no name; declare it with dims('K')")
    write = Writing(rule=rule)
    _check_tilts(branches)
    outcomes = [_outcome(rule, b, write) for b in branches]
    assert isinstance(low.rule, LoweredUpdate)
    later = [later_block(low, block, n, reader, row_labels) for n, block in enumerate(low.rule.blocks[1:], start=2)]
    observe, left_out = _observables(rule, branches, write)
    blocks = {d: write.expression(ratio) for d, ratio in rule.scale.ratios.items()}
    return {
        "version": 2,
        "kind": "overlap chain",
        "name": rule.name,
        "big": rule.big,
        "pace": write.expression(rule.pace),
        "batch": write.expression(rule.batch),
        "blocks": blocks,
        "families": [
            {"name": a, "size": size, "learned": a in rule.overlaps.learned, "block": block_of_family(rule, a)}
            for a, size in rule.overlaps.families.items()
        ],
        "overlaps": [{"name": name, "families": [a, b]} for (a, b), name in rule.overlaps.names.items()],
        "states": {s: _axes(low, s) for s in low.state if s not in rule.overlaps.families},
        "given": _given(rule, branches),
        "inputs": [
            {"name": x, "block": block, "columns": branches[0].steps.get(x, 1)} for x, block in rule.input_blocks.items()
        ],
        "noises": [
            {"name": z, "labels": [write.label(i) for i in _pair(noise.labels)]} for z, noise in branches[0].noises.items()
        ],
        "masks": [
            {"name": m, "labels": [write.label(i) for i in _row(low, m)]} for m in branches[0].masks
        ],
        "outcomes": outcomes,
        "later": [map_data(block, write) for block in later],
        "observe": observe,
        "left_out": left_out,
    }  # fmt: skip


def block_of_family(rule: FieldRule, family: str) -> str:
    """The infinite dimension that a family lives in."""
    return rule.overlaps.blocks.get(family) or next(iter(rule.scale.sizes))


# ------------------------------------------------------------------------------------------------------- exact readers
def exact_branches(rule: FieldRule) -> tuple[Branch, ...]:
    """The branches of a rule with readers that keep products of inputs; averages take them at their means, or refuse."""
    made: list[Branch] = []

    def mixture(one: Callable[[Reader], Node]) -> Node:
        return averaged(made, lambda b: at_means(one(b.reader), b, rule))

    for b in rule.branches:
        reader = replace(
            b.reader,
            inputs={x: arr(square_name(x)) for x in b.inputs},
            products=partial(product_of_inputs, rule.big),
            average=partial(_average, b, rule),
            mixture=mixture if b.reader.mixture is not None else None,
        )
        made.append(replace(b, reader=reader))
    return tuple(made)


def _average(b: Branch, rule: FieldRule, node: Node) -> Node:
    return b.reader.average(at_means(node, b, rule))


def at_means(node: Node, b: Branch, rule: FieldRule) -> Node:
    """An integrand with products of inputs at their means, E|x|^2 = D var(x) and E[x.y] = 0, where they stand beside no field.

    Raises
    ------
    UnsupportedNode
        If a product stands beside a field or in a function, so that its average is no product of averages.
    """
    found = [n for n in arrays(node) if "|" in n]
    if not found:
        return node

    def mean(a: Node) -> Node:
        name, labels = a.args
        if "|" not in name:
            return a
        x, y = (name.split("|")[1],) * 2 if name.startswith("|") else name.split("|")
        if x != y:
            return ZERO
        return mul(kron(*labels) if labels else ONE, rule.scale.ratios[rule.input_blocks[x]], b.inputs[x])

    terms = expand(node, b.is_field)
    held = [t for t in terms if any("|" in n for part in (t.coefficient, *(f.slot for f in t.factors)) for n in arrays(part))]
    apart = all(not t.factors and _affine(t.coefficient) for t in held)
    if not apart or b.tilt != ONE:
        shown = found[0] if found[0].startswith("|") else found[0].replace("|", ".")
        raise UnsupportedNode(
            f"{rule.name}: an average over {shown} beside a field, or in a function, has no closed form at finite {rule.big}; "
            "write it without mean(...)"
        )
    return put(node, mean)


def _affine(node: Node) -> bool:
    """Whether products of inputs occur to the first order at most."""
    slope = differentiate(node, lambda a: ONE if "|" in a.args[0] else ZERO)
    return not any("|" in n for n in arrays(slope))


def product_of_inputs(big: str, p: Part, q: Part) -> Node:
    """``x_s . y_t / N`` as a random number; that of different inputs is of order 1/sqrt N, and stands for x . y / sqrt N."""
    (x, s), (y, t) = sorted([(p.vector, p.index), (q.vector, q.index)], key=lambda v: v[0])
    if x == y and s is None:
        return arr(square_name(x))
    letter = arr(f"{x}|{y}", *(i for i in (s, t) if i))
    return letter if x == y else mul(power(arr(big), Fraction(-1, 2)), letter)


def _check_tilts(branches: tuple[Branch, ...]) -> None:
    """Probabilities that depend on fields need fields whose law is that of every outcome."""
    if all(b.tilt == ONE for b in branches):
        return
    first = _laws(branches[0])
    for b in branches[1:]:
        if _laws(b) != first:
            raise UnsupportedNode(
                f"{b.reader.lowered.name}: the probability of {b.outcome.shown} depends on fields, and so does the law of the "
                "fields on the outcome; draw the inputs from one law, or the labels with fixed probabilities"
            )


def _laws(b: Branch) -> Any:
    noises = {}
    for z, noise in b.noises.items():
        i, j = _pair(noise.labels) or (None, None)
        noises[z] = (noise.covariance(i, j), noise.mean(i))
    return dict(b.inputs), noises


# ---------------------------------------------------------------------------------------------------------- its parts
def _pair(labels: tuple[Index, ...]) -> tuple[Index, ...]:
    """Two labels of one axis, for a covariance."""
    return tuple(Index(c, labels[0].family) for c in "ij") if labels else ()


def _axes(low: Lowered, name: str) -> list[Any]:
    return [d for d in low.shapes[name] if d != 1]


def _given(rule: FieldRule, branches: tuple[Branch, ...]) -> dict[str, list[Any]]:
    """Arrays that a run passes: given ones, weights of switches, ratios of lengths."""
    low: Lowered = branches[0].reader.lowered
    labels = label_symbols(low)
    out = {s: _axes(low, s) for s in low.given if s not in rule.overlaps.families and s not in labels}
    more = [n for b in branches for n in arrays(b.weight)] + [n for r in rule.scale.ratios.values() for n in arrays(r)]
    for n in more:
        if n not in low.shapes and n not in low.dims and n != rule.big:
            out.setdefault(n, [])
    out |= {n: [] for n in dict.fromkeys(more) if low.roles.get(n) == "ratio"}
    return out


def _outcome(rule: FieldRule, b: Branch, write: Writing) -> dict[str, Any]:
    low: Lowered = b.reader.lowered
    assert isinstance(low.rule, LoweredUpdate)
    learned = {a: rule.overlaps.families[a] for a in rule.overlaps.learned}
    labels, F, G, H, _ = rates(low, low.rule, b.reader, learned)
    return {
        "shown": b.outcome.shown,
        "weight": write.expression(mul(b.weight, b.tilt)),
        "places": [{"label": write.label(p), "weight": write.expression(w)} for p, w in b.inner],
        "variances": {x: write.still(v, f"the variance of {x}") for x, v in b.inputs.items()},
        "noises": {z: _noise(b, z, write) for z in b.noises},
        "masks": {m: _mask(b, m, write) for m in b.masks},
        "F": [
            {
                "family": a, "labels": write.labels(labels[a]), "input": x,
                "step": write.label(step_label(b.steps[x])) if x in b.steps else None, "value": write.increment(f, a),
            }
            for a, parts in F.items()
            for x, f in parts.items()
        ],
        "G": _pushes(labels, G, write),
        "H": [{"state": s, "labels": write.labels(labels[s]), "value": write.increment(h, s)} for s, h in H.items()],
    }  # fmt: skip


def _noise(b: Branch, name: str, write: Writing) -> dict[str, Any]:
    noise = b.noises[name]
    i, j = _pair(noise.labels) or (None, None)
    return {
        "covariance": write.still(noise.covariance(i, j), f"the law of {name}"),
        "mean": write.still(noise.mean(i), f"the law of {name}"),
    }


def _row(low: Lowered, name: str) -> tuple[Index, ...]:
    return tuple(Index("i", str(d)) for d in _axes(low, name))


def _mask(b: Branch, name: str, write: Writing) -> list[list[Any]]:
    """Values of a mask and their probabilities, at the label i."""
    values = b.masks[name].values
    if values is None:
        raise UnsupportedNode(
            f"{b.reader.lowered.name}: the law of {name} is open, and a chain draws it; write "
            f"Marginal({name}, values=..., probs=...)"
        )
    (i,) = _row(b.reader.lowered, name) or (None,)
    return [[write.still(part(i), f"the law of {name}") for part in pair] for pair in values]


def _pushes(labels: Any, G: Any, write: Writing) -> list[dict[str, Any]]:
    def one(a: str, g: Push) -> dict[str, Any]:
        return {
            "family": a, "labels": write.labels(labels[a]), "bound": write.labels(g.bound), "to": g.family,
            "index": None if g.index is None else write.label(g.index), "value": write.increment(g.coefficient, a),
        }  # fmt: skip

    return [one(a, g) for a, pushes in G.items() for g in pushes]


def map_data(block: Later, write: Writing) -> dict[str, Any]:
    """A block without draws, or an event: new values, or increments of order 1/N."""
    families = [a for a in block.labels if a in write.rule.overlaps.families]
    return {
        "replaces": block.projection,
        "families": families,
        "G": _pushes(block.labels, {a: block.G.get(a, ()) for a in families}, write),
        "H": [
            {"state": s, "labels": write.labels(block.labels[s]), "value": write.increment(h, s)} for s, h in block.H.items()
        ],
    }


def _observables(rule: FieldRule, branches: tuple[Branch, ...], write: Writing) -> tuple[dict[str, Any], dict[str, str]]:
    """Observables that are functions of overlaps and states, and why the others are not."""
    low: Lowered = branches[0].reader.lowered
    found: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for name, tree in low.observe:
        tree = low.inline(tree)
        if low.shape(tree):
            left_out[name] = "it is a matrix; observe its trace or norm"
            continue
        try:
            nodes = [without_stops(b.reader.scalar(tree)) for b in branches]
            written = write.expression(nodes[0])
        except UnsupportedNode as reason:
            left_out[name] = str(reason)
            continue
        random = any(n in branches[0].noises or n in branches[0].masks or "." in n or "|" in n for n in arrays(nodes[0]))
        if random or any(node != nodes[0] for node in nodes) or nodes[0].free:
            left_out[name] = "it depends on the input of one step; write mean(...) around it"
        else:
            found[name] = written
    return found, left_out


__all__ = ["exact_chain"]
