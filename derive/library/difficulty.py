r"""Learning tasks with a dial of difficulty: irrelevant inputs that drown the relevant ones, and clusters that overlap.

    perceptron:  y = sgn(B x_r / sqrt N),   f = g((W_r x_r + W_i x_i) / sqrt N),   x_i of variance Delta,   L = (f - y)^2 / 2
    clusters:    x = s mu_p / sqrt N + sqrt(Delta) z,   y = label_p,   f = v . g(W x / sqrt N),   L = (f - y)^2 / 2

one fresh example per step, dt = 1/N; in the clusters p is one of P centres and s = +-1. A curriculum is a sequence of phases
that bind ``Delta``. Specs only; what follows from them is derived. Imported by users and by the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sympy import Identity, oo, sqrt

from derive import fn
from derive.errors import InvalidSpec
from derive.spec.laws import Choice, Normal
from derive.spec.model import Model
from derive.spec.nodes import Fn, grad, mean
from derive.spec.rules import Limit, Phase, Update
from derive.spec.sugar import dot, total
from derive.spec.symbols import dims, matrix, scalars, vector

Activation = Fn | Callable[[Any], Any]


def curriculum_perceptron(
    activation: Activation = fn.erf2,
    *,
    lengths: Sequence[Any] = (),
    difficulties: Sequence[Any] = (),
    name: str = "curriculum_perceptron",
) -> Model:
    """Sign teacher on the relevant inputs, student on all of them; Nr, Ni -> oo with rho = Nr / (Nr + Ni).

    Parameters
    ----------
    activation : function of `derive.fn` or an `activation(...)`
    lengths, difficulties : one number per phase
        Time in units of steps / (Nr + Ni) and the ``Delta`` of each phase; no protocol if left out.

    Returns
    -------
    Model
        Symbols: W_r (K, Nr), W_i (K, Ni), teacher B (M, Nr), eta, kappa (L2 penalty), Delta, hard; observables ``loss`` (on the
        examples of the phase) and ``accuracy`` (on examples of difficulty ``hard``).

    Raises
    ------
    InvalidSpec
        If there are not as many difficulties as lengths.

    Examples
    --------
    >>> len(curriculum_perceptron(lengths=(4, 4), difficulties=(0.05, 1)).protocol)
    2
    """
    Nr, Ni, K, M = dims("Nr Ni K M")
    eta, kappa, Delta, rho, hard = scalars("eta kappa Delta rho hard", positive=True)
    lam, test, y, L = scalars("lam test y L")
    W_r, W_i, B = matrix("W_r", K, Nr), matrix("W_i", K, Ni), matrix("B", M, Nr)
    x_r, x_i, N = vector("x_r", Nr), vector("x_i", Ni), Nr + Ni
    return Model(
        name=name,
        state=(W_r, W_i),
        given=(B, eta, kappa, Delta, hard),
        data=(Normal(x_r), Normal(x_i, cov=Delta * Identity(Ni))),
        let={
            lam: total(W_r * x_r + W_i * x_i) / sqrt(N),
            test: total(W_r * x_r + sqrt(hard / Delta) * W_i * x_i) / sqrt(N),
            y: fn.sgn(total(B * x_r) / sqrt(N)),
            L: (activation(lam) - y) ** 2 / 2,
        },
        learn=Update({w: w - eta * grad(L, w) - eta * kappa / N * w for w in (W_r, W_i)}, dt=1 / N),
        limit=Limit({Nr: oo, Ni: oo}, fixed={rho: Nr / N}),
        protocol=_phases(Delta, lengths, difficulties),
        observe={"accuracy": mean((1 + fn.sgn(test) * y) / 2), "loss": mean(L)},
    )


def _phases(Delta: Any, lengths: Sequence[Any], difficulties: Sequence[Any]) -> tuple[Phase, ...]:
    if len(lengths) != len(difficulties):
        raise InvalidSpec(f"{len(lengths)} lengths and {len(difficulties)} difficulties; give one of each for every phase")
    return tuple(Phase(length, bind={Delta: value}) for length, value in zip(lengths, difficulties, strict=True))


def signed_clusters(
    activation: Activation = fn.relu,
    *,
    lengths: Sequence[Any] = (),
    difficulties: Sequence[Any] = (),
    name: str = "signed_clusters",
) -> Model:
    """Clusters around +- P centres with one label for each pair, learned by a two-layer network; XOR is P = 2, labels +1, -1.

    Parameters
    ----------
    activation : function of `derive.fn` or an `activation(...)`
    lengths, difficulties : one number per phase
        As in `curriculum_perceptron`; the difficulty is the variance ``Delta`` within a cluster.

    Returns
    -------
    Model
        Symbols: W (K, N), v (K,), centres Mu (P, N), label (P,), eta, eta_v, Delta; observable ``loss``.

    Raises
    ------
    InvalidSpec
        If there are not as many difficulties as lengths.

    Examples
    --------
    >>> signed_clusters().lowered.dims
    ('K', 'N', 'P')
    """
    N, K, P = dims("N K P")
    eta, eta_v, Delta = scalars("eta eta_v Delta", positive=True)
    s, y, L = scalars("s y L")
    W, v, Mu, label = matrix("W", K, N), vector("v", K), matrix("Mu", P, N), vector("label", P)
    x, pick = vector("x", N), vector("pick", P)
    return Model(
        name=name,
        state=(W, v),
        given=(Mu, label, eta, eta_v, Delta),
        data=(Choice(pick), Choice(s, (1, -1)), Normal(x, mean=s * Mu.T * pick / sqrt(N), cov=Delta * Identity(N))),
        let={y: dot(label, pick), L: (dot(v, activation(W * x / sqrt(N))) - y) ** 2 / 2},
        learn=Update({W: W - eta * grad(L, W), v: v - eta_v / N * grad(L, v)}, dt=1 / N),
        limit=Limit({N: oo}),
        protocol=_phases(Delta, lengths, difficulties),
        observe={"loss": mean(L)},
    )
