"""Generated right-hand sides against the same equations written by hand, in one process, call by call.

    python benchmarks/kernels.py

Both are Numba functions of arrays (or both NumPy). They are compared first (1e-12), then timed in turns: the smallest time of
several rounds each, and their ratio. Only ratios carry over to other machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

import codegen
from derive import Balanced, Modes, catalog, gradient_flow, linear_network, online_limit, reduce

ROUNDS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Two functions of the same arguments, and how they are called."""

    name: str
    made: Callable[..., tuple[Any, ...]]
    typed: Callable[..., tuple[Any, ...]]
    arguments: tuple[Any, ...]


@numba.njit(cache=False)
def committee_by_hand(Q: Any, R: Any, T: Any, v: Any, A: Any, eta: float) -> Any:
    """First layer of an erf student of an erf teacher (Saad and Solla 1995): averages by tilting the Gaussian measure."""
    K, M = R.shape
    n = K + M
    C, u = np.empty((n, n)), np.empty(n)
    C[:K, :K], C[:K, K:], C[K:, :K], C[K:, K:] = Q, R, R.T, T
    u[:K], u[K:] = v, -A
    dQ, dR = np.zeros((K, K)), np.zeros((K, M))
    gain = np.empty((K, n))  # E[g'(k) x_j error]
    for k in range(K):
        c = 1.0 + C[k, k]
        outer = 2.0 / (np.pi * np.sqrt(c))
        for j in range(n):
            total = 0.0
            for m in range(n):
                lead = C[j, m] - C[j, k] * C[m, k] / c
                own = 1.0 + C[m, m] - C[m, k] ** 2 / c
                total += u[m] * lead / np.sqrt(own)
            gain[k, j] = outer * total
    for k in range(K):
        for m in range(M):
            dR[k, m] = -eta * v[k] * gain[k, K + m]
        for i in range(k + 1):
            a, b, off = 1.0 + C[i, i], 1.0 + C[k, k], C[i, k]
            det = a * b - off * off
            noise = 0.0
            for j in range(n):
                for l in range(j + 1):
                    xj, yj, xl, yl = C[j, i], C[j, k], C[l, i], C[l, k]
                    cjl = C[j, l] - (b * xj * xl - off * (xj * yl + yj * xl) + a * yj * yl) / det
                    cjj = C[j, j] - (b * xj * xj - 2.0 * off * xj * yj + a * yj * yj) / det
                    cll = C[l, l] - (b * xl * xl - 2.0 * off * xl * yl + a * yl * yl) / det
                    value = np.arcsin(cjl / np.sqrt((1.0 + cjj) * (1.0 + cll)))
                    noise += (1.0 if j == l else 2.0) * u[j] * u[l] * value
            second = 4.0 / (np.pi * np.pi) / np.sqrt(det) * noise
            dQ[i, k] = -eta * (v[i] * gain[i, k] + v[k] * gain[k, i]) + eta * eta * v[i] * v[k] * second
            dQ[k, i] = dQ[i, k]
    return dQ, dR


def committee(K: int, M: int) -> Row:
    """One call of the order-parameter equations."""
    entry = catalog.load("goldt_2019_teacher_student", train="first")
    kernel = codegen.compile(online_limit(entry.model))
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(K + M, 200)) / np.sqrt(200)
    gram = vectors @ vectors.T
    values = {
        "Q": gram[:K, :K],
        "R": gram[:K, K:],
        "T": gram[K:, K:],
        "v": rng.normal(size=K),
        "A": rng.normal(size=M),
        "eta": 0.2,
        "sigma": 0.0,
    }
    names = [b.name for b in (*kernel.states, *kernel.parameters)]
    arguments = tuple(np.ascontiguousarray(values[n]) if np.ndim(values[n]) else float(values[n]) for n in names)
    order = [names.index(n) for n in ("Q", "R", "T", "v", "A", "eta")]
    shown = [b.name for b in kernel.states]

    def typed(t: float, *given: Any) -> tuple[Any, ...]:
        dQ, dR = committee_by_hand(*(given[k] for k in order))
        return tuple({"Q": dQ, "R": dR}[n] for n in shown)

    return Row(name=f"committee, K = {K}, M = {M} (Numba)", made=kernel.rhs, typed=typed, arguments=(0.0, *arguments))


