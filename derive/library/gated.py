r"""Gated linear networks: gates choose, datum by datum or route by route, which paths of linear maps are in use.

    routing    M input domains, M output domains, one hidden edge shared by all routes,   yhat_ij = C_j B A_i x_i,
               loss averaged over the trained pairs (i, j)
    XOR        two independent paths, one for each sign of x_1,   yhat = g_1 C_1 A_1 x + g_2 C_2 A_2 x,   y = - x_1 x_2

Specs only; what follows from them is derived. Imported by the catalogue.
"""

from __future__ import annotations

from typing import Any

import sympy as sp

from derive.spec.laws import Choice
from derive.spec.model import Model
from derive.spec.nodes import grad, mean
from derive.spec.rules import Rate
from derive.spec.sugar import dot, norm2
from derive.spec.symbols import dims, matrix, scalars, vector


def edges(M: int) -> tuple[tuple[Any, ...], Any, tuple[Any, ...]]:
    """Input edges A1 .. AM, the shared edge B, output edges C1 .. CM."""
    n, h1, h2, o = dims("n h1 h2 o")
    numbers = range(1, M + 1)
    return tuple(matrix(f"A{i}", h1, n) for i in numbers), matrix("B", h2, h1), tuple(matrix(f"C{j}", o, h2) for j in numbers)


def trained(M: int, routes: int) -> list[tuple[int, int]]:
    """Pairs of domains that are trained: ``routes`` output domains for every input domain, cyclically."""
    return [(i, (i + k) % M) for i in range(M) for k in range(routes)]


def routing_network(M: int, routes: int, *, name: str = "routing_network") -> Model:
    """Squared error of every trained route, averaged; white inputs, and the same map Syx for every route.

    Observables: ``loss``, and ``untrained``, the same average over the routes that are never trained, if there are any.

    >>> routing_network(3, 2).lowered.state
    ('A1', 'A2', 'A3', 'B', 'C1', 'C2', 'C3')
    """
    n, h2, o = dims("n h2 o")
    (A, B, C), L = edges(M), scalars("L")
    Syx, tau = matrix("Syx", o, n), scalars("tau", positive=True)
    pairs = trained(M, routes)
    rest = [(i, j) for i in range(M) for j in range(M) if (i, j) not in pairs]
    hidden = [matrix(f"H{i}", h2, n) for i in range(1, M + 1)]
    errors = {(i, j): matrix(f"E{i + 1}{j + 1}", o, n) for i, j in (*pairs, *rest)}

    def average(routes: list[tuple[int, int]]) -> Any:
        return sp.Add(*(norm2(errors[route]) for route in routes)) / (2 * len(routes))

    return Model(
        name=name,
        state=(*A, B, *C),
        given=(Syx, tau),
        let={
            **{hidden[i]: B * A[i] for i in range(M)},
            **{E: Syx - C[j] * hidden[i] for (i, j), E in errors.items()},
            L: average(pairs),
        },
        learn=Rate({W: -grad(L, W) / tau for W in (*A, B, *C)}),
        observe={"loss": L, **({"untrained": average(rest)} if rest else {})},
    )


def gated_xor(*, name: str = "gated_xor") -> Model:
    """XOR of two signs with one linear path for each sign of the first: four points  +-e1 +-e2, equally likely.

    >>> from derive.flows.flow import gradient_flow
    >>> print(gradient_flow(gated_xor()).rhs["C2"])
    1/2*e2'*A2'/tau - 1/2*(C2*A2*e1)*e1'*A2'/tau - 1/2*(C2*A2*e2)*e2'*A2'/tau
    """
    n, h = dims("n h")
    A, C = (matrix("A1", h, n), matrix("A2", h, n)), (matrix("C1", 1, h), matrix("C2", 1, h))
    x, e1, e2 = vector("x", n), vector("e1", n), vector("e2", n)
    g1, g2, y, L = scalars("g1 g2 y L")
    tau = scalars("tau", positive=True)
    points = ((e1 + e2, 1, 0, -1), (e1 - e2, 1, 0, 1), (e2 - e1, 0, 1, 1), (-e1 - e2, 0, 1, -1))
    output = g1 * dot(C[0].T, A[0] * x) + g2 * dot(C[1].T, A[1] * x)
    return Model(
        name=name,
        state=(*A, *C),
        given=(e1, e2, tau),
        data=Choice((x, g1, g2, y), points),
        let={L: (y - output) ** 2 / 2},
        learn=Rate({W: -grad(L, W) / tau for W in (*A, *C)}),
        observe={"loss": mean(L)},
    )
