r"""The overlap chain of a field rule, as plain data.

For Gaussian inputs and an update that is linear in them,

    V_p += (1/sqrt N) F_p x + (1/N) sum_q G_pq V_q,      theta += (1/N) H,

the Gram matrix C_pq = V_p . V_q / N and the states theta of order one are a Markov chain at *every* N, not only as N -> oo:
F, G and H depend on the vectors through the fields V x / sqrt N, the overlaps and |x|^2 only, and the law of those given C is
known exactly. This module writes down what the chain needs: families, laws, and the expressions F, G, H. The numerical part
(`numerics.simulate.chain`) runs it, and reads nothing else. A square |x|^2 / N, which the limit replaces by the variance of an
entry, is kept here.

Format (JSON; an expression is a nested list)::

    {"version": 1, "kind": "overlap chain", "name", "big": "N", "pace": expression (1 / (N dt)),
     "families": [{"name", "size": dimension or 1, "learned"}], "overlaps": [{"name", "families": [A, B]}],
     "states": {name: [dimensions]}, "given": {name: [dimensions]},
     "inputs": [{"name", "variance"}], "noises": [{"name", "labels", "covariance", "mean"}],
     "F": [{"family", "labels", "input", "value"}], "H": [{"state", "labels", "value"}],
     "G": [{"family", "labels", "bound", "to", "index", "value"}],
     "observe": {name: expression}, "left_out": {name: why}}

    expression: ["const", p, q]  ["pi"]  ["arr", name, labels]  ["field", family, input, labels]  ["square", input]
                ["kron", i, j]  ["add", a, ...]  ["mul", a, ...]  ["pow", a, p, q]  ["fun", name, a, ...]  ["sum", i, a]
    label: [name, dimension]

Imported by users, and by entries whose law is checked at finite N.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from derive.errors import UnsupportedNode
from derive.fields.calculus import without_stops
from derive.fields.increments import increments
from derive.fields.rule import FieldRule, field_rule
from derive.fields.values import Reader
from derive.indices.indexed import ONE, Index, Node, arr, arrays, text
from derive.spec.lowered import Lowered, LoweredUpdate

#: Functions of the format; each may carry primes.
FUNCTIONS = ("erf2", "tanh", "relu", "step", "sgn", "exp", "log", "abs", "sin", "cos", "erf", "asin")
#: Functions with a jump, and how often they can be differentiated before a delta function appears.
_JUMPS: Mapping[str, int] = {"sgn": 0, "step": 0, "relu": 1, "abs": 1}


def exact_chain(rule_or_model: Any) -> dict[str, Any]:
    """Write the overlap chain of a one-pass update as plain data.

    Parameters
    ----------
    rule_or_model : FieldRule or Model
        Of the class of `field_rule`, with one Gaussian input. Averages are not needed, so every activation is welcome.

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
        If the update leaves the class of `field_rule`, has several inputs, or contains the derivative of a jump.

    Examples
    --------
    >>> from derive.library.teacher import teacher_student
    >>> data = exact_chain(teacher_student("linear", train="first", noise=False))
    >>> [o["name"] for o in data["overlaps"]], data["families"][0]
    (['Q', 'R', 'T'], {'name': 'W', 'size': 'K', 'learned': True})
    """
    rule = rule_or_model if isinstance(rule_or_model, FieldRule) else field_rule(rule_or_model)
    _one_draw(rule)
    low: Lowered = rule.reader.lowered
    if len(rule.inputs) != 1:
        shown = ", ".join(rule.inputs) or "none"
        raise UnsupportedNode(
            f"{rule.name}: exact_chain follows one Gaussian input per step (found {shown}); simulate the plan, "
            "or stack the inputs into one"
        )
    if rule.branches[0].steps:
        (x, steps), *_ = rule.branches[0].steps.items()
        raise UnsupportedNode(
            f"{rule.name}: exact_chain follows one input column per step of learning, and {x} is an episode of {steps}; "
            "simulate the plan"
        )
    reader = _exact_reader(rule)
    assert isinstance(low.rule, LoweredUpdate)
    labels, F, G, H = increments(low, low.rule, reader, {a: rule.overlaps.families[a] for a in rule.overlaps.learned})
    if odd := [a for a, size in rule.overlaps.families.items() if not isinstance(size, str) and size != 1]:
        raise UnsupportedNode(f"{rule.name}: the number of vectors of {odd[0]} has no name; declare it with dims('K')")
    observe, left_out = _observables(rule, reader)
    fixed = [name for name in low.given if name not in rule.overlaps.families]
    return {
        "version": 1,
        "kind": "overlap chain",
        "name": rule.name,
        "big": rule.big,
        "pace": _write(rule.pace, rule),
        "families": [
            {"name": a, "size": size, "learned": a in rule.overlaps.learned} for a, size in rule.overlaps.families.items()
        ],
        "overlaps": [{"name": name, "families": [a, b]} for (a, b), name in rule.overlaps.names.items()],
        "states": {s: _axes(low, s) for s in H},
        "given": {s: _axes(low, s) for s in fixed},
        "inputs": [{"name": x, "variance": _write(var, rule)} for x, var in rule.inputs.items()],
        "noises": [_noise(rule, name) for name in rule.noises],
        "F": [
            {"family": a, "labels": _labels(labels[a]), "input": x, "value": _written(f, rule, a)}
            for a, parts in F.items()
            for x, f in parts.items()
        ],
        "G": [
            {
                "family": a, "labels": _labels(labels[a]), "bound": _labels(g.bound), "to": g.family,
                "index": None if g.index is None else _label(g.index), "value": _written(g.coefficient, rule, a),
            }
            for a, pushes in G.items()
            for g in pushes
        ],
        "H": [{"state": s, "labels": _labels(labels[s]), "value": _written(h, rule, s)} for s, h in H.items()],
        "observe": observe,
        "left_out": left_out,
    }  # fmt: skip


def _one_draw(rule: FieldRule) -> None:
    """Refuse a step that is more than one draw in one block of one length."""
    if len(rule.branches) != 1 or rule.later or rule.batch != ONE:
        raise UnsupportedNode(
            f"{rule.name}: exact_chain follows one Gaussian draw per step in one block (found {len(rule.branches)} outcomes of "
            f"labels, {len(rule.later)} later blocks, batch {text(rule.batch)}); simulate the plan"
        )
    if len(rule.scale.sizes) != 1:
        raise UnsupportedNode(
            f"{rule.name}: exact_chain follows one dimension that tends to infinity (found {', '.join(rule.scale.sizes)}); "
            "simulate the plan, or take inputs of one length"
        )


def _exact_reader(rule: FieldRule) -> Reader:
    """The reader of the rule, with |x|^2 / N kept as a random number instead of its limit."""
    squares = {x: arr(_square(x)) for x in rule.inputs}

    def average(node: Node) -> Node:
        for x in squares:
            if _square(x) in arrays(node):
                raise UnsupportedNode(
                    f"{rule.name}: an average over |{x}|^2 has no closed form at finite {rule.big}; write it without mean(...)"
                )
        return rule.average(node)

    return replace(rule.reader, inputs=squares, average=average)


def _square(x: str) -> str:
    """Name of |x|^2 / N; no user's name has bars."""
    return f"|{x}|^2"


