"""Models for the tests of the overlap chain, and overlaps computed from weights (no code of the chain)."""

from __future__ import annotations

import numpy as np
from sympy import Identity, oo, sqrt

from derive import fn
from derive.library.teacher import teacher_student
from derive.online.chain_plan import exact_chain
from derive.spec.laws import Normal
from derive.spec.model import Model
from derive.spec.nodes import grad
from derive.spec.rules import Limit, Update
from derive.spec.simulation_plan import plan
from derive.spec.sugar import dot
from derive.spec.symbols import activation, dims, matrix, scalars, vector

N, K, M = dims("N K M")
eta, gamma, s = scalars("eta gamma s", positive=True)
D = scalars("D", positive=True)
L, y, zeta = scalars("L y zeta")
W, B, w, b, m, x = matrix("W", K, N), matrix("B", M, N), vector("w", N), vector("b", N), vector("m", N), vector("x", N)
v, z, a = vector("v", K), vector("z", K), vector("a", M)
lam, nu = dot(w, x) / sqrt(N), dot(b, x) / sqrt(N)
cubic = activation("cubic", lambda u: u - u**3 / 9)


def single(step, *, given=(b, eta), data=None, let=None, **more):
    """A vector w that learns from a fixed one b."""
    return Model(
        name="single", state=(w,), given=given, data=data or Normal(x), let=let or {}, learn=Update({w: w + step}, dt=1 / N),
        limit=Limit({N: oo}), **more,
    )  # fmt: skip


def rows(step, *, given, data, **more):
    """K vectors W that learn from M fixed ones B."""
    return Model(
        name="rows", state=(W,), given=given, data=data, learn=Update({W: W + step}, dt=1 / N), limit=Limit({N: oo}), **more
    )


def heads():
    """An activation of the user's, and a matrix of order one whose step contains |x|^2."""
    P = matrix("P", K, M)
    step = eta / N * (W * x / sqrt(N)) * (B * x / sqrt(N)).T * dot(x, x) / N
    return Model(
        name="heads", state=(W, P), given=(B, eta, D), data=(Normal(x, cov=D * Identity(N)),),
        learn=Update({W: W - eta / sqrt(N) * cubic(W * x / sqrt(N)) * x.T, P: P + step}, dt=1 / N), limit=Limit({N: oo}),
    )  # fmt: skip


MODELS = {
    "erf committee": lambda: teacher_student("erf2", "both", decay=True),
    "tanh committee": lambda: teacher_student("tanh", "first"),
    "relu committee": lambda: teacher_student("relu", "both", noise=False),
    "readout only": lambda: teacher_student("erf2", "readout"),
    "input and noise variance": lambda: single(
        -eta * grad(L, w), given=(b, eta, D, s), data=(Normal(x, cov=D * Identity(N)), Normal(zeta, cov=s)),
        let={L: (fn.erf2(lam) - nu - zeta) ** 2 / 2},
    ),
    "normalised inputs": lambda: single(-eta * (lam - nu) * sqrt(N) / dot(x, x) * x),
    "inputs with a mean": lambda: single(
        -eta * grad(L, w), data=Normal(x, mean=b / sqrt(N)), let={L: (fn.erf2(lam) - nu) ** 2 / 2}
    ),
    "momentum": lambda: Model(
        name="momentum", state=(w, m), given=(b, eta, gamma), data=(Normal(x),), limit=Limit({N: oo}),
        learn=Update({w: w + m / N, m: m - gamma / N * m - eta / sqrt(N) * (lam - nu) * x}, dt=1 / N),
    ),
    "a noise for each unit": lambda: rows(
        eta / sqrt(N) * z * x.T - eta / N * dot(a, a) * W, given=(eta, a), data=(Normal(x), Normal(z)),
    ),
    "pull between families": lambda: rows(
        eta / N * v * (a.T * B) + eta / sqrt(N) * fn.sgn(W * x / sqrt(N)) * x.T, given=(eta, v, a, B), data=(Normal(x),),
    ),
    "a user's activation": heads,
}  # fmt: skip


def setting(model, rng, *, n=9):
    """Weights, given arrays and draws of a model at N = n, K = 3, M = 2, all random."""
    low, sizes = model.lowered, {"N": n, "K": 3, "M": 2}
    arrays = {}
    for name in (*low.state, *low.given):
        shape = tuple(sizes.get(d, d) for d in low.shapes[name])
        arrays[name] = rng.normal(size=shape) if shape else rng.uniform(0.3, 0.9)
    draws = {d.symbols[0]: rng.normal(size=tuple(sizes.get(k, k) for k in d.shapes[d.symbols[0]])) for d in low.draws}
    return arrays, draws


def vectors(array, n):
    """The vectors of a family as rows."""
    return array if array.shape[1] == n else array.T


def overlap_arrays(data, arrays, n):
    """Every Gram matrix of a chain plan, from weights."""
    out = {}
    for o in data["overlaps"]:
        p, q = (vectors(arrays[f], n) for f in o["families"])
        drop = tuple(ax for ax, size in enumerate((p.shape[0], q.shape[0])) if size == 1)
        out[o["name"]] = np.squeeze(p @ q.T / n, axis=drop)
    return out


def split(data, grams, arrays):
    """(values, state) of the chain: arrays without axes of length 1."""
    learned = [f["name"] for f in data["families"] if f["learned"]]
    flat = {name: np.squeeze(a) for name, a in arrays.items()}
    moves = [o["name"] for o in data["overlaps"] if any(f in learned for f in o["families"])]
    values = {n: g for n, g in grams.items() if n not in moves} | {n: flat[n] for n in data["given"]}
    return values, {n: grams[n] for n in moves} | {n: flat[n] for n in data["states"]}


__all__ = ["MODELS", "exact_chain", "overlap_arrays", "plan", "setting", "split", "vectors"]
