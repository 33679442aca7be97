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
# # The RL perceptron and its optimal schedule
#
# Patel, Lee, Sarao Mannelli, Goldt and Saxe (2025): a student acts in an episode of T steps, and is told only at the end
# whether *all* actions were right. It then strengthens what it did. How fast does it learn, how large should its steps be, and
# how long its episodes?

# %%
import matplotlib.pyplot as plt
import numpy as np
import sympy as sp

import codegen
import derive
import numerics

# %% [markdown]
# ## 1. From the rule of one episode to two overlaps
# An episode is a draw with T columns. T stays a symbol: the number of right actions is averaged as a binomial count.

# %%
model = derive.rl_perceptron("all")
model

# %%
flow = derive.online_limit(model)
flow

# %% [markdown]
# ## 2. Learning curves
# $R$ is the overlap with the teacher, $Q$ the squared norm of the student. One kernel serves every T. Long episodes are rarely
# rewarded at the start: a plateau.

# %%
kernel = codegen.compile(flow, backend="numpy")
N, end = 300, 10
alpha = np.linspace(0, end, 101)
begin = {"Q": 1.0, "R": 0.3}
rng = np.random.default_rng(3)
wstar = rng.standard_normal((N, 1))
wstar *= np.sqrt(N) / np.linalg.norm(wstar)
side = rng.standard_normal((N, 1))
side -= wstar * (wstar.T @ side) / N
w = 0.3 * wstar + np.sqrt(1 - 0.3**2) * side * np.sqrt(N) / np.linalg.norm(side)
plan = derive.plan(model)


def accuracy(Q, R):
    """Probability of a right action."""
    return 1 - np.arccos(R / np.sqrt(Q)) / np.pi


def episodes(T, eta):
    """Accuracy along 6 runs of the update rule itself, measured on the weights."""
    run = numerics.simulate(
        plan, {"wstar": wstar, "eta_1": eta, "T": T}, {"w": w}, steps=end * N, every=N, replicas=6, seed=4, observe=False
    )
    v = run.values["w"][..., 0]
    return run.t, accuracy((v**2).sum(axis=-1) / N, v @ wstar[:, 0] / N)


# %%
lengths = (1, 4, 8)
curves = {
    T: numerics.integrate(kernel, begin, {"T": T, "eta_1": 1.0, "T_wstar": 1.0}, (0, end), alpha, rtol=1e-10) for T in lengths
}
runs = {T: episodes(T, 1.0) for T in lengths}

# %% [markdown]
# ## 3. The best step, the best length
# `greedy` sets the derivative of the progress of $\rho = R / \sqrt Q$ by the learning rate to zero, on paper. The system
# under this control has no learning rate any more, and the same verb applies to T.

# %%
R, Q, T = (flow.symbols[name] for name in ("R", "Q", "T"))
rho = R / sp.sqrt(Q)
best = derive.greedy(flow, flow.symbols["eta_1"], rho)
sp.simplify(best.to_sympy())

# %%
longest = derive.greedy(best.system, T, rho)
longest.to_sympy()

# %% [markdown]
# Better students can afford longer episodes. The curve under optimal control, and the same schedule given to the simulation
# as a function of time:

# %%
optimal = numerics.integrate(
    codegen.compile(best.system, backend="numpy"), begin, {"T": 4, "T_wstar": 1.0}, (0, end), alpha, rtol=1e-10
)
schedule = numerics.Schedule(alpha, optimal.observables["eta_1"])
under_control = episodes(4, schedule)

# %%
fig, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained")
for i, (length, path) in enumerate(curves.items()):
    times, seen = runs[length]
    left.plot(alpha, accuracy(path.values["Q"], path.values["R"]), color=f"C{i}", lw=1.4, label=f"$T = {length}$")
    left.errorbar(times, seen.mean(axis=0), seen.std(axis=0, ddof=1), fmt="o", color=f"C{i}", mfc="white", ms=3.5, lw=0.8)
times, seen = under_control
left.plot(alpha, optimal.observables["accuracy"], "k", lw=1.4, label=r"$T = 4$, optimal $\eta$")
left.errorbar(times, seen.mean(axis=0), seen.std(axis=0, ddof=1), fmt="o", color="k", mfc="white", ms=3.5, lw=0.8)
left.set(
    xlabel=r"time $\alpha$ = episodes / N",
    ylabel="probability of a right action",
    title="theory (lines) over episodes (circles)",
)
left.set_ylim(0.58, 0.95)
left.legend(frameon=False, ncols=2, loc="upper left")
twin = right.twinx()
right.plot(alpha, optimal.observables["eta_1"], "k", lw=1.4)
twin.plot(alpha, -1 / np.log(optimal.observables["accuracy"]), "C3", lw=1.4)
right.set(xlabel=r"time $\alpha$", ylabel=r"optimal learning rate $\eta^*$", title="the controls")
twin.set_ylabel(r"optimal length $T^* = -1 / \ln P$", color="C3")
plt.show()

# %% [markdown]
# ## The claim of this notebook
# The optimum is the published formula; it beats every constant rate of a scan; six runs of 300 inputs agree with the theory
# within five standard errors and the finite-size error, of order T / N in an overlap.

# %%
P = 1 - sp.acos(R / sp.sqrt(Q)) / sp.pi
printed = T * sp.sqrt(Q / (2 * sp.pi)) * (1 - rho**2) / (rho * P)
S = flow.symbols["T_wstar"]
at = {Q: 1.3, R: 0.6, T: 5, S: 1}
constant = [
    numerics.integrate(kernel, begin, {"T": 4, "eta_1": rate, "T_wstar": 1.0}, (0, end), [0, end], rtol=1e-9)
    for rate in (0.5, 1, 2, 4)
]
assert abs(best.to_sympy().subs(at).evalf() - printed.subs(at).evalf()) < 1e-12
assert abs(longest.to_sympy().subs(at).evalf() + (1 / sp.log(P)).subs(at).evalf()) < 1e-12
assert optimal.observables["accuracy"][-1] > max(path.observables["accuracy"][-1] for path in constant)
for length, (times, seen) in runs.items():
    error = seen.std(axis=0, ddof=1) / np.sqrt(len(seen))
    expected = np.interp(times, alpha, curves[length].observables["accuracy"])
    assert np.all(np.abs(seen.mean(axis=0) - expected) < 5 * error + length / N)
