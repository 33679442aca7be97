"""Systems written by hand, for tests of what is done with a flow. Imported by tests of several folders."""

from __future__ import annotations

import sympy as sp

from derive.indices.indexed import const
from derive.reductions.scalar import to_node
from derive.system import Block, Flow


def flow(rates: dict[sp.Symbol, sp.Expr], observables: dict[str, sp.Expr] | None = None) -> Flow:
    """A system of numbers: the keys of ``rates`` are the state, all other symbols parameters."""
    names = {s.name: s for e in rates.values() for s in e.free_symbols} | {s.name: s for s in rates}
    return Flow(
        name="by_hand",
        state=tuple(Block(name=s.name) for s in rates),
        rhs={s.name: to_node(e, {}) if e != 0 else const(0) for s, e in rates.items()},
        parameters=tuple(Block(name=n) for n in sorted(set(names) - {s.name for s in rates})),
        observables={n: to_node(e, {}) for n, e in (observables or {}).items()},
        symbols=names,
    )