def _axes(low: Lowered, name: str) -> list[Any]:
    return [d for d in low.shapes[name] if d != 1]


def _noise(rule: FieldRule, name: str) -> dict[str, Any]:
    noise = rule.noises[name]
    i, j = (Index(c, noise.labels[0].family) for c in "ij") if noise.labels else (None, None)
    covariance, mean = noise.covariance(i, j), noise.mean(i)
    moving = [*rule.H, *(o for pair, o in rule.overlaps.names.items() if rule.overlaps.kind(*pair) == "learned")]
    for node in (covariance, mean):
        if states := [n for n in arrays(node) if n in moving]:
            raise UnsupportedNode(
                f"{rule.name}: the law of {name} depends on {states[0]}, which moves; scale a standard draw instead"
            )
    labels = [] if i is None or j is None else [_label(i), _label(j)]
    return {"name": name, "labels": labels, "covariance": _write(covariance, rule), "mean": _write(mean, rule)}


def _observables(rule: FieldRule, reader: Reader) -> tuple[dict[str, Any], dict[str, str]]:
    """Observables that are functions of overlaps and states, and why the others are not."""
    low: Lowered = reader.lowered
    found: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    random = (*rule.noises, *(_square(x) for x in rule.inputs))
    for name, tree in low.observe:
        tree = low.inline(tree)
        if low.shape(tree):
            left_out[name] = "it is a matrix; observe its trace or norm"
            continue
        try:
            node = without_stops(reader.scalar(tree))
            written = _write(node, rule)
        except UnsupportedNode as reason:
            left_out[name] = str(reason)
            continue
        if any(n in random or "." in n for n in arrays(node)):
            left_out[name] = "it depends on the input of one step; write mean(...) around it"
        else:
            found[name] = written
    return found, left_out


# ------------------------------------------------------------------------------------------------------------- writing
def _label(i: Index) -> list[str]:
    return [i.name, i.family]


def _labels(indices: tuple[Index, ...]) -> list[list[str]]:
    return [_label(i) for i in indices]


def _written(node: Node, rule: FieldRule, name: str) -> list[Any]:
    """An increment of ``name``; refused if it contains a delta function."""
    if jump := _delta(node):
        raise UnsupportedNode(
            f"the step of {name} contains {jump}, a delta function of a field: no finite step has it; "
            "use a smooth function (erf2, tanh), or stop(...) around the jump"
        )
    return _write(node, rule)


def _delta(node: Node) -> str:
    """Name of the first derivative of a jump in a node, or nothing."""
    if node.op == "fun":
        name = node.args[0]
        base = name.rstrip("'")
        if base in _JUMPS and len(name) - len(base) > _JUMPS[base]:
            return str(name)
    return next((found for a in node.args if isinstance(a, Node) and (found := _delta(a))), "")


def _write(node: Node, rule: FieldRule) -> list[Any]:
    """A node as nested lists."""
    if node.op == "const":
        return ["const", node.args[0].numerator, node.args[0].denominator]
    if node.op == "pi":
        return ["pi"]
    if node.op == "arr":
        return _array(node, rule)
    if node.op == "kron":
        return ["kron", *(_label(i) for i in node.args)]
    if node.op == "pow":
        return ["pow", _write(node.args[0], rule), node.args[1].numerator, node.args[1].denominator]
    if node.op == "sum":
        return ["sum", _label(node.args[0]), _write(node.args[1], rule)]
    if node.op == "fun":
        if node.args[0].rstrip("'") not in FUNCTIONS:
            raise UnsupportedNode(
                f"{rule.name}: {node.args[0]} is not a function of plain data (an average by quadrature is not one); "
                "write the step without mean(...), or with functions of derive.fn"
            )
        return ["fun", node.args[0], *(_write(a, rule) for a in node.args[1:])]
    return [node.op, *(_write(a, rule) for a in node.args)]


def _array(node: Node, rule: FieldRule) -> list[Any]:
    name, labels = node.args[0], [_label(i) for i in node.args[1]]
    for x in rule.inputs:
        if name == _square(x):
            return ["square", x]
    if "." in name:
        return ["field", *name.split("."), labels]
    return ["arr", name, labels]


__all__ = ["exact_chain"]
