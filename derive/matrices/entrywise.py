"""Identities of powers, exponentials and logarithms that act entry by entry, so that changes of variables cancel.

    exp(P + n log A) = exp(P) o A^n      log(exp(P) o A) = P + log A       exp(P) o exp(Q) = exp(P + Q)
    A o inv(A) = 1                       sqrt(A) o sqrt(A) = A             inv(c A o B) = inv(A) o inv(B) / c

Each holds wherever its left side is defined: logarithms and roots of positive entries, reciprocals of entries that are not 0;
n is an integer or a half-integer. Derivatives of log and sqrt become reciprocals. Kronecker's delta(a - b) of numbers waits
until a - b is a known number. Imported by `derive.matrices.composite` and `derive.flows.flow`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import factorial

from derive.matrices.poly import Poly, constant, monomial, param, power, text, zero
from derive.matrices.words import Elem, Had, Key, Letter, Word

HALF = Fraction(1, 2)
#: Kronecker's delta of a difference; no function of a user can have this name.
DELTA = "kronecker delta"


def simplified(function: str, p: Poly, order: int) -> Poly | None:
    """exp, log, sqrt, inv (or their derivatives), or Kronecker's delta, in simpler words; None if there are none.

    >>> from derive.matrices.composite import elem
    >>> from derive.matrices.poly import atom
    >>> from derive.matrices.words import Atom
    >>> V, q = (atom(Atom(n, "n", 1)) for n in "Vq")
    >>> elem("exp", q + elem("log", V).scale(-2)), elem("log", V, order=1)
    ((exp(q) o inv(V) o inv(V)), inv(V))
    """
    if function == DELTA:
        number = not p.terms or (len(p.terms) == 1 and constant(next(iter(p.terms.values()))) == p)
        return constant(0 if order or p else 1) if number else None
    if function == "log" and order:
        sign = (-1) ** (order - 1)
        return _had([_elem("inv", p)] * order).scale(sign * factorial(order - 1))
    if function == "sqrt" and order and p.shape is not None:
        falling = Fraction(1)
        for k in range(order):
            falling *= HALF - k
        return _had([*[_elem("inv", p)] * order, _elem("sqrt", p)]).scale(falling)
    if function == "exp":
        return _exp(p)
    if function == "log":
        return _log(p)
    return _inv(p) if function == "inv" and not order and p.shape is not None else None


def freed(p: Poly) -> Poly:
    """The same expression with every delta(...) as a number of its own, so that no branch is silent at a random point.

    >>> from derive.matrices.composite import elem
    >>> from derive.matrices.poly import param
    >>> freed(elem(DELTA, param("c") - constant(1)) * param("a"))
    a*kronecker delta(c - 1)
    """
    total = zero(p.shape)
    for key, c in p.items():
        out = monomial(p.shape, Key(key.params, tuple(t for t in key.traces if not _is_delta(t[0])), key.word), c)
        for word, e in key.traces:
            if _is_delta(word):
                out = out * param(word[0].atom.name, e)
        total = total + out
    return total


def _is_delta(word: Word) -> bool:
    comp = word[0].atom.comp
    return len(word) == 1 and isinstance(comp, Elem) and comp.function == DELTA


def _exp(p: Poly) -> Poly | None:
    if not p:
        from derive.matrices.composite import ones_like

        return ones_like(p)
    rest, factors = zero(p.shape), []
    for key, c in p.items():
        inner = _argument(key, "log")
        if inner is None or key.params or c.denominator > 2:
            rest = rest + monomial(p.shape, key, c)
        else:
            factors += _powers(inner, c)
    if not factors:
        return None
    return _had([_elem("exp", rest), *factors] if rest else factors)


def _log(p: Poly) -> Poly | None:
    """The arguments of the exponentials among the factors of one word, and the logarithm of what is left."""
    if len(p.terms) != 1:
        return None
    ((key, c),) = p.items()
    factors = _factors(p, key)
    inside = [(f, _exponential(f)) for f in factors]
    found = [a for _, a in inside if a is not None]
    if not found:
        return None
    left = [f for f, a in inside if a is None]
    scalar = monomial(None, Key(key.params, key.traces if p.shape is not None else (), None), c)
    out = found[0]
    for a in found[1:]:
        out = out + a
    if not left and scalar == constant(1):
        return out
    from derive.matrices.composite import ones_like

    return out + _elem("log", scalar * _had(left) if left else scalar * ones_like(p))


def _inv(p: Poly) -> Poly | None:
    """Reciprocal entries of one word: factor by factor."""
    if len(p.terms) != 1:
        return None
    ((key, c),) = p.items()
    scalar = monomial(None, Key(key.params, key.traces, None), c)
    word = key.word or ()
    if len(word) != 1 or word[0].atom.comp is None:
        if scalar == constant(1):
            return None
        return power(scalar, Fraction(-1)) * _elem("inv", monomial(p.shape, Key((), (), key.word)))
    made = []
    for f in _factors(p, key):
        a = _exponential(f)
        ((inner, _),) = f.items()
        base = _argument(inner, "inv")
        made.append(_elem("exp", -a) if a is not None else base if base is not None else None)
    if len(made) == 1 and made[0] is None:
        return None if scalar == constant(1) else power(scalar, Fraction(-1)) * _elem("inv", _factors(p, key)[0])
    parts = [_elem("inv", f) if m is None else m for f, m in zip(_factors(p, key), made, strict=True)]
    return power(scalar, Fraction(-1)) * _had(parts)


def merged(factors: Sequence[Poly]) -> list[Poly] | None:
    """Factors of an elementwise product with equal bases collected; None if they are collected already. Each is one word."""
    exponents: dict[Poly, Fraction] = {}
    grown: list[Poly] = []
    for f in factors:
        a = _exponential(f)
        if a is not None:
            grown.append(a)
            continue
        base, e = _base(f)
        exponents[base] = exponents.get(base, Fraction(0)) + e
    if len(grown) < 2 and len(exponents) + len(grown) == len(factors):
        return None
    out = [q for base, e in exponents.items() for q in _powers(base, e)]
    if grown:
        total = grown[0]
        for a in grown[1:]:
            total = total + a
        out += [_elem("exp", total)] if total else []
    return None if sorted(map(text, out)) == sorted(map(text, factors)) else out


def cancelled(factors: Sequence[Poly]) -> tuple[Poly, ...]:
    """Factors without the pairs A, inv(A) of a sum A, which could not be recognised once the product is multiplied out."""
    out = list(factors)
    for f in factors:
        if len(f.terms) > 1 and f in out:
            partner = next((g for g in out if len(g.terms) == 1 and _reciprocal_of(g) == f), None)
            if partner is not None:
                out.remove(f)
                out.remove(partner)
                ((key, c),) = partner.items()
                scalar = monomial(None, Key(key.params, key.traces, None), c)
                if scalar != constant(1) or not out:
                    from derive.matrices.composite import ones_like

                    out.append(scalar * ones_like(f))
    return tuple(out)


def _reciprocal_of(g: Poly) -> Poly | None:
    """A of  g = c inv(A)."""
    ((key, _),) = g.items()
    return _argument(Key((), (), key.word), "inv") if key.word is not None else None


def _base(f: Poly) -> tuple[Poly, Fraction]:
    """A and e of  f = A^e."""
    ((key, _),) = f.items()
    inner = _argument(key, "inv")
    if inner is not None:
        base, e = _base(inner) if len(inner.terms) == 1 and _is_root(inner) else (inner, Fraction(1))
        return base, -e
    inner = _argument(key, "sqrt")
    return (f, Fraction(1)) if inner is None else (inner, HALF)


def _is_root(p: Poly) -> bool:
    ((key, _),) = p.items()
    return _argument(key, "sqrt") is not None


def _powers(base: Poly, e: Fraction) -> list[Poly]:
    """Factors whose elementwise product is base^e, e an integer or half-integer."""
    whole, root = int(abs(e)), e.denominator == 2
    if e < 0:
        return [_elem("inv", base)] * whole + [_elem("inv", _elem("sqrt", base))] * root
    return [base] * whole + [_elem("sqrt", base)] * root


def _factors(p: Poly, key: Key) -> list[Poly]:
    """The factors of a single word that is an elementwise product, else the word; scalar expressions by their traces."""
    if p.shape is None:
        return [monomial(None, Key((), (t,), None)) for t in key.traces]
    word = key.word or ()
    if len(word) == 1 and isinstance(word[0].atom.comp, Had):
        return [q.T if word[0].t else q for q in word[0].atom.comp.factors]
    return [monomial(p.shape, Key((), (), key.word))]


def _exponential(f: Poly) -> Poly | None:
    """P of  f = exp(P)."""
    ((key, _),) = f.items()
    return _argument(key, "exp")


def _argument(key: Key, function: str) -> Poly | None:
    """P of a word that is the function of P, and nothing else."""
    letter = _letter(key)
    comp = letter.atom.comp if letter is not None else None
    if letter is None or not isinstance(comp, Elem) or (comp.function, comp.order) != (function, 0):
        return None
    return comp.argument.T if letter.t else comp.argument


def _letter(key: Key) -> Letter | None:
    if key.word is None:
        one = len(key.traces) == 1 and len(key.traces[0][0]) == 1 and key.traces[0][1] == 1
        return key.traces[0][0][0] if one else None
    return key.word[0] if len(key.word) == 1 and not key.traces else None


def _had(factors: Sequence[Poly]) -> Poly:
    from derive.matrices.composite import hadamard

    return hadamard(*factors)


def _elem(function: str, p: Poly) -> Poly:
    from derive.matrices.composite import elem

    return elem(function, p)
