"""Models and reductions of them: what `reduce` must prove, and one more term for each that must make it refuse.

A row holds a model whose rates are written out, an ansatz (or a chain of them), and ``extra``: a term that is added to the rate
of a state. Without it the ansatz is true, with it it is false. Imported by `test_ansatz_table`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sympy as sp

from derive import Balanced, Gram, LambdaBalanced, Manifold, Model, Modes, Rate, dims, gradient_flow, matrix, scalars, vector
from derive.system import Flow

n, h, o, o2, r, k = dims("n h o o2 r k")
kappa, mu, eta, g1, g2, lam = scalars("kappa mu eta g1 g2 lam", positive=True)
w, v = scalars("w v")

# square layers: a transpose fits, and is no aligned matrix
X1, X2, X3, X4 = (matrix(f"X{l}", n, n) for l in (1, 2, 3, 4))
S, C, G, F = (matrix(name, n, n) for name in ("S", "C", "G", "F"))
# layers of different widths
W1, W2, W3, Z = matrix("W1", h, n), matrix("W2", o, h), matrix("W3", o2, h), matrix("Z", h, n)
Syx, Syx2, K1, K2, KH, KO = (
    matrix(*a) for a in (("Syx", o, n), ("Syx2", o2, n), ("K1", h, n), ("K2", o, h), ("KH", h, h), ("KO", o, n))
)
U, U2, V, R = matrix("U", o, r), matrix("U2", o2, r), matrix("V", n, r), matrix("R", h, r)
s, s2, d, A, B, E = (matrix(name, r, r) for name in ("s", "s2", "d", "A", "B", "E"))
O = matrix("O", n, n)  # all eigenvectors
D, D2, M1, M2 = (matrix(name, n, n) for name in ("D", "D2", "M1", "M2"))
I = sp.Identity(n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A model by its rates, an ansatz, and what makes it false."""

    name: str
    rates: Mapping[Any, Any]
    ansatz: Any
    extra: Mapping[Any, Any]

    def flow(self, *, spoiled: bool) -> Flow:
        rates = {W: e + self.extra[W] if spoiled and W in self.extra else e for W, e in self.rates.items()}
        seen = {x for e in rates.values() for x in e.free_symbols} - set(rates)
        given = sorted((x for x in seen if not x.is_integer or isinstance(x, sp.MatrixSymbol)), key=str)
        return gradient_flow(Model(name=self.name, state=tuple(rates), given=tuple(given), learn=Rate(rates)))


def _product(weights: tuple[Any, ...]) -> Any:
    return sp.MatMul(*reversed(weights)) if len(weights) > 1 else weights[0]


def chain(*weights: Any, target: Any = S, inputs: Any = C, decay: Any = 0, rates: Any = None) -> dict[Any, Any]:
    """Gradient flow of |target - W_L ... W_1|^2 / 2 for inputs of a covariance (None: white), written out."""
    whole = _product(weights)
    error = target - (whole if inputs is None else whole * inputs)
    out = {}
    for l, W in enumerate(weights):
        e = error
        if weights[l + 1 :]:
            e = _product(weights[l + 1 :]).T * e
        if weights[:l]:
            e = e * _product(weights[:l]).T
        e = e - decay * W if decay != 0 else e
        out[W] = e if rates is None else rates[l] * e
    return out


def orth(*letters: Any, diag: tuple[Any, ...] = (), square: tuple[Any, ...] = ()) -> dict[Any, str]:
    """Tags of isometries, diagonal and orthogonal matrices."""
    return {**dict.fromkeys(letters, "orth"), **dict.fromkeys(diag, "diag"), **dict.fromkeys(square, "orth square")}


