"""`verify`: derive a system again and check every claim of its entry.

One function per kind of claim (`numerics.claims`). A claim whose check cannot be carried out fails and says why.
A mutated system can be put in the place of the derived one: the report must then fail, which is how the checks are checked.
Imported by users and by commands.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from derive.claims.entry import (
    Approaches,
    Commutes,
    Concentrates,
    Conserved,
    Entry,
    LeadingOrder,
    MatchesSimulation,
    MeanExit,
    Published,
    Rests,
    RestsNear,
    Solves,
    Spectrum,
    Throughout,
)
from derive.errors import DerivationError
from derive.system import Flow
from numerics.claims import (
    approaches,
    commutes,
    concentrates,
    conserved,
    leading,
    passage,
    published,
    rests,
    rests_near,
    simulation,
    solves,
    spectrum,
    throughout,
)
from numerics.claims.subject import Subject
from numerics.progress import Progress, throttled
from numerics.report import Check, Report
from numerics.run_settings import check_settings

Checker = Callable[[Any, Subject], tuple[Check, ...]]
CHECKERS: tuple[tuple[type, Checker], ...] = (
    (Published, published.check),
    (Conserved, conserved.check),
    (Solves, solves.check),
    (Commutes, commutes.check),
    (MatchesSimulation, simulation.check),
    (Spectrum, spectrum.check),
    (LeadingOrder, leading.check),
    (Approaches, approaches.check),
    (Rests, rests.check),
    (RestsNear, rests_near.check),
    (Throughout, throughout.check),
    (MeanExit, passage.check),
    (Concentrates, concentrates.check),
)


def derived(entry: Entry) -> Flow:
    """The system of an entry, by the verb of its kind."""
    import derive

    verbs: dict[str, Callable[[Any], Any]] = {
        "online": derive.online_limit, "recursion": derive.recursion, "population": derive.population_flow,
    }  # fmt: skip
    made: Flow = verbs.get(entry.kind, derive.gradient_flow)(entry.model)
    return made


def verify(
    entry: Entry, *, system: Flow | None = None, quick: bool = False, seed: int = 0, progress: Progress | None = None
) -> Report:
    """Check every claim of an entry.

    Parameters
    ----------
    entry : Entry
    system : Flow, optional
        Takes the place of the derived system in every claim: the full one if its
        ``source`` is the model of the entry, a reduced one with the same state otherwise.
    quick : bool
        Ensembles at smaller sizes.
    seed : int
        Root of all random streams.
    progress : callable(fraction, message), optional

    Returns
    -------
    Report
        One or more rows per claim; none if the entry claims nothing, which does not count as passed.
    """
    check_settings(entry, seed)
    full = system is not None and system.source == entry.model
    flow = system if system is not None and full else derived(entry)
    subject = Subject(entry=entry, flow=flow, reduced=None if full else system, seed=seed, quick=quick)
    show, rows = throttled(progress), []
    for number, claim in enumerate(entry.claims):
        show(number / len(entry.claims), claim.label)
        rows += _checked(claim, replace(subject, claim=number))
    show(1.0, "done")
    return Report(system=entry.name, checks=tuple(rows))


def _checked(claim: Any, subject: Subject) -> list[Check]:
    command = f"gradientflow verify {subject.entry.name}"
    clock = time.perf_counter()
    try:
        rows = next(check for kind, check in CHECKERS if isinstance(claim, kind))(claim, subject)
    except (DerivationError, ArithmeticError, ValueError) as cause:
        rows = (
            Check(
                claim=claim.label,
                statistic=float("nan"),
                bound=0.0,
                reason="the check could not be carried out",
                detail=str(cause),
            ),
        )
    seconds = (time.perf_counter() - clock) / len(rows)
    return [replace(row, seconds=seconds, command=command) for row in rows]
