"""Linear regression in high dimension: generalisation error of gradient descent over time, as an average over a spectrum.

Reference: M. S. Advani, A. M. Saxe, H. Sompolinsky, "High-dimensional dynamics of generalization error in neural networks",
Neural Networks 132 (2020).

============  ======  ===================================================================  ==================
symbol        shape   meaning                                                              name in the paper
============  ======  ===================================================================  ==================
w, wbar       (N, 1)  student, and teacher with entries of variance 1                      w, bar w
X             (N, P)  inputs, entries of variance 1/N                                      X
noise         (P, 1)  label noise of variance sigma^2                                      epsilon
z, zbar, eta          student, teacher and noise in one mode of X, with singular value s   z, bar z, tilde epsilon
l             scalar  eigenvalue s^2 of X X', with the Marchenko-Pastur density            lambda
Eg, Et        scalar  generalisation error; training error for each sample                 E_g, E_t
============  ======  ===================================================================  ==================

Every mode relaxes with the rate l; modes with l = 0 are frozen, and for alpha = P/N < 1 there are (1 - alpha) N of them.
Assumes N, P -> oo at fixed alpha; errors are then equal to their averages.
Fails, slowly, near alpha = 1 for single runs: the smallest eigenvalue fluctuates, and late errors with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy as sp

from derive.claims.entry import Concentrates, Conserved, Entry, MatchesSimulation, Published, Solves
from derive.reductions.ansatz import Manifold
from derive.spec import symbols
from derive.spec.model import Model
from derive.spec.nodes import grad
from derive.spec.rules import Rate
from derive.spec.sugar import norm2
from derive.spec.symbols import dims, matrix, scalars, vector
from derive.spectra.densities import Density, marchenko_pastur
from derive.spectra.mode_averages import mean_over, spectral_average

NAME = "advani_2020_high_dimensional"
REFERENCE = "Advani, Saxe, Sompolinsky, Neural Networks 2020"
N, P = dims("N P")
w, wbar, X, noise, y = vector("w", N), vector("wbar", N), matrix("X", N, P), vector("noise", P), vector("y", P)
e, d, n = vector("e", N), vector("d", P), vector("n", N)
z, zbar, eta, frozen, L, z0 = scalars("z zbar eta frozen L z0")
s, sigma, tau, l = scalars("s sigma tau l", positive=True)
DATA = {X: s * e * d.T, wbar: zbar * e, noise: eta * d}
TAGS = dict.fromkeys((e, d, n), "orth")


def entry(
    alpha: float = 0.5, N: int = 80, sigma: float = 0.5, scale: float = 0.3, time: float = 8.0, seeds: int = 20, seed: int = 0,
) -> Entry:  # fmt: skip
    """``alpha`` = samples per dimension; ``scale`` is the deviation of the initial weights."""
    values = {"alpha": alpha, "sigma": sigma, "scale": scale, "tau": 1.0, "time": time, "seed": seed}
    drawn = draw(N, np.random.default_rng(seed), values)
    return Entry(
        name=NAME, title=f"linear regression, {alpha:g} samples per dimension", reference=REFERENCE, kind="matrix",
        model=model(), values={"N": N, **values, **drawn}, claims=claims(values, seeds), docs=__doc__ or "",
    )  # fmt: skip


def model() -> Model:
    """Full-batch gradient flow on given samples."""
    return Model(
        name=NAME, state=(w,), given=(X, wbar, noise, sigma, tau),
        let={y: X.T * wbar + noise, L: norm2(y - X.T * w) / 2},
        learn=Rate({w: -grad(L, w) / tau}),
        observe={"Eg": norm2(w - wbar) / N + sigma**2, "Et": norm2(y - X.T * w) / P},
    )  # fmt: skip


def draw(size: int, rng: np.random.Generator, values: Any) -> dict[str, Any]:
    """Inputs, teacher, noise and start of one run."""
    P = round(values["alpha"] * size)
    X, wbar = rng.standard_normal((size, P)) / np.sqrt(size), rng.standard_normal((size, 1))
    noise, w = values["sigma"] * rng.standard_normal((P, 1)), values["scale"] * rng.standard_normal((size, 1))
    return {"X": X, "wbar": wbar, "noise": noise, "w": w}


def derived(flow: Any, values: Any) -> dict[str, Any]:
    """Both errors: the closed form of one mode, averaged over start, teacher and noise, then over the spectrum."""
    from derive import closed_form, reduce

    solved = closed_form(reduce(flow, Manifold({w: z * e}, coordinates=(z,), data=DATA, tags=TAGS)))
    mode, drawn = solved.solution["z"], {zbar: 1, eta: sigma**2, solved.initial["z"]: sp.Symbol("scale") ** 2}
    alpha = sp.Rational(str(values["alpha"]))
    rows = marchenko_pastur(alpha, l)
    columns = Density(l, rows.density / alpha, rows.low, rows.high, ((0, sp.Max(0, 1 - 1 / alpha)),))
    errors = {"Eg": ((mode - zbar) ** 2, rows), "Et": ((s * (zbar - mode) + eta) ** 2, columns)}
    noise = {"Eg": values["sigma"] ** 2, "Et": 0.0}
    return {
        name: noise[name] + spectral_average(mean_over(error, drawn).subs(s, sp.sqrt(l)), density).evaluate(values).value
        for name, (error, density) in errors.items()
    }


def claims(values: dict[str, float], seeds: int) -> tuple[Any, ...]:
    """Flow, one mode, what is frozen, and both errors."""
    t, alpha, v0 = symbols.t, sp.Rational(str(values["alpha"])), sp.Rational(str(values["scale"])) ** 2
    low, high = (1 - sp.sqrt(alpha)) ** 2, (1 + sp.sqrt(alpha)) ** 2
    rho = sp.sqrt((high - l) * (l - low)) / (2 * sp.pi * l)
    test = (1 + v0) * sp.exp(-2 * l * t) + sigma**2 / l * (1 - sp.exp(-l * t)) ** 2
    train = (l * (1 + v0) + sigma**2) * sp.exp(-2 * l * t)
    Eg = sp.Integral(rho * test, (l, low, high)) + sp.Max(1 - alpha, 0) * (1 + v0) + sigma**2
    Et = sp.Integral(rho * train, (l, low, high)) / alpha + sp.Max(1 - 1 / alpha, 0) * sigma**2
    decay = sp.exp(-(s**2) * t / tau)
    mode = Manifold({w: z * e}, coordinates=(z,), data=DATA, tags=TAGS)
    both = Manifold({w: z * e + frozen * n}, coordinates=(z, frozen), data=DATA, tags=TAGS, orthogonal=((e, n),))
    return (
        Published("flow", rate={w: X * (X.T * wbar + noise - X.T * w) / tau}),
        Solves("one mode", {z: zbar + (z0 - zbar) * decay + eta / s * (1 - decay)}, initial={z: z0}, ansatz=mode),
        Conserved("components outside of the samples", frozen, on=both),
        Concentrates(
            "errors of a large system", theory={"Eg": Eg, "Et": Et}, draw=lambda size, rng: draw(size, rng, values),
            derived=derived, times=(0.6, 1.2, 1.8, 2.4), step=0.05, sizes=(30, 120, 480), seeds=seeds,
        ),
        MatchesSimulation("gradient descent", observables=("Eg", "Et"), sizes=(32, 64, 128, 256), time=0.25),
    )  # fmt: skip
