r"""Index-level expressions for people: text and LaTeX of a `Node`.

Bound labels ``#0, #1, ...`` become the first free letters of  i j p q ...;  half powers become roots, negative ones fractions:
``2/pi*asin(...)``  is  ``\frac{2}{\pi} \operatorname{asin}(...)``. Sums over labels stand behind the other factors.
Imported by the printers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from derive.indices.indexed import Index, Node
from derive.spec.notation import latex_name

LETTERS = ("i", "j", "p", "q", "r", "a", "b", "c", "d")
SUM, PRODUCT, ATOM = 1, 2, 4
FUNCTIONS = {
    "asin": r"\arcsin",
    "acos": r"\arccos",
    "exp": r"\exp",
    "log": r"\log",
    "tanh": r"\tanh",
    "sin": r"\sin",
    "cos": r"\cos",
}

Names = Mapping[Index, str]


def node_text(node: Node) -> str:
    """One line of text.

    >>> from derive.indices.indexed import arr, sum_over
    >>> k, m = Index("k", "K"), Index("m", "M")
    >>> node_text(arr("v", k) * sum_over(m, arr("A", m) * arr("R", k, m)) / 2)
    '1/2*v[k]*sum_i(A[i]*R[k,i])'
    """
    return _show(node, {}, False)[0]


def node_latex(node: Node) -> str:
    r"""LaTeX.

    >>> from derive.indices.indexed import arr
    >>> k = Index("k", "K")
    >>> print(node_latex(arr("v", k) ** 2 / arr("tau")))
    \frac{v_{k}^{2}}{\tau}
    """
    return _show(node, {}, True)[0]


def array_name(name: str, indices: tuple[str, ...], tex: bool) -> str:
    """An array with its labels: ``R[k,m]`` or ``R_{km}``."""
    if not indices:
        return latex_name(name) if tex else name
    if not tex:
        return f"{name}[{','.join(indices)}]"
    base = latex_name(name)
    labels = "".join(indices) if all(len(i) == 1 for i in indices) else ",".join(indices)
    if base.endswith("^{*}"):
        return f"{base}_{{{labels}}}" if "_" not in base else rf"({base})_{{{labels}}}"
    return f"{base}_{{{labels}}}" if "_" not in base else f"{base[:-1]},{labels}}}"


def _label(i: Index, names: Names) -> str:
    return names.get(i, i.name)


def _tight(node: Node, names: Names, strength: int, tex: bool) -> str:
    shown, own = _show(node, names, tex)
    if own >= strength:
        return shown
    return rf"\left({shown}\right)" if tex else f"({shown})"


def _show(node: Node, names: Names, tex: bool) -> tuple[str, int]:
    if node.op == "const":
        return _number(node.args[0], tex)
    if node.op == "pi":
        return (r"\pi" if tex else "pi"), ATOM
    if node.op == "arr":
        return array_name(node.args[0], tuple(_label(i, names) for i in node.args[1]), tex), ATOM
    if node.op == "kron":
        i, j = (_label(i, names) for i in node.args)
        return (rf"\delta_{{{i}{j}}}" if tex else f"delta[{i},{j}]"), ATOM
    if node.op == "sum":
        return _total(node, names, tex)
    if node.op == "fun" and node.args[0] == "power":
        base, exponent = _tight(node.args[1], names, ATOM, tex), _show(node.args[2], names, tex)[0]
        plain = node.args[2].op in ("arr", "const")
        return (f"{base}^{{{exponent}}}" if tex else f"{base}**{exponent}" if plain else f"{base}**({exponent})"), PRODUCT
    if node.op == "fun":
        inner = ", ".join(_show(a, names, tex)[0] for a in node.args[1:])
        word = FUNCTIONS.get(node.args[0], rf"\operatorname{{{node.args[0].replace('_', ' ')}}}") if tex else node.args[0]
        return (rf"{word}\left({inner}\right)" if tex else f"{word}({inner})"), ATOM
    if node.op in ("mul", "pow"):
        return _product(node, names, tex)
    parts = []
    for term in node.args:
        shown = _show(term, names, tex)[0]
        minus = shown.startswith("-")
        parts.append((minus, shown[1:] if minus else shown))
    parts.sort(key=lambda part: part[0])
    out = ("-" if parts[0][0] else "") + parts[0][1]
    return out + "".join((" - " if minus else " + ") + shown for minus, shown in parts[1:]), SUM


def _number(q: Fraction, tex: bool) -> tuple[str, int]:
    if q.denominator == 1:
        return str(q.numerator), ATOM if q >= 0 else SUM
    shown = rf"\frac{{{abs(q.numerator)}}}{{{q.denominator}}}" if tex else f"{abs(q.numerator)}/{q.denominator}"
    return ("-" if q < 0 else "") + shown, PRODUCT if q > 0 else SUM


def _total(node: Node, names: Names, tex: bool) -> tuple[str, int]:
    bound, body = node.args
    taken = {_label(i, names) for i in body.free}
    letter = next(x for x in LETTERS if x not in taken) if bound.name.startswith("#") else bound.name
    inner = {**names, bound: letter}
    if tex:
        return rf"\sum_{{{letter}=1}}^{{{latex_name(str(bound.family))}}} {_tight(body, inner, PRODUCT, tex)}", PRODUCT
    return f"sum_{letter}({_show(body, inner, tex)[0]})", ATOM


def _product(node: Node, names: Names, tex: bool) -> tuple[str, int]:
    """A product or power: sign, then numerator over denominator."""
    factors = node.args if node.op == "mul" else (node,)
    sign = ""
    above: list[str] = []
    below: list[str] = []
    sums: list[str] = []
    lows = sum((f.op == "pow" and f.args[1] < 0) or (f.op == "const" and f.args[0].denominator != 1) for f in factors)
    for f in factors:
        if f.op == "const":
            q = f.args[0]
            sign = "-" if q < 0 else sign
            if tex:
                above += [str(abs(q.numerator))] if abs(q.numerator) != 1 else []
                below += [str(q.denominator)] if q.denominator != 1 else []
            elif abs(q) != 1:
                above.append(_number(abs(q), tex)[0])
        elif f.op == "pow" and f.args[1] < 0:
            alone = tex and f.args[1] == -1 and lows == 1  # a bar needs no brackets
            below.append(_show(f.args[0], names, tex)[0] if alone else _power(f.args[0], -f.args[1], names, tex))
        elif f.op == "pow":
            above.append(_power(f.args[0], f.args[1], names, tex))
        else:
            bare = tex and lows > 0 and len(factors) == 1 + lows  # all that stands above a bar
            (sums if f.op == "sum" else above).append(_tight(f, names, SUM if bare else PRODUCT, tex))
    strength = SUM if sign else PRODUCT
    if tex:
        top = " ".join(above) or ("1" if below or not sums else "")
        front = rf"\frac{{{top}}}{{{' '.join(below)}}}" if below else top
        return sign + " ".join([*([front] if front else []), *sums]), strength
    if node.op == "pow" and not below:
        return above[0], PRODUCT
    top = "*".join(above) or ("1" if below or not sums else "")
    front = top + (f"/({'*'.join(below)})" if len(below) > 1 else f"/{below[0]}" if below else "")
    return sign + "*".join([*([front] if front else []), *sums]), strength


def _power(base: Node, e: Fraction, names: Names, tex: bool) -> str:
    if e == 1:
        return _tight(base, names, ATOM, tex)
    if e == Fraction(1, 2):
        inner = _show(base, names, tex)[0]
        return rf"\sqrt{{{inner}}}" if tex else f"sqrt({inner})"
    shown = _tight(base, names, ATOM, tex)
    if tex:
        return f"{shown}^{{{_number(e, False)[0]}}}"
    return f"{shown}**{e}" if e.denominator == 1 else f"{shown}**({e})"
