"""Matrices that are defined by a linear equation, L(X) + C = 0: normal form, derivatives, adjoint.

    L(X) = sum of words with one letter X or X', for instance  A X + X A' (Lyapunov),  A X B - X (Stein),  A X + X B (Sylvester)

``solution`` gives X in normal form. It is linear in C, so every word of C has a solution of its own; numbers leave L and C;
an unknown that stands at one end of every word is an inverse; a 1 x 1 unknown is a quotient. If C = F c G and
L(F x G) = F l(x) G with F or G not square, then X = F x G with l(x) + c = 0: a solution lives in the invariant subspaces of its
data, which is how equations shrink when weights are confined to a span.

    tangent   L(dX) + dL(X) + dC = 0             adjoint   <G, dX> = <Y, dL(X) + dC>,   L*(Y) + G = 0

The adjoint operator L* is the gradient of tr(Y' L(X)) by X, so it needs no rule of its own. Nothing is assumed but that the
solution is unique; what it means (a covariance, an H2 norm) asks for stability, see `derive.matrices.two_sided`.
Imported by `derive.matrices.composite`, `derive.matrices.calculus` and `derive.flows.flow`.
"""

from __future__ import annotations

from fractions import Fraction

from derive.errors import InvalidSpec, ShapeMismatch, UnsupportedNode
from derive.matrices.calculus import along, grad, substitute
from derive.matrices.composite import composite, inverse, letter_mentions, mentions, scalar_power
from derive.matrices.poly import Poly, atom, identity, monomial, param, product, text, zero
from derive.matrices.words import Atom, Key, Letter, Solution, Word

NEW = "?x"  # an unknown in the making; users cannot type such a name


def solution(equation: Poly, unknown: str) -> Poly:
    """The value of an unknown at which an expression vanishes that is linear in it.

    Parameters
    ----------
    equation : Poly
        Of the shape of the unknown.
    unknown : str
        A matrix or a number that occurs in the equation.

    Raises
    ------
    InvalidSpec
        If the unknown does not occur.
    ShapeMismatch
        If there are more or fewer equations than entries.
    UnsupportedNode
        If the equation is not linear in it.

    Examples
    --------
    >>> A, B, P = atom(Atom("A", "n", "n")), atom(Atom("B", "n", "m")), atom(Atom("P", "n", "n"))
    >>> solution(A * P + P * A.T + B * B.T, "P")
    root(?1: ?1*A' + A*?1 + B*B')
    >>> solution(A * P - B * B.T, "P")
    (A)^-1*B*B'
    >>> u, c = atom(Atom("u", "n", 1, ("orth",))), param("c")
    >>> solution(P.scale(-1) * c + (u * u.T * P + P * u * u.T).scale(-1) + u * u.T, "P")
    inv(2 + c)*u*u'
    """
    linear = linear_part(equation, unknown)
    rest = equation - linear
    found = _unknown(linear, unknown)
    if found is None:
        raise InvalidSpec(f"root({_short(equation)}) does not determine {unknown}, which does not occur in it; mend root(...)")
    if mentions(rest, unknown):
        raise UnsupportedNode(
            f"root({_short(equation)}) is not linear in {unknown}: only linear equations have a gradient here; "
            f"solve it for {unknown} by hand, or use a state that relaxes to it"
        )
    shape = None if isinstance(found, str) else (found.rows, found.cols)
    if equation.shape != shape:
        raise ShapeMismatch(
            f"root({_short(equation)}) has shape {equation.shape}, {unknown} has {shape}: an equation for every entry is needed"
        )
    if isinstance(found, str) or (found.rows, found.cols) == (1, 1):
        return _quotient(linear, rest, found)
    total = zero(equation.shape)
    for key, c in rest.items():
        assert key.word is not None
        size = monomial(None, Key(key.params, key.traces, None), c)
        total = total + size * _one(linear, key.word, found)
    return total


def linear_part(equation: Poly, unknown: str) -> Poly:
    """What changes with the unknown: L(X) of L(X) + C; if the equation is not linear, not all that depends on it."""
    found = _unknown(equation, unknown)
    if found is None:
        return zero(equation.shape)
    return along(equation, {unknown: param(unknown) if isinstance(found, str) else atom(found)})


def _unknown(p: Poly, name: str) -> Atom | str | None:
    """The letter of this name as it stands in an expression; a name for a number; None if it does not occur."""
    for key in p.terms:
        if any(n == name for n, _ in key.params):
            return name
        for word in (*(w for w, _ in key.traces), key.word or ()):
            for x in word:
                if x.atom.comp is None and x.atom.name == name:
                    return x.atom
                if x.atom.comp is not None and letter_mentions(x, name):
                    for q in _opened(x.atom):
                        found = _unknown(q, name)
                        if found is not None:
                            return found
    return None


def _opened(a: Atom) -> tuple[Poly, ...]:
    from derive.matrices.composite import inside

    return inside(a.comp) if a.comp is not None else ()


def _quotient(linear: Poly, rest: Poly, unknown: Atom | str) -> Poly:
    """A number: minus the rest over its coefficient."""
    number = param(unknown) if isinstance(unknown, str) else monomial(None, Key((), ((_alone(unknown), Fraction(1)),), None))
    over = scalar_power(number, Fraction(-1)) * (linear if linear.shape is None else linear.trace())
    name = unknown if isinstance(unknown, str) else unknown.name
    if mentions(over, name):
        raise UnsupportedNode(f"{_short(linear)} is not linear in {name}: solve this equation by hand")
    (_, lead), *_ = over.items()
    value = (rest if rest.shape is None else rest.trace()) * scalar_power(over.scale(1 if lead > 0 else -1), Fraction(-1))
    value = value.scale(-1 if lead > 0 else 1)
    return value if rest.shape is None else value * identity(1)


