"""What the functions in printed equations mean: averages over local fields, and the guarded words that they are made of.

One line for each word that occurs; of the local averages one line for each kind (with means or without), by its first example.
Imported by `derive.printing.objects`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from derive.gaussian.local import Local, read
from derive.indices.indexed import Node
from derive.printing.document import Line

WORDS = {
    "erf2": "erf2(z) = erf(z/sqrt(2))",
    "angle": "angle(c, a, b) = asin(c/sqrt(a*b)), the angle of fields with covariance c and variances a, b",
    "residual": "residual(v, a) = v, the variance that conditioning leaves of a; zero where it is rounding of a",
    "sign4": "sign4(v1, .., v4, c12, .., c34) = average of the signs of four fields, mean zero: an integral in one dimension",
    "binomial": "binomial(n, k) = n!/(k! (n - k)!)",
    "power": "power(p, n) = p^n, and 1 for n = 0",
}


def function_lines(nodes: Iterable[Node]) -> tuple[Line, ...]:
    """Definitions of the functions in some expressions, in the order in which they occur.

    >>> from derive.indices.indexed import arr, fun
    >>> [line.text for line in function_lines([fun("E[relu|step]", arr("Q"), arr("T"), arr("R"))])]
    ['E[relu|step](v1, v2, c12) = average of relu(u1)*step(u2); fields u Gaussian, mean zero, variances v, covariances c']
    """
    lines: dict[str, str] = {}
    for name in (str(n.args[0]) for node in nodes for n in _functions(node)):
        local = read(name)
        if local is not None:
            lines.setdefault("Em" if local.means else "E", _average(local))
        elif name in WORDS:
            lines.setdefault(name, WORDS[name])
    return tuple(Line(text=text) for text in lines.values())


def _average(local: Local) -> str:
    slots = [(f"u{n}", functions) for n, functions in enumerate(local.slots, start=1)]
    product = "*".join(u if f == "x" else f"{f}({u})" for u, functions in slots for f in functions)
    means = "means m" if local.means else "mean zero"
    law = f"{means}, variances v" + (", covariances c" if local.pairs else "")
    return f"{local.name}({', '.join(local.arguments)}) = average of {product}; fields u Gaussian, {law}"


def _functions(node: Node) -> Iterator[Node]:
    """The function nodes of an expression, outside in, from left to right."""
    if node.op == "fun":
        yield node
    for a in node.args:
        if isinstance(a, Node):
            yield from _functions(a)
