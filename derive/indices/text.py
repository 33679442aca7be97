"""Index-level expressions as one-line text, and to and from SymPy (`Indexed`, `Sum`, `KroneckerDelta`).

SymPy appears at this border only. Reading back accepts numbers, powers, sums, products, plain symbols, indexed symbols and the
named functions of one variable; everything else is refused. Imported by printers, by Gaussian averages of typed expressions and
by users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import sympy as sp

from derive.errors import UnsupportedNode
from derive.indices.indexed import PI, Index, Node, add, arr, const, fun, kron, mul, power, sum_over

_SUBSCRIPTS = "ijklmnpqrs"


def text(node: Node) -> str:
    """One-line text, e.g. ``2*u[a]*(s[a] - u[a])``.

    >>> i = Index("i", "K")
    >>> text(sum_over(i, mul(const(2), arr("v", i), fun("asin", arr("Q", i, i)))))
    '2*Sum_#0(v[#0]*asin(Q[#0,#0]))'
    """
    if node.op == "const":
        return str(node.args[0])
    if node.op == "pi":
        return "pi"
    if node.op == "arr":
        name, indices = node.args
        return f"{name}[{','.join(i.name for i in indices)}]" if indices else name
    if node.op == "kron":
        return f"delta[{node.args[0].name},{node.args[1].name}]"
    if node.op == "sum":
        return f"Sum_{node.args[0].name}({text(node.args[1])})"
    if node.op == "fun":
        return f"{node.args[0]}({', '.join(text(a) for a in node.args[1:])})"
    if node.op == "pow":
        return _power_text(*node.args)
    if node.op == "mul":
        head = "-" if node.args[0] == const(-1) else ""
        rest = node.args[1:] if head else node.args
        return head + "*".join(_factor_text(a) for a in rest)
    out = text(node.args[0])
    for a in node.args[1:]:
        t = text(a)
        out += f" - {t[1:]}" if t.startswith("-") else f" + {t}"
    return out


def _power_text(base: Node, e: Fraction) -> str:
    bare = base.op in ("arr", "fun", "pi", "sum", "kron") or (base.op == "const" and base.args[0] >= 0)
    shown = text(base) if bare else f"({text(base)})"
    return f"{shown}^{e}" if e.denominator == 1 and e > 0 else f"{shown}^({e})"


def _factor_text(node: Node) -> str:
    shown = text(node)
    return f"({shown})" if node.op == "add" or (node.op == "const" and "/" in shown) else shown


# ---------------------------------------------------------------------------------------------------------------- to SymPy
#: SymPy functions of the names that occur in `fun` nodes.
FUNCTIONS: Mapping[str, Callable[..., sp.Expr]] = {
    "asin": sp.asin, "exp": sp.exp, "log": sp.log, "tanh": sp.tanh, "sin": sp.sin, "cos": sp.cos, "sgn": sp.sign, "abs": sp.Abs,
    "erf2": lambda z: sp.erf(z / sp.sqrt(2)), "relu": lambda z: sp.Max(z, 0), "step": sp.Heaviside, "sq": lambda z: z**2,
    "sqrt": sp.sqrt, "inv": lambda z: 1 / z, "residual": lambda v, root: sp.Max(v, 0),
    "angle": lambda c, va, vb: sp.asin(c / sp.sqrt(va * vb)), "is_zero": lambda z: sp.KroneckerDelta(z, 0),
    "power": lambda p, n: p**n, "binomial": lambda k, n, p: sp.binomial(n, k) * p**k * (1 - p) ** (n - k),
}  # fmt: skip


def to_sympy(node: Node, symbols: Mapping[str, sp.Basic] | None = None) -> sp.Expr:
    """The same expression in SymPy: `Indexed` entries, `Sum` over each index set, `KroneckerDelta`.

    Names without an entry in ``symbols`` become real symbols, arrays become `IndexedBase`; index sets run from 1 to their size.

    >>> k, i = Index("k", "K"), Index("i", "K")
    >>> to_sympy(sum_over(i, mul(arr("v", i), arr("Q", k, i))))
    Sum(Q[k, i]*v[i], (i, 1, K))
    """
    taken = [i.name for i in node.free]
    return _sympy(node, {i: sp.Symbol(i.name, integer=True) for i in node.free}, taken, symbols or {})


def _size(family: str, symbols: Mapping[str, sp.Basic]) -> sp.Basic:
    return symbols.get(family, sp.Symbol(family, integer=True, positive=True))


def _sympy(node: Node, labels: Mapping[Index, sp.Symbol], taken: list[str], symbols: Mapping[str, sp.Basic]) -> sp.Expr:
    def go(n: Node) -> sp.Expr:
        return _sympy(n, labels, taken, symbols)

    if node.op == "const":
        return sp.Rational(node.args[0].numerator, node.args[0].denominator)
    if node.op == "pi":
        return sp.pi
    if node.op == "arr":
        name, indices = node.args
        if indices:
            return sp.Indexed(sp.IndexedBase(sp.Symbol(name, real=True)), *(labels[i] for i in indices))
        known = symbols.get(name)
        return known if isinstance(known, sp.Expr) and not isinstance(known, sp.MatrixExpr) else sp.Symbol(name, real=True)
    if node.op == "kron":
        return sp.KroneckerDelta(*(labels[i] for i in node.args))
    if node.op == "sum":
        i, body = node.args
        name = next(c for c in (*_SUBSCRIPTS, *(f"i{n}" for n in range(99))) if c not in taken)
        label = sp.Symbol(name, integer=True)
        return sp.Sum(_sympy(body, {**labels, i: label}, [*taken, name], symbols), (label, 1, _size(i.family, symbols)))
    if node.op == "pow":
        return go(node.args[0]) ** sp.Rational(node.args[1].numerator, node.args[1].denominator)
    if node.op == "fun":
        name, *parts = node.args
        made = FUNCTIONS.get(name, sp.Function(name))
        return made(*(go(p) for p in parts))
    parts = [go(a) for a in node.args]
    return sp.Add(*parts) if node.op == "add" else sp.Mul(*parts)


# -------------------------------------------------------------------------------------------------------------- from SymPy
_NAMED: Mapping[type, str] = {
    sp.exp: "exp", sp.log: "log", sp.tanh: "tanh", sp.sin: "sin", sp.cos: "cos", sp.sign: "sgn", sp.Abs: "abs",
    sp.asin: "asin", sp.Heaviside: "step",
}  # fmt: skip


def from_sympy(expression: Any) -> Node:
    """Index-level node of a SymPy expression of numbers, symbols, `Indexed` entries, `Sum`, `KroneckerDelta` and functions.

    Index labels are the integer symbols of `Indexed`; the size of an index set is read off its `Sum` or `IndexedBase` shape.

    Raises
    ------
    UnsupportedNode
        If the expression holds anything else, text included.

    >>> x = sp.Symbol("x", real=True)
    >>> from_sympy(sp.erf(x / sp.sqrt(2)) * x**2 / 3)
    (1/3)*x^2*erf2(x)
    """
    from derive.spec.nodes import Apply, as_expression

    e = as_expression(expression, "from_sympy")
    if isinstance(e, Apply):
        return _from_user(e)
    if isinstance(e, sp.Rational):
        return const(Fraction(int(e.p), int(e.q)))
    if e is sp.pi:
        return PI
    if isinstance(e, sp.Symbol):
        return arr(e.name)
    if isinstance(e, (sp.Add, sp.Mul)):
        return (add if isinstance(e, sp.Add) else mul)(*(from_sympy(a) for a in e.args))
    if isinstance(e, sp.Pow) and isinstance(e.exp, sp.Rational):
        return power(from_sympy(e.base), Fraction(int(e.exp.p), int(e.exp.q)))
    if isinstance(e, sp.erf):
        return fun("erf2", mul(power(const(2), Fraction(1, 2)), from_sympy(e.args[0])))
    if isinstance(e, sp.Max) and len(e.args) == 2 and sp.S.Zero in e.args:
        return fun("relu", from_sympy(next(a for a in e.args if a is not sp.S.Zero)))
    if type(e) in _NAMED:
        return fun(_NAMED[type(e)], from_sympy(e.args[0]))
    if isinstance(e, sp.Indexed):
        sizes = e.base.shape or (None,) * len(e.indices)
        return arr(e.base.label.name, *(_label(i, n, e) for i, n in zip(e.indices, sizes, strict=True)))
    raise UnsupportedNode(
        f"{e}: {type(e).__name__} is not read here; use numbers, symbols, powers, Indexed entries and derive.fn"
    )


def _from_user(e: Any) -> Node:
    from derive.fn import BODIES

    fn, z = e.args
    if fn.name in BODIES:
        return fun(fn.name, from_sympy(z))
    return from_sympy(fn.body.xreplace({fn.variable: z}))


def _label(i: sp.Basic, size: Any, where: sp.Basic) -> Index:
    if not isinstance(i, (sp.Idx, sp.Symbol)):
        raise UnsupportedNode(f"{where}: the index {i} is not a label; use a symbol")
    name = i.label.name if isinstance(i, sp.Idx) else i.name
    if size is None and isinstance(i, sp.Idx) and i.upper is not None:
        size = i.upper + 1 - i.lower
    if size is None or not isinstance(size, sp.Symbol):
        raise UnsupportedNode(f"{where}: the index set of {name} is not known; give the IndexedBase a shape, e.g. shape=(K, K)")
    return Index(name, size.name)


__all__ = ["FUNCTIONS", "from_sympy", "kron", "sum_over", "text", "to_sympy"]
