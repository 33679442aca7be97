"""Weights with given overlaps in blocks, and starts of which some overlaps are known.

Road one: the vectors that are placed or drawn. Road two: the overlaps asked for, and the eigenvalues of their joint matrix.
"""

import numpy as np
import pytest

from derive.catalog import load
from derive.errors import InvalidSpec
from derive.fields.overlaps import make_overlaps
from derive.fields.rule import field_rule
from numerics.claims.blocks import exact_sizes, place_blocks, place_vectors, project_blocks
from numerics.claims.overlap_states import draw_overlaps

TWO = make_overlaps({"W": "K"}, {"V": "M"}, taken=())
ROUNDING = 1e-12  # square roots of matrices of a few rows


def test_vectors_in_blocks_have_the_overlaps_over_the_whole_size():
    """Lengths 15 and 35 of N = 50; the overlaps are over 50 in both blocks, and there are none between them."""
    made = make_overlaps({"a": "K", "b": "K"}, {"c": "M"}, taken=(), blocks={"a": "r", "b": "i", "c": "r"})
    want = {
        "Q_a": np.array([[0.9, 0.2], [0.2, 0.5]]),
        "Q_b": np.array([[0.4, 0.0], [0.0, 0.7]]),
        "R_a_c": np.array([[0.3], [0.1]]),
        "T_c": np.array([[0.3]]),
    }
    lengths = {"r": 15, "i": 35}
    placed = place_blocks(made, want, 50, lengths, np.random.default_rng(0))
    assert {f: v.shape for f, v in placed.items()} == {"a": (2, 15), "c": (1, 15), "b": (2, 35)}
    assert np.allclose(placed["a"] @ placed["c"].T / 50, want["R_a_c"], atol=ROUNDING)
    for name, array in project_blocks(made, placed, want, 50, lengths).items():
        assert np.allclose(array, want[name], atol=ROUNDING)


def test_overlaps_of_no_vectors_are_refused_and_not_mended():
    bad = {"Q": np.eye(1), "R": 2 * np.ones((1, 1)), "T": np.eye(1)}  # |R|^2 = 4 > Q T = 1
    with pytest.raises(ValueError, match=r"eigenvalue -1, .*leave some of them out to have them drawn"):
        place_vectors(TWO, bad, 50, np.random.default_rng(0))


def test_lengths_must_be_whole_numbers():
    rule = field_rule(load("saglietti_2022_curriculum").model)
    assert exact_sizes(rule, {"rho": 0.35}, 100) == {"Nr": 35, "Ni": 65}
    for rho in (1 / 3, 1.0):
        with pytest.raises(InvalidSpec, match="whole, positive numbers of inputs; choose rho or the sizes"):
            exact_sizes(rule, {"rho": rho}, 100)


@pytest.mark.parametrize(
    "known",
    [
        {"Q": np.eye(3)},
        {"Q": 0.1 * np.eye(3), "T": 9 * np.eye(2)},
        {"R": 5 * np.ones((3, 2))},
        {"R": 0.5 * np.ones((3, 2)), "T": np.eye(2)},
        {"R": 0.5 * np.ones((3, 2)), "Q": 2 * np.eye(3)},
    ],
    ids=lambda known: "+".join(known),
)
def test_a_start_keeps_what_is_known_and_is_always_one_of_vectors(known):
    for seed in range(50):
        made = draw_overlaps(TWO, {"K": 3, "M": 2}, known, np.random.default_rng(seed), keep=True)
        joint = np.block([[made["Q"], made["R"]], [made["R"].T, made["T"]]])
        assert np.linalg.eigvalsh(joint)[0] > -ROUNDING * np.abs(joint).max()
        for name, array in known.items():
            assert np.allclose(made[name], array, atol=ROUNDING * 100)  # a pseudo-inverse of condition 100 at most


def test_a_start_that_no_vectors_have_is_refused():
    known = {"Q": np.eye(1), "R": 2 * np.ones((1, 1)), "T": np.eye(1)}
    with pytest.raises(ValueError, match=r"no vectors have the known T, R"):
        draw_overlaps(TWO, {"K": 1, "M": 1}, known, np.random.default_rng(0), keep=True)
