"""Gaussian averages of signs and absolute values in words: half-space averages by integration by parts.

For x normal with mean 0 and covariance S, and numbers s = v'x that are linear in x:

    E[x F(x)] = S E[grad F]                          d sgn(s)/dx = 2 delta(s) v,        d|s|/dx = sgn(s) v
    E[delta(s) F(x)] = E_s[F(x)] / sqrt(2 pi v'S v),                  E_s: covariance  S - S v v'S / v'S v

These remove every plain x, sign by sign. What is left are averages of functions alone, of which two at a time are elementary
(a the angle with  sin a = v'S w / sqrt(v'S v w'S w)):

    E|s| = sqrt(2/pi) |v|_S,    E[sgn(s) sgn(r)] = 2 a / pi,    E|s r| = (2/pi) |v|_S |w|_S (cos a + a sin a).

A column f(W x) is the sum over units i of e_i f(e_i'W x) with unit columns e_i, so that columns come down to numbers; the sums
are done by `derive.averages.onehot`. Imported by `derive.averages.expect`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from derive.averages.onehot import average_over_items
from derive.averages.parity import merged
from derive.averages.wick import contract, gaussian_average
from derive.errors import UnsupportedNode
from derive.matrices.calculus import grad, substitute
from derive.matrices.composite import elem, letter_mentions, ones, scalar_power
from derive.matrices.poly import Poly, atom, constant, identity, monomial, param, product, text, zero
from derive.matrices.words import PI, Atom, Elem, Had, Key, Letter, Word

HALF = Fraction(1, 2)


@dataclass(frozen=True, slots=True)
class Field:
    """A function of a linear number: ``kind`` is "sgn" or "abs", ``number`` is s, ``weight`` the column v with s = v'x."""

    kind: str
    number: Poly
    weight: Poly


@dataclass(frozen=True, slots=True)
class Measure:
    """The law of x: its covariance, and the weights at whose zero x is held."""

    covariance: Poly
    held: tuple[Poly, ...] = ()

    def across(self, v: Poly, w: Poly) -> Poly:
        """v'S w."""
        return (v.T * self.covariance * w).trace()

    def conditioned(self, v: Poly) -> Measure:
        """The law at v'x = 0."""
        s = self.covariance
        correction = scalar_power(self.across(v, v), Fraction(-1)) * (s * v * v.T * s)
        return Measure(s - correction, (*self.held, v))


def half_space_average(p: Poly, x: Atom, covariance: Poly) -> Poly:
    """Average over a centred Gaussian column x of words with signs and absolute values of linear functions of x.

    Raises
    ------
    UnsupportedNode
        If another function of x occurs, an argument is not linear and homogeneous in x, or four signs meet.

    >>> w, x, S = (atom(Atom(n, "N", c)) for n, c in (("w", 1), ("x", 1), ("S", "N")))
    >>> half_space_average(elem("sgn", (w.T * x).trace()) * x, Atom("x", "N", 1), S)
    2^(1/2)*S*w/π^(1/2)/(w'*S*w)^(1/2)
    """
    if not any(_inside(letter, x) for key in p.terms for w in _words(key) for letter in w):
        return gaussian_average(p, (x.name,), lambda a, b: (covariance, identity(1)))
    total = zero(p.shape)
    for key, c in p.items():
        total = total + _Expansion(x, Measure(covariance)).average(key, p.shape).scale(c)
    return total


def _words(key: Key) -> list[Word]:
    return [*(w for w, _ in key.traces), key.word or ()]


def _inside(letter: Letter, x: Atom) -> bool:
    return letter.atom.comp is not None and letter_mentions(letter, x.name)


