"""What `complete` and `conserved` are asked for: SymPy expressions, Polys, or names, read as expressions of a flow's symbols.

Imported by `derive.completion.closure` and `derive.invariants.search`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from derive.errors import InvalidSpec
from derive.matrices.composite import atoms, parameters
from derive.matrices.convert import to_poly
from derive.matrices.poly import Poly, atom, param, text
from derive.matrices.words import Atom, is_ones
from derive.reductions.ansatz import name_of
from derive.spec.lower import Collector
from derive.spec.symbols import check_name, closest
from derive.system import Flow


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One observable: its expression, the name that its variable shall have (None: automatic), a label for messages."""

    poly: Poly
    name: str | None
    label: str


def read_wanted(flow: Flow, observables: Any, verb: str = "complete") -> tuple[Wanted, ...]:
    """The expressions of a call to ``verb``, in order.

    Raises
    ------
    InvalidSpec
        If there are none, or one is not an expression of the flow's symbols; with the nearest name.
    """
    pairs: list[tuple[str | None, Any]]
    if isinstance(observables, Mapping):
        pairs = [(_free_name(flow, name_of(k), e, verb), e) for k, e in observables.items()]
    else:
        several = isinstance(observables, list | tuple)
        pairs = [(None, e) for e in (observables if several else (observables,))]
    if not pairs:
        raise InvalidSpec(f"{verb}({flow.name}): no expression is given; give at least one, for instance dot(a, b)")
    return tuple(_wanted(flow, name, e, verb) for name, e in pairs)


def _free_name(flow: Flow, name: str, e: Any, verb: str) -> str:
    check_name(name)
    taken = [b.name for b in (*flow.state, *flow.parameters) if b.name != name_of(e)]
    if name in taken:
        raise InvalidSpec(f"{verb}: the variable {name} has the name of a symbol of {flow.name}; choose another name")
    return name


def _wanted(flow: Flow, name: str | None, e: Any, verb: str) -> Wanted:
    poly = e if isinstance(e, Poly) else _named(flow, e, verb) if isinstance(e, str) else _lowered(flow, e, verb)
    if poly.shape == (1, 1):
        poly = poly.trace()
    known = {b.name for b in (*flow.state, *flow.parameters)} | _sizes(flow)
    for found in (*(a.name for a in atoms(poly) if not is_ones(a)), *parameters(poly)):
        if found not in known and found not in flow.symbols:
            raise InvalidSpec(f"{verb}: {found} in {text(poly)} is no symbol of {flow.name}; use its states and given arrays")
    return Wanted(poly=poly, name=name, label=name or (e if isinstance(e, str) else text(poly)))


def _sizes(flow: Flow) -> set[str]:
    return {s for b in (*flow.state, *flow.parameters) for s in b.shape if isinstance(s, str)}


def _named(flow: Flow, name: str, verb: str) -> Poly:
    seen = flow.observables.get(name)
    if isinstance(seen, Poly):
        return seen
    for b in flow.state:
        if b.name == name:
            return atom(Atom(b.name, b.shape[0], b.shape[1], b.tags)) if b.shape else param(b.name)
    options = [*flow.observables, *(b.name for b in flow.state)]
    close = closest(name, options)
    hint = f"did you mean {close}?" if close else f"known: {', '.join(options)}"
    raise InvalidSpec(f"{verb}: {name!r} names neither a state nor an observable of {flow.name}; {hint}")


def _lowered(flow: Flow, e: Any, verb: str) -> Poly:
    reader = Collector()
    for name in sorted(flow.symbols):
        reader.symbol(flow.symbols[name])
    tree = reader.lower(e, verb)
    tags = {b.name: b.tags for b in (*flow.state, *flow.parameters)}
    positive = [n for n, s in reader.symbols.items() if getattr(s, "is_positive", False)]
    return to_poly(tree, reader.shapes, tags=tags, positive=positive)