def network(width: int) -> Row:
    """Three layers, square."""
    kernel = codegen.compile(gradient_flow(linear_network(depth=3)), backend="numpy")
    rng = np.random.default_rng(0)
    names = [b.name for b in (*kernel.states, *kernel.parameters)]
    root = rng.normal(size=(width, width)) / np.sqrt(width)
    values = {n: rng.normal(size=(width, width)) / np.sqrt(width) for n in ("W1", "W2", "W3", "Syx")}
    values |= {"Sx": root @ root.T, "Syy": root @ root.T, "tau": 2.0}
    shown = [b.name for b in kernel.states]

    def typed(t: float, *given: Any) -> tuple[Any, ...]:
        at = dict(zip(names, given, strict=True))
        one, two, three = at["W1"], at["W2"], at["W3"]
        upper, lower = three @ two, two @ one
        error = (at["Syx"] - three @ lower @ at["Sx"]) / at["tau"]
        out = {"W1": upper.T @ error, "W2": three.T @ error @ one.T, "W3": error @ lower.T}
        return tuple(out[n] for n in shown)

    return Row(
        name=f"three linear layers of width {width} (NumPy)",
        made=kernel.rhs,
        typed=typed,
        arguments=(0.0, *(values[n] for n in names)),
    )


@numba.njit(cache=False)
def modes_by_hand(u: Any, s: Any, d: Any, tau: float) -> Any:
    out = np.empty_like(u)
    for i in range(u.shape[0]):
        out[i] = 3.0 / tau * u[i] * np.cbrt(u[i]) * (s[i] - d[i] * u[i])
    return (out,)


def modes(count: int) -> Row:
    """Balanced modes of three layers."""
    kernel = codegen.compile(reduce(gradient_flow(linear_network(depth=3)), (Modes(), Balanced())))
    rng = np.random.default_rng(0)
    names = [b.name for b in (*kernel.states, *kernel.parameters)]
    values = {n: rng.uniform(0.5, 1.5, size=count) for n in ("u", "s", "d")} | {"tau": 2.0, "tr_Syy": 1.0}
    order = [names.index(n) for n in ("u", "s", "d", "tau")]
    return Row(
        name=f"{count:,} balanced modes of three layers (Numba)",
        made=kernel.rhs,
        typed=lambda t, *given: modes_by_hand(*(given[k] for k in order)),
        arguments=(0.0, *(values[n] for n in names)),
    )


def seconds(call: Callable[..., Any], arguments: tuple[Any, ...], repeats: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        call(*arguments)
    return (time.perf_counter() - begin) / repeats


def main() -> None:
    print(f"{'equations':44s}{'generated':>12s}{'by hand':>12s}{'ratio':>8s}   agree to")
    for row in (committee(2, 2), committee(4, 4), committee(8, 4), network(16), network(128), modes(100), modes(100_000)):
        made, typed = row.made(*row.arguments), row.typed(*row.arguments)
        error = max(float(np.max(np.abs(a - b))) / float(np.max(np.abs(b))) for a, b in zip(made, typed, strict=True))
        if error > 1e-12:
            raise SystemExit(f"{row.name}: the two differ by {error:.1e}")
        repeats = max(1, int(0.02 / max(seconds(row.typed, row.arguments, 3), 1e-7)))
        best = [np.inf, np.inf]
        for _ in range(ROUNDS):
            for k, call in enumerate((row.made, row.typed)):
                best[k] = min(best[k], seconds(call, row.arguments, repeats))
        print(f"{row.name:44s}{best[0] * 1e6:9.2f} us{best[1] * 1e6:9.2f} us{best[0] / best[1]:8.2f}   {error:.0e}")


if __name__ == "__main__":
    main()
