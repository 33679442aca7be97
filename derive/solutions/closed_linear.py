"""Closed forms of one matrix that moves linearly, up to a common factor.

    X' = L[X] + B                          X(t) = e^{Lt}[X0] + int_0^t e^{Lr}[B] dr
    X' = L[X] - s(X) X,  s of degree d     X(t) = Y / (1 + c (N(Y) - N(X0)))^{1/d},   Y = e^{Lt}[X0]
                                           if  d N(Y)/dt = (d/c) s(Y)  for  N = |Y|^2 (d = 2), sum of entries or trace (d = 1)

L is any linear action of words: P X, X R, P X R, D o X, with transposes of X; P X + X R exponentiates to e^{Pt} X0 e^{Rt}. The
second line holds flows on a sphere (Oja: L = C, s = w'C w) and on a simplex (replicators: L = diag l, s = l.p).
Imported by `derive.solutions.solve`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import mpmath
import numpy as np
import sympy as sp

from derive.errors import CheckFailed
from derive.matrices.calculus import along, ddt, substitute
from derive.matrices.composite import atoms, functions_in, hadamard, letter_mentions, mentions, ones, parameters
from derive.matrices.convert import to_sympy
from derive.matrices.evaluate import evaluate
from derive.matrices.functions import Evolved, MatrixExp, Source
from derive.matrices.poly import Poly, atom, identity, monomial, power, product, text, zero
from derive.matrices.words import Atom, Key, is_ones
from derive.reductions.tangent import draw_point
from derive.solutions.linear_value import growth, operator, propagated
from derive.spec import symbols
from derive.spec.shapes import size_of
from derive.spec.tree import names
from derive.system import ClosedForm, Flow, Step

DIGITS = 60
START = 0.2  # of a normal start: the denominator 1 + c (N(Y) - N(X0)) stays near 1 at the point of the check
TERMS = 40  # of the exponential series at t |L| = 0.4:  0.4^40 / 40! = 1e-64


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """What was recognised: X' = action[X] + source - gain X.

    Attributes
    ----------
    state : Atom
    action, source : Poly
        L[X] in the state, and B.
    gain : Poly or None
        s(X), homogeneous of degree ``degree``.
    norm : Poly or None
        c N(X), whose rate along X' = L[X] is degree times the gain.
    degree : int
    """

    state: Atom
    action: Poly
    source: Poly
    gain: Poly | None = None
    norm: Poly | None = None
    degree: int = 0


def recognise_linear(flow: Flow) -> Linear | None:
    """The linear shape of a flow of one matrix, or None."""
    if len(flow.state) != 1 or len(flow.state[0].shape) != 2:
        return None
    b = flow.state[0]
    x, p = Atom(b.name, b.shape[0], b.shape[1], b.tags), flow.rhs[b.name]
    assert isinstance(p, Poly)  # the caller looked at the level
    rest, gain = zero(p.shape), zero(None)
    for key, c in p.items():
        moving = any(letter_mentions(y, x.name) for w, _ in key.traces for y in w)
        if moving and key.word is not None and len(key.word) == 1 and key.word[0].atom == x and not key.word[0].t:
            gain = gain - Poly(None, {Key(key.params, key.traces, None): c})
        else:
            rest = rest + Poly(p.shape, {key: c})
    source = substitute(rest, {x.name: zero(p.shape)})
    action = rest - source
    unit = Atom("#X", x.rows, x.cols, x.tags)
    slope = along(action, {x.name: atom(unit)})
    if not action or mentions(slope, x.name) or substitute(slope, {unit.name: atom(x)}) != action:
        return None
    if not gain:
        return Linear(state=x, action=action, source=source)
    found = None if source else _norm(x, action, gain)
    return found and Linear(state=x, action=action, source=source, gain=gain, norm=found[0], degree=found[1])


def _norm(x: Atom, action: Poly, gain: Poly) -> tuple[Poly, int] | None:
    """c N and its degree, for the first N whose rate is a multiple of the gain."""
    norms = [((atom(x).T * atom(x)).trace(), 2), (_total(atom(x)), 1), *([(atom(x).trace(), 1)] if x.rows == x.cols else [])]
    for n, degree in norms:
        rate, gain = (_entrywise(p) for p in (ddt(n, {x.name: action}), gain))
        first = next(iter(gain.terms))
        if first in rate.terms:
            c = degree * gain.terms[first] / rate.terms[first]
            if rate.scale(c) == gain.scale(degree):
                return n.scale(c), degree
    return None


def _total(p: Poly) -> Poly:
    """The sum of all entries."""
    assert p.shape is not None
    column, row = (identity(1) if size == 1 else ones(size, 1) for size in p.shape)
    return (column.T * p * row).trace()


def _entrywise(p: Poly) -> Poly:
    """The same scalar with every tr(A'B) as the sum of the entries of A o B, which is one form for l'(m o x) and m'(l o x)."""
    total = zero(None)
    for key, c in p.items():
        out = monomial(None, Key(key.params, (), None), c)
        for word, e in key.traces:
            pair = len(word) == 2 and e.denominator == 1 and e > 0 and not any(is_ones(y.atom) for y in word)
            inner = _total(hadamard(product(word[:1], word[0].rows).T, product(word[1:], word[1].rows))) if pair else None
            out = out * (monomial(None, Key((), ((word, e),), None)) if inner is None else power(inner, e))
        total = total + out
    return total


def linear_flow(flow: Flow) -> ClosedForm | None:
    """The solution of a flow of one matrix that is linear up to a common factor; None if it is not.

    Raises
    ------
    CheckFailed
        If the solution does not survive its verification.
    """
    shape = recognise_linear(flow)
    if shape is None:
        return None
    name, t = shape.state.name, symbols.t
    checked = _check(flow, shape)
    needed = [n for n in _needed(flow, shape) if n != name]
    start = sp.MatrixSymbol(f"{name}0", *to_sympy(atom(shape.state)).shape)

    def at(times: Any, initial: Mapping[Any, Any], params: Mapping[Any, Any]) -> dict[str, Any]:
        begin, known = _named(initial), _named(params)
        for where, wanted, have in (("initial", [name], begin), ("params", needed, known)):
            missing = [n for n in wanted if n not in have]
            if missing:
                given = ", ".join(sorted(have)) or "nothing"
                raise KeyError(f"{where}: no value for {missing[0]} of {flow.name}; given: {given}")
        return {name: path(flow, shape, np.atleast_1d(times), np.asarray(begin[name], dtype=float), known)}

    title = "linear matrix equation" if shape.gain is None else "linear matrix equation up to a common factor"
    return ClosedForm(
        system=flow,
        kind="explicit",
        solution={name: _printed(flow, shape, start, t)},
        time=t,
        initial={name: start},
        domain="every start" if shape.gain is None else "every start, until the denominator vanishes",
        assumptions=flow.assumptions,
        steps=(
            *flow.steps,
            Step(title=f"{name} is solved as a {title}", detail=f"{name}' = {text(flow.rhs[name])}"),  # type: ignore[arg-type]
            Step(title="verified", detail=checked),
        ),
        checked=checked,
        evaluate=at,
    )


def path(flow: Flow, shape: Linear, times: Any, start: Any, known: Mapping[str, Any]) -> Any:
    """X(t), shape (T, n, p), from numbers."""
    array, source, values = _arrays(flow, shape, start.shape, known)
    if shape.gain is None:
        return propagated(times, array, start.ravel(), source).reshape(-1, *start.shape)
    assert shape.norm is not None
    sigma, d = growth(array), shape.degree
    y = propagated(times, array, start.ravel(), source, sigma).reshape(-1, *start.shape)
    name = shape.state.name
    first, now = (np.asarray(evaluate(shape.norm, {**values, name: z})) for z in (start, y))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        below = np.exp(-d * sigma * times) * (1 - first) + now
        scale = np.where(below > 0, np.abs(below) ** (-1 / d), np.nan)
    return y * scale[:, None, None]


def _arrays(flow: Flow, shape: Linear, size: tuple[int, ...], known: Mapping[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
    """Operator, source, and the values that expressions take."""
    name = shape.state.name
    sizes = {str(s): n for s, n in zip((shape.state.rows, shape.state.cols), size, strict=True) if isinstance(s, str)}
    values: dict[str, Any] = {n: known[n] for n in _needed(flow, shape) if n in known}
    values |= {n: v for n, v in sizes.items() if n not in values}
    array = operator(shape.action, name, (size[0], size[1]), values, flow.functions)
    source = np.asarray(evaluate(shape.source, {**values, name: np.zeros(size)}, functions=flow.functions, sizes=sizes))
    return array, np.broadcast_to(source, size).ravel(), values


def _needed(flow: Flow, shape: Linear) -> list[str]:
    """Names of arrays and numbers in the equation and its functions; sizes that the arrays show are none."""
    shown = {s for s in (shape.state.rows, shape.state.cols) if isinstance(s, str)}
    polys = [p for p in (shape.action, shape.source, shape.gain) if p is not None]
    arrays = {a.name: a for p in polys for a in atoms(p) if not is_ones(a)}
    shown |= {s for a in arrays.values() for s in (a.rows, a.cols) if isinstance(s, str)}
    called = [flow.functions[f] for p in polys for f in functions_in(p) if f in flow.functions]
    inside = {n for f in called for n in names(f.body) if n != f.variable}
    return sorted({*arrays, *inside, *(n for p in polys for n in parameters(p) if n not in shown)})


def _named(values: Mapping[Any, Any]) -> dict[str, Any]:
    return {k if isinstance(k, str) else str(k.name): v for k, v in values.items()}


# The expression -------------------------------------------------------------------------------------------------------------


def _printed(flow: Flow, shape: Linear, start: sp.MatrixSymbol, t: sp.Symbol) -> sp.MatrixExpr:
    def shown(p: Poly) -> Any:
        return to_sympy(p, flow.symbols, flow.functions)

    sides = _sides(shape)
    if sides is None:
        unknown = shown(atom(shape.state))
        action = shown(shape.action)
        moved: sp.MatrixExpr = Evolved(t, action, unknown, start)
        added = Source(t, action, unknown, shown(shape.source)) if shape.source else None
    else:
        left, right = sides
        moved = start
        if left:
            moved = MatrixExp(t * shown(left)) * moved
        if right:
            moved = moved * MatrixExp(t * shown(right))
        added = _added(shape, left, right, t, shown)
    if added is not None:
        return moved + added
    if shape.norm is None:
        return moved
    first, now = (to_sympy(shape.norm, {**flow.symbols, shape.state.name: z}) for z in (start, moved))
    return (1 + now - first) ** sp.Rational(-1, shape.degree) * moved


def _added(shape: Linear, left: Poly, right: Poly, t: sp.Symbol, shown: Callable[[Poly], Any]) -> sp.MatrixExpr | None:
    """What the source adds: (e^{Pt} - I) P^{-1} B, or B R^{-1} (e^{Rt} - I)."""
    if not shape.source:
        return None
    source = shown(shape.source)
    if left and right:
        return Source(t, shown(shape.action), shown(atom(shape.state)), source)
    p = shown(left or right)
    grown = MatrixExp(t * p) - sp.Identity(p.shape[0])
    return grown * p.I * source if left else source * p.I * grown


def _sides(shape: Linear) -> tuple[Poly, Poly] | None:
    """P and R of  L[X] = P X + X R; numbers times X go to the longer side. None if L has another form."""
    x = shape.state
    left, right, plain = zero((x.rows, x.rows)), zero((x.cols, x.cols)), zero(None)
    for key, c in shape.action.items():
        word, scalar = key.word or (), Poly(None, {Key(key.params, key.traces, None): c})
        places = [i for i, y in enumerate(word) if y.atom == x and not y.t]
        if len(places) != 1 or any(letter_mentions(y, x.name) for i, y in enumerate(word) if i != places[0]):
            return None
        if len(word) == 1:
            plain = plain + scalar
        elif places[0] == len(word) - 1:
            left = left + scalar * product(word[:-1], x.rows)
        elif places[0] == 0:
            right = right + scalar * product(word[1:], x.cols)
        else:
            return None
    if right and not left:
        return left, right + plain * identity(x.cols)
    return left + plain * identity(x.rows), right


# Verification ---------------------------------------------------------------------------------------------------------------


def _check(flow: Flow, shape: Linear) -> str:
    """The equation by words against operator and factor at a random point; the solution differentiated with 60 digits."""
    name = shape.state.name
    p = flow.rhs[name]
    assert isinstance(p, Poly)
    point, sizes = draw_point([p, atom(shape.state)])
    inside = [n for n in _needed(flow, shape) if n not in point and n not in sizes]
    point |= dict.fromkeys(inside, 0.75)  # parameters of functions, which are in no word
    with np.errstate(all="ignore"):
        if not np.isfinite(evaluate(p, point, functions=flow.functions, sizes=sizes)).all():
            point = {n: np.abs(v) for n, v in point.items()}  # logarithms and roots of given arrays
    size = tuple(size_of(s, sizes) for s in (shape.state.rows, shape.state.cols))
    start = START * np.asarray(point[name], dtype=float)
    known = {**point, **{n: k for n, k in sizes.items() if n not in point}}
    array, source, values = _arrays(flow, shape, size, known)  # type: ignore[arg-type]
    gain = 0.0 if shape.gain is None else float(evaluate(shape.gain, {**values, name: start}))
    built = (array @ start.ravel() + source - gain * start.ravel()).reshape(start.shape)
    wanted = np.asarray(evaluate(p, {**values, name: start}, functions=flow.functions, sizes=sizes))
    words = float(np.abs(built - wanted).max() / max(np.abs(wanted).max(), 1e-300))
    t = 0.4 / max(float(np.abs(array).sum(axis=1).max()), 1e-300)
    with mpmath.workdps(DIGITS):
        exact = _Exact(flow, shape, start, values, sizes)
        residual = exact.residual(mpmath.mpf(t))
        now = np.array([float(v) for v in exact.at(mpmath.mpf(t))]).reshape(start.shape)
    got = path(flow, shape, np.array([t]), start, known)[0]
    error = float(np.abs(got - now).max() / np.abs(now).max())
    if not (words < 1e-12 and residual < mpmath.mpf(10) ** -35 and error < 1e-12):  # sums of dozens of products; see above
        raise CheckFailed(
            f"closed form of {flow.name}: operator off by {words:.1e}, residual {mpmath.nstr(residual, 3)}, evaluation off by "
            f"{error:.1e}"
        )
    return (
        f"operator and factor agree with the words at a random point to {words:.1e}; the solution differentiated there with "
        f"{DIGITS} digits: residual {mpmath.nstr(residual, 2)} (step 1e-20); the evaluation agrees to {error:.1e}"
    )


class _Exact:
    """The solution in mpmath numbers."""

    def __init__(self, flow: Flow, shape: Linear, start: Any, values: Mapping[str, Any], sizes: Mapping[str, int]):
        self.shape, self.form, self.sizes = shape, start.shape, sizes
        self.given = {n: _exact(v) for n, v in values.items()}
        self.functions = flow.functions
        count = start.size
        units = np.eye(count).reshape(count, *start.shape)
        columns = [self.value(shape.action, _exact(unit)).ravel() for unit in units]
        self.rows = [[column[i] for column in columns] for i in range(count)]
        self.source = list(self.value(shape.source, _exact(np.zeros(start.shape))).ravel())
        self.start = list(_exact(start).ravel())

    def value(self, p: Poly, x: Any) -> Any:
        """An expression at a state."""
        return evaluate(p, {**self.given, self.shape.state.name: x}, functions=self.functions, sizes=self.sizes)

    def number(self, p: Poly, x: list[Any]) -> Any:
        """A scalar expression at a state that is read row by row."""
        return self.value(p, np.array(x, dtype=object).reshape(self.form))

    def moved(self, x: list[Any]) -> list[Any]:
        """L[X]."""
        return [mpmath.fdot(row, x) for row in self.rows]

    def at(self, t: Any) -> list[Any]:
        y, power, factor = list(self.start), [a + b for a, b in zip(self.moved(self.start), self.source, strict=True)], t
        for k in range(1, TERMS):
            y = [a + factor * b for a, b in zip(y, power, strict=True)]
            power, factor = self.moved(power), factor * t / (k + 1)
        if self.shape.norm is None:
            return y
        below = 1 + self.number(self.shape.norm, y) - self.number(self.shape.norm, self.start)
        return [v * below ** (mpmath.mpf(-1) / self.shape.degree) for v in y]

    def residual(self, t: Any) -> Any:
        h = mpmath.mpf(10) ** -20
        x = self.at(t)
        slope = [(a - b) / (2 * h) for a, b in zip(self.at(t + h), self.at(t - h), strict=True)]
        gain = 0 if self.shape.gain is None else self.number(self.shape.gain, x)
        rate = [a + b for a, b in zip(self.moved(x), self.source, strict=True)]
        return max(abs(s - r + gain * v) for s, r, v in zip(slope, rate, x, strict=True)) / max(abs(v) for v in x)


def _exact(v: Any) -> Any:
    if np.ndim(v) == 0:
        return mpmath.mpf(float(v))
    return np.array([[mpmath.mpf(float(z)) for z in row] for row in v], dtype=object)
