"""The effective theory of two points: closure, its constant, and full slopes.

Two roads in each test: three derived equations (or what follows from them) and the flow of both matrices.
"""

from dataclasses import replace

import numpy as np
import pytest

from codegen import compile
from derive import Manifold, complete, conserved, dot, gradient_flow, norm2, reduce, vector
from derive.catalog import load
from derive.catalog.van_rossem_2024_universality import Dh, Dy, G, H, aligned, closed, dx, dystar, q
from derive.errors import NotInvariant
from numerics import integrate, verify

NAME = "van_rossem_2024_universality"


def numbers(path, entry, i):
    """|dh|^2, |q|^2 and q . dystar of full slopes on the manifold."""
    h = path.values["Dh"][i] @ np.array(entry.values["dx"])
    y = path.values["Dy"][i] @ h
    z = np.sum(h * h)
    return np.array([z, np.sum(y * y) / z**2, np.sum(y * np.array(entry.values["dystar"])) / z])


def full(entry, start, end, count=9):
    flow = gradient_flow(entry.model)
    params = {b.name: np.asarray(entry.values[b.name], dtype=float) for b in flow.parameters}
    return integrate(compile(flow, backend="numpy"), start, params, (0, end), np.linspace(0, end, count), rtol=1e-12)


def small(entry, start, end, count=9):
    system = closed(reduce(gradient_flow(entry.model), aligned())).system
    kernel = compile(system, backend="numpy")
    given = {"tau_h": entry.values["tau_h"], "tau_y": entry.values["tau_y"]}
    given |= {f"n_{n}": float(np.sum(np.square(entry.values[n]))) for n in ("dx", "dystar")}
    state = dict(zip([b.name for b in system.state], start, strict=True))
    path = integrate(kernel, state, given, (0, end), np.linspace(0, end, count), rtol=1e-12)
    return np.stack([path.values[b.name] for b in system.state], axis=1)


def test_aligned_slopes_follow_three_equations():
    entry, rng = load(NAME), np.random.default_rng(0)
    D, out = 0.5 * rng.standard_normal((6, 4)), 0.3 * rng.standard_normal((3, 1))
    h = D @ np.array(entry.values["dx"])
    path = full(entry, {"Dh": D, "Dy": out @ h.T}, 30.0)
    theory = small(entry, numbers(path, entry, 0), 30.0)
    seen = np.array([numbers(path, entry, i) for i in range(9)])
    assert np.abs(theory - seen).max() < 8e-11 * np.abs(seen).max()  # published agreement; rtol 1e-12


def test_a_small_random_start_aligns_and_ends_where_the_constant_says():
    """|dh|^2 -> sqrt(tau_y / tau_h) |dx| |dystar|: a formula of the start scale -> 0, from weights of size 1e-3."""
    entry, rng = load(NAME), np.random.default_rng(3)
    start = {"Dh": 1e-3 * rng.standard_normal((6, 4)), "Dy": 1e-3 * rng.standard_normal((3, 6))}
    path = full(entry, start, 400.0, 201)
    end = numbers(path, entry, -1)[0]
    size = {n: np.linalg.norm(entry.values[n]) for n in ("dx", "dystar")}
    assert end == pytest.approx(
        np.sqrt(0.6) * size["dx"] * size["dystar"], rel=1e-3
    )  # squares of the start, 1e-5, over the end
    first = int(np.argmax(path.observables["hidden"] > 0.01))
    theory = small(entry, numbers(path, entry, first), float(path.t[-1] - path.t[first]), 201 - first)
    seen = np.array([numbers(path, entry, i) for i in range(first, 201)])
    assert np.abs(theory - seen)[:, 0].max() < 1e-3  # published < 5e-5 after alignment; here alignment is not waited for


def test_the_constant_is_found_in_the_closed_system():
    entry = load(NAME)
    system = closed(reduce(gradient_flow(entry.model), aligned())).system
    (found,) = conserved(system)
    assert str(found).startswith("n_G_dx*(tau_h - n_dx*n_q*tau_y)")


def test_without_the_alignment_nothing_closes_and_a_wrong_manifold_is_refused():
    entry = load(NAME)
    flow = gradient_flow(entry.model)
    with pytest.raises(Exception, match="close"):
        complete(flow, (norm2(Dh * dx), norm2(Dy * Dh * dx), dot(Dy * Dh * dx, dystar)))
    with pytest.raises(NotInvariant):  # Dy reads a fixed direction instead of the hidden difference
        reduce(flow, Manifold({Dh: G, Dy: q * vector("r", H).T}, coordinates=(G, q)))


def test_wrong_equations_are_rejected():
    entry = load(NAME)
    _, vectors, numbers_, kept, _, rests, *_ = entry.claims
    for claim in (vectors, numbers_):
        key = list(claim.rate)[1]
        assert not verify(replace(entry, claims=(replace(claim, rate={**claim.rate, key: -claim.rate[key]}),))).passed
    assert not verify(replace(entry, claims=(replace(kept, quantity=2 * kept.quantity - norm2(G * dx)),))).passed
    wrong = {k: (2 * e if i == 1 else e) for i, (k, e) in enumerate(rests.at.items())}
    assert not verify(replace(entry, claims=(replace(rests, at=wrong),))).passed
