"""Text and LaTeX of trees and names, by rule: one pair of tables, no knobs.

LaTeX of a name: Greek words become letters, digits and the part after ``_`` become subscripts, a final ``star`` becomes ``^*``.
``trace(A' B)`` of two columns prints as their inner product. Imported by the spec, by printers and by error messages.
"""

from __future__ import annotations

import re
from fractions import Fraction

from derive.spec.tree import Tree, as_fraction

GREEK = (
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi", "pi",
    "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma",
    "Upsilon", "Phi", "Psi", "Omega",
)  # fmt: skip
SUM, PRODUCT, POWER, ATOM = 1, 2, 3, 4  # binding strength


def latex_name(name: str) -> str:
    """LaTeX of a symbol name.

    >>> latex_name("W1"), latex_name("eta_v"), latex_name("Wstar"), latex_name("Syx"), latex_name("lam")
    ('W_{1}', '\\\\eta_{v}', 'W^{*}', 'S_{yx}', '\\\\lambda')
    """
    head, _, tail = name.partition("_")
    star = head.endswith("star") and head != "star"
    head = head[:-4] if star else head
    word, digits = re.fullmatch(r"(.*?)(\d*)", head).groups()  # type: ignore[union-attr]
    subscripts = [digits] if digits else []
    if word == "lam":
        base = r"\lambda"
    elif word in GREEK:
        base = "\\" + word
    elif len(word) == 1:
        base = word
    elif word[0].isupper() and word[1:].islower():
        base, subscripts = word[0], [word[1:], *subscripts]
    else:
        base = rf"\mathrm{{{word}}}"
    subscripts += [latex_name(part) if part in GREEK else part for part in tail.split("_") if part]
    return base + (f"_{{{','.join(subscripts)}}}" if subscripts else "") + ("^{*}" if star else "")


def text(tree: Tree) -> str:
    """One line of text for a tree, in the words of the spec language.

    >>> text(("mul", ("frac", 1, 2), ("pow", "N", -1), ("matmul", "W", ("T", "x"))))
    'W*x.T/(2*N)'
    >>> text(("trace", ("matmul", ("T", "x"), ("T", "W"), "W", "x")))
    'norm2(W*x)'
    >>> text(("trace", ("matmul", ("T", "a"), "b"))), text(("add", "f", ("mul", -1, "y")))
    ('dot(a, b)', 'f - y')
    """
    return _show(tree, False)[0]


def latex(tree: Tree) -> str:
    """LaTeX of a tree.

    >>> latex(("matmul", "W2", ("T", "W1")))
    'W_{2} W_{1}^{\\\\top}'
    """
    return _show(tree, True)[0]


def _tight(tree: Tree, strength: int, tex: bool) -> str:
    shown, own = _show(tree, tex)
    if own >= strength:
        return shown
    return rf"\left({shown}\right)" if tex else f"({shown})"


def _number(q: Fraction, tex: bool) -> tuple[str, int]:
    if q.denominator == 1:
        return str(q.numerator), ATOM if q >= 0 else SUM
    if tex:
        return ("-" if q < 0 else "") + rf"\frac{{{abs(q.numerator)}}}{{{q.denominator}}}", ATOM if q >= 0 else SUM
    return f"{q.numerator}/{q.denominator}", PRODUCT if q >= 0 else SUM


def _show(tree: Tree, tex: bool) -> tuple[str, int]:
    if isinstance(tree, str):
        return (latex_name(tree) if tex else tree), ATOM
    q = as_fraction(tree)
    if q is not None:
        return _number(q, tex)
    head = tree[0]
    if head == "add":
        return _sum(tree[1:], tex), SUM
    if head == "mul":
        return _product(tree[1:], tex)
    if head == "matmul":
        open_ = [i == 0 and not (isinstance(a, tuple) and a[0] == "had") for i, a in enumerate(tree[1:])]
        parts = (_tight(a, PRODUCT if bare else POWER, tex) for a, bare in zip(tree[1:], open_, strict=True))
        return (" " if tex else "*").join(parts), PRODUCT
    if head == "pow":
        return _power(tree[1], tree[2], tex)
    if head in ("T", "inv"):
        mark = {"T": r"^{\top}", "inv": "^{-1}"}[head] if tex else {"T": ".T", "inv": "**-1"}[head]
        base = _tight(tree[1], ATOM, tex)
        base = f"{{{base}}}" if tex and "^" in base and not base.startswith(r"\left(") else base  # TeX allows one superscript
        return base + mark, (POWER if head == "inv" or tex else ATOM)
    if head == "had":
        if tex:
            return r" \odot ".join(_tight(a, POWER, tex) for a in tree[1:]), PRODUCT
        return _call("had", tree[1:], tex), ATOM
    if head == "trace":
        inner = tree[1]
        half = _half(inner)
        if half is not None:
            return (rf"\left\|{_show(half, tex)[0]}\right\|^{{2}}", POWER) if tex else (_call("norm2", (half,), tex), ATOM)
        left = _untransposed(inner[1]) if isinstance(inner, tuple) and inner[0] == "matmul" else None
        rest = (inner[2] if len(inner) == 3 else ("matmul", *inner[2:])) if left is not None else None
        if left is not None and not tex:
            return _call("dot", (left, rest), tex), ATOM
        return (r"\operatorname{tr}\left(" + _show(inner, tex)[0] + r"\right)" if tex else _call("trace", (inner,), tex)), ATOM
    if head == "map":
        return _call(tree[1], (tree[2],), tex), ATOM
    if head == "eye":
        return ("I" if tex else _call("eye", tree[1:], tex)), ATOM
    if head == "pi":
        return (r"\pi" if tex else "pi"), ATOM
    if head == "oo":
        return (r"\infty" if tex else "oo"), ATOM
    if head == "delta" and tex:
        return rf"\delta_{{{latex(tree[1])},{latex(tree[2])}}}", ATOM
    if head == "mean" and tex:
        return rf"\left\langle {latex(tree[1])} \right\rangle", ATOM
    if head == "grad" and tex:
        return rf"\nabla_{{{latex(tree[2])}}} {_tight(tree[1], POWER, tex)}", PRODUCT
    return _call(head, tree[1:], tex), ATOM


