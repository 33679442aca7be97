"""Matrix-level expressions: `Poly`, a dictionary of words.

A `Poly` is a finite sum of monomials

    coefficient * prod_i p_i^{e_i} * prod_j tr(word_j)^{f_j} * word,

with rational coefficients, scalar parameters p_i, traces of words, and one open word (none for a scalar). Equality is that of
dictionaries, because words are stored in the normal form of `derive.matrices.words`.
Imported by the passes and by emission.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from derive.errors import ShapeMismatch, UnsupportedNode
from derive.matrices.words import (
    Atom,
    Key,
    Letter,
    Params,
    Size,
    Traces,
    Word,
    flip,
    is_ones,
    key_order,
    merge_params,
    merge_traces,
    normal_open,
    normal_trace,
    sort_runs,
)


def _scalars(words: list[Word], sizes: list[Size]) -> tuple[Fraction, Params, Traces]:
    """Scalar words and sizes as the scalar part of a key: 1'1 of a column of ones is its size."""
    kept, sizes = [], list(sizes)
    for w in words:
        if len(w) == 2 and is_ones(w[0].atom) and w[0].atom == w[1].atom:
            sizes.append(w[0].atom.rows)
        else:
            kept.append((w, Fraction(1)))
    factor, params = _size_factor(sizes) if sizes else (Fraction(1), ())
    return factor, params, merge_traces(kept)


def _size_factor(sizes: list[Size]) -> tuple[Fraction, Params]:
    factor, params = Fraction(1), []
    for s in sizes:
        if isinstance(s, int):
            factor *= s
        elif isinstance(s, str):
            params.append((s, Fraction(1)))
        else:
            raise UnsupportedNode(f"the trace of an identity of size {s}: name that size as one dimension")
    extra, merged = merge_params(params)
    return factor * extra, merged


_NO_SCALARS: tuple[Fraction, Params, Traces] = (Fraction(1), (), ())


class Poly:
    """A sum of monomials of words, in normal form; immutable.

    Attributes
    ----------
    shape : None or (rows, cols)
        None for a scalar.
    terms : Mapping[Key, Fraction]
        Nonzero coefficients.
    """

    __slots__ = ("_hash", "_order", "_text", "shape", "terms")

    def __init__(self, shape: tuple[Size, Size] | None, terms: Mapping[Key, Fraction]):
        self.shape = shape
        self.terms = {k: c for k, c in terms.items() if c}
        self._hash: int | None = None
        self._order: tuple[Key, ...] | None = None
        self._text: str | None = None

    def items(self) -> Iterator[tuple[Key, Fraction]]:
        """Monomials in a fixed order."""
        if self._order is None:
            self._order = tuple(sorted(self.terms, key=key_order))
        for key in self._order:
            yield key, self.terms[key]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Poly) and self.shape == other.shape and self.terms == other.terms

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash((self.shape, frozenset(self.terms.items())))
        return self._hash

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __add__(self, other: Poly) -> Poly:
        if self.shape != other.shape:
            raise ShapeMismatch(f"cannot add {text(other)} of shape {other.shape} to {text(self)} of shape {self.shape}")
        out = dict(self.terms)
        for key, c in other.terms.items():
            out[key] = out.get(key, Fraction(0)) + c
        return Poly(self.shape, out)

    def __neg__(self) -> Poly:
        return self.scale(-1)

    def __sub__(self, other: Poly) -> Poly:
        return self + (-other)

    def scale(self, q: int | Fraction) -> Poly:
        """Rational multiple."""
        return Poly(self.shape, {k: c * q for k, c in self.terms.items()})

    def __mul__(self, other: Poly | int | Fraction) -> Poly:
        if isinstance(other, int | Fraction):
            return self.scale(other)
        if self.shape is not None and other.shape is not None:
            if self.shape[1] != other.shape[0]:
                raise ShapeMismatch(
                    f"{text(self)} has {self.shape[1]} columns but {text(other)} has {other.shape[0]} rows: "
                    "transpose one of them, or write dot(a, b) for an inner product"
                )
            shape: tuple[Size, Size] | None = (self.shape[0], other.shape[1])
        else:
            shape = self.shape or other.shape
        out: dict[Key, Fraction] = {}
        for k1, c1 in self.terms.items():
            for k2, c2 in other.terms.items():
                word = k1.word if k2.word is None else k2.word
                factor, sizes, scalars = _NO_SCALARS
                if k1.word is not None and k2.word is not None:
                    words, word = normal_open(k1.word + k2.word)
                    if words:
                        factor, sizes, scalars = _scalars(words, [])
                more, params = merge_params(k1.params, k2.params, sizes)
                key = Key(params, merge_traces(k1.traces, k2.traces, scalars), word)
                out[key] = out.get(key, Fraction(0)) + c1 * c2 * factor * more
        return Poly(shape, out)

    __rmul__ = __mul__

    @property
    def T(self) -> Poly:
        """Transpose (a scalar is its own)."""
        if self.shape is None:
            return self
        terms: dict[Key, Fraction] = {}
        for k, c in self.terms.items():
            word = sort_runs(flip(k.word or ()))
            terms[Key(k.params, k.traces, word)] = c
        return Poly((self.shape[1], self.shape[0]), terms)

    def trace(self) -> Poly:
        """tr(self), a scalar."""
        if self.shape is None or self.shape[0] != self.shape[1]:
            raise ShapeMismatch(f"trace of {text(self)} of shape {self.shape}: a square matrix is needed")
        out: dict[Key, Fraction] = {}
        for k, c in self.terms.items():
            factor, extra, scalars = _scalars(*normal_trace(k.word or (), self.shape[0]))
            more, params = merge_params(k.params, extra)
            key = Key(params, merge_traces(k.traces, scalars), None)
            out[key] = out.get(key, Fraction(0)) + c * factor * more
        return Poly(None, out)

    def __repr__(self) -> str:
        return text(self)


