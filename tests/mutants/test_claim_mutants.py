"""Printed equations with one error are rejected by ``verify``; the whole table is `benchmarks/mutants.py`.

Roads: the checks of claims in numerics against errors made here; which mutants are no errors is decided by `equal_claims`,
which evaluates both expressions itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from equal_claims import equivalent, read
from judge_claims import judged
from mutate_claims import mutations, wrong_claims

import derive
from derive import Conserved, Published, catalog
from derive.system import Block, Flow
from numerics import verify
from numerics.claims.states import scattered

MATRIX = (
    "domine_2025_lambda_balanced", "furlanello_2016_long_term_memory", "jarvis_2024_neural_modules",
    "kunin_2024_get_rich_quick", "mcclelland_2016_crosscutting", "nye_2018_fft_parity", "rubruck_2024_optimal_constant",
    "sandbrink_2024_flexible_gating", "saxe_2014_deep_linear", "saxe_2019_semantic_development", "saxe_2022_neural_race",
    "schwarz_2021_powerpropagation", "singh_2024_induction_toy", "zhang_2024_unimodal_bias", "zhang_2025_linear_attention",
)  # fmt: skip
A, B = (sp.MatrixSymbol(x, 3, 3) for x in "AB")
x, y = sp.symbols("x y", real=True)


@pytest.mark.parametrize("name", MATRIX)
def test_four_errors_of_every_matrix_entry(name):
    """A seeded sample of 60 in all; those that are no errors are left out, the others must all be rejected."""
    rows = list(judged(catalog.load(name), 4, seed=1))
    assert len(rows) == 4
    assert sum(equal for _, equal, _ in rows) <= 2
    assert [f"{m.label}: {m.what}" for m, equal, rejected in rows if not equal and not rejected] == []


def test_an_error_of_an_online_entry():
    entry = catalog.load("goldt_2019_teacher_student", K=2, M=1)
    small = replace(entry, claims=tuple(c for c in entry.claims if "dR" in c.label))
    rows = list(judged(small, 4, seed=0))
    assert all(equal or rejected for _, equal, rejected in rows)
    assert sum(rejected for _, _, rejected in rows) >= 2


def test_there_are_hundreds_of_them():
    """Kinds and numbers for one entry: by hand there are 2 rates with 2 whole errors each."""
    found = Counter(m.kind for m in wrong_claims(catalog.load("saxe_2014_deep_linear").claims))
    assert found["whole"] >= 4
    assert set(found) >= {"whole", "sign", "factor", "dropped", "transposed", "letter"}
    assert sum(found.values()) > 100


def test_mutations_of_a_small_expression_are_all_of_them():
    """A B + 2 A: by hand 2 whole, 3 for each of two terms, 2 transposes, 1 order, and A and B exchanged in 3 places."""
    found = Counter(kind for kind, _, _ in mutations(A * B + 2 * A))
    assert found["whole"] == 2
    assert (found["sign"], found["factor"], found["dropped"]) == (2, 2, 2)
    assert found["transposed"] == 3  # A and B in the product, A in the second term
    assert found["order"] == 1
    assert found["letter"] == 3
    wide = sp.MatrixSymbol("W", 2, 3)
    assert {kind for kind, _, _ in mutations(wide * A)} == {"whole", "transposed"}  # W A swapped has no shape


def test_labels_and_functions_are_mutated():
    Q, k, l = sp.IndexedBase("Q"), *sp.symbols("k l", integer=True)
    assert ("labels", Q[l, k] * x) in [(kind, e) for kind, _, e in mutations(Q[k, l] * x)]
    (minus, twice) = (e for _, _, e in mutations(lambda values: values["a"]))
    assert (minus({"a": 3}), twice({"a": 3})) == (-3, 6)


def equality(right, wrong, *, tags=()):
    """Is ``wrong`` equal to ``right`` for a system of one state W with rate A W, A carrying these tags?"""
    given = Block(name="A", shape=("n", "n"), tags=tags)
    flow = Flow(name="f", state=(Block(name="W", shape=("n", "n")),), rhs={}, parameters=(given,))
    claims = (Published("p", rate={W: right}),)
    mutant = next(m for m in wrong_claims(claims) if m.kind == "whole")
    return equivalent(replace(mutant, claim=Published("p", rate={W: wrong})), flow, {}, claims)


n = sp.Symbol("n", integer=True, positive=True)
W, S = sp.MatrixSymbol("W", n, n), sp.MatrixSymbol("A", n, n)


def test_a_transposed_symmetric_array_is_no_error():
    assert not equality(S * W, S.T * W)
    assert equality(S * W, S.T * W, tags=("sym",))
    assert equality(S * W * S, S.T * W * S, tags=("diag",))
    assert not equality(S * W, W * S, tags=("sym",))


def test_a_mutated_invariant_may_be_an_invariant():
    """On a circle a' = b, b' = -a every multiple of a^2 + b^2 is conserved, one square alone is not."""
    a, b = sp.symbols("a b", real=True)
    flow = Flow(name="f", state=(Block(name="a"), Block(name="b")), rhs={}, parameters=())
    rates = Published("rates", rate={a: b, b: -a})
    right = Conserved("radius", a**2 + b**2)
    mutants = {m.what: m for m in wrong_claims((right,))}
    doubled = replace(next(iter(mutants.values())), claim=Conserved("radius", 3 * a**2 + 3 * b**2))
    assert equivalent(doubled, flow, {}, (rates, right))  # another multiple is as conserved
    assert not any(equivalent(m, flow, {}, (rates, right)) for m in mutants.values())
    assert not equivalent(doubled, flow, {}, (right,))  # without printed rates there is no argument


def test_the_reader_of_equal_claims_agrees_with_that_of_the_checks():
    """Two readers of SymPy expressions, at one random point each."""
    from numerics.claims.expressions import value

    rng = np.random.default_rng(0)
    v = {"A": rng.normal(size=(3, 3)), "B": rng.normal(size=(3, 3)), "x": 0.3, "y": 1.7}
    for e in (A * B.T - 2 * A, sp.Trace(A * B) * A.I, sp.sqrt(y) * sp.tanh(x) + sp.exp(-x * y), sp.HadamardProduct(A, B)):
        np.testing.assert_allclose(read(e, v), value(e, v), rtol=1e-13)  # rounding


# What the mutants found -------------------------------------------------------------------------------------------------------


def test_equal_time_constants_of_an_entry_do_not_hide_an_exchange():
    """At kA = kB = tau = 1 the rates with exchanged letters are equal; claims are judged near these values too."""
    entry = catalog.load("furlanello_2016_long_term_memory")
    (claim,) = (c for c in entry.claims if isinstance(c, Published))
    kA, kB = (s for s in sorted(claim.rate[W1_of(claim)].free_symbols, key=str) if str(s) in ("kA", "kB"))
    wrong = replace(claim, rate={W1_of(claim): claim.rate[W1_of(claim)].xreplace({kA: kB})})
    assert verify(replace(entry, claims=(claim,))).passed
    assert not verify(replace(entry, claims=(wrong,))).passed


def W1_of(claim):
    return next(W for W in claim.rate if str(W) == "W1")


def test_numbers_are_moved_and_sizes_and_facts_stay():
    flow = derive.gradient_flow(derive.linear_network(depth=2))
    known = {"tau": 1.0, "N0": 4, "other": 2.0}
    moved = scattered(flow, known, np.random.default_rng(0))
    assert moved["tau"] != 1.0
    assert (moved["N0"], moved["other"]) == (4, 2.0)
    assert scattered(flow, {"tau": 0.0}, np.random.default_rng(0))["tau"] > 0
    assert scattered(flow, {"tau": 2}, np.random.default_rng(0)) == {"tau": 2}  # a whole number may be a count


def test_a_label_out_of_range_is_a_failed_check_with_a_reason():
    entry = catalog.load("goldt_2019_teacher_student", K=2, M=1)
    claim = next(c for c in entry.claims if "dR" in c.label)
    (letter,) = claim.rate
    T = sp.IndexedBase("R")
    wrong = replace(claim, rate={letter: T[letter.indices[1], letter.indices[0] + 5]})
    (row,) = verify(replace(entry, claims=(wrong,))).checks
    assert not row.passed
    assert "mend its labels" in row.detail
