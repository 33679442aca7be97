"""Specs that the tests of the spec language share: a deep linear network and a soft committee machine."""

from __future__ import annotations

import pytest
from sympy import oo, sqrt

from derive import Limit, Model, Moments, Normal, Rate, Update, dims, dot, fn, grad, matrix, mean, norm2, scalars, vector


def make_two_layer() -> Model:
    N, H, O = dims("N H O")
    W1, W2, x, y = matrix("W1", H, N), matrix("W2", O, H), vector("x", N), vector("y", O)
    Sx, Syx, Syy = matrix("Sx", N, N), matrix("Syx", O, N), matrix("Syy", O, O)
    tau = scalars("tau", positive=True)
    L = scalars("L")
    return Model(
        name="two_layer", state=(W1, W2), given=(tau,), data=Moments((x, y), {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy}),
        let={L: norm2(y - W2 * W1 * x) / 2}, learn=Rate({W: -grad(L, W) / tau for W in (W1, W2)}), observe={"loss": mean(L)},
    )  # fmt: skip


def make_committee() -> Model:
    N, K, M = dims("N K M")
    eta, eta_v, sigma = scalars("eta eta_v sigma", positive=True)
    y, f, zeta, L = scalars("y f zeta L")
    W, Wstar, v, A, x = matrix("W", K, N), matrix("Wstar", M, N), vector("v", K), vector("A", M), vector("x", N)
    return Model(
        name="goldt_2019", state=(W, v), given=(Wstar, A, eta, eta_v, sigma), data=(Normal(x), Normal(zeta)),
        let={
            y: dot(A, fn.erf2(Wstar * x / sqrt(N))) + sigma * zeta,
            f: dot(v, fn.erf2(W * x / sqrt(N))),
            L: (f - y) ** 2 / 2,
        },
        learn=Update({W: W - eta * grad(L, W), v: v - eta_v / N * grad(L, v)}, dt=1 / N),
        limit=Limit({N: oo}), observe={"eg": mean((f - y + sigma * zeta) ** 2 / 2)},
    )  # fmt: skip


@pytest.fixture
def two_layer() -> Model:
    return make_two_layer()


@pytest.fixture
def committee() -> Model:
    return make_committee()


if __name__ == "__main__":
    from json import dumps

    from derive import plan

    print(dumps([[m.digest, plan(m)] for m in (make_two_layer(), make_committee())]))
