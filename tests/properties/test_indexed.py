"""Index-level expressions: the normal form keeps the value (against plain loops), and equal expressions are equal nodes."""

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from derive.errors import InvalidSpec, UnsupportedNode
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import (
    ZERO,
    Index,
    Node,
    add,
    arr,
    arrays,
    const,
    evaluate,
    fun,
    kron,
    mul,
    power,
    replace,
    substitute,
    sum_over,
    text,
)
from derive.indices.text import from_sympy, to_sympy

I, J, K_, L = (Index(n, "K") for n in "ijkl")
LABELS = (I, J, K_)
RNG = np.random.default_rng(0)
VALUES = {
    "K": 3,
    "M": 2,
    "a": 0.7,
    "u": RNG.uniform(0.5, 1.5, 3),
    "S": (lambda s: s + s.T)(RNG.uniform(0.5, 1.0, (3, 3))),
    "B": RNG.uniform(0.5, 1.5, (3, 3)),
}


def leaves():
    label = st.sampled_from(LABELS)
    return st.one_of(
        st.integers(-3, 3).map(lambda n: ("const", n)), st.just(("a",)), label.map(lambda i: ("u", i)),
        st.tuples(label, label).map(lambda p: ("S", *p)), st.tuples(label, label).map(lambda p: ("B", *p)),
        st.tuples(label, label).map(lambda p: ("kron", *p)),
    )  # fmt: skip


def plans():
    """Expressions as plain tuples: what is to be computed, before any normal form."""
    return st.recursive(
        leaves(),
        lambda inner: st.one_of(
            st.tuples(st.just("add"), inner, inner), st.tuples(st.just("mul"), inner, inner), st.tuples(st.just("sq"), inner),
            st.tuples(st.just("sum"), st.sampled_from(LABELS), inner), st.tuples(st.just("tanh"), inner),
        ),
        max_leaves=8,
    )  # fmt: skip


def build(plan) -> Node:
    head = plan[0]
    if head == "const":
        return const(plan[1])
    if head == "a":
        return arr("a")
    if head in ("u", "B"):
        return arr(head, *plan[1:])
    if head == "S":
        return arr("S", *plan[1:], symmetric=True)
    if head == "kron":
        return kron(*plan[1:])
    if head == "sum":
        return sum_over(plan[1], build(plan[2]))
    parts = [build(p) for p in plan[1:]]
    return {"add": add, "mul": mul, "sq": lambda x: power(x, 2), "tanh": lambda x: fun("tanh", x)}[head](*parts)


def plain(plan, at):
    head = plan[0]
    if head == "const":
        return plan[1]
    if head == "a":
        return VALUES["a"]
    if head in ("u", "S", "B"):
        return VALUES[head][tuple(at[i] for i in plan[1:])]
    if head == "kron":
        return float(at[plan[1]] == at[plan[2]])
    if head == "sum":
        return sum(plain(plan[2], {**at, plan[1]: n}) for n in range(3))
    parts = [plain(p, at) for p in plan[1:]]
    return {
        "add": lambda: parts[0] + parts[1],
        "mul": lambda: parts[0] * parts[1],
        "sq": lambda: parts[0] ** 2,
        "tanh": lambda: np.tanh(parts[0]),
    }[head]()


AT = {I: 0, J: 2, K_: 1}


def close_to(x, y):
    return abs(x - y) <= 1e-9 * (1 + abs(x) + abs(y))  # at most 3^8 terms of rounding 1e-16


@settings(max_examples=150, deadline=None)
@given(plans())
def test_normal_form_keeps_the_value(plan):
    assert close_to(evaluate(build(plan), VALUES, AT, NUMPY), plain(plan, AT))


@settings(max_examples=80, deadline=None)
@given(plans(), st.permutations(range(3)))
def test_substitution_of_labels_keeps_the_value(plan, order):
    change = dict(zip(LABELS, (LABELS[n] for n in order), strict=True))
    moved = substitute(build(plan), change)
    assert close_to(evaluate(moved, VALUES, AT, NUMPY), plain(plan, {i: AT[change[i]] for i in LABELS}))


