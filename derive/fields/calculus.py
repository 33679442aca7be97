"""Two operations on index-level expressions that the field rule needs: differentiation, and counting powers of a symbol.

Derivatives are taken in the fields, never at matrix level: d/d lam_k of Sum_i v_i g(lam_i) is v_k g'(lam_k), because the
Kronecker delta of the two labels contracts the sum. Imported by the extraction of the field rule.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from derive.errors import UnsupportedNode
from derive.indices.indexed import ONE, ZERO, Index, Node, add, arr, arrays, const, fun, mul, power, substitute, sum_over, text

MOST_POWER = 4  # of a sum that `distributed` opens


def differentiate(node: Node, leaf: Callable[[Node], Node]) -> Node:
    """Derivative of a node, given the derivative of every ``arr`` node.

    >>> from derive.indices.indexed import arr, kron
    >>> i, k = Index("i", "K"), Index("k", "K")
    >>> loss = sum_over(i, mul(arr("v", i), fun("erf2", arr("lam", i))))
    >>> differentiate(loss, lambda a: kron(a.args[1][0], k) if a.args[0] == "lam" else ZERO)
    v[k]*erf2'(lam[k])
    """
    return _differentiate(node, leaf, 0)


def _differentiate(node: Node, leaf: Callable[[Node], Node], depth: int) -> Node:
    if node.op in ("const", "pi", "kron"):
        return ZERO
    if node.op == "arr":
        return leaf(node)
    if node.op == "add":
        return add(*(_differentiate(a, leaf, depth) for a in node.args))
    if node.op == "mul":
        return add(*(mul(*node.args[:n], _differentiate(a, leaf, depth), *node.args[n + 1 :]) for n, a in enumerate(node.args)))
    if node.op == "pow":
        base, e = node.args
        inner = _differentiate(base, leaf, depth)
        return ZERO if inner == ZERO else mul(const(e), power(base, e - 1), inner)
    if node.op == "sum":
        i = Index(f"~{depth}", node.args[0].family)
        return sum_over(i, _differentiate(substitute(node.args[1], {node.args[0]: i}), leaf, depth + 1))
    return _function(node, leaf, depth)


def _function(node: Node, leaf: Callable[[Node], Node], depth: int) -> Node:
    name, *args = node.args
    if name == "stop":
        return ZERO
    inner = [_differentiate(a, leaf, depth) for a in args]
    if all(d == ZERO for d in inner):
        return ZERO
    if name == "is_zero":
        raise UnsupportedNode(
            f"{text(node)}: a comparison with equality has no derivative; write stop(...) around the reward that holds it"
        )
    if name == "angle":
        c, va, vb = args
        dc, da, db = inner
        turned = add(dc, mul(const(Fraction(-1, 2)), c, add(mul(da, power(va, -1)), mul(db, power(vb, -1)))))
        return mul(power(add(mul(va, vb), mul(const(-1), power(c, 2))), Fraction(-1, 2)), turned)
    if name == "power":
        p, n = args
        by_base = mul(n, fun("power", p, add(n, const(-1))), inner[0])
        return add(by_base, mul(node, fun("log", p), inner[1]) if inner[1] != ZERO else ZERO)
    if len(args) != 1:
        raise UnsupportedNode(f"{text(node)}: the derivative of a function of several variables is not treated")
    z, d = args[0], inner[0]
    if name == "exp":
        return mul(node, d)
    if name == "log":
        return mul(power(z, -1), d)
    if name == "asin":
        return mul(power(add(ONE, mul(const(-1), power(z, 2))), Fraction(-1, 2)), d)
    return mul(fun(name + "'", z), d)


def without_stops(node: Node) -> Node:
    """``stop(e)`` replaced by e: after differentiation it has done its work."""
    if node.op == "fun":
        if node.args[0] == "stop":
            return without_stops(node.args[1])
        return fun(node.args[0], *(without_stops(a) for a in node.args[1:]))
    if node.op == "sum":
        return sum_over(node.args[0], without_stops(node.args[1]))
    if node.op == "add":
        return add(*(without_stops(a) for a in node.args))
    if node.op == "mul":
        return mul(*(without_stops(a) for a in node.args))
    if node.op == "pow":
        return power(without_stops(node.args[0]), node.args[1])
    return node


def regrouped(node: Node, name: str) -> Node:
    """The node as a sum of powers of a symbol, which cancel where they can; as it is if it is no such sum.

    >>> from derive.indices.indexed import arr
    >>> root = power(arr("N"), Fraction(1, 2))
    >>> regrouped(mul(power(root, -1), add(mul(root, arr("a")), mul(root, arr("b")))), "N")
    a + b
    """
    return add(*(mul(c, power(arr(name), p)) for p, c in gathered(node, name).items()))


def gathered(node: Node, name: str) -> dict[Fraction, Node]:
    """As `powers_of`, but a node that is no sum of powers of the symbol stays whole, as the coefficient of power zero."""
    try:
        return powers_of(node, name, "")
    except UnsupportedNode:
        return {Fraction(0): node}


def distributed(node: Node) -> Node:
    """The node with products distributed over their sums, outside functions; equal terms are collected.

    >>> from derive.indices.indexed import arr
    >>> a, b = arr("a"), arr("b")
    >>> distributed(mul(a, add(a, b)) - mul(a, b))
    a^2
    """
    if node.op == "add":
        return add(*(distributed(a) for a in node.args))
    if node.op == "sum":
        body = distributed(node.args[1])
        return add(*(sum_over(node.args[0], a) for a in (body.args if body.op == "add" else (body,))))
    if node.op == "pow" and node.args[1].denominator == 1 and 1 < node.args[1] <= MOST_POWER:
        factors: tuple[Node, ...] = (node.args[0],) * int(node.args[1])
    elif node.op == "mul":
        factors = node.args
    else:
        return node
    terms: list[Node] = [ONE]
    for factor in factors:
        opened = distributed(factor)
        terms = [mul(t, p) for t in terms for p in (opened.args if opened.op == "add" else (opened,))]
    return add(*terms)


def powers_of(node: Node, name: str, where: str) -> dict[Fraction, Node]:
    """Coefficients of the powers of a symbol.

    Raises
    ------
    UnsupportedNode
        If the symbol stands inside a function or a root of a sum.

    >>> from derive.indices.indexed import arr
    >>> n = arr("N")
    >>> powers_of(power(n, -1) * (arr("a") + power(n, Fraction(1, 2))), "N", "example")
    {Fraction(-1, 1): a, Fraction(-1, 2): 1}
    """
    if name not in arrays(node):
        return {Fraction(0): node} if node != ZERO else {}
    if node.op == "arr":
        return {Fraction(1): ONE}
    if node.op == "add":
        out: dict[Fraction, Node] = {}
        for a in node.args:
            for p, c in powers_of(a, name, where).items():
                out[p] = add(out.get(p, ZERO), c)
    elif node.op == "sum":
        out = {p: sum_over(node.args[0], c) for p, c in powers_of(node.args[1], name, where).items()}
    elif node.op == "mul":
        out = _product([powers_of(a, name, where) for a in node.args])
    elif node.op == "pow":
        out = _power(node, name, where)
    else:
        raise UnsupportedNode(f"{where}: {name} stands inside {text(node)}; only powers of {name} as factors can be counted")
    return {p: c for p, c in out.items() if c != ZERO}


def _product(parts: list[dict[Fraction, Node]]) -> dict[Fraction, Node]:
    out = {Fraction(0): ONE}
    for part in parts:
        made: dict[Fraction, Node] = {}
        for p, c in out.items():
            for q, d in part.items():
                made[p + q] = add(made.get(p + q, ZERO), mul(c, d))
        out = made
    return out


def _power(node: Node, name: str, where: str) -> dict[Fraction, Node]:
    base, e = node.args
    parts = powers_of(base, name, where)
    if len(parts) == 1:
        ((p, c),) = parts.items()
        return {p * e: power(c, e)}
    if e.denominator == 1 and 0 < e <= 8:
        return _product([parts] * int(e))
    raise UnsupportedNode(
        f"{where}: {text(node)} mixes powers of {name} under a power {e}; expand it or name its leading order"
    )
