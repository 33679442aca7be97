"""The normal form does not change values, and one expression typed in two ways is one tree.

Roads: an exact evaluator of trees over rational matrices, written here, before and after the normal form.
"""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive import dims, dot, fn, had, matrix, norm2, scalars, vector
from derive.spec import normal
from derive.spec.lower import Collector
from derive.spec.raising import to_sympy
from derive.spec.tree import children, walk

SHAPES = {"A": (2, 3), "B": (3, 2), "C": (2, 2), "s": (), "r": ()}


def value(tree: Any, env: dict[str, Any]) -> Any:
    """Exact value: Fraction, or object array of Fractions."""
    if isinstance(tree, str):
        return env[tree]
    if isinstance(tree, int):
        return Fraction(tree)
    head = tree[0]
    if head == "frac":
        return Fraction(tree[1], tree[2])
    if head in ("zeros", "ones"):
        return np.full((tree[1], tree[2]), Fraction(head == "ones"), dtype=object)
    if head == "eye":
        return np.array([[Fraction(i == j) for j in range(tree[1])] for i in range(tree[1])], dtype=object)
    parts = [value(p, env) for p in children(tree)]
    if head == "T":
        return parts[0].T
    if head == "trace":
        return sum(np.diag(parts[0]), Fraction(0))
    if head == "pow":
        return parts[0] ** int(parts[1])
    if head == "map":
        return parts[0] * parts[0]  # only sq occurs below
    out = parts[0]
    for part in parts[1:]:
        out = out + part if head == "add" else out @ part if head == "matmul" else out * part
    return out


def random_tree(rng: random.Random, shape: tuple[int, ...], depth: int) -> Any:
    """A random tree of this shape, of every operation that the evaluator knows."""
    leaves = [n for n, s in SHAPES.items() if s == shape]
    if depth == 0 or rng.random() < 0.15:
        if shape == ():
            return rng.choice([*leaves, rng.randint(-3, 3), ("frac", rng.choice([-1, 1, 3]), 2)])
        extra = [("ones", *shape), ("zeros", *shape), *([("eye", 2)] if shape == (2, 2) else [])]
        return rng.choice([*leaves, *leaves, *extra])

    def sub(s: tuple[int, ...]) -> Any:
        return random_tree(rng, s, depth - 1)

    if shape == ():
        kind = rng.choice(["add", "mul", "pow", "trace", "map"])
        if kind == "pow":
            return ("pow", sub(()), rng.randint(0, 3))
        if kind == "trace":
            return ("trace", sub((2, 2)))
        return ("map", "sq", sub(())) if kind == "map" else (kind, sub(()), sub(()), sub(()))
    kind = rng.choice(["add", "mul", "matmul", "T", "had", "map"])
    if kind == "add" or kind == "had":
        return (kind, sub(shape), sub(shape), sub(shape))
    if kind == "mul":
        return ("mul", sub(()), sub(()), sub(shape))
    if kind == "T":
        return ("T", sub((shape[1], shape[0])))
    if kind == "map":
        return ("map", "sq", sub(shape))
    middle = rng.choice([2, 3])
    return ("matmul", sub((shape[0], middle)), sub((middle, shape[1])))


def environment(rng: random.Random) -> dict[str, Any]:
    def entry() -> Fraction:
        return Fraction(rng.randint(-5, 5), rng.randint(1, 3))

    return {
        n: entry() if s == () else np.array([[entry() for _ in range(s[1])] for _ in range(s[0])], dtype=object)
        for n, s in SHAPES.items()
    }


def same_value(seed: int) -> bool:
    rng = random.Random(seed)
    tree = random_tree(rng, rng.choice([(), (2, 3), (2, 2)]), 3)
    env = environment(rng)
    made = normal.normalise(tree, SHAPES)
    return bool(np.all(value(tree, env) == value(made, env))) and normal.normalise(made, SHAPES) == made


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 10**9))
def test_the_normal_form_keeps_the_value_and_is_reached_in_one_pass(seed: int) -> None:
    assert same_value(seed)  # exact: rationals


def test_a_transpose_that_forgets_to_reverse_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(tree: Any, shapes: Any) -> Any:
        a = tree[1]
        if isinstance(a, tuple) and a[0] == "add":
            return a
        return right(tree, shapes)

    right = normal._RULES["T"]
    monkeypatch.setitem(normal._RULES, "T", wrong)

    def caught(seed: int) -> bool:
        try:
            return not same_value(seed)
        except (ValueError, TypeError, normal_errors()):
            return True

    assert any(caught(seed) for seed in range(150))


