"""Printing: `describe(obj, format=...)` for models, flows, reductions, closed forms, conserved quantities and derivations.

Four formats: "text" (terminal), "latex" (the equations), "markdown" (a document), "json" (plain data), all made from the
canonical expressions, so they are the same under every hash seed. Imported by the command line; systems import it when they
are printed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec
from derive.indices.indexed import Node
from derive.matrices.poly import Poly
from derive.printing.closed import antiderivative, domain_text, sympy_latex, sympy_text
from derive.printing.document import Document, Line, Section, as_latex, as_markdown, as_text
from derive.printing.node import array_name, node_latex, node_text
from derive.printing.poly import poly_tree
from derive.printing.short import Short, shorten
from derive.printing.solutions import name_solutions
from derive.spec.notation import latex as tree_latex
from derive.spec.notation import latex_name
from derive.spec.notation import text as tree_text
from derive.system import Assumption, Block, ClosedForm, ConservedQuantity, Expression, Flow, Reduction, Step

FORMATS = ("text", "latex", "markdown", "json")
LONG = 240  # letters of a right-hand side from which its repeated sums get names
#: Sections of a flow that a derivation shows after what follows from the equations.
LATER = ("observables", "functions", "symbols", "assumptions", "derivation")


def describe(obj: Any, format: str = "text") -> str:
    """Text of an object of the derivation chain.

    Parameters
    ----------
    obj : Model, Flow, Reduction, ClosedForm, ConservedQuantity, FixedPoints, LearningTimes or Derivation
    format : str
        "text", "latex", "markdown" or "json".

    Raises
    ------
    InvalidSpec
        If the format or the kind of object is not known.
    """
    if format not in FORMATS:
        raise InvalidSpec(f"describe: there is no format {format!r}; use one of {', '.join(FORMATS)}")
    from derive.derivation import Derivation

    if isinstance(obj, Derivation):
        return _derivation(obj, format)
    if hasattr(obj, "as_document"):  # results that bring their own document: fixed points, learning times
        return json.dumps(obj.as_data(), indent=2) if format == "json" else _render(obj.as_document(), format)
    if not isinstance(obj, Flow | Reduction | ClosedForm | ConservedQuantity):
        from derive.printing.models import describe_model

        return describe_model(obj, format)
    if format == "json":
        return json.dumps(as_data(obj), indent=2)
    if isinstance(obj, ConservedQuantity) and format == "text":
        return conserved_line(obj).text
    return _render(document(obj), format)


def _render(made: Document, format: str) -> str:
    return {"text": as_text, "latex": as_latex, "markdown": as_markdown}[format](made)


def document(obj: Flow | Reduction | ClosedForm | ConservedQuantity) -> Document:
    """The sections of one object."""
    if isinstance(obj, Flow):
        return Document(title=obj.name, sections=flow_sections(obj))
    if isinstance(obj, Reduction):
        return Document(
            title=f"{obj.full.name}, reduced to {manifold_name(obj)} ({obj.proof})", sections=reduction_sections(obj)
        )
    if isinstance(obj, ClosedForm):
        return Document(title=f"closed form of {obj.system.name}", sections=closed_sections(obj))
    return Document(title="conserved quantity", sections=(Section(heading="along the flow", lines=(conserved_line(obj),)),))


def flow_sections(flow: Flow) -> tuple[Section, ...]:
    """Equations, observables, symbols, assumptions and steps of a flow (or of what brings its own, a recursion)."""
    if not isinstance(flow, Flow):
        return tuple(flow.as_document().sections)
    return (
        *equation_sections(flow),
        Section(heading="observables", lines=_observed(flow)),
        Section(heading="functions", lines=_used_functions(flow)),
        Section(heading="symbols", lines=tuple(_symbol_line(b) for b in (*flow.state, *flow.parameters))),
        Section(heading="assumptions", lines=assumption_lines(flow.assumptions)),
        Section(heading="derivation", lines=step_lines(flow.steps)),
    )


def _used_functions(flow: Flow) -> tuple[Line, ...]:
    """Definitions of functions in the equations, which are loaded only for systems at index level."""
    nodes = [e for e in (*flow.rhs.values(), *flow.observables.values()) if isinstance(e, Node)]
    if not nodes:
        return ()
    from derive.printing.functions import function_lines

    return function_lines(nodes)


def equation_sections(flow: Flow, word: str = "") -> tuple[Section, Section]:
    """The equations, and the definitions of the names that shorten the long ones (none if there is no long one)."""
    long = {n: e for n, e in flow.rhs.items() if isinstance(e, Node) and len(node_text(e)) > LONG}
    short, names = shorten(long, tuple(sorted({*flow.symbols, *(b.name for b in (*flow.state, *flow.parameters))})))
    shown, solved = name_solutions(flow)
    shown = shown.replace(rhs={**flow.rhs, **short}) if names else shown
    return (
        Section(heading=f"{word}equations (time {flow.time})", lines=tuple(rate_line(shown, block) for block in flow.state)),
        Section(heading="where", lines=(*(_definition(s) for s in names), *(_vanishing(p) for p in solved.values()))),
    )


def _vanishing(p: Poly) -> Line:
    return Line(text=f"0 = {expression_text(p)}", latex=f"0 = {expression_latex(p)}")


def _observed(flow: Flow) -> tuple[Line, ...]:
    return tuple(_equation(n, (), e) for n, e in name_solutions(flow)[0].observables.items())


def _definition(short: Short) -> Line:
    return _equation(short.name, tuple(i.name for i in short.labels), short.body)


def manifold_name(red: Reduction) -> str:
    """What a reduction reduces to: the title of its last step that is no step of the full flow."""
    own = [s.title for s in red.steps if s not in red.full.steps]
    return own[-1] if own else red.system.name


def reduction_sections(red: Reduction) -> tuple[Section, ...]:
    """Ansatz, reduced equations, assumptions and steps of a reduction."""
    ansatz = tuple(_equation(n, _labels(e), e) for n, e in (*red.lift.items(), *red.data.items()))
    return (
        Section(heading=f"on the manifold ({red.proof})", lines=ansatz),
        *equation_sections(red.system),
        Section(heading="observables", lines=_observed(red.system)),
        Section(heading="assumptions", lines=assumption_lines(_merged(red.assumptions, red.system.assumptions))),
        Section(heading="derivation", lines=step_lines(_merged(red.steps, red.system.steps))),
    )


def closed_sections(form: ClosedForm) -> tuple[Section, ...]:
    """Solution, domain and check of a closed form."""
    halves = antiderivative(form)
    if halves is not None:
        F, u, u0 = halves
        letter = next(x for x in ("F", "G", "H") if x not in {s.name for s in F.free_symbols})
        sides = {"t": f"{letter}({u}) - {letter}({u0})", f"{letter}({u})": sympy_text(F)}
        tex = (f"{letter}({sympy_latex(u)}) - {letter}({sympy_latex(u0)})", sympy_latex(F))
        lefts = ("t", f"{letter}({sympy_latex(u)})")
        solution = tuple(
            Line(text=f"{name} = {e}", latex=f"{left} = {x}")
            for (name, e), left, x in zip(sides.items(), lefts, tex, strict=True)
        )
    else:
        solution = tuple(
            Line(text=f"{_solved(n, form)} = {sympy_text(e)}", latex=f"{_solved_latex(n, form)} = {sympy_latex(e)}")
            for n, e in form.solution.items()
        )
    remarks = [
        Line(text=f"{word}: {said}") for word, said in (("holds for", domain_text(form)), ("checked", form.checked)) if said
    ]
    return (
        Section(heading=f"closed form ({form.kind})", lines=(*solution, *remarks)),
        Section(heading="assumptions", lines=assumption_lines(form.assumptions)),
        Section(heading="derivation", lines=step_lines(form.steps)),
    )


def _solved(name: str, form: ClosedForm) -> str:
    return f"{name}({form.time})" if form.kind == "explicit" else name


def _solved_latex(name: str, form: ClosedForm) -> str:
    return f"{latex_name(name)}({latex_name(str(form.time))})" if form.kind == "explicit" else latex_name(name)


def conserved_line(q: ConservedQuantity) -> Line:
    """One conserved quantity: what it is, and its rate if that is not zero."""
    shown = f"{q.label}: " if q.label else ""
    rate = q.rate
    zero = (
        not bool(rate)
        if isinstance(rate, Poly)
        else rate == 0 or (isinstance(rate, Node) and rate.op == "const" and not rate.args[0])
    )
    end = "const" if zero else f"({expression_text(rate) if isinstance(rate, Poly | Node) else rate}) * itself as its rate"
    dependent = "" if q.functionally_independent else " (a function of those before)"
    tex = expression_latex(q.expr) + (
        r" = \text{const}" if zero else rf" = \text{{const}}\cdot e^{{\int {_any_latex(rate)}\,dt}}"
    )
    return Line(text=f"{shown}{expression_text(q.expr)} = {end}  [{q.status}]{dependent}", latex=tex)


def _any_latex(e: Any) -> str:
    return expression_latex(e) if isinstance(e, Poly | Node) else sp.latex(e)


def rate_line(flow: Flow, block: Block) -> Line:
    """d state / dt = right-hand side."""
    time = time_symbol(flow)
    labels = tuple(i.name for i in block.indices)
    rhs = flow.rhs[block.name]
    left = f"d{array_name(block.name, labels, False)}/d{time}"
    tex = rf"\frac{{d{array_name(block.name, labels, True)}}}{{d{latex_name(time)}}}"
    return Line(text=f"{left} = {expression_text(rhs)}", latex=f"{tex} = {expression_latex(rhs)}")


def time_symbol(flow: Flow) -> str:
    """The letter that the flow's phrase about time defines (``alpha = steps/N``), or t."""
    found = re.match(r"([A-Za-z]\w*)\s*(=|,|$)", flow.time)
    return found.group(1) if found else "t"


