r"""Two-layer students of two-layer teachers, trained by one-pass stochastic gradient descent.

    y = sum_m A_m g(W*_m x / sqrt N) + sigma zeta,   f = sum_k v_k g(W_k x / sqrt N),   L = (f - y)^2 / 2,
    W <- W - eta grad(L, W) - (kappa / N) W,         v <- v - (eta_v / N) grad(L, v),   one fresh x per step, dt = 1/N.

Specs only; what follows from them is derived. Imported by users and by the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sympy import oo, sqrt

from derive import fn
from derive.errors import InvalidSpec
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.nodes import Fn, grad, mean
from derive.spec.rules import Limit, Update
from derive.spec.sugar import dot
from derive.spec.symbols import dims, matrix, scalars, vector

WORDS = {"first": ("W",), "readout": ("v",), "both": ("W", "v")}


def teacher_student(
    activation: Fn | Callable[[Any], Any] | str = fn.erf2,
    train: Sequence[str] | str = ("W", "v"),
    *,
    noise: bool = True,
    decay: bool = False,
    name: str = "teacher_student",
) -> Model:
    """A student with K hidden units learns from a teacher with M, for symbolic K, M and N -> oo.

    Parameters
    ----------
    activation : function of `derive.fn`, its name, ``"linear"``, or an `activation(...)`
        Of both networks.
    train : ``"first"``, ``"readout"``, ``"both"``, or names out of ``("W", "v")``
        What learns; the rest is given.
    noise : bool
        Label noise of strength sigma; it enters the updates, not the generalisation error ``eg``.
    decay : bool
        Weight decay kappa / N on W.

    Returns
    -------
    Model
        Symbols: W (K, N), v (K,), Wstar (M, N), A (M,), eta, eta_v (if v learns), sigma, kappa; observable ``eg``.

    Raises
    ------
    InvalidSpec
        If the activation or the names in ``train`` are not known.

    Examples
    --------
    >>> [s.name for s in teacher_student(train="first").state]
    ['W']
    """
    g = _activation(activation)
    trained = WORDS.get(train) if isinstance(train, str) else tuple(train)
    if not trained or any(t not in ("W", "v") for t in trained) or (decay and "W" not in trained):
        raise InvalidSpec(
            f"teacher_student: train={train!r}, decay={decay}; train 'first', 'readout' or 'both', and decay needs W to learn"
        )
    N, K, M = dims("N K M")
    eta, eta_v, sigma, kappa = scalars("eta eta_v sigma kappa", positive=True)
    y, f, zeta, L, clean = scalars("y f zeta L clean")
    W, Wstar = matrix("W", K, N), matrix("Wstar", M, N)
    v, A, x = vector("v", K), vector("A", M), vector("x", N)
    steps = {}
    if "W" in trained:
        steps[W] = W - eta * grad(L, W) - kappa / N * W if decay else W - eta * grad(L, W)
    if "v" in trained:
        steps[v] = v - eta_v / N * grad(L, v)
    given: list[Any] = [s for s in (W, v) if s not in steps]
    given += [Wstar, A] + [s for s, used in ((eta, W in steps), (eta_v, v in steps), (sigma, noise), (kappa, decay)) if used]
    return Model(
        name=name,
        state=tuple(steps),
        given=tuple(given),
        data=(Normal(x), Normal(zeta)) if noise else (Normal(x),),
        let={
            clean: dot(A, g(Wstar * x / sqrt(N))),
            y: clean + sigma * zeta if noise else clean,
            f: dot(v, g(W * x / sqrt(N))),
            L: (f - y) ** 2 / 2,
        },
        learn=Update(steps, dt=1 / N),
        limit=Limit({N: oo}),
        observe={"eg": mean((f - clean) ** 2 / 2)},
    )


def _activation(activation: Any) -> Callable[[Any], Any]:
    if activation == "linear":
        return lambda z: z
    if isinstance(activation, str):
        if activation not in fn.BODIES:
            raise InvalidSpec(
                f"teacher_student: activation {activation!r} is not in derive.fn; use one of {sorted(fn.BODIES)} or 'linear'"
            )
        return getattr(fn, activation)  # type: ignore[no-any-return]
    if not callable(activation):
        raise InvalidSpec(
            f"teacher_student: activation {activation!r} is not a function; use derive.fn.erf2 or activation(...)"
        )
    return activation  # type: ignore[no-any-return]
