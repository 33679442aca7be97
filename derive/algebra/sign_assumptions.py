"""Signs of expressions of parameters, decided from stated assumptions or not at all.

Known are the assumptions of the symbols themselves, and a list of expressions that are taken to be positive. An expression is
factored; every factor must be recognised: by SymPy's assumptions, as a sum of terms of one sign (squares of real symbols count
as positive: zero is an accident), as a multiple of a stated expression, or as a sum of such multiples. Nothing is decided by
sampling. Imported by `derive.rest_states.rest_points` and by `derive.solutions.asymptotics`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec

MULTIPLES = 4  # of stated expressions in one sum


@dataclass(frozen=True, slots=True)
class Signs:
    """What is taken to be positive.

    Attributes
    ----------
    positive : tuple of SymPy expressions
        Compound expressions; symbols that are positive carry it themselves.

    >>> a, b = sp.symbols("a b", positive=True)
    >>> Signs((a - b,)).sign(2 * b - 2 * a), Signs((a - b,)).sign(a - 2 * b)
    (-1, None)
    """

    positive: tuple[sp.Expr, ...] = ()

    def sign(self, e: sp.Expr) -> int | None:
        """1, -1, 0, or None if the assumptions do not decide."""
        total = 1
        for part in self.parts(e):
            known = self._factor(part)
            if known is None:
                return None
            total *= known
        return total

    def assuming(self, *more: sp.Expr) -> Signs:
        """Further positive expressions; their factors of known sign are divided out."""
        out = self
        for e in more:
            known = 1
            for part in out.parts(e):
                known *= out._factor(part) or 1
            open_ = sp.Mul(*(part for part in out.parts(e) if out._factor(part) is None))
            if open_ != 1:
                out = Signs((*out.positive, sp.expand(known * open_)))
        return out

    def unknown(self, e: sp.Expr) -> sp.Expr:
        """The product of the factors whose sign is not known."""
        return sp.Mul(*(part for part in self.parts(e) if self._factor(part) is None))

    def parts(self, e: sp.Expr) -> list[sp.Expr]:
        """Factors; an even power of a real expression is left out."""
        out = []
        for part in sp.Mul.make_args(sp.factor(sp.cancel(sp.together(e)))):
            base, n = part.as_base_exp()
            if base.is_real is not False and n.is_Integer:
                if n % 2:
                    out.append(base)
            else:
                out.append(part)
        return out

    def _factor(self, e: sp.Expr) -> int | None:
        if e.is_zero:
            return 0
        if e.is_positive:
            return 1
        if e.is_negative:
            return -1
        if isinstance(e, sp.Abs):
            return 1
        if isinstance(e, sp.Pow) and e.exp.is_Rational:  # a root of what is positive
            return 1 if self.sign(e.base) == 1 else None
        e = sp.expand(e)
        same = _one_sign(e)
        if same is not None:
            return same
        for p in self.positive:
            q = sp.cancel(e / p)
            if q.is_positive or q.is_negative:
                return 1 if q.is_positive else -1
        return next((sign for sign in (1, -1) if self._combined(sp.expand(sign * e), MULTIPLES)), None)

    def _combined(self, e: sp.Expr, depth: int) -> bool:
        """Is this a sum of stated expressions times positive terms, and of a positive rest?

        Its first term that is not positive must come from such a term of a stated expression.
        """
        if e == 0 or _one_sign(e) == 1:
            return True
        first = next((term for term in sp.Add.make_args(e) if _one_sign(term) != 1), None)
        for p in self.positive if depth else ():
            for own in sp.Add.make_args(sp.expand(p)):
                factor = sp.cancel(first / own)
                if _one_sign(own) != 1 and factor.is_positive and self._combined(sp.expand(e - factor * p), depth - 1):
                    return True
        return False


def _one_sign(e: sp.Expr) -> int | None:
    """The sign of a sum of terms of one sign."""
    found = []
    for term in sp.Add.make_args(e):
        sign = 1
        for part in sp.Mul.make_args(term):
            base, n = part.as_base_exp()
            if part.is_positive or (n.is_even and base.is_real):
                continue
            if not part.is_negative:
                return None
            sign = -sign
        found.append(sign)
    return found[0] if all(s == found[0] for s in found) else None


def read_signs(
    name: str, symbols: Mapping[str, sp.Symbol], positive: Iterable[Any]
) -> tuple[dict[sp.Symbol, sp.Symbol], Signs]:
    """Sign assumptions of a user: plain symbols become positive symbols, expressions are kept.

    Returns the replacements of symbols, and the assumptions in the replaced symbols.

    Raises
    ------
    InvalidSpec
        If a symbol is no parameter of the system.
    """
    items = [sp.Symbol(p) if isinstance(p, str) else sp.sympify(p, strict=True) for p in positive]
    for e in items:
        for s in sorted(e.free_symbols, key=str):
            if s.name not in symbols:
                raise InvalidSpec(f"positive={e}: {s} is no parameter of {name}; it has {', '.join(sorted(symbols)) or 'none'}")
    own = {s: symbols[s.name] for e in items for s in e.free_symbols}
    items = [e.xreplace(own) for e in items]
    made = {s: sp.Symbol(s.name, positive=True) for s in items if isinstance(s, sp.Symbol)}
    return made, Signs(tuple(sp.expand(e.xreplace(made)) for e in items if not isinstance(e, sp.Symbol)))
