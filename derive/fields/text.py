"""A field rule as text, one line for each term of a step; outcomes of labels and later blocks under headings of their own.

Imported by `derive.fields.rule` only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from derive.fields.later_blocks import Later, Push
from derive.indices.indexed import ONE, Index, mul, text

if TYPE_CHECKING:
    from derive.fields.rule import Branch, FieldRule


def rule_text(rule: FieldRule) -> str:
    """The whole rule."""
    shown = f"{rule.big} = {rule.scale.shown} -> oo" if rule.scale.shown != rule.big else f"{rule.big} -> oo"
    shown = f"any {rule.scale.shown}" if rule.finite else shown
    out = [f"field rule of {rule.name} ({shown}), fields A.x = A x/sqrt({rule.big})"]
    for branch in rule.branches:
        if branch.outcome.shown:
            chance = f" (probability {text(mul(branch.weight, branch.tilt))})" if branch.outcome.weights else ""
            out.append(f" if {branch.outcome.shown}{chance}:")
        out += _branch(rule, branch)
    if rule.batch != ONE:
        out.append(f" averaged over {text(rule.batch)} draws")
    for later in rule.later:
        out += _later(later, rule.big)
    return "\n".join(out)


def _entry(name: str, labels: Sequence[Index]) -> str:
    return f"{name}[{','.join(i.name for i in labels)}]" if labels else name


def _branch(rule: FieldRule, branch: Branch) -> list[str]:
    out = []
    for a, parts in branch.F.items():
        row = _entry(a, rule.labels[a])
        for x, f in parts.items():
            t = rule.step(x)
            along = f"Sum_{t.name} {x}[{t.name}]" if t else x
            out.append(f"  {row} += {rule.big}^(-1/2) * {along} * ({text(f)})")
        out += [f"  {row} += {rule.big}^(-1) * {_push(g)}" for g in branch.G[a]]
    return out + [f"  {_entry(s, rule.labels[s])} += {rule.big}^(-1) * ({text(h)})" for s, h in branch.H.items()]


def _push(g: Push) -> str:
    sums = "".join(f"Sum_{i.name} " for i in g.bound)
    return f"{sums}{_entry(g.family, (g.index,) if g.index else ())} * ({text(g.coefficient)})"


def _later(later: Later, big: str) -> list[str]:
    sign = "<-" if later.projection else f"+= {big}^(-1) *"
    labels: Mapping[str, tuple[Index, ...]] = later.labels
    out = [" then:"]
    out += [f"  {_entry(a, labels[a])} {sign} {' + '.join(_push(g) for g in pushes)}" for a, pushes in later.G.items()]
    return out + [f"  {_entry(s, labels[s])} {sign} ({text(h)})" for s, h in later.H.items()]
