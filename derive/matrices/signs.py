"""Identities of signs inside elementwise products, exact at zero too.

    u o sgn(u) = |u|,     |u| o sgn(u) = u,     |u| o |u| = u o u,     sgn(u) o sgn(u) o sgn(u) = sgn(u)

With |u| = u o sgn(u) a product is  u^n o sgn(u)^k;  for n > 0 only the parity of k matters, and one |u| stands for an odd one.
Imported by `derive.matrices.composite`.
"""

from __future__ import annotations

from collections.abc import Sequence

from derive.matrices.poly import Poly, text
from derive.matrices.words import Elem


def merge_signs(factors: Sequence[Poly]) -> list[Poly]:
    """The factors of an elementwise product with |u| and sgn(u) merged, for each u; the others stay.

    >>> from derive.matrices.composite import elem
    >>> from derive.matrices.poly import atom
    >>> from derive.matrices.words import Atom
    >>> u = atom(Atom("u", "n", 1))
    >>> merge_signs([elem("sgn", u), u]), merge_signs([elem("abs", u), elem("abs", u), elem("sgn", u)])
    ([abs(u)], [abs(u), u])
    """
    bases = [b for b in dict.fromkeys(_base(f, name) for f in factors for name in ("abs", "sgn")) if b is not None]
    out = list(factors)
    for u in bases:
        plain = [f for f in out if f == u]
        absolute, sign = ([f for f in out if _base(f, name) == u] for name in ("abs", "sgn"))
        rest = [f for f in out if f not in (*plain, *absolute, *sign)]
        n, odd = len(plain) + len(absolute), (len(absolute) + len(sign)) % 2
        if not n:
            out = rest + sign[: len(sign) if len(sign) < 3 else 2 - odd]
            continue
        modulus = absolute or [_modulus(u)]
        out = rest + (modulus[:1] if odd else []) + [u] * (n - odd)
    return sorted(out, key=text)


def _base(f: Poly, name: str) -> Poly | None:
    """u, if the factor is |u| (or sgn(u))."""
    word = next(iter(f.terms)).word if len(f.terms) == 1 else None
    if not word or len(word) != 1:
        return None
    comp = word[0].atom.comp
    if not isinstance(comp, Elem) or (comp.function, comp.order) != (name, 0):
        return None
    return comp.argument.T if word[0].t else comp.argument


def _modulus(u: Poly) -> Poly:
    from derive.matrices.composite import elem

    return elem("abs", u)