def _modes() -> list[Row]:
    deep = (Modes(), Balanced())
    loss = chain(X1, X2)
    cubic = {X1: loss[X1] - X1 * X1.T * X1, X2: loss[X2]}
    two = {W1: W2.T * (Syx - W2 * W1), W2: (Syx - W2 * W1) * W1.T}
    square = W2 * W1
    return [
        Row(name="modes_of_one_layer", rates=chain(X1), ansatz=Modes(), extra={X1: X1.T}),
        Row(name="modes_of_two_layers", rates=chain(X1, X2), ansatz=Modes(), extra={X2: kappa * X2.T}),
        Row(name="modes_of_three_layers", rates=chain(X1, X2, X3), ansatz=Modes("X1", "X2", "X3"), extra={X2: X1 * X1}),
        Row(name="modes_of_four_layers", rates=chain(X1, X2, X3, X4), ansatz=Modes(), extra={X4: X1.T * X2}),
        Row(name="modes_with_decay", rates=chain(X1, X2, decay=kappa), ansatz=Modes(), extra={X1: I}),
        Row(name="modes_with_rates", rates=chain(X1, X2, rates=(mu, eta)), ansatz=Modes(), extra={X1: X1.T * X1.T}),
        Row(name="modes_without_covariance", rates=chain(X1, X2, inputs=None), ansatz=Modes(), extra={X1: X1.T}),
        Row(name="modes_with_cubic_decay", rates=cubic, ansatz=Modes(), extra={X2: X2 * X2 * X2}),
        Row(name="white_modes", rates=chain(X1, X2, X3), ansatz=Modes(white=True), extra={X3: X3.T}),
        Row(name="balanced_two", rates=chain(W1, W2, target=Syx), ansatz=deep, extra={W1: -kappa * W1}),
        Row(name="balanced_three", rates=chain(X1, X2, X3), ansatz=deep, extra={X2: -kappa * X2}),
        Row(name="balanced_decay", rates=chain(W1, W2, target=Syx, decay=mu), ansatz=deep, extra={W2: -kappa * W2}),
        Row(name="balanced_four", rates=chain(X1, X2, X3, X4), ansatz=deep, extra={X3: -kappa * X3 * X3.T * X3}),
        Row(name="balanced_white", rates=two, ansatz=deep, extra={W1: W2.T * Syx}),
        Row(name="one_mode_half", rates=two, ansatz=(Modes(), LambdaBalanced(0.5)), extra={W1: -kappa * W1}),
        Row(
            name="one_mode_symbol", rates=chain(W1, W2, target=Syx), ansatz=(Modes(), LambdaBalanced(lam)),
            extra={W2: Syx * W1.T},
        ),
        Row(name="riccati_zero", rates=two, ansatz=LambdaBalanced(0), extra={W1: -kappa * W1}),
        Row(name="riccati_half", rates=two, ansatz=LambdaBalanced(0.5), extra={W2: mu * Syx * W1.T}),
        Row(
            name="riccati_symbol", rates=two, ansatz=LambdaBalanced(lam),
            extra={W1: -W2.T * square * square.T * square, W2: -square * square.T * square * W1.T},
        ),
    ]  # fmt: skip


