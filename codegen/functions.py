"""Scalar functions of one variable and their derivatives, as helpers of an emitted module.

Bodies are trees (built-ins: the derivative table of `derive.fn`; a user's activation: its body), read into the scalar
algebra of `derive.indices.indexed`, differentiated there, and printed as small functions.  d(f)(a) = f'(a) da, term by term.
Imported by codegen only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

from codegen.functions_counts import is_count_function
from codegen.functions_signs import is_sign_function
from codegen.local_averages import identifier, local_average
from codegen.program import Expr, Helper, Procedure, call, mul, num, power, var
from derive.errors import UnsupportedNode
from derive.fn import DERIVATIVES
from derive.gaussian.local import read
from derive.gaussian.opaque import VARIABLE, is_opaque, label
from derive.gaussian.opaque import body as opaque_body
from derive.indices import indexed as ix
from derive.spec.tree import Tree, as_fraction

#: Functions that every backend has or brings along; the others are printed as helpers.
PRIMITIVE = (
    "acos", "asin", "atan", "abs", "cos", "cosh", "erf", "exp", "log", "relu", "sgn", "sin", "sinh", "sqrt", "step", "tan",
    "tanh",
)  # fmt: skip
_MORE = {"sinh": ("map", "cosh", "z"), "cosh": ("map", "sinh", "z")}


def node_of(tree: Tree) -> ix.Node:
    """The scalar expression of a function body."""
    q = as_fraction(tree)
    if q is not None:
        return ix.const(q)
    if isinstance(tree, str):
        return ix.arr(tree)
    head, *rest = tree
    if head == "pi":
        return ix.PI
    if head == "map":
        return _apply(tree[1], node_of(tree[2]))
    if head == "add":
        return ix.add(*(node_of(p) for p in rest))
    if head == "mul":
        return ix.mul(*(node_of(p) for p in rest))
    if head == "pow":
        e = as_fraction(rest[1])
        if e is not None:
            return ix.power(node_of(rest[0]), e)
        return ix.fun("exp", ix.mul(node_of(rest[1]), ix.fun("log", node_of(rest[0]))))
    raise UnsupportedNode(
        f"the body of a function contains {head!r}: write it with sums, products, powers and functions of derive.fn"
    )


def _apply(name: str, z: ix.Node) -> ix.Node:
    if name == "sq":
        return ix.power(z, 2)
    if name == "inv":
        return ix.power(z, -1)
    if name == "sqrt":
        return ix.sqrt(z)
    return ix.fun(name, z)


def derivative(node: ix.Node, variable: str, functions: Mapping[str, Any]) -> ix.Node:
    """Derivative of a scalar expression with respect to a named variable.

    Raises
    ------
    UnsupportedNode
        If a delta function appears (the derivative of a step), or a function has no known derivative.

    >>> derivative(ix.power(ix.arr("z"), 3), "z", {})
    3*z^2
    """
    if node.op == "arr":
        return ix.ONE if node.args[0] == variable else ix.ZERO
    if node.op == "add":
        return ix.add(*(derivative(a, variable, functions) for a in node.args))
    if node.op == "mul":
        parts = node.args
        return ix.add(
            *(
                ix.mul(derivative(p, variable, functions), *parts[:n], *parts[n + 1 :])
                for n, p in enumerate(parts)
                if p.op != "const"
            )
        )
    if node.op == "pow":
        base, e = node.args
        return ix.mul(ix.const(e), ix.power(base, e - 1), derivative(base, variable, functions))
    if node.op == "fun":
        name, z = node.args
        inner = derivative(z, variable, functions)
        return ix.ZERO if inner == ix.ZERO else ix.mul(_outer(name, z, functions), inner)
    return ix.ZERO


def _outer(name: str, z: ix.Node, functions: Mapping[str, Any]) -> ix.Node:
    """f'(z) of a named function."""
    if name in functions and functions[name].body is not None:
        f = functions[name]
        return _put(derivative(node_of(f.body), f.variable, functions), f.variable, z)
    tree = DERIVATIVES.get(name, _MORE.get(name))
    if tree is None or tree == ("map", "dirac", "z") or name == "sgn":
        raise UnsupportedNode(
            f"the derivative of {name} is not a function of numbers; use a smooth function (tanh, erf2), "
            f"or average over the draws before differentiating {name} twice"
        )
    return _put(node_of(tree), "z", z)


def _put(node: ix.Node, variable: str, z: ix.Node) -> ix.Node:
    return ix.replace(node, lambda a: z if a.args == (variable, ()) else a)


