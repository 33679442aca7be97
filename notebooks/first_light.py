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
# # First light: two published systems, from the spec to the figure
#
# **I.** A deep linear network learns scikit-learn's digits: its flow is reduced to one number for each mode, and solved.
# **II.** A two-layer erf network learns from a teacher: a thousand weights become a handful of overlaps.
#
# Both are laid over real SGD, which shares no code with the derivation.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sympy import Rational

import codegen
import derive
import numerics
from derive.matrices.assumptions import measure
from numerics.data import centre, load, whiten

# %% [markdown]
# ## I. A deep linear network
# `linear_network` is a plain function that returns a `Model`. Its data law is left open: only the second moments have names.

# %%
model = derive.linear_network(depth=2)
model

# %% [markdown]
# Gradients are taken at the level of matrices, so the equations hold at every width. Each gradient was compared with central
# differences before it was returned.

# %%
flow = derive.gradient_flow(model)
flow

# %%
for quantity in derive.conserved(flow):
    print(derive.describe(quantity))

# %% [markdown]
# `reduce` proves that the flow does not leave the manifold of aligned modes, or raises with a counter-example.

# %%
modes = derive.reduce(flow, (derive.Modes(white=True), derive.Balanced()))
modes

# %%
solution = derive.closed_form(modes.system)
solution

# %% [markdown]
# What a reduction assumes about data can be measured on data. Raw digits are far from white:

# %%
digits = centre(load("digits"))
white = whiten(digits)
print(white)

# %%
bound = model.bind(x=white.X, y=white.Y)
values = {**bound.values, "tau": 1.0, "N1": 10}
raw = {**model.bind(x=digits.X, y=digits.Y).values, "tau": 1.0}
inputs = next(a for a in modes.assumptions if a.residual is not None)
print(f"{inputs.text}: raw {measure(inputs, raw):.2g}, whitened {measure(inputs, values):.2g}")

# %% [markdown]
# Four roads to one curve: closed form, mode equations, full matrix flow, and SGD on real items.

# %%
given = modes.parameters_from(values)
start = {"u": np.full(len(given["s"]), 1e-3)}
t = np.linspace(0, 30, 61)
closed = solution.evaluate(t, start, given)["u"]
reduced = numerics.integrate(codegen.compile(modes.system, backend="numpy"), start, given, (0, 30), t, rtol=1e-11)

# %%
weights = modes.lift_state(values, start)
params = {name: values[name] for name in ("tau", "Sx", "Syx", "Syy")}
full = numerics.integrate(codegen.compile(flow, backend="numpy"), weights, params, (0, 30), t, rtol=1e-10)
projected = modes.project_state(values, full.values)["u"]

# %%
sgd = derive.plan(derive.as_updates(bound, eta=Rational(1, 20), batch=64))
known = {k: v for k, v in values.items() if k in {*sgd["given"], *sgd["moments"], *sgd["dims"]}}
runs = numerics.simulate(sgd, known, weights, steps=600, every=20, replicas=3, seed=0, observe=False)
simulated = modes.project_state(values, runs.values)["u"]

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for k, colour in enumerate(plt.colormaps["viridis"](np.linspace(0, 0.9, closed.shape[1]))):
    ax.plot(t, closed[:, k], color=colour, lw=1.3)
    ax.plot(runs.t, simulated[..., k].mean(axis=0), "o", color=colour, mfc="white", ms=3.5)
ax.set(xlabel="time $t$", ylabel="mode strength $u$", title="Digits: closed form (lines) over SGD (circles)")
plt.show()

# %% [markdown]
# ## II. A committee learns from a teacher
# A student with K hidden units, a teacher with M, a fresh example at each step. `online_limit` derives the equations of the
# overlaps from the update rule, for symbolic K and M; `where` names the conditional covariances that the averages consist of.

# %%
committee = derive.teacher_student(train="first", noise=False)
overlaps = derive.online_limit(committee)
overlaps

# %% [markdown]
# The theory knows the weights only through their overlaps Q, R and T at the start.

# %%
N, K, M, end = 500, 2, 2, 10
rng = np.random.default_rng(1)
teacher = rng.standard_normal((M, N))
student = 0.7 * rng.standard_normal((K, N)) + np.array([[0.4, 0.1], [0.1, 0.3]]) @ teacher
known = {"v": np.ones(K), "A": np.ones(M), "eta": 0.5}
at_start = {"Q": student @ student.T / N, "R": student @ teacher.T / N}

# %%
alpha = np.linspace(0, end, 51)
kernel = codegen.compile(overlaps, backend="numpy")
theory = numerics.integrate(kernel, at_start, {**known, "T": teacher @ teacher.T / N}, (0, end), alpha, rtol=1e-9)

# %%
one_pass = derive.plan(committee)
trained = numerics.simulate(
    one_pass, {**known, "Wstar": teacher}, {"W": student}, steps=end * N, every=N // 5, replicas=8, seed=0, observe=False
)
measured = trained.values["W"] @ teacher.T / N

# %%
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for n, (k, m) in enumerate(np.ndindex(K, M)):
    seen = measured[..., k, m]
    ax.plot(theory.t, theory.values["R"][:, k, m], color=f"C{n}", lw=1.3, label=f"$R_{{{k + 1}{m + 1}}}$")
    ax.errorbar(trained.t, seen.mean(axis=0), seen.std(axis=0, ddof=1), color=f"C{n}", fmt="o", mfc="white", ms=3.5, lw=0.8)
ax.set(xlabel=r"time $\alpha$ = steps / N", title="Committee: theory (lines) over 8 runs of one-pass SGD (circles)")
ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
plt.show()

# %% [markdown]
# ## The claim of this notebook
# The two bounds of 1e-8 are a hundred times the tolerance of the integrations; SGD at a finite step has an error of the
# order of the step, 1/20. One run of the committee fluctuates by about 1/sqrt(N), a mean of eight by less than half of that.

# %%
scale = np.abs(closed).max()
assert np.abs(closed - reduced.values["u"]).max() / scale < 1e-8
assert np.abs(projected - reduced.values["u"]).max() / scale < 1e-8
assert np.abs(simulated.mean(axis=0) - closed[::2]).max() / scale < 1 / 20
assert np.abs(measured.mean(axis=0) - theory.values["R"]).max() < 0.5 / np.sqrt(N)
