"""Two phases of shaping, with K = M = 2: the derived equations against SGD with full weights written out here."""

from __future__ import annotations

import numpy as np

from codegen import compile
from derive import online_limit
from derive.library.episodes import compositional_perceptron
from numerics import integrate

N, T, RUNS, ETA_W, ETA_V = 200, 3, 48, 0.5, 0.2
PHASES = ((np.array([1.0, 0.0]), 2.0), (np.array([0.8, 0.6]), 3.0))


def test_primitive_then_composite() -> None:
    rng = np.random.default_rng(5)
    rows = np.sqrt(N) * np.linalg.qr(rng.standard_normal((N, 4)))[0].T
    tasks = rows[:2]
    W = np.tile(0.2 * tasks + 0.4 * rows[2:], (RUNS, 1, 1))
    v = np.tile([0.6, 0.4], (RUNS, 1))
    state = {"Q": W[0] @ W[0].T / N, "R": W[0] @ tasks.T / N, "v": v[0]}
    kernel = compile(online_limit(compositional_perceptron()))
    for asked, length in PHASES:
        given = {"T": float(T), "T_Wstar": np.eye(2), "vstar": asked, "eta_w": ETA_W, "eta_v": ETA_V}
        path = integrate(
            kernel, state, {n: np.asarray(a) for n, a in given.items()}, (0.0, length), np.array([0.0, length]), rtol=1e-9
        ).raise_if_failed()
        state = {n: np.asarray(path.values[n][-1]) for n in state}
        for _ in range(int(length * N)):
            x = rng.standard_normal((RUNS, N, T)).astype(np.float32)
            lam = W @ x / np.sqrt(N)
            y = np.sign(np.einsum("rk,rkt->rt", v, lam))
            won = (y == np.sign(np.einsum("m,mn,rnt->rt", asked, tasks, x, optimize=True))).all(1) / T
            push = np.einsum("rnt,rt->rn", x, y) * won[:, None] / np.sqrt(N)
            old = v.copy()
            v = v + ETA_V / N * np.einsum("rkt,rt->rk", lam, y) * won[:, None]
            W = W + ETA_W * old[:, :, None] * push[:, None, :]
        overlaps = np.concatenate([(W @ W.transpose(0, 2, 1) / N).reshape(RUNS, -1), (W @ tasks.T / N).reshape(RUNS, -1)], 1)
        runs = np.concatenate([overlaps, v], 1)
        theory = np.concatenate([state["Q"].ravel(), state["R"].ravel(), state["v"]])
        error = runs.std(0, ddof=1) / np.sqrt(RUNS)
        # four standard errors (20 scores, fixed seed: false alarm 1e-3), and terms of order T/N
        assert np.all(np.abs(runs.mean(0) - theory) < 4 * error + 0.3 * T / N * np.abs(theory))
        assert np.all(error < 0.02 * np.abs(theory).max())  # so a wrong term of a tenth would be seen
