"""A `Stationary` rest as a document and as plain data. Imported by it when it is printed."""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.printing.closed import sympy_latex, sympy_text
from derive.printing.document import Document, Line, Section
from derive.printing.objects import step_lines
from derive.recursions.mode_form import K
from derive.spec.notation import latex_name


def stationary_document(made: Any) -> Document:
    """Entries of a mode, couplings, closure, stability, steps."""
    h = made.h.name
    of = f"{made.recursion.name} at rest, in the eigenbasis of {made.basis} with eigenvalues {h}"
    modes = tuple(
        Line(text=f"{n}[k] = {_text(e, made)}", latex=f"({latex_name(n)})_k = {sympy_latex(e)}") for n, e in made.modes.items()
    )
    return Document(
        title=of,
        sections=(
            Section(heading=f"mode k of eigenvalue {h} = {h}[k]", lines=modes),
            Section(heading="couplings", lines=tuple(_coupling(x, n, f) for x, (n, f) in made.couplings.items())),
            Section(heading="closure", lines=_closure(made)),
            Section(heading="stability", lines=(Line(text=stability_text(made)),)),
            Section(heading="derivation", lines=step_lines(made.steps)),
        ),
    )


def _text(e: sp.Expr, made: Any) -> str:
    return str(sympy_text(e))


def _coupling(x: sp.Symbol, moment: str, f: sp.Expr) -> Line:
    body = f * sp.Symbol(f"{moment}[k]")
    return Line(
        text=f"{x.name} = sum over k of {sympy_text(body)}",
        latex=f"{latex_name(x.name)} = \\sum_k {sympy_latex(f)} ({latex_name(moment)})_k",
    )


def _closure(made: Any) -> tuple[Line, ...]:
    if not made.unknowns:
        return ()
    if len(made.unknowns) == 1:
        (x,) = made.unknowns
        lines = [Line(text=f"{x.name} = s/(1 - S)", latex=f"{latex_name(x.name)} = \\frac{{s}}{{1 - S}}")]
        lines += [_entry(n, m[0, 0]) for n, m in (("S", made.S), ("s", made.s))]
        return tuple(lines)
    names = ", ".join(x.name for x in made.unknowns)
    lines = [Line(text=f"({names}) = (1 - S)^-1 s", latex=None)]
    size = len(made.unknowns)
    lines += [_entry(f"S[{i + 1},{j + 1}]", made.S[i, j]) for i in range(size) for j in range(size) if made.S[i, j] != 0]
    return (*lines, *(_entry(f"s[{i + 1}]", made.s[i, 0]) for i in range(size) if made.s[i, 0] != 0))


def _entry(name: str, e: sp.Expr) -> Line:
    return Line(text=f"{name} = {sum_text(e)}", latex=f"{name.replace('[', '_{').replace(']', '}')} = {sp.latex(e)}")


def sum_text(e: sp.Expr) -> str:
    """Text of an expression in which sums over modes stand."""
    if isinstance(e, sp.Sum):
        return f"sum over k of {e.function}"
    return str(e).replace(f", ({K.name}, 1, ", ", (k, 1, ")


def stability_text(made: Any) -> str:
    """When the rest attracts, as far as it can be said without numbers."""
    if not made.unknowns:
        return f"attracts if |A(h)| < 1 at every eigenvalue of {made.basis}, A(h) the factor (matrix) of a mode per step"
    one = len(made.unknowns) == 1 and len(made.couplings) == 1
    if one:
        return (
            "attracts if every mode alone is stable and S < 1 (the noise of the other modes feeds every mode, never drains it)"
        )
    return "attracts if every deviation shrinks: growth(values) < 1"


def stationary_data(made: Any) -> dict[str, Any]:
    """Plain data."""
    return {
        "system": made.recursion.name,
        "kind": "stationary",
        "basis": made.basis,
        "eigenvalue": made.h.name,
        "modes": {n: str(e) for n, e in made.modes.items()},
        "couplings": {x.name: f"sum over k of {f * sp.Symbol(n + '[k]')}" for x, (n, f) in made.couplings.items()},
        "S": [[sum_text(e) for e in row] for row in made.S.tolist()],
        "s": [sum_text(e) for e in made.s],
        "stability": stability_text(made),
        "checked": made.checked,
    }
