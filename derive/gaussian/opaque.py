r"""Functions of one variable that no pattern covers, under names that hold their body.

    softplus'  ->  ``softplus:log(add(1;exp(z)))'``

A function of a user that is neither made of signs, powers and exponentials nor one of `derive.fn` (softplus, z sigmoid(z), ...)
is averaged by quadrature, which needs its values and derivatives and nothing else. Its name carries the body in prefix form,
with the letter ``z`` for the variable, so that an average that mentions it needs no definition beside it; primes at the end are
derivatives, found by the chain rule. Imported by the field rule, by Gaussian averages and by emission.
"""

from __future__ import annotations

import re
from functools import cache

from derive.errors import UnsupportedNode
from derive.fields.calculus import differentiate
from derive.indices.indexed import ONE, PI, Node, add, arr, arrays, const, fun, mul, power, replace

VARIABLE = "z"
_TOKEN = re.compile(r"[()\;]|[^();]+")


def opaque(label: str, body: Node, variable: str) -> str:
    """Name of a function with a body in ``arr(variable)``.

    Raises
    ------
    UnsupportedNode
        If the body holds another symbol: a quadrature needs numbers.

    >>> opaque("softplus", fun("log", add(ONE, fun("exp", arr("u")))), "u")
    'softplus:log(add(1;exp(z)))'
    """
    others = [a for a in arrays(body) if a != variable]
    if others:
        raise UnsupportedNode(
            f"activation {label}: it has no closed Gaussian average, and its body holds the symbol {others[0]}; a quadrature "
            f"needs a function of one number, so write a number for {others[0]}"
        )
    return f"{label}:{_written(body)}"


def is_opaque(name: str) -> bool:
    """Whether a function name holds a body."""
    return ":" in name and "[" not in name


@cache
def body(name: str) -> Node:
    """Body of an opaque function, or of a derivative of it, in ``arr("z")``.

    >>> body("square:pow(z;2)'")
    2*z
    """
    stem = name.rstrip("'")
    tokens = _TOKEN.findall(stem.partition(":")[2])
    node = _read(tokens)
    for _ in range(len(name) - len(stem)):
        node = differentiate(node, lambda a: ONE)
    return node


def label(name: str) -> str:
    """What the user called it, with primes.

    >>> label("softplus:log(add(1;exp(z)))'")
    "softplus'"
    """
    stem = name.rstrip("'")
    return stem.partition(":")[0] + name[len(stem) :]


def functions_in(node: Node) -> tuple[str, ...]:
    """Names of the functions in a body, sorted."""
    found = {n for a in node.args if isinstance(a, Node) for n in functions_in(a)}
    if node.op == "fun":
        found.add(node.args[0])
    return tuple(sorted(found))


def _written(node: Node) -> str:
    if node.op == "const":
        return str(node.args[0])
    if node.op == "arr":
        return VARIABLE
    if node.op == "pow":
        return f"pow({_written(node.args[0])};{node.args[1]})"
    if node.op == "fun" and is_opaque(node.args[0]):
        inner = node.args[1]
        return _written(replace(body(node.args[0]), lambda a: inner))
    parts = ";".join(_written(a) for a in node.args if isinstance(a, Node))
    return "pi" if node.op == "pi" else f"{node.args[0] if node.op == 'fun' else node.op}({parts})"


def _read(tokens: list[str]) -> Node:
    """The node that begins at the first token; tokens are used up."""
    head = tokens.pop(0)
    if not tokens or tokens[0] != "(":
        return arr(VARIABLE) if head == VARIABLE else PI if head == "pi" else const(_fraction(head))
    tokens.pop(0)
    if head == "pow":
        base = _read(tokens)
        tokens.pop(0)
        node = power(base, _fraction(tokens.pop(0)))
        tokens.pop(0)
        return node
    parts = [_read(tokens)]
    while tokens.pop(0) == ";":
        parts.append(_read(tokens))
    return {"add": add, "mul": mul}[head](*parts) if head in ("add", "mul") else fun(head, *parts)


def _fraction(text: str):  # type: ignore[no-untyped-def]
    from fractions import Fraction

    return Fraction(text)
