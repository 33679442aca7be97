"""Closed form of the matrix Riccati equation  M' = f (F M + M F) - g M^2  with symmetric constant F and M(0) = Q0 Q0'.

    M(t) = E (I + g M0 P)^{-1} M0 E,    E = exp(f F t),   P = int_0^t exp(2 f F r) dr = (E^2 - I) F^{-1} / (2 f)

The shape is recognised by its words. The printed expression holds for invertible F and is checked with 60 digits; it is never
used for numbers, because its bracket loses all digits: those come from the semigroup in Q (`derive.riccati_value`), any F.
Imported by `derive.solve`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from derive import symbols
from derive.errors import CheckFailed, NoClosedForm
from derive.evaluate import evaluate
from derive.poly import Poly, text
from derive.riccati_value import riccati_path, square_root
from derive.system import Block, ClosedForm, Flow, Step
from derive.words import Atom, Key

DIGITS = 60


class MatrixExp(sp.MatrixExpr):  # type: ignore[misc]
    """exp of a square matrix expression, unevaluated.

    >>> MatrixExp(sp.MatrixSymbol("F", 2, 2)).shape
    (2, 2)
    """

    def __new__(cls, exponent: sp.MatrixExpr) -> MatrixExp:
        return super().__new__(cls, exponent)  # type: ignore[no-any-return]

    @property
    def shape(self) -> tuple[Any, Any]:
        """Shape of the exponent."""
        return self.args[0].shape  # type: ignore[no-any-return]

    def _sympystr(self, printer: Any) -> str:
        return f"exp({printer._print(self.args[0])})"

    def _latex(self, printer: Any) -> str:
        return f"e^{{{printer._print(self.args[0])}}}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What was recognised: the state, F, and the scalars f and g."""

    state: Block
    field: Atom
    linear: Poly
    cubic: Poly


def matrix_riccati(flow: Flow) -> ClosedForm:
    """The solution of a flow of one symmetric matrix with the words F M, M F and M M.

    Raises
    ------
    NoClosedForm
        If the flow is none; the message says which word does not fit.
    CheckFailed
        If the solution does not survive its verification.
    """
    shape = recognise_words(flow)
    checked = _check(flow, shape)
    name, big, f = shape.state.name, _dimension(shape.state.shape[0]), shape.field.name
    root = flow.source.state[0].name if isinstance(flow.source, Flow) else ""  # Q of M = Q Q', as exact as the start is
    t = symbols.t
    start, field = sp.MatrixSymbol(f"{name}0", big, big), sp.MatrixSymbol(f, big, big)
    linear, cubic = _scalar(shape.linear), _scalar(shape.cubic)
    grown, eye = MatrixExp(linear * t * field), sp.Identity(big)
    total = (MatrixExp(2 * linear * t * field) - eye) * field.I
    solution = grown * (eye + cubic / (2 * linear) * start * total).I * start * grown

    def at(times: Any, initial: Mapping[Any, Any], params: Mapping[Any, Any]) -> dict[str, Any]:
        begin, known = _named(initial), _named(params)
        if root in begin:
            begin[name] = begin[root]
        for where, need, have in (("initial", name, begin), ("params", f, known)):
            if need not in have:
                raise KeyError(f"{where}: no value for {need} of {flow.name}; given: {', '.join(sorted(have)) or 'nothing'}")
        speeds = [float(evaluate(p, known)) for p in (shape.linear, shape.cubic)]
        factor = np.asarray(begin[root], dtype=float) if root in begin else square_root(begin[name])
        path = riccati_path(np.atleast_1d(times), factor, np.asarray(known[f], dtype=float), *speeds)
        return {name: path @ np.swapaxes(path, -1, -2)}

    steps = (
        Step(title=f"{name} is solved as a matrix Riccati equation", detail=f"{name}' = {flow.rhs[name]}"),
        Step(title="verified", detail=checked),
    )
    return ClosedForm(
        system=flow,
        kind="explicit",
        solution={name: solution},
        time=t,
        initial={name: start},
        domain=f"positive semidefinite starts, t >= 0; as printed for invertible {f}, evaluation for every symmetric {f}"
        + (f" (a start of {root} in place of {name} keeps directions below the rounding of {name})" if root else ""),
        assumptions=flow.assumptions,
        steps=(*flow.steps, *steps),
        checked=checked,
        evaluate=at,
    )


