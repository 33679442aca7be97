"""Spectral averages: moments known in closed form, a table of errors, eigenvalues of drawn matrices, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from derive import Density, marchenko_pastur, mean_over, semicircle, spectral_average
from derive.errors import CheckFailed, InvalidSpec, UnsupportedNode

l, t = sp.symbols("l t", positive=True)
alpha, v0, s2 = sp.symbols("alpha v0 s2", positive=True)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 1.0, 2.0, 5.0])
def test_moments_of_a_wishart_matrix(ratio: float):
    """tr X X' / N has mean ratio, tr (X X')^2 / N has ratio + ratio^2, and the mass is 1; 1e-13 is rounding of a sum."""
    density = marchenko_pastur(alpha, l)
    for power, exact in ((0, 1.0), (1, ratio), (2, ratio + ratio**2), (3, ratio + 3 * ratio**2 + ratio**3)):
        found = spectral_average(l**power, density).evaluate({"alpha": ratio})
        assert found.value == pytest.approx(exact, rel=1e-13)
        assert np.max(found.error) <= 1e-12 * exact


def test_negative_moment():
    """E[1/l] = 1/(alpha - 1) for alpha > 1: by the resolvent at zero."""
    found = spectral_average(1 / l, marchenko_pastur(alpha, l)).evaluate({"alpha": [1.5, 3.0]})
    assert found.value == pytest.approx([2.0, 0.5], rel=1e-12)


def test_other_laws_and_diverging_edges():
    """Semicircle (Catalan numbers 1, 2, 5) and arcsine law (E[x^4] = 3/8), whose density diverges at both edges."""
    x = sp.Symbol("x", real=True)
    for power, exact in ((2, 1), (4, 2), (6, 5), (3, 0)):
        assert spectral_average(x**power, semicircle(2, x)).evaluate({}).value == pytest.approx(exact, abs=1e-13)
    arcsine = Density(x, 1 / (sp.pi * sp.sqrt(1 - x**2)), -1, 1)
    assert spectral_average(x**4, arcsine).evaluate({}).value == pytest.approx(3 / 8, rel=1e-13)


def test_table_of_generalisation_errors():
    """alpha = 1, noise 1/4: nine values to the digits of the table."""
    f = (1 + v0) * sp.exp(-2 * l * t) + s2 / l * (1 - sp.exp(-l * t)) ** 2
    found = spectral_average(f, marchenko_pastur(1, l)).evaluate({"v0": 0, "s2": 0.25, "t": [0, 0.25, 0.5, 1, 2, 4, 8, 16, 32]})
    table = [1.25, 0.934, 0.802, 0.70, 0.653, 0.665, 0.741, 0.891, 1.134]
    assert np.abs(found.value + 0.25 - table).max() < 6e-4  # three digits were given


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_eigenvalues_of_one_large_matrix(ratio: float):
    """A linear statistic of N eigenvalues fluctuates like 1/N: 600 of them agree to 1 %."""
    X = np.random.default_rng(3).standard_normal((600, round(600 * ratio))) / np.sqrt(600)
    eigenvalues = np.linalg.eigvalsh(X @ X.T)
    found = spectral_average(sp.exp(-l * t), marchenko_pastur(alpha, l)).evaluate({"alpha": ratio, "t": [0.5, 2.0]})
    assert found.value == pytest.approx([np.exp(-eigenvalues * time).mean() for time in (0.5, 2.0)], rel=1e-2)


def test_long_times_need_more_nodes_and_say_how_well():
    """e^{-2lt} at t = 1e6, alpha = 1: the weight below l is 2 sqrt(l)/pi, so the average is 1/sqrt(2 pi t)."""
    found = spectral_average(sp.exp(-2 * l * t), marchenko_pastur(1, l)).evaluate({"t": 1e6})
    assert found.value == pytest.approx(1 / np.sqrt(2 * np.pi * 1e6), rel=1e-6)  # the next order is 1/(16 t)
    assert found.error < 1e-9 * found.value


def test_an_atom_takes_the_limit():
    average = spectral_average((1 - sp.exp(-l * t)) ** 2 / l + v0, marchenko_pastur(sp.Rational(1, 2), l))
    assert average.at_atoms == (v0,)


def test_mean_over_normal_numbers():
    a, b, c = sp.symbols("a b c")
    assert sp.expand(mean_over((a + c * b) ** 4, {a: 2, b: 3}) - (12 + 36 * c**2 + 27 * c**4)) == 0  # 3 v^2, 6 v w, 3 w^2
    with pytest.raises(UnsupportedNode, match="polynomial"):
        mean_over(sp.exp(a), {a: 1})


def test_refusals():
    with pytest.raises(CheckFailed, match="diverges at l = 0"):
        spectral_average(1 / l, marchenko_pastur(sp.Rational(1, 2), l)).evaluate({})
    with pytest.raises(CheckFailed, match="split the interval"):
        spectral_average(sp.Heaviside(l - sp.Rational(13, 10)), marchenko_pastur(2, l)).evaluate({})
    with pytest.raises(CheckFailed, match="split the interval"):
        spectral_average(1 / (l - 1.5), marchenko_pastur(2, l)).evaluate({})
    with pytest.raises(InvalidSpec, match=r"needs a value of t.*values\['t'\]"):
        spectral_average(l * t, marchenko_pastur(2, l)).evaluate({})
    with pytest.raises(InvalidSpec, match="lower edge"):
        spectral_average(l, Density(l, 1, alpha, 1)).evaluate({"alpha": 2.0})
    with pytest.raises(InvalidSpec, match="finite"):
        Density(l, sp.exp(-l), 0, sp.oo)
    with pytest.raises(InvalidSpec, match="positive"):
        marchenko_pastur(-1)
    with pytest.raises(InvalidSpec, match="expression"):
        spectral_average("l", marchenko_pastur(2, l))
