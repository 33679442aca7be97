r"""Closed forms for people: SymPy expressions with positive terms first, and where a solution never blows up.

    u' = A u + B u^p,  p > 1:    y = u^(1-p) obeys the affine  y' = (1-p)(A y + B), so u blows up where y reaches 0.
    B u0^(p-1) <= 0:             y' has the sign of y0 at y = 0: y never arrives there, and the solution exists for all t >= 0.

Imported by the printers only.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import sympy as sp
from sympy.printing.latex import LatexPrinter
from sympy.printing.str import StrPrinter

from derive.errors import DerivationError
from derive.spec.notation import latex_name
from derive.system import ClosedForm


def _ordered(terms: list[Any]) -> list[Any]:
    """Terms with a minus sign last, numbers first, else the order of SymPy."""
    return sorted(terms, key=lambda term: (term.as_coeff_Mul()[0].is_negative is True, not term.is_Number))


class _Text(StrPrinter):
    def _print_OneMatrix(self, expr: Any) -> str:
        return f"ones({', '.join(self._print(n) for n in expr.args)})"

    def _print_HadamardProduct(self, expr: Any) -> str:
        return f"had({', '.join(self._print(a) for a in expr.args)})"

    def _as_ordered_terms(self, expr: Any, order: Any = None) -> list[Any]:
        return _ordered(super()._as_ordered_terms(expr, order))


class _Latex(LatexPrinter):
    def _as_ordered_terms(self, expr: Any, order: Any = None) -> list[Any]:
        return _ordered(super()._as_ordered_terms(expr, order))


def sympy_text(e: sp.Expr) -> str:
    """One line of text.

    >>> s, u0, t = sp.symbols("s u0 t", positive=True)
    >>> sympy_text(s / (1 - (1 - s / u0) * sp.exp(-2 * s * t)))
    's/(1 - (1 - s/u0)*exp(-2*s*t))'
    """
    return str(_Text().doprint(e))


def sympy_latex(e: sp.Expr) -> str:
    r"""LaTeX in the project's names.

    >>> print(sympy_latex(1 - sp.Symbol("s") / sp.Symbol("u0")))
    1 - \frac{s}{u_{0}}
    """
    symbols = sorted(e.free_symbols, key=str)
    names = {s: latex_name(s.name) for s in symbols if isinstance(s, sp.Symbol)}
    return str(_Latex({"symbol_names": names}).doprint(e))


def domain_text(form: ClosedForm) -> str:
    """Where a closed form holds, and under which condition nothing blows up, if the equation shows it."""
    conditions = _global(form)
    if not form.domain or conditions is None:
        return form.domain
    return f"{form.domain}; there is none at t >= 0" + (f" if {' and '.join(conditions)}" if conditions else "")


def _global(form: ClosedForm) -> list[str] | None:
    """What is not yet known of  x0 >= 0  and  -B x0^(p-1) >= 0  for x' = A x + B x^p, p > 1; None for other equations."""
    from derive.reductions.scalar import powers, to_scalar

    if form.kind != "explicit":
        return None
    try:
        scalar = to_scalar(form.system)
    except DerivationError:
        return None
    found = []
    for x, f in zip(scalar.states, scalar.rhs, strict=True):
        parts = None if any(f.has(y) for y in scalar.states if y != x) else powers(f, x)
        high = max(parts, default=Fraction(0)) if parts else Fraction(0)
        if not parts or high <= 1 or any(e not in (1, high) for e in parts):
            return None
        start = form.initial[x.name]
        sign = -parts[high] * start ** (sp.Rational(high.numerator, high.denominator) - 1)
        unknown = [-1 if part.is_negative else part for part in sp.Mul.make_args(sign) if not part.is_positive]
        positive = sorted(str(v) for v in sign.free_symbols | {start} if v.is_positive)
        found += [f"{', '.join(positive)} > 0"] if positive else []
        needed = ([] if high.denominator == 1 else [start]) + ([sp.Mul(*unknown)] if unknown else [])
        found += [f"{sympy_text(e)} >= 0" for e in needed if not e.is_nonnegative]
    return found


def antiderivative(form: ClosedForm) -> tuple[sp.Expr, sp.Symbol, sp.Symbol] | None:
    """F, u and u0 of an implicit solution  t = F(u) - F(u0), or None if it has not this form."""
    if form.kind != "implicit" or len(form.initial) != 1:
        return None
    expr, start = form.solution["t"], next(iter(form.initial.values()))
    state = next((v for v in sorted(expr.free_symbols, key=str) if v.name in form.initial), None)
    if state is None:
        return None
    terms = sp.Add.make_args(sp.expand_mul(expr))
    F = sp.Add(*(term for term in terms if term.has(state)))
    rest = sp.Add(*(term for term in terms if not term.has(state)))
    return (sp.factor_terms(F), state, start) if F.xreplace({state: start}) + rest == 0 else None
