"""The denoising auto-encoder: printed equations, printed course and simulation each reject one error.

Road one is the claim of the entry (or direct SGD), road two the derived system; here one of the two is broken on purpose.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import sympy as sp

from codegen import compile
from derive import exact_chain, field_rule, plan
from derive.catalog import cui_2025_diffusion_autoencoder as module
from derive.catalog import load
from derive.claims.entry import MatchesSimulation, Published, Solves
from derive.indices.indexed import add
from derive.online.limit import online_limit
from numerics.blame import blame
from numerics.claims import simulation
from numerics.claims.ensembles import run_overlaps
from numerics.claims.subject import Subject
from numerics.integrate import integrate
from numerics.simulate.chain import chain
from numerics.simulate.law import same_law
from numerics.verify import verify

NAME = "cui_2025_diffusion_autoencoder"


def judged(kind, number=0):
    entry = load(NAME)
    claim = [c for c in entry.claims if isinstance(c, kind)][number]
    return verify(replace(entry, claims=(claim,)))


WRONG_TRACES = {
    "residual without the noise": lambda A, B, D, v: (A - v["c"] ** 2 * v["b"] ** 2, B, D),
    "input without the noise": lambda A, B, D, v: (A, B - v["b"] ** 2, D),
    "cross term of the other sign": lambda A, B, D, v: (A, B, -D),
    "no trace at all": lambda A, B, D, v: (0, 0, 0),
}


@pytest.mark.parametrize("error", sorted(WRONG_TRACES))
def test_a_wrong_trace_is_rejected(error, monkeypatch):
    """The traces of noise with noise enter dQ alone, through the terms quadratic in the step."""
    right = module.traces

    def wrong(sigma, a, b, c):
        return WRONG_TRACES[error](*right(sigma, a, b, c), {"b": b, "c": c})

    monkeypatch.setattr(module, "traces", wrong)
    report = judged(Published, 1)
    assert not report.passed
    assert report.checks[0].statistic > 1e-3  # eta^2 = 0.09 times averages of order one tenth


def test_a_wrong_average_is_rejected(monkeypatch):
    """The centre is missed in the field x1.mu."""
    right = module.fields

    def wrong(values):
        g, slope, h1, h0, x1, x0, weight = right(values)
        return g, slope, h1, h0, x1 - float(values["T"]), x0, weight

    monkeypatch.setattr(module, "fields", wrong)
    assert not judged(Published, 1).passed


def test_a_wrong_course_of_the_skip_connection_is_rejected():
    entry = load(NAME)
    claim = next(c for c in entry.claims if isinstance(c, Solves))
    wrong = replace(claim, solution={"c": claim.solution["c"] * sp.Rational(101, 100)})
    assert not verify(replace(entry, claims=(wrong,))).passed


def test_simulation_rejects_the_population_flow():
    """Without the terms quadratic in the step; the simulation shares no code with the derivation."""
    entry = load(NAME, eta=0.6)
    claim = replace(next(c for c in entry.claims if isinstance(c, MatchesSimulation)), sizes=(40, 80, 160), time=1.0)
    subject = Subject(entry=entry, flow=online_limit(entry.model, noise="none"))
    checks = simulation.check(claim, subject)
    assert not checks[0].passed, [str(c) for c in checks]


def test_bursts_name_a_wrong_term():
    """One of the averages in dR is taken twice; the rest of the rate is as derived."""
    model, flow = load(NAME).model, derived()
    wrong = next(term for term in flow.rhs["R"].args if "Em[tanh](" in str(term))
    broken = flow.replace(rhs={**flow.rhs, "R": add(flow.rhs["R"], wrong)})
    assert blame(model, flow, states=6, bursts=2000).passed
    found = blame(model, broken, states=6, bursts=2000)
    assert found.culprit is not None
    assert "Em[tanh](" in str(found.culprit.node)


@pytest.mark.slow
def test_agreement_at_two_thousand_dimensions():
    """Mean of 40 runs against the equations up to alpha = 20: (R, Q, c) within (.006, .0085, .0008), and c tends to its limit
    like 1/N; runs by the overlap chain, which has the law of SGD and shares no code with the averages."""
    times = np.linspace(0, 20, 41)
    path = course(times)
    far = {n: {name: np.abs(mean - path.values[name]).max() for name, mean in means(n, 40).items()} for n in (500, 2000)}
    assert far[2000]["R"] < 0.006  # three standard errors of the mean: 0.0046
    assert far[2000]["Q"] < 0.0085  # three standard errors of the mean: 0.0070
    assert far[2000]["c"] < 0.0008
    assert far[500]["c"] / far[2000]["c"] == pytest.approx(4, rel=0.15)  # standard errors of c: 8 % and 4 % of its deviation


def test_the_overlap_chain_keeps_what_the_limit_drops():
    """At N = 12 the chain and direct SGD have one law, c included, whose step has terms of order 1/N^2; false alarm 1 %."""
    entry, N, runs = load(NAME), 12, 900
    start, params = values_of(entry)
    seen = chain(exact_chain(entry.model), params, start, N, 2 * N, replicas=runs, seed=0, every=N)
    data, rule = plan(entry.model), field_rule(entry.model)
    direct, _ = run_overlaps(data, rule, start, params, N, 2 * N, N, seeds=runs, root=1)
    first = np.stack([seen.values[n][:, 1:] for n in start], axis=-1)
    second = np.stack([direct[n] for n in start], axis=-1)
    verdict = same_law(first, second, batches=30, names=list(start))
    assert verdict.passed, verdict.worst
    c = np.stack([first[..., 2], second[..., 2]]).mean(axis=(0, 1))
    limit = np.asarray(course(np.array([0.0, 1.0, 2.0])).values["c"])[1:]
    assert np.abs(c - limit).min() > 0.01  # what the limit drops is seen at this size


@cache
def derived():
    return online_limit(load(NAME).model)


def values_of(entry):
    """Start and parameters of the equations."""
    start = {n: np.asarray(entry.values[n]) for n in ("Q", "R", "c")}
    return start, {b.name: np.asarray(entry.values[b.name]) for b in derived().parameters}


def means(N, runs):
    """Seed means of R, Q and c at 41 times up to 20."""
    entry = load(NAME)
    start, params = values_of(entry)
    seen = chain(exact_chain(entry.model), params, start, N, 20 * N, replicas=runs, seed=9, every=N // 2)
    return {n: seen.values[n].mean(axis=0) for n in start}


def course(times):
    """The order-parameter equations integrated from the start of the entry."""
    entry = load(NAME)
    start, params = values_of(entry)
    return integrate(compile(derived(), backend="numba"), start, params, (0.0, times[-1]), times, rtol=1e-10)


def test_the_centre_is_learned_and_the_skip_connection_is_the_best_linear_denoiser():
    """Physics at the end of the run: w points along mu, c = a sigma^2 / (a^2 sigma^2 + b^2), mse of that linear map."""
    v, path = load(NAME).values, course(np.array([0.0, 60.0]))
    Q, R, c = (float(path.values[n][-1]) for n in ("Q", "R", "c"))
    assert R / np.sqrt(Q * v["T"]) > 0.98  # cosine of w and mu; 1 but for the noise of finite steps
    best = v["a"] * v["sigma"] ** 2 / (v["a"] ** 2 * v["sigma"] ** 2 + v["b"] ** 2)
    assert abs(c - best) < 1e-6  # exp(-eta_c B t) = exp(-15.6)
    left = v["sigma"] ** 2 - best**2 * (v["a"] ** 2 * v["sigma"] ** 2 + v["b"] ** 2)
    assert abs(float(path.observables["mse"][-1]) - left / 2) < 1e-9  # quadratic in what is left of c
