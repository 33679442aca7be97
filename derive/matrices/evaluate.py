"""Numerical values of matrix-level expressions, straight from the dictionary of words.

Slow and plain on purpose: this is what emitted code and reductions are compared with. Arrays of floats give floats; arrays of
objects (mpmath numbers) are treated at the current mpmath precision. Leading axes are batches: a matrix may have shape
(..., rows, columns), a number shape (...). Imported by checks, by tests, and by passes that look at numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np

from derive.errors import InvalidSpec, ShapeMismatch
from derive.matrices.composite import atoms, parameters
from derive.matrices.poly import Poly, text
from derive.matrices.words import PI, Atom, Elem, Had, Letter, Size, Solution, Word, is_ones
from derive.spec.elementwise import Functions, body_of
from derive.spec.elementwise import value as scalar_value
from derive.spec.shapes import size_of

EMPTY: Functions = {}


def evaluate(
    p: Poly, values: Mapping[Any, Any], *, functions: Functions = EMPTY, sizes: Mapping[str, int] | None = None
) -> Any:
    """Value of an expression.

    Parameters
    ----------
    p : Poly
    values : mapping
        Arrays and numbers by name (or by SymPy symbol). Dimensions are read off the arrays.
    functions : mapping
        Activations of the model (``flow.functions``).
    sizes : mapping, optional
        Dimensions that no array shows.

    Returns
    -------
    array (..., rows, columns), or number (...)

    Raises
    ------
    InvalidSpec
        If a value is missing.
    ShapeMismatch
        If two arrays disagree on a dimension.

    Examples
    --------
    >>> from derive.matrices.poly import atom
    >>> A = atom(Atom("A", "n", "m"))
    >>> evaluate((A * A.T).trace(), {"A": np.ones((2, 3))})
    6.0
    """
    named = {k if isinstance(k, str) else k.name: v for k, v in values.items()}
    exact = any(_is_exact(v) for v in named.values())
    out = _Evaluation(named, functions, dict(sizes or {}), exact, p).poly(p)
    return out if exact or np.ndim(out) else float(out)


def _is_exact(v: Any) -> bool:
    return isinstance(v, mpmath.mpf) or (isinstance(v, np.ndarray) and v.dtype == object)


class _Evaluation:
    """One evaluation: values by name, and what was computed so far."""

    def __init__(self, values: Mapping[str, Any], functions: Functions, sizes: dict[str, int], exact: bool, p: Poly):
        self.functions, self.sizes, self.exact = functions, sizes, exact
        self.values = {k: v if exact else np.asarray(v, dtype=float) for k, v in values.items()}
        self.memo: dict[Atom, Any] = {}
        for a in atoms(p):
            if not is_ones(a):
                self._read(a)
        for name in parameters(p):
            if name not in self.values and name not in self.sizes:
                raise InvalidSpec(f"{name} occurs in {_short(p)} but has no value; pass values[{name!r}]")

    def _read(self, a: Atom) -> None:
        if a.name not in self.values:
            raise InvalidSpec(f"{a.name} ({a.rows} x {a.cols}) has no value; pass values[{a.name!r}]")
        value = self.values[a.name]
        shape = np.shape(value)
        if len(shape) < 2:
            if (a.rows, a.cols) != (1, 1):
                raise ShapeMismatch(f"{a.name} has shape {shape}, a {a.rows} x {a.cols} matrix is needed")
            return
        for axis, size in ((-2, a.rows), (-1, a.cols)):
            if isinstance(size, str):
                known = self.sizes.setdefault(size, shape[axis])
            else:
                known = self.size(size) if size_of(size, self.sizes) is not None else shape[axis]
            if known != shape[axis]:
                raise ShapeMismatch(f"{a.name} has {shape[axis]} along axis {axis + 2}, but {size} is {known}")

    def size(self, size: Size) -> int:
        n = size_of(size, {**self.sizes, **{k: int(v) for k, v in self.values.items() if np.ndim(v) == 0 and v == int(v)}})
        if n is None:
            raise InvalidSpec(f"the dimension {size} cannot be read off the arrays; pass sizes={{{size!r}: ...}}")
        return n

    def number(self, q: Fraction) -> Any:
        return mpmath.mpf(q.numerator) / q.denominator if self.exact else float(q)

    def power(self, base: Any, e: Fraction) -> Any:
        return base ** int(e) if e.denominator == 1 and e > 0 else base ** self.number(e)

    def eye(self, n: int) -> Any:
        return np.array([[self.number(Fraction(int(i == j))) for j in range(n)] for i in range(n)]) if self.exact else np.eye(n)

    def poly(self, p: Poly) -> Any:
        rows, cols = p.shape or (None, None)
        total: Any = None
        for key, c in p.items():
            scalar: Any = self.number(c)
            for name, e in key.params:
                scalar = scalar * self.power(self.parameter(name), e)
            for word, e in key.traces:
                scalar = scalar * self.power(np.trace(self.word(word), axis1=-2, axis2=-1), e)
            if key.word is None:
                term = scalar
            else:
                matrix = self.word(key.word) if key.word else self.eye(self.size(rows))
                term = (np.asarray(scalar)[..., None, None] if np.ndim(scalar) else scalar) * matrix
            total = term if total is None else total + term
        if total is None:
            zero = self.number(Fraction(0))
            return zero if p.shape is None else np.full((self.size(rows), self.size(cols)), zero)
        return total

    def parameter(self, name: str) -> Any:
        if name.isdigit():
            return self.number(Fraction(int(name)))
        if name == PI:
            return +mpmath.pi if self.exact else np.pi
        value = self.values[name] if name in self.values else self.number(Fraction(self.sizes[name]))
        return value[..., 0, 0] if np.ndim(value) >= 2 else value

    def word(self, word: Word) -> Any:
        out = self.letter(word[0])
        for x in word[1:]:
            out = out @ self.letter(x)
        return out

    def letter(self, x: Letter) -> Any:
        if x.atom not in self.memo:
            self.memo[x.atom] = self.atom(x.atom)
        value = self.memo[x.atom]
        return np.swapaxes(value, -1, -2) if x.t else value

    def atom(self, a: Atom) -> Any:
        comp = a.comp
        if comp is None:
            if is_ones(a):
                return np.full((self.size(a.rows), 1), self.number(Fraction(1)))
            value = np.asarray(self.values[a.name])
            return value if value.ndim >= 2 else value[..., None, None]
        if isinstance(comp, Elem):
            inner = self.poly(comp.argument)
            variable, body = body_of(comp.function, comp.order, self.functions)
            out = np.asarray(scalar_value(body, {**self.values, variable: inner}, self.functions, exact=self.exact))
            if comp.argument.shape is None:
                return out[..., None, None]
            return np.broadcast_to(out, np.broadcast_shapes(out.shape, np.shape(inner)))
        if isinstance(comp, Had):
            out = self.poly(comp.factors[0])
            for f in comp.factors[1:]:
                out = out * self.poly(f)
            return out
        if isinstance(comp, Solution):
            return self.solution(a, comp)
        return self.inverse(self.poly(comp.argument))

    def solution(self, a: Atom, comp: Solution) -> Any:
        """X from its equation at X = 0 and at the unit matrices, which are one batch in front of the others."""
        rows, cols = self.size(a.rows), self.size(a.cols)

        def at(x: Any) -> Any:
            known = {**self.values, comp.unknown: x}
            return _Evaluation(known, self.functions, self.sizes, self.exact, comp.equation).poly(comp.equation)

        rest = at(self.eye(rows * cols)[0].reshape(rows, cols) * 0)
        batch = rest.shape[:-2]
        units = self.eye(rows * cols).reshape(-1, *(1,) * len(batch), rows, cols)
        columns = (at(units) - rest).reshape(-1, *batch, rows * cols)
        matrix, right = np.moveaxis(columns, 0, -1), -rest.reshape(*batch, rows * cols, 1)
        found = self.inverse(matrix) @ right if self.exact else np.linalg.solve(matrix, right)
        return found.reshape(*batch, rows, cols)

    def inverse(self, value: Any) -> Any:
        if not self.exact:
            return np.linalg.inv(value)
        if value.ndim > 2:
            raise ShapeMismatch("inverses of stacks of mpmath matrices are not treated; evaluate one at a time")
        return np.array(mpmath.inverse(mpmath.matrix(value.tolist())).tolist(), dtype=object).reshape(value.shape)


def _short(p: Poly) -> str:
    shown = text(p)
    return shown if len(shown) < 80 else shown[:77] + "..."
