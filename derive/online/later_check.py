r"""Check of the blocks after the first one, at a random state on the manifold that they keep.

The blocks as typed are applied to random vectors (N = 9) until the state stays; what they do once more, and what the derived
maps do, must agree. A projection is then applied to overlaps moved by +-h times the rates of the first block; the central
difference must be the derived right-hand side. Imported by the checks of `online_limit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.errors import CheckFailed, UnsupportedNode
from derive.fields.later_blocks import Later, in_effect, new_value
from derive.fields.rule import FieldRule
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import Node, evaluate
from derive.online.values import flat_values, rows, set_overlaps
from derive.spec.lowered import LoweredUpdate
from derive.spec.tree_values import tree_value
from derive.system import Flow

STEP = 1e-5


def check_later(flow: Flow, rule: FieldRule, noise: str, values: Mapping[str, Any]) -> tuple[str, str]:
    """Compare typed and derived maps, and the derivative of projections.

    Raises
    ------
    CheckFailed
        If they differ.
    UnsupportedNode
        If a block of order one is no projection: applied twice, it moves the state twice.
    """
    here = dict(values)
    for number in range(len(rule.later)):
        if rule.later[number].projection:
            here = _typed(here, rule, number)
    worst = max(_maps(rule, number, here) for number in range(len(rule.later)))
    for number, later in enumerate(rule.later):
        if later.projection:
            _stays(here, _typed(here, rule, number), rule, number)
    worst = max(worst, _derivative(flow, rule, noise, here))
    return "later blocks against the spec, and their effect against differences", f"largest difference {worst:.1e}, bound 1e-6"


def _typed(values: Mapping[str, Any], rule: FieldRule, number: int) -> dict[str, Any]:
    """The state after one later block, evaluated as typed."""
    low = rule.branches[0].reader.lowered
    assert isinstance(low.rule, LoweredUpdate)
    made = {name: tree_value(low.inline(tree), values, low) for name, tree in low.rule.blocks[number + 1]}
    out = {**values, **made}
    set_overlaps(out, rule)
    return out


def _stays(before: Mapping[str, Any], after: Mapping[str, Any], rule: FieldRule, number: int) -> None:
    for name in rule.later[number].labels:
        size = float(np.max(np.abs(before[name])))
        if float(np.max(np.abs(np.asarray(after[name]) - before[name]))) > 1e-9 * size:  # rounding of a few operations
            raise UnsupportedNode(
                f"{rule.name}: block {number + 2} of the update moves {name} by an amount of order one at every step; only a "
                "projection has a limit, for instance a normalisation, or write the move with a factor 1/N"
            )


def _maps(rule: FieldRule, number: int, values: Mapping[str, Any]) -> float:
    from derive.online.check import pushed

    later = rule.later[number]
    low = rule.branches[0].reader.lowered
    flat = flat_values(values, low)
    typed = _typed(values, rule, number)
    share = 1.0 if later.projection else 1.0 / flat[rule.big]
    worst = 0.0
    for name in later.labels:
        labels = later.labels[name]
        vector = name in rule.overlaps.families
        want = np.asarray(rows(typed, name, rule) if vector else flat_values(typed, low)[name], dtype=float)
        base = 0.0 if later.projection else np.asarray(rows(values, name, rule) if vector else flat[name], dtype=float)
        got = np.zeros(want.shape)
        for place in np.ndindex(*(int(flat[i.family]) for i in labels)):
            at = dict(zip(labels, place, strict=True))
            if vector:
                got[place or 0] = share * sum(pushed(p, rule, values, flat, at) for p in later.G.get(name, ()))
            else:
                got[place] = share * evaluate(later.H[name], flat, at, NUMPY)
        worst = max(worst, float(np.max(np.abs(base + got - want)) / np.max(np.abs(want))))
    return _small(worst, rule, f"block {number + 2} and its derived form")


def _derivative(flow: Flow, rule: FieldRule, noise: str, values: Mapping[str, Any]) -> float:
    """The derived right-hand sides against rates of the first block, pushed through the later ones by differences."""
    from derive.fields.later_blocks import after
    from derive.online.limit import first_block

    flat = flat_values(values, rule.branches[0].reader.lowered)
    rates = first_block(rule, noise)
    moved = _arrays({n: node for n, (_, node) in rates.items()}, rates, flat)
    for later in in_effect(rule.later):
        if later.projection:
            up, down = ({**flat, **{n: flat[n] + s * STEP * moved[n] for n in moved}} for s in (1, -1))
            ends = [_projected(rule, later, rates, v) for v in (up, down)]
            moved = {n: (ends[0][n] - ends[1][n]) / (2 * STEP) for n in moved}
        else:
            more = after(rule.overlaps, later, rates, rule.pace)
            plain = _arrays({n: node for n, (_, node) in rates.items()}, rates, flat)
            moved = {n: moved[n] + a - plain[n] for n, a in _arrays(more, rates, flat).items()}
    got = _arrays({n: _node(flow.rhs[n]) for n in rates}, rates, flat)
    worst = max(float(np.max(np.abs(got[n] - moved[n]) / (1 + np.abs(moved[n])))) for n in rates)
    return _small(worst, rule, "right-hand sides with later blocks and differences")


def _arrays(nodes: Mapping[str, Node], rates: Mapping[str, Any], flat: Mapping[str, Any]) -> dict[str, Any]:
    out = {}
    for name, node in nodes.items():
        labels = rates[name][0]
        out[name] = np.zeros([int(flat[i.family]) for i in labels])
        for place in np.ndindex(out[name].shape):
            out[name][place] = evaluate(node, flat, dict(zip(labels, place, strict=True)), NUMPY)
    return out


def _projected(rule: FieldRule, later: Later, rates: Mapping[str, Any], flat: Mapping[str, Any]) -> dict[str, Any]:
    new = {n: new_value(rule.overlaps, later, n, labels) for n, (labels, _) in rates.items()}
    made = _arrays({n: node for n, node in new.items() if node is not None}, rates, flat)
    return {n: made.get(n, np.asarray(flat[n], dtype=float)) for n in rates}


def _node(expression: object) -> Node:
    assert isinstance(expression, Node)
    return expression


def _small(worst: float, rule: FieldRule, what: str) -> float:
    if not worst < 1e-6:  # central differences with step 1e-5: 1e-10 and rounding
        raise CheckFailed(f"{rule.name}: {what} differ by {worst:.2g}; please report this model")
    return worst


__all__ = ["check_later"]