def _labels(e: Expression) -> tuple[str, ...]:
    """Labels of a quantity that is given entry by entry."""
    return tuple(i.name for i in e.free) if isinstance(e, Node) else ()


def _equation(name: str, labels: tuple[str, ...], e: Expression) -> Line:
    left, tex = array_name(name, labels, False), array_name(name, labels, True)
    return Line(text=f"{left} = {expression_text(e)}", latex=f"{tex} = {expression_latex(e)}")


def _symbol_line(block: Block) -> Line:
    shape = " x ".join(tree_text(s) for s in block.shape) or "scalar"
    return Line(text=f"{block.name}: {shape}" + (f", {block.meaning}" if block.meaning else ""))


def assumption_lines(assumptions: Iterable[Assumption]) -> tuple[Line, ...]:
    """One sentence each, with the remedy."""
    return tuple(Line(text=a.text + (f" (otherwise: {a.remedy})" if a.remedy else "")) for a in assumptions)


def step_lines(steps: Iterable[Step]) -> tuple[Line, ...]:
    """Numbered steps with rule and check."""
    lines = []
    for n, s in enumerate(steps, 1):
        detail = f": {s.detail}" if s.detail else ""
        lines.append(Line(text=f"{n}. {s.title}{detail}" + (f" [checked: {s.check}]" if s.check else "")))
    return tuple(lines)


