"""How many errors in printed equations are rejected: single mutations of the claims of every catalogue entry.

Each claim that states an equation gets one error (sign, factor 2, missing term, transposition, order of two factors, exchanged
letter or label) and goes through ``verify`` alone. Mutants that are true for a mathematical reason are told apart by values
(`tests/mutants/equal_claims.py`) before verification, and counted. Prints one line per entry and every survivor.

Run ``python benchmarks/mutants.py [--each 40] [--only NAME ...]``; all mutants of an entry are judged if there are at most
``--each``, else a seeded sample. Exit status 1 if less than 99 % are rejected.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "mutants"))

from judge_claims import judged

from derive import Conserved, Published, Solves, catalog
from numerics import verify


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--each", type=int, default=40, help="mutants of one entry")
    parser.add_argument("--only", nargs="*", default=[], help="entries (default: all)")
    args = parser.parse_args()
    print(f"{'entry':<36} {'mutants':>8} {'equal':>6} {'rejected':>9} {'s':>7}")
    total, equal, caught, survivors = 0, 0, 0, []
    for name in args.only or catalog.names():
        clock, entry = time.perf_counter(), catalog.load(name)
        right = replace(entry, claims=tuple(c for c in entry.claims if isinstance(c, Published | Conserved | Solves)))
        if right.claims and not verify(right).passed:
            survivors.append(f"{name}: its own claims fail, so a rejection means nothing")
            continue
        rows = list(judged(entry, args.each))
        same, rejected = sum(e for _, e, _ in rows), sum(r for _, _, r in rows)
        survivors += [f"{name}, {m.label}, {m.letter}: {m.what}" for m, e, r in rows if not e and not r]
        total, equal, caught = total + len(rows), equal + same, caught + rejected
        print(f"{name:<36} {len(rows):>8} {same:>6} {rejected:>9} {time.perf_counter() - clock:>7.1f}", flush=True)
    wrong = total - equal
    print(
        f"\n{wrong} wrong equations, {caught} rejected ({caught / max(wrong, 1):.2%}); {equal} mutants were equal and left out"
    )
    for survivor in survivors:
        print(f"survivor: {survivor}")
    return int(caught < 0.99 * wrong or len(survivors) > wrong - caught)


if __name__ == "__main__":
    sys.exit(main())
