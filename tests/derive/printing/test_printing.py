"""Printed expressions mean what they print: read back by other code, they give the same expression or the same number."""

from __future__ import annotations

import ast
import math
import random
from fractions import Fraction

import numpy as np
import pytest

import derive
from derive.errors import InvalidSpec
from derive.indices.indexed import Index, arr, const, evaluate, fun, kron, power, sum_over
from derive.matrices.convert import to_poly
from derive.matrices.poly import Poly, atom, constant, param
from derive.matrices.words import Atom
from derive.printing.node import array_name, node_latex, node_text
from derive.printing.objects import FORMATS, describe, expression_latex, time_symbol
from derive.printing.poly import poly_tree

LETTERS = [atom(Atom(name, "n", "n")) for name in ("A", "B", "C")] + [atom(Atom("S", "n", "n", ("sym",)))]


def random_poly(rng: random.Random) -> Poly:
    total = LETTERS[0].scale(0)
    for _ in range(rng.randint(1, 5)):
        word = constant(Fraction(rng.randint(-4, 4) or 1, rng.randint(1, 3)))
        for _ in range(rng.randint(0, 2)):
            word = word * param(rng.choice(["tau", "eta"]), rng.choice([-1, 1, 2]))
        if rng.random() < 0.3:
            word = word * (rng.choice(LETTERS) * rng.choice(LETTERS)).trace()
        for _ in range(rng.randint(1, 4)):
            letter = rng.choice(LETTERS)
            word = word * (letter.T if rng.random() < 0.4 else letter)
        total = total + word
    return total


def test_a_factored_tree_multiplies_out_to_the_same_words() -> None:
    """Road 1: words; road 2: the printed tree, converted by the reader of specs. 500 seeded random sums."""
    rng = random.Random(7)
    shapes = dict.fromkeys("ABCS", ("n", "n")) | {"tau": (), "eta": ()}
    for _ in range(500):
        p = random_poly(rng)
        assert to_poly(poly_tree(p), shapes, tags={"S": ("sym",)}) == p


def test_factors_are_pulled_out_on_both_sides() -> None:
    a, b, c, _ = LETTERS
    p = (a.T * b * c.T - a.T * a * c * c.T) * param("tau", -1)
    assert poly_tree(p) == (
        "mul", ("pow", "tau", -1), ("matmul", ("T", "A"), ("add", "B", ("mul", -1, ("matmul", "A", "C"))), ("T", "C")),
    )  # fmt: skip


K, M = Index("k", "K"), Index("m", "M")
NODES = [
    arr("v", K) * sum_over(M, arr("A", M) * arr("R", K, M)) / 2,
    power(1 + arr("Q", K, K), Fraction(-1, 2)) * fun("asin", arr("v", K)) - const(Fraction(2, 3)),
    -(arr("v", K) ** 3) / (arr("eta") * arr("tau") ** 2),
    kron(K, Index("l", "K")) * arr("v", K) - power(arr("eta"), Fraction(4, 3)),
]


@pytest.mark.parametrize("node", NODES)
def test_node_text_has_the_value_of_the_node(node: object) -> None:
    """Road 1: `indexed.evaluate`; road 2: the printed text, read by Python with one value for every label."""
    arrays = {"v": np.array([0.3]), "A": np.array([0.7]), "R": np.array([[0.2]]), "Q": np.array([[0.4]])}
    values = {**arrays, "eta": 1.3, "tau": 0.9, "K": 1, "M": 1}
    labels = dict.fromkeys(node.free, 0)  # type: ignore[attr-defined]
    functions = {"pi": math.pi, "asin": math.asin}
    expected = evaluate(node, values, labels, functions)  # type: ignore[arg-type]
    text = node_text(node).replace("v[k]", "0.3").replace("R[k,i]", "0.2").replace("A[i]", "0.7").replace("Q[k,k]", "0.4")  # type: ignore[arg-type]
    text = text.replace("delta[k,l]", "1").replace("sum_i", "").replace("eta", "1.3").replace("tau", "0.9")
    assert numeric(ast.parse(text, mode="eval").body) == pytest.approx(expected, rel=1e-14)  # rounding of ten operations


def numeric(node: ast.AST) -> float:
    """Value of an arithmetic syntax tree; anything else is an error."""
    if isinstance(node, ast.Constant):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp):
        return -numeric(node.operand)
    if isinstance(node, ast.Call):
        return {"asin": math.asin, "sqrt": math.sqrt}[node.func.id](numeric(node.args[0]))  # type: ignore[attr-defined]
    assert isinstance(node, ast.BinOp), ast.dump(node)
    a, b = numeric(node.left), numeric(node.right)
    return {ast.Add: a + b, ast.Sub: a - b, ast.Mult: a * b, ast.Div: a / b if b else 0.0, ast.Pow: a**b if a > 0 else 0.0}[
        type(node.op)
    ]


def test_latex_of_names_and_labels() -> None:
    assert array_name("a1", ("i",), True) == "a_{1,i}"
    assert array_name("R", ("k", "m"), True) == "R_{km}"
    assert array_name("Wstar", ("k",), True) == "W^{*}_{k}"
    assert node_latex(power(arr("x"), Fraction(-1, 2))) == r"\frac{1}{\sqrt{x}}"
    assert expression_latex(LETTERS[0].T) == r"A^{\top}"


def test_all_formats_of_a_flow_and_a_reduction() -> None:
    flow = derive.gradient_flow(derive.linear_network(depth=2))
    reduction = derive.reduce(flow, derive.Modes(white=True))
    for obj in (flow, reduction, *derive.conserved(flow), derive.linear_network(depth=2)):
        for format in FORMATS:
            assert describe(obj, format)
    assert str(flow) == describe(flow, "text")
    assert flow._repr_latex_() == describe(flow, "latex")
    assert time_symbol(flow.replace(time="alpha = steps/N")) == "alpha"
    assert time_symbol(flow) == "t"


def test_an_unknown_format_names_the_known_ones() -> None:
    flow = derive.gradient_flow(derive.linear_network(depth=1))
    with pytest.raises(InvalidSpec, match="use one of text, latex, markdown, json"):
        describe(flow, "pdf")
