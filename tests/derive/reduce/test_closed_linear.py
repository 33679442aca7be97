"""Closed forms of one matrix that moves linearly, up to a common factor: against DOP853, at late times, and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import derive
from derive import fn
from derive.errors import BudgetExceeded, CheckFailed, NoClosedForm
from derive.solutions.closed_linear import linear_flow, recognise_linear
from derive.spec.sugar import dot, had, norm2
from derive.spec.symbols import activation, dims, matrix, scalars, vector
from tests.derive.closure.roads import solved

n, p = dims("n p")
W, P, R, B, D = matrix("W", n, p), matrix("P", n, n), matrix("R", p, p), matrix("B", n, p), matrix("D", n, p)
w, l, C, g = vector("w", n), vector("l", n), matrix("C", n, n), scalars("g", positive=True)
GIVEN = (P, R, B, D, l, C, g)
AGREE = 1e-9  # relative: a thousand times the rtol of the integration, which grows by less than that


def flow(state: Any, rate: Any) -> Any:
    given = tuple(s for s in GIVEN if rate.has(s))
    return derive.gradient_flow(derive.Model(name="linear", state=state, given=given, learn=derive.Rate({state: rate})))


def numbers(seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    made = {s.name: rng.normal(size=[{"n": 3, "p": 2}.get(str(k), 1) for k in s.shape]) for s in GIVEN[:-1]}
    return {**made, "g": 0.7}


AFFINE = {
    "left": P * W + B,
    "right": W * R - g * W + B,
    "both": P * W + W * R,
    "both and a source": P * W + W * R + B,
    "two-sided": P * W * R + g * B,
    "entrywise": had(D, W) + B - g * W,
    "transposed": P * B * W.T * B - g * W,
    "growth of given logarithms": had(fn.exp(D), W),
}


@pytest.mark.parametrize("name", sorted(AFFINE))
def test_affine_equations(name: str) -> None:
    """Roads: propagator of the operator read off the words; DOP853 on the emitted kernel."""
    system = flow(W, AFFINE[name])
    given, start, times = numbers(), np.random.default_rng(1).normal(size=(3, 2)), np.linspace(0, 1.5, 4)
    form = derive.closed_form(system)
    assert form.evaluate is not None
    found = form.evaluate(times, {"W": start}, given)["W"]
    path = solved(system, {"W": start}, given, times)["W"]
    assert np.abs(found - path).max() < AGREE * np.abs(path).max()


def factor(kind: str) -> tuple[Any, Any, Any]:
    """State, rate and a start."""
    if kind == "simplex":
        return w, had(l, w) - dot(l, w) * w, np.array([[0.2], [0.5], [0.3]])
    if kind == "simplex, another prefactor":
        return w, 3 * had(l, w) - 3 * dot(l, w) * w, np.array([[0.1], [0.5], [0.2]])
    if kind == "sphere of matrices":
        return W, P * W - dot(W, P * W) * W, np.random.default_rng(2).normal(size=(3, 2)) / 5
    return w, 2 * C * w - 5 * dot(w, C * w) * w, np.array([[0.3], [-0.1], [0.2]])


@pytest.mark.parametrize("kind", ["simplex", "simplex, another prefactor", "sphere of matrices", "sphere of another radius"])
def test_a_common_factor(kind: str) -> None:
    """Roads: linear solution over its norm; DOP853."""
    state, rate, start = factor(kind)
    system, given, times = flow(state, rate), numbers(), np.linspace(0, 1.0, 4)
    form = derive.closed_form(system)
    assert form.evaluate is not None
    found = form.evaluate(times, {state.name: start}, given)[state.name]
    path = solved(system, {state.name: start}, given, times)[state.name]
    assert np.abs(found - path).max() < AGREE * np.abs(path).max()


def test_late_times_do_not_overflow() -> None:
    """Oja at t = 1e4 with growth e^(2e4): the leading eigenvector. A contracting start at t = 1e4: the stationary state."""
    given = numbers()
    C_ = given["C"] @ given["C"].T + np.eye(3)
    oja = derive.closed_form(flow(w, C * w - dot(w, C * w) * w)).evaluate
    assert oja is not None
    end = oja([1e4], {"w": np.full((3, 1), 0.4)}, {"C": C_})["w"][0]
    lead = np.linalg.eigh(C_)[1][:, -1:]
    assert np.abs(np.abs(end) - np.abs(lead)).max() < 1e-9  # rounding, and the other directions are below e^-1e3
    rest = derive.closed_form(flow(W, B - C * W)).evaluate
    assert rest is not None
    assert np.abs(rest([1e4], {"W": given["B"]}, {**given, "C": C_})["W"][0] - np.linalg.solve(C_, given["B"])).max() < 1e-12


def test_user_functions_of_given_arrays_keep_their_parameters() -> None:
    f = activation("f", lambda z: z / (1 + g * z**2))
    model = derive.Model(name="f", state=W, given=(D, g), learn=derive.Rate({W: had(f(D), W)}))
    system, given = derive.gradient_flow(model), numbers()
    start = np.ones((3, 2))
    form = derive.closed_form(system)
    assert form.evaluate is not None
    hand = start * np.exp(given["D"] / (1 + 0.7 * given["D"] ** 2) * 1.3)
    assert np.abs(form.evaluate([1.3], {"W": start}, given)["W"][0] - hand).max() < 1e-13  # rounding of exponentials


@pytest.mark.parametrize(
    "rate", [C * w - norm2(w) * w, had(w, w) - w, C * w - dot(l, w) * w, C * w - dot(w, C * w) * w + l, fn.tanh(w)]
)
def test_other_equations_are_refused(rate: Any) -> None:
    """Factors whose norm is not found (|w|^2; l.w without l in L), squares, a source beside a factor, a nonlinearity."""
    assert recognise_linear(flow(w, rate)) is None
    with pytest.raises(NoClosedForm, match="integrate"):
        derive.closed_form(flow(w, rate))


def test_a_large_operator_is_refused_at_evaluation() -> None:
    form = derive.closed_form(flow(W, P * W * R))
    assert form.evaluate is not None
    with pytest.raises(BudgetExceeded, match="integrate instead"):
        form.evaluate([1.0], {"W": np.ones((50, 50))}, {"P": np.eye(50), "R": np.eye(50)})


def test_a_wrong_norm_does_not_survive_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: the factor c of the norm is doubled."""
    import derive.solutions.closed_linear as module

    right = module._norm
    monkeypatch.setattr(module, "_norm", lambda *a: (lambda r: r and (r[0].scale(2), r[1]))(right(*a)))
    with pytest.raises(CheckFailed, match="residual"):
        linear_flow(flow(w, C * w - dot(w, C * w) * w))
