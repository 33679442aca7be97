"""Deep linear networks as models: the same spec at any depth.

Imported by users through `derive.linear_network`, and by the catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from derive.errors import InvalidSpec
from derive.spec.laws import Moments
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Rate
from derive.spec.sugar import norm2
from derive.spec.symbols import dims, matrix, scalars, vector


def linear_network(depth: int = 2, *, sizes: Sequence[Any] | None = None) -> Model:
    """A linear network of any depth, trained by gradient flow on the mean squared error of any data.

    .. math:: \\hat y = W_L \\cdots W_1 x, \\quad L = |y - \\hat y|^2 / 2,

    .. math:: \\tau \\dot W_l = - E[\\partial L / \\partial W_l]

    ========  ===============  ==========================================
    symbol    shape            meaning
    ========  ===============  ==========================================
    W1 .. WL  (Nl, N(l-1))     weights; layer l maps N(l-1) to Nl units
    x, y      (N0, 1), (NL,1)  input and target; their law is left open
    Sx, Syx   (N0, N0), ...    E[x x'], E[y x'], and Syy = E[y y']
    tau       number           time constant: the unit of time
    ========  ===============  ==========================================

    Parameters
    ----------
    depth : int
        Number of weight matrices.
    sizes : sequence, optional
        Layer sizes from input to output, ``depth + 1`` integers or dimensions; by default the dimensions N0, N1, ..., NL.

    Raises
    ------
    InvalidSpec
        If the depth is not a positive integer, or the sizes are not one more than the depth.

    Examples
    --------
    >>> linear_network(depth=3).lowered.state
    ('W1', 'W2', 'W3')
    """
    if not isinstance(depth, int) or isinstance(depth, bool) or depth < 1:
        raise InvalidSpec(f"linear_network: depth={depth!r} is no number of layers; give an integer >= 1")
    if sizes is None:
        sizes = dims(" ".join(f"N{l}" for l in range(depth + 1)))
    if len(sizes) != depth + 1:
        raise InvalidSpec(f"linear_network: {len(sizes)} sizes for depth {depth}; give {depth + 1}, from input to output")
    weights = tuple(matrix(f"W{l}", sizes[l], sizes[l - 1]) for l in range(1, depth + 1))
    x, y, yhat, L = vector("x", sizes[0]), vector("y", sizes[-1]), vector("yhat", sizes[-1]), scalars("L")
    Sx, Syx, Syy = matrix("Sx", sizes[0], sizes[0]), matrix("Syx", sizes[-1], sizes[0]), matrix("Syy", sizes[-1], sizes[-1])
    tau = scalars("tau", positive=True)
    output = x
    for W in weights:
        output = W * output
    return Model(
        name=f"linear_network_{depth}",
        state=weights,
        given=(tau,),
        data=Moments((x, y), {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy}),
        let={yhat: output, L: norm2(y - yhat) / 2},
        learn=Rate({W: -grad(L, W) / tau for W in weights}),
        observe={"loss": mean(L)},
    )


def biased_network() -> Model:
    """Two layers with a bias at the output, trained by gradient flow on the mean squared error of any data.

    .. math:: \\hat y = W_2 W_1 x + b, \\quad L = |y - \\hat y|^2 / 2

    ========  ===============  =====================================================
    symbol    shape            meaning
    ========  ===============  =====================================================
    W1, W2    (N1, N0), ...    weights
    b         (N2, 1)          bias
    x, y      (N0, 1), (N2,1)  input and target; their law is left open
    Sx, Syx   (N0, N0), ...    E[x x'], E[y x'], Syy = E[y y'], mx = E[x], my = E[y]
    tau       number           time constant: the unit of time
    ========  ===============  =====================================================

    Examples
    --------
    >>> from derive.flows.flow import gradient_flow
    >>> print(gradient_flow(biased_network()).rhs["b"])
    my/tau - b/tau - W2*W1*mx/tau
    """
    N0, N1, N2 = dims("N0 N1 N2")
    W1, W2, b = matrix("W1", N1, N0), matrix("W2", N2, N1), vector("b", N2)
    x, y, mx, my = vector("x", N0), vector("y", N2), vector("mx", N0), vector("my", N2)
    Sx, Syx, Syy = matrix("Sx", N0, N0), matrix("Syx", N2, N0), matrix("Syy", N2, N2)
    L, tau = scalars("L"), scalars("tau", positive=True)
    return Model(
        name="biased_network",
        state=(W1, W2, b),
        given=(tau,),
        data=Moments((x, y), {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy, x: mx, y: my}),
        let={L: norm2(y - W2 * W1 * x - b) / 2},
        learn=Rate({w: -grad(L, w) / tau for w in (W1, W2, b)}),
        observe={"loss": mean(L)},
    )