def body_of(name: str, order: int, functions: Mapping[str, Any]) -> tuple[str, ix.Node]:
    """Variable and expression of f^(order)."""
    f = functions.get(name)
    if f is not None and f.body is not None:
        variable, node = str(f.variable), node_of(f.body)
    elif is_opaque(name):
        return VARIABLE, opaque_body(name + "'" * order)
    elif name == "erf2":
        variable, node = "z", ix.fun("erf", ix.mul(ix.arr("z"), ix.power(ix.const(2), Fraction(-1, 2))))
        if order:
            node, order = node_of(DERIVATIVES["erf2"]), order - 1
    elif name in DERIVATIVES or name in PRIMITIVE:
        variable, node = "z", _apply(name, ix.arr("z"))
    else:
        raise UnsupportedNode(
            f"function {name}: no body and not in derive.fn; declare it with activation({name!r}, lambda z: ...)"
        )
    for _ in range(order):
        node = derivative(node, variable, functions)
    return variable, node


def scalar(node: ix.Node, functions: HelperSet, rename: Mapping[str, str]) -> Expr:
    """Program expression of a scalar expression without indices."""
    if node.op == "const":
        return num(node.args[0])
    if node.op == "pi":
        return Expr("pi")
    if node.op == "arr":
        return var(rename[node.args[0]])
    if node.op == "pow":
        return power(scalar(node.args[0], functions, rename), node.args[1])
    parts = [scalar(a, functions, rename) for a in node.args if isinstance(a, ix.Node)]
    if node.op == "fun":
        return functions.apply(node.args[0], 0, parts, rename)
    return mul(*parts) if node.op == "mul" else Expr("add", tuple(parts))


class HelperSet:
    """Helpers that a module needs, in order of first use (a helper stands after those that it calls)."""

    __slots__ = ("_averages", "_each", "_functions", "_made", "_names", "_scalars")

    def __init__(self, functions: Mapping[str, Any], names: Any, scalars: tuple[str, ...] = ()):
        self._functions, self._names, self._scalars = functions, names, scalars
        self._made: dict[tuple[str, int], Helper] = {}
        self._each: set[str] = set()
        self._averages: dict[str, Procedure] = {}

    def apply(self, name: str, order: int, args: list[Expr], rename: Mapping[str, str], each: bool = False) -> Expr:
        """``f^(order)(args)``; elementwise if ``each``."""
        if order == 0 and name in PRIMITIVE and name not in self._functions and not each:
            return call(name, *args)
        if (is_sign_function(name) or is_count_function(name)) and name not in self._functions:
            return call(name, *args)
        if (made := read(name)) is not None:
            if name not in self._averages:
                self._averages[name] = local_average(made, self._names.of("average", identifier(made)), self._names, self)
            return call(self._averages[name].name, *args)
        helper = self.helper(name, order)
        if each:
            self._each.add(helper.name)
        extra = [var(rename[e]) for e in self._extra(name, order)]
        return Expr("each" if each else "call", (helper.name, *args, *extra))

    def helper(self, name: str, order: int) -> Helper:
        """The helper for f^(order), made on first use."""
        key = (name, order)
        if key not in self._made:
            variable, node = body_of(name, order, self._functions)
            extra = self._extra(name, order)
            inner = self._names.copy()
            rename = {variable: inner.of("argument", variable), **{e: inner.of("argument", e) for e in extra}}
            body = scalar(node, self, rename)
            own = self._names.of(
                "function", {0: "", 1: "d_", 2: "dd_"}.get(order, f"d{order}_") + label(name) if order else _own(name)
            )
            self._made[key] = Helper(
                name=own,
                variable=rename[variable],
                extra=tuple(rename[e] for e in extra),
                body=body,
                doc=f"{label(name)}{chr(39) * order}({variable}) = {node}",
                each=False,
                primitive=name if order == 0 and name in PRIMITIVE and name not in self._functions else "",
            )
        return self._made[key]

    def _extra(self, name: str, order: int) -> tuple[str, ...]:
        variable, node = body_of(name, order, self._functions)
        return tuple(sorted({x for x in self._deep(node) if x != variable}))

    def _deep(self, node: ix.Node) -> list[str]:
        """Parameters in a body, those of inner functions included."""
        if node.op == "arr":
            return [node.args[0]]
        found = [x for a in node.args if isinstance(a, ix.Node) for x in self._deep(a)]
        if node.op == "fun" and node.args[0] in self._functions:
            found += self._extra(node.args[0], 0)
        return found

    def averages(self) -> tuple[Procedure, ...]:
        """Functions for local averages so far."""
        return tuple(self._averages.values())

    def made(self) -> tuple[Helper, ...]:
        """All helpers so far."""
        return tuple(replace(h, each=h.name in self._each) for h in self._made.values())


def _own(name: str) -> str:
    name = label(name)
    return f"f_{name}" if name in PRIMITIVE else name
