"""Families of a symbolic number of members: one equation, one kernel, any count.

Two roads in each test: the family against the same model with its members written out one by one, or against simulation.
"""

import time

import numpy as np
import pytest
import sympy as sp

from codegen import compile
from derive import (
    Entry,
    MatchesSimulation,
    Model,
    Moments,
    Rate,
    as_updates,
    conserved,
    describe,
    dims,
    dot,
    family,
    fn,
    grad,
    gradient_flow,
    linear_attention,
    matrix,
    mean,
    norm2,
    plan,
    scalars,
    total,
    vector,
)
from derive.errors import InvalidSpec, ShapeMismatch
from derive.matrices.families import stacked
from numerics import verify
from numerics.simulate import one_step

H, D, K, N, O = dims("H D K N O")


def attention_values(kind, heads, rng, size=3):
    """Members one by one, and the same stacked; parameters."""
    Lam = rng.standard_normal((size, 2 * size))
    given = {"Lam": Lam @ Lam.T / size, "N": 5.0, "tau": 0.7}
    v = rng.standard_normal(heads)
    if kind == "merged":
        U = [rng.standard_normal((size, size)) for _ in range(heads)]
        single = {f"U{i + 1}": u for i, u in enumerate(U)} | {f"v{i + 1}": x for i, x in enumerate(v)}
        whole = {"U": stacked(U), "v": v[:, None]}
        return single, whole, given, {**given, **family("head", H, D).arrays(heads, size)}
    k, q = rng.standard_normal((2, heads, size))
    single = {f"{n}{i + 1}": a[i][:, None] for n, a in (("k", k), ("q", q)) for i in range(heads)}
    single |= {f"v{i + 1}": x for i, x in enumerate(v)}
    return single, {"k": k, "q": q, "v": v[:, None]}, given, given


def rates(flow, state, params):
    kernel = compile(flow, backend="numpy")
    usable = {b.name: params[b.name] for b in kernel.parameters if b.name in params}
    layout = kernel.layout({n: np.asarray(a, dtype=float) for n, a in state.items()})
    found = layout.unpack(kernel.flat_rhs(layout, kernel.arguments(usable))(0.0, layout.pack(state)))
    seen = kernel.flat_observables(layout, kernel.arguments(usable))(0.0, layout.pack(state))
    return found, seen


@pytest.mark.parametrize("kind", ["merged", "separate"])
@pytest.mark.parametrize("heads", [1, 2, 5])
def test_attention_with_a_family_of_heads_is_attention_with_its_heads_written_out(kind, heads):
    rng = np.random.default_rng(heads)
    single, whole, given, more = attention_values(kind, heads, rng)
    one, loss = rates(gradient_flow(linear_attention(kind, heads)), single, given)
    all_, same = rates(gradient_flow(linear_attention(kind, H)), whole, more)
    for name, rate in all_.items():
        members = [np.asarray(one[f"{name}{i + 1}"]) for i in range(heads)]
        expected = (
            np.array([[float(m)] for m in members])
            if name == "v"
            else (np.concatenate([m if kind == "merged" else m.T for m in members]))
        )
        assert np.abs(rate - expected).max() < 1e-12 * max(1.0, np.abs(expected).max())  # rounding of sums of products
    assert same["loss"] == pytest.approx(loss["loss"], rel=1e-12)  # rounding


@pytest.mark.parametrize("kind", ["merged", "separate"])
def test_text_and_kernel_do_not_know_the_number_of_heads(kind):
    """One derivation, one text, one kernel: the same file runs 2 heads and 20."""
    clock = time.process_time()
    flow = gradient_flow(linear_attention(kind, H))
    assert time.process_time() - clock < 2.0  # the budget of a derivation
    kernel = compile(flow, backend="numpy")
    for heads in (2, 20):
        _, whole, _, more = attention_values(kind, heads, np.random.default_rng(0))
        found, _ = rates(flow, whole, more)
        assert all(np.isfinite(a).all() for a in found.values())
    assert compile(gradient_flow(linear_attention(kind, H)), backend="numpy").source == kernel.source
    assert len(kernel.source.splitlines()) < 120
    assert len(flow.state) == (2 if kind == "merged" else 3)
    assert str(flow) == str(gradient_flow(linear_attention(kind, H)))
    written = [len(compile(gradient_flow(linear_attention(kind, h)), backend="numpy").source) for h in (2, 4)]
    assert written[1] > 1.5 * written[0]  # what the family avoids


def test_the_family_prints_its_heads_as_one_line():
    text = describe(gradient_flow(linear_attention("separate", H)), format="text")
    assert "dk/dt = diag(v)*q*(Lam - " in text
    tex = describe(gradient_flow(linear_attention("merged", H)), format="latex")
    assert r"\left(\mathrm{head}_{in} \odot" in tex  # an elementwise product inside a product of matrices has brackets


