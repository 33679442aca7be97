"""Proof that a flow stays on a manifold  W = phi(z)  given by words, and the reduced rates of z.

1. z' comes from a projection z = P(W) (time derivative of P on the manifold), or by division: what is left of an equation
   after subtracting the known parts must begin and end with the constant words that surround z in phi.
2. The remainder  d phi / dz . z' - F(phi(z))  is put in normal form. It vanishes word by word: the reduction is proved.
3. Otherwise `NotInvariant` is raised with the remainder and with a point at which the field leaves the manifold.

Imported by `derive.reduction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from derive.calculus import along, ddt, substitute
from derive.composite import mentions
from derive.errors import InvalidSpec, NotInvariant, UnsupportedNode
from derive.poly import Poly, power, text, zero
from derive.system import EMPTY, Block, Flow
from derive.tangent import normal_component
from derive.words import Key, Letter, Word

TANGENT = 1e-6  # measured: 3e-16 on invariant manifolds, 1e-2 and more off them


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A manifold in words.

    Attributes
    ----------
    lift, data : mapping name -> Poly
        States and given arrays in the new symbols.
    coordinates : tuple of Block
    solve_for : mapping coordinate -> Poly of the states
    orthogonal : tuple of pairs of names
        Isometries A, B with A'B = 0 (an array split off by its complement).
    """

    lift: Mapping[str, Poly]
    coordinates: tuple[Block, ...]
    data: Mapping[str, Poly] = field(default_factory=lambda: EMPTY)
    solve_for: Mapping[str, Poly] = field(default_factory=lambda: EMPTY)
    orthogonal: tuple[tuple[str, str], ...] = ()


def without_zeros(p: Poly, orthogonal: tuple[tuple[str, str], ...]) -> Poly:
    """Drop the monomials that contain A'B or B'A of an orthogonal pair."""
    zeros = {frozenset(pair) for pair in orthogonal}
    if not zeros:
        return p

    def vanishes(a: Letter, b: Letter) -> bool:
        return a.t and not b.t and frozenset((a.atom.name, b.atom.name)) in zeros

    def dead(word: Word, closed: bool) -> bool:
        nexts = word[1:] + word[:1] if closed else word[1:]
        return any(vanishes(a, b) for a, b in zip(word, nexts, strict=False))

    kept = {k: c for k, c in p.terms.items() if not dead(k.word or (), False) and not any(dead(w, True) for w, _ in k.traces)}
    return Poly(p.shape, kept)


def on_manifold(p: Poly, proposal: Proposal) -> Poly:
    """An expression of the full system on the manifold."""
    lift = {n: substitute(e, proposal.data) for n, e in proposal.lift.items()}
    return without_zeros(substitute(p, {**proposal.data, **lift}), proposal.orthogonal)


def prove(flow: Flow, proposal: Proposal) -> dict[str, Poly]:
    """Reduced rates of the coordinates.

    Raises
    ------
    NotInvariant
        If the flow leaves the manifold.
    InvalidSpec
        If a projection does not give back its coordinate.
    UnsupportedNode
        If the rate of a coordinate cannot be isolated.
    """
    field_ = {b.name: on_manifold(flow.rhs[b.name], proposal) for b in flow.state}  # type: ignore[arg-type]
    lift = {n: without_zeros(substitute(e, proposal.data), proposal.orthogonal) for n, e in proposal.lift.items()}
    missing = [b.name for b in flow.state if b.name not in lift]
    if missing:
        raise InvalidSpec(
            f"the manifold gives no expression for the state {missing[0]} of {flow.name}; add {missing[0]}: ... to it"
        )
    rates: dict[str, Poly] = {}
    for z in proposal.coordinates:
        if z.name in proposal.solve_for:
            p = proposal.solve_for[z.name]
            back = on_manifold(p, proposal)
            if not _is_symbol(back, z):
                raise InvalidSpec(
                    f"solve_for[{z.name}] = {text(p)} gives {text(back)} on the manifold, not {z.name}; mend it or leave it out"
                )
            rates[z.name] = on_manifold(ddt(p, flow), proposal)
    for _ in proposal.coordinates:
        for b in flow.state:
            _divide(lift[b.name], field_[b.name], proposal, rates)
    if len(rates) < len(proposal.coordinates):
        size, point = normal_component(flow, lift, field_, proposal.coordinates, proposal.orthogonal)
        lost = next(z.name for z in proposal.coordinates if z.name not in rates)
        if size > TANGENT:
            raise _refusal(flow, f"the rate of {lost} cannot be read off the equations", None, size, point)
        raise UnsupportedNode(
            f"the rate of {lost} cannot be isolated by division (the manifold passes tangency, normal part {size:.1e}); "
            f"say how to read it off the states, solve_for={{{lost}: ...}}"
        )
    for b in flow.state:
        rest = without_zeros(along(lift[b.name], rates), proposal.orthogonal) - field_[b.name]
        if rest:
            size, point = normal_component(flow, lift, field_, proposal.coordinates, proposal.orthogonal)
            raise _refusal(flow, f"in the equation of {b.name} the term {_short(rest)} remains", -rest, size, point)
    for z in proposal.coordinates:
        _check_class(flow, z, rates[z.name])
    return rates


