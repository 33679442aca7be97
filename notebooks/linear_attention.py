# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Linear attention learns in context: one abrupt drop, or one saddle after another
#
# Zhang, Singh, Latham and Saxe (2025): a head of linear attention reads N pairs (x, y) of a random linear task, and must answer
# for a new x. If key and query are one merged matrix, the loss drops once. If they are separate vectors of rank one, the loss
# falls in stages, one eigenvector of the input covariance after another. Both come out of the spec here.

# %%
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

import codegen
import derive
import numerics
from derive import scalars, vector

# %% [markdown]
# ## 1. The flow, with exact averages over sequences
# Inputs, the query and the task are Gaussian. The average over a context of N examples is a moment of fourth order: Wick's
# pairings give $\Lambda^2 (1 + 1/N) + \mathrm{tr}(\Lambda)\,\Lambda / N$, with the terms of finite N. Nobody typed it in.

# %%
merged = derive.linear_attention("merged", 2)
merged

# %%
abrupt = derive.gradient_flow(merged)
abrupt

# %%
for quantity in derive.conserved(abrupt):
    print(derive.describe(quantity))

# %% [markdown]
# ## 2. Separate key and query
# Two heads, each along an eigenvector of $\Lambda$: `reduce` proves that this manifold is invariant. Two numbers are left.

# %%
separate = derive.linear_attention("separate", 2)
staged = derive.gradient_flow(separate)
Lam = separate.symbols["Lam"]
k1, q1, v1, k2, q2, v2 = (separate.symbols[name] for name in ("k1", "q1", "v1", "k2", "q2", "v2"))
e1, e2 = (vector(name, Lam.shape[0]) for name in ("e1", "e2"))
z1, z2 = scalars("z1 z2")
lam1, lam2 = scalars("lam1 lam2", positive=True)
heads = derive.Manifold(
    {k1: z1 * e1, q1: z1 * e1, v1: z1, k2: z2 * e2, q2: z2 * e2, v2: z2},
    coordinates=(z1, z2),
    data={Lam: lam1 * e1 * e1.T + lam2 * e2 * e2.T},
    tags={e1: "orth", e2: "orth"},
    orthogonal=((e1, e2),),
)
two = derive.reduce(staged, heads)
two

# %% [markdown]
# Every subset of learned eigenvectors is a fixed point. Three of the four are saddles, which the flow leaves at a power of
# time only; their losses are the plateaus.

# %%
saddles = derive.fixed_points(two, positive=(derive.dims("N"),))
saddles

# %% [markdown]
# ## 3. Curves
# The same inputs for both: variances 0.75 and 0.25, 31 pairs in context, a small start. SGD sees fresh sequences, at step 1/10
# in batches of 32, and shares no code with the derivation.

# %%
numbers = {"D": 2, "N": 31, "tau": 1.0, "Lam": np.diag([0.75, 0.25])}
rng = np.random.default_rng(5)


def follow(model, flow, start, end):
    """Flow and 6 runs of SGD at step 1/10 from one start."""
    t = np.linspace(0, end, 201)
    needed = {name: numbers[name] for name in ("N", "tau", "Lam")}
    path = numerics.integrate(codegen.compile(flow, backend="numpy"), start, needed, (0, end), t, rtol=1e-9)
    rule = derive.plan(derive.as_updates(model, eta=sp.Rational(1, 10), batch=32))
    sgd = numerics.simulate(rule, numbers, start, steps=10 * end, every=end // 2, replicas=6, seed=2, mean_draws=4000)
    return path, sgd


# %%
plain = {"U1": 0.01 * rng.standard_normal((2, 2)), "U2": 0.01 * rng.standard_normal((2, 2)), "v1": 0.05, "v2": 0.04}
drop = follow(merged, abrupt, plain, 40)


# %%
def head(direction, size):
    """A head that leans towards a direction; |k| = |q| = v is conserved."""
    towards = np.asarray(direction, dtype=float)[:, None]
    return size * towards / np.linalg.norm(towards)


leaning = {"k1": head((1, 0.1), 0.16), "q1": head((1, 0.1), 0.16), "v1": 0.16}
leaning |= {"k2": head((0.1, 1), 0.16), "q2": head((0.1, 1), 0.16), "v2": 0.16}
stages = follow(separate, staged, leaning, 160)

# %% [markdown]
# The losses of the saddles, from `fixed_points`:

# %%
at = {"N": 31, "D": 2, "lam1": sp.Rational(3, 4), "lam2": sp.Rational(1, 4)}
plateaus = [point.observables["loss"] for point in saddles.points]
levels = [float(e.subs({x: at[x.name] for x in e.free_symbols})) for e in plateaus]
levels

# %%
fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained", sharey=True)
for ax, (path, sgd), title in zip(
    axes, (drop, stages), ("merged: one drop", "separate: one saddle after another"), strict=True
):
    ax.plot(path.t, path.observables["loss"], "k", lw=1.4, label="derived flow")
    seen = sgd.observables["loss"]
    ax.errorbar(
        sgd.t, seen.mean(axis=0), seen.std(axis=0, ddof=1), fmt="o", color="C0", mfc="white", ms=3.5, lw=0.8, label="SGD"
    )
    ax.set(xlabel="time $t$", title=title)
for level in levels:
    axes[1].axhline(level, color="C1", lw=0.8, ls="--", zorder=0)
axes[0].set_ylabel("loss")
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# The saddle in which the weak direction is learned first is never visited: its line stays free.
#
# ## The claim of this notebook
# The plateaus of the flow are the losses of the saddles, to what is left at the end of a plateau; both networks end at the
# loss of the last; the mean of 6 runs of SGD is at the derived loss within 5 standard errors and the error of its step.

# %%
path, sgd = stages
loss = path.observables["loss"]
halfway, late = np.searchsorted(path.t, 30.0), -1
assert abs(loss[halfway] - levels[1]) < 0.01
assert abs(loss[late] - levels[3]) < 0.005
assert abs(drop[0].observables["loss"][-1] - levels[3]) < 0.01
for path, sgd in (drop, stages):
    seen = sgd.observables["loss"]
    error = seen.std(axis=0, ddof=1) / np.sqrt(len(seen))
    theory = np.interp(sgd.t, path.t, path.observables["loss"])
    assert np.all(np.abs(seen.mean(axis=0) - theory) < 5 * error + 0.1)
