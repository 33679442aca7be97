"""Judging mutated claims: a seeded sample of them, which are true all the same, and what ``verify`` says of the others.

Imported by the tests of this folder and by `benchmarks/mutants.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from equal_claims import equivalent
from mutate_claims import WrongClaim, wrong_claims

from derive.system import Flow
from numerics import verify
from numerics.claims.subject import Subject
from numerics.verify import derived


def sample(mutants: list[WrongClaim], count: int, seed: int = 0) -> list[WrongClaim]:
    """At most so many, spread evenly over claims and kinds of error."""
    rng = np.random.default_rng(seed)
    groups: dict[tuple[str, str], list[WrongClaim]] = {}
    for m in mutants:
        groups.setdefault((f"{m.label} {m.letter}", m.kind), []).append(m)
    piles = [[group[i] for i in rng.permutation(len(group))] for group in groups.values()]
    piles = [piles[i] for i in rng.permutation(len(piles))]
    chosen: list[WrongClaim] = []
    while len(chosen) < count and any(piles):
        for pile in piles:
            if pile and len(chosen) < count:
                chosen.append(pile.pop())
    return chosen


def judged(entry: Any, count: int, seed: int = 0) -> Iterator[tuple[WrongClaim, bool, bool]]:
    """(mutant, true all the same, rejected by verify) of one entry; mutants that are true are not verified."""
    flow = derived(entry)
    known = {**dict(entry.model.values), **dict(entry.values)}
    subject, systems = Subject(entry=entry, flow=flow), dict[int, Flow]()
    for mutant in sample(list(wrong_claims(entry.claims)), count, seed):
        on: Any = getattr(mutant.claim, "on", None) or getattr(mutant.claim, "ansatz", None)
        if id(on) not in systems:
            systems[id(on)] = subject.system(on)
        equal = equivalent(mutant, systems[id(on)], known, entry.claims)
        report = None if equal else verify(replace(entry, claims=(mutant.claim,)), system=flow)
        yield mutant, equal, report is not None and not report.passed
