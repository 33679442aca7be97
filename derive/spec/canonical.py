"""Identity of a Model: JSON of its lowered sections in a canonical order, and the SHA-256 of that text.

The name is left out; state, given, rules, observables and facts are sorted; laws and definitions are sorted by their depth in
the dependency graph, then by name. So the digest does not depend on the order of typing or on PYTHONHASHSEED; it depends on
what is written (a spec with definitions inlined, or with renamed symbols, is another spec). Imported by `derive.spec.model`
and the plan.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from derive.spec.lowered import Draw, Lowered, LoweredOptimum, LoweredRate, LoweredUpdate
from derive.spec.tree import names, to_json
from derive.spec.validate import draw_trees


def draw_data(draw: Draw) -> dict[str, Any]:
    """A law as JSON-ready data."""
    data = {
        "law": draw.law, "symbols": list(draw.symbols), "shapes": {s: to_json(draw.shapes[s]) for s in draw.symbols},
        "cov": to_json(draw.cov), "mean": to_json(draw.mean), "values": to_json(draw.values), "probs": to_json(draw.probs),
        "moments": to_json(draw.moments), "odd": list(draw.odd), "even": list(draw.even), "once": draw.once,
    }  # fmt: skip
    if draw.transform is not None:
        data["transform"] = draw.transform
    return data


def rule_data(rule: LoweredRate | LoweredUpdate | LoweredOptimum | None) -> dict[str, Any] | None:
    """A rule as JSON-ready data."""
    if rule is None:
        return None
    if isinstance(rule, LoweredRate):
        return {"kind": "rate", "rates": to_json(rule.rates), "noise": to_json(rule.noise)}
    if isinstance(rule, LoweredUpdate):
        return {"kind": "update", "blocks": to_json(rule.blocks), "dt": to_json(rule.dt), "batch": to_json(rule.batch)}
    return {
        "kind": "optimum", "objective": to_json(rule.objective), "over": list(rule.over), "sense": rule.sense,
        "subject_to": to_json(rule.subject_to),
    }  # fmt: skip


def start_data(item: tuple[Any, ...]) -> list[Any]:
    """One entry of `start` as JSON-ready data."""
    if item[0] == "law":
        return ["law", item[1], draw_data(item[2])]
    return [item[0], *(to_json(part) for part in item[1:])]


def protocol_data(item: tuple[Any, ...]) -> list[Any]:
    """One entry of the protocol as JSON-ready data."""
    if item[0] == "phase":
        binds = [[name, kind, draw_data(v) if kind == "law" else to_json(v)] for name, kind, v in item[2]]
        return ["phase", to_json(item[1]), binds, to_json(item[3])]
    return [item[0], *(to_json(part) for part in item[1:])]


def function_data(lowered: Lowered) -> dict[str, Any]:
    """The user's activations as JSON-ready data."""
    return {n: {"variable": f.variable, "body": to_json(f.body)} for n, f in sorted(lowered.functions.items())}


def _sorted(items: Any) -> list[Any]:
    return sorted((to_json(i) if isinstance(i, tuple) else i for i in items), key=json.dumps)


def _depths(m: Lowered) -> dict[str, int]:
    """Longest chain of definitions and laws below each defined or drawn name."""
    below: dict[str, tuple[str, ...]] = {name: tuple(n for n in names(tree) if n != name) for name, tree in m.let}
    for draw in m.draws:
        used = tuple(sorted({n for tree in draw_trees(draw) for n in names(tree)}))
        below |= dict.fromkeys(draw.symbols, used)
    depth: dict[str, int] = {}

    def visit(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((visit(n) for n in below[name] if n in below), default=-1)
        return depth[name]

    for name in below:
        visit(name)
    return depth


def canonical(m: Lowered) -> dict[str, Any]:
    """The spec as JSON-ready data, independent of the order of typing."""
    depth = _depths(m)
    draws = sorted(m.draws, key=lambda d: (depth[d.symbols[0]], d.symbols))
    rule = rule_data(m.rule)
    if isinstance(m.rule, LoweredRate):
        rule = {"kind": "rate", "rates": _sorted(m.rule.rates), "noise": _sorted(m.rule.noise)}
    elif isinstance(m.rule, LoweredUpdate):
        rule = {**(rule or {}), "blocks": [_sorted(block) for block in m.rule.blocks]}
    kinds = [
        (n, "integer" if s.is_integer else "positive" if s.is_positive else "real")
        for n, s in m.symbols.items()
        if s.is_scalar is not False and not m.shapes.get(n)
    ]
    return {
        "version": 1, "dims": sorted(m.dims), "kinds": sorted(kinds),
        "shapes": {n: to_json(s) for n, s in sorted(m.shapes.items())},
        "state": sorted(m.state), "given": sorted(m.given),
        "draws": [draw_data(d) | {"opens": list(d.opens)} for d in draws],
        "let": [[n, to_json(t)] for n, t in sorted(m.let, key=lambda pair: (depth[pair[0]], pair[0]))],
        "rule": rule, "start": sorted((start_data(i) for i in m.start), key=json.dumps),
        "facts": _sorted(m.facts), "observe": _sorted(m.observe), "functions": function_data(m),
        "limit": None if m.limit is None else [_sorted(pairs) for pairs in m.limit],
        "protocol": [protocol_data(i) for i in m.protocol], "control": to_json(m.control),
    }  # fmt: skip


def digest(m: Lowered) -> str:
    """SHA-256 of the canonical form, in hexadecimal."""
    text = json.dumps(canonical(m), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
