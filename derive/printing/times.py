"""Learning times for people. Imported by `derive.solutions.asymptotics` when its result is printed."""

from __future__ import annotations

from typing import Any

from derive.printing.closed import sympy_latex, sympy_text
from derive.printing.document import Document, Line, Section
from derive.printing.objects import assumption_lines, step_lines
from derive.spec.notation import latex_name


def times_document(found: Any) -> Document:
    """Times, saddles on the way, assumptions and steps."""
    small = sympy_latex(found.small)
    lines = tuple(
        Line(text=f"t_{n} ~ {sympy_text(e)}", latex=rf"t_{{{latex_name(n)}}} = {sympy_latex(e)}\quad({small} \to 0)")
        for n, e in found.times.items()
    )
    lags = tuple(
        Line(text=f"t_{n} - t_{m} ~ {sympy_text(found.lags[n])}") for m, n in zip(found.order, found.order[1:], strict=False)
    )
    stops = tuple(Line(text=", ".join(f"{n} = {sympy_text(e)}" for n, e in place.items())) for place in found.saddles)
    return Document(
        title=f"learning times of {found.system.name}, leading order in {found.small}",
        sections=(
            Section(heading=f"times as {found.small} -> 0", lines=(*lines, *lags)),
            Section(heading="from saddle to saddle", lines=stops),
            Section(heading="assumptions", lines=assumption_lines(found.assumptions)),
            Section(heading="derivation", lines=step_lines(found.steps)),
        ),
    )


def times_data(found: Any) -> dict[str, Any]:
    """Plain data."""
    return {
        "kind": "learning times, leading order",
        "system": found.system.name,
        "small": str(found.small),
        "order": list(found.order),
        "times": {n: sympy_text(e) for n, e in found.times.items()},
        "lags": {n: sympy_text(e) for n, e in found.lags.items()},
        "saddles": [{n: sympy_text(e) for n, e in place.items()} for place in found.saddles],
        "conditions": [sympy_text(e) for e in found.conditions],
        "rate": found.rate,
        "assumptions": [a.text for a in found.assumptions],
        "checked": found.checked,
    }
