"""Which mutated claims are true all the same: an argument that uses neither a kernel nor the checkers of claims.

Both expressions are evaluated here, by a reader of their own, at random values that respect what the system says about its
arrays (symmetric, diagonal, orthonormal columns):

    Published, Solves   the mutant is equal if the values agree        (a symmetric array transposed, two commuting factors)
    Conserved           the mutant is true if it is stationary along the *printed* rates of the entry, by central differences
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy as sp
from scipy.special import erf

from derive.claims.entry import Conserved, Published, Solves
from derive.system import Block, Flow

POINTS = 3
AGREE = 1e-9  # values of order one agree to 1e-13; a wrong equation differs by order one
STEP = 1e-5
FUNCTIONS = {
    "exp": np.exp, "log": np.log, "sin": np.sin, "cos": np.cos, "tanh": np.tanh, "sinh": np.sinh, "cosh": np.cosh,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "atanh": np.arctanh, "erf": erf, "Abs": np.abs, "sign": np.sign,
    "Heaviside": lambda z, *_: np.heaviside(z, 0.5), "Max": np.maximum, "Min": np.minimum,
}  # fmt: skip


def equivalent(wrong: Any, system: Flow, known: Mapping[str, Any], claims: tuple[Any, ...]) -> bool:
    """Is the mutant true for a mathematical reason?"""
    for seed in range(POINTS):
        rng = np.random.default_rng([77, seed])
        try:
            with np.errstate(all="ignore"):
                if not _true_at(wrong, system, draw(system, known, rng), claims, rng):
                    return False
        except (KeyError, IndexError, ValueError, TypeError, np.linalg.LinAlgError):
            return False  # not even an expression of this system: certainly another equation
    return True


def _true_at(wrong: Any, system: Flow, values: dict[str, Any], claims: tuple[Any, ...], rng: Any) -> bool:
    if isinstance(wrong.claim, Conserved):
        if _agree(read(wrong.right.quantity, values), read(wrong.claim.quantity, values)):
            return True
        return _stationary(wrong.claim, system, values, claims)
    part = "solution" if isinstance(wrong.claim, Solves) else "rate"
    right, other = (getattr(c, part)[wrong.letter] for c in (wrong.right, wrong.claim))
    if not isinstance(right, sp.Basic):
        return False  # -f and 2 f, of a function or number f that is not zero
    if isinstance(wrong.claim, Solves):
        values |= {s.name: rng.uniform(0.2, 0.8) for s in (right + other).free_symbols if s.name not in values}
    else:
        values |= {_name(k): read(e, values) for k, e in wrong.claim.where.items() if not isinstance(k, sp.Indexed)}
    labels = [str(i) for i in getattr(wrong.letter, "indices", ())]
    sizes = values[_name(wrong.letter)].shape if labels else ()
    for at in np.ndindex(*sizes):
        here = {**values, **{label: i + 1 for label, i in zip(labels, at, strict=True)}}
        a, b = read(right, here), read(other, here)
        if not _agree(a, b):
            return False
    return True


def _agree(a: Any, b: Any) -> bool:
    return np.shape(a) == np.shape(b) and bool(np.abs(a - b).max() <= AGREE * (1e-3 + np.abs(a).max()))


def _stationary(claim: Conserved, system: Flow, values: dict[str, Any], claims: tuple[Any, ...]) -> bool:
    """dQ/dt = 0 along the rates that the entry prints for the states of the same manifold."""
    printed = [c for c in claims if isinstance(c, Published) and c.on == claim.on and not c.where]
    rates = {_name(k): read(e, values) for c in printed for k, e in c.rate.items()}
    if {b.name for b in system.state} - set(rates):
        return False  # not all rates are printed
    up, down = (read(claim.quantity, {**values, **{n: values[n] + s * STEP * r for n, r in rates.items()}}) for s in (1, -1))
    return bool(np.abs(up - down).max() <= 1e-8 * 2 * STEP * (1 + np.abs(up).max()) + 1e-13)  # rounding over a step of 1e-5


def draw(system: Flow, known: Mapping[str, Any], rng: Any) -> dict[str, Any]:
    """Random values of order one for everything a system knows by name."""
    sizes: dict[str, int] = {}
    for block in (*system.state, *system.parameters):
        for size in block.shape:
            for name in _dims(size):
                sizes.setdefault(name, int(known[name]) if name in known else 2 + len(sizes) % 3)
    vectors: dict[str, Any] = {}
    values: dict[str, Any] = dict(sizes)
    for block in (*system.state, *system.parameters):
        if block.name not in sizes:
            values[block.name] = _array(block, system.level, sizes, vectors, rng)
    for name in sorted(getattr(system, "symbols", {})):
        values.setdefault(name, rng.uniform(0.5, 1.5) if name not in known else known[name])
    return values


def _array(block: Block, level: str, sizes: dict[str, int], vectors: dict[str, Any], rng: Any) -> Any:
    shape = tuple(_size(s, sizes) for s in block.shape)
    if level == "index":
        if len(shape) < 2:
            return rng.uniform(0.5, 1.5, shape)
        for family, size in zip(block.shape, shape, strict=True):  # overlaps of vectors
            vectors.setdefault(str(family), rng.standard_normal((size, 16)))
        a, b = (vectors[str(f)] for f in block.shape[:2])
        return a @ b.T / 16
    if not shape:
        return rng.uniform(0.5, 1.5)
    x = rng.standard_normal(shape)
    if "diag" in block.tags:
        return np.diag(rng.uniform(0.5, 1.5, shape[0]))
    if "orth" in block.tags:
        return np.linalg.qr(x)[0]
    return x @ x.T if "sym" in block.tags else x


def _dims(size: Any) -> list[str]:
    if isinstance(size, str):
        return [size]
    return [n for part in size[1:] for n in _dims(part)] if isinstance(size, tuple) else []


def _size(size: Any, sizes: Mapping[str, int]) -> int:
    if isinstance(size, tuple):
        parts = [_size(s, sizes) for s in size[1:]]
        return sum(parts) if size[0] == "add" else math.prod(parts)
    return size if isinstance(size, int) else sizes[size]


def _name(letter: Any) -> str:
    return str(letter.base.label) if isinstance(letter, sp.Indexed) else str(getattr(letter, "name", letter))


def read(e: Any, values: Mapping[str, Any]) -> Any:
    """Value of a SymPy expression, read node by node."""
    if isinstance(e, sp.Symbol | sp.MatrixSymbol):
        return values[e.name]
    if getattr(e, "is_number", False) or isinstance(e, int | float):
        return float(e)
    if isinstance(e, sp.Indexed):
        return np.asarray(values[_name(e)])[tuple(int(read(i, values)) - 1 for i in e.indices)]
    if isinstance(e, sp.Sum):
        (label, low, high), *rest = e.limits[::-1]
        body = sp.Sum(e.function, *rest) if rest else e.function
        ends = int(read(low, values)), int(read(high, values))
        return sum(read(body, {**values, label.name: n}) for n in range(ends[0], ends[1] + 1))
    kind = type(e).__name__
    if kind in ("Apply", "MatrixApply"):
        function, z = e.args
        return read(function.body, {**values, function.variable.name: read(z, values)})
    if kind in ("Identity", "ZeroMatrix", "OneMatrix"):
        rows, cols = (int(read(n, values)) for n in e.shape)
        return {"Identity": np.eye(rows, cols), "OneMatrix": np.ones((rows, cols))}.get(kind, np.zeros((rows, cols)))
    parts = [read(a, values) for a in e.args]
    if kind in ("Add", "MatAdd"):
        return sum(parts)
    if kind in ("Mul", "HadamardProduct"):
        return math.prod(parts[1:], start=parts[0])
    if kind == "MatMul":
        arrays = [p for p in parts if np.ndim(p)]
        out = arrays[0] if len(arrays) == 1 else np.linalg.multi_dot(arrays)
        return out * math.prod(p for p in parts if not np.ndim(p))
    one = {
        "Transpose": lambda p: p.T, "Trace": np.trace, "Inverse": lambda p, *_: np.linalg.inv(p),
        "DiagMatrix": lambda p: np.diag(p[:, 0]),
        "Determinant": np.linalg.det, **FUNCTIONS,
    }  # fmt: skip
    if kind in ("Pow", "HadamardPower"):
        return parts[0] ** parts[1]
    if kind == "KroneckerDelta":
        return float(parts[0] == parts[1])
    if kind == "MatrixElement":
        return parts[0][int(parts[1]), int(parts[2])]
    if kind == "MatPow":
        return np.linalg.matrix_power(parts[0], int(parts[1]))
    return one[kind](*parts)