def test_conserved_quantities_of_every_head_come_in_one_column():
    found = [str(c.expr) for c in conserved(gradient_flow(linear_attention("separate", H)))]
    assert any("(v o v)" in c and "(k o k)" in c for c in found)


@pytest.mark.parametrize("kind", ["merged", "separate"])
def test_one_simulated_step_of_the_family_is_that_of_its_heads(kind):
    """The simulator reads two plans, with and without a family, on the same draws."""
    rng = np.random.default_rng(7)
    heads, size, length = 3, 2, 4
    single, whole, given, more = attention_values(kind, heads, rng, size)
    given, more = ({**v, "N": length} for v in (given, more))
    draws = {
        "X": rng.standard_normal((size, length)),
        "xq": rng.standard_normal((size, 1)),
        "w": rng.standard_normal((size, 1)),
    }
    out = []
    for model, state, values in ((linear_attention(kind, heads), single, given), (linear_attention(kind, H), whole, more)):
        data = plan(as_updates(model, eta=sp.Rational(1, 10)))
        usable = {n: v for n, v in values.items() if n in (*data["given"], *data["dims"])}
        out.append(one_step(data, usable, state, draws))
    for i in range(heads):
        assert float(out[0][f"v{i + 1}"]) == pytest.approx(float(out[1]["v"][i, 0]), rel=1e-12)  # rounding


def test_a_family_passes_verification_against_its_own_simulation():
    """SGD on fresh sequences at several steps: the mean, its exponent, and a control, by the verifier of the catalogue."""
    model = linear_attention("separate", H)
    claim = MatchesSimulation("sgd", observables=("loss", "v"), sizes=(100, 200, 400), seeds=20, time=1.0)
    sizes = {"D": 2, "H": 2, "N": 6, "tau": 1.0, "Lam": np.diag([0.6, 0.3])}
    entry = Entry(name="family", model=model, values=sizes, claims=(claim,))
    report = verify(entry, quick=True)
    assert report.passed, str(report)
    wrong = gradient_flow(model)
    wrong = wrong.replace(rhs={**wrong.rhs, "v": wrong.rhs["v"].scale(2)})
    assert not verify(entry, system=wrong, quick=True).passed


def ensemble():
    """H independent two-layer networks on the same data, with one loss; all members in one array for each layer."""
    members = family("net", H, K)
    W1, W2 = matrix("W1", members.rows, N), matrix("W2", O, members.rows)
    x, y, L = vector("x", N), vector("y", O), scalars("L")
    Sx, Syx, Syy = matrix("Sx", N, N), matrix("Syx", O, N), matrix("Syy", O, O)
    hidden = W1 * x
    squares = dot(hidden, members.blocks(W2.T * W2) * hidden)  # sum over h of |W2_h W1_h x|^2
    return members, Model(
        name="ensemble", state=(W1, W2), given=(members.member,),
        data=Moments((x, y), {x * x.T: Sx, y * x.T: Syx, y * y.T: Syy}),
        let={L: (H * norm2(y) - 2 * dot(y, W2 * hidden) + squares) / 2},
        learn=Rate({W: -grad(L, W) for W in (W1, W2)}), observe={"loss": mean(L)},
    )  # fmt: skip


def test_an_ensemble_of_networks_is_one_pair_of_equations():
    """Every member moves like a single network, typed here: W1' = W2'(Syx - W2 W1 Sx), W2' = (Syx - W2 W1 Sx) W1'."""
    members, model = ensemble()
    flow = gradient_flow(model)
    rng, h, k, n, o = np.random.default_rng(1), 4, 2, 3, 2
    W1, W2 = rng.standard_normal((h, k, n)), rng.standard_normal((h, o, k))
    Syx, root = rng.standard_normal((o, n)), rng.standard_normal((n, n))
    arrays = members.arrays(h, k)
    values = {"net_of": arrays["net_of"], "Sx": root @ root.T, "Syx": Syx, "Syy": np.eye(o)}
    found, _ = rates(flow, {"W1": stacked(W1), "W2": np.concatenate(W2, axis=1)}, {**values, "H": h})
    for i in range(h):
        error = Syx - W2[i] @ W1[i] @ values["Sx"]
        assert np.allclose(found["W1"][i * k : (i + 1) * k], W2[i].T @ error, rtol=1e-12, atol=1e-12)  # rounding
        assert np.allclose(found["W2"][:, i * k : (i + 1) * k], error @ W1[i].T, rtol=1e-12, atol=1e-12)  # rounding