def normal_errors() -> type[Exception]:
    from derive.errors import ShapeMismatch

    return ShapeMismatch


N, K = dims("N K")
W, A, x, v = matrix("W", K, N), matrix("A", K, N), vector("x", N), vector("v", K)
a, b = scalars("a b")


def lower(e: Any) -> Any:
    return Collector().lower(e, "test")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (had(A, W), had(W, A)),
        (W * x * a * b, b * (a * W) * x),
        (0.5 * norm2(v), norm2(v) / 2),
        ((W.T * W) ** 2, W.T * W * W.T * W),
        ((A * x).T, x.T * A.T),
        (W.T.T * x, W * x),
        (W + A + W, 2 * W + A),
        (fn.sq(a), a**2),
        (fn.exp(a), sp.exp(a)),
        (dot(v, W * x), sp.Trace(v.T * W * x)),
        (W * sp.Identity(N) * x, W * x),
        (fn.add(W, A, W), A + 2 * W),
        (-(a + b) * W, (-a - b) * W),
    ],
)
def test_two_ways_of_typing_are_one_tree(left: Any, right: Any) -> None:
    assert lower(left) == lower(right)


@pytest.mark.parametrize(("left", "right"), [(W * x, A * x), (a**2, a**3), (dot(v, v), 2 * dot(v, v)), (W.T * W, W * W.T)])
def test_different_expressions_are_different_trees(left: Any, right: Any) -> None:
    assert lower(left) != lower(right)


@pytest.mark.parametrize(
    "e",
    [
        W * x / sp.sqrt(N),
        fn.erf2(W * x),
        dot(v, fn.tanh(W * x)) ** 2,
        had(A, W) - 2 * W,
        norm2(W * x - v) / 3,
        sp.sqrt(a**2 + 1),
    ],
)
def test_raising_inverts_lowering(e: Any) -> None:
    collector = Collector()
    tree = collector.lower(e, "test")
    assert collector.lower(to_sympy(tree, collector.symbols), "again") == tree


def test_the_table_of_derivatives_is_that_of_sympy() -> None:
    """Roads: the trees of fn.DERIVATIVES, raised to SymPy, against SymPy's derivative of the body; 30 digits at one point."""
    z = sp.Symbol("z", real=True)
    for name, tree in fn.DERIVATIVES.items():
        if "dirac" in str(tree):
            continue
        mine = to_sympy(tree, {"z": z})
        mine = mine.replace(
            lambda e: hasattr(e, "args") and type(e).__name__ == "Apply", lambda e: e.args[0].body.xreplace({z: e.args[1]})
        )
        point = {z: sp.Rational(7, 10)}
        assert abs(sp.N(mine.subs(point) - fn.derivative(name, z).subs(point), 30)) < sp.Float("1e-25"), name  # 30 digits asked


def test_bodies_of_activations_are_read_exactly() -> None:
    """Roads: the body tree evaluated in floats against SymPy's own evaluation, away from the kinks."""
    import math

    from derive import activation

    bodies = [
        lambda z: z / (1 + sp.Abs(z)),
        lambda z: sp.Piecewise((z, z > 0), (z / 10, True)),
        lambda z: sp.Max(z, -1) - sp.Min(z, 2),
        lambda z: sp.erf(z) + sp.sin(z),
        lambda z: sp.Piecewise((0, z < -1), (z, z <= 1), (1, True)),
    ]
    table = {
        "abs": abs, "relu": lambda u: max(u, 0.0), "step": lambda u: float(u > 0), "sin": math.sin,
        "erf2": lambda u: math.erf(u / math.sqrt(2)),
    }  # fmt: skip

    def at(tree: Any, z: float) -> float:
        if isinstance(tree, str):
            return z
        if isinstance(tree, int):
            return float(tree)
        if tree[0] == "frac":
            return tree[1] / tree[2]
        parts = [at(p, z) for p in children(tree)]
        if tree[0] == "map":
            return table[tree[1]](parts[0])
        return sum(parts) if tree[0] == "add" else parts[0] ** parts[1] if tree[0] == "pow" else math.prod(parts)

    for body in bodies:
        f = activation("g", body)
        variable, tree = Collector().body(f)
        assert {n for n in walk(tree) if isinstance(n, str)} == {variable}
        for z in (-2.3, -0.4, 0.7, 1.9, 3.1):
            assert at(tree, z) == pytest.approx(float(f.body.subs(f.variable, z)), abs=1e-13)  # rounding of ten operations