def zero(shape: tuple[Size, Size] | None) -> Poly:
    """The zero of a shape."""
    return Poly(shape, {})


def constant(q: int | Fraction) -> Poly:
    """A rational number as a scalar."""
    return Poly(None, {Key((), (), None): Fraction(q)})


def param(name: str, exponent: int | Fraction = 1) -> Poly:
    """A scalar parameter (or, for a digit string, an integer radical) to a rational power."""
    factor, params = merge_params([(name, Fraction(exponent))])
    return Poly(None, {Key(params, (), None): factor})


def identity(size: Size) -> Poly:
    """The identity matrix."""
    return Poly((size, size), {Key((), (), ()): Fraction(1)})


def atom(a: Atom) -> Poly:
    """A matrix symbol; a 1 x 1 atom stays a 1 x 1 matrix."""
    scalars, word = normal_open((Letter(a, False),))
    return Poly((a.rows, a.cols), {Key((), merge_traces((w, Fraction(1)) for w in scalars), word): Fraction(1)})


def scalar_atom(a: Atom) -> Poly:
    """A 1 x 1 atom used as a number."""
    return Poly(None, {Key((), (((Letter(a, False),), Fraction(1)),), None): Fraction(1)})


def monomial(shape: tuple[Size, Size] | None, key: Key, coefficient: Fraction = Fraction(1)) -> Poly:
    """One monomial as a Poly (the key must already be in normal form)."""
    return Poly(shape, {key: coefficient})


def power(p: Poly, exponent: Fraction) -> Poly:
    """Power of a scalar: any rational power of a monomial, natural powers of a sum.

    Raises
    ------
    UnsupportedNode
        For other powers of a sum: use ``elem("inv", p)`` or ``elem("sqrt", p)``.
    """
    if p.shape is not None:
        raise ShapeMismatch(f"power of the matrix {text(p)}: powers here are of scalars")
    if exponent.denominator == 1 and exponent >= 0:
        out = constant(1)
        for _ in range(int(exponent)):
            out = out * p
        return out
    if len(p.terms) == 1:
        (key, c) = next(iter(p.terms.items()))
        out = constant(1)
        if exponent.denominator == 1:
            out = constant(c ** int(exponent))
        elif c != 1:
            if c < 0:
                raise UnsupportedNode(f"fractional power of the negative {text(p)}")
            out = param(str(c.numerator), exponent) if c.numerator != 1 else out
            out = out * param(str(c.denominator), -exponent) if c.denominator != 1 else out
        factor, params = merge_params((n, e * exponent) for n, e in key.params)
        traces = merge_traces((w, e * exponent) for w, e in key.traces)
        return out * Poly(None, {Key(params, traces, None): factor})
    raise UnsupportedNode(f"power {exponent} of the sum {text(p)}: write it with fn.inv or fn.sqrt")


def product(word: Word, size: Size) -> Poly:
    """A word, in any form, as a Poly; ``size`` is its number of rows."""
    if not word:
        return identity(size)
    words, rest = normal_open(word)
    factor, params, scalars = _scalars(words, [])
    return Poly((word[0].rows, word[-1].cols), {Key(params, scalars, rest): factor})


def text(p: Poly) -> str:
    """One-line canonical text with ' for the transpose; a positive term stands first if there is one.

    >>> A = Atom("A", "n", "n")
    >>> text(atom(A) * atom(A).T - identity("n").scale(2))
    "A*A' - 2*I"
    """
    if p._text is None:
        p._text = _written(p)
    return p._text


def _written(p: Poly) -> str:
    parts = [_term_text(key, c) for key, c in p.items()]
    if not parts:
        return "0"
    first = next((i for i, (sign, _) in enumerate(parts) if sign == "+"), 0)
    parts.insert(0, parts.pop(first))
    head = ("-" if parts[0][0] == "-" else "") + parts[0][1]
    return head + "".join(f" {s} {b}" for s, b in parts[1:])


def _term_text(key: Key, c: Fraction) -> tuple[str, str]:
    above = [_power_text(n, e) for n, e in key.params if e > 0] + [
        _power_text(_trace_text(w), e) for w, e in key.traces if e > 0
    ]
    below = [_power_text(n, -e) for n, e in key.params if e < 0] + [
        _power_text(_trace_text(w), -e) for w, e in key.traces if e < 0
    ]
    if key.word is not None:
        above.append(_word_text(key.word) or "I")
    size = abs(c)
    if size != 1 or not above:
        above.insert(0, str(size))
    return "-" if c < 0 else "+", "/".join(["*".join(above), *below])


def _power_text(base: str, e: Fraction) -> str:
    return base if e == 1 else f"{base}^{e}" if e.denominator == 1 else f"{base}^({e})"


def _word_text(word: Word) -> str:
    return "*".join(x.atom.name + ("'" if x.t else "") for x in word)


def _trace_text(word: Word) -> str:
    if word[0].rows != 1:
        return f"tr({_word_text(word)})"
    return _word_text(word) if len(word) == 1 else f"({_word_text(word)})"