def test_experts_with_a_nonlinearity():
    """A mixture of H ReLU experts on fixed data, gates a_h: gradient against central differences of a loss typed in NumPy."""
    members = family("expert", H, K)
    W, a, X, Y, L = matrix("W", members.rows, N), vector("a", H), matrix("X", N, D), matrix("Y", K, D), scalars("L")
    out = members.sum(a, fn.relu(W * X))
    model = Model(
        name="experts", state=(W, a), given=(*members.given, X, Y), let={L: norm2(Y - out) / 2},
        learn=Rate({s: -grad(L, s) for s in (W, a)}), observe={"loss": L},
    )  # fmt: skip
    flow = gradient_flow(model)
    rng, h, k, n, d = np.random.default_rng(2), 3, 2, 4, 5
    w, gates, x, y = (
        rng.standard_normal((h * k, n)),
        rng.standard_normal(h),
        rng.standard_normal((n, d)),
        rng.standard_normal((k, d)),
    )

    def loss(w, gates):
        parts = np.maximum(w.reshape(h, k, n) @ x, 0)
        return 0.5 * np.sum((y - np.einsum("h,hkd->kd", gates, parts)) ** 2)

    found, seen = rates(flow, {"W": w, "a": gates[:, None]}, {**members.arrays(h, k), "X": x, "Y": y})
    assert seen["loss"] == pytest.approx(loss(w, gates), rel=1e-12)  # rounding
    step = 1e-6
    for at in np.ndindex(w.shape):
        e = np.zeros_like(w)
        e[at] = step
        assert found["W"][at] == pytest.approx(-(loss(w + e, gates) - loss(w - e, gates)) / (2 * step), abs=1e-7)  # step^2
    for i in range(h):
        e = np.eye(h)[i] * step
        assert found["a"][i, 0] == pytest.approx(-(loss(w, gates + e) - loss(w, gates - e)) / (2 * step), abs=1e-7)  # step^2


def test_columns_and_copies_at_arrays():
    """A stacked column as the columns of a matrix, against a reshape."""
    from derive.matrices.convert import to_poly
    from derive.matrices.evaluate import evaluate
    from derive.spec.lower import Collector

    members = family("f", H, K)
    c = vector("c", members.rows)
    reader = Collector()
    tree = reader.lower(members.columns(c), "columns")
    value = np.arange(6.0)[:, None]
    found = evaluate(to_poly(tree, reader.shapes), {"c": value, **members.arrays(3, 2)}, sizes={"H": 3, "K": 2, "f_rows": 6})
    assert np.array_equal(found, value.reshape(3, 2).T)


@pytest.mark.parametrize(
    ("call", "error", "remedy"),
    [
        (lambda: family("f", 3, K), InvalidSpec, "dims\\('H'\\)"),
        (lambda: family("f", H, K).sum(vector("a", K), matrix("U", dims("f_rows"), N)), ShapeMismatch, "must have H rows"),
        (lambda: family("f", H, K).apart(vector("c", K)), ShapeMismatch, "must have f_rows rows"),
        (lambda: family("f", H, K).arrays(0, 2), InvalidSpec, "positive"),
        (lambda: stacked([np.zeros((1, 2)), np.zeros((2, 2))]), ShapeMismatch, "equal shapes"),
        (lambda: linear_attention("merged", 0), InvalidSpec, "dims\\('H'\\)"),
    ],
)
def test_wrong_use_is_refused_with_a_remedy(call, error, remedy):
    with pytest.raises(error, match=remedy):
        call()


def test_total_and_dot_of_members_are_families_of_numbers():
    """A family of numbers is a column: sum_h a_h (b.k_h)(q_h.x) = dot(K b, diag(a) Q x), no selector is needed."""
    k, q, a, b, x = matrix("k", H, D), matrix("q", H, D), vector("a", H), vector("b", D), vector("x", D)
    L = scalars("L")
    model = Model(
        name="heads", state=(k, q, a), given=(b, x), let={L: (1 - dot(k * b, sp.DiagMatrix(a) * q * x)) ** 2 / 2},
        learn=Rate({s: -grad(L, s) for s in (k, q, a)}), observe={"sum": total(a)},
    )  # fmt: skip
    flow = gradient_flow(model)
    rng = np.random.default_rng(0)
    K_, Q_, a_, b_, x_ = (
        rng.standard_normal((3, 2)),
        rng.standard_normal((3, 2)),
        rng.standard_normal(3),
        rng.standard_normal(2),
        rng.standard_normal(2),
    )
    found, _ = rates(flow, {"k": K_, "q": Q_, "a": a_[:, None]}, {"b": b_[:, None], "x": x_[:, None]})
    rest = 1 - np.sum(a_ * (K_ @ b_) * (Q_ @ x_))
    assert np.allclose(found["a"][:, 0], rest * (K_ @ b_) * (Q_ @ x_), rtol=1e-12)  # rounding
    assert np.allclose(found["k"], rest * np.outer(a_ * (Q_ @ x_), b_), rtol=1e-12)  # rounding