def _merged(*groups: tuple[Any, ...]) -> tuple[Any, ...]:
    """Concatenation without repetitions (assumptions are compared by their text)."""
    out: dict[Any, Any] = {}
    for group in groups:
        for item in group:
            out.setdefault(item.text if isinstance(item, Assumption) else (item.title, item.detail), item)
    return tuple(out.values())


def expression_text(e: Expression) -> str:
    """One line of text of a matrix-level or index-level expression."""
    return tree_text(poly_tree(e)) if isinstance(e, Poly) else node_text(e)


def expression_latex(e: Expression) -> str:
    """LaTeX of a matrix-level or index-level expression."""
    return tree_latex(poly_tree(e)) if isinstance(e, Poly) else node_latex(e)


def as_data(obj: Flow | Reduction | ClosedForm | ConservedQuantity) -> dict[str, Any]:
    """Plain data of one object."""
    if isinstance(obj, Flow):
        return {
            "system": obj.name,
            "kind": "flow",
            "state": {b.name: {"shape": [tree_text(s) for s in b.shape]} for b in obj.state},
            "equations": {b.name: expression_text(obj.rhs[b.name]) for b in obj.state},
            "latex": {b.name: rate_line(obj, b).latex for b in obj.state},
            "observables": {n: expression_text(e) for n, e in obj.observables.items()},
            "assumptions": [a.text for a in obj.assumptions],
            "steps": [line.text for line in step_lines(obj.steps)],
        }
    if isinstance(obj, Reduction):
        made = as_data(obj.system)
        made["kind"], made["proof"] = "reduction", obj.proof
        made["lift"] = {n: expression_text(e) for n, e in obj.lift.items()}
        made["assumptions"] = [a.text for a in _merged(obj.assumptions, obj.system.assumptions)]
        made["steps"] = [line.text for line in step_lines(_merged(obj.steps, obj.system.steps))]
        return made
    if isinstance(obj, ClosedForm):
        return {
            "system": obj.system.name,
            "kind": f"closed form, {obj.kind}",
            "closed_form": {_solved(n, obj): sympy_text(e) for n, e in obj.solution.items()},
            "latex": {_solved(n, obj): sympy_latex(e) for n, e in obj.solution.items()},
            "domain": domain_text(obj),
            "checked": obj.checked,
            "assumptions": [a.text for a in obj.assumptions],
        }
    return {"kind": "conserved", "expression": expression_text(obj.expr), "status": obj.status, "rate": str(obj.rate)}


