r"""The overlap chain against SGD on full weights, in law: N = 100, 200, 400, up to K = M = 4.

For every case, 60 independent batches of runs from the same weights: means and covariances of all overlaps and readouts at
three times, judged by `same_law` with a family-wise error of 1 % for each case. The two simulators share no code: the chain
sees overlaps only, the other moves weights. Four chains with an error (without the degrees of freedom that the vectors
take, without the rest of the inputs, without G, with half of D C D') are judged by the same gate and must fail.

    python benchmarks/chain_law.py [--quick]

prints the table of docs/benchmarks.md (`--quick`: a fifth of the runs at N = 100).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sympy import Identity, oo, sqrt

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.chain_mutants import mutant, mutated_loop
from derive import (
    Choice,
    Limit,
    Model,
    Normal,
    Update,
    dims,
    dot,
    exact_chain,
    fn,
    grad,
    matrix,
    scalars,
    teacher_student,
    vector,
)  # fmt: skip
from numerics.simulate import Stream
from numerics.simulate.chain import chain
from numerics.simulate.families.committee import one_pass
from numerics.simulate.law import SameLaw, same_law

BATCHES, FALSE_ALARM, RUNS = 60, 0.01, 12_000
#: Errors that must be seen.
WRONG = ("degrees of freedom off by the rank", "no rest of the inputs", "no G", "no decay of the overlaps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One comparison: runs of both simulators from the same weights, shape (runs, T, F)."""

    name: str
    size: int
    chain: Callable[[int, int], np.ndarray]
    direct: Callable[[int, int], np.ndarray]


# ------------------------------------------------------------------------------------------------------------ committees
def committee(units: int, size: int, time_: float = 1.0) -> Case:
    """A two-layer student with as many units as its teacher; both layers, decay, label noise."""
    rng = np.random.default_rng(5)
    T = rng.normal(size=(units, size))
    W, v = 0.8 * rng.normal(size=(units, size)) + 0.3 * T[:1], np.linspace(1.0, 0.6, units)
    values = {"T": T @ T.T / size, "A": np.ones(units), "eta": 2.0, "eta_v": 1.0, "sigma": 0.3, "kappa": 1.0}
    state = {"Q": W @ W.T / size, "R": W @ T.T / size, "v": v}
    every = max(1, round(time_ * size / 3))
    data = exact_chain(teacher_student("erf2", "both", decay=True))

    def ours(runs: int, seed: int) -> np.ndarray:
        run = chain(data, values, state, size, 3 * every, seed=seed, replicas=runs, every=every)
        return packed({"Q": run.values["Q"], "R": run.values["R"], "v": run.values["v"]})

    def theirs(runs: int, seed: int) -> np.ndarray:
        out = []
        for replica in range(runs):
            stream = Stream(root=seed, replica=replica).generator("train")
            run = one_pass(
                stream, W, v, T, np.ones(units), eta=2.0, eta_v=1.0, sigma=0.3, decay=1.0, steps=3 * every, every=every
            )
            out.append(packed({"Q": run.Q, "R": run.R, "v": run.v}))
        return np.array(out)

    return Case(name=f"committee, K = M = {units}", size=size, chain=ours, direct=theirs)


