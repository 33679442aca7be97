"""Diagonal matrices entry by entry: words of them commute, and each becomes a product of numbers that carry one index.

    A' = 2 (A - A A A) D    ->    A_i' = 2 (A_i - A_i^3) D_i,        tr(A D) -> sum_j A_j D_j

Imported by `derive.reductions.aligned`, and by the verbs that work on systems of scalars.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from derive.indices.indexed import Index, Node, add, arr, arrays, const, mul, power, sum_over
from derive.matrices.poly import Poly
from derive.matrices.words import Letter
from derive.system import Block, Flow

FAMILY = "r"


def by_entries(flow: Flow) -> Flow:
    """The same flow by entries, if its states are diagonal matrices of one size; otherwise the flow itself.

    Arrays of the equations must be diagonal too. Observables that are traces of diagonal words are kept.

    >>> from derive.matrices.poly import atom
    >>> from derive.matrices.words import Atom
    >>> A, D = atom(Atom("A", "r", "r", ("diag",))), atom(Atom("D", "r", "r", ("diag",)))
    >>> block = Block(name="A", shape=("r", "r"), tags=("diag",))
    >>> by_entries(Flow(name="tied", state=(block,), rhs={"A": 2 * (A - A * A * A) * D})).rhs["A"]
    A[i]*D[i]*(2 - 2*A[i]^2)
    """
    sizes = {b.shape for b in flow.state}
    if flow.level != "matrix" or len(sizes) != 1 or not all(_diagonal(b) for b in flow.state):
        return flow
    (size, _) = next(iter(sizes))
    whole = {n: p for n, p in flow.rhs.items() if isinstance(p, Poly)}
    known = {b.name for b in flow.state} | {x.atom.name for p in whole.values() for x in _letters(p) if "diag" in x.atom.tags}
    if any(x.atom.name not in known or x.atom.comp is not None for p in whole.values() for x in _letters(p)):
        return flow
    i, names = Index("i", size), {n: n for n in known}
    seen = {
        n: to_modes(p, names, i)
        for n, p in flow.observables.items()
        if isinstance(p, Poly) and p.shape is None and all(x.atom.name in known for x in _letters(p))
    }
    rhs = {n: to_modes(p, names, i) for n, p in whole.items()}
    used = {n for e in (*rhs.values(), *seen.values()) for n in arrays(e)}
    parameters = tuple(
        replace(b, shape=(size,), indices=(i,)) if b.name in known else b
        for b in flow.parameters
        if b.name in used and (b.name in known or not b.shape)
    )
    return replace(
        flow,
        state=tuple(replace(b, shape=(size,), indices=(i,), tags=()) for b in flow.state),
        rhs=rhs,
        parameters=parameters,
        observables=seen,
    )


def _diagonal(b: Block) -> bool:
    return len(b.shape) == 2 and b.shape[0] == b.shape[1] and "diag" in b.tags


def _letters(p: Poly) -> list[Letter]:
    return [x for key, _ in p.items() for w in (*(w for w, _ in key.traces), key.word or ()) for x in w]


def to_modes(p: Poly, letters: Mapping[str, str], i: Index) -> Node:
    """A polynomial of diagonal words as an expression of one mode; traces become sums over the modes.

    ``letters`` says how the entries of each diagonal matrix are called.
    """
    j = Index("j", i.family)
    terms = []
    for key, c in p.items():
        factors = [const(c), *(power(arr(n), e) if not n.isdigit() else power(const(int(n)), e) for n, e in key.params)]
        for w, e in key.traces:
            factors.append(power(sum_over(j, mul(*(arr(letters[x.atom.name], j) for x in w))), e))
        factors += [arr(letters[x.atom.name], i) for x in key.word or ()]
        terms.append(mul(*factors))
    return _factored(add(*terms))


def _factored(n: Node) -> Node:
    """Pull the common factor out of a sum."""
    if n.op != "add":
        return n
    parts = [{f.args[0] if f.op == "pow" else f: f.args[1] if f.op == "pow" else 1 for f in _factors(t)} for t in n.args]
    shared = [f for f in parts[0] if f.op in ("arr", "sum") and all(f in p for p in parts)]
    common = mul(*(power(f, min(p[f] for p in parts)) for f in shared))
    return mul(common, add(*(mul(t, power(common, -1)) for t in n.args))) if shared else n


def _factors(n: Node) -> tuple[Node, ...]:
    return n.args if n.op == "mul" else (n,)
