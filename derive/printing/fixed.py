"""Fixed points for people: one line of values, one of eigenvalues and one of observables for each point.

Imported by `derive.rest_states.rest_points` when its result is printed.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.printing.closed import sympy_latex, sympy_text
from derive.printing.document import Document, Line, Section
from derive.printing.objects import assumption_lines, step_lines
from derive.solutions.stability import LAM
from derive.spec.notation import latex_name

LONG = 400  # letters of all eigenvalues, beyond which the characteristic polynomial is shown


def fixed_document(found: Any) -> Document:
    """Sections: one for each point, then assumptions and steps."""
    title = f"fixed points of {found.system.name}"
    note = f"These are the points of one mode: r modes of {found.family} have {len(found)}^r fixed points, one for each choice."
    many = (Line(text=note),) if found.family else ()
    return Document(
        title=title,
        sections=(
            Section(heading="modes", lines=many),
            *(Section(heading=f"{n}. {_verdict(p)}", lines=_lines(p)) for n, p in enumerate(found, 1)),
            Section(heading="assumptions", lines=assumption_lines(found.assumptions)),
            Section(heading="derivation", lines=step_lines(found.steps)),
        ),
    )


def _verdict(point: Any) -> str:
    s = point.stability
    if s is None:
        return "no Jacobian there"
    if s.kind == "undecided":
        return "stability depends on the signs of " + ", ".join(sympy_text(e) for e in s.open)
    extra = f", {s.unstable} growing direction{'s' if s.unstable != 1 else ''}" if s.kind == "saddle" and s.unstable else ""
    slow = ", at a power of time" if s.kind in ("saddle", "unstable") and s.unstable == 0 else ""
    along = f", along a continuum of dimension {len(point.free)}" if point.free else ""
    return s.kind + extra + slow + along


def _lines(point: Any) -> tuple[Line, ...]:
    out = [
        Line(
            text=f"{n} = {'+-' if n in point.mirrored else ''}{sympy_text(e)}",
            latex=rf"{latex_name(n)} = {chr(92) + 'pm ' if n in point.mirrored else ''}{sympy_latex(e)}",
        )
        for n, e in point.at.items()
    ]
    s = point.stability
    short = s is not None and len(s.eigenvalues) and sum(len(str(e)) for e, _ in s.eigenvalues) <= LONG
    if s is not None and short:
        text = ", ".join(sympy_text(e) + (f" ({n} times)" if n > 1 else "") for e, n in s.eigenvalues)
        tex = r",\; ".join(sympy_latex(e) + (rf"\;({n}\times)" if n > 1 else "") for e, n in s.eigenvalues)
        out.append(Line(text=f"eigenvalues = {text}", latex=rf"\lambda = {tex}"))
    elif s is not None:
        shown = s.characteristic.xreplace({LAM: sp.Symbol("lambda")})
        out.append(Line(text=f"0 = {sympy_text(shown)}", latex=f"0 = {sympy_latex(shown)}"))
    out += [
        Line(text=f"{n} = {sympy_text(e)}", latex=rf"\text{{{n}}} = {sympy_latex(e)}") for n, e in point.observables.items()
    ]
    words = [f"{n} is free" for n in point.free]
    words += [f"needs {sympy_text(e)} > 0" for e in point.exists] + [f"needs {sympy_text(e)} != 0" for e in point.nonzero]
    return (*out, *(Line(text=w) for w in words))


def fixed_data(found: Any) -> dict[str, Any]:
    """Plain data."""
    return {
        "kind": "fixed points",
        "system": found.system.name,
        "family": found.family,
        "points": [
            {
                "at": {n: sympy_text(e) for n, e in p.at.items()},
                "free": list(p.free),
                "mirrored": list(p.mirrored),
                "stability": p.kind,
                "eigenvalues": [[sympy_text(e), n] for e, n in p.stability.eigenvalues] if p.stability is not None else [],
                "observables": {n: sympy_text(e) for n, e in p.observables.items()},
                "exists": [sympy_text(e) for e in p.exists],
            }
            for p in found
        ],
        "assumptions": [a.text for a in found.assumptions],
        "checked": found.checked,
    }