def packed(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Independent quantities side by side, without the start: (..., T - 1, F)."""
    out = []
    for name, a in arrays.items():
        i, j = np.triu_indices(a.shape[-1])
        lead = a.shape[:-1] if name == "v" else a.shape[:-2]
        out.append(a[..., i, j] if name.startswith("Q") else a.reshape(*lead, -1))
    return np.concatenate(out, axis=-1)[..., 1:, :]


# -------------------------------------------------------------------------------------------------------------- clusters
def clusters_model() -> Model:
    """Clusters in one block of inputs and noise in another, a two-layer student, mini-batches of two, weight decay."""
    Nr, Ni, K, P = dims("Nr Ni K P")
    eta, eta_v, kappa, D, Delta, rho = scalars("eta eta_v kappa D Delta rho", positive=True)
    s, L = scalars("s L")
    W, U, Mu = matrix("W", K, Nr), matrix("U", K, Ni), matrix("Mu", P, Nr)
    v, x, z, pick, label = vector("v", K), vector("x", Nr), vector("z", Ni), vector("pick", P), vector("label", P)
    N = Nr + Ni
    return Model(
        name="clusters",
        state=(W, U, v),
        given=(Mu, label, eta, eta_v, kappa, D, Delta),
        data=(
            Choice(pick), Choice(s, (1, -1)), Normal(x, mean=s * Mu.T * pick / sqrt(N), cov=D * Identity(Nr)),
            Normal(z, cov=Delta * Identity(Ni)),
        ),
        let={L: (dot(v, fn.erf2((W * x + U * z) / sqrt(N))) - dot(label, pick)) ** 2 / 2},
        learn=Update(
            {W: W - eta * grad(L, W) - kappa / N * W, U: U - eta * grad(L, U) - kappa / N * U, v: v - eta_v / N * grad(L, v)},
            dt=1 / N, batch=2,
        ),
        limit=Limit({Nr: oo, Ni: oo}, fixed={rho: Nr / N}),
    )  # fmt: skip


def clusters(units: int, centres: int, size: int, time_: float = 1.0) -> Case:
    """Labels, two blocks of inputs (three fifths and two fifths), mini-batches; the direct road is plain NumPy."""
    rng = np.random.default_rng(6)
    near, far = 3 * size // 5, 2 * size // 5
    Mu, label = 2.0 * rng.normal(size=(centres, near)), np.where(np.arange(centres) % 2, -1.0, 1.0)
    W, U, v = rng.normal(size=(units, near)), rng.normal(size=(units, far)), np.linspace(1.0, -0.6, units)
    rates = {"eta": 3.0, "eta_v": 1.0, "kappa": 1.0, "D": 0.5, "Delta": 1.5}
    values = {**rates, "label": label, "T_Mu": Mu @ Mu.T / size, "rho": near / size}
    state = {"Q_W": W @ W.T / size, "Q_U": U @ U.T / size, "R_W_Mu": W @ Mu.T / size, "v": v}
    every = max(1, round(time_ * size / 3))
    data = exact_chain(clusters_model())

    def ours(runs: int, seed: int) -> np.ndarray:
        run = chain(data, values, state, size, 3 * every, seed=seed, replicas=runs, every=every)
        return packed({name: run.values[name] for name in ("Q_W", "Q_U", "R_W_Mu", "v")})

    def theirs(runs: int, seed: int) -> np.ndarray:
        parts = [_clusters_runs(W, U, v, Mu, label, rates, every, min(500, runs - n), seed, n) for n in range(0, runs, 500)]
        return np.concatenate(parts)

    return Case(name=f"clusters, K = {units}, P = {centres}", size=size, chain=ours, direct=theirs)


def _clusters_runs(
    W: Any, U: Any, v: Any, Mu: Any, label: Any, rates: Mapping[str, float], every: int, runs: int, seed: int, part: int
) -> np.ndarray:
    """SGD on full weights, runs side by side; every symbol is as in `clusters_model`."""
    from scipy.special import erf

    rng = Stream(root=seed, replica=part).generator("train")
    near, far = W.shape[1], U.shape[1]
    n = near + far
    W, U, v = (np.repeat(a[None], runs, axis=0) for a in (W, U, v))
    kept = []
    for step in range(3 * every + 1):
        if step % every == 0:
            kept.append((W @ W.mT / n, U @ U.mT / n, W @ Mu.T / n, v.copy()))
        dW, dU, dv = np.zeros_like(W), np.zeros_like(U), np.zeros_like(v)
        for _ in range(2):
            p, s = rng.integers(len(Mu), size=runs), rng.choice((1.0, -1.0), size=runs)
            x = s[:, None] * Mu[p] / np.sqrt(n) + np.sqrt(rates["D"]) * rng.standard_normal((runs, near))
            z = np.sqrt(rates["Delta"]) * rng.standard_normal((runs, far))
            lam = (np.einsum("rki,ri->rk", W, x) + np.einsum("rki,ri->rk", U, z)) / np.sqrt(n)
            g, slope = erf(lam / np.sqrt(2)), np.sqrt(2 / np.pi) * np.exp(-(lam**2) / 2)
            error = np.sum(v * g, axis=1) - label[p]
            push = (error[:, None] * v * slope)[:, :, None] / np.sqrt(n)
            dW -= rates["eta"] * push * x[:, None] / 2
            dU -= rates["eta"] * push * z[:, None] / 2
            dv -= rates["eta_v"] / n * error[:, None] * g / 2
        W = W + dW - rates["kappa"] / n * W
        U = U + dU - rates["kappa"] / n * U
        v = v + dv
    names = ("Q_W", "Q_U", "R_W_Mu", "v")
    return packed({name: np.stack([k[i] for k in kept], axis=1) for i, name in enumerate(names)})


# ----------------------------------------------------------------------------------------------------------------- table
def judge(case: Case, runs: int, loop: Callable[..., int]) -> dict[str, SameLaw]:
    """The chain itself (under the empty name) and its mutants against the same direct runs."""
    theirs = case.direct(runs, 1)
    out = {}
    for number, name in enumerate(("", *WRONG)):
        with mutant(loop, name):
            out[name] = same_law(case.chain(runs, 2 + number), theirs, batches=BATCHES, false_alarm=FALSE_ALARM)
    return out


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="overlap chain against SGD on full weights, in law")
    parser.add_argument("--quick", action="store_true", help="one fifth of the runs, N = 100 only")
    options = parser.parse_args()
    plan = [
        lambda: committee(2, 100), lambda: committee(4, 100), lambda: clusters(2, 2, 100), lambda: committee(4, 200),
        lambda: clusters(2, 2, 200), lambda: committee(2, 400), lambda: committee(4, 400),
    ]  # fmt: skip
    runs = RUNS
    if options.quick:
        plan, runs = plan[:3], runs // 5
    print("| case | N | runs of each | quantities | mean z^2 | adjusted p | " + " | ".join(WRONG) + " | CPU s |")
    print("|---|---:|---:|---:|---:|---:|" + "---:|" * (len(WRONG) + 1))
    with tempfile.TemporaryDirectory() as folder:
        loop = mutated_loop(Path(folder))
        for make in plan:
            begin, case = time.process_time(), make()
            found = judge(case, runs, loop)
            own = found[""]
            wrong = " | ".join(
                f"{'rejected' if not found[name].passed else 'MISSED'} ({found[name].statistic:.0e})" for name in WRONG
            )
            print(
                f"| {case.name} | {case.size} | {runs:,} | {own.z.shape[1]} | {np.nanmean(own.z**2):.3f} | "
                f"{own.statistic:.2g}{'' if own.passed else ' FAILED'} | {wrong} | {time.process_time() - begin:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
