"""Models for the tests of the overlap chain, and overlaps computed from weights (no code of the chain)."""

from __future__ import annotations

import numpy as np
from sympy import Identity, Rational, exp, oo, sqrt

from derive import fn
from derive.library.autoencoder import denoising_autoencoder
from derive.library.difficulty import curriculum_perceptron, signed_clusters
from derive.library.episodes import compositional_perceptron, rl_perceptron
from derive.library.teacher import teacher_student
from derive.online.chain_plan import exact_chain
from derive.spec.laws import Choice, Marginal, Normal
from derive.spec.model import Model
from derive.spec.nodes import grad
from derive.spec.rules import Limit, Update
from derive.spec.simulation_plan import plan
from derive.spec.sugar import dot, had
from derive.spec.symbols import activation, dims, matrix, scalars, vector

N, K, M, T, long = dims("N K M T long")
eta, gamma, s = scalars("eta gamma s", positive=True)
D = scalars("D", positive=True)
kappa, share, p = scalars("kappa share p", positive=True)
L, y, zeta = scalars("L y zeta")
W, B, w, b, m, x = matrix("W", K, N), matrix("B", M, N), vector("w", N), vector("b", N), vector("m", N), vector("x", N)
v, z, a = vector("v", K), vector("z", K), vector("a", M)
lam, nu = dot(w, x) / sqrt(N), dot(b, x) / sqrt(N)
u, c, q, X = vector("u", N), vector("c", N), vector("q", N), matrix("X", N, T)
z_t = vector("z_t", T)
cubic = activation("cubic", lambda u: u - u**3 / 9)
swish = activation("swish", lambda u: u / (1 + exp(-u)))
mask = vector("mask", K)


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


def lengths(batch=1):
    """A vector of length N and one of length share N, each with an input of its own, coupled through their fields."""
    f, g, h = vector("f", long), vector("g", long), vector("h", long)
    seen = dot(f, h) / sqrt(N)
    return Model(
        name="lengths", state=(w, f), given=(b, g, eta), data=(Normal(x), Normal(h, cov=2 * Identity(long))),
        learn=Update(
            {w: w + eta / sqrt(N) * fn.tanh(nu - lam + seen) * x, f: f + eta / sqrt(N) * (dot(g, h) / sqrt(N) - lam) * h},
            dt=1 / N, batch=batch,
        ),
        limit=Limit({N: oo, long: oo}, fixed={share: long / N}),
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
    "two inputs": lambda: single(
        eta / sqrt(N) * (lam * x + dot(b, u) / sqrt(N) * u), data=(Normal(x), Normal(u, cov=s * Identity(N))),
        given=(b, eta, s),
    ),
    "a product of inputs": lambda: single(
        eta / sqrt(N) * (dot(x, u) / N + nu) * u - eta / sqrt(N) * lam * dot(x, x) / N * x, data=(Normal(x), Normal(u)),
    ),
    "a product in a loss": lambda: single(
        -eta * grad(L, w), data=(Normal(x), Normal(u)), let={L: (fn.erf2(lam + dot(x, u) / sqrt(N)) - nu) ** 2 / 2}
    ),
    "an activation by its body": lambda: single(-eta * grad(L, w), let={L: (swish(lam) - nu) ** 2 / 2}),
    "a mask": lambda: Model(
        name="mask", state=(W, v), given=(b, eta, p), limit=Limit({N: oo}),
        data=(Normal(x), Marginal(mask, values=(0, 1, 3), probs=(1 - p, p / 2, p / 2))),
        let={L: (dot(v, had(mask, fn.tanh(W * x / sqrt(N)))) - nu) ** 2 / 2},
        learn=Update({W: W - eta * grad(L, W), v: v - eta / N * grad(L, v)}, dt=1 / N),
    ),
    "an auto-encoder": lambda: denoising_autoencoder(name="autoencoder"),
    "two lengths": lambda: lengths(),
    "two lengths, two layers": lambda: curriculum_perceptron(fn.erf2),
    "clusters": lambda: single(
        eta / sqrt(N) * (y - fn.erf2(lam)) * x, given=(b, m, eta, p, D),
        data=(Choice((c, y), ((b, 1), (-m, -1), (m, 2)), (p / 2, p / 2, 1 - p)),
              Normal(x, mean=c / sqrt(N), cov=D * y**2 * Identity(N))),
    ),
    "a unit column": lambda: signed_clusters(fn.erf2),
    "a policy": lambda: single(
        eta / sqrt(N) * y * (fn.step(y * nu) - Rational(1, 3)) * x,
        data=(Normal(x), Choice(y, (1, -1), ((1 + fn.erf2(lam)) / 2, (1 - fn.erf2(lam)) / 2))),
    ),
    "a mini-batch": lambda: Model(
        name="batch", state=(w, zeta), given=(b, eta, kappa), data=(Normal(x), Normal(u), Choice(y, (1, 3))),
        limit=Limit({N: oo}),
        learn=Update(
            {w: w + eta * y / sqrt(N) * (nu - lam) * (x + lam * u) - kappa / N * lam**2 * w, zeta: zeta + lam * nu / N},
            dt=1 / N, batch=3,
        ),
    ),
    "two lengths, a mini-batch": lambda: lengths(batch=2),
    "normalised weights": lambda: Model(
        name="normalised", state=(W, v), given=(eta, kappa), data=(Normal(x),), limit=Limit({N: oo}),
        learn=Update(
            {W: W + eta / sqrt(N) * fn.erf2(W * x / sqrt(N)) * x.T, v: v + eta / N * W * x / sqrt(N)},
            {W: W - kappa / N * v * v.T * W, v: v - kappa / N * v},
            {W: W / sqrt(dot(W, W) / N), v: v / sqrt(dot(v, v))}, dt=1 / N,
        ),
    ),
    "an episode": lambda: rl_perceptron("at_least"),
    "two episodes": lambda: rl_perceptron("survival"),
    "an episode of two layers": compositional_perceptron,
    "products along an episode": lambda: Model(
        name="products", state=(w,), given=(eta,), data=(Normal(X), Normal(z_t)), limit=Limit({N: oo}),
        learn=Update({w: w + eta / sqrt(N) * X * (X.T * X / N * (X.T * w / sqrt(N)) + z_t)}, dt=1 / N),
    ),
}  # fmt: skip

