"""Composite atoms: elementwise functions f(P), Hadamard products, inverses, solutions of equations as letters of words.

A composite is named by its canonical text, and of an expression and its transpose the smaller is stored, so that equal
composites are equal letters. Hadamard products are n-ary, flattened and linear in each factor. Functions that words can express
(squares, reciprocals, derivatives of the exponential) do not become composites at all.
Imported by the passes.
"""

from __future__ import annotations

import itertools
from fractions import Fraction
from math import factorial

from derive.errors import ShapeMismatch, UnsupportedNode
from derive.matrices import poly
from derive.matrices.poly import Poly, atom, constant, identity, monomial, scalar_atom, text, zero
from derive.matrices.signs import merge_signs
from derive.matrices.words import (
    PI,
    Atom,
    Composite,
    Elem,
    Had,
    Inverse,
    Key,
    Letter,
    Size,
    Solution,
    Word,
    flip,
    is_ones,
    sort_runs,
)

#: Functions whose derivative is a delta function, after so many derivatives.
KINKED = {"step": 0, "sgn": 0, "relu": 1, "abs": 1}


def composite(comp: Composite, shape: tuple[Size, Size] | None) -> Poly:
    """A composite atom as a Poly; of an expression and its transpose the smaller is stored."""
    rows, cols = shape or (1, 1)
    name = composite_name(comp)
    if shape is None:
        return scalar_atom(Atom(name, 1, 1, (), comp))
    other = _transposed(comp)
    if rows == cols and other == comp:
        return atom(Atom(name, rows, cols, ("sym",), comp))
    turned = composite_name(other)
    if (len(turned), turned) < (len(name), name):
        return atom(Atom(turned, cols, rows, (), other)).T
    return atom(Atom(name, rows, cols, (), comp))


def _transposed(comp: Composite) -> Composite:
    if isinstance(comp, Elem):
        return Elem(comp.function, comp.order, comp.argument.T)
    if isinstance(comp, Had):
        return Had(tuple(sorted((f.T for f in comp.factors), key=text)))
    if isinstance(comp, Solution):
        from derive.matrices.implicit import transposed

        return transposed(comp)
    return Inverse(comp.argument.T)


def composite_name(comp: Composite) -> str:
    """Canonical text of a composite; no user symbol can have such a name."""
    if isinstance(comp, Elem):
        return f"{comp.function}{chr(39) * comp.order}({text(comp.argument)})"
    if isinstance(comp, Had):
        return "(" + " o ".join(text(f) for f in comp.factors) + ")"
    if isinstance(comp, Solution):
        return f"root({comp.unknown}: {text(comp.equation)})"
    return f"({text(comp.argument)})^-1"


def elem(function: str, p: Poly, order: int = 0) -> Poly:
    """f^(order) applied to every entry of p (or to the scalar p).

    >>> W, x = atom(Atom("W", "K", "N")), atom(Atom("x", "N", 1))
    >>> elem("tanh", W * x), elem("sq", x), elem("exp", x, order=2)
    (tanh(W*x), (x o x), exp(x))
    """
    if p.shape == (1, 1):
        return elem(function, p.trace(), order) * identity(1)
    if function == "exp":
        order = 0
    if function in ("exp", "log", "sqrt", "inv", "kronecker delta"):
        from derive.matrices.entrywise import simplified

        made = simplified(function, p, order)
        if made is not None:
            return made
    if function == "abs" and order == 1:
        function, order = "sgn", 0
    if function in ("abs", "sgn") and order == 0:
        return _of_factors(function, p)
    if function == "sq":
        return (hadamard(p, p), p.scale(2), ones_like(p).scale(2), zero(p.shape))[min(order, 3)]
    if function == "inv" and (order or p.shape is None):
        once = _reciprocal(p) if p.shape is None else elem("inv", p)
        return hadamard(*[once] * (order + 1)).scale((-1) ** order * factorial(order))
    if function == "sqrt" and p.shape is None and order:
        falling = Fraction(1)
        for k in range(order):
            falling *= Fraction(1, 2) - k
        return poly.power(composite(Elem("sqrt", 0, p), None), Fraction(1 - 2 * order)).scale(falling)
    return composite(Elem(function, order, p), p.shape)


def _of_factors(function: str, p: Poly) -> Poly:
    """|P| or sgn(P), factor by factor for a product of numbers and outer products: |c s u v'| = |c| |s| |u| |v|'.

    A sum is turned so that its first coefficient is positive. Half powers, and squares u'u, are not negative.
    """
    negative = bool(p.terms) and next(c for _, c in p.items()) < 0
    if len(p.terms) != 1:
        out = composite(Elem(function, 0, -p if negative else p), p.shape)
        return -out if negative and function == "sgn" else out
    ((key, c),) = p.terms.items()
    out = constant(abs(c) if function == "abs" else -1 if negative else 1)
    for name, e in key.params:
        out = out * _of_power(function, poly.param(name, e), poly.param(name), e, name.isdigit() or name == PI)
    for word, e in key.traces:
        base = monomial(None, Key((), ((word, Fraction(1)),), None))
        out = out * _of_power(function, poly.power(base, e), base, e, _is_square(word) or _is_absolute(word))
    if not key.word:
        return out if key.word is None or p.shape is None else out * identity(p.shape[0])
    cuts = [0, *(i for i in range(1, len(key.word)) if key.word[i].rows == 1), len(key.word)]
    for start, end in itertools.pairwise(cuts):
        part = poly.product(key.word[start:end], key.word[start].rows)
        again = function == "abs" and _is_absolute(key.word[start:end])
        out = out * (part if again else composite(Elem(function, 0, part), part.shape))
    return out