@settings(max_examples=80, deadline=None)
@given(plans())
def test_replacing_an_array_by_a_sum_captures_no_label(plan):
    """u_i -> Sum_j B_ij u_j inside any number of sums."""
    made = replace(build(plan), lambda n: sum_over(L, mul(arr("B", *n.args[1], L), arr("u", L))) if n.args[0] == "u" else n)
    other = {**VALUES, "u": VALUES["B"] @ VALUES["u"]}
    assert close_to(evaluate(made, VALUES, AT, NUMPY), evaluate(build(plan), other, AT, NUMPY))


@settings(max_examples=40, deadline=None)
@given(plans())
def test_sympy_and_node_agree(plan):
    node = build(plan)
    made = to_sympy(node, {"K": sp.Symbol("K", integer=True, positive=True)}).doit()
    at = {sp.Symbol(i.name, integer=True): n + 1 for i, n in AT.items()}
    made = made.subs(at).subs(sp.Symbol("K", integer=True, positive=True), 3).doit()
    table = {e: VALUES[e.base.label.name][tuple(int(n) - 1 for n in e.indices)] for e in made.atoms(sp.Indexed)}
    value = float(made.xreplace({k: sp.Float(v) for k, v in table.items()}).subs(sp.Symbol("a", real=True), 0.7))
    assert close_to(value, plain(plan, AT))


def test_equal_expressions_are_equal_nodes():
    one = sum_over(I, mul(arr("u", I), arr("B", I, K_)))
    two = sum_over(J, mul(arr("B", J, K_), arr("u", J)))
    assert one == two
    assert hash(one) == hash(two)
    assert add(one, mul(const(-1), two)) == ZERO
    assert arr("S", J, I, symmetric=True) == arr("S", I, J, symmetric=True)
    assert arr("B", J, I) != arr("B", I, J)
    assert (
        substitute(arr("S", I, K_, symmetric=True), {I: L})
        == arr("S", L, K_, symmetric=True)
        == arr("S", K_, L, symmetric=True)
    )


def test_kronecker_deltas_contract_sums_and_families_differ():
    m = Index("m", "M")
    assert kron(I, m) == ZERO
    assert sum_over(I, mul(kron(I, K_), arr("u", I))) == arr("u", K_)
    assert power(kron(I, J), 2) == kron(I, J) * kron(I, J) == kron(I, J)
    assert sum_over(I, const(1)) == arr("K")


def test_exact_constants():
    assert power(const(8), -1) * power(const(2), 3) == const(1)
    assert text(power(const(2), -1) * fun("exp", const(0))) == "(1/2)*exp(0)"
    half = Fraction(1, 2)
    assert power(const(12), half) * power(const(3), half) == const(6)
    assert text(power(const(12), half)) == "2*3^(1/2)"
    assert arrays(arr("a") * arr("u", I)) == ("a", "u")


def test_text_is_never_read():
    with pytest.raises((UnsupportedNode, InvalidSpec), match="never evaluated"):
        from_sympy("__import__('os').getcwd()")


def test_indexed_expressions_come_back_from_sympy():
    K = sp.Symbol("K", integer=True, positive=True)
    i = sp.Symbol("i", integer=True)
    Q = sp.IndexedBase("Q", shape=(K, K))
    node = from_sympy(2 * Q[i, i] ** 2 + sp.tanh(sp.Symbol("a", real=True)))
    want = 2 * VALUES["S"][1, 1] ** 2 + np.tanh(0.7)
    assert close_to(evaluate(node, {**VALUES, "Q": VALUES["S"]}, {Index("i", "K"): 1}, NUMPY), want)
    with pytest.raises(UnsupportedNode, match="index set of i is not known"):
        from_sympy(sp.IndexedBase("P")[i])
