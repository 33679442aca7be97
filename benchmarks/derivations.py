"""Derivation times of the catalogue, and that they do not depend on widths.

One line per entry: warm times for the flow, its invariants, every reduction that its claims name (with its closed form where a
claim asks for the one of the engine), and the total. "Warm" means that imports are done and SymPy's caches filled by one
throw-away derivation. The last column is the flow of the same entry with ten times larger widths: sizes are symbols, so it is
the same derivation, and only the numbers of the entry differ.

Run ``python benchmarks/derivations.py [--only NAME ...]``. Exit status 1 if a total exceeds ``--bound`` seconds (default 2).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

from derive import Solves, catalog, closed_form, conserved, gradient_flow, linear_network
from derive.errors import DerivationError
from numerics.claims.subject import Subject
from numerics.verify import derived

SIZES = ("N", "N0", "N1", "N2", "n", "inputs", "hidden", "outputs", "h", "o", "K", "M", "items", "width")


def timed(verb: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of one call, and its result; a refusal is a result."""
    clock = time.process_time()
    try:
        made = verb()
    except DerivationError as refusal:
        made = refusal
    return time.process_time() - clock, made


def derivation(entry: Any) -> dict[str, float]:
    """Seconds of the steps of an entry."""
    out = {}
    out["flow"], flow = timed(lambda: derived(entry))
    out["invariants"] = timed(lambda: conserved(flow))[0] if entry.kind == "matrix" else 0.0
    subject, done = Subject(entry=entry, flow=flow), []
    out["reductions"], out["closed form"] = 0.0, 0.0
    for claim in entry.claims:
        on = getattr(claim, "on", None) or getattr(claim, "ansatz", None)
        if on is None:
            continue
        wanted = isinstance(claim, Solves) and not claim.solution
        if on not in done:
            done.append(on)
            out["reductions"] += timed(lambda on=on: subject.system(on))[0]
        if wanted:
            system = subject.system(on)
            out["closed form"] += timed(lambda system=system: closed_form(system))[0]
    return out


def wider(name: str) -> Any | None:
    """The same entry with ten times larger widths where its settings name them; None if none is named or it refuses."""
    defaults = catalog.settings(name)
    larger = {k: 10 * v for k, v in defaults.items() if k in SIZES and isinstance(v, int) and not isinstance(v, bool)}
    try:
        return catalog.load(name, **larger) if larger else None
    except DerivationError:
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], help="entries (default: all)")
    parser.add_argument("--bound", type=float, default=2.0, help="seconds that no entry may exceed")
    args = parser.parse_args()
    conserved(gradient_flow(linear_network()))
    columns = ("flow", "invariants", "reductions", "closed form")
    print(f"{'entry':<36}" + "".join(f"{c:>13}" for c in columns) + f"{'total':>9}{'x10 flow':>10}")
    slow = []
    for name in args.only or catalog.names():
        seconds = derivation(catalog.load(name))
        total, larger = sum(seconds.values()), wider(name)
        wide = f"{timed(lambda larger=larger: derived(larger))[0]:>10.2f}" if larger is not None else f"{'-':>10}"
        print(f"{name:<36}" + "".join(f"{seconds[c]:>13.2f}" for c in columns) + f"{total:>9.2f}{wide}", flush=True)
        slow += [f"{name} ({total:.1f} s)"] if total > args.bound else []
    print(f"\nslower than {args.bound:g} s: {', '.join(slow) or 'none'}")
    return int(bool(slow))


if __name__ == "__main__":
    sys.exit(main())
