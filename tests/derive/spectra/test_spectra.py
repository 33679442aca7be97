"""Exact spectra: symbolic eigenvalues against dense eigenvalue problems, and against printed tables."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp

from derive.errors import CheckFailed, InvalidSpec
from derive.spectra import eigenspaces
from derive.spectra import spectral as spectra
from derive.spectra.spectral import mode_classes, spectrum
from derive.spectra.structures import Bits, Circulant, Kron, KronSum, Plus, RankOne, Tree, diffusion_tree

a, b, c, w = sp.symbols("a b c w", positive=True)
n, m = sp.symbols("n m", integer=True, positive=True)

CASES = {
    "tree of symbolic depth-wise branching": (Tree(branching=(n, m, 2), values=(a, b, c, 1)), {"n": 3, "m": 2}),
    "bits with two groups and a constant": (Bits(groups=((n, a), (m, b)), identity=c, constant=w), {"n": 2, "m": 3}),
    "circulant of even length": (Circulant(row=(a, b, c, b)), {}),
    "circulant of odd length": (Circulant(row=(a, b, c, c, b)), {}),
    "Kronecker product": (Kron(Tree(branching=(n,), values=(a, 1)), Bits(groups=((m, b),), identity=c)), {"n": 3, "m": 2}),
    "Kronecker sum": (KronSum(Tree(branching=(n,), values=(a, 1)), Circulant(row=(c, b, b))), {"n": 3}),
    "rank-one update of a tree": (RankOne(base=Tree(branching=(n, m), values=(a, b, 1)), weight=w), {"n": 2, "m": 3}),
    "sum on one frame": (Plus(Tree(branching=(n,), values=(a, 1)), Tree(branching=(n,), values=(b, c))), {"n": 4}),
}
ENTRIES = {"a": 0.31, "b": 0.47, "c": 0.83, "w": 0.29}


@pytest.mark.parametrize("name", list(CASES))
def test_eigenvalues_are_those_of_the_matrix(name: str) -> None:
    """Roads: the rule of the structure; LAPACK on the matrix written out entry by entry."""
    structure, sizes = CASES[name]
    at = {**ENTRIES, **sizes}
    listed = []
    for s in spectrum(structure):
        listed += [eigenspaces.evaluated(s.value, at)] * round(eigenspaces.evaluated(s.multiplicity, at))
    dense = np.linalg.eigvalsh(eigenspaces.array_of(structure, at))
    assert np.abs(np.sort(listed) - dense).max() < 1e-13 * np.abs(dense).max() * len(dense)  # rounding of LAPACK


def test_the_matrix_of_a_tree_is_the_one_of_common_ancestors() -> None:
    """Roads: blocks of ones; the definition, leaf by leaf."""
    tree, at = Tree(branching=(2, 3, 2), values=(a, b, c, 1)), ENTRIES
    leaves = [(i, j, k) for i in range(2) for j in range(3) for k in range(2)]
    depth = [[next((d for d in range(3) if x[d] != y[d]), 3) for y in leaves] for x in leaves]
    values = [at["a"], at["b"], at["c"], 1.0]
    wanted = np.array([[values[d] for d in row] for row in depth])
    assert np.abs(eigenspaces.array_of(tree, at) - wanted).max() < 1e-15  # sums of four terms of order one


def test_the_semantic_tree_has_the_printed_strengths() -> None:
    """Roads: spectrum with four levels and flips of 0.15; the four numbers computed independently from the data matrix."""
    found = spectrum(diffusion_tree(4, sp.Rational(3, 20)))
    strengths = [float(sp.sqrt(s.value)) for s in found]
    assert np.abs(np.array(strengths) - [1.5623, 1.2246, 1.0049, 0.7141]).max() < 5e-5  # four printed decimals
    assert [int(s.multiplicity) for s in found] == [1, 1, 2, 4]


def test_sampled_features_approach_the_tree() -> None:
    """Roads: symbolic spectrum; singular values of 40 000 features that diffuse down the tree."""
    from derive.library.data_sets import sampled_tree_features

    sampled = np.linalg.svd(sampled_tree_features(4, 0.15, 40_000, seed=1), compute_uv=False)
    exact = [
        float(sp.sqrt(s.value)) for s in spectrum(diffusion_tree(4, sp.Rational(3, 20))) for _ in range(int(s.multiplicity))
    ]
    assert np.abs(sampled - exact).max() < 0.03  # fluctuation of order 1/sqrt(40000) = 0.005 times the number of modes


def test_bits_keep_symbolic_numbers_of_items() -> None:
    found = spectrum(Bits(groups=((n, 1),), identity=a))
    assert [(s.value, s.multiplicity) for s in found] == [(a + 2**n, n), (a, 2**n - n)]


def test_mode_classes_are_the_singular_values_of_the_data() -> None:
    """Roads: joint spectrum of commuting Gram families with symbolic 2^n; SVD of the correlation of real items."""
    from derive.library.data_sets import compositional_items

    k, l, r = sp.symbols("k l r", positive=True)
    found = mode_classes(
        Bits(groups=((m, 1), (n - m, 1)), identity=k * r**2), Bits(groups=((m, 1), (n - m, 0)), identity=l * r**2)
    )
    assert [x.multiplicity for x in found] == [m, n - m, 2**n - n]
    X, Y = compositional_items(4, 2, (2, 3), 0.7)
    at = {"n": 4, "m": 2, "k": 2, "l": 3, "r": 0.7}
    listed = [eigenspaces.evaluated(x.s, at) for x in found for _ in range(round(eigenspaces.evaluated(x.multiplicity, at)))]
    measured = np.linalg.svd(Y.T @ X / 16, compute_uv=False)[:16]
    assert np.abs(np.sort(listed)[::-1] - measured).max() < 1e-13  # rounding of an SVD of entries of order one
    projector = found[0].projector(at)
    covariance = X @ X.T / 16
    assert np.abs(covariance @ projector - eigenspaces.evaluated(found[0].d, at) * projector).max() < 1e-13  # same


def test_a_constant_input_changes_one_mode() -> None:
    """Roads: rank-one update with a shared eigenvector; the rule s -> s sqrt(1 + P), d -> (1 + P) d, written by hand."""
    codes, tree = Tree(branching=(2, 2), values=(0, 0, 1)), Tree(branching=(2, 2), values=(a, b, 1))
    plain, biased = mode_classes(codes, tree), mode_classes(RankOne(base=codes, weight=1), tree)
    assert sp.expand(biased[0].s ** 2 - 5 * plain[0].s ** 2) == 0
    assert biased[0].d == 5 * plain[0].d
    assert [(x.s, x.d) for x in biased[1:]] == [(x.s, x.d) for x in plain[1:]]


@pytest.mark.parametrize(
    ("build", "remedy"),
    [
        (lambda: spectrum(np.eye(2)), "use Tree, Bits"),  # type: ignore[arg-type]
        (lambda: spectrum(Tree(branching=(2,), values=(0, 1)), Bits(groups=((1, 1),))), "same branching"),
        (lambda: Tree(branching=(2, 2), values=(0, 1)), "one value for each depth"),
        (lambda: Circulant(row=(1, 2, 3)), "equal"),
        (lambda: Bits(groups=((n, "1"),)), "SymPy symbols"),
        (lambda: spectrum(Bits(groups=((20, 1),))), "symbols in place of numbers"),
    ],
)
def test_refusals_name_the_remedy(build, remedy: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidSpec, match=remedy):
        build()


@pytest.mark.parametrize("what", ["value", "multiplicity"])
def test_a_wrong_rule_does_not_leave(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Mutants: the eigenvalue of the last space off by one in a hundred; one multiplicity off by one."""

    def mutated(matrices: tuple[object, ...]) -> tuple[tuple[eigenspaces.Eigenspace, ...], ...]:
        (spaces,) = eigenspaces.same_frame(matrices)
        last = spaces[-1]
        change = (
            {"values": (last.values[0] * sp.Rational(101, 100),)}
            if what == "value"
            else {"multiplicity": last.multiplicity + 1}
        )
        return ((*spaces[:-1], replace(last, **change)),)  # type: ignore[arg-type]

    monkeypatch.setattr(spectra, "same_frame", mutated)
    with pytest.raises(CheckFailed):
        spectrum(Tree(branching=(n, 2), values=(a, b, 1)))
