"""The plan: a Model as plain data (JSON), the only thing that the independent simulation reads.

Trees are nested lists; shapes are [] or [rows, columns]. The format is that of docs/architecture.md; a change of it changes
``version``. Imported by users; imports no pass.
"""

from __future__ import annotations

from typing import Any

from derive.errors import UnsupportedNode
from derive.spec.canonical import draw_data, function_data, protocol_data, rule_data, start_data
from derive.spec.lowered import LoweredOptimum, lowered_of
from derive.spec.model import Model
from derive.spec.tree import to_json


def plan(model: Model) -> dict[str, Any]:
    """Write a Model as plain data for `numerics.simulate`.

    Raises
    ------
    UnsupportedNode
        If the rule is an `Optimum`: there are no steps to simulate.

    Examples
    --------
    >>> from derive import Model, Normal, Update, dims, grad, norm2, vector
    >>> N = dims("N")
    >>> w, x = vector("w", N), vector("x", N)
    >>> m = Model(name="mean", state=w, data=Normal(x), learn=Update({w: w - grad(norm2(w - x), w) / 10}))
    >>> plan(m)["rule"]["blocks"][0][0][0], plan(m)["state"]
    ('w', {'w': ['N', 1]})
    """
    m = lowered_of("plan", model)
    if isinstance(m.rule, LoweredOptimum):
        raise UnsupportedNode(f"plan: the rule of {m.name} is an Optimum, which has no steps; treat it with `stationary`")
    return {
        "version": 1,
        "name": m.name,
        "dims": list(m.dims),
        "state": {n: to_json(m.shapes[n]) for n in m.state},
        "given": {n: to_json(m.shapes[n]) for n in m.given},
        "moments": {n: to_json(m.shapes[n]) for n, role in m.roles.items() if role == "moment"},
        "draws": [draw_data(d) for d in m.draws],
        "let": [[n, to_json(tree)] for n, tree in m.let],
        "functions": function_data(m),
        "rule": rule_data(m.rule),
        "start": [start_data(i) for i in m.start],
        "facts": to_json(m.facts),
        "observe": {n: to_json(tree) for n, tree in m.observe},
        "protocol": [protocol_data(i) for i in m.protocol],
    }
