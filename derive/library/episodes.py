r"""Perceptrons that act in episodes and learn from rewards.

    y_t = sgn(w . x_t / sqrt N),   k = number of t with y_t = sgn(w* . x_t / sqrt N),
    w <- w + r(k) / (T sqrt N) sum_t y_t x_t,   T fresh inputs per step, dt = 1/N.

Specs only; what follows from them is derived. Imported by users and by the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sympy import KroneckerDelta, Rational, oo, sqrt

from derive import fn
from derive.errors import InvalidSpec
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.nodes import mean
from derive.spec.rules import Limit, Phase, Update
from derive.spec.sugar import had, total
from derive.spec.symbols import dims, matrix, scalars, vector

REWARDS = ("all", "penalty", "at_least", "linear", "survival")


def rl_perceptron(reward: str | Callable[[Any, Any], Any] = "all", *, given: Any = (), name: str = "rl_perceptron") -> Model:
    """A perceptron that is rewarded by the number of its right actions in an episode.

    Parameters
    ----------
    reward : one of ``REWARDS``, or a function (k, T) -> expression
        ``all``: eta_1 if all T actions are right. ``penalty``: otherwise -eta_2. ``at_least``: eta_1 if n or more are right.
        ``linear``: eta_1 (k/T - baseline). ``survival``: eta_1 as in ``all``, and eta_2 on the first T0 steps if these are
        right; there the episode has T = T0 + T1 steps. A function receives the number k of right actions and T.
    given : tuple of symbols
        Those that a function of your own uses.

    Returns
    -------
    Model
        Symbols: w (N,), wstar (N,), X (N, T), eta_1, eta_2, n, baseline as far as used; observables ``accuracy``
        (probability of a right action) and ``reward`` (mean of r).

    Raises
    ------
    InvalidSpec
        If the reward is not known.

    Examples
    --------
    >>> [s.name for s in rl_perceptron("at_least").given]
    ['wstar', 'eta_1', 'n']
    >>> from derive import online_limit
    >>> online_limit(rl_perceptron(lambda k, T: k / T)).observables["reward"]
    1/2 + pi^(-1)*angle(R, Q, T_wstar)
    """
    if reward == "survival":
        return _survival(name)
    N, T = dims("N T")
    e1, e2, n = scalars("eta_1 eta_2 n", positive=True)
    baseline, k, r = scalars("baseline k r")
    w, wstar, X = vector("w", N), vector("wstar", N), matrix("X", N, T)
    won = KroneckerDelta(k, T)
    known: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "all": (e1 * won, (e1,)),
        "penalty": (e1 * won - e2 * (1 - won), (e1, e2)),
        "at_least": (e1 * fn.step(k - n + Rational(1, 2)), (e1, n)),
        "linear": (e1 * (k / T - baseline), (e1, baseline)),
    }
    if not callable(reward) and reward not in known:
        raise InvalidSpec(
            f"rl_perceptron: reward {reward!r} is not known; write one of {', '.join(REWARDS)} or a function (k, T)"
        )
    value, used = (reward(k, T), tuple(given)) if callable(reward) else known[reward]
    right = _right(w, wstar, X, N)
    return Model(
        name=name,
        state=(w,),
        given=(wstar, *used),
        data=(Normal(X),),
        let={k: total(right), r: value},
        learn=Update({w: w + r / (T * sqrt(N)) * X * fn.sgn(X.T * w / sqrt(N))}, dt=1 / N),
        limit=Limit({N: oo}),
        observe={"accuracy": mean(k) / T, "reward": mean(r)},
    )


def compositional_perceptron(*, lengths: tuple[Any, ...] = (), name: str = "compositional_perceptron") -> Model:
    """A two-layer perceptron whose one action is the sign of a combination of fields, rewarded if all actions are right.

        y_t = sgn(v . W x_t / sqrt N),   y*_t = sgn(vstar . Wstar x_t / sqrt N),   reward 1 if all T actions are right,
        w_k <- w_k + eta_w v_k / (T sqrt N) sum_t y_t x_t,    v_k <- v_k + eta_v / (T N) sum_t y_t w_k . x_t / sqrt N.

    Parameters
    ----------
    lengths : two numbers, optional
        Shaping: lengths of a phase in which vstar is ``primitive`` and of one in which it is ``composite``; no protocol if
        left out.

    Returns
    -------
    Model
        Symbols: W (K, N), v (K,), Wstar (M, N), vstar, primitive, composite (M,), X (N, T), eta_w, eta_v; observables
        ``accuracy``, ``reward``.

    Raises
    ------
    InvalidSpec
        If there are not two lengths.

    Examples
    --------
    >>> [s.name for s in compositional_perceptron().state]
    ['W', 'v']
    >>> len(compositional_perceptron(lengths=(6, 8)).protocol)
    2
    """
    if lengths and len(lengths) != 2:
        raise InvalidSpec(
            f"compositional_perceptron: {len(lengths)} lengths; give two, of the primitive and of the composite task"
        )
    N, K, M, T = dims("N K M T")
    eta_w, eta_v = scalars("eta_w eta_v", positive=True)
    k, won = scalars("k won")
    W, Wstar, X = matrix("W", K, N), matrix("Wstar", M, N), matrix("X", N, T)
    v, vstar, y, ystar = vector("v", K), vector("vstar", M), vector("y", T), vector("ystar", T)
    push = won / (T * sqrt(N)) * X * y
    tasks = (vector("primitive", M), vector("composite", M)) if lengths else ()
    return Model(
        name=name,
        state=(W, v),
        given=(Wstar, vstar, *tasks, eta_w, eta_v),
        data=(Normal(X),),
        let={
            y: fn.sgn(X.T * W.T * v / sqrt(N)),
            ystar: fn.sgn(X.T * Wstar.T * vstar / sqrt(N)),
            k: total(fn.step(had(y, ystar))),
            won: KroneckerDelta(k, T),
        },
        learn=Update({W: W + eta_w * v * push.T, v: v + eta_v / N * W * push}, dt=1 / N),
        limit=Limit({N: oo}),
        protocol=tuple(Phase(length, bind={vstar: task}) for length, task in zip(lengths, tasks, strict=True)),
        observe={"accuracy": mean(k) / T, "reward": mean(won)},
    )


def _right(w: Any, wstar: Any, X: Any, N: Any) -> Any:
    """1 for every right action."""
    return fn.step(had(fn.sgn(X.T * w / sqrt(N)), fn.sgn(X.T * wstar / sqrt(N))))


def _survival(name: str) -> Model:
    N, T0, T1 = dims("N T0 T1")
    e1, e2 = scalars("eta_1 eta_2", positive=True)
    k0, k1, bonus, won = scalars("k0 k1 bonus won")
    w, wstar, X0, X1 = vector("w", N), vector("wstar", N), matrix("X0", N, T0), matrix("X1", N, T1)
    first, rest = (X * fn.sgn(X.T * w / sqrt(N)) / (sqrt(N) * (T0 + T1)) for X in (X0, X1))
    return Model(
        name=name,
        state=(w,),
        given=(wstar, e1, e2),
        data=(Normal(X0), Normal(X1)),
        let={
            k0: total(_right(w, wstar, X0, N)),
            k1: total(_right(w, wstar, X1, N)),
            bonus: e2 * KroneckerDelta(k0, T0),
            won: e1 * KroneckerDelta(k0, T0) * KroneckerDelta(k1, T1),
        },
        learn=Update({w: w + (won + bonus) * first + won * rest}, dt=1 / N),
        limit=Limit({N: oo}),
        observe={"accuracy": mean(k0 + k1) / (T0 + T1), "reward": mean(won + bonus * T0 / (T0 + T1))},
    )
