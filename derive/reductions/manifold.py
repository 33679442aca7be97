"""Proof that a flow stays on a manifold  W = phi(z)  given by words, and the reduced rates of z.

1. z' comes from a projection z = P(W) (time derivative of P on the manifold), or by division: what is left of an equation
   after subtracting the known parts must begin and end with the constant words that surround z in phi (or they are isometries).
2. The remainder  d phi / dz . z' - F(phi(z))  is put in normal form. It vanishes word by word: the reduction is proved.
3. Otherwise `NotInvariant` is raised with the remainder and with a point at which the field leaves the manifold.

Imported by `derive.reductions.reduction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from derive.errors import InvalidSpec, NotInvariant, UnsupportedNode
from derive.matrices.calculus import along, ddt, substitute
from derive.matrices.composite import mentions
from derive.matrices.poly import Poly, power, product, text, zero
from derive.matrices.words import Key, Letter, Word, flip
from derive.reductions.tangent import normal_component
from derive.system import EMPTY, Block, Flow

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
            if size < TANGENT:
                raise UnsupportedNode(
                    f"{flow.name} passes a numerical test of this manifold (normal part {size:.1e}), but in the equation of "
                    f"{b.name} the term {_short(rest)} does not cancel word by word; state the relation between its arrays as "
                    "tags or orthogonal pairs, or write one of them in terms of the others"
                )
            raise _refusal(flow, f"in the equation of {b.name} the term {_short(rest)} remains", -rest, size, point)
    for z in proposal.coordinates:
        rest = _outside(z, rates[z.name])
        if rest:
            size, point = normal_component(flow, lift, field_, proposal.coordinates, proposal.orthogonal)
            what = (
                f"{z.name} is {'diagonal' if 'diag' in z.tags else 'symmetric'}, but the part {_short(rest)} of its rate is not"
            )
            raise _refusal(flow, what, rest, size, point)
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


def _outside(z: Block, rate: Poly) -> Poly:
    """What a rate has that a diagonal or symmetric coordinate has not."""
    if "diag" in z.tags:
        return Poly(rate.shape, {k: c for k, c in rate.terms.items() if any("diag" not in x.atom.tags for x in k.word or ())})
    return rate - rate.T if "sym" in z.tags else zero(rate.shape)


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
        return
    for z, share in zip(open_, [rest] if len(open_) == 1 else _shares(phi, rest, open_), strict=True):
        found = _divide_matrix(phi, share, z, names) if z.shape else _divide_one(phi, share, z, names)
        if found is not None:
            rates[z.name] = found


def _shares(phi: Poly, rest: Poly, open_: list[Block]) -> list[Poly]:
    """What every coordinate gets of the rest: a word goes to the one term  A z B  of phi that it begins and ends like."""
    frames = [_frame(phi, z) for z in open_]
    out: list[dict[Key, Fraction]] = [{} for _ in open_]
    for key, c in rest.items():
        fitting = [i for i, frame in enumerate(frames) if frame is not None and _fits(key.word or (), *frame)]
        if len(fitting) == 1:
            out[fitting[0]][key] = c
    return [Poly(rest.shape, terms) for terms in out]


def _frame(phi: Poly, z: Block) -> tuple[Word, Word | None] | None:
    """(A, B) of the term A z B of a matrix z, (word, None) of the term of a number z; None unless there is one term."""
    keys = [k for k in phi.terms if any(x.atom.name == z.name for x in k.word or ()) or any(n == z.name for n, _ in k.params)]
    if len(keys) != 1:
        return None
    word = keys[0].word or ()
    at = [i for i, x in enumerate(word) if x.atom.name == z.name]
    if not z.shape:
        return word, None
    return (word[: at[0]], word[at[0] + 1 :]) if len(at) == 1 else None


def _fits(word: Word, before: Word, after: Word | None) -> bool:
    if after is None:
        return word == before
    inside = len(word) >= len(before) + len(after)
    return inside and word[: len(before)] == before and word[len(word) - len(after) :] == after


def _divide_one(phi: Poly, rest: Poly, z: Block, names: set[str]) -> Poly | None:
    """phi contains the number z once, times a constant word: compare the coefficients of this word."""
    part = along(phi, {z.name: _one()})
    if len(part.terms) != 1 or any(mentions(part, n) for n in names):
        return None
    (key, c) = next(iter(part.terms.items()))
    if key.traces:
        return None
    return power(Poly(None, {Key(key.params, (), None): c}), Fraction(-1)) * _coefficient(rest, key.word)


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
            return _project(rest, key, c, word[places[0]], before, after)
        inner = Key(k.params, k.traces, w[len(before) : len(w) - len(after)])
        out[inner] = out.get(inner, Fraction(0)) + value
    assert len(z.shape) == 2
    found = Poly((z.shape[0], z.shape[1]), out)
    if word[places[0]].t:
        found = Poly((z.shape[1], z.shape[0]), out).T
    factor = Poly(None, {Key(key.params, (), None): c})
    return power(factor, Fraction(-1)) * found


def _project(rest: Poly, key: Key, c: Fraction, z: Letter, before: Word, after: Word) -> Poly | None:
    """A'(rest)B' for isometries A and B': the proof then shows the words that do not begin with A and end with B."""

    def kept(x: Letter, turned: bool) -> bool:
        return "square" in x.atom.tags or ("orth" in x.atom.tags and x.t == turned)

    if not all(kept(x, False) for x in before) or not all(kept(x, True) for x in after):
        return None
    found = product(flip(before), z.rows) * rest if before else rest
    found = found * product(flip(after), z.cols) if after else found
    return power(Poly(None, {Key(key.params, (), None): c}), Fraction(-1)) * (found.T if z.t else found)


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
