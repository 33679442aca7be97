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
# # First light: how a deep linear network learns the digits
#
# We write down a network and its loss, derive the equations of learning, reduce them to one number per singular mode, solve
# those, and lay the solution over gradient descent on scikit-learn's digits.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sympy import Rational

import codegen
import derive
import numerics
from numerics.data import centre, load, whiten

# %% [markdown]
# ## The problem
# `linear_network` is a plain function that returns a `Model`. Its data law is left open: only the second moments have names.

# %%
model = derive.linear_network(depth=2)
model

# %% [markdown]
# ## The flow
# Gradients are taken at the level of matrices, so the equations hold at every width. Each gradient was compared with central
# differences before it was returned.

# %%
flow = derive.gradient_flow(model)
flow

# %%
for quantity in derive.conserved(flow):
    print(derive.describe(quantity))

# %% [markdown]
# ## The reduction, and what it assumes
# `reduce` proves that the flow does not leave the manifold of aligned modes, or raises with a counter-example. What it assumes
# about data can be measured on data.

# %%
digits = centre(load("digits"))
white = whiten(digits)
print(white)

modes = derive.reduce(flow, (derive.Modes(white=True), derive.Balanced()))
raw_values = {**model.bind(x=digits.X, y=digits.Y).values, "tau": 1.0}
bound = model.bind(x=white.X, y=white.Y)
values = {**bound.values, "tau": 1.0, "N1": 10}

from derive.assumptions import measure

white_inputs = next(a for a in modes.assumptions if a.residual is not None)
print(
    white_inputs.text,
    "| raw:",
    f"{measure(white_inputs, raw_values):.2g}",
    "| whitened:",
    f"{measure(white_inputs, values):.2g}",
)

# %%
modes

# %%
solution = derive.closed_form(modes.system)
solution

# %% [markdown]
# ## Four roads to one curve
# Closed form, mode equation, full matrix flow, and SGD on real items, which shares no code with the derivation.

# %%
given = modes.parameters_from(values)
start = {"u": np.full(len(given["s"]), 1e-3)}
t = np.linspace(0, 30, 61)
closed = solution.evaluate(t, start, given)["u"]
reduced = numerics.integrate(codegen.compile(modes.system, backend="numpy"), start, given, (0, 30), t, rtol=1e-11)

weights = modes.lift_state(values, start)
params = {name: values[name] for name in ("tau", "Sx", "Syx", "Syy")}
full = numerics.integrate(codegen.compile(flow, backend="numpy"), weights, params, (0, 30), t, rtol=1e-10)
projected = modes.project_state(values, full.values)["u"]

# %%
sgd = derive.plan(derive.as_updates(bound, eta=Rational(1, 20), batch=64))
names = {*sgd["given"], *sgd["moments"], *sgd["dims"]}
runs = numerics.simulate(
    sgd, {k: v for k, v in values.items() if k in names}, weights, steps=600, every=50, replicas=3, seed=0, observe=False
)
simulated = modes.project_state(values, runs.values)["u"]

# %%
fig, ax = plt.subplots(figsize=(6, 3.5))
ax.plot(t, closed, color="C0", lw=1)
ax.plot(runs.t, simulated.mean(axis=0), "o", color="C1", ms=3)
ax.set(xlabel="time", ylabel="mode strength $u$", title="closed form (lines) over SGD (dots)")
# %% [markdown]
# ## The claim of this notebook
# The two bounds of 1e-8 are a hundred times the tolerance of the integrations; SGD at a finite step has an error of the
# order of the step, 1/20.

# %%
scale = np.abs(closed).max()
assert np.abs(closed - reduced.values["u"]).max() / scale < 1e-8
assert np.abs(projected - reduced.values["u"]).max() / scale < 1e-8
assert np.abs(simulated.mean(axis=0) - closed[::5]).max() / scale < 1 / 20
