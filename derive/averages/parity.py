"""Symmetric laws in words: every function is split into an odd and an even part, and odd averages vanish.

    x -> -x leaves the law unchanged:          E[F(x)] = E[(F(x) + F(-x)) / 2]
    f(c z) = c f(z) for c > 0:                 f(z) = p z + q |z|,    f'(z) = p + q sgn(z),    p, q = (f(1) -+ f(-1)) / 2

So a rectifier is half its argument plus half its absolute value, and on a symmetric law the two halves never meet: what is
odd in the random symbols is dropped, monomial by monomial. A monomial without known parity (it holds a function that is neither
even nor odd) is kept. Afterwards  sgn(z) z = |z|,  sgn(z) |z| = z,  sgn(z)^2 = 1,  |z|^2 = z^2.  Imported by
`derive.averages.expect`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from fractions import Fraction
from typing import Any

from derive.matrices.composite import elem, hadamard, letter_mentions, ones_like, scalar_power
from derive.matrices.poly import Poly, constant, identity, monomial, product, zero
from derive.matrices.words import Elem, Had, Inverse, Key, Letter, Word
from derive.spec.tree import Tree, as_fraction, children

#: Function -> (p, q) with f(z) = p z + q |z|, as scalars; None if f is not positively homogeneous of degree 1.
Lines = Callable[[str], "tuple[Poly, Poly] | None"]

#: Parity of built-in functions.
PARITY: Mapping[str, int] = {
    "erf2": -1, "tanh": -1, "sgn": -1, "sin": -1, "asin": -1, "inv": -1, "abs": 1, "cos": 1, "sq": 1,
}  # fmt: skip
HALF = Fraction(1, 2)


def even_part(p: Poly, flipped: Collection[str], lines: Lines, bodies: Mapping[str, Any] | None = None) -> Poly:
    """The part of an expression that is even in these symbols together.

    Parameters
    ----------
    p : Poly
    flipped : collection of str
        Symbols that change sign.
    lines : callable
        See `Lines`; `homogeneous_lines` makes one.
    bodies : mapping name -> function with ``variable`` and ``body``
        Functions of the user, for their parity.

    >>> from derive.matrices.poly import atom
    >>> from derive.matrices.words import Atom
    >>> w, x = atom(Atom("w", "N", 1)), atom(Atom("x", "N", 1))
    >>> even_part(elem("relu", (w.T * x).trace()) * x, ["x"], homogeneous_lines({}))
    1/2*(w'*x)*x
    """
    known = bodies or {}
    total = zero(p.shape)
    for key, c in merged(split(p, flipped, lines)).items():
        if monomial_parity(key, flipped, known) != -1:
            total = total + monomial(p.shape, key, c)
    return total


# Homogeneous functions --------------------------------------------------------------------------------------------------------


def homogeneous_lines(functions: Mapping[str, Any], convert: Callable[[Tree], Poly] | None = None) -> Lines:
    """The two slopes of every positively homogeneous function, from its body.

    >>> homogeneous_lines({})("relu")
    (1/2, 1/2)
    """

    def read(tree: Tree) -> Poly:
        q = as_fraction(tree)
        if q is not None:
            return constant(q)
        if convert is None:
            raise KeyError(str(tree))
        return convert(tree)

    def lines(name: str) -> tuple[Poly, Poly] | None:
        if name in ("relu", "abs"):
            return (constant(HALF), constant(HALF)) if name == "relu" else (constant(0), constant(1))
        f = functions.get(name)
        if f is None or f.body is None:
            return None
        found = [_slope(f.body, f.variable, side, read) for side in (1, -1)]
        if any(s is None or s[0] != 1 for s in found):
            return None
        right, left = (s[1] for s in found if s is not None)  # f(z) = right z for z > 0, left z for z < 0
        return (right + left).scale(HALF), (right - left).scale(HALF)

    return lines


def _slope(tree: Tree, variable: str, side: int, read: Callable[[Tree], Poly]) -> tuple[int, Poly] | None:
    """(degree, c) with tree = c z^degree where z has this sign, degree 0 or 1; None for anything else."""
    if tree == variable:
        return 1, constant(1)
    if as_fraction(tree) is not None or isinstance(tree, str):
        return 0, read(tree)
    parts = [_slope(t, variable, side, read) for t in children(tree)]
    if any(s is None for s in parts):
        return None
    known = [s for s in parts if s is not None]
    if tree[0] == "add":
        terms = [s for s in known if s[1]]
        if len({n for n, _ in terms}) > 1:
            return None
        return (terms[0][0] if terms else 1), sum((c for _, c in terms[1:]), terms[0][1] if terms else constant(0))
    if tree[0] == "mul":
        degree, out = 0, constant(1)
        for n, c in known:
            degree, out = degree + n, out * c
        return (degree, out) if degree <= 1 else None
    if tree[0] == "pow" and all(n == 0 for n, _ in known):
        return 0, read(tree)
    if tree[0] == "map":
        return _slope_of_map(tree[1], known[0], side)
    return None


def _slope_of_map(name: str, argument: tuple[int, Poly], side: int) -> tuple[int, Poly] | None:
    degree, c = argument
    if name not in ("relu", "abs", "step", "sgn") or degree != 1 or any(k != Key((), (), None) for k in c.terms):
        return None  # the sign of a coefficient must be known
    q = sum(c.terms.values(), Fraction(0))
    positive, sign = q * side > 0, (q * side > 0) - (q * side < 0)
    if name in ("step", "sgn"):
        return 0, constant(sign if name == "sgn" else int(positive))
    return 1, constant(q * sign if name == "abs" else q if positive else 0)


def split(p: Poly, symbols: Collection[str], lines: Lines) -> Poly:
    """The same expression with homogeneous functions of these symbols written as p z + q |z|, steps as (1 + sgn)/2."""
    total = zero(p.shape)
    for key, c in p.items():
        out = monomial(None, Key(key.params, (), None), c)
        for word, e in key.traces:
            if _touches(word, symbols):
                out = out * scalar_power(_split_word(word, symbols, lines).trace(), e)
            else:
                out = out * monomial(None, Key((), ((word, e),), None))
        if key.word is not None:
            assert p.shape is not None
            out = out * (_split_word(key.word, symbols, lines) if key.word else identity(p.shape[0]))
        total = total + out
    return total


def _touches(word: Word, symbols: Collection[str]) -> bool:
    return any(x.atom.comp is not None and letter_mentions(x, s) for x in word for s in symbols)


def _split_word(word: Word, symbols: Collection[str], lines: Lines) -> Poly:
    out = _split_letter(word[0], symbols, lines)
    for x in word[1:]:
        out = out * _split_letter(x, symbols, lines)
    return out


def _split_letter(x: Letter, symbols: Collection[str], lines: Lines) -> Poly:
    comp = x.atom.comp
    if not _touches((x,), symbols) or not isinstance(comp, Elem | Had):
        return product((x,), x.rows)
    if isinstance(comp, Had):
        new = hadamard(*(split(f, symbols, lines) for f in comp.factors))
    else:
        new = _split_function(comp.function, comp.order, split(comp.argument, symbols, lines), lines)
    new = new * identity(1) if new.shape is None else new
    return new.T if x.t else new


def _split_function(name: str, order: int, z: Poly, lines: Lines) -> Poly:
    if name == "step" and order == 0:
        return (ones_like(z) + elem("sgn", z)).scale(HALF)
    found = lines(name) if order <= 1 else None
    if found is None:
        return elem(name, z, order)
    p, q = found
    return p * z + q * elem("abs", z) if order == 0 else p * ones_like(z) + q * elem("sgn", z)


# Parity -----------------------------------------------------------------------------------------------------------------------


def monomial_parity(key: Key, flipped: Collection[str], bodies: Mapping[str, Any]) -> int | None:
    """1 (even), -1 (odd), or None if it is neither or not known."""
    out = 1
    for word, e in (*key.traces, (key.word or (), Fraction(1))):
        sign = _word_parity(word, flipped, bodies)
        if sign == 1:
            continue
        if sign is None or e.denominator != 1:
            return None
        out *= sign if e.numerator % 2 else 1
    return out


def _word_parity(word: Word, flipped: Collection[str], bodies: Mapping[str, Any]) -> int | None:
    out = 1
    for x in word:
        sign = _letter_parity(x, flipped, bodies)
        if sign is None:
            return None
        out *= sign
    return out


def _letter_parity(x: Letter, flipped: Collection[str], bodies: Mapping[str, Any]) -> int | None:
    comp = x.atom.comp
    if not any(letter_mentions(x, n) for n in flipped):
        return 1
    if comp is None:
        return -1
    if isinstance(comp, Had):
        signs = [_parity(f, flipped, bodies) for f in comp.factors]
        return None if None in signs else -1 if signs.count(-1) % 2 else 1
    if isinstance(comp, Inverse):
        return _parity(comp.argument, flipped, bodies)
    if not isinstance(comp, Elem):
        return None
    inner = _parity(comp.argument, flipped, bodies)
    if inner != -1:
        return inner
    own = function_parity(comp.function, bodies)
    return None if own is None else own * (-1) ** comp.order


def _parity(p: Poly, flipped: Collection[str], bodies: Mapping[str, Any]) -> int | None:
    signs = [monomial_parity(key, flipped, bodies) for key, _ in p.items()]
    return signs[0] if signs and all(s == signs[0] for s in signs) else None if signs else 1


def function_parity(name: str, bodies: Mapping[str, Any]) -> int | None:
    """Parity of a function of one variable, read off its body if it is the user's.

    >>> function_parity("tanh", {}), function_parity("exp", {})
    (-1, None)
    """
    if name in bodies and bodies[name].body is not None:
        return _tree_parity(bodies[name].body, bodies[name].variable, bodies)
    return PARITY.get(name)


def _tree_parity(tree: Tree, variable: str, bodies: Mapping[str, Any]) -> int | None:
    if isinstance(tree, str):
        return -1 if tree == variable else 1
    parts = [_tree_parity(t, variable, bodies) for t in children(tree)]
    if not parts or None in parts:
        return None if parts else 1
    if tree[0] == "add":
        return parts[0] if all(s == parts[0] for s in parts) else None
    if tree[0] == "mul":
        return -1 if parts.count(-1) % 2 else 1
    if tree[0] == "pow":
        q = as_fraction(tree[2])
        if parts[0] == 1:
            return parts[1]
        return None if q is None or q.denominator != 1 else -1 if q.numerator % 2 else 1
    if tree[0] == "map":
        return 1 if parts[0] == 1 else function_parity(tree[1], bodies)
    return None


# Products of signs ------------------------------------------------------------------------------------------------------------


def merged(p: Poly) -> Poly:
    """Products of sgn(z), |z| and z of one z simplified, for numbers and inside elementwise products."""
    total = zero(p.shape)
    for key, c in p.items():
        out = monomial(None, Key(key.params, (), None), c) * _merged_numbers(key)
        if key.word is not None:
            assert p.shape is not None
            word = [_merged_letter(x) for x in key.word]
            new = identity(p.shape[0]) if not word else word[0]
            for q in word[1:]:
                new = new * q
            out = out * new
        total = total + out
    return total


def _merged_numbers(key: Key) -> Poly:
    """The product of the scalar words of a monomial."""
    powers: dict[Word, Fraction] = dict(key.traces)
    extra = constant(1)
    for word in list(powers):
        found = _function_of_number(word, "abs")
        if found is not None and powers[word].denominator == 1 and powers[word] >= 2:
            extra = extra * scalar_power(found, powers[word] - powers[word] % 2)
            powers[word] = powers[word] % 2
    for word in list(powers):
        found = _function_of_number(word, "sgn")
        if found is None or powers[word].denominator != 1:
            continue
        powers[word] = powers[word] % 2
        absolute = _key_of(elem("abs", found))
        plain = _key_of(found)
        if not powers[word]:
            continue
        if absolute is not None and powers.get(absolute, Fraction(0)) >= 1:
            powers[word], powers[absolute], extra = Fraction(0), powers[absolute] - 1, extra * found
        elif plain is not None and powers.get(plain, Fraction(0)) >= 1:
            powers[word], powers[plain], extra = Fraction(0), powers[plain] - 1, extra * elem("abs", found)
    for word, e in powers.items():
        letters = [_merged_letter(x) for x in word]
        if e and any(q != product((x,), x.rows) for q, x in zip(letters, word, strict=True)):
            new = letters[0]
            for q in letters[1:]:
                new = new * q
            extra = extra * scalar_power(new.trace(), e)
        elif e:
            extra = extra * monomial(None, Key((), ((word, e),), None))
    return extra


def _function_of_number(word: Word, name: str) -> Poly | None:
    """z of the scalar word  name(z)."""
    comp = word[0].atom.comp if len(word) == 1 else None
    same = isinstance(comp, Elem) and (comp.function, comp.order) == (name, 0) and comp.argument.shape is None
    return comp.argument if same and isinstance(comp, Elem) else None


def _key_of(p: Poly) -> Word | None:
    """The scalar word that a number consists of."""
    if len(p.terms) != 1:
        return None
    ((key, c),) = p.terms.items()
    alone = c == 1 and not key.params and len(key.traces) == 1 and key.traces[0][1] == 1 and key.word is None
    return key.traces[0][0] if alone else None


def _merged_letter(x: Letter) -> Poly:
    comp = x.atom.comp
    if not isinstance(comp, Had):
        return product((x,), x.rows)
    factors = [merged(f) for f in comp.factors]
    for i, f in enumerate(factors):
        z = _argument(f, "sgn")
        if z is None:
            continue
        for j, g in enumerate(factors):
            if j == i:
                continue
            new = ones_like(z) if g == f else z if g == elem("abs", z) else elem("abs", z) if g == z else None
            if new is not None:
                rest = [h for n, h in enumerate(factors) if n not in (i, j)]
                out = merged(hadamard(new, *rest))
                return out.T if x.t else out
    out = hadamard(*factors)
    return out.T if x.t else out


def _argument(f: Poly, name: str) -> Poly | None:
    """z of a factor name(z)."""
    if len(f.terms) != 1:
        return None
    ((key, c),) = f.terms.items()
    x = key.word[0] if key.word and len(key.word) == 1 and c == 1 and not key.params and not key.traces else None
    comp = x.atom.comp if x is not None else None
    if x is None or not isinstance(comp, Elem) or (comp.function, comp.order) != (name, 0):
        return None
    return comp.argument.T if x.t else comp.argument
