r"""Denoising auto-encoders with a skip connection, trained by one-pass stochastic gradient descent.

    x1 = s mu / sqrt N + sigma z,   xt = a x1 + b x0,   f(x) = c x + w g(u . x / sqrt N) / sqrt N,   L = |x1 - f(xt)|^2 / 2,
    w <- w - eta grad(L, w)   (and u likewise, if it is not w),   c <- c - (eta_c / N^2) grad(L, c),

one fresh sign s = +-1 and fresh z, x0 ~ N(0, I) per step, dt = 1/N. The output has as many entries as the input, so |x1 - f|^2
is a sum of N terms: its part of order N moves c alone, its part of order one teaches w. Specs only; what follows from them is
derived. Imported by users and by the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sympy import oo, sqrt

from derive import fn
from derive.spec.laws import Choice, Normal
from derive.spec.model import Model
from derive.spec.nodes import Fn, grad, mean
from derive.spec.rules import Limit, Update
from derive.spec.sugar import dot
from derive.spec.symbols import dims, scalars, vector


def denoising_autoencoder(
    activation: Fn | Callable[[Any], Any] = fn.tanh, *, tied: bool = True, name: str = "denoising_autoencoder"
) -> Model:
    """Denoiser with one hidden unit on two Gaussian clusters with centres +-mu, for N -> oo.

    Parameters
    ----------
    activation : function of `derive.fn` or an `activation(...)`
    tied : bool
        The hidden unit reads along the same w that it writes; otherwise along u, which learns at the same rate.

    Returns
    -------
    Model
        Symbols: w (N,), u (N,) if not tied, skip connection c, centre mu (N,), spread sigma, weights a of the signal and b of
        the noise, rates eta and eta_c; observable ``mse``, the mean of |x1 - f|^2 / (2 N).

    Examples
    --------
    >>> [s.name for s in denoising_autoencoder(tied=False).state]
    ['w', 'u', 'c']
    """
    N = dims("N")
    eta, eta_c, sigma, a, b = scalars("eta eta_c sigma a b", positive=True)
    c, s, h, L = scalars("c s h L")
    w, u, mu, z, x0, x1, xt, r = (vector(n, N) for n in ("w", "u", "mu", "z", "x0", "x1", "xt", "r"))
    weights = (w,) if tied else (w, u)
    return Model(
        name=name,
        state=(*weights, c),
        given=(mu, eta, eta_c, sigma, a, b),
        data=(Choice(s, (1, -1)), Normal(z), Normal(x0)),
        let={
            x1: s * mu / sqrt(N) + sigma * z,
            xt: a * x1 + b * x0,
            h: dot(weights[-1], xt) / sqrt(N),
            r: x1 - c * xt - w * activation(h) / sqrt(N),
            L: dot(r, r) / 2,
        },
        learn=Update({**{v: v - eta * grad(L, v) for v in weights}, c: c - eta_c / N**2 * grad(L, c)}, dt=1 / N),
        limit=Limit({N: oo}),
        observe={"mse": mean(dot(r, r)) / (2 * N)},
    )