def _of_power(function: str, whole: Poly, base: Poly, e: Fraction, nonnegative: bool) -> Poly:
    """|s^e| or sgn(s^e) of a number s."""
    if nonnegative or e.denominator != 1 or e.numerator % 2 == 0:
        return whole if function == "abs" else constant(1)
    inner = composite(Elem(function, 0, base), None)
    return poly.power(inner, e) if function == "abs" else inner


def _is_absolute(word: Word) -> bool:
    comp = word[0].atom.comp if len(word) == 1 else None
    return isinstance(comp, Elem) and (comp.function, comp.order) == ("abs", 0)


def _is_square(word: Word) -> bool:
    """Is the scalar word of the form u' u?"""
    half = len(word) // 2
    return len(word) % 2 == 0 and bool(word) and sort_runs(flip(word[half:])) == word[:half]


def _reciprocal(p: Poly) -> Poly:
    if p.shape is None and len(p.terms) == 1:
        return poly.power(p, Fraction(-1))
    return composite(Elem("inv", 0, p), p.shape)


def slope(function: str, p: Poly, order: int = 0) -> Poly:
    """Derivative of f^(order), applied to every entry of p.

    Raises
    ------
    UnsupportedNode
        If it is a delta function, which only an average over a density can treat.
    """
    if KINKED.get(function, order + 1) <= order:
        name = function + "'" * order
        raise UnsupportedNode(
            f"the derivative of {name}({text(p)}) is a delta function: average it over Gaussian fields with online_limit, "
            "or use a smooth activation such as fn.tanh or fn.erf2"
        )
    return elem(function, p, order + 1)


def scalar_power(p: Poly, exponent: Fraction) -> Poly:
    """Rational power of a scalar; half powers are of quantities that the caller knows to be positive.

    Raises
    ------
    UnsupportedNode
        For a power of a sum that is neither an integer nor a half-integer.

    >>> from derive.matrices.poly import param
    >>> scalar_power(param("a") + param("b"), Fraction(-3, 2))
    1/sqrt(a + b)^3
    """
    if len(p.terms) == 1 or (exponent.denominator == 1 and exponent >= 0):
        return poly.power(p, exponent)
    if exponent.denominator == 1:
        return poly.power(composite(Elem("inv", 0, p), None), -exponent)
    if exponent.denominator == 2:
        return poly.power(composite(Elem("sqrt", 0, p), None), 2 * exponent)
    raise UnsupportedNode(f"power {exponent} of the sum {text(p)}: integer and half-integer powers of sums are known")


def inverse(p: Poly) -> Poly:
    """Matrix inverse; that of one word of scalars is reciprocal, that of an inverse is its argument."""
    if p.shape == (1, 1):
        return scalar_power(p.trace(), Fraction(-1)) * identity(1)
    if len(p.terms) == 1:
        (key, c), *_ = p.items()
        scalar = Poly(None, {Key(key.params, key.traces, None): c})
        if not key.word:
            return scalar_power(scalar, Fraction(-1)) * identity(p.shape[0] if p.shape else 1)
        if len(key.word) == 1 and isinstance(key.word[0].atom.comp, Inverse):
            inner = key.word[0].atom.comp.argument
            return scalar_power(scalar, Fraction(-1)) * (inner.T if key.word[0].t else inner)
    return composite(Inverse(p), p.shape)


def hadamard(*factors: Poly) -> Poly:
    """Elementwise product: n-ary, flattened, linear in each factor.

    >>> a, b = atom(Atom("a", "n", 1)), atom(Atom("b", "n", 1))
    >>> hadamard(a - b, ones("n", 1), a)
    (a o a) - (a o b)
    """
    shape = factors[0].shape
    for f in factors:
        if f.shape != shape:
            raise ShapeMismatch(
                f"elementwise product of {text(factors[0])} {shape} and {text(f)} {f.shape}: equal shapes are needed"
            )
    if shape is None or len(factors) == 1:
        out = factors[0]
        for f in factors[1:]:
            out = out * f
        return out
    from derive.matrices.entrywise import cancelled, merged

    if shape == (1, 1):
        return hadamard(*(f.trace() for f in factors)) * identity(1)
    total = zero(shape)
    stack: list[tuple[Poly, list[Poly]]] = [(constant(1), [])]
    for f in cancelled(factors):
        stack = [
            (scalar * monomial(None, Key(key.params, key.traces, None), c), [*words, *_had_factors(key.word or (), shape)])
            for scalar, words in stack
            for key, c in f.items()
        ]
    for scalar, words in stack:
        kept = merge_signs(sorted((w for w in words if not _all_ones(w)), key=text))
        collected = merged(kept) if len(kept) > 1 else None
        if collected:
            total = total + scalar * hadamard(*collected)
        elif not kept or collected is not None:
            total = total + scalar * ones(*shape)
        elif len(kept) == 1:
            total = total + scalar * kept[0]
        else:
            total = total + scalar * composite(Had(tuple(kept)), shape)
    return total


