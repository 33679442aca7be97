"""Four published systems that close in inner products or matrices: physics, beside the claims of their entries."""

from dataclasses import replace

import numpy as np
import pytest

import derive
from derive.catalog import furlanello_2016_long_term_memory as memory
from derive.catalog import load
from derive.catalog import sandbrink_2024_flexible_gating as gating
from derive.claims.entry import MatchesSimulation
from derive.completion.closure import complete
from derive.errors import InvalidSpec
from derive.library.attention import linear_attention
from derive.matrices.evaluate import evaluate
from numerics.verify import verify
from tests.derive.closure.roads import AGREE, assert_same_roads, solved

VARIANTS = [
    ("singh_2024_induction_toy", {"clamp": "c"}),
    ("singh_2024_induction_toy", {"clamp": "bc"}),
    ("zhang_2025_linear_attention", {"attention": "separate"}),
    ("zhang_2025_linear_attention", {"heads": 3}),
    ("furlanello_2016_long_term_memory", {"distil": False}),
    ("furlanello_2016_long_term_memory", {"kA": 2.0, "kB": 0.5}),
    ("sandbrink_2024_flexible_gating", {"regularised": True}),
]


@pytest.mark.parametrize(("name", "settings"), VARIANTS)
def test_claims_of_other_settings(name, settings):
    """Algebraic claims; simulations are run for the default settings by the catalogue's own test."""
    entry = load(name, **settings)
    algebra = tuple(c for c in entry.claims if not isinstance(c, MatchesSimulation))
    report = verify(replace(entry, claims=algebra))
    assert report.passed, str(report)


@pytest.mark.parametrize(
    ("name", "settings", "word"),
    [
        ("singh_2024_induction_toy", {"clamp": "abc"}, "one factor or more"),
        ("singh_2024_induction_toy", {"clamp": "x"}, "letters a, b, c"),
        ("zhang_2025_linear_attention", {"attention": "sparse"}, "'merged' or 'separate'"),
        ("zhang_2025_linear_attention", {"heads": 0}, "1 head or more"),
    ],
)
def test_settings_out_of_range(name, settings, word):
    with pytest.raises(InvalidSpec, match=word):
        load(name, **settings)


# Induction toy --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clamp", "count"), [("", 6), ("c", 4), ("bc", 2)])
def test_each_clamped_factor_takes_two_numbers_away(clamp, count):
    entry = load("singh_2024_induction_toy", clamp=clamp)
    flow = derive.gradient_flow(entry.model)
    r = complete(flow, ["loss"])
    assert len(r.system.state) == count
    rng = np.random.default_rng(0)
    start = {b.name: rng.normal(size=(5, 1)) for b in flow.state}
    given = {b.name: np.asarray(entry.values[b.name]) for b in flow.parameters}
    assert_same_roads(r, given, start, np.linspace(0, 20, 5))


# Linear attention -----------------------------------------------------------------------------------------------------------


def second_moment(lam, n):
    """E[b b'] of b = X X'w / n for Gaussian inputs, by Isserlis."""
    return lam @ lam * (1 + 1 / n) + np.trace(lam) * lam / n


def test_merged_attention_drops_once_to_the_ridge_like_optimum():
    entry = load("zhang_2025_linear_attention")
    flow = derive.gradient_flow(entry.model)
    lam = np.diag([0.1, 0.2, 0.3, 0.4])
    rng = np.random.default_rng(1)
    start = {b.name: 0.1 * rng.normal(size=(4, 4) if b.shape else ()) for b in flow.state}
    end = {n: v[-1] for n, v in solved(flow, start, {"Lam": lam, "tau": 1.0, "N": 31}, np.array([0.0, 3000.0])).items()}
    M = sum(end[f"v{i}"] * end[f"U{i}"] for i in (1, 2))
    best = np.linalg.inv(lam + (lam + np.trace(lam) * np.eye(4)) / 31)
    assert np.abs(M - best).max() < 1e-6 * np.abs(best).max()  # slowest rate is about 1/60 per unit of time, 3000 of them


def test_saddles_of_separate_attention_lie_on_eigenvectors():
    """The derived flow rests at heads on the leading eigenvectors; the plateaus of the loss are 0.64, 0.38, 0.21, 0.14."""
    D, n, lam = 4, 31, np.diag([0.4, 0.3, 0.2, 0.1])
    flow = derive.gradient_flow(linear_attention("separate", D))
    state = {f"{x}{i}": np.zeros((D, 1)) for x in "kq" for i in range(1, D + 1)} | {f"v{i}": 0.0 for i in range(1, D + 1)}
    expected, loss = np.trace(lam), []
    for m in range(D):
        gain = 1 + (1 + 1 / lam[m, m]) / n
        size = (lam[m, m] * gain) ** (-1 / 3)
        e = np.eye(D)[:, [m]]
        state |= {f"k{m + 1}": size * e, f"q{m + 1}": size * e, f"v{m + 1}": size}
        at = {**state, "Lam": lam, "tau": 1.0, "N": n}
        assert max(np.abs(evaluate(flow.rhs[b.name], at)).max() for b in flow.state) < 1e-13  # rounding of order-one terms
        expected -= lam[m, m] / gain
        loss.append(evaluate(flow.observables["loss"], at))
        assert loss[-1] == pytest.approx(expected, rel=1e-12)  # the printed formula against the derived loss
    assert loss == pytest.approx([0.6406, 0.3774, 0.2098, 0.1360], abs=5e-5)  # four printed digits


