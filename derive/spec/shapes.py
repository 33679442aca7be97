"""Strict shapes of trees: two dimensions are equal if their expressions are equal, never "because nothing contradicts it".

A number has shape (), a matrix (rows, columns); dimensions are trees. A 1 x 1 matrix is not a number. SymPy's own check lets
W*v with K x N times K x 1 pass, so every expression of a spec is checked here. Imported by lowering, sugar, Model and passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from derive.errors import ShapeMismatch
from derive.spec.notation import text
from derive.spec.tree import Tree, as_fraction

Shape: TypeAlias = tuple[Tree, ...]


def show_shape(shape: Shape) -> str:
    """A shape in words.

    >>> show_shape(("K", 1)), show_shape(())
    ('K x 1', 'a number')
    """
    return " x ".join(text(d) for d in shape) if shape else "a number"


def shape_of(tree: Tree, shapes: Mapping[str, Shape]) -> Shape:
    """Shape of a tree, every node checked; a name without an entry is a number (a dimension).

    Raises
    ------
    ShapeMismatch
        With the product that was probably meant.

    >>> shape_of(("matmul", "W", "x"), {"W": ("K", "N"), "x": ("N", 1)})
    ('K', 1)
    >>> shape_of(("matmul", "W", "v"), {"W": ("K", "N"), "v": ("K", 1)})
    Traceback (most recent call last):
    derive.errors.ShapeMismatch: W*v: the N columns of W meet the K rows of v; write W.T*v
    """
    if isinstance(tree, str):
        return shapes.get(tree, ())
    if isinstance(tree, int) or tree[0] in ("frac", "pi", "oo"):
        return ()
    shape: Shape = _RULES[tree[0]](tree, shapes)
    return shape


def is_number(tree: Tree, shapes: Mapping[str, Shape]) -> bool:
    """Whether a (checked) tree is a number; looks at one branch only."""
    while True:
        if isinstance(tree, str):
            return shapes.get(tree, ()) == ()
        if isinstance(tree, int) or tree[0] in ("frac", "pi", "oo", "pow", "trace", "det", "delta"):
            return True
        if tree[0] in ("matmul", "T", "inv", "had", "eye", "ones", "zeros", "diag", "stack"):
            return False
        tree = tree[1] if tree[0] == "add" else tree[-1]  # mul, map, grad, mean, stop, root: shape of the last entry


def _mixed(tree: Tree, a: Tree, sa: Shape, b: Tree, sb: Shape) -> ShapeMismatch:
    matrix, shape, other = (a, sa, b) if sa else (b, sb, a)
    if sa and sb:
        return ShapeMismatch(
            f"{text(tree)}: {text(a)} is {show_shape(sa)}, {text(b)} is {show_shape(sb)}; all terms need one shape"
        )
    remedy = remedy_for_number(matrix, shape)
    return ShapeMismatch(f"{text(tree)}: {text(matrix)} is {show_shape(shape)}, but {text(other)} is a number; {remedy}")


def remedy_for_number(tree: Tree, shape: Shape) -> str:
    """What to write where a matrix stands in the place of a number."""
    if shape == (1, 1):
        first, rest = (tree[1], tree[2:]) if isinstance(tree, tuple) and tree[0] == "matmul" else (tree, ())
        if rest:
            left = first[1] if isinstance(first, tuple) and first[0] == "T" else ("T", first)
            right = rest[0] if len(rest) == 1 else ("matmul", *rest)
            return f"a 1 x 1 product is not a number: write dot({text(left)}, {text(right)})"
        return "a 1 x 1 matrix is not a number: write total(...) of it"
    return "write total(...) or norm2(...) for a number, or multiply the number by ones of that shape"


def _same(tree: Tree, shapes: Mapping[str, Shape]) -> Shape:
    first = shape_of(tree[1], shapes)
    for part in tree[2:]:
        other = shape_of(part, shapes)
        if other != first:
            raise _mixed(tree, tree[1], first, part, other)
    return first


def _mul(tree: Tree, shapes: Mapping[str, Shape]) -> Shape:
    found: Shape = ()
    for part in tree[1:]:
        shape = shape_of(part, shapes)
        if shape and found:
            raise ShapeMismatch(f"{text(tree)}: two matrices in a product of numbers; write dot(a, b), had(A, B) or A*B.T")
        found = shape or found
    return found


def _needs_number(tree: Tree, shapes: Mapping[str, Shape]) -> Shape:
    for part in tree[1:]:
        shape = shape_of(part, shapes)
        if shape:
            raise ShapeMismatch(
                f"{text(tree)}: {text(part)} is {show_shape(shape)}, a number is needed; {remedy_for_number(part, shape)}"
            )
    return ()


def _matmul(tree: Tree, shapes: Mapping[str, Shape]) -> Shape:
    left = shape_of(tree[1], shapes)
    if not left:
        raise ShapeMismatch(f"{text(tree)}: {text(tree[1])} is a number, not a factor of a matrix product")
    for i, part in enumerate(tree[2:], start=2):
        right = shape_of(part, shapes)
        if not right:
            raise ShapeMismatch(f"{text(tree)}: {text(part)} is a number, not a factor of a matrix product")
        if left[1] != right[0]:
            before = tree[1] if i == 2 else ("matmul", *tree[1:i])
            raise ShapeMismatch(_product_message(tree, before, left, part, right, shapes))
        left = (left[0], right[1])
    return left


def _product_message(tree: Tree, before: Tree, left: Shape, part: Tree, right: Shape, shapes: Mapping[str, Shape]) -> str:
    if left == (1, 1):
        return f"{text(tree)}: {text(before)} is 1 x 1 and stands as a number; {remedy_for_number(before, left)}"
    if right == (1, 1):
        return f"{text(tree)}: {text(part)} is 1 x 1 and stands as a number; {remedy_for_number(part, right)}"
    what = f"{text(tree)}: the {text(left[1])} columns of {text(before)} meet the {text(right[0])} rows of {text(part)}"
    last = before[-1] if isinstance(before, tuple) and before[0] == "matmul" else before
    if left == right:
        return f"{what}; for an elementwise product or square write had(...) or fn.sq(...)"
    if last is before and left[0] == right[0]:
        return f"{what}; write {text(('T', before))}*{text(part)}"
    if left[1] == right[1]:
        return f"{what}; write {text(before)}*{text(('T', part))}"
    return f"{what}; mend the order, a transpose or a declared dimension"


def _transpose(tree: Tree, shapes: Mapping[str, Shape]) -> Shape:
    shape = shape_of(tree[1], shapes)
    if not shape:
        raise ShapeMismatch(f"{text(tree)}: a number has no transpose")
    return (shape[1], shape[0])


def _square(tree: Tree, shapes: Mapping[str, Shape]) -> Shape:
    shape = shape_of(tree[1], shapes)
    if len(shape) != 2 or shape[0] != shape[1]:
        hint = "; for sums of products write dot(a, b)" if tree[0] == "trace" else "; elementwise 1/z is fn.inv"
        raise ShapeMismatch(f"{text(tree)}: {text(tree[1])} is {show_shape(shape)}, a square matrix is needed{hint}")
    return () if tree[0] in ("trace", "det") else shape


def _stack(tree: Tree, shapes: Mapping[str, Shape]) -> Shape:
    parts = [shape_of(p, shapes) for p in tree[1:]]
    for part, shape in zip(tree[1:], parts, strict=True):
        if not shape or shape[1] != parts[0][1]:
            raise ShapeMismatch(
                f"{text(tree)}: {text(part)} is {show_shape(shape)}, {text(tree[1])} is {show_shape(parts[0])}; "
                "stack needs equal numbers of columns"
            )
    return (add_dimensions(tuple(s[0] for s in parts)), parts[0][1])


def add_dimensions(dimensions: tuple[Tree, ...]) -> Tree:
    """Sum of dimensions, like terms collected.

    >>> add_dimensions(("N", 1, "N"))
    ('add', 1, ('mul', 2, 'N'))
    """
    from derive.spec.normal import normalise

    return normalise(("add", *dimensions), {})


def _diag(tree: Tree, shapes: Mapping[str, Shape]) -> Shape:
    shape = shape_of(tree[1], shapes)
    if len(shape) != 2 or shape[1] != 1:
        raise ShapeMismatch(f"{text(tree)}: {text(tree[1])} is {show_shape(shape)}; a diagonal matrix is made of a column")
    return (shape[0], shape[0])


def _grad(tree: Tree, shapes: Mapping[str, Shape]) -> Shape:
    shape = shape_of(tree[1], shapes)
    if shape:
        remedy = remedy_for_number(tree[1], shape)
        raise ShapeMismatch(f"{text(tree)}: {text(tree[1])} is {show_shape(shape)}; only a number has a gradient, {remedy}")
    return shape_of(tree[2], shapes)


def _last(tree: Tree, shapes: Mapping[str, Shape]) -> Shape:
    return shape_of(tree[-1], shapes)


_RULES: dict[str, Any] = {
    "add": _same, "had": _same, "mul": _mul, "pow": _needs_number, "delta": _needs_number, "matmul": _matmul, "T": _transpose,
    "trace": _square, "inv": _square, "det": _square, "stack": _stack, "diag": _diag, "grad": _grad,
    "map": _last, "mean": _last, "stop": _last, "root": _last,
    "eye": lambda tree, shapes: (tree[1], tree[1]),
    "ones": lambda tree, shapes: (tree[1], tree[2]), "zeros": lambda tree, shapes: (tree[1], tree[2]),
}  # fmt: skip


def size_of(dimension: Tree, sizes: Mapping[str, int]) -> int | None:
    """Value of a dimension where the sizes of its names are known, else None.

    >>> size_of(("add", 1, "N"), {"N": 4})
    5
    """
    if isinstance(dimension, str):
        return sizes.get(dimension)
    q = as_fraction(dimension)
    if q is not None:
        return int(q) if q.denominator == 1 else None
    parts = [size_of(p, sizes) for p in dimension[1:]]
    known = [p for p in parts if p is not None]
    if len(known) < len(parts):
        return None
    if dimension[0] == "add":
        return sum(known)
    if dimension[0] == "mul":
        value = 1
        for part in known:
            value *= part
        return value
    return None


__all__ = ["Shape", "add_dimensions", "is_number", "remedy_for_number", "shape_of", "show_shape", "size_of"]