class _Expansion:
    """One monomial: its columns as sums over units, then its numbers."""

    def __init__(self, x: Atom, measure: Measure):
        self.x, self.measure = x, measure
        self.units: list[Atom] = []

    def average(self, key: Key, shape: tuple[object, object] | None) -> Poly:
        out = monomial(None, Key(key.params, (), None))
        for word, e in key.traces:
            if not any(_inside(letter, self.x) for letter in word) or (len(word) == 1 and _is_number(word[0])):
                out = out * monomial(None, Key((), ((word, e),), None))
                continue
            for _ in range(_natural(e, word)):
                out = out * self._opened(word).trace()
        if key.word is not None:
            assert shape is not None
            out = out * (self._opened(key.word) if key.word else identity(shape[0]))
        out = self._of_numbers(merged(out))
        for unit in self.units:
            out = average_over_items(out, unit, ones(unit.rows, 1))  # weights 1: the sum over the units
        return out

    def _opened(self, word: Word) -> Poly:
        out = self._letter(word[0])
        for letter in word[1:]:
            out = out * self._letter(letter)
        return out

    def _letter(self, letter: Letter) -> Poly:
        comp = letter.atom.comp
        if not _inside(letter, self.x):
            return product((letter,), letter.rows)
        if _is_number(letter):
            return atom(letter.atom)
        if letter.atom.cols != 1 and letter.atom.rows != 1:
            raise UnsupportedNode(
                f"average of {letter.atom.name}: only columns of functions of {self.x.name} are averaged, not matrices"
            )
        unit = Atom(f"#unit{len(self.units)}", max(letter.atom.rows, letter.atom.cols, key=lambda n: n != 1), 1)
        self.units.append(unit)
        column = self._at(Letter(letter.atom, letter.atom.rows == 1), atom(unit))
        assert comp is not None
        return (column * atom(unit)).T if letter.rows == 1 else column * atom(unit)

    def _at(self, letter: Letter, unit: Poly) -> Poly:
        """The entry e'c of a column c, as a number."""
        comp = letter.atom.comp
        parts = comp.factors if isinstance(comp, Had) else (comp.argument,) if isinstance(comp, Elem) else None
        if parts is None or comp is None:
            raise UnsupportedNode(f"average of {letter.atom.name}: an inverse of a random matrix has no word")
        rows = [(unit.T * (p.T if letter.t else p)).trace() for p in parts]
        if isinstance(comp, Elem):
            return self._plain(elem(comp.function, rows[0], comp.order))
        out = constant(1)
        for r in rows:
            out = out * self._plain(r)
        return out

    def _plain(self, p: Poly) -> Poly:
        """Numbers that hold columns, like e'f(W x) and v'f(W x), by functions of numbers."""
        total = zero(None)
        for key, c in p.items():
            out = monomial(None, Key(key.params, (), None), c)
            for word, e in key.traces:
                if not any(_inside(y, self.x) for y in word) or (len(word) == 1 and _is_number(word[0])):
                    out = out * monomial(None, Key((), ((word, e),), None))
                    continue
                for _ in range(_natural(e, word)):
                    found = self._entry(word)
                    out = out * (self._opened(word).trace() if found is None else found)
            total = total + out
        return total

    def _entry(self, word: Word) -> Poly | None:
        """f(e'z) of a scalar word e'f(z)."""
        for letter, unit in ((word[0], word[-1]), (word[-1], word[0])):
            fits = len(word) == 2 and unit.atom in self.units and isinstance(letter.atom.comp, Elem | Had)
            if fits and _inside(letter, self.x):
                return self._at(Letter(letter.atom, letter.atom.rows == 1), atom(unit.atom))
        return None

    # Numbers ----------------------------------------------------------------------------------------------------------------

    def _of_numbers(self, p: Poly) -> Poly:
        total = zero(p.shape)
        for key, c in p.items():
            kept, fields = [], []
            for word, e in key.traces:
                if len(word) == 1 and _inside(word[0], self.x):
                    fields += [self._field(word[0])] * int(e)
                else:
                    kept.append((word, e))
            core = monomial(p.shape, Key((), tuple(kept), key.word))
            scalars = Poly(None, {Key(key.params, (), None): c})
            total = total + scalars * self._mean(core, tuple(fields), self.measure)
        return total

    def _field(self, letter: Letter) -> Field:
        comp = letter.atom.comp
        if not isinstance(comp, Elem) or (comp.function, comp.order) not in (("sgn", 0), ("abs", 0)):
            raise UnsupportedNode(
                f"average of {letter.atom.name} over {self.x.name}: words average signs, steps, absolute values and rectifiers "
                "of linear functions; for others use population_flow or online_limit (Gaussian fields), or bind the data"
            )
        s = comp.argument
        v = grad(s, self.x)
        if any(_inside(y, self.x) for k in s.terms for w in _words(k) for y in w) or (v.T * atom(self.x)).trace() != s:
            raise UnsupportedNode(f"average of {letter.atom.name}: {text(s)} is not linear and homogeneous in {self.x.name}")
        return Field(comp.function, s, v)

    def _mean(self, p: Poly, fields: tuple[Field, ...], law: Measure) -> Poly:
        """Average of  p * product of the fields."""
        if not fields:
            return gaussian_average(p, (self.x.name,), lambda a, b: (law.covariance, identity(1)))
        total = zero(p.shape)
        for key, c in p.items():
            degree = sum(int(e) * sum(y.atom == self.x for y in w) for w, e in (*key.traces, (key.word or (), Fraction(1))))
            if (degree + sum(f.kind == "sgn" for f in fields)) % 2:
                continue
            scalars = Poly(None, {Key(key.params, (), None): c})
            core = Key((), key.traces, key.word)
            total = total + scalars * (
                self._by_parts(core, p.shape, fields, law) if degree else monomial(p.shape, core) * self._alone(fields, law)
            )
        return total

    def _by_parts(self, key: Key, shape: tuple[object, object] | None, fields: tuple[Field, ...], law: Measure) -> Poly:
        """The first x of a monomial paired with every other x, and with every field."""
        paired = contract(key, (self.x.name,), shape, lambda a, b: (law.covariance, identity(1)))
        total = self._mean(paired, fields, law) if paired else zero(shape)
        for i, f in enumerate(fields):
            rest = (*fields[:i], *fields[i + 1 :])
            moved = first_replaced(key, shape, self.x, law.covariance * f.weight)
            if f.kind == "abs":
                total = total + self._mean(moved, (replace(f, kind="sgn"), *rest), law)
            else:
                total = total + self._density(f, law) * self._mean(moved, rest, law.conditioned(f.weight)).scale(2)
        return total

    def _density(self, f: Field, law: Measure) -> Poly:
        """Density of s at zero."""
        if law.held and self.units:
            raise UnsupportedNode(
                f"average of two signs of columns with two factors {self.x.name}: it is singular for equal units; write "
                "the units as vectors of their own"
            )
        return scalar_power(self._root(f.weight, law) * param("2", HALF) * param(PI, HALF), Fraction(-1))

    def _root(self, v: Poly, law: Measure) -> Poly:
        """Standard deviation of v'x; given one other number it is |v| cos(a), which is safe against rounding."""
        if len(law.held) != 1:
            return scalar_power(law.across(v, v), HALF)
        base = self.measure
        return scalar_power(base.across(v, v), HALF) * elem("cos", self._angle(v, law.held[0], base))

    def _angle(self, v: Poly, w: Poly, law: Measure) -> Poly:
        lengths = scalar_power(self._root(v, law) * self._root(w, law), Fraction(-1))
        return elem("asin", law.across(v, w) * lengths)

    def _alone(self, fields: tuple[Field, ...], law: Measure) -> Poly:
        """Average of a product of functions without any plain x."""
        kinds = [f.kind for f in fields]
        two_over_pi = param(PI, -1).scale(2)
        if kinds == ["abs"]:
            return scalar_power(two_over_pi, HALF) * self._root(fields[0].weight, law)
        if len(fields) == 2:
            f, r = fields
            angle = self._angle(f.weight, r.weight, law)
            if kinds == ["sgn", "sgn"]:
                return two_over_pi * angle
            lengths = self._root(f.weight, law) * self._root(r.weight, law)
            return two_over_pi * (lengths * elem("cos", angle) + law.across(f.weight, r.weight) * angle)
        found = next((i for i, k in enumerate(kinds) if k == "abs"), None)
        if found is None:
            raise UnsupportedNode(
                f"average of {len(fields)} signs of {self.x.name}: four signs have no elementary average; use online_limit"
            )
        signs = (*fields[:found], replace(fields[found], kind="sgn"), *fields[found + 1 :])
        return self._mean(fields[found].number, signs, law)