def _derivation(d: Any, format: str) -> str:
    """A whole derivation: flow, conserved quantities, reductions, closed form."""
    if format == "json":
        return json.dumps(derivation_data(d), indent=2)
    return _render(Document(title=d.title, sections=derivation_sections(d)), format)


def derivation_sections(d: Any) -> tuple[Section, ...]:
    """Sections in the order of the chain; assumptions and steps once, at the end, with the reasons of what was refused."""
    own = {s.heading: s for s in flow_sections(d.flow)}
    made = [
        *(s for heading, s in own.items() if heading not in LATER),
        Section(heading="conserved quantities", lines=tuple(conserved_line(q) for q in d.conserved)),
        own["observables"],
    ]
    shown: tuple[Line, ...] = ()
    for red in d.reductions:
        new = tuple(line for line in reduction_sections(red)[0].lines if line not in shown)
        shown += new
        made.append(Section(heading=f"reduction to {manifold_name(red)} ({red.proof})", lines=new))
        made += equation_sections(red.system, "reduced ")
    if d.closed_form is not None:
        made.append(closed_sections(d.closed_form)[0])
    assumptions, steps = _everything(d)
    made += [
        *(own[heading] for heading in ("functions", "symbols") if heading in own),
        Section(heading="assumptions", lines=assumption_lines(assumptions)),
        Section(heading="derivation", lines=step_lines(steps)),
        Section(heading="not found", lines=tuple(Line(text=t) for t in d.refusals)),
    ]
    return tuple(made)


def _everything(d: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """All assumptions and all steps of a derivation, each once."""
    parts = [d.flow, *d.reductions, *([d.closed_form] if d.closed_form is not None else [])]
    return _merged(*(p.assumptions for p in parts)), _merged(*(p.steps for p in parts))


def derivation_data(d: Any) -> dict[str, Any]:
    """The JSON contract of ``gradientflow derive``."""
    flow = as_data(d.flow) if isinstance(d.flow, Flow) else d.flow.as_data()
    assumptions, steps = _everything(d)
    return {
        "system": d.name,
        "kind": d.kind,
        "state": flow["state"],
        "equations": flow["equations"],
        "latex": flow["latex"],
        "observables": flow["observables"],
        "conserved": [expression_text(q.expr) for q in d.conserved],
        "reductions": [as_data(r) for r in d.reductions],
        "closed_form": {} if d.closed_form is None else as_data(d.closed_form)["closed_form"],
        "assumptions": [a.text for a in assumptions],
        "steps": [line.text for line in step_lines(steps)],
        "not_found": list(d.refusals),
    }