def _is_symbol(p: Poly, z: Block) -> bool:
    if len(p.terms) != 1:
        return False
    (key, c) = next(iter(p.terms.items()))
    letters = key.word or tuple(x for w, e in key.traces for x in w if e == 1)
    named = [x.atom.name for x in letters] + [n for n, e in key.params if e == 1]
    return c == 1 and named == [z.name] and not any(x.t for x in letters)


def _refusal(flow: Flow, what: str, leftover: Poly | None, size: float, point: object) -> NotInvariant:
    return NotInvariant(
        f"{flow.name} leaves this manifold: {what}. At a random point of it the field has a relative normal component of "
        f"{size:.2g}. Add the missing directions to the coordinates, or state the assumption that removes the term",
        leftover=leftover,
        point=point,
        size=size,
    )


def _short(p: Poly) -> str:
    shown = text(p)
    return shown if len(shown) < 200 else shown[:197] + "..."


def _check_class(flow: Flow, z: Block, rate: Poly) -> None:
    if "diag" in z.tags:
        bad = {k: c for k, c in rate.terms.items() if any("diag" not in x.atom.tags for x in k.word or ())}
        if bad:
            rest = Poly(rate.shape, bad)
            raise NotInvariant(
                f"{flow.name} leaves this manifold: {z.name} is diagonal, but its rate contains {_short(rest)}, which is not",
                leftover=rest,
            )
    if "sym" in z.tags and rate != rate.T:
        raise NotInvariant(
            f"{flow.name} leaves this manifold: {z.name} is symmetric, but its rate is not", leftover=rate - rate.T
        )


# Division -------------------------------------------------------------------------------------------------------------------


def _divide(phi: Poly, target: Poly, proposal: Proposal, rates: dict[str, Poly]) -> None:
    """Find rates of coordinates that occur linearly in phi, if the other coordinates in it are solved."""
    names = {z.name for z in proposal.coordinates}
    open_ = [z for z in proposal.coordinates if z.name not in rates and mentions(phi, z.name)]
    if not open_:
        return
    rest = target - without_zeros(along(phi, rates), proposal.orthogonal) if rates else target
    if all(not z.shape for z in open_):
        _divide_scalars(phi, rest, open_, names, rates)
    elif len(open_) == 1:
        found = _divide_matrix(phi, rest, open_[0], names)
        if found is not None:
            rates[open_[0].name] = found


def _divide_matrix(phi: Poly, rest: Poly, z: Block, names: set[str]) -> Poly | None:
    """phi contains A z B once, with constant A and B: strip A and B from every word of the rest."""
    holders = [(k, c) for k, c in phi.terms.items() if any(x.atom.name == z.name for x in k.word or ())]
    if len(holders) != 1 or any(x.atom.name == z.name for k in phi.terms for w, _ in k.traces for x in w):
        return None
    (key, c) = holders[0]
    word = key.word or ()
    places = [i for i, x in enumerate(word) if x.atom.name == z.name]
    others = {x.atom.name for i, x in enumerate(word) if i != places[0]} | {n for n, _ in key.params}
    if len(places) != 1 or others & names or key.traces:
        return None
    before, after = word[: places[0]], word[places[0] + 1 :]
    out: dict[Key, Fraction] = {}
    for k, value in rest.terms.items():
        w = k.word or ()
        if len(w) < len(before) + len(after) or w[: len(before)] != before or w[len(w) - len(after) :] != after:
            return None
        inner = Key(k.params, k.traces, w[len(before) : len(w) - len(after)])
        out[inner] = out.get(inner, Fraction(0)) + value
    assert len(z.shape) == 2
    found = Poly((z.shape[0], z.shape[1]), out)
    if word[places[0]].t:
        found = Poly((z.shape[1], z.shape[0]), out).T
    factor = Poly(None, {Key(key.params, (), None): c})
    return power(factor, Fraction(-1)) * found


def _divide_scalars(phi: Poly, rest: Poly, open_: list[Block], names: set[str], rates: dict[str, Poly]) -> None:
    """phi = sum_k z_k M_k + ...: compare the coefficients of a word that occurs in one M_k only."""
    parts = {z.name: along(phi, {z.name: _one()}) for z in open_}
    for z in open_:
        mine = parts[z.name]
        if any(mentions(mine, n) for n in names):
            continue
        for key, c in mine.items():
            shared = any(key.word == k.word for other in parts if other != z.name for k in parts[other].terms)
            alone = sum(key.word == k.word for k in mine.terms) == 1
            if shared or not alone or key.traces:
                continue
            lead = Poly(None, {Key(key.params, (), None): c})
            rates[z.name] = power(lead, Fraction(-1)) * _coefficient(rest, key.word)
            break


def _coefficient(p: Poly, word: Word | None) -> Poly:
    total = zero(None)
    for k, c in p.items():
        if k.word == word:
            total = total + Poly(None, {Key(k.params, k.traces, None): c})
    return total


def _one() -> Poly:
    return Poly(None, {Key((), (), None): Fraction(1)})
