"""Rest states to first order in a small parameter: the derived expansion, and rest states found by numbers.

Numbers: at small = h, h/2, h/4, ... Newton's method finds the rest state near the claimed one (`numerics.analysis`), and the
ratios observable / formula are extrapolated to small = 0 (Romberg's table). The limit must be 1 within the difference of the
last two extrapolations, times ten. Imported by `numerics.verify`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec
from derive.rest_states.rest_expansion import expand_rest
from numerics.analysis import find_rest
from numerics.claims.expressions import value
from numerics.claims.states import draw_values
from numerics.claims.subject import Subject
from numerics.report import Check, worst

FLOOR = 1e-8  # relative: rounding of a difference of overlaps, divided by the smallest value of the small parameter


def check(claim: Any, subject: Subject) -> tuple[Check, ...]:
    """The formula against the derived expansion, and against rest states found by numbers."""
    system, small = subject.system(claim.on), str(getattr(claim.small, "name", claim.small))
    at = {str(getattr(k, "name", k)): e for k, e in claim.at.items()}
    lost = [n for n in claim.observables if n not in system.observables]
    if lost:
        raise InvalidSpec(
            f"claim {claim.label!r}: {system.name} has no observable {lost[0]}; it has {', '.join(system.observables)}"
        )
    found = expand_rest(system, at, small=small)
    differ = [n for n, e in claim.observables.items() if not _same(found.observables[n], e)]
    first = Check(
        claim=f"{claim.label} (derived to first order in {small})",
        statistic=float(len(differ)),
        bound=0.0,
        reason="number of formulas that are not the derived one, as expressions of all symbols",
        detail="; ".join(f"derived {n} = {found.observables[n]}" for n in claim.observables),
    )
    return (first, *(_by_numbers(claim, subject, system, small, at, n) for n in claim.observables))


def _same(derived: sp.Expr | None, claimed: Any) -> bool:
    if derived is None:
        return False
    claimed = sp.sympify(claimed)
    named = {s: sp.Symbol(s.name) for s in (derived - claimed).free_symbols if isinstance(s, sp.Symbol)}
    difference = sp.expand(sp.radsimp(sp.expand((derived - claimed).subs(named))))
    return bool(difference == 0 or sp.cancel(sp.together(difference)) == 0)


def _by_numbers(claim: Any, subject: Subject, system: Any, small: str, at: Mapping[str, Any], name: str) -> Check:
    _, params, sizes = draw_values(system, subject.values, subject.rng(0))
    known: dict[str, Any] = {**sizes, **{n: v for n, v in subject.values.items() if n in params}, **params}
    known |= {n: float(value(e, known)) for n, e in at.items()}
    start = {b.name: known[b.name] for b in system.state}
    ratios = []
    for h in claim.sizes:
        here = {**known, small: h}
        rest = find_rest(system, start, {b.name: here[b.name] for b in system.parameters})
        ratios.append(float(rest.observables[name]) / float(value(claim.observables[name], here)))
    limits = romberg(ratios)
    error = abs(limits[-1] - 1.0)
    return Check(
        claim=f"{claim.label}: {name} at rest states found by numbers",
        statistic=worst([error]),
        bound=10 * abs(limits[-1] - limits[-2]) + FLOOR,
        reason="ratio to the formula, extrapolated: ten times the difference of the last two extrapolations",
        seed=subject.seed,
        detail=", ".join(f"{r:.4f}" for r in ratios) + f" at {small} = " + ", ".join(f"{h:g}" for h in claim.sizes),
    )


def romberg(values: Sequence[float]) -> list[float]:
    """Limits at 0 of a function of h that is known at h, h/2, h/4, ...: extrapolated from the first 1, 2, 3, ... values.

    >>> romberg([1 + 0.1 * h + h**2 for h in (0.4, 0.2, 0.1)])[-1].__round__(12)
    1.0
    """
    table = [[float(v) for v in values]]
    for k in range(1, len(values)):
        table.append([(2**k * b - a) / (2**k - 1) for a, b in pairwise(table[-1])])
    return [column[0] for column in table]