def _alone(a: Atom) -> Word:
    return (Letter(a, False),)


def _one(linear: Poly, word: Word, unknown: Atom) -> Poly:
    """Solution of  L(X) + word = 0."""
    smaller = _confined(linear, word, unknown)
    if smaller is not None:
        return smaller
    one_sided = _divided(linear, word, unknown)
    if one_sided is not None:
        return one_sided
    (_, lead), *_ = linear.items()
    scale = 1 / lead
    name = f"?{1 + max(_depth(linear), _depth(product(word, unknown.rows)))}"
    here = Atom(name, unknown.rows, unknown.cols)
    equation = substitute(linear, {unknown.name: atom(here)}).scale(scale) + product(word, unknown.rows)
    return composite(Solution(name, equation), (unknown.rows, unknown.cols)).scale(scale)


def _depth(p: Poly) -> int:
    """How many equations stand inside of each other."""
    letters = [x for key in p.terms for w in (*(w for w, _ in key.traces), key.word or ()) for x in w]
    inner = [x.atom for x in letters if x.atom.comp is not None]
    return max((isinstance(a.comp, Solution) + max(_depth(q) for q in _opened(a)) for a in inner), default=0)


def _confined(linear: Poly, word: Word, unknown: Atom) -> Poly | None:
    """X = F x G, if the first letter F and the last letter G of C frame L(F x G) too."""
    first, last = word[:1], word[-1:] if len(word) > 1 else ()
    for before, after in ((first, last), (first, ()), ((), last)):
        if any(x.rows == x.cols for x in before + after) or not before + after:
            continue
        small = Atom(f"?{unknown.name}", before[0].cols if before else unknown.rows, after[0].rows if after else unknown.cols)
        left = product(before, unknown.rows) if before else identity(unknown.rows)
        right = product(after, small.cols) if after else identity(unknown.cols)
        image = _stripped(substitute(linear, {unknown.name: left * atom(small) * right}), before, after, small)
        inner = _stripped(product(word, unknown.rows), before, after, small)
        if image is not None and inner is not None:
            return left * solution(image + inner, small.name) * right
    return None


def _stripped(p: Poly, before: Word, after: Word, small: Atom) -> Poly | None:
    """Every word without these letters at its ends; None if one does not have them."""
    out: dict[Key, Fraction] = {}
    for key, c in p.terms.items():
        w = key.word or ()
        if len(w) < len(before) + len(after) or w[: len(before)] != before or w[len(w) - len(after) :] != after:
            return None
        inner = Key(key.params, key.traces, w[len(before) : len(w) - len(after)])
        out[inner] = out.get(inner, Fraction(0)) + c
    return Poly((small.rows, small.cols), out)


def _divided(linear: Poly, word: Word, unknown: Atom) -> Poly | None:
    """-M^-1 C if L(X) = M X, -C M^-1 if L(X) = X M."""
    factor, known = _factor(linear, unknown), product(word, unknown.rows)
    if factor is not None:
        return -(inverse(factor) * known)
    other = Atom(unknown.name, unknown.cols, unknown.rows)
    factor = _factor(_turned(linear, unknown, other), other)
    return None if factor is None else -(known * inverse(factor.T))


def _factor(linear: Poly, unknown: Atom) -> Poly | None:
    """M, if L(X) = M X. A column x may also occur as (m'x) b, which is the word b m'."""
    total = zero((unknown.rows, unknown.rows))
    for key, c in linear.items():
        word = key.word or ()
        inner = [(w, e) for w, e in key.traces if any(letter_mentions(x, unknown.name) for x in w)]
        if not inner and word and word[-1] == Letter(unknown, False):
            part = product(word[:-1], unknown.rows)
        elif unknown.cols == 1 and len(inner) == 1:
            number = monomial(None, Key((), tuple(inner), None))
            part = product(word, unknown.rows) * grad(number, unknown).T
        else:
            return None
        others = tuple(pair for pair in key.traces if pair not in inner)
        total = total + monomial(None, Key(key.params, others, None), c) * part
    return None if mentions(total, unknown.name) else total


def transposed(comp: Solution) -> Solution:
    """The equation of X'."""
    found = _unknown(comp.equation, comp.unknown)
    assert isinstance(found, Atom)
    turned = Atom(found.name, found.cols, found.rows)
    return Solution(comp.unknown, _turned(comp.equation, found, turned))


def _turned(equation: Poly, old: Atom, new: Atom) -> Poly:
    """The transposed equation with X' for X."""
    return substitute(equation, {old.name: atom(new).T}).T


def tangent(c: Atom, comp: Solution, change: Poly) -> Poly:
    """dX, if everything else in the equation moves so that it changes by ``change``."""
    moved = substitute(change, {comp.unknown: atom(c)})
    return solution(linear_part(comp.equation, comp.unknown) + moved, comp.unknown) if moved else zero((c.rows, c.cols))


def adjoint(c: Atom, comp: Solution, cotangent: Poly) -> Poly:
    """Cotangent of the equation: Y with L*(Y) + G = 0 for the cotangent G of X."""
    linear, held = linear_part(comp.equation, comp.unknown), Atom(NEW, c.rows, c.cols)
    turned = grad((atom(held).T * linear).trace(), Atom(comp.unknown, c.rows, c.cols))
    return solution(turned + cotangent, NEW) if cotangent else cotangent


def _short(p: Poly) -> str:
    shown = text(p)
    return shown if len(shown) < 120 else shown[:117] + "..."
