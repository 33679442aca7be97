r"""A student with shared features and two heads, trained by one-pass SGD on the tasks of two teachers.

    f_i = sum_k h_i,k g(W_k x / sqrt N),   y_i = sum_m A_i,m g(B_i,m x / sqrt N),   L = (f_task - y_task)^2 / 2,
    W <- W - eta grad(L, W),   h_i <- h_i - (eta_h / N) grad(L, h_i),   one fresh x per step, dt = 1/N.

The head of the other task rests, because L does not contain it. ``task`` is a given switch: phases bind it to 1 or 2, or to a
law (interleaved tasks). Specs only; what follows from them is derived. Imported by users and by the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sympy import oo, sqrt

from derive import fn
from derive.spec.laws import Choice, Normal
from derive.spec.model import Model
from derive.spec.nodes import Fn, grad, mean
from derive.spec.rules import Limit, Phase, Update
from derive.spec.sugar import case, dot
from derive.spec.symbols import dims, matrix, scalars, vector


def two_tasks(
    activation: Fn | Callable[[Any], Any] = fn.erf2, *, lengths: tuple[Any, ...] = (), name: str = "two_tasks"
) -> Model:
    """Two teachers, one student with two heads, for symbolic K, M1, M2 and N -> oo.

    Parameters
    ----------
    activation : function of `derive.fn` or an `activation(...)`
        Of all networks.
    lengths : two numbers, or three
        Lengths of the phases: task 1, then task 2, then (if given) both, interleaved with probabilities p and 1 - p.

    Returns
    -------
    Model
        Symbols: W (K, N), h1, h2 (K,), teachers B1 (M1, N), A1 (M1,), B2 (M2, N), A2 (M2,), eta, eta_h, task, p; observables
        ``eg1``, ``eg2``.

    Examples
    --------
    >>> from derive.protocols.sequence import phases
    >>> [m.name for m in phases(two_tasks(lengths=(25, 25)))]
    ['two_tasks_phase_1', 'two_tasks_phase_2']
    """
    N, K, M1, M2 = dims("N K M1 M2")
    eta, eta_h, p = scalars("eta eta_h p", positive=True)
    task, e1, e2, L = scalars("task e1 e2 L")
    W, B1, B2 = matrix("W", K, N), matrix("B1", M1, N), matrix("B2", M2, N)
    h1, h2, A1, A2, x = vector("h1", K), vector("h2", K), vector("A1", M1), vector("A2", M2), vector("x", N)
    binds = ({task: 1}, {task: 2}, {task: Choice(task, (1, 2), (p, 1 - p))})
    hidden = activation(W * x / sqrt(N))
    return Model(
        name=name,
        state=(W, h1, h2),
        given=(B1, A1, B2, A2, eta, eta_h, task, *((p,) if len(lengths) > 2 else ())),
        data=(Normal(x),),
        let={
            e1: dot(h1, hidden) - dot(A1, activation(B1 * x / sqrt(N))),
            e2: dot(h2, hidden) - dot(A2, activation(B2 * x / sqrt(N))),
            L: case(task, {1: e1**2 / 2, 2: e2**2 / 2}),
        },
        learn=Update({W: W - eta * grad(L, W), h1: h1 - eta_h / N * grad(L, h1), h2: h2 - eta_h / N * grad(L, h2)}, dt=1 / N),
        limit=Limit({N: oo}),
        protocol=tuple(Phase(length, bind=bind) for length, bind in zip(lengths, binds, strict=False)),
        observe={"eg1": mean(e1**2 / 2), "eg2": mean(e2**2 / 2)},
    )