def _is_number(letter: Letter) -> bool:
    comp = letter.atom.comp
    return isinstance(comp, Elem) and comp.argument.shape is None


def _natural(e: Fraction, word: Word) -> int:
    if e.denominator != 1 or e < 1:
        raise UnsupportedNode(f"average of the power {e} of {text(product(word, 1))}: natural powers have averages")
    return int(e)


def first_replaced(key: Key, shape: tuple[object, object] | None, x: Atom, column: Poly) -> Poly:
    """The monomial with the letter that `derive.averages.wick.contract` takes first replaced by a column."""
    mark = Atom("#first", x.rows, x.cols)

    def marked(word: Word) -> Word:
        i = next(i for i, y in enumerate(word) if y.atom == x)
        return (*word[:i], Letter(mark, word[i].t), *word[i + 1 :])

    if key.word is not None and any(y.atom == x for y in key.word):
        assert shape is not None
        p = monomial(None, Key(key.params, key.traces, None)) * product(marked(key.word), shape[0])
    else:
        word = next(w for w, _ in key.traces if any(y.atom == x for y in w))
        rest = [(w, f - 1 if w == word else f) for w, f in key.traces]
        p = (
            monomial(None, Key(key.params, tuple((w, f) for w, f in rest if f), None))
            * product(marked(word), word[0].rows).trace()
        )
        p = p if key.word is None else p * product(key.word, shape[0] if shape else 1)
    return substitute(p, {mark.name: column})
