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
# # Deep linear networks: stages, depth, and the order in which a child learns
#
# Saxe, McClelland and Ganguli (2014, 2019) solved the learning of deep linear networks and read it as a theory of semantic
# development: broad distinctions (plant or animal) come before fine ones (rose or daisy), in stages. Here these results are
# *derived*: the spec says what the network is, nothing more.

# %%
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

import codegen
import derive
import numerics
from derive.library.data_sets import one_hot_items, tree_features

# %% [markdown]
# ## 1. From the spec to one number a mode
# Two layers; the law of the data is open, only its second moments have names.

# %%
model = derive.linear_network(depth=2)
flow = derive.gradient_flow(model)
flow

# %%
modes = derive.reduce(flow, (derive.Modes(), derive.Balanced()))
modes

# %%
solution = derive.closed_form(modes.system)
solution

# %% [markdown]
# Every mode is at rest at 0, which is unstable, or at its target: a network of r modes has $2^r$ saddles and minima, and
# passes from saddle to saddle. The time it needs grows only with the logarithm of the start.

# %%
rest = derive.fixed_points(modes)
rest

# %%
waiting = derive.learning_times(modes)
waiting.times["u"]

# %% [markdown]
# ## 2. Depth
# `at_depth` gives the mode equation for any number of layers, also infinitely many, in the time $L t$. The question of the
# paper: how long does a network of depth $L$ need from a start of order one?

# %%
factors = derive.reduce(flow, derive.Modes(white=True))
depth = sp.Symbol("L", positive=True)
derive.at_depth(factors, depth)

# %%
infinite = derive.at_depth(factors, sp.oo)
derive.closed_form(infinite)

# %%
first, last, s = 0.5, 0.95, 1.0
scaled = np.linspace(0, 6, 121)


def strength(deep, horizon):
    """Strength of one mode at the times that are given, and when it reaches `last`."""
    kernel = codegen.compile(deep, backend="numpy")
    numbers = {"s": np.array([s]), "tau": 1.0, "tr_Syy": s**2}
    path = numerics.integrate(kernel, {"u": np.array([first])}, numbers, (0, horizon[-1]), horizon, rtol=1e-11)
    u = path.values["u"][:, 0]
    return u, float(np.interp(last, u, horizon))


layers = (1, 2, 5, 20, 100)
curves = {L: strength(derive.at_depth(factors, L), scaled / L) for L in layers}
limit, limit_time = strength(infinite, scaled)
reached = {L: L * time for L, (_, time) in curves.items()}
print({L: round(time, 3) for L, time in reached.items()}, "limit:", round(limit_time, 3))

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for L, colour in zip(layers, plt.colormaps["viridis"](np.linspace(0, 0.85, len(layers))), strict=True):
    ax.plot(scaled, curves[L][0], color=colour, lw=1.3, label=f"$L = {L}$")
ax.plot(scaled, limit, "k--", lw=1.3, label=r"$L \to \infty$")
ax.axhline(last, color="0.8", lw=0.8)
ax.set(
    xlabel=r"layers $\times$ time, $L t$", ylabel="mode strength $u$", title="From a start of order one, depth costs nothing"
)
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## 3. Semantic development
# Items are the leaves of a tree; each feature diffuses from the root and flips its sign with probability 0.15 on a branch.
# The spectrum of their similarity is known symbolically, with multiplicities, for every flip probability.

# %%
q = sp.Symbol("q", positive=True)
tree = derive.Tree(branching=(2, 2, 2), values=(q**3, q**2, q, 1))
spaces = derive.spectrum(tree)
for space in spaces:
    print(f"{space.values[0]!s:28} x {space.multiplicity}   {space.text}")

# %% [markdown]
# A mode's singular value is the root of its eigenvalue, and its half time falls with it: the broad contrasts come first.
# The second road is gradient descent on the items with all weights.

# %%
X, Y = one_hot_items(tree_features(4, 0.15))
bound = model.bind(x=X, y=Y)
values = {**bound.values, "tau": 1.0, "N1": 8}
given = modes.parameters_from(values)
u0 = {"u": np.full(len(given["s"]), 1e-3)}
t = np.linspace(0, 8, 81)
theory = solution.evaluate(t, u0, given)["u"]

# %%
rule = derive.plan(bound)
known = {name: v for name, v in values.items() if name in {*rule["given"], *rule["moments"], *rule["dims"]}}
descent = numerics.simulate(rule, known, modes.lift_state(values, u0), steps=800, every=20, dt=0.01, observe=False)
found = modes.project_state(values, descent.values)["u"][0]

# %% [markdown]
# The shallow network learns everything at once: the same data, one layer, exponential approach.

# %%
shallow = derive.linear_network(depth=1)
direct = derive.reduce(derive.gradient_flow(shallow), derive.Modes())
straight = derive.closed_form(direct.system)
one_layer = {**shallow.bind(x=X, y=Y).values, "tau": 1.0}
state = direct.system.state[0].name
approach = straight.evaluate(t, {state: np.full(len(given["s"]), 1e-3)}, direct.parameters_from(one_layer))[state]

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained", sharey=True)
names = ("all items", "first split", "second splits", "leaves")
levels = np.searchsorted(np.cumsum([space.multiplicity for space in spaces]), np.arange(len(given["s"])), side="right")
for k, level in enumerate(levels):
    label = names[level] if level not in levels[:k] else None
    left.plot(t, theory[:, k], color=f"C{level}", lw=1.3, label=label)
    left.plot(descent.t, found[:, k], "o", color=f"C{level}", mfc="white", ms=3)
    right.plot(t, approach[:, k], color=f"C{level}", lw=1.3)
left.set(xlabel="time $t$", ylabel="mode strength", title="two layers: stages (lines: theory, circles: descent)")
right.set(xlabel="time $t$", title="one layer: everything at once")
left.legend(frameon=False)
plt.show()

# %% [markdown]
# ## The claim of this notebook
# Learning times grow with depth to a finite limit; half times follow the levels of the tree; gradient descent at step 1/100
# follows the theory within the order of its step; the symbolic spectrum is that of the sampled data.

# %%
eigenvalues = [float(space.values[0].subs(q, 0.7**2)) for space in spaces for _ in range(space.multiplicity)]
half = [np.interp(0.5 * theory[-1, k], theory[:, k], t) for k in (0, 1, 2, 4)]
assert sorted(reached.values()) == list(reached.values())
assert abs(reached[1] - np.log((s - first) / (s - last))) < 1e-3  # exponential, known without the engine; grid of 0.05
assert abs(limit_time - reached[100]) < abs(limit_time - reached[20]) < 0.2
assert np.allclose(np.sort(given["s"]), np.sort(np.sqrt(eigenvalues)), atol=1e-9)
assert sorted(half) == half
assert np.abs(found - theory[::2]).max() < 0.02
