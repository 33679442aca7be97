"""Derivatives and substitution at matrix level.

* ``grad(p, W)``: gradient of a scalar; tr(W m) contributes m', tr(W' m) contributes m;
  a composite letter C = f(P, ...) hands its cotangent G back to its argument:

      f^(k)(P):  f^(k+1)(P) o G        F1 o ... o Fn:  G o (other factors)        P^-1:  -C' G C'
      C solves L(C) + K = 0:  the cotangent of the equation solves the adjoint one (`derive.matrices.implicit`)

  The cotangent contains W itself and must not be differentiated: a placeholder stands for it meanwhile.
* ``along(p, field)``: directional derivative, by the product rule; ``ddt(p, flow)`` is the one along a flow.
* ``substitute(p, values)``: matrices and parameters replaced by expressions, also inside composites.

Imported by the passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from derive.errors import ShapeMismatch, UnsupportedNode
from derive.matrices.composite import bound_in, hadamard, inside, letter_mentions, mentions, rebuilt, scalar_power, slope
from derive.matrices.poly import Poly, atom, constant, identity, monomial, param, product, text, zero
from derive.matrices.words import Atom, Elem, Had, Key, Letter, Solution, Word, merge_params, merge_traces


def grad(p: Poly, variable: Atom | str) -> Poly:
    """Gradient of a scalar with respect to a matrix (in its shape) or a scalar parameter (given by its name).

    Raises
    ------
    ShapeMismatch
        If p is a matrix.
    UnsupportedNode
        If the matrix is tagged symmetric or diagonal: its entries are not independent.

    >>> W, x, y = Atom("W", "M", "N"), atom(Atom("x", "N", 1)), atom(Atom("y", "M", 1))
    >>> error = y - atom(W) * x
    >>> grad((error.T * error).trace().scale(Fraction(1, 2)), W)
    W*x*x' - y*x'
    """
    if p.shape is not None:
        raise ShapeMismatch(f"gradient of {text(p)} of shape {p.shape}: only a number has a gradient")
    if isinstance(variable, str):
        return along(p, {variable: constant(1)})
    if "sym" in variable.tags or "diag" in variable.tags:
        raise UnsupportedNode(
            f"gradient by {variable.name}: entries of a {'/'.join(variable.tags)} matrix depend on each other"
        )
    return _grad(p, variable, 0)


def _grad(p: Poly, variable: Atom, depth: int) -> Poly:
    total = zero((variable.rows, variable.cols))
    for key, c in p.items():
        for word, e in key.traces:
            if any(letter_mentions(x, variable.name) for x in word):
                traces = merge_traces(key.traces, ((word, Fraction(-1)),))
                rest = monomial(None, Key(key.params, traces, None), c * e)
                total = total + rest * _grad_trace(word, variable, depth)
    return total


def _grad_trace(word: Word, variable: Atom, depth: int) -> Poly:
    """Gradient of the trace of a word."""
    total = zero((variable.rows, variable.cols))
    for i, x in enumerate(word):
        if (x.atom.comp is None and x.atom.name != variable.name) or not letter_mentions(x, variable.name):
            continue
        others = product(word[i + 1 :] + word[:i], x.cols)
        cotangent = others if x.t else others.T
        total = total + (cotangent if x.atom.comp is None else _back(x.atom, cotangent, variable, depth))
    return total


def _back(c: Atom, cotangent: Poly, variable: Atom, depth: int) -> Poly:
    """What the cotangent of a composite contributes to the gradient."""
    total = zero((variable.rows, variable.cols))
    assert c.comp is not None
    for argument, given in _backward(c, cotangent):
        if not mentions(argument, variable.name):
            continue
        if argument.shape is None:
            total = total + given * _grad(argument, variable, depth)
            continue
        held = Atom(f"#{depth}", *argument.shape)
        inner = _grad((atom(held).T * argument).trace(), variable, depth + 1)
        known = {held.name: given} | ({c.comp.unknown: atom(c)} if isinstance(c.comp, Solution) else {})
        total = total + substitute(inner, known)
    return total


def _backward(c: Atom, cotangent: Poly) -> list[tuple[Poly, Poly]]:
    """(argument, cotangent of the argument) for every argument of a composite."""
    comp = c.comp
    if isinstance(comp, Elem):
        if comp.argument.shape is None:
            return [(comp.argument, cotangent.trace() * slope(comp.function, comp.argument, comp.order))]
        return [(comp.argument, hadamard(slope(comp.function, comp.argument, comp.order), cotangent))]
    if isinstance(comp, Had):
        factors = comp.factors
        return [(f, hadamard(cotangent, *factors[:i], *factors[i + 1 :])) for i, f in enumerate(factors)]
    if isinstance(comp, Solution):
        from derive.matrices.implicit import adjoint

        return [(comp.equation, adjoint(c, comp, cotangent))]
    turned = atom(c).T
    assert comp is not None
    return [(comp.argument, -(turned * cotangent * turned))]


def along(p: Poly, field: Mapping[str, Poly]) -> Poly:
    """Directional derivative: the change of p while every matrix or parameter of ``field`` changes by its entry.

    >>> W, E = Atom("W", "n", "n"), atom(Atom("E", "n", "n"))
    >>> from derive.matrices.composite import elem
    >>> along(elem("tanh", atom(W)) * atom(W), {"W": E})
    (E o tanh'(W))*W + tanh(W)*E
    """
    total = zero(p.shape)
    for key, c in p.items():
        for name, e in key.params:
            if name in field:
                factor, params = merge_params(key.params, ((name, Fraction(-1)),))
                total = total + monomial(p.shape, Key(params, key.traces, key.word), c * e * factor) * field[name]
        for word, e in key.traces:
            change = _along_word(word, field)
            if change is not None:
                traces = merge_traces(key.traces, ((word, Fraction(-1)),))
                total = total + monomial(p.shape, Key(key.params, traces, key.word), c * e) * change.trace()
        if key.word:
            change = _along_word(key.word, field)
            if change is not None:
                total = total + monomial(None, Key(key.params, key.traces, None), c) * change
    return total


def _along_word(word: Word, field: Mapping[str, Poly]) -> Poly | None:
    total: Poly | None = None
    for i, x in enumerate(word):
        change = _along_letter(x, field)
        if change is not None:
            term = product(word[:i], x.rows) * change * product(word[i + 1 :], x.cols)
            total = term if total is None else total + term
    return total


def _along_letter(x: Letter, field: Mapping[str, Poly]) -> Poly | None:
    comp = x.atom.comp
    if comp is None:
        change = field.get(x.atom.name)
    else:
        parts = inside(comp)
        moved = {n: rate for n, rate in field.items() if n != bound_in(comp)}
        changes = [along(q, moved) for q in parts]
        if not any(changes):
            return None
        if isinstance(comp, Elem):
            change = hadamard(slope(comp.function, comp.argument, comp.order), changes[0])
            change = change * identity(1) if change.shape is None else change
        elif isinstance(comp, Had):
            change = zero(parts[0].shape)
            for i, d in enumerate(changes):
                change = change + hadamard(d, *parts[:i], *parts[i + 1 :])
        elif isinstance(comp, Solution):
            from derive.matrices.implicit import tangent

            change = tangent(x.atom, comp, changes[0])
        else:
            change = -(atom(x.atom) * changes[0] * atom(x.atom))
    if change is None:
        return None
    if change.shape != (x.atom.rows, x.atom.cols):
        raise ShapeMismatch(f"{x.atom.name} is {x.atom.rows} x {x.atom.cols}, its rate {text(change)} has shape {change.shape}")
    return change.T if x.t else change


def ddt(p: Poly, flow: Any) -> Poly:
    """Time derivative of p along a flow: a `Flow`, or a mapping from state names to rates.

    >>> ddt(param("a", 2), {"a": param("b")})
    2*a*b
    """
    return along(p, flow if isinstance(flow, Mapping) else flow.rhs)


def substitute(p: Poly, values: Mapping[str, Poly]) -> Poly:
    """Replace matrices and parameters by expressions of the same shape, also inside composites.

    Raises
    ------
    ShapeMismatch
        If a shape differs; sizes are not changed by a substitution.

    >>> A, B, I = atom(Atom("A", "n", "n")), atom(Atom("B", "n", "n")), identity("n")
    >>> from derive.matrices.composite import elem
    >>> substitute(elem("tanh", A * B), {"B": I - A})
    tanh(A - A*A)
    """
    if not values:
        return p
    total = zero(p.shape)
    for key, c in p.items():
        out = constant(c)
        for name, e in key.params:
            out = out * (scalar_power(_scalar(values[name], name), e) if name in values else param(name, e))
        for word, e in key.traces:
            if any(letter_mentions(x, name) for x in word for name in values):
                out = out * scalar_power(_replaced(word, values).trace(), e)
            else:
                out = out * monomial(None, Key((), ((word, e),), None))
        if key.word is not None:
            assert p.shape is not None
            out = out * (_replaced(key.word, values) if key.word else identity(p.shape[0]))
        total = total + out
    return total


def _scalar(p: Poly, name: str) -> Poly:
    if p.shape is not None:
        raise ShapeMismatch(f"the number {name} cannot be replaced by {text(p)} of shape {p.shape}")
    return p


def _replaced(word: Word, values: Mapping[str, Poly]) -> Poly:
    out: Poly | None = None
    for x in word:
        new = _replaced_letter(x, values)
        out = new if out is None else out * new
    assert out is not None
    return out


def _replaced_letter(x: Letter, values: Mapping[str, Poly]) -> Poly:
    if x.atom.comp is not None:
        parts = inside(x.atom.comp)
        free = {n: p for n, p in values.items() if n != bound_in(x.atom.comp)}
        changed = tuple(substitute(q, free) for q in parts)
        if changed == parts:
            new = atom(x.atom)
        else:
            new = rebuilt(x.atom.comp, changed)
            new = new * identity(1) if new.shape is None else new
    elif x.atom.name in values:
        new = values[x.atom.name]
        if new.shape is None and (x.atom.rows, x.atom.cols) == (1, 1):
            new = new * identity(1)
    else:
        new = atom(x.atom)
    if new.shape != (x.atom.rows, x.atom.cols):
        raise ShapeMismatch(
            f"{x.atom.name} is {x.atom.rows} x {x.atom.cols}, it cannot be replaced by {text(new)} of {new.shape}"
        )
    return new.T if x.t else new
