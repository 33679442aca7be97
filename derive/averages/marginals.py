"""Averages over independent, identically distributed entries whose moments are known: sums over partitions into cumulants.

    E[x_i x_j ...] = sum over partitions of the factors, product over blocks B of  kappa_|B| [all indices of B equal]

"All indices equal" is a sum over units: each letter of a block becomes the same unit column e (for a matrix e q'), and
`derive.averages.onehot` does the sums. With one probability for each entry the cumulants are columns, the weights of these
sums. Numbers are replaced by their moments. Imported by `derive.averages.expect`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import comb
from typing import Any

from derive.averages.onehot import average_over_items
from derive.averages.wick import random_letters
from derive.errors import BudgetExceeded, UnsupportedNode
from derive.matrices.calculus import substitute
from derive.matrices.composite import hadamard, ones
from derive.matrices.poly import Poly, atom, constant, monomial, product, text, zero
from derive.matrices.words import Atom, Key, Letter, Word
from derive.spec.tree import Tree

Convert = Callable[[Tree], Poly]
CAP = 8  # factors of one monomial; 4140 partitions


class Cumulants:
    """Moments and cumulants of one entry: scalars, or columns if entries have probabilities of their own.

    >>> from derive.spec.lowered import Draw
    >>> law = Draw(law="Marginal", symbols=("s",), shapes={"s": ("N", 1)}, moments=((2, 1), (4, 5)))
    >>> read = lambda tree: constant(tree)
    >>> Cumulants(law, read).cumulant(4)
    2
    """

    def __init__(self, draw: Any, convert: Convert):
        self.draw, self.convert = draw, convert
        self.name = draw.symbols[0]
        self.memo: dict[int, Poly] = {}

    def moment(self, k: int) -> Poly:
        """E[s^k].

        Raises
        ------
        UnsupportedNode
            If the law does not tell it.
        """
        if self.draw.values is not None:
            return self._of_values(k)
        found = dict(self.draw.moments)
        if k in found:
            return self.convert(found[k])
        if k % 2 and self.draw.moments and all(order % 2 == 0 for order in found):
            return constant(0)
        given = f"moments of order {', '.join(map(str, found))}" if found else "a transform"
        raise UnsupportedNode(
            f"the average needs E[{self.name}^{k}], but the law Marginal({self.name}) gives {given}; "
            f"add it, moments={{..., {k}: value}}"
        )

    def _of_values(self, k: int) -> Poly:
        values = [self.convert(v) for (v,) in self.draw.values]
        probs = self.draw.probs or (("frac", 1, len(values)),) * len(values)
        total: Poly | None = None
        for v, weight in zip(values, probs, strict=True):
            term = self.convert(weight)
            for _ in range(k):
                term = term * v
            total = term if total is None else _plus(total, term)
        assert total is not None
        return total

    def cumulant(self, k: int) -> Poly:
        """kappa_k, from the moments up to order k."""
        if k not in self.memo:
            total = self.moment(k)
            for j in range(1, k):
                lower = self.cumulant(j)
                if lower:
                    total = _plus(total, _times(lower, self.moment(k - j)).scale(-comb(k - 1, j - 1)))
            self.memo[k] = total
        return self.memo[k]


def _plus(a: Poly, b: Poly) -> Poly:
    if a.shape == b.shape:
        return a + b
    return a + b * ones(*a.shape) if a.shape is not None else a * ones(*b.shape) + b  # type: ignore[misc]


def _times(a: Poly, b: Poly) -> Poly:
    return hadamard(a, b) if a.shape is not None and b.shape is not None else a * b


def marginal_average(p: Poly, draw: Any, convert: Convert) -> Poly:
    """Average of an expression over independent entries.

    Raises
    ------
    UnsupportedNode
        If a moment is needed that the law does not give, or an entry stands inside a function.
    BudgetExceeded
        If a monomial has more than 8 random factors.

    >>> from derive.spec.lowered import Draw
    >>> x, A = atom(Atom("x", "N", 1)), atom(Atom("A", "N", "N"))
    >>> law = Draw(law="Marginal", symbols=("x",), shapes={"x": ("N", 1)}, moments=((2, 1), (4, 1)))
    >>> marginal_average((x.T * A * x).trace() * x * x.T, law, lambda tree: constant(tree))
    tr(A)*I - 2*(A o I) + A + A'
    """
    (name,) = draw.symbols
    known = Cumulants(draw, convert)
    total = zero(p.shape)
    for key, c in p.items():
        degree = random_letters(key, (name,))
        scalars = Poly(None, {Key(key.params, (), None): c})
        core = Key((), key.traces, key.word)
        if degree == 0:
            total = total + monomial(p.shape, key, c)
        elif draw.shapes[name] in ((), (1, 1)):
            total = total + scalars * known.moment(degree) * _without(core, name, p.shape)
        elif degree > CAP:
            raise BudgetExceeded(
                f"average of {text(monomial(p.shape, key))}: {degree} factors of {name}, at most {CAP} are grouped; "
                "lower the degree"
            )
        else:
            total = total + scalars * _partitioned(core, draw, degree, known, p.shape)
    return total


def _without(key: Key, name: str, shape: tuple[Any, Any] | None) -> Poly:
    """The monomial with the random number set to 1."""
    return substitute(monomial(shape, key), {name: constant(1)})


def _partitioned(key: Key, draw: Any, degree: int, known: Cumulants, shape: tuple[Any, Any] | None) -> Poly:
    (name,) = draw.symbols
    rows, cols = draw.shapes[name]
    marked = _marked(key, name, shape)
    total = zero(shape)
    for blocks in partitions(tuple(range(degree))):
        weights = [known.cumulant(len(b)) for b in blocks]
        if not all(weights):
            continue
        values: dict[str, Poly] = {}
        units: list[tuple[Atom, Atom]] = []
        for n, b in enumerate(blocks):
            unit, other = Atom(f"#e{n}", rows, 1), Atom(f"#q{n}", cols, 1)
            letter = atom(unit) if cols == 1 else atom(unit) * atom(other).T
            values |= {f"#x{k}": letter for k in b}
            units.append((unit, other))
        out = substitute(marked, values)
        for (unit, other), w in zip(units, weights, strict=True):
            out = average_over_items(out, unit, w if w.shape is not None else w * ones(rows, 1))
            if cols != 1:
                out = average_over_items(out, other, ones(cols, 1))
        total = total + out
    return total


def _marked(key: Key, name: str, shape: tuple[Any, Any] | None) -> Poly:
    """The monomial with its random letters told apart: #x0, #x1, ..."""
    count = 0

    def marked(word: Word) -> Word:
        nonlocal count
        out = []
        for x in word:
            if x.atom.name == name:
                x, count = Letter(Atom(f"#x{count}", x.atom.rows, x.atom.cols), x.t), count + 1
            out.append(x)
        return tuple(out)

    p = constant(1)
    for word, e in key.traces:
        if any(x.atom.name == name for x in word):
            for _ in range(int(e)):
                p = p * product(marked(word), word[0].rows).trace()
        else:
            p = p * monomial(None, Key((), ((word, Fraction(e)),), None))
    return p if key.word is None or shape is None else p * product(marked(key.word), shape[0])


def partitions(items: Sequence[int]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """All partitions of a set into blocks.

    >>> len(list(partitions((0, 1, 2, 3))))
    15
    """
    if not items:
        yield ()
        return
    first, rest = items[0], items[1:]
    for smaller in partitions(rest):
        yield ((first,), *smaller)
        for i, block in enumerate(smaller):
            yield (*smaller[:i], (first, *block), *smaller[i + 1 :])