def _untransposed(tree: Tree) -> Tree | None:
    """The tree of which this one is the transpose, if every part carries a transpose, else None."""
    if not isinstance(tree, tuple) or tree[0] not in ("T", "add", "mul", "matmul", "map", "stop", "mean"):
        return None
    if tree[0] == "T":
        return tree[1]
    if tree[0] in ("mul", "map", "stop", "mean"):
        last = _untransposed(tree[-1])
        return None if last is None else (*tree[:-1], last)
    parts = [_untransposed(p) for p in tree[1:]]
    if any(p is None for p in parts):
        return None
    return (tree[0], *(reversed(parts) if tree[0] == "matmul" else parts))


def _half(tree: Tree) -> Tree | None:
    """The matrix A if the product is A' A, else None."""
    if not isinstance(tree, tuple) or tree[0] != "matmul" or len(tree) % 2 == 0:
        return None
    middle = (len(tree) + 1) // 2
    first, second = tree[1:middle], tree[middle:]
    if any(_untransposed(a) != b and a != _untransposed(b) for a, b in zip(reversed(first), second, strict=True)):
        return None
    if len(second) == 1:  # a matrix and its transpose have one norm
        return second[0][1] if isinstance(second[0], tuple) and second[0][0] == "T" else second[0]
    return ("matmul", *second)


def _call(word: str, parts: tuple[Tree, ...], tex: bool) -> str:
    inner = ", ".join(_show(p, tex)[0] for p in parts)
    return rf"\operatorname{{{word.replace('_', ' ')}}}\left({inner}\right)" if tex else f"{word}({inner})"


def _negated(tree: Tree) -> Tree | None:
    """The tree without its minus sign, or None if it has none."""
    q = as_fraction(tree)
    if q is not None:
        return None if q >= 0 else (int(-q) if q.denominator == 1 else ("frac", -q.numerator, q.denominator))
    if isinstance(tree, tuple) and tree[0] == "mul":
        first = _negated(tree[1])
        if first is not None:
            rest = tree[2:] if first == 1 else (first, *tree[2:])
            return rest[0] if len(rest) == 1 else ("mul", *rest)
    return None


def _sum(terms: tuple[Tree, ...], tex: bool) -> str:
    signed = [(_negated(term), term) for term in terms]
    ordered = [p for p in signed if p[0] is None] + [p for p in signed if p[0] is not None]
    parts: list[str] = []
    for plain, term in ordered:
        minus = plain is not None
        shown = _tight(plain if minus else term, PRODUCT if minus else SUM, tex)
        parts.append((" - " if parts else "-") + shown if minus else (" + " if parts else "") + shown)
    return "".join(parts)


def _product(factors: tuple[Tree, ...], tex: bool) -> tuple[str, int]:
    positive = _negated(("mul", *factors))
    if positive is not None:
        return "-" + _tight(positive, PRODUCT, tex), SUM
    above: list[Tree] = []
    below: list[Tree] = []
    for factor in factors:
        q = as_fraction(factor)
        if q is not None and q.denominator != 1:
            above += [q.numerator] if q.numerator != 1 else []
            below.append(q.denominator)
            continue
        exponent = as_fraction(factor[2]) if isinstance(factor, tuple) and factor[0] == "pow" else None
        if exponent is not None and exponent < 0:
            flipped = -exponent
            up: Tree = int(flipped) if flipped.denominator == 1 else ("frac", flipped.numerator, flipped.denominator)
            below.append(factor[1] if up == 1 else ("pow", factor[1], up))
        else:
            above.append(factor)
    if tex:
        matrices = [f for f in above[-1:] if isinstance(f, tuple) and f[0] in ("matmul", "T", "add")]
        numbers = above[: len(above) - len(matrices)] if below else above
        top = " ".join(_tight(f, PRODUCT, tex) for f in numbers) or "1"
        if not below:
            return top, PRODUCT
        bottom = " ".join(_tight(f, PRODUCT, tex) for f in below)
        tail = " " + _tight(matrices[0], PRODUCT, tex) if matrices else ""
        return rf"\frac{{{top}}}{{{bottom}}}{tail}", PRODUCT
    numerator = "*".join(_tight(f, PRODUCT, tex) for f in above) or "1"
    if len(below) > 1:
        return f"{numerator}/({'*'.join(_tight(f, PRODUCT, tex) for f in below)})", PRODUCT
    return numerator + "".join("/" + _tight(f, POWER, tex) for f in below), PRODUCT


def _power(base: Tree, exponent: Tree, tex: bool) -> tuple[str, int]:
    q = as_fraction(exponent)
    if q == Fraction(1, 2):
        return (rf"\sqrt{{{latex(base)}}}" if tex else f"sqrt({text(base)})"), ATOM
    if q is not None and q < 0:
        return _product((("pow", base, exponent),), tex)
    return (_tight(base, ATOM, tex) + (f"^{{{latex(exponent)}}}" if tex else "**" + _tight(exponent, ATOM, tex))), POWER