def _manifolds() -> list[Row]:
    T1, N1, N2, Q = matrix("T1", h, n), matrix("N1", h, n), matrix("N2", o, h), matrix("Q", n, h)
    b, u, my, kv, e, mx = *(vector(x, o) for x in ("b", "u", "my", "kv")), vector("e", n), vector("mx", n)
    low, YS, YN, Y = matrix("Y", o, r), matrix("YS", o, r), matrix("YN", o, n), matrix("Y", n, n)
    aligned = {W1: R * A * V.T, W2: U * B * R.T}
    frames = orth(U, V, R, diag=(A, B, s))
    heads = {
        W1: W2.T * (Syx - W2 * W1) + W3.T * (Syx2 - W3 * W1), W2: (Syx - W2 * W1) * W1.T, W3: (Syx2 - W3 * W1) * W1.T,
    }  # fmt: skip
    gated = {
        W1: g1 * W2.T * (Syx - g1 * W2 * W1) + g2 * W2.T * (KO - g2 * W2 * W1),
        W2: g1 * (Syx - g1 * W2 * W1) * W1.T + g2 * (KO - g2 * W2 * W1) * W1.T,
    }
    residual = S - (I + X2) * (I + X1)
    skip = {X1: (I + X2).T * residual, X2: residual * (I + X1).T}
    eigen = orth(square=(O,), diag=(D, D2, M1, M2))
    branches = {
        W1: W2.T * (Syx - W2 * W1 - W2 * Z),
        Z: W2.T * (Syx - W2 * W1 - W2 * Z),
        W2: (Syx - W2 * W1 - W2 * Z) * (W1 + Z).T,
    }
    return [
        Row(
            name="span_of_two_teachers", rates={W1: T1 + K1 - 2 * W1}, ansatz=Manifold({W1: w * T1 + v * K1}, (w, v)),
            extra={W1: Z},
        ),
        Row(
            name="one_teacher", rates={W1: T1 - sp.Trace(W1.T * W1) * W1}, ansatz=Manifold({W1: w * T1}, (w,)),
            extra={W1: kappa * KH * W1},
        ),
        Row(
            name="low_rank_regression", rates={YN: KO - YN * C},
            ansatz=Manifold({YN: low * V.T}, (low,), data={KO: YS * V.T, C: V * d * V.T}, tags=orth(V, diag=(d,))),
            extra={YN: YN * G},
        ),
        Row(
            name="autoencoder", rates={W1: 2 * W1 * C - W1 * W1.T * W1 * C - W1 * C * W1.T * W1},
            ansatz=Manifold({W1: R * A * V.T}, (A,), data={C: V * d * V.T}, tags=orth(R, V, diag=(A, d))),
            extra={W1: W1 * G},
        ),
        Row(
            name="oja", rates={W1: W1 * C - W1 * C * W1.T * W1},
            ansatz=Manifold({W1: R * A * V.T}, (A,), data={C: V * d * V.T}, tags=orth(R, V, diag=(A, d))),
            extra={W1: KH * W1},
        ),
        Row(name="equal_branches", rates=branches, ansatz=Manifold({W1: N1, Z: N1, W2: N2}, (N1, N2)), extra={Z: K1}),
        Row(
            name="residual_network", rates=skip,
            ansatz=Manifold({X1: O * M1 * O.T, X2: O * M2 * O.T}, (M1, M2), data={S: O * D * O.T}, tags=eigen),
            extra={X1: G},
        ),
        Row(
            name="two_contexts", rates=gated,
            ansatz=Manifold(aligned, (A, B), data={Syx: U * s * V.T, KO: U * s2 * V.T}, tags={**frames, s2: "diag"}),
            extra={W2: K2},
        ),
        Row(
            name="two_heads", rates=heads,
            ansatz=Manifold(
                {**aligned, W3: U2 * E * R.T}, (A, B, E), data={Syx: U * s * V.T, Syx2: U2 * s2 * V.T},
                tags={**frames, **orth(U2, diag=(E, s2))},
            ),
            extra={W3: matrix("K3", o2, h)},
        ),
        Row(
            name="matrix_riccati", rates={X1: F * X1 + X1 * F - X1 * X1},
            ansatz=Manifold({X1: O * M1 * O.T}, (M1,), data={F: O * D * O.T}, tags=eigen), extra={X1: G},
        ),
        Row(
            name="bias_and_weights", rates={KO: Syx - KO * C - b * mx.T, b: my - KO * mx - b},
            ansatz=Manifold(
                {KO: w * u * e.T, b: v * u}, (w, v),
                data={Syx: kappa * u * e.T, C: mu * e * e.T, mx: g1 * e, my: g2 * u}, tags=orth(u, e),
            ),
            extra={b: kv},
        ),
        Row(
            name="lyapunov", rates={X1: F * X1 + X1 * F.T + I},
            ansatz=Manifold({X1: O * M1 * O.T}, (M1,), data={F: O * D * O.T}, tags=eigen), extra={X1: -G},
        ),
        Row(
            name="symmetric_matrix", rates={X1: F * X1 + X1 * F.T - X1 * X1.T},
            ansatz=Manifold({X1: Y}, (Y,), tags={Y: "sym"}), extra={X1: G * X1},
        ),
        Row(
            name="diagonal_matrix", rates={X1: F * X1 - X1 * X1 * X1},
            ansatz=Manifold({X1: M1}, (M1,), data={F: D}, tags={M1: "diag", D: "diag"}), extra={X1: G * X1},
        ),
        Row(
            name="gram_of_a_riccati_flow", rates={Q: C * Q - Q * Q.T * Q}, ansatz=Gram(), extra={Q: Q * matrix("B1", h, h)},
        ),
    ]  # fmt: skip


ROWS = (*_modes(), *_manifolds())
