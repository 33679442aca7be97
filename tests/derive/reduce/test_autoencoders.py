"""Linear auto-encoders: the target is the input, so both sides of the chain share the eigenvectors of the covariance.

Roads: modes derived by `reduce`; hand-written gradient flow of the weights, integrated by SciPy.
"""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

import codegen
from derive import (
    Balanced,
    Manifold,
    Model,
    Modes,
    Normal,
    Rate,
    closed_form,
    dims,
    grad,
    gradient_flow,
    matrix,
    mean,
    norm2,
    reduce,
    scalars,
    vector,
)
from derive.system import Reduction

d, h, k = dims("d h k")
sigma, lam = scalars("sigma lam")
Sigma = matrix("Sigma", d, d)


def denoiser(depth: int) -> Model:
    """Reconstruct x from x + sigma e, with weight decay."""
    x, e = vector("x", d), vector("e", d)
    sizes = (d, h, d) if depth == 2 else (d, h, k, d)
    weights = [matrix(f"W{l}", sizes[l], sizes[l - 1]) for l in range(1, depth + 1)]
    shown = x + sigma * e
    for w in weights:
        shown = w * shown
    loss = mean(norm2(x - shown)) / 2
    return Model(
        name="denoiser",
        state=tuple(weights),
        given=(Sigma, sigma, lam),
        data=(Normal(x, cov=Sigma), Normal(e)),
        learn=Rate({w: -grad(loss, w) - lam * w for w in weights}),
    )


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("rows", [3, 6])
def test_modes_of_a_denoiser_commute_with_its_weights(depth: int, rows: int) -> None:
    rng = np.random.default_rng(2)
    root = rng.normal(size=(5, 5))
    values = {"Sigma": root @ root.T / 5, "sigma": 0.4, "lam": 0.05, "h": rows, "k": 4, "d": 5}
    reduced = reduce(gradient_flow(denoiser(depth)), Modes())
    assert "s" not in {b.name for b in reduced.system.parameters}, "strengths of the target are those of the input"
    known = reduced.parameters_from(values)
    r = len(known["d"])
    start = {b.name: rng.uniform(0.2, 0.9, size=r) for b in reduced.system.state}
    weights = reduced.lift_state(values, start)
    shapes = {n: w.shape for n, w in weights.items()}

    def unpack(y: np.ndarray) -> dict[str, np.ndarray]:
        cuts = np.cumsum([0, *(int(np.prod(s)) for s in shapes.values())])
        return {n: y[a:b].reshape(s) for (n, s), a, b in zip(shapes.items(), cuts[:-1], cuts[1:], strict=True)}

    def by_hand(_: float, y: np.ndarray) -> np.ndarray:
        ws = list(unpack(y).values())
        whole = np.linalg.multi_dot(ws[::-1])
        error = values["Sigma"] - whole @ (values["Sigma"] + values["sigma"] ** 2 * np.eye(5))
        out = []
        for l, w in enumerate(ws):
            above, below = np.eye(w.shape[0]), np.eye(5)
            for u in ws[l + 1 :]:
                above = u @ above
            for u in ws[:l]:
                below = u @ below
            out.append((above.T @ error @ below.T - values["lam"] * w).ravel())
        return np.concatenate(out)

    tight = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-13}
    y = solve_ivp(by_hand, (0, 4), np.concatenate([w.ravel() for w in weights.values()]), **tight).y[:, -1]
    kernel = codegen.compile(reduced.system)
    layout = kernel.layout(start)
    rhs = kernel.flat_rhs(layout, kernel.arguments({b.name: known[b.name] for b in kernel.parameters}))
    z = solve_ivp(rhs, (0, 4), layout.pack(start), **tight).y[:, -1]
    for name, w in reduced.lift_state(values, layout.unpack(z)).items():
        assert np.max(np.abs(w - unpack(y)[name])) <= 1e-8  # rtol 1e-11 over four units of time


def test_the_balanced_mode_of_a_denoiser_is_solved() -> None:
    """Roads: closed form; the logistic equation  u' = 2 u (d - (d + sigma^2) u - lam)  typed by hand."""
    made = reduce(gradient_flow(denoiser(2)), (Modes(), Balanced()))
    assert isinstance(made, Reduction)
    form = closed_form(made)
    t, u0 = form.time, form.initial["u"]
    names = {s.name: s for s in form.solution["u"].free_symbols}
    strength, noise, decay = (names[n] for n in ("d", "sigma", "lam"))
    rest = (strength - decay) / (strength + noise**2)
    typed = rest / (1 + (rest / u0 - 1) * sp.exp(-2 * (strength - decay) * t))
    at = {strength: 2, noise: sp.Rational(1, 3), decay: sp.Rational(1, 7), u0: sp.Rational(1, 100), t: sp.Rational(5, 4)}
    assert abs(sp.N((form.solution["u"] - typed).xreplace(at), 30)) < 1e-25  # thirty digits are asked for


def test_tied_weights_are_solved_through_diagonal_coordinates() -> None:
    """Roads: closed form of the diagonal coordinate; hand-written  W' = W (2 C - C W'W - W'W C), integrated by SciPy."""
    W, x = matrix("W", h, d), vector("x", d)
    r, q = dims("r q")
    R, A, D, V = matrix("R", h, r), matrix("A", r, r), matrix("D", r, r), matrix("V", d, r)
    rest, D_rest = matrix("V_rest", d, q), matrix("D_rest", q, q)
    loss = mean(norm2(x - W.T * W * x)) / 2
    model = Model(name="tied", state=W, given=Sigma, data=Normal(x, cov=Sigma), learn=Rate({W: -grad(loss, W)}))
    tags = {V: "orth", R: "orth", rest: "orth", A: "diag", D: "diag", D_rest: "sym"}
    ansatz = Manifold({W: R * A * V.T}, (A,), {Sigma: V * D * V.T + rest * D_rest * rest.T}, tags, orthogonal=((V, rest),))
    form = closed_form(reduce(gradient_flow(model), ansatz))

    rng = np.random.default_rng(3)
    frame = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    variances, start = np.array([2.0, 1.1, 0.6, 0.4, 0.3]), np.array([0.1, 0.3])
    C, out = frame @ np.diag(variances) @ frame.T, np.linalg.qr(rng.normal(size=(3, 2)))[0]

    def by_hand(_: float, y: np.ndarray) -> np.ndarray:
        w = y.reshape(3, 5)
        return (w @ (2 * C - C @ w.T @ w - w.T @ w @ C)).ravel()

    begin = out @ np.diag(start) @ frame[:, :2].T
    y = solve_ivp(by_hand, (0, 1.5), begin.ravel(), method="DOP853", rtol=1e-11, atol=1e-13).y[:, -1].reshape(3, 5)
    assert form.evaluate is not None
    a = form.evaluate([0.0, 1.5], {"A": start}, {"D": variances[:2]})["A"][-1]
    assert np.max(np.abs(out @ np.diag(a) @ frame[:, :2].T - y)) <= 1e-8  # rtol 1e-11 over 1.5 units of time
    assert np.max(np.abs(a - start)) > 0.5, "it moves"
