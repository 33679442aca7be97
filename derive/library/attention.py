r"""Linear attention that learns linear regression in context.

    y_q = w.x_q,   b = X X'w / N,   yhat = sum_i v_i b'U_i x_q   (merged)   or   sum_i v_i b'k_i q_i'x_q   (separate, rank one),

    tau dW/dt = - E[dL/dW] / 2,     L = (y_q - yhat)^2,     a new task w, context X and query x_q in every sequence.

Specs only; what follows from them is derived. Imported by the catalogue.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.errors import InvalidSpec
from derive.matrices.families import family
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Rate
from derive.spec.sugar import dot
from derive.spec.symbols import dims, matrix, scalars, vector


def attention_weights(attention: str, heads: int) -> tuple[tuple[Any, ...], ...]:
    """Symbols of every head: (U, v) if merged, (k, q, v) if separate."""
    D = dims("D")
    if attention == "merged":
        return tuple((matrix(f"U{i}", D, D), scalars(f"v{i}")) for i in range(1, heads + 1))
    return tuple((vector(f"k{i}", D), vector(f"q{i}", D), scalars(f"v{i}")) for i in range(1, heads + 1))


def attention_family(attention: str, heads: Any) -> tuple[tuple[Any, ...], tuple[Any, ...], Any]:
    """State, given arrays and the map M of yhat = b' M x_q, for a symbolic number of heads."""
    D = dims("D")
    v = vector("v", heads)
    if attention == "merged":
        members = family("head", heads, D)
        U = matrix("U", members.rows, D)
        return (U, v), members.given, members.sum(v, U)
    k, q = matrix("k", heads, D), matrix("q", heads, D)
    return (k, q, v), (), k.T * sp.DiagMatrix(v) * q


def linear_attention(
    attention: str = "merged", heads: Any = 2, *, white: bool = False, name: str = "linear_attention"
) -> Model:
    """Linear attention with ``heads`` heads, trained by gradient flow on fresh sequences.

    ==========  =========  ====================================================
    symbol      shape      meaning
    ==========  =========  ====================================================
    Ui or ki,qi (D, D)...  merged key-query matrix, or key and query vectors
    vi          number     value weight of a head
    U or k, q   (HD, D)..  the same of all heads on top of each other, if their number is a symbol; v (H, 1)
    Lam         (D, D)     covariance of the inputs; if white, ell times the identity
    N           size       pairs in the context
    tau         number     time constant
    ==========  =========  ====================================================

    Parameters
    ----------
    attention : "merged" or "separate"
    heads : int or dimension
        With a symbol, ``dims("H")``, the heads are a family: one equation for all of them, and one kernel for every number.
        Merged heads need the arrays of `derive.matrices.families.family("head", H, D)` then.
    white : bool
        Isotropic inputs, so that heads of rank one close in inner products (`complete`).
    name : str

    Raises
    ------
    InvalidSpec
        If the kind of attention is unknown, or the number of heads is not a positive integer.

    Examples
    --------
    >>> linear_attention("separate", 2).lowered.state
    ('k1', 'k2', 'q1', 'q2', 'v1', 'v2')
    >>> linear_attention("separate", dims("H")).lowered.state
    ('k', 'q', 'v')
    """
    symbolic = isinstance(heads, sp.Symbol)
    if attention not in ("merged", "separate") or not (symbolic or (isinstance(heads, int) and heads >= 1)):
        raise InvalidSpec(
            f"attention={attention!r}, heads={heads!r}: write 'merged' or 'separate', and 1 head or more, or dims('H')"
        )
    D, N = dims("D N")
    (tau, ell), Lam = scalars("tau ell", positive=True), matrix("Lam", D, D)
    cov = ell * sp.Identity(D) if white else Lam
    X, xq, w, b = matrix("X", D, N), vector("xq", D), vector("w", D), vector("b", D)
    yq, yhat, L = scalars("yq yhat L")
    given: tuple[Any, ...] = ()
    found = () if symbolic else attention_weights(attention, heads)
    if symbolic:
        state, given, total = attention_family(attention, heads)
        output = dot(b, total * xq)
    elif attention == "merged":
        output = sum(v * dot(b, U * xq) for U, v in found)
    else:
        output = sum(v * dot(b, k) * dot(q, xq) for k, q, v in found)
    if not symbolic:
        state = tuple(s for kind in zip(*found, strict=True) for s in kind)
    return Model(
        name=name,
        state=state,
        given=(*given, ell if white else Lam, tau),
        data=(Normal(X, cov=cov), Normal(xq, cov=cov), Normal(w)),
        let={b: X * X.T * w / N, yq: dot(w, xq), yhat: output, L: (yq - yhat) ** 2},
        learn=Rate({s: -grad(L, s) / (2 * tau) for s in state}),
        observe={"loss": mean(L)},
    )
