"""Averages over fresh draws: one rule per data law.

=========  ==================================================================================================
law        rule
=========  ==================================================================================================
Moments    each random symbol at most twice in a monomial; E[a b'] is the name that the law gives it, or a new one
Normal     sum over all pairings (`derive.averages.wick`), any even degree up to 12; a mean is split off first
           signs, absolute values and rectifiers of linear functions by parts (`derive.averages.half_spaces`)
Choice     exact sum over the listed values; unit columns by `derive.averages.onehot`, also inside nonlinear functions
Marginal   cumulants (`derive.averages.marginals`); with a covariance by a conditional central limit
(`derive.averages.central_limit`) =========
==================================================================================================

New names are made as ``S`` + both symbols for second moments (``Sxy``), ``m`` + symbol for means (``mx``). A law may depend on
earlier draws: the last draw is averaged first. Draws with ``once=True`` are kept. Imported by `derive.flows.flow`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from derive.averages.central_limit import central_limit_average
from derive.averages.half_spaces import half_space_average
from derive.averages.marginals import marginal_average
from derive.averages.onehot import average_over_items
from derive.averages.parity import even_part, homogeneous_lines
from derive.averages.products import average_products
from derive.averages.wick import contract, gaussian_average, random_letters
from derive.errors import InvalidSpec, UnsupportedNode
from derive.matrices.calculus import substitute
from derive.matrices.composite import atoms, letter_mentions, mentions, ones, parameters
from derive.matrices.poly import Poly, atom, constant, identity, monomial, param, text, zero
from derive.matrices.words import Atom, Key, is_ones
from derive.spec.tree import Tree, names

Convert = Callable[[Tree], Poly]
NO_FUNCTIONS: Mapping[str, Any] = MappingProxyType({})


def expect(
    p: Poly, draws: Sequence[Any], convert: Convert, *, known: Collection[str], functions: Mapping[str, Any] = NO_FUNCTIONS
) -> Poly:
    """Average of an expression over all fresh draws.

    Parameters
    ----------
    p : Poly
    draws : sequence of Draw
        In the order of the model.
    convert : callable
        Tree of a law (covariance, values, moments) to Poly.
    known : collection of str
        Every declared name.
    functions : mapping name -> function
        Activations of the user; on symmetric laws homogeneous ones are split into an odd and an even part.

    Raises
    ------
    InvalidSpec
        If a symbol is not declared: it would be taken for a constant.
    UnsupportedNode
        If a law does not state the average that is needed.

    Examples
    --------
    >>> from derive.spec.lowered import Draw
    >>> X, w = atom(Atom("X", "N", "T")), atom(Atom("w", "N", 1))
    >>> law = Draw(law="Normal", symbols=("X",), shapes={"X": ("N", "T")})
    >>> expect((X.T * w).T * (X.T * w), [law], lambda tree: identity("N"), known=["X", "w"])
    T*(w'*w)*I
    """
    made = {n for draw in draws for n in unnamed(draw)}
    for name in (*(a.name for a in atoms(p) if not is_ones(a)), *parameters(p)):
        if name not in known and name not in made:
            raise InvalidSpec(f"{name} in {text(p)} is not declared, so its law is unknown; list it as given, state or data")
    for draw in reversed(draws):
        if draw.once or not any(mentions(p, s) for s in draw.symbols):
            continue
        if draw.law not in _LAWS:
            raise UnsupportedNode(
                f"{', '.join(draw.symbols)}: averages over the law {draw.law} are not known at matrix level; "
                "use Normal, Choice or Marginal, or name its second moments with Moments"
            )
        p = _as_letters(p, draw)
        if flipped := symmetric(draw):
            p = even_part(p, flipped, homogeneous_lines(functions, convert), functions)
        p = _LAWS[draw.law](p, draw, convert, known, functions)
    return p


def _as_letters(p: Poly, draw: Any) -> Poly:
    """Random numbers as 1 x 1 letters, so that pairings treat them like matrices; those in composites are found by name."""
    numbers = [s for s in draw.symbols if draw.shapes[s] == ()]
    if not numbers or draw.values is not None:
        return p
    return substitute(p, {s: atom(Atom(s, 1, 1)).trace() for s in numbers})


def _letter(draw: Any, name: str) -> Atom:
    return Atom(name, *(draw.shapes[name] or (1, 1)))


def _normal(p: Poly, draw: Any, convert: Convert, known: Collection[str], functions: Mapping[str, Any]) -> Poly:
    return average_products(p, draw.symbols, lambda q: _gaussian(q, draw, convert))


def _gaussian(p: Poly, draw: Any, convert: Convert) -> Poly:
    (name,) = draw.symbols
    a = _letter(draw, name)
    if draw.mean is not None:
        mean = _matrix(convert(draw.mean))
        shift = mean if mean.shape == (a.rows, a.cols) else mean * ones(a.cols, 1).T
        p = substitute(p, {name: atom(a) + shift})
    cov = constant(1) if draw.cov is None else convert(draw.cov)
    rows = cov * identity(a.rows) if cov.shape is None else cov
    columns = identity(a.cols)
    if a.cols == 1:
        return half_space_average(p, a, rows)
    return gaussian_average(p, (name,), lambda x, y: (rows, columns))


def _matrix(p: Poly) -> Poly:
    return p * identity(1) if p.shape is None else p


def _choice(p: Poly, draw: Any, convert: Convert, known: Collection[str], functions: Mapping[str, Any]) -> Poly:
    if draw.values is None:
        (name,) = draw.symbols
        chances = None if draw.probs is None else convert(draw.probs)
        try:
            return average_over_items(p, _letter(draw, name), chances)
        except UnsupportedNode:  # the column may stand in a product that an average over a later draw has left behind
            return average_products(p, (name,), lambda q: average_over_items(q, _letter(draw, name), chances))
    probs = draw.probs if draw.probs is not None else (("frac", 1, len(draw.values)),) * len(draw.values)
    total = zero(p.shape)
    for outcome, weight in zip(draw.values, probs, strict=True):
        values = dict(zip(draw.symbols, (convert(v) for v in outcome), strict=True))
        total = total + convert(weight) * substitute(p, values)
    return total


def _moments(p: Poly, draw: Any, convert: Convert, known: Collection[str], functions: Mapping[str, Any]) -> Poly:
    for s in draw.symbols:
        if draw.shapes[s] and draw.shapes[s][1] != 1:
            raise UnsupportedNode(
                f"Moments: {s} is a matrix of draws; open laws are of columns and numbers, or use Normal({s})"
            )
    table = moment_table(draw, convert)
    summed = zero(p.shape)
    if draw.items:  # bound to arrays: what has no name is summed over the items
        inside = [k for k in p.terms if _composite(k, draw.symbols)]
        summed = _over_items(Poly(p.shape, {k: p.terms[k] for k in inside}), draw, convert)
        p = Poly(p.shape, {k: c for k, c in p.terms.items() if k not in inside})

    def average(q: Poly) -> Poly:
        total = zero(q.shape)
        for key, c in q.items():
            scalars = Poly(None, {Key(key.params, (), None): c})
            total = total + scalars * _one_moment(Key((), key.traces, key.word), draw, q.shape, table, known, convert)
        return total

    return summed + average_products(p, draw.symbols, average)


def _composite(key: Key, symbols: Collection[str]) -> bool:
    """Does a drawn symbol stand inside a function or an elementwise product?"""
    words = [w for w, _ in key.traces] + [key.word or ()]
    return any(x.atom.comp is not None and letter_mentions(x, s) for w in words for x in w for s in symbols)


def _over_items(p: Poly, draw: Any, convert: Convert) -> Poly:
    return average_over_items(substitute(p, {n: convert(tree) for n, tree in draw.items}), _letter(draw, draw.item))


def _one_moment(
    core: Key, draw: Any, shape: tuple[Any, Any] | None, table: MomentTable, known: Collection[str], convert: Convert
) -> Poly:
    if not random_letters(core, draw.symbols):
        return monomial(shape, core)
    random = tuple((w, e) for w, e in core.traces if any(x.atom.name in draw.symbols for x in w))
    drawn = [
        x.atom.name for w, e in (*random, (core.word or (), Fraction(1))) for x in w * int(e) if x.atom.name in draw.symbols
    ]
    named = table.exact.get(Key((), random, None))
    if named is not None and not any(x.atom.name in draw.symbols for x in core.word or ()):
        return named * monomial(shape, Key((), tuple(t for t in core.traces if t not in random), core.word))
    odd = parity(draw)
    if sum(name in odd for name in drawn) % 2:
        return zero(shape)
    if len(drawn) == 1:
        (name,) = drawn
        mean = table.first[name] if name in table.first else _made_mean(draw, name, known, convert)
        return substitute(monomial(shape, core), {name: mean})
    if len(drawn) > 2:
        raise UnsupportedNode(
            f"average of {text(monomial(shape, core))}: degree {len(drawn)} in {', '.join(sorted(set(drawn)))}, but the "
            "law names second moments only; use Normal (Gaussian moments of any degree), or bind the data to arrays"
        )

    def pair(x: Atom, y: Atom) -> tuple[Poly, Poly]:
        found = table.second.get((x.name, y.name))
        return (_made_second(draw, x.name, y.name, known, convert) if found is None else found), identity(1)

    return contract(core, draw.symbols, shape, pair)


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentTable:
    """What an open law names: E[a b'] by (a, b), E[a] by a, averages of scalar monomials by their key."""

    second: Mapping[tuple[str, str], Poly]
    first: Mapping[str, Poly]
    exact: Mapping[Key, Poly]


def moment_table(draw: Any, convert: Convert) -> MomentTable:
    """The named averages of an open law."""
    second: dict[tuple[str, str], Poly] = {}
    first: dict[str, Poly] = {}
    exact: dict[Key, Poly] = {}
    for tree, name in draw.moments:
        p, value = _as_letters(convert(tree), draw), convert(name)
        if len(p.terms) != 1:
            raise InvalidSpec(f"Moments: the average called {name} is a sum; name the average of one product")
        ((key, c),) = p.items()
        letters = [x for x in key.word or () if x.atom.name in draw.symbols]
        if key.params or c != 1 or len(letters) < len(key.word or ()) or any(n not in draw.symbols for n in names(tree)):
            raise InvalidSpec(f"Moments: the average called {name} is not a product of drawn symbols; write x*x.T, y*x.T or x")
        scalars = [x for w, e in key.traces for x in w * int(e)]
        if len(letters) == 2 and not scalars:
            a, b = letters
            second[a.atom.name, b.atom.name] = value
            second[b.atom.name, a.atom.name] = value.T
        elif len(letters) + len(scalars) == 1:
            (only,) = (*letters, *scalars)
            first[only.atom.name] = value.T if only.t else value
        elif not letters and len(scalars) == 2 and len(key.traces) + sum(e == 2 for _, e in key.traces) == 2:
            a, b = scalars
            second[a.atom.name, b.atom.name] = second[b.atom.name, a.atom.name] = value * identity(1)
        elif len(letters) == 1 and len(scalars) == 1:
            (a,), (b,) = letters, scalars
            column = value.T if a.t else value
            second[a.atom.name, b.atom.name], second[b.atom.name, a.atom.name] = column, column.T
        elif not letters:
            exact[key] = value
        else:
            raise UnsupportedNode(
                f"Moments: the average called {name} has degree above two as a matrix; words use second moments"
            )
    return MomentTable(second=second, first=first, exact=exact)


def parity(draw: Any) -> tuple[str, ...]:
    """Symbols that change sign under the symmetry of an open law; none if no parity is asserted.

    With ``odd`` or ``even`` stated, the symbols in neither list change sign, as the input of a symmetric law does.
    """
    if not draw.odd and not draw.even:
        return ()
    return tuple(s for s in draw.symbols if s not in draw.even)


def symmetric(draw: Any) -> tuple[str, ...]:
    """Symbols that may all change sign without changing the law: asserted of an open law, known of a centred Gaussian one.

    Correlated entries with a marginal law are treated as Gaussian up to their marginals, which must be symmetric.
    """
    if draw.law == "Normal":
        return draw.symbols if draw.mean is None else ()
    if draw.law == "Marginal":
        return draw.symbols if draw.cov is not None else ()
    return parity(draw) if draw.law == "Moments" else ()


def unnamed(draw: Any) -> tuple[str, ...]:
    """Names that averages of an open law get if the law gives them none: ``Sab`` with a before b in the law, ``ma``.

    >>> from derive.spec.lowered import Draw
    >>> unnamed(Draw(law="Moments", symbols=("x", "y"), shapes={}))
    ('mx', 'my', 'Sxx', 'Sxy', 'Syy')
    """
    if draw.law != "Moments" or draw.items:
        return ()
    pairs = [(a, b) for i, a in enumerate(draw.symbols) for b in draw.symbols[i:]]
    return (*(f"m{a}" for a in draw.symbols), *(f"S{a}{b}" for a, b in pairs))


def _free(name: str, what: str, known: Collection[str]) -> str:
    if name in known:
        raise InvalidSpec(f"the law leaves {what} unnamed, and {name} is taken; name this average in Moments(...)")
    return name


def _made_mean(draw: Any, a: str, known: Collection[str], convert: Convert) -> Poly:
    if draw.items:
        mean = _over_items(atom(_letter(draw, a)), draw, convert)
        return mean if draw.shapes[a] else mean.trace()
    name = _free(f"m{a}", f"E[{a}]", known)
    return atom(Atom(name, *draw.shapes[a])) if draw.shapes[a] else param(name)


def _made_second(draw: Any, a: str, b: str, known: Collection[str], convert: Convert) -> Poly:
    if draw.symbols.index(a) > draw.symbols.index(b):
        return _made_second(draw, b, a, known, convert).T
    if draw.items:
        return _over_items(atom(_letter(draw, a)) * atom(_letter(draw, b)).T, draw, convert)
    name = _free(f"S{a}{b}", f"E[{a}*{b}.T]", known)
    rows, cols = _letter(draw, a).rows, _letter(draw, b).rows
    if rows == cols == 1:
        return param(name) * identity(1)
    return atom(Atom(name, rows, cols, ("sym",) if a == b else ()))


def _marginal(p: Poly, draw: Any, convert: Convert, known: Collection[str], functions: Mapping[str, Any]) -> Poly:
    (name,) = draw.symbols
    if draw.values is not None and not draw.shapes[name]:
        return _choice(p, draw, convert, known, functions)

    def average(q: Poly) -> Poly:
        if draw.cov is not None:
            return central_limit_average(q, draw, convert, functions)
        return marginal_average(q, draw, convert)

    return average_products(p, draw.symbols, average)


_LAWS: dict[str, Callable[[Poly, Any, Convert, Collection[str], Mapping[str, Any]], Poly]] = {
    "Normal": _normal,
    "Choice": _choice,
    "Marginal": _marginal,
    "Moments": _moments,
}
