"""Correlated entries with a known marginal law: averages of signs by a conditional central limit.

The law states the marginal of every entry x_i (mean 0, variance 1) and the covariance S of the column x; its joint law is not
stated. First and second moments are exact. For a number s = v'x with many comparable terms, given one entry the rest of s is
Gaussian:

    E[sgn(s) x_i] = phi(a_i),    a = S v / |v|_S,    phi(a) = E_x[x erf2(x a / sqrt(1 - a^2))],    E|s| = sqrt(2/pi) |v|_S.

These hold up to corrections that vanish as the number of terms grows (exact for Gaussian marginals), which the flow lists among
its assumptions. The marginal is a list of values, or a function of a standard normal number; its average is then a sum over
Gauss-Legendre nodes in probability. Imported by `derive.averages.expect`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from derive.averages.half_spaces import first_replaced
from derive.averages.wick import gaussian_average, random_letters
from derive.errors import InvalidSpec, UnsupportedNode
from derive.matrices.calculus import grad
from derive.matrices.composite import elem, hadamard, letter_mentions, scalar_power
from derive.matrices.poly import Poly, atom, identity, monomial, param, text, zero
from derive.matrices.words import PI, Atom, Elem, Key, Word
from derive.spec.elementwise import body_of
from derive.spec.tree import Tree, children, rebuild

Convert = Callable[[Tree], Poly]
NODES = 32  # of one half of a marginal: for erf(3 z) the variance is right to 1e-6


def central_limit_average(p: Poly, draw: Any, convert: Convert, functions: Mapping[str, Any]) -> Poly:
    """Average of words with at most one sign or absolute value of a number that is linear in x.

    Raises
    ------
    UnsupportedNode
        If the average needs more of the joint law than the marginal and the covariance.
    """
    (name,) = draw.symbols
    x = Atom(name, *draw.shapes[name])
    cov = convert(draw.cov)
    cov = cov * identity(x.rows) if cov.shape is None else cov
    marginal = _marginal(draw, convert, functions)
    total = zero(p.shape)
    for key, c in p.items():
        fields = [w for w, _ in key.traces if any(y.atom.comp is not None and letter_mentions(y, name) for y in w)]
        kept = Key(key.params, tuple((w, e) for w, e in key.traces if w not in fields), key.word)
        degree = random_letters(kept, (name,))
        if len(fields) > 1 or (fields and (degree > 1 or dict(key.traces)[fields[0]] != 1)) or degree > 2:
            raise UnsupportedNode(
                f"average of {text(monomial(p.shape, key))}: the law Marginal({name}, cov=...) states one entry and the "
                "covariance only, so second moments and one sign or absolute value are averaged; bind the data to arrays"
            )
        if not fields:
            core = monomial(p.shape, kept, c)
            total = total + gaussian_average(core, (name,), lambda a, b: (cov, identity(1)))
            continue
        kind, v = _field(fields[0], x)
        deviation = scalar_power((v.T * cov * v).trace(), Fraction(1, 2))
        if kind == "abs":
            mean = scalar_power(param(PI, -1).scale(2), Fraction(1, 2)) * deviation
            total = total + (mean * monomial(p.shape, kept, c) if degree == 0 else zero(p.shape))
        elif degree:
            column = _phi(scalar_power(deviation, Fraction(-1)) * (cov * v), marginal)
            total = total + first_replaced(kept, p.shape, x, column).scale(c)
    return total


def _field(word: Word, x: Atom) -> tuple[str, Poly]:
    comp = word[0].atom.comp if len(word) == 1 else None
    if not isinstance(comp, Elem) or comp.order or comp.function not in ("sgn", "abs") or comp.argument.shape is not None:
        raise UnsupportedNode(
            f"average of {text(monomial(None, Key((), ((word, Fraction(1)),), None)))}: of correlated entries signs and "
            "absolute values of one number v'x are averaged; bind the data to arrays (exact sum)"
        )
    v = grad(comp.argument, x)
    if (v.T * atom(x)).trace() != comp.argument:
        raise UnsupportedNode(
            f"average of {comp.function}({text(comp.argument)}): it is not linear and homogeneous in {x.name}"
        )
    return comp.function, v


def _phi(a: Poly, marginal: list[tuple[Poly, Poly]]) -> Poly:
    """E_x[x erf2(x a / sqrt(1 - a^2))], entry by entry."""
    assert a.shape is not None
    tilt = hadamard(a, elem("inv", elem("cos", elem("asin", a))))  # a / sqrt(1 - a^2), also where rounding takes a beyond 1
    total = zero(a.shape)
    for value, weight in marginal:
        total = total + weight * value * elem("erf2", value * tilt)
    return total


def _marginal(draw: Any, convert: Convert, functions: Mapping[str, Any]) -> list[tuple[Poly, Poly]]:
    """Values and probabilities; x erf2(x a) is even in x, so a value and its mirror image count together."""
    if draw.values is not None:
        probs = draw.probs or (("frac", 1, len(draw.values)),) * len(draw.values)
        found: dict[Poly, Poly] = {}
        for (v,), weight in zip(draw.values, probs, strict=True):
            value = convert(v)
            value = -value if value.terms and next(c for _, c in value.items()) < 0 else value
            found[value] = found[value] + convert(weight) if value in found else convert(weight)
        _check_values(draw.symbols[0], [convert(v) for (v,) in draw.values], [convert(w) for w in probs])
        return list(found.items())
    if draw.transform is None:
        raise UnsupportedNode(
            f"Marginal({draw.symbols[0]}): signs need the whole marginal, not its moments; give values=(...) or transform=..."
        )
    from scipy.special import ndtri

    variable, body = body_of(draw.transform, 0, functions)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    at = ndtri(0.75 + nodes / 4)  # the upper half of the normal law
    return [
        (convert(_put(body, variable, _number(float(z)))), convert(_number(float(w) / 2)))
        for z, w in zip(at, weights, strict=True)
    ]  # fmt: skip


def _check_values(name: str, values: list[Poly], probs: list[Poly]) -> None:
    """Numbers must be symmetric about 0 and have variance 1; values with parameters are the user's affair."""
    found = [tuple(sum(p.terms.values(), Fraction(0)) for p in pair) for pair in zip(values, probs, strict=True)]
    if any(k != Key((), (), None) for p in (*values, *probs) for k in p.terms):
        return
    if sorted(found) != sorted((-v, w) for v, w in found) or sum(v * v * w for v, w in found) != 1:
        raise InvalidSpec(
            f"Marginal({name}, cov=...): the entries must be symmetric about 0 with variance 1, so that cov is their "
            "covariance; scale the values, for instance values=(-1, 1)"
        )


def _number(value: float) -> Tree:
    q = Fraction(value).limit_denominator(10**12)
    return ("frac", q.numerator, q.denominator)


def _put(tree: Tree, name: str, value: Tree) -> Tree:
    if isinstance(tree, str):
        return value if tree == name else tree
    parts = children(tree)
    return rebuild(tree, tuple(_put(p, name, value) for p in parts)) if parts else tree
