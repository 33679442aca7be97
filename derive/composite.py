"""Composite atoms: elementwise functions f(P), Hadamard products and inverses as letters of words.

A composite is named by its canonical text, and of an expression and its transpose the smaller is stored, so that equal
composites are equal letters. Hadamard products are n-ary, flattened and linear in each factor.
Imported by the passes.
"""

from __future__ import annotations

from derive.errors import ShapeMismatch
from derive.poly import Poly, atom, constant, monomial, scalar_atom, text, zero
from derive.words import Atom, Elem, Had, Inverse, Key, Size, Word


def composite(comp: Elem | Had | Inverse, shape: tuple[Size, Size] | None) -> Poly:
    """A composite atom as a Poly; of an expression and its transpose the smaller is stored."""
    rows, cols = shape or (1, 1)
    name = composite_name(comp)
    if shape is None:
        return scalar_atom(Atom(name, 1, 1, (), comp))
    other = _transposed(comp)
    if rows != cols and composite_name(other) < name:
        return atom(Atom(composite_name(other), cols, rows, (), other)).T
    if rows == cols and other == comp:
        return atom(Atom(name, rows, cols, ("sym",), comp))
    if rows == cols and composite_name(other) < name:
        return atom(Atom(composite_name(other), rows, cols, (), other)).T
    return atom(Atom(name, rows, cols, (), comp))


def _transposed(comp: Elem | Had | Inverse) -> Elem | Had | Inverse:
    if isinstance(comp, Elem):
        return Elem(comp.function, comp.order, comp.argument.T)
    if isinstance(comp, Had):
        return Had(tuple(sorted((f.T for f in comp.factors), key=text)))
    return Inverse(comp.argument.T)


def composite_name(comp: Elem | Had | Inverse) -> str:
    """Canonical text of a composite; no user symbol can have such a name."""
    if isinstance(comp, Elem):
        return f"{comp.function}{chr(39) * comp.order}({text(comp.argument)})"
    if isinstance(comp, Had):
        return "(" + " o ".join(text(f) for f in comp.factors) + ")"
    return f"inv({text(comp.argument)})"


def elem(function: str, p: Poly, order: int = 0) -> Poly:
    """f^(order) applied to every entry of p (or to the scalar p)."""
    return composite(Elem(function, order, p), p.shape)


def inverse(p: Poly) -> Poly:
    """Matrix inverse."""
    return composite(Inverse(p), p.shape)


def hadamard(*factors: Poly) -> Poly:
    """Elementwise product: n-ary, flattened, linear in each factor."""
    shape = factors[0].shape
    for f in factors:
        if f.shape != shape:
            raise ShapeMismatch(
                f"elementwise product of {text(factors[0])} {shape} and {text(f)} {f.shape}: equal shapes are needed"
            )
    if shape is None or len(factors) == 1:
        out = factors[0]
        for f in factors[1:]:
            out = out * f
        return out
    total = zero(shape)
    stack: list[tuple[Poly, list[Poly]]] = [(constant(1), [])]
    for f in factors:
        grown = []
        for scalar, words in stack:
            for key, c in f.items():
                pre = Poly(None, {Key(key.params, key.traces, None): c})
                grown.append((scalar * pre, [*words, *_had_factors(key.word or (), shape)]))
        stack = grown
    for scalar, words in stack:
        kept = [w for w in words if text(w) != ones_name(shape)]
        if not kept:
            total = total + scalar * words[0]
        elif len(kept) == 1:
            total = total + scalar * kept[0]
        else:
            total = total + scalar * composite(Had(tuple(sorted(kept, key=text))), shape)
    return total


def ones_name(shape: tuple[Size, Size]) -> str:
    """Name of the all-ones atom of a shape."""
    return f"ones[{shape[0]},{shape[1]}]"


def ones(rows: Size, cols: Size) -> Poly:
    """The matrix of ones."""
    return atom(Atom(ones_name((rows, cols)), rows, cols))


def _had_factors(word: Word, shape: tuple[Size, Size]) -> list[Poly]:
    if len(word) == 1 and isinstance(word[0].atom.comp, Had):
        inner = word[0].atom.comp.factors
        return [f.T for f in inner] if word[0].t else list(inner)
    return [monomial(shape, Key((), (), word))]
