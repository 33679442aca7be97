"""Data for models with several inputs: they stand side by side in X; the road is the split by hand."""

from __future__ import annotations

import numpy as np
import pytest

from derive.catalog import load
from derive.errors import InvalidSpec
from numerics.data import check
from numerics.run_matrix import bound


def test_inputs_are_the_columns_of_x() -> None:
    entry = load("zhang_2024_unimodal_bias", nA=3, nB=2, o=2)
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((20, 5)), rng.standard_normal((20, 2))
    model, _ = bound(entry, check(X, Y), False, 0)
    assert np.allclose(model.values["SAB"], X[:, :3].T @ X[:, 3:] / 20, rtol=1e-13)  # rounding of an average
    assert np.allclose(model.values["SyB"], Y.T @ X[:, 3:] / 20, rtol=1e-13)
    with pytest.raises(InvalidSpec, match="X has 4 columns, but xA, xB have 5 together; set their sizes"):
        bound(entry, check(X[:, :4], Y), False, 0)


def test_without_data_there_are_synthetic_ones() -> None:
    model, notes = bound(load("zhang_2024_unimodal_bias"), None, False, 0)
    assert model.values["SA"].shape == (3, 3)
    assert "5 inputs" in notes[0]