def ones(rows: Size, cols: Size) -> Poly:
    """The matrix of ones, as a product of columns of ones."""
    return _ones_column(rows) * _ones_column(cols).T


def _ones_column(size: Size) -> Poly:
    return identity(1) if size == 1 else atom(Atom(f"ones[{size},1]", size, 1))


def ones_like(p: Poly) -> Poly:
    """The number 1, or the matrix of ones of the same shape."""
    return constant(1) if p.shape is None else ones(*p.shape)


def diagonal(v: Poly) -> Poly:
    """The diagonal matrix of a column v, as I o (v 1')."""
    if v.shape is None or v.shape[1] != 1:
        raise ShapeMismatch(f"diag of {text(v)} of shape {v.shape}: a column is needed")
    size = v.shape[0]
    if len(v.terms) == 1:  # of a diagonal: (I o A) 1
        ((key, c),) = v.terms.items()
        word = key.word or ()
        comp = word[0].atom.comp if len(word) == 2 and is_ones(word[1].atom) else None
        if isinstance(comp, Had) and identity(size) in comp.factors:
            return monomial((size, size), Key(key.params, key.traces, word[:1]), c)
    return hadamard(identity(size), v * ones(size, 1).T)


def _all_ones(p: Poly) -> bool:
    return all(is_ones(x.atom) for key in p.terms for x in key.word or ()) and p != identity(p.shape[0] if p.shape else 1)


def _had_factors(word: Word, shape: tuple[Size, Size]) -> list[Poly]:
    if len(word) == 1 and isinstance(word[0].atom.comp, Had):
        inner = word[0].atom.comp.factors
        return [f.T for f in inner] if word[0].t else list(inner)
    return [monomial(shape, Key((), (), word))]


def inside(comp: Composite) -> tuple[Poly, ...]:
    """The Polys that a composite is made of."""
    if isinstance(comp, Solution):
        return (comp.equation,)
    return comp.factors if isinstance(comp, Had) else (comp.argument,)


def bound_in(comp: Composite) -> str:
    """The name that has a meaning inside of a composite only: the unknown of an equation; empty if there is none."""
    return comp.unknown if isinstance(comp, Solution) else ""


def rebuilt(comp: Composite, parts: tuple[Poly, ...]) -> Poly:
    """The composite over other Polys."""
    if isinstance(comp, Elem):
        return elem(comp.function, parts[0], comp.order)
    if isinstance(comp, Solution):
        from derive.matrices.implicit import solution

        return solution(parts[0], comp.unknown)
    return hadamard(*parts) if isinstance(comp, Had) else inverse(parts[0])


def atoms(p: Poly) -> tuple[Atom, ...]:
    """The plain atoms of a Poly, composites opened, sorted by name (columns of ones included)."""
    found: dict[tuple[str, str], Atom] = {}
    for x in _letters(p):
        comp = x.atom.comp
        for a in [x.atom] if comp is None else [b for q in inside(comp) for b in atoms(q) if b.name != bound_in(comp)]:
            found[a.name, repr((a.rows, a.cols))] = a
    return tuple(found[k] for k in sorted(found))


def parameters(p: Poly) -> tuple[str, ...]:
    """The scalar parameters of a Poly, composites opened, sorted; integer radicals and pi are none."""
    found = {name for key in p.terms for name, _ in key.params if not name.isdigit() and name != PI}
    for x in _letters(p):
        if x.atom.comp is not None:
            found.update(n for q in inside(x.atom.comp) for n in parameters(q))
    return tuple(sorted(found))


def functions_in(p: Poly) -> tuple[str, ...]:
    """Names of the elementwise functions in a Poly, sorted."""
    found: set[str] = set()
    for x in _letters(p):
        if isinstance(x.atom.comp, Elem):
            found.add(x.atom.comp.function)
        if x.atom.comp is not None:
            found.update(n for q in inside(x.atom.comp) for n in functions_in(q))
    return tuple(sorted(found))


def mentions(p: Poly, name: str) -> bool:
    """Does a matrix or parameter of this name occur?"""
    for key in p.terms:
        if any(n == name for n, _ in key.params):
            return True
    return any(letter_mentions(x, name) for x in _letters(p))


def letter_mentions(x: Letter, name: str) -> bool:
    """Is the letter this matrix, or a composite of it?"""
    if x.atom.comp is None:
        return x.atom.name == name
    return name != bound_in(x.atom.comp) and any(mentions(q, name) for q in inside(x.atom.comp))


def _letters(p: Poly) -> list[Letter]:
    return [x for key in p.terms for word in (*(w for w, _ in key.traces), key.word or ()) for x in word]