def recognise_words(flow: Flow) -> Shape:
    """State, F and scalars of a matrix Riccati equation.

    Raises
    ------
    NoClosedForm
        If a word does not fit.
    """
    if len(flow.state) != 1:
        raise NoClosedForm(
            f"no closed form of {flow.name}: it moves {len(flow.state)} arrays; reduce it first, with Modes(...), or for two "
            "layers of balance lam with (LambdaBalanced(lam), Gram())"
        )
    b = flow.state[0]
    p = flow.rhs[b.name]
    assert isinstance(p, Poly)  # the caller looked at the level
    found: dict[str, Poly] = {}
    field: Atom | None = None
    for key, c in p.items():
        word = key.word or ()
        names = [x.atom.name for x in word]
        others = [x.atom for x in word if x.atom.name != b.name]
        scalar = Poly(None, {Key(key.params, (), None): c})
        fits = len(word) == 2 and not key.traces and b.name in names and "sym" in b.tags
        fits = fits and all(a.comp is None and a.symmetric and (field is None or a == field) for a in others)
        if not fits:
            raise NoClosedForm(
                f"no closed form of {flow.name}: {text(Poly(p.shape, {key: c}))} does not fit M' = f (F M + M F) - g M M; for "
                f"Q' = f F Q - g Q Q'Q/2 follow {b.name}*{b.name}' by reduce(..., Gram()), otherwise integrate"
            )
        field = others[0] if others else field
        found["square" if not others else "left" if names[1] == b.name else "right"] = scalar
    if field is None or set(found) != {"square", "left", "right"} or found["left"] != found["right"]:
        raise NoClosedForm(
            f"no closed form of {flow.name}: {text(p)} is not of the form f (F M + M F) - g M M; integrate it numerically"
        )
    return Shape(state=b, field=field, linear=found["left"], cubic=-found["square"])


def _named(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {k if isinstance(k, str) else str(k.name): v for k, v in values.items()}


def _dimension(size: Any) -> sp.Expr:
    return sp.Integer(size) if isinstance(size, int) else sp.Symbol(str(size), integer=True, positive=True)


def _scalar(p: Poly) -> sp.Expr:
    ((key, c),) = p.terms.items()
    factors = [sp.Symbol(n, positive=True) ** sp.Rational(e.numerator, e.denominator) for n, e in key.params]
    return sp.Mul(sp.Rational(c.numerator, c.denominator), *factors)


def _check(flow: Flow, shape: Shape) -> str:
    """The expression against the words of the equation with 60 digits, then the evaluation against the expression."""
    rng = np.random.default_rng(9)
    raw, root = rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
    field = raw + raw.T
    start = root @ root.T
    scalars = {n: 0.75 for p in (shape.linear, shape.cubic) for k in p.terms for n, _ in k.params}
    p = flow.rhs[shape.state.name]
    assert isinstance(p, Poly)
    with mpmath.workdps(DIGITS):
        mf, m0 = mpmath.matrix(field.tolist()), mpmath.matrix(start.tolist())
        given = {k: mpmath.mpf(v) for k, v in scalars.items()}
        f, g = (evaluate(x, {**given, "": mpmath.mpf(1)}) for x in (shape.linear, shape.cubic))  # exact, also without scalars
        eye, inverse = mpmath.eye(3), mpmath.inverse(mf)

        def at(t: Any) -> Any:
            e = mpmath.expm(f * t * mf, method="taylor")
            return e * mpmath.inverse(eye + m0 * ((e * e - eye) * inverse) * (g / (2 * f))) * m0 * e

        t, h = mpmath.mpf(2) / 5, mpmath.mpf(10) ** -20
        slope = (at(t + h) - at(t - h)) / (2 * h)  # error h^2 = 1e-40, rounding 1e-60 / h = 1e-40
        now = at(t)
        values = {shape.state.name: _objects(now), shape.field.name: _objects(mf)}
        rate = evaluate(p, {**values, **given})
        residual = max(abs(slope[i, j] - rate[i, j]) for i in range(3) for j in range(3)) / mpmath.mnorm(now, "f")
        begin = mpmath.mnorm(at(mpmath.mpf(0)) - m0, "f")
        exact = np.array(now.tolist(), dtype=float)
    path = riccati_path([float(t)], square_root(start), field, float(f), float(g))[0]
    error = float(np.abs(path @ path.T - exact).max() / np.abs(exact).max())
    if not (residual < mpmath.mpf(10) ** -35 and begin < mpmath.mpf(10) ** -50 and error < 1e-12):
        raise CheckFailed(
            f"closed form of {flow.name}: residual {mpmath.nstr(residual, 3)}, start off by {mpmath.nstr(begin, 3)}, "
            f"evaluation off by {error:.1e}"
        )
    return (
        f"substituted into the equation at a random point with {DIGITS} digits: residual {mpmath.nstr(residual, 2)} "
        f"(differences of step 1e-20), start included; the evaluation agrees to {error:.1e}"
    )


def _objects(m: Any) -> Any:
    return np.array(m.tolist(), dtype=object)
