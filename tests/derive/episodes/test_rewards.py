"""Order-parameter equations of learning by reward. Two roads: what the engine derives, and equations typed here with NumPy and
SciPy, direct simulation with full weights, or samples of the fields of one episode.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp
from scipy.stats import binom

from codegen import compile
from derive import Limit, Model, Normal, Update, dims, fn, had, matrix, mean, online_limit, scalars, total, vector
from derive.library.episodes import REWARDS, compositional_perceptron, rl_perceptron
from numerics import integrate

Rates = Callable[..., tuple[float, float]]


def chance(Q: float, R: float) -> tuple[float, float]:
    rho = R / np.sqrt(Q)
    return rho, 1 - np.arccos(rho) / np.pi


def typed(reward: Callable[[Any, int], Any]) -> Rates:
    """The general equations for a reward r(k, T), a teacher of unit length."""

    def rates(Q: float, R: float, T: int) -> tuple[float, float]:
        rho, P = chance(Q, R)
        k = np.arange(T + 1)
        others = binom.pmf(k[:-1], T - 1, P)
        u, d = others @ reward(k[:-1] + 1, T), others @ reward(k[:-1], T)
        square = binom.pmf(k, T, P) @ reward(k, T) ** 2
        dR = ((1 + rho) * u - (1 - rho) * d) / np.sqrt(2 * np.pi)
        return 2 * np.sqrt(Q / 2 / np.pi) * ((1 + rho) * u + (1 - rho) * d) + square / T, dR

    return rates


def survival(power: int = 2) -> Rates:
    def rates(Q: float, R: float, T: int, T0: int = 2, e1: float = 1.3, e2: float = 0.4) -> tuple[float, float]:
        rho, P = chance(Q, R)
        dR = (1 + rho) / np.sqrt(2 * np.pi) * (e1 * P ** (T - 1) + e2 * T0 / T * P ** (T0 - 1))
        noise = e1**power * T * P**T + 2 * e1 * e2 * T0 * P**T + e2**2 * T0 * P**T0
        return 2 * np.sqrt(Q) * dR + noise / T**2, dR

    return rates


KNOWN: dict[str, tuple[dict[str, float], Rates]] = {
    "all": ({"eta_1": 1.3}, typed(lambda k, T: 1.3 * (k == T))),
    "penalty": ({"eta_1": 1.3, "eta_2": 0.4}, typed(lambda k, T: np.where(k == T, 1.3, -0.4))),
    "at_least": ({"eta_1": 1.3, "n": 3.0}, typed(lambda k, T: 1.3 * (k >= 3))),
    "linear": ({"eta_1": 1.3, "baseline": 0.5}, typed(lambda k, T: 1.3 * (k / T - 0.5))),
    "survival": ({"eta_1": 1.3, "eta_2": 0.4}, survival()),
}


def sizes(reward: str, T: int) -> dict[str, float]:
    return {"T0": 2.0, "T1": T - 2.0, "T": 1.0} if reward == "survival" else {"T": float(T), "T_wstar": 1.0}


def right_hand_side(flow: Any) -> Callable[..., Any]:
    kernel = compile(flow, backend="numpy")
    layout = kernel.layout({"Q": np.asarray(1.0), "R": np.asarray(0.1)})

    def rates(Q: float, R: float, params: dict[str, float]) -> Any:
        f = kernel.flat_rhs(layout, kernel.arguments({n: np.asarray(v) for n, v in params.items()}))
        return f(0.0, layout.pack({"Q": np.asarray(Q), "R": np.asarray(R)}))

    return rates


def worst(flow: Any, params: dict[str, float], rates: Rates, lengths: tuple[int, ...], rename: str) -> float:
    rng, derived, out = np.random.default_rng(4), right_hand_side(flow), 0.0
    for n in range(100):
        T = lengths[n % len(lengths)]
        Q = rng.uniform(0.2, 4.0)
        R = rng.uniform(-1, 1) * np.sqrt(Q)
        got = derived(Q, R, {**params, **sizes(rename, T)})
        want = np.array(rates(Q, R, T))
        out = max(out, float(np.max(np.abs(got - want) / (1 + np.abs(want)))))
    return out


@pytest.mark.parametrize("reward", REWARDS)
def test_published_equations_at_a_hundred_states(reward: str) -> None:
    begin = time.perf_counter()
    flow = online_limit(rl_perceptron(reward))
    assert time.perf_counter() - begin < 5
    params, rates = KNOWN[reward]
    # one kernel for every T; rounding of sums of at most ten terms
    assert worst(flow, params, rates, (3, 4, 7), reward) < 1e-12


@pytest.mark.parametrize(
    ("reward", "mutant"),
    [
        ("survival", survival(power=1)),  # as printed in the authors' notebook, the same at eta_1 = 1 only
        ("all", typed(lambda k, T: 1.3 * (k >= T - 1))),
        ("at_least", typed(lambda k, T: 1.3 * (k > 3))),
        ("linear", typed(lambda k, T: 1.3 * (k / T - 0.51))),
    ],
)
def test_wrong_equations_are_told_apart(reward: str, mutant: Rates) -> None:
    assert worst(online_limit(rl_perceptron(reward)), KNOWN[reward][0], mutant, (4,), reward) > 1e-3


def simulated(reward: str, params: dict[str, float], T: int, end: float, runs: int, N: int = 400) -> np.ndarray:
    """Q and R of SGD with full weights, written out here: no plan, no engine. Runs side by side."""
    rng = np.random.default_rng(12)
    teacher = rng.standard_normal((runs, N))
    teacher *= np.sqrt(N) / np.linalg.norm(teacher, axis=1, keepdims=True)
    other = rng.standard_normal((runs, N))
    other -= (other * teacher).sum(1, keepdims=True) * teacher / N
    other *= np.sqrt(N) / np.linalg.norm(other, axis=1, keepdims=True)
    w = 0.3 * teacher + np.sqrt(1 - 0.09) * other
    e1, e2 = params["eta_1"], params.get("eta_2", 0.0)
    first = int(params.get("T0", 0))
    for _ in range(int(end * N)):
        x = rng.standard_normal((runs, N, T))
        y = np.sign(np.einsum("rn,rnt->rt", w, x))
        right = y == np.sign(np.einsum("rn,rnt->rt", teacher, x))
        k = right.sum(1)
        won = k == T
        weight = {
            "all": e1 * won, "penalty": np.where(won, e1, -e2), "at_least": e1 * (k >= params.get("n", 0)),
            "linear": e1 * (k / T - params.get("baseline", 0)), "survival": e1 * won,
        }[reward][:, None] * np.ones(T)  # fmt: skip
        if first:
            weight[:, :first] += e2 * right[:, :first].all(1, keepdims=True)
        w += np.einsum("rt,rnt->rn", weight * y, x) / (T * np.sqrt(N))
    return np.array([(w * w).mean(1), (w * teacher).mean(1)])


@pytest.mark.parametrize(
    ("reward", "params", "T"),
    [
        ("all", {"eta_1": 1.0}, 4),
        ("at_least", {"eta_1": 1.0, "n": 5.0}, 8),
        ("linear", {"eta_1": 1.0, "baseline": 0.5}, 6),
        ("survival", {"eta_1": 1.0, "eta_2": 0.5, "T0": 3.0}, 6),
    ],
)
def test_sgd_with_full_weights(reward: str, params: dict[str, float], T: int) -> None:
    flow = online_limit(rl_perceptron(reward))
    lengths = {"T0": 3.0, "T1": T - 3.0, "T": 1.0} if reward == "survival" else sizes(reward, T)
    given = {n: np.asarray(v) for n, v in {**params, **lengths}.items()}
    path = integrate(
        compile(flow), {"Q": np.asarray(1.0), "R": np.asarray(0.3)}, given, (0.0, 4.0), np.array([0.0, 4.0]), rtol=1e-10
    ).raise_if_failed()
    theory = np.array([path.values["Q"][-1], path.values["R"][-1]])
    runs = simulated(reward, params, T, 4.0, 16)
    error = runs.std(1, ddof=1) / 4
    # four standard errors of 16 runs (false alarm 1e-3 for eight scores, fixed seed), and terms of order T/N at N = 400
    assert np.all(np.abs(runs.mean(1) - theory) < 4 * error + 0.3 * T / 400 * theory)
    assert np.all(error < 0.02 * theory)  # so a wrong term of a tenth would be seen


# --------------------------------------------------------------------------------------------------------- held-out rules
N, T = dims("N T")
w, wstar, X = vector("w", N), vector("wstar", N), matrix("X", N, T)
e1, e2, n = scalars("eta_1 eta_2 n", positive=True)
k, r = scalars("k r")
y, ystar, zeta = vector("y", T), vector("ystar", T), vector("zeta", T)


def rule(reward: Any, given: tuple[Any, ...], right: Any = None, noisy: bool = False, **more: Any) -> Model:
    field = X.T * w / sp.sqrt(N)
    return Model(
        name="held_out", state=(w,), given=(wstar, *given), data=(Normal(X), *((Normal(zeta),) if noisy else ())),
        let={
            y: fn.sgn(field + e2 * zeta) if noisy else fn.sgn(field), ystar: fn.sgn(X.T * wstar / sp.sqrt(N)),
            k: total(fn.step(had(y, ystar)) if right is None else right), r: reward,
        },
        learn=Update({w: w + r / (T * sp.sqrt(N)) * X * y}, dt=1 / N, **more),
        limit=Limit({N: sp.oo}), observe={"reward": mean(r)},
    )  # fmt: skip


HELD_OUT: dict[str, tuple[Model, Callable[[Any, Any, Any], Any]]] = {
    "tiers": (
        rule(e1 * fn.step(k - n + sp.Rational(1, 2)) + e2 * sp.KroneckerDelta(k, T), (e1, e2, n)),
        lambda a, b, z: (c := (a * b > 0).sum(0)) * 0 + 0.8 * (c >= 3) + 0.5 * (c == 5),
    ),
    "square": (rule(e1 * (k / T) ** 2 - e2, (e1, e2)), lambda a, b, z: 0.8 * ((a * b > 0).sum(0) / 5) ** 2 - 0.5),
    "exponential": (rule(sp.exp(e1 * k / T) - e2, (e1, e2)), lambda a, b, z: np.exp(0.8 * (a * b > 0).sum(0) / 5) - 0.5),
    "errors": (
        rule(e1 * sp.KroneckerDelta(k, 0), (e1,), right=fn.abs(y - ystar) / 2),
        lambda a, b, z: 0.8 * ((a * b < 0).sum(0) == 0),
    ),
    "list": (rule(e1 * sp.KroneckerDelta(k, 4) - e1 * sp.KroneckerDelta(0, k), (e1,)),
             lambda a, b, z: 0.8 * ((c := (a * b > 0).sum(0)) == 4) - 0.8 * (c == 0)),
    "go actions": (
        rule(e1 * sp.KroneckerDelta(k, T) + e2 * total(y) / T, (e1, e2)),
        lambda a, b, z: 0.8 * ((a * b > 0).sum(0) == 5) + 0.5 * np.sign(a).sum(0) / 5,
    ),
    "noisy policy": (
        rule(e1 * sp.KroneckerDelta(k, T), (e1, e2), noisy=True),
        lambda a, b, z: 0.8 * (((a + 0.5 * z) * b > 0).sum(0) == 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HELD_OUT)
def test_other_rewards_against_sampled_episodes(name: str) -> None:
    model, reward = HELD_OUT[name]
    flow = online_limit(model)
    Q, R, steps, count = 1.4, 0.7, 5, 200_000
    known = {"T": steps, "T_wstar": 1.0, "eta_1": 0.8, "eta_2": 0.5, "n": 3.0}
    got = right_hand_side(flow)(Q, R, {b.name: known[b.name] for b in flow.parameters})
    rng = np.random.default_rng(8)
    nu, rest, z = rng.standard_normal((3, steps, count))
    lam = R * nu + np.sqrt(Q - R**2) * rest
    action = np.sign(lam + 0.5 * z) if name == "noisy policy" else np.sign(lam)
    size = reward(lam, nu, z)
    samples = (2 * size / steps * (action * lam).sum(0) + size**2 / steps, size / steps * (action * nu).sum(0))
    for value, sample in zip(got, samples, strict=True):
        z_score = (sample.mean() - value) / (sample.std() / np.sqrt(count))
        assert abs(z_score) < 4.5  # fixed seed; 14 scores, false alarm below 1e-4


def test_batches_divide_the_noise_alone() -> None:
    one, four = (online_limit(rule(e1 * sp.KroneckerDelta(k, T), (e1,), batch=b)) for b in (1, 4))
    params = {"T": 5.0, "T_wstar": 1.0, "eta_1": 0.8}
    a, b = (right_hand_side(f)(1.4, 0.7, params) for f in (one, four))
    _, P = chance(1.4, 0.7)
    assert a[1] == pytest.approx(b[1], rel=1e-14)
    assert a[0] - b[0] == pytest.approx(0.75 * 0.64 * P**5 / 5, rel=1e-12)  # rounding


def test_composite_perceptron_of_one_unit_is_the_perceptron() -> None:
    both = online_limit(compositional_perceptron())
    kernel = compile(both, backend="numpy")
    start = {"Q": np.array([[1.4]]), "R": np.array([[0.7]]), "v": np.array([1.0])}
    layout = kernel.layout(start)
    values = {"T": 4.0, "T_Wstar": [[1.0]], "vstar": [1.0], "eta_w": 1.3, "eta_v": 0.0}
    f = kernel.flat_rhs(layout, kernel.arguments({n: np.asarray(v) for n, v in values.items()}))
    moved = layout.unpack(f(0.0, layout.pack(start)))
    want = KNOWN["all"][1](1.4, 0.7, 4)
    assert [float(moved["Q"][0, 0]), float(moved["R"][0, 0])] == pytest.approx(want, rel=1e-12)  # rounding
