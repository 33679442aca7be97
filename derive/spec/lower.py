"""Lowering: SymPy -> tree, once, with everything refused that is not in the table of docs/architecture.md.

A `Collector` gathers the symbols and functions that it meets: one name is one symbol. Numbers become exact (0.5 -> 1/2); text,
NaN, infinities, explicit matrices, entries of matrices and unevaluated sums or integrals are refused with their remedy.
Imported by the spec language only; no pass reads SymPy.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import sympy as sp

from derive.errors import InvalidSpec
from derive.fn import BODIES
from derive.spec import nodes
from derive.spec.normal import normalise
from derive.spec.shapes import Shape, shape_of
from derive.spec.tree import Tree, number, walk

DIGITS = 12
DEPTH = 100  # Python's own limit is 1000 frames, a level takes about four
MAPS = {
    sp.exp: "exp",
    sp.log: "log",
    sp.tanh: "tanh",
    sp.Abs: "abs",
    sp.sign: "sgn",
    sp.Heaviside: "step",
    sp.sin: "sin",
    sp.cos: "cos",
    sp.asin: "asin",
}
_NODES = {
    nodes.Mean: "mean", nodes.MatrixMean: "mean", nodes.Stop: "stop", nodes.MatrixStop: "stop", nodes.Root: "root",
    nodes.MatrixRoot: "root", nodes.Grad: "grad", nodes.MatrixGrad: "grad", sp.MatAdd: "add", sp.Add: "add", sp.Mul: "mul",
    sp.Transpose: "T", sp.Inverse: "inv", sp.Trace: "trace", sp.Determinant: "det", sp.HadamardProduct: "had",
    sp.KroneckerDelta: "delta", sp.Identity: "eye", sp.DiagMatrix: "diag",
}  # fmt: skip


def exact(value: float) -> Fraction:
    """The exact decimal that a float was typed as.

    Raises
    ------
    InvalidSpec
        If it has more than 12 digits, so that it is no decimal that somebody typed, or is not finite.

    >>> exact(0.001)
    Fraction(1, 1000)
    """
    if value != value or value in (float("inf"), float("-inf")):
        raise InvalidSpec(f"the number {value} is not finite; give a finite value")
    decimal = Decimal(repr(float(value)))
    if len(decimal.as_tuple().digits) > DIGITS:
        raise InvalidSpec(
            f"the number {float(value)!r} is not an exact decimal of at most {DIGITS} digits; write Rational(1, 3) or the like"
        )
    return Fraction(decimal)


class Collector:
    """Lowers expressions and remembers which symbols, shapes and functions occurred in them.

    Attributes
    ----------
    symbols : dict
        Name -> SymPy symbol.
    shapes : dict
        Name -> shape; numbers and dimensions have shape ().
    functions : dict
        Name -> `Fn` of the user (built-in functions are known by name).
    """

    def __init__(self) -> None:
        self.symbols: dict[str, sp.Basic] = {}
        self.shapes: dict[str, Shape] = {}
        self.functions: dict[str, nodes.Fn] = {}
        self._in_body = False
        self._depth = 0

    def symbol(self, s: sp.Basic) -> str:
        """Name of a symbol; refuses a second symbol of the same name."""
        from derive.spec.symbols import check_name

        if isinstance(s, sp.Dummy) or not isinstance(s, (sp.Symbol, sp.MatrixSymbol)):
            raise InvalidSpec(
                f"{s}: {type(s).__name__} is not a symbol of the spec; make one with scalars, vector, matrix or dims"
            )
        name = str(s.name)
        known = self.symbols.get(name)
        if known is None:
            if name != "t":
                check_name(name)
            self.symbols[name] = s
            if isinstance(s, sp.MatrixSymbol):
                self.shapes[name] = tuple(normalise(self.raw(d), {}) for d in s.shape)
            else:
                self.shapes[name] = ()
                if not s.is_commutative:
                    raise InvalidSpec(f"{name} does not commute; declare it with scalars(...) or matrix(...)")
        elif known != s:
            raise InvalidSpec(
                f"{name}: two different symbols of the same name, {_how(known)} and {_how(s)}; declare it once and reuse it"
            )
        return name

    def lower(self, value: Any, where: str, *, infinite: bool = False) -> Tree:
        """Normal tree of an expression, shapes checked; infinity is allowed in limits only."""
        expression = nodes.as_expression(value, where)
        try:
            tree = self.raw(expression)
            shape_of(tree, self.shapes)
            if not infinite and ("oo",) in walk(tree):
                raise InvalidSpec("infinity is not a finite number; say Limit({N: oo}) for a limit")
        except InvalidSpec as error:
            raise type(error)(f"{where}: {error}") from None
        return normalise(tree, self.shapes)

    def body(self, fn: nodes.Fn) -> tuple[str, Tree]:
        """Variable and body tree of a user's function; here SymPy's erf, Max, Min and Piecewise are read too."""
        inner = Collector()
        inner.symbols[fn.variable.name], inner.shapes[fn.variable.name] = fn.variable, ()
        try:
            tree = inner.lower_body(fn.body)
        except InvalidSpec as error:
            raise type(error)(f"activation {fn.name!r}: {error}") from None
        for name, symbol in sorted(inner.symbols.items()):
            if name != fn.variable.name:
                self.symbol(symbol)
        return fn.variable.name, tree

    def lower_body(self, body: sp.Expr) -> Tree:
        """Normal tree of the body of a function."""
        self._in_body = True
        return normalise(self.raw(body), self.shapes)

    def function(self, fn: nodes.Fn) -> str:
        """Name of a function; refuses two functions of one name."""
        if fn.name in BODIES:
            return fn.name
        known = self.functions.setdefault(fn.name, fn)
        if known != fn:
            raise InvalidSpec(f"{fn.name}: two different activations of the same name; rename one")
        return fn.name

    def raw(self, e: sp.Basic) -> Tree:
        """Tree as typed, before the normal form."""
        self._depth += 1
        if self._depth > DEPTH:
            raise InvalidSpec(f"the expression is nested more than {DEPTH} deep; name parts of it in `let`")
        tree = self._node(e)
        self._depth -= 1
        return tree

    def _node(self, e: sp.Basic) -> Tree:
        kind = type(e)
        if isinstance(e, (sp.Symbol, sp.MatrixSymbol)):
            return self.symbol(e)
        if e.is_Number or e in (sp.pi, sp.E, sp.zoo, sp.nan, sp.I):
            return _constant(e)
        if kind in _NODES:
            return (_NODES[kind], *(self.raw(a) for a in e.args))
        rule = _RULES.get(kind)
        if rule:
            return rule(self, e)
        if kind in MAPS:
            self._no_matrix(e, MAPS[kind])
            return ("map", MAPS[kind], self.raw(e.args[0]))
        if self._in_body and kind in _BODY_RULES:
            return _BODY_RULES[kind](self, e)
        raise InvalidSpec(_unknown(e))

    def _no_matrix(self, e: sp.Basic, name: str) -> None:
        if isinstance(e.args[0], sp.MatrixExpr):
            raise InvalidSpec(f"{e}: SymPy's {type(e).__name__} of a matrix is not elementwise; write fn.{name}({e.args[0]})")


def _how(s: sp.Basic) -> str:
    if isinstance(s, sp.MatrixSymbol):
        return f"a {s.shape[0]} x {s.shape[1]} matrix"
    kinds = [k for k in ("integer", "positive", "real") if s._assumptions.get(k)]
    return f"a number ({', '.join(kinds) or 'no assumptions'})"


def _constant(e: sp.Basic) -> Tree:
    if e is sp.pi:
        return ("pi",)
    if e is sp.E:
        return ("map", "exp", 1)
    if e is sp.oo:
        return ("oo",)
    if isinstance(e, sp.Rational):
        return number(Fraction(int(e.p), int(e.q)))
    if isinstance(e, sp.Float):
        return number(exact(float(e)))
    raise InvalidSpec(f"{e} is not a finite real number; a part of the expression is undefined, mend it")


def _unknown(e: sp.Basic) -> str:
    name = type(e).__name__
    if isinstance(e, sp.erf):
        return f"{e}: SymPy's erf is not a word of the spec; write fn.erf2(z), which is erf(z/sqrt(2)), or an activation"
    if name == "MatrixElement":
        return f"{e}: single entries are not part of a spec; take them out with a one-hot column, dot(i, A*j)"
    if name in ("Sum", "Product", "Integral", "Derivative", "Limit", "Subs"):
        return f"{e}: unevaluated {name} is not part of a spec; use dot, total, mean, grad or evaluate it first"
    if name in ("Piecewise", "Max", "Min"):
        return f"{e}: {name} of the spec's symbols; write fn.relu, fn.step or case(...), or put it into an activation(...)"
    if isinstance(e, sp.Function):
        return f"{e}: {name} is not in derive.fn; write activation({name.lower()!r}, lambda z: {name}(z)) and apply that"
    return f"{e}: {name} is not part of the spec language; see docs/architecture.md for the nodes there are"


def _pow(c: Collector, e: sp.Basic) -> Tree:
    power = e.args[1]
    if (power.is_Rational and abs(power) > 64) or (power.is_number and power.is_integer and not power.is_Integer):
        raise InvalidSpec(f"the power {power} of {e.args[0]} is too large to be expanded; powers of numbers go up to 64")
    return ("pow", c.raw(e.args[0]), c.raw(power))


def _matmul(c: Collector, e: sp.Basic) -> Tree:
    scalars = [c.raw(a) for a in e.args if not isinstance(a, sp.MatrixExpr)]
    matrices = [c.raw(a) for a in e.args if isinstance(a, sp.MatrixExpr)]
    product = matrices[0] if len(matrices) == 1 else ("matmul", *matrices)
    return ("mul", *scalars, product) if scalars else product


def _matpow(c: Collector, e: sp.Basic) -> Tree:
    base, power = c.raw(e.args[0]), e.args[1]
    if not power.is_Integer or not 1 <= abs(int(power)) <= 64:
        raise InvalidSpec(f"{e}: a matrix power needs a whole number up to 64; elementwise powers are fn.sq, fn.sqrt, fn.inv")
    factor = base if int(power) > 0 else ("inv", base)
    return factor if abs(int(power)) == 1 else ("matmul", *[factor] * abs(int(power)))


def _hadamard_power(c: Collector, e: sp.Basic) -> Tree:
    base, power = c.raw(e.args[0]), e.args[1]
    named = {sp.Integer(-1): "inv", sp.Rational(1, 2): "sqrt"}.get(power)
    if named:
        return ("map", named, base)
    if power.is_Integer and 1 <= int(power) <= 64:
        return ("had", *[base] * int(power)) if int(power) > 1 else base
    raise InvalidSpec(f"{e}: elementwise power; use fn.sq, fn.sqrt, fn.inv or activation('p', lambda z: z**{power})")


def _block(c: Collector, e: sp.Basic) -> Tree:
    rows = [[c.raw(e.blocks[i, j]) for j in range(e.blocks.shape[1])] for i in range(e.blocks.shape[0])]
    made = [r[0] if len(r) == 1 else ("T", ("stack", *(("T", b) for b in r))) for r in rows]
    return made[0] if len(made) == 1 else ("stack", *made)


def _apply(c: Collector, e: sp.Basic) -> Tree:
    return ("map", c.function(e.args[0]), c.raw(e.args[1]))


def _filled(head: str) -> Callable[[Collector, sp.Basic], Tree]:
    return lambda c, e: (head, c.raw(e.shape[0]), c.raw(e.shape[1]))


def _erf(c: Collector, e: sp.Basic) -> Tree:
    return ("map", "erf2", ("mul", ("pow", 2, ("frac", 1, 2)), c.raw(e.args[0])))


def _max(c: Collector, e: sp.Basic) -> Tree:
    """max(a, b) = b + relu(a - b); min(a, b) = b - relu(b - a)."""
    sign = 1 if isinstance(e, sp.Max) else -1
    args = sorted(e.args, key=lambda a: (not a.is_Number, sp.default_sort_key(a)))
    out = c.raw(args[0])
    for a in args[1:]:
        gap = ("add", ("mul", sign, c.raw(a)), ("mul", -sign, out))
        out = ("add", out, ("mul", sign, ("map", "relu", gap)))
    return out


def _piecewise(c: Collector, e: sp.Basic) -> Tree:
    """Branches joined by steps of their conditions; a strict and a weak inequality are the same up to one point."""
    out: Tree = 0
    for value, condition in reversed(e.args):
        here = c.raw(value)
        if condition == sp.true:
            out = here
            continue
        if not isinstance(condition, (sp.Gt, sp.Ge, sp.Lt, sp.Le)):
            raise InvalidSpec(f"{e}: the condition {condition} is not one inequality; nest Piecewise instead of And, Or")
        a, b = c.raw(condition.gts), c.raw(condition.lts)
        gate = ("map", "step", ("add", a, ("mul", -1, b)))
        out = ("add", ("mul", gate, here), ("mul", ("add", 1, ("mul", -1, gate)), out))
    return out


_RULES: dict[type, Callable[[Collector, Any], Tree]] = {
    sp.Pow: _pow, sp.MatMul: _matmul, sp.MatPow: _matpow, sp.HadamardPower: _hadamard_power, sp.BlockMatrix: _block,
    nodes.Apply: _apply, nodes.MatrixApply: _apply, sp.OneMatrix: _filled("ones"), sp.ZeroMatrix: _filled("zeros"),
}  # fmt: skip
_BODY_RULES: dict[type, Callable[[Collector, Any], Tree]] = {sp.erf: _erf, sp.Max: _max, sp.Min: _max, sp.Piecewise: _piecewise}