#: Axes of the cases, N = Nr + Ni = P_long + ... is 9 where nothing else is said.
SIZES = {"N": 9, "K": 3, "M": 2, "P": 2, "T": 4, "T0": 2, "T1": 3, "Nr": 5, "Ni": 4, "long": 6}
#: Lengths over the scale, by name.
RATIOS = {"rho": 5 / 9, "share": 6 / 9}
#: Outcome of the labels of each draw, and the values that it stands for.
OUTCOMES = {
    "an auto-encoder": ((1,), lambda at: {"s": -1.0}),
    "a mask": ((), lambda at: {"mask": np.array([[0.0], [3.0], [1.0]])}),
    "clusters": ((2,), lambda at: {"c": at["m"], "y": 2.0}),
    "a unit column": ((3,), lambda at: {"pick": np.array([[0.0], [1.0]]), "s": -1.0}),
    "a policy": ((1,), lambda at: {"y": -1.0}),
    "a mini-batch": ((1, 0, 1), lambda at: {"y": np.array([3.0, 1.0, 3.0])}),
}


def setting(model, rng, *, draws_of=1):
    """Weights, given arrays and Gaussian draws of a model at `SIZES`, all random; sizes of episodes are among the arrays."""
    low = model.lowered
    arrays = {}
    for name in (*low.state, *low.given):
        shape = tuple(SIZES.get(d, d) for d in low.shapes[name])
        arrays[name] = rng.normal(size=shape) if shape else rng.uniform(0.3, 0.9)
    for d in low.draws:
        if d.law == "Normal":
            arrays |= {k: SIZES[k] for k in d.shapes[d.symbols[0]] if isinstance(k, str) and k.startswith("T")}
    lead = (draws_of,) if draws_of > 1 else ()
    gauss = [(d.symbols[0], d.shapes[d.symbols[0]]) for d in low.draws if d.law == "Normal"]
    return arrays, {name: rng.normal(size=(*lead, *(SIZES.get(k, k) for k in shape))) for name, shape in gauss}


def vectors(array, n):
    """The vectors of a family as rows."""
    return array if array.shape[1] == n else array.T


def overlap_arrays(data, arrays, n):
    """Every Gram matrix of a chain plan, from weights; n is the scale."""
    out = {}
    block = {f["name"]: SIZES[f["block"]] if n == SIZES["N"] else n for f in data["families"]}
    for o in data["overlaps"]:
        p, q = (vectors(arrays[f], block[f]) for f in o["families"])
        drop = tuple(ax for ax, size in enumerate((p.shape[0], q.shape[0])) if size == 1)
        out[o["name"]] = np.squeeze(p @ q.T / n, axis=drop)
    return out


def split(data, grams, arrays):
    """(values, state) of the chain: arrays without axes of length 1, ratios of lengths, and sizes that no array shows."""
    learned = [f["name"] for f in data["families"] if f["learned"]]
    flat = {name: np.squeeze(a) if np.ndim(a) else a for name, a in arrays.items()}
    moves = [o["name"] for o in data["overlaps"] if any(f in learned for f in o["families"])]
    values = {n: g for n, g in grams.items() if n not in moves}
    values |= {n: RATIOS[n] if n in RATIOS else flat[n] for n in data["given"]}
    values |= {n: a for n, a in arrays.items() if n in ("T", "T0", "T1")}
    return values, {n: grams[n] for n in moves} | {n: flat[n] for n in data["states"]}


__all__ = ["MODELS", "exact_chain", "overlap_arrays", "plan", "setting", "split", "vectors"]
