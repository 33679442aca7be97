"""A `Recursion` as a document and as plain data. Imported by it when it is printed."""

from __future__ import annotations

from typing import Any

from derive.printing.document import Document, Line, Section
from derive.printing.objects import assumption_lines, expression_latex, expression_text, step_lines
from derive.recursions.discrete import Recursion
from derive.recursions.moment_table import named
from derive.spec.notation import latex_name
from derive.spec.notation import text as tree_text
from derive.system import Block


def recursion_document(made: Recursion) -> Document:
    """Equations, observables, symbols, assumptions and steps."""
    return Document(title=made.name, sections=sections(made))


def sections(made: Recursion) -> tuple[Section, ...]:
    """The sections of a recursion."""
    observed = tuple(
        Line(text=f"{n} = {expression_text(p)}", latex=f"{latex_name(n)} = {expression_latex(p)}")
        for n, p in made.observables.items()
    )
    return (
        Section(heading=f"recursion ({made.time})", lines=tuple(_line(made, b) for b in made.state)),
        Section(heading="where", lines=()),
        Section(heading="observables", lines=observed),
        Section(heading="symbols", lines=tuple(_symbol(b) for b in (*made.state, *made.parameters))),
        Section(heading="assumptions", lines=assumption_lines(made.assumptions)),
        Section(heading="derivation", lines=step_lines(made.steps)),
    )


def _line(made: Recursion, block: Block) -> Line:
    """A moment after one step: before it, and the change, where it goes on from its value."""
    p, kept = made.after[block.name], named(block.name, block.shape, block.tags)
    (key,) = kept.terms
    name = latex_name(block.name)
    right = (expression_text(p), expression_latex(p))
    if p.terms.get(key) == 1 and p != kept:
        right = (block.name + _joined(expression_text(p - kept)), name + _joined(expression_latex(p - kept)))
    return Line(text=f"{block.name}(n+1) = {right[0]}", latex=f"{name}(n+1) = {right[1]}")


def _joined(change: str) -> str:
    return f" - {change[1:]}" if change.startswith("-") else f" + {change}"


def _symbol(block: Block) -> Line:
    shape = " x ".join(tree_text(s) for s in block.shape) or "scalar"
    return Line(text=f"{block.name}: {shape}" + (f", {block.meaning}" if block.meaning else ""))


def recursion_data(made: Recursion) -> dict[str, Any]:
    """Plain data with the keys of a flow."""
    return {
        "system": made.name,
        "kind": "recursion",
        "state": {b.name: {"shape": [tree_text(s) for s in b.shape], "meaning": b.meaning} for b in made.state},
        "equations": {b.name: expression_text(made.after[b.name]) for b in made.state},
        "latex": {b.name: _line(made, b).latex for b in made.state},
        "observables": {n: expression_text(p) for n, p in made.observables.items()},
        "assumptions": [a.text for a in made.assumptions],
        "steps": [line.text for line in step_lines(made.steps)],
    }