def test_merged_heads_keep_a_matrix():
    """U_i . U_j - v_i v_j is conserved for every pair of heads, not for i = j only."""
    flow = derive.gradient_flow(linear_attention("merged", 2))
    kept = [str(c.expr) for c in derive.conserved(flow)]
    assert any("U1*U2'" in k and "v1*v2" in k for k in kept)


# Long-term memory -----------------------------------------------------------------------------------------------------------


def forgetting(distil, time=40.0, **settings):
    entry = load("furlanello_2016_long_term_memory", distil=distil, **settings)
    flow = derive.gradient_flow(entry.model)
    start = {b.name: entry.values[b.name] for b in flow.state}
    given = {b.name: np.asarray(entry.values[b.name], dtype=float) for b in flow.parameters}
    path = solved(flow, start, given, np.linspace(0, time, 81))
    at = {**given, **path}
    return evaluate(flow.observables["forgetting"], at), evaluate(flow.observables["loss"], at), flow, path, given


def test_distillation_brings_the_old_task_back():
    lost, new_a, *_ = forgetting(False)
    kept, new_b, *_ = forgetting(True)
    assert new_a[-1] < 1e-3 * new_a[0]  # both learn the new task
    assert new_b[-1] < 1e-3 * new_b[0]
    assert lost[-1] > 0.05
    assert kept.max() > 1e-3  # a transient
    assert kept[-1] < 1e-3 * lost[-1]


def test_two_heads_are_one_network_for_unit_weights_only():
    """Stacked heads [WA; WB] follow the two-layer flow of the target [Td; TB] if and only if kA = kB = 1."""
    plain = derive.gradient_flow(derive.linear_network(depth=2))
    gaps = {}
    for k in (1.0, 2.0):
        _, _, _, path, given = forgetting(True, 4.0, kA=k, kB=1.0)
        values = {"Sx": np.eye(5), "Syx": np.vstack([given["Td"], given["TB"]]), "tau": given["tau"], "Syy": np.eye(4)}
        start = {"W1": path["W1"][0], "W2": np.vstack([path["WA"][0], path["WB"][0]])}
        gaps[k] = np.abs(solved(plain, start, values, np.linspace(0, 4, 81))["W1"] - path["W1"]).max()
    assert gaps[1.0] < AGREE
    assert gaps[2.0] > 0.01


def test_memory_closes_in_six_matrices():
    flow = derive.gradient_flow(memory.model())
    s = flow.symbols
    r = complete(flow, {"PB": s["WB"] * s["W1"], "PA": s["WA"] * s["W1"]})
    assert sorted(b.name for b in r.system.state) == ["PA", "PB", "W1t_W1", "WA_WAt", "WA_WBt", "WB_WBt"]
    assert r.system.observables.keys() == {"loss", "forgetting"}


# Gated paths ----------------------------------------------------------------------------------------------------------------


def test_span_of_the_teachers_commutes_with_the_flow():
    entry = load("sandbrink_2024_flexible_gating")
    flow = derive.gradient_flow(entry.model)
    r = derive.reduce(flow, gating.span())
    values = {**entry.values, "e1": 0.3, "e2": 0.7}
    small = {b.name: v for b, v in zip(r.system.state, (0.1, 0.0, -0.2, 0.3, 0.6, 0.4), strict=True)}
    times = np.linspace(0, 6, 7)
    given = {b.name: np.asarray(values[b.name]) for b in (*flow.parameters, *r.system.parameters) if b.name in values}
    reduced = solved(r.system, {n: np.asarray(v) for n, v in small.items()}, given, times)
    full = solved(flow, r.lift_state(values, small), given, times)
    lifted = r.lift_state(values, {n: v[-1] for n, v in reduced.items()})
    assert max(np.abs(full[n][-1] - lifted[n]).max() for n in lifted) < AGREE
    assert np.abs(full["W1"][-1] - full["W1"][0]).max() > 0.05


def test_gated_paths_close_in_inner_products():
    """Off the span as well: two gates, four products with the teachers, three of the paths."""
    flow = derive.gradient_flow(gating.model())
    r = complete(flow, ["loss"])
    assert sorted(b.name for b in r.system.state) == [
        "c1", "c2", "n_W1", "n_W2", "x_T1_W1", "x_T1_W2", "x_T2_W1", "x_T2_W2", "x_W1_W2",
    ]  # fmt: skip
    rng = np.random.default_rng(5)
    start = {"W1": rng.normal(size=(3, 4)), "W2": rng.normal(size=(3, 4)), "c1": 0.6, "c2": 0.3}
    given = {"T1": rng.normal(size=(3, 4)), "T2": rng.normal(size=(3, 4)), "e1": 1.0, "e2": 0.0, "tau_w": 1.3, "tau_c": 0.3}
    assert_same_roads(r, given, start, np.linspace(0, 2, 5))
