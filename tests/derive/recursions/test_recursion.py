"""Derived recursions against NumPy: products of all draws summed by hand, and fourth moments of Gaussian columns typed out.

Every comparison is of two exact numbers, so the bound 1e-12 is rounding of a few hundred products of order one.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy as sp

from codegen import compile
from derive import (
    Marginal,
    Model,
    Modes,
    Moments,
    Normal,
    NotClosed,
    Rate,
    Update,
    conserved,
    describe,
    dot,
    fn,
    grad,
    matrix,
    norm2,
    recursion,
    reduce,
    scalars,
    vector,
)  # fmt: skip
from derive.errors import CheckFailed, DerivationError, InvalidSpec, UnsupportedNode
from derive.matrices.evaluate import evaluate
from derive.matrices.poly import Poly, text
from derive.recursions.step_check import deviation
from numerics import integrate, iterate
from tests.derive.recursions.affine_rules import (
    DATA,
    LOSS,
    B,
    H,
    averaging,
    d,
    decaying,
    eta,
    heavy_ball,
    loss,
    regression,
    sigma,
    td_chain,
    two_heads,
    w,
    with_offset,
    ws,
    x,
    z,
)

EXACT = 1e-12  # rounding, see above
rng = np.random.default_rng(5)
n = 3
root = rng.normal(size=(n, n))
COV, TEACHER = root @ root.T / n, rng.normal(size=(n, 1))
NUMBERS: dict[str, Any] = {"H": COV, "ws": TEACHER, "eta": 0.11, "sigma": 0.6, "mu": 0.7, "lam": 0.4, "rho": 0.3, "B": 4}


def fourth(M: Any) -> Any:
    """E[x x' M x x'] of a centred Gaussian column of covariance COV."""
    return COV @ (M + M.T) @ COV + COV * np.trace(COV @ M)


def after(made: Any, state: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    return {name: evaluate(rhs, {**values, **state}) for name, rhs in made}


def random_moments(made: Any, sizes: dict[str, int]) -> dict[str, Any]:
    out = {}
    for b in made.state:
        a = rng.normal(size=tuple(sizes[s] if isinstance(s, str) else s for s in b.shape))
        out[b.name] = a @ a.T if "sym" in b.tags else a
    return out


def close(a: Any, b: Any) -> bool:
    return bool(np.abs(np.asarray(a) - np.asarray(b)).max() <= EXACT * max(1.0, np.abs(np.asarray(b)).max()))


@pytest.mark.parametrize("batch", [B, 1, 3])
def test_regression_against_typed_fourth_moments(batch: Any) -> None:
    made = recursion(regression(batch))
    at = random_moments(made, {"d": n})
    X, e, s, b = at["X_w"], 0.11, 0.6, 4 if batch is B else batch
    new = after(made, at, NUMBERS)
    assert close(new["m_w"], at["m_w"] - e * COV @ at["m_w"])
    noise = (fourth(X) + s**2 * COV) / b + (1 - 1 / b) * COV @ X @ COV
    assert close(new["X_w"], X - e * (COV @ X + X @ COV) + e**2 * noise)
    loss_there = evaluate(made.observables["loss"], {**NUMBERS, **at})
    assert close(loss_there, (np.trace(COV @ X) + s**2) / 2)


def test_momentum_against_the_doubled_linear_system() -> None:
    """(e, v) -> A (e, v) + noise with A of one draw; E[A Y A'] by the same fourth moments, typed block by block."""
    made = recursion(heavy_ball())
    at = random_moments(made, {"d": n})
    e, m, s, b = 0.11, 0.7, 0.6, 4
    X, C, V = at["X_w"], at["X_w_v"], at["X_v"]
    g = e**2 * ((fourth(X) + s**2 * COV) / b + (1 - 1 / b) * COV @ X @ COV)  # E[(eta grad)(eta grad)']
    gv, gw = e * m * COV @ C, e * COV @ X  # E[eta grad (mu v)'], E[eta grad e']
    V1 = m**2 * V - gv - gv.T + g
    C1 = m * C - gw.T + V1
    new = after(made, at, NUMBERS)
    assert close(new["X_v"], V1)
    assert close(new["X_w_v"], C1)
    assert close(new["X_w"], X + (m * C - gw.T) + (m * C - gw.T).T + V1)


def test_blocks_one_after_the_other_are_the_substituted_rule() -> None:
    one, two = recursion(heavy_ball()), recursion(heavy_ball(blocks=True))
    assert dict(one.after) == dict(two.after)


def test_polyak_average_against_its_own_step() -> None:
    """v+ = (1 - rho) v + rho w+: cross and second moments from those of w+, by hand."""
    made = recursion(averaging())
    at = random_moments(made, {"d": n})
    new, r = after(made, at, NUMBERS), 0.3
    cross = (np.eye(n) - 0.11 * COV) @ at["X_w_v"]  # E[w+ v'], v being old
    assert close(new["X_w_v"], (1 - r) * cross + r * new["X_w"])
    assert close(new["X_v"], (1 - r) ** 2 * at["X_v"] + r * (1 - r) * (cross + cross.T) + r**2 * new["X_w"])


def test_decay_has_no_given_rest_so_moments_are_about_zero() -> None:
    made = recursion(decaying())
    assert made.block("m_w").meaning == "E[w]"
    at = random_moments(made, {"d": n})
    m, X, e, k = at["m_w"], at["X_w"], 0.11, 0.4
    D = X - m @ TEACHER.T - TEACHER @ m.T + TEACHER @ TEACHER.T  # E[(w - ws)(w - ws)']
    drift, cross = X - m @ TEACHER.T, COV @ (X - TEACHER @ m.T)  # E[w (w - ws)'], E[x x' (w - ws) w']
    g = fourth(D) + 0.36 * COV
    a = 1 - e * k
    assert close(after(made, at, NUMBERS)["X_w"], a**2 * X - a * e * (cross + drift @ COV) + e**2 * g)


def test_outputs_share_their_inputs() -> None:
    """Rows of W are heads: X_W = E[D'D] adds them up, and the biases feed it."""
    made = recursion(two_heads())
    assert [b.name for b in made.state] == ["m_W", "m_b", "X_W", "X_W_b", "X_b"]
    at = random_moments(made, {"d": n, "p": 2})
    at["X_b"] = 1.7
    new, e, s, b = after(made, at, {**NUMBERS, "p": 2}), 0.11, 0.6, 4
    X, f, y = at["X_W"], at["X_W_b"], at["X_b"]
    g = (fourth(X) + (2 * s**2 + y) * COV) / b + (1 - 1 / b) * COV @ X @ COV
    assert close(new["X_W"], X - e * (COV @ X + X @ COV) + e**2 * g)
    assert close(new["X_b"], y - 2 * e * y + e**2 * (y + (np.trace(COV @ X) + 2 * s**2) / b))
    both = COV @ f * (1 + 1 / b)  # E[x (D x + c)' (D x + c)] = 2 H E[D'c] for one draw, H E[D'c] for two
    assert close(new["X_W_b"], f - e * (f + COV @ f) + e**2 * both)


def test_a_number_among_the_states() -> None:
    made = recursion(with_offset())
    at = {**random_moments(made, {"d": n}), "X_c": 0.9, "m_c": 0.2}
    new, e, s, b = after(made, at, NUMBERS), 0.11, 0.6, 4
    X, f, y = at["X_w"], at["X_w_c"], 0.9
    assert close(new["X_c"], y - 2 * e * y + e**2 * (y + (np.trace(COV @ X) + s**2) / b))
    assert close(new["X_w_c"], f - e * (f + COV @ f) + e**2 * COV @ f * (1 + 1 / b))


def test_td_on_a_chain_against_the_sum_over_transitions() -> None:
    made = recursion(td_chain())
    F, T, r = rng.normal(size=(2, 4)), rng.dirichlet(np.ones(4), size=4).T, rng.normal(size=(4, 1))
    starts, weights = rng.normal(size=(3, 2, 1)), rng.dirichlet(np.ones(3))
    before = {"m_w": np.tensordot(weights, starts, 1), "X_w": np.einsum("s,sax,sbx->ab", weights, starts, starts)}
    m, X = np.zeros((2, 1)), np.zeros((2, 2))
    for q, t in zip(weights, starts, strict=True):
        for s, nxt in product(range(4), range(4)):
            f, g = F[:, [s]], F[:, [nxt]]
            new = t + 0.2 * (r[s, 0] + 0.9 * (t.T @ g)[0, 0] - (t.T @ f)[0, 0]) * f
            m, X = m + q * T[nxt, s] / 4 * new, X + q * T[nxt, s] / 4 * new @ new.T
    new = after(made, before, {"F": F, "T": T, "r": r, "eta": 0.2, "gamma": 0.9, "P": 4})
    assert close(new["m_w"], m)
    assert close(new["X_w"], X)


def test_bound_items_against_the_sum_over_all_batches() -> None:
    """Five items, batches of two with replacement: 25 batches; the open law's second moments do not suffice."""
    y = scalars("y")
    S, c = matrix("S", d, d), vector("c", d)
    model = Model(
        name="items", state=w, given=(eta, B), data=Moments((x, y), {x * x.T: S, y * x: c}),
        let={loss: (dot(w, x) - y) ** 2 / 2}, learn=Update({w: w - eta * grad(loss, w)}, batch=B),
    )  # fmt: skip
    xs, ys = rng.normal(size=(5, 2)), rng.normal(size=5)
    with pytest.raises(UnsupportedNode, match="second moments only"):
        recursion(model)
    bound = model.bind(x=xs, y=ys)
    made = recursion(bound)
    t = rng.normal(size=(2, 1))
    X = np.zeros((2, 2))
    for i, j in product(range(5), range(5)):
        g = sum(((xs[[k]] @ t)[0, 0] - ys[k]) * xs[[k]].T for k in (i, j)) / 2
        X += (t - 0.2 * g) @ (t - 0.2 * g).T / 25
    new = after(made, {"m_w": t, "X_w": t @ t.T}, {**bound.values, "eta": 0.2, "B": 2})
    assert close(new["X_w"], X)


def test_a_rectifier_closes_on_a_symmetric_law() -> None:
    """Half of all inputs pass: E[relu(u) x] = H w / 2 and E[relu(u)^2 x x'] is half of the Gaussian fourth moment."""
    made = recursion(
        Model(name="gate", state=w, given=(H, eta), data=DATA[:1], learn=Update({w: w - eta * fn.relu(dot(w, x)) * x}))
    )
    at = random_moments(made, {"d": n})
    X = at["X_w"]
    assert close(after(made, at, NUMBERS)["X_w"], X - 0.055 * (COV @ X + X @ COV) + 0.0121 / 2 * fourth(X))


def test_listed_moments_are_followed_alone() -> None:
    X, q = matrix("X", d, d), scalars("q")
    assert list(recursion(regression(), {X: (w - ws) * (w - ws).T}).after) == ["X"]
    white = Model(name="white", state=w, given=(eta, ws), data=DATA[1:], learn=Update({w: w - eta * (w - ws) + eta * z * ws}))
    made = recursion(white, {q: norm2(w - ws)})
    value = evaluate(made.after["q"], {"q": 2.0, "eta": 0.5, "ws": TEACHER})
    assert value == pytest.approx(0.25 * 2 + 0.25 * float(np.sum(TEACHER**2)), rel=EXACT)


def test_a_drifting_target_is_tracked_by_the_difference() -> None:
    """Neither w nor its target v rests, their difference does: (1 - eta x x')(w - v) - q n, by fourth moments."""
    v, noise, q, D = vector("v", d), vector("noise", d), scalars("q"), matrix("D", d, d)
    moved = Update({w: w - eta * dot(w - v, x) * x, v: v + q * noise})
    model = Model(name="drift", state=(w, v), given=(H, eta, q), data=(*DATA[:1], Normal(noise)), learn=moved)
    made = recursion(model, {D: (w - v) * (w - v).T})
    at = random_moments(made, {"d": n})
    new = after(made, at, {**NUMBERS, "q": 0.3})["D"]
    X = at["D"]
    assert close(new, X - 0.11 * (COV @ X + X @ COV) + 0.11**2 * fourth(X) + 0.09 * np.eye(n))


@pytest.mark.parametrize("kurtosis", [1.0, 5.0])
def test_entries_that_are_not_gaussian(kurtosis: float) -> None:
    """E[x x' X x x'] = 2 X + tr X + (kurtosis - 3) diag X for independent entries of variance one."""
    q = scalars("q")
    moved = Update({w: w - eta * dot(w - ws, x) * x})
    made = recursion(Model(name="entries", state=w, given=(ws, eta, q), data=Marginal(x, moments={2: 1, 4: q}), learn=moved))
    at = random_moments(made, {"d": n})
    X = at["X_w"]
    rest = 2 * X + np.trace(X) * np.eye(n) + (kurtosis - 3) * np.diag(np.diag(X))
    assert close(after(made, at, {**NUMBERS, "q": kurtosis})["X_w"], X - 0.22 * X + 0.0121 * rest)
    assert "largest relative deviation" in made.steps[-1].check


def test_nothing_drawn_is_a_plain_map() -> None:
    made = recursion(Model(name="descent", state=w, given=(H, eta, ws), learn=Update({w: w - eta * H * (w - ws)})))
    e = rng.normal(size=(n, 1))
    step = (np.eye(n) - 0.11 * COV) @ e
    assert close(after(made, {"m_w": e, "X_w": e @ e.T}, NUMBERS)["X_w"], step @ step.T)


# ------------------------------------------------------------------------------------------------------------ refusals
def rule(new: Any, **more: Any) -> Model:
    return Model(**{"name": "rule", "state": w, "given": (H, eta), "data": DATA[:1], "learn": Update({w: new}), **more})


@pytest.mark.parametrize(
    ("new", "term"),
    [
        (w - eta * fn.tanh(dot(w, x)) * x, r"tanh\(\(w'\*x\)\)"),
        (w - eta * dot(w, x) ** 2 * x, r"\(w'\*H\*w\)\^2"),
        (w - eta * dot(w, w) * dot(w, x) * x, r"\(w'\*w\)"),
    ],
)
def test_a_step_that_is_not_affine_is_refused_with_the_term(new: Any, term: str) -> None:
    with pytest.raises(NotClosed, match=term) as caught:
        recursion(rule(new))
    assert "online_limit" in str(caught.value)


def test_a_list_that_does_not_close_names_what_is_missing() -> None:
    with pytest.raises(NotClosed, match="needs the mean of w") as caught:
        recursion(decaying(), {matrix("X", d, d): w * w.T})
    assert "name it too" in str(caught.value)
    with pytest.raises(NotClosed, match="a second moment of v"):
        recursion(heavy_ball(), {matrix("X", d, d): (w - ws) * (w - ws).T})


@pytest.mark.parametrize(
    ("moments", "message"),
    [
        ({}, "a mapping"),
        ({H: w * w.T}, "is taken"),
        ({sp.Symbol("q"): w * w.T}, "declared as a number"),
        ({matrix("X", d, d): w}, "has shape"),
        ({"X": x * x.T}, "no product|holds the draw"),
        ({"X": w * w.T * H + H * w * w.T}, "one moment for each"),
        ({"X": ws * ws.T}, "one or two letters"),
        ({"X": vector("u", d)}, "no symbol of"),
    ],
)
def test_moments_that_are_none_are_refused(moments: Any, message: str) -> None:
    with pytest.raises(DerivationError, match=message):
        recursion(regression(), moments)


def test_other_rules_are_refused_with_the_remedy() -> None:
    with pytest.raises(UnsupportedNode, match="as_updates"):
        recursion(Model(name="rate", state=w, given=H, learn=Rate({w: -H * w})))
    late = Update({w: w - eta * grad(loss, w)}, {w: w + z * ws}, batch=B)
    with pytest.raises(UnsupportedNode, match="move the draws into it"):
        recursion(Model(name="late", state=w, given=(ws, H, eta, sigma, B), data=DATA, let=LOSS, learn=late))


def test_passes_for_flows_refuse_a_recursion() -> None:
    made = recursion(regression())
    for verb in (lambda: conserved(made), lambda: reduce(made, Modes())):
        with pytest.raises((InvalidSpec, AttributeError)):
            verb()
    with pytest.raises(InvalidSpec, match="iterate"):
        integrate(compile(made, backend="numpy"), {"m_w": TEACHER, "X_w": COV}, {}, (0, 1))


# --------------------------------------------------------------------------------------------------------- the checks
def edits(rhs: Poly) -> list[Poly]:
    """Every term dropped, doubled, or of the other sign."""
    terms = [Poly(rhs.shape, {k: c}) for k, c in rhs.items()]
    return [e for t in terms for e in (rhs - t, rhs + t, rhs - t - t)]


@pytest.mark.parametrize("make", [regression, with_offset])
def test_the_check_at_derivation_rejects_every_wrong_term(make: Any) -> None:
    made = recursion(make())
    low = made.source.lowered
    assert deviation(made, low, nodes=(3,)) < 1e-10  # finite differences of the loss, see `step_check`
    wrong = [(name, e) for name, rhs in made for e in edits(rhs)]
    assert len(wrong) > 25
    for name, e in wrong[:: 2 if make is regression else 9]:
        with pytest.raises(CheckFailed):
            deviation(made.replace(after={**made.after, name: e}), low, nodes=(3,))


def test_every_recursion_here_was_checked() -> None:
    for make in (regression, heavy_ball, decaying, averaging, two_heads, with_offset, td_chain):
        assert "largest relative deviation" in recursion(make()).steps[-1].check


# ---------------------------------------------------------------------------------------------- printing and iteration
def test_iteration_and_emission() -> None:
    """The kernel against repeated evaluation of the words; the source says that these are steps."""
    made = recursion(regression())
    kernel = compile(made, backend="numpy")
    assert kernel.discrete
    assert "Values after one step" in kernel.source
    assert "X_w(n+1) = " in kernel.source
    state: dict[str, Any] = {"m_w": TEACHER, "X_w": TEACHER @ TEACHER.T}
    values = {k: NUMBERS[k] for k in ("H", "eta", "sigma", "B")}
    path = iterate(kernel, state, values, 7, every=3)
    assert path.t.tolist() == [0, 3, 6, 7]
    for _ in range(7):
        state = after(made, state, values)
    assert close(path.values["X_w"][-1], state["X_w"])
    assert path.observables["loss"].shape == (4,)
    with pytest.raises(InvalidSpec, match="steps = 0"):
        iterate(kernel, state, values, 0)
    grown = iterate(kernel, state, {**values, "eta": 50.0}, 2000)
    assert not grown.status.good
    assert np.isfinite(grown.values["X_w"]).all()


def test_a_schedule_is_a_parameter_that_depends_on_the_step() -> None:
    """eta = 0.3 / (1 + n): the mean is a product of factors 1 - eta_n H, multiplied out by NumPy."""
    kernel = compile(recursion(regression()), backend="numpy")
    values = {k: NUMBERS[k] for k in ("H", "sigma", "B")}
    path = iterate(kernel, {"m_w": TEACHER, "X_w": TEACHER @ TEACHER.T}, {**values, "eta": lambda k: 0.3 / (1 + k)}, 5)
    expected = TEACHER
    for k in range(5):
        expected = expected - 0.3 / (1 + k) * COV @ expected
    assert close(path.values["m_w"][-1], expected)
    assert path.parameters["eta"].tolist() == pytest.approx([0.3 / (1 + k) for k in range(6)])


def test_it_prints_in_every_format() -> None:
    made = recursion(regression())
    assert "X_w(n+1) = X_w + " in describe(made)
    assert "E[(w - ws)*(w - ws)']" in describe(made, "markdown")
    assert r"X_{w}(n+1)" in describe(made, "latex")
    assert '"kind": "recursion"' in describe(made, "json")
    assert text(made.after["m_w"]) == "m_w - eta*H*m_w"


def test_without_a_limit_the_chain_takes_the_recursion() -> None:
    from derive.derivation import derive_all

    assert derive_all(regression()).kind == "moment recursion"
