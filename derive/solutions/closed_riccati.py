"""Closed form of the matrix Riccati equation  M' = f (F M + M F) - g M^2  with symmetric constant F and M(0) = Q0 Q0'.

F is any symmetric expression of given arrays, for instance  X K X' - lam I.

    M(t) = E (I + g M0 P)^{-1} M0 E,    E = exp(f F t),   P = int_0^t exp(2 f F r) dr = (E^2 - I) F^{-1} / (2 f)

The shape is recognised by its words. The printed expression holds for invertible F and is checked with 60 digits; it is never
used for numbers, because its bracket loses all digits: those come from the semigroup in Q (`derive.reductions.riccati_value`),
any F. Imported by `derive.solutions.solve`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from derive.completion.closure import sizes_in, sizes_of
from derive.errors import CheckFailed, NoClosedForm
from derive.matrices.composite import atoms, letter_mentions, mentions, parameters
from derive.matrices.convert import to_sympy
from derive.matrices.evaluate import evaluate
from derive.matrices.functions import MatrixExp
from derive.matrices.poly import Poly, atom, identity, power, product, text, zero
from derive.matrices.words import Atom, Key
from derive.reductions.gram import side_of
from derive.reductions.riccati_value import riccati_path, square_root
from derive.spec import symbols
from derive.system import Block, ClosedForm, Flow, Step

DIGITS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What was recognised: the state, F, and the scalars f and g."""

    state: Block
    field: Poly
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
    name, big = shape.state.name, _dimension(shape.state.shape[0])
    turned = side_of(flow)
    root = flow.source.state[0].name if turned is not None else ""  # Q of M = Q Q', as exact as the start is
    t = symbols.t
    start, field = sp.MatrixSymbol(f"{name}0", big, big), to_sympy(shape.field, flow.symbols, flow.functions)
    linear, cubic = _scalar(shape.linear), _scalar(shape.cubic)
    grown, eye = MatrixExp(linear * t * field), sp.Identity(big)
    total = (MatrixExp(2 * linear * t * field) - eye) * field.I
    solution = grown * (eye + cubic / (2 * linear) * start * total).I * start * grown
    needed = sorted({*(a.name for a in atoms(shape.field)), *parameters(shape.field)} - set(sizes_of(flow)))
    shown = text(shape.field)

    def at(times: Any, initial: Mapping[Any, Any], params: Mapping[Any, Any]) -> dict[str, Any]:
        begin, known = _named(initial), _named(params)
        if root in begin:
            factor = np.swapaxes(np.asarray(begin[root], dtype=float), -1, -2) if turned else begin[root]
            begin[name] = factor
        for where, needs, have in (("initial", [name], begin), ("params", needed, known)):
            missing = [n for n in needs if n not in have]
            if missing:
                given = ", ".join(sorted(have)) or "nothing"
                raise KeyError(f"{where}: no value for {missing[0]} of {flow.name}; given: {given}")
        used = {n: known[n] for n in known if any(mentions(p, n) for p in (shape.field, shape.linear, shape.cubic))}
        size = {str(shape.state.shape[0]): np.shape(begin[name])[-2], **sizes_in(flow, known)}
        speeds = [float(evaluate(p, used, sizes=size)) for p in (shape.linear, shape.cubic)]
        begin_root = np.asarray(begin[name], dtype=float) if root in begin else square_root(begin[name])
        path = riccati_path(
            np.atleast_1d(times),
            begin_root,
            np.asarray(evaluate(shape.field, used, sizes=size, functions=flow.functions)),
            *speeds,
        )
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
        domain=f"positive semidefinite starts, t >= 0; as printed for invertible {shown}, evaluation of every symmetric one"
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
    size = b.shape[0]
    left, right, square = zero(p.shape), zero(p.shape), zero(None)
    for key, c in p.items():
        word = key.word or ()
        places = [i for i, x in enumerate(word) if letter_mentions(x, b.name)]
        plain = "sym" in b.tags and not key.traces and not any(n == b.name for n, _ in key.params)
        plain = plain and bool(places) and all(word[i].atom.comp is None for i in places)
        scalar = Poly(None, {Key(key.params, (), None): c})
        if plain and len(word) == 1:
            left, right = (part + scalar.scale(Fraction(1, 2)) * identity(size) for part in (left, right))
        elif plain and len(word) == len(places) == 2:
            square = square - scalar
        elif plain and places == [len(word) - 1]:
            left = left + scalar * product(word[:-1], size)
        elif plain and places == [0]:
            right = right + scalar * product(word[1:], size)
        else:
            raise NoClosedForm(
                f"no closed form of {flow.name}: {text(Poly(p.shape, {key: c}))} does not fit M' = f (F M + M F) - g M M; for "
                f"Q' = f F Q - g Q Q'Q/2 follow {b.name}*{b.name}' by reduce(..., Gram()), otherwise integrate"
            )
    if not left or left != right or left != left.T or len(square.terms) != 1:
        raise NoClosedForm(
            f"no closed form of {flow.name}: {text(p)} is not of the form f (F M + M F) - g M M; integrate it numerically"
        )
    scale = _common(left)
    return Shape(state=b, field=power(scale, Fraction(-1)) * left, linear=scale, cubic=square)


def _common(p: Poly) -> Poly:
    """The scalar factor that all terms share: of one term its coefficient, of several their common parameters."""
    keys = list(p.terms)
    exponents = [dict(k.params) for k in keys]
    shared = tuple((n, e) for n, e in keys[0].params if all(other.get(n) == e for other in exponents))
    return Poly(None, {Key(shared, (), None): p.terms[keys[0]] if len(keys) == 1 else Fraction(1)})


def _named(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {k if isinstance(k, str) else str(k.name): v for k, v in values.items()}


def _dimension(size: Any) -> sp.Expr:
    return sp.Integer(size) if isinstance(size, int) else sp.Symbol(str(size), integer=True, positive=True)


def _scalar(p: Poly) -> sp.Expr:
    ((key, c),) = p.terms.items()
    factors = [sp.Symbol(n, positive=True) ** sp.Rational(e.numerator, e.denominator) for n, e in key.params]
    return sp.Mul(sp.Rational(c.numerator, c.denominator), *factors)


def _check(flow: Flow, shape: Shape) -> str:
    """The words of the equation, the expression with 60 digits, and the evaluation against the expression."""
    name = shape.state.name
    m = atom(Atom(name, shape.state.shape[0], shape.state.shape[0], shape.state.tags))
    built = shape.linear * (shape.field * m + m * shape.field) - shape.cubic * m * m
    if built != flow.rhs[name]:
        raise CheckFailed(f"closed form of {flow.name}: {text(built)} is not the equation of {name}")
    rng = np.random.default_rng(9)
    raw, root = rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
    field = raw + raw.T
    start = root @ root.T
    scalars = {n: 0.75 for p in (shape.linear, shape.cubic) for k in p.terms for n, _ in k.params}
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
        residual = mpmath.mnorm(slope - (mf * now + now * mf) * f + now * now * g, "f") / mpmath.mnorm(now, "f")
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
