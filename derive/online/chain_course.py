r"""A protocol as a sequence of overlap chains: phases, and maps of the state between them.

    phase:  the chain of its update, for length * pace * N steps;      event:  V <- A V,  theta <- h,  from the old state

Format::

    {"version": 2, "kind": "overlap chain protocol", "name",
     "parts": [["phase", label, length (expression), chain], ["event", label, {"replaces", "families", "G", "H"}], ...]}

All phases follow the same vectors. Imported by `derive.online.chain_plan`.
"""

from __future__ import annotations

from typing import Any

from derive.errors import UnsupportedNode
from derive.fields.increments import row_labels
from derive.fields.later_blocks import later_block
from derive.fields.rule import FieldRule, field_rule, overlaps_of
from derive.online.chain_plan import chain_of, exact_branches, map_data
from derive.online.chain_write import Writing
from derive.protocols.sequence import phase_model
from derive.spec.model import Model
from derive.spec.notation import text
from derive.spec.rules import Phase


def chain_course(model: Model) -> dict[str, Any]:
    """Write the chains of a protocol.

    Raises
    ------
    UnsupportedNode
        If a phase ends by a condition, vectors are dropped, or a phase binds a family of vectors.

    >>> from derive.library.tasks import two_tasks
    >>> made = chain_course(two_tasks(lengths=(2, 3)))
    >>> [(part[0], part[1], part[2]) for part in made["parts"]]
    [('phase', 'task = 1', ['const', 2, 1]), ('phase', 'task = 2', ['const', 3, 1])]
    """
    low = model.lowered
    rules: list[FieldRule] = []
    for item, data in zip(model.protocol, low.protocol, strict=True):
        if data[0] == "drop":
            raise UnsupportedNode(
                f"{model.name}: exact_chain keeps the vectors that it starts with, and the protocol drops entries of "
                f"{data[1]}; simulate the plan"
            )
        if isinstance(item, Phase):
            rules.append(_rule(model, item, data, len(rules) + 1))
    parts: list[list[Any]] = []
    done = 0
    for data in low.protocol:
        rule = rules[min(done, len(rules) - 1)]
        write, reader = Writing(rule=rule), exact_branches(rule)[0].reader
        if data[0] == "phase":
            length = write.expression(reader.scalar(low.inline(data[1])))
            parts.append(["phase", _shown(data), length, chain_of(rule)])
            done += 1
        else:
            block = later_block(reader.lowered, data[1], len(parts) + 1, reader, row_labels)
            if not block.projection:
                raise UnsupportedNode(
                    f"{model.name}: the event {', '.join(n for n, _ in data[1])} moves by an amount of order 1/{rule.big}; "
                    "write it as a block of the update, or leave it out"
                )
            parts.append(["event", ", ".join(f"{n} -> {text(tree)}" for n, tree in data[1]), map_data(block, write)])
    return {"version": 2, "kind": "overlap chain protocol", "name": model.name, "parts": parts}


def _rule(model: Model, phase: Phase, data: tuple[Any, ...], number: int) -> FieldRule:
    if phase.until is not None:
        raise UnsupportedNode(
            f"{model.name}: phase {number} ends by the condition {phase.until}, at a time of its own in every run; give its "
            "length, or simulate the plan"
        )
    rule = field_rule(phase_model(model, phase, number))
    families = overlaps_of(model.lowered).families
    if missing := [f for f in families if f not in rule.overlaps.families]:
        raise UnsupportedNode(
            f"{model.name}: phase {number} does not use the vectors {missing[0]}, and all phases follow the same ones; keep "
            "them in every phase by a switch, case(task, {1: ..., 2: ...})"
        )
    return rule


def _shown(data: tuple[Any, ...]) -> str:
    return ", ".join(f"{n} = {text(v)}" if kind == "value" else f"{n} ~ {v.law}" for n, kind, v in data[2])


__all__ = ["chain_course"]
