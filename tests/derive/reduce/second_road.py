"""Numbers for reductions, without the proof: manifolds written out by hand, rates from the emitted kernel, finite differences.

A manifold is a function  z -> (states, given arrays)  of the letters of a point. On it a field is judged by the part that no
tangent explains,  min_c |F - J c| / |F|,  with J by central differences of the function. For manifolds that are given by
equations (balance, Gram) it is the rate at which the equation is left. Imported by `test_ansatz_table`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sympy as sp

from codegen import compile
from derive.reductions.ansatz import Balanced, Gram, LambdaBalanced, Manifold, Modes
from derive.system import Flow

Point = Mapping[str, Any]
STEP = 1e-6  # maps are polynomials or roots of order one: truncation 1e-12, rounding 1e-10


def leaving(flow: Flow, ansatz: Any, point: Point) -> float:
    """How much of the field leaves the manifold of an ansatz at a point, relative to the field."""
    if isinstance(ansatz, Gram):
        return _turned(flow, point)
    if isinstance(ansatz, LambdaBalanced) and flow.level == "matrix":
        return max(_drift(flow, point), _misfit(flow, point))
    if isinstance(ansatz, LambdaBalanced):
        point = {"u": point["a"] * point["b"], **point} if "a" in point else point
    place, coordinates = manifold(flow, ansatz)
    return normal_part(flow, place, coordinates, point)


def normal_part(flow: Flow, place: Callable[[Point], tuple[dict, dict]], coordinates: list[tuple[str, str]], z: Point) -> float:
    """Share of the field that is no combination of the tangents."""
    states, given = place(z)
    field = _flat(field_at(flow, states, {**z, **given}), flow)
    columns = []
    for name, kind in coordinates:
        for e in _directions(np.asarray(z[name], dtype=float), kind):
            up, down = (_flat(place({**z, name: z[name] + s * STEP * e})[0], flow) for s in (1, -1))
            columns.append((up - down) / (2 * STEP))
    tangents = np.stack(columns, axis=1)
    best = np.linalg.lstsq(tangents, field, rcond=None)[0]
    return float(np.linalg.norm(field - tangents @ best) / np.linalg.norm(field))


def field_at(flow: Flow, states: Mapping[str, Any], known: Point) -> dict[str, Any]:
    """Right-hand sides from the emitted NumPy module."""
    kernel = compile(flow, backend="numpy")
    arrays = {b.name: np.atleast_1d(states[b.name]) if b.indices else np.asarray(states[b.name]) for b in flow.state}
    layout = kernel.layout(arrays)
    params = {
        b.name: np.atleast_1d(known[b.name]) if b.indices else np.asarray(known[b.name], dtype=float) for b in kernel.parameters
    }
    return layout.unpack(kernel.flat_rhs(layout, kernel.arguments(params))(0.0, layout.pack(arrays)))


def _flat(arrays: Mapping[str, Any], flow: Flow) -> Any:
    return np.concatenate([np.ravel(arrays[b.name]) for b in flow.state])


def _directions(x: Any, kind: str) -> list[Any]:
    out = []
    for at in np.ndindex(x.shape):
        if ("diag" in kind and at[0] != at[1]) or ("sym" in kind and at[1] < at[0]):
            continue
        e = np.zeros(x.shape)
        e[at] = 1.0
        out.append(e if "sym" not in kind else e + e.T - e * e.T)
    return out


# Manifolds by hand ------------------------------------------------------------------------------------------------------------


def manifold(flow: Flow, ansatz: Any) -> tuple[Callable[[Point], tuple[dict, dict]], list[tuple[str, str]]]:
    """The map of an ansatz that has coordinates, and its coordinates with their kinds."""
    if isinstance(ansatz, Manifold):
        return _of_user(ansatz)
    names = [b.name for b in flow.state]
    if isinstance(ansatz, Balanced):
        return (lambda z: (dict.fromkeys(names, np.power(z["u"], 1 / len(names))), {})), [("u", "")]
    if isinstance(ansatz, LambdaBalanced):
        a, b = names

        def halves(z: Point) -> tuple[dict, dict]:
            lam = float(ansatz.lam) if ansatz.lam.is_number else z["lam"]
            root = np.sqrt(lam**2 + 4 * z["u"] ** 2)
            return {a: np.sqrt((root - lam) / 2), b: np.sqrt((root + lam) / 2)}, {}

        return halves, [("u", "")]
    assert isinstance(ansatz, Modes)
    depth = len(names)
    diagonals = ("A",) if depth == 1 else ("A", "B") if depth == 2 else tuple(f"A{l}" for l in range(1, depth + 1))
    frames = ("V", *(f"R{l}" for l in range(2, depth + 1)), "U")

    def aligned(z: Point) -> tuple[dict, dict]:
        order = names if "X1" in names or "W1" in names else names[::-1]
        weights = {W: z[frames[l + 1]] @ z[diagonals[l]] @ z[frames[l]].T for l, W in enumerate(order)}
        cross = z["U"] @ z["S_mode" if "S_mode" in z else "S"] @ z["V"].T
        inputs = np.eye(len(z["V"])) if ansatz.white else z["V"] @ z["D"] @ z["V"].T if "D" in z else np.eye(len(z["V"]))
        return weights, {"S": cross, "Syx": cross, "C": inputs}

    return aligned, [(name, "diag") for name in diagonals]


def _of_user(ansatz: Manifold) -> tuple[Callable[[Point], tuple[dict, dict]], list[tuple[str, str]]]:
    def place(z: Point) -> tuple[dict, dict]:
        return tuple({x.name: number(e, z) for x, e in part.items()} for part in (ansatz.lift, ansatz.data))

    return place, [(x.name, ansatz.tags.get(x, "")) for x in ansatz.coordinates]


def number(e: Any, z: Point) -> Any:
    """Value of a polynomial of SymPy letters."""
    if isinstance(e, sp.Symbol | sp.MatrixSymbol):
        return z[e.name]
    if e.is_Number:
        return float(e)
    parts = [number(x, z) for x in e.args]
    if isinstance(e, sp.Transpose):
        return parts[0].T
    if isinstance(e, sp.Add | sp.MatAdd):
        return sum(parts)
    assert isinstance(e, sp.Mul | sp.MatMul), e
    out = parts[0]
    for p in parts[1:]:
        out = out @ p if np.ndim(out) == 2 and np.ndim(p) == 2 else out * p
    return out


# Manifolds by equations -------------------------------------------------------------------------------------------------------


def _drift(flow: Flow, z: Point) -> float:
    """Relative drift of W2'W2 - W1 W1'."""
    rates = field_at(flow, z, z)
    grown, shrunk = z["W2"].T @ rates["W2"], rates["W1"] @ z["W1"].T
    halves = [x + x.T for x in (grown, shrunk)]
    return float(np.linalg.norm(halves[0] - halves[1]) / (np.linalg.norm(halves[0]) + np.linalg.norm(halves[1])))


def _misfit(flow: Flow, z: Point) -> float:
    """What is left of Q' after the best fit of the five terms of the Riccati form, relative to Q'."""
    rates, W1, W2, S = field_at(flow, z, z), z["W1"], z["W2"], z["Syx"]
    nothing, empty = np.zeros_like(W1.T), np.zeros_like(W2)
    cubic = W1 @ W1.T + W2.T @ W2
    pairs = [(W1.T, empty), (S.T @ W2, empty), (nothing, S @ W1.T), (nothing, W2), (W1.T @ cubic, W2 @ cubic)]
    target = np.concatenate([rates["W1"].T, rates["W2"]]).ravel()
    columns = np.stack([np.concatenate(pair).ravel() for pair in pairs], axis=1)
    best = np.linalg.lstsq(columns, target, rcond=None)[0]
    return float(np.linalg.norm(target - columns @ best) / np.linalg.norm(target))


def _turned(flow: Flow, z: Point) -> float:
    """Difference of the rates of Q Q' at Q and at Q O."""
    found = []
    for q in (z["Q"], z["Q"] @ z["O"]):
        rate = field_at(flow, {"Q": q}, z)["Q"] @ q.T
        found.append(rate + rate.T)
    return float(np.linalg.norm(found[0] - found[1]) / (np.linalg.norm(found[0]) + np.linalg.norm(found[1])))
