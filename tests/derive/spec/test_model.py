"""The lowered model, its identity, its plan and its printing."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import sympy as sp

from derive import (
    Choice,
    Control,
    Drop,
    Entry,
    Event,
    InvalidSpec,
    Limit,
    Marginal,
    Model,
    Moments,
    Normal,
    Optimum,
    Phase,
    Published,
    Rate,
    UnsupportedNode,
    Update,
    activation,
    case,
    dims,
    dot,
    fn,
    grad,
    matrix,
    mean,
    norm2,
    plan,
    root,
    scalars,
    stop,
    t,
    total,
    vector,
)  # fmt: skip
from derive.printing.models import FORMATS, describe_model

N, K, P, H = dims("N K P H")
W, X, x, v, s = matrix("W", K, N), matrix("X", N, P), vector("x", N), vector("v", K), vector("s", P)
y, L, eta, task, q, alpha = scalars("y L eta task q alpha")


def test_the_lowered_network_is_what_was_written(two_layer: Model) -> None:
    m = two_layer.lowered
    assert m.roles == {
        "W1": "state", "W2": "state", "tau": "given", "x": "draw", "y": "draw", "L": "let",
        "Sx": "moment", "Syx": "moment", "Syy": "moment",
    }  # fmt: skip
    assert m.shapes["W1"] == ("H", "N")
    assert m.shapes["x"] == ("N", 1)
    assert m.shapes["tau"] == ()
    assert m.rule.rates[0] == ("W1", ("mul", -1, ("pow", "tau", -1), ("grad", "L", "W1")))
    assert m.draws[0].moments[1] == (("matmul", "y", ("T", "x")), "Syx")
    assert m.symbols["W2"] == matrix("W2", dims("O"), H)


def test_inlining_leaves_no_definition(committee: Model) -> None:
    m = committee.lowered
    inlined = m.inline("L")
    from derive.spec.tree import names

    assert names(inlined) == ("A", "N", "W", "Wstar", "sigma", "v", "x", "zeta")
    assert m.shape(inlined) == ()


def test_a_root_stays_a_name() -> None:
    u = scalars("u")
    m = Model(name="r", state=eta, let={u: root(u - fn.tanh(eta * u)), L: u**2}, learn=Rate({eta: -grad(L, eta)}))
    assert m.lowered.inline("L") == ("pow", "u", 2)


def test_the_plan_is_plain_data(committee: Model) -> None:
    p = plan(committee)
    assert json.loads(json.dumps(p)) == json.loads(json.dumps(p, sort_keys=True))
    assert set(p) == {
        "version", "name", "dims", "state", "given", "moments", "draws", "let", "functions", "rule", "start", "facts",
        "observe", "protocol",
    }  # fmt: skip
    assert p["state"] == {"W": ["K", "N"], "v": ["K", 1]}
    assert p["given"]["eta"] == []
    assert p["rule"]["kind"] == "update"
    assert p["rule"]["dt"] == ["pow", "N", -1]
    assert dict(p["let"])["L"] == ["mul", ["frac", 1, 2], ["pow", ["add", "f", ["mul", -1, "y"]], 2]]


def test_the_plan_carries_the_users_function() -> None:
    g = activation("softsign", lambda z: eta * z / (1 + sp.Abs(z)))
    m = Model(name="g", state=v, given=eta, data=Normal(x), let={L: total(g(v))}, learn=Rate({v: -grad(L, v) * norm2(x)}))
    assert plan(m)["functions"]["softsign"]["variable"] == "z"
    assert m.lowered.functions["softsign"].derivative is not None
    with pytest.raises(InvalidSpec, match="eta is not declared"):
        Model(name="g", state=v, data=Normal(x), let={L: total(g(v))}, learn=Rate({v: -grad(L, v) * norm2(x)}))


def test_an_optimum_has_no_plan() -> None:
    m = Model(name="o", state=v, data=Normal(y), learn=Optimum(mean(norm2(v) * y**2), over=v))
    with pytest.raises(UnsupportedNode, match="stationary"):
        plan(m)


def test_digest_and_plan_do_not_depend_on_the_hash_seed() -> None:
    """Roads: four processes with four hash seeds."""
    root_dir = Path(__file__).parents[3]
    script = Path(__file__).with_name("conftest.py")
    outs = [
        subprocess.run(
            [sys.executable, str(script)], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root_dir)},
            capture_output=True, text=True, check=True, timeout=120,
        ).stdout
        for seed in ("0", "1", "77")
    ]  # fmt: skip
    assert outs[0] == outs[1] == outs[2] != ""


def model(**changes: object) -> Model:
    a, b = scalars("a b")
    sections = {
        "name": "m", "state": (W, v), "given": (eta, q), "data": (Normal(x), Normal(y)),
        "let": {a: dot(v, W * x), b: a - y, L: b**2 / 2},
        "learn": Update({W: W - eta * grad(L, W), v: v - q * grad(L, v)}, dt=1 / N), "observe": {"e": mean(L), "n": norm2(v)},
    }  # fmt: skip
    return Model(**{**sections, **changes})  # type: ignore[arg-type]


def test_the_order_of_typing_is_no_difference() -> None:
    a, b = scalars("a b")
    other = model(
        name="other", state=(v, W), given=(q, eta), data=(Normal(y), Normal(x)), observe={"n": norm2(v), "e": mean(L)},
        let={a: dot(v, W * x), b: -y + a, L: b**2 * sp.Rational(1, 2)},
        learn=Update({v: v - q * grad(L, v), W: -eta * grad(L, W) + W}, dt=1 / N),
    )  # fmt: skip
    assert other == model()
    assert hash(other) == hash(model())


@pytest.mark.parametrize(
    "changes",
    [
        {"learn": Update({W: W - eta * grad(L, W), v: v - 2 * q * grad(L, v)}, dt=1 / N)},
        {"learn": Update({W: W - eta * grad(L, W)}, {v: v - q * grad(L, v)}, dt=1 / N)},
        {"learn": Update({W: W - eta * grad(L, W), v: v - q * grad(L, v)}, dt=1 / N, batch=2)},
        {"data": (Normal(x), Normal(y, once=True))},
        {"limit": Limit({N: sp.oo})},
        {"observe": {"e": mean(L), "m": norm2(v)}},
        {"start": {v: sp.OneMatrix(K, 1)}},
    ],
)
def test_what_is_written_is_a_difference(changes: dict[str, object]) -> None:
    assert model(**changes) != model()


def test_models_survive_pickling_and_are_frozen(committee: Model) -> None:
    assert pickle.loads(pickle.dumps(committee)) == committee
    with pytest.raises(AttributeError):
        committee.name = "x"  # type: ignore[misc]


def test_replace_checks_again(committee: Model) -> None:
    assert committee.replace(name="other") == committee
    with pytest.raises(InvalidSpec, match="v is state"):
        committee.replace(learn=Update({committee.state[0]: committee.state[0]}))


def rich_models() -> list[Model]:
    """Every section and every law at least once."""
    F, mu, g, T = matrix("F", N, N), vector("mu", N), scalars("g"), scalars("T", positive=True)
    once = Model(
        name="set", state=v, given=(eta, F), data=(Normal(matrix("D", K, P), once=True), Choice(s)),
        facts=sp.Eq(F * F.T, sp.Identity(N)),
        let={L: norm2(matrix("D", K, P) * s - stop(v)) * sp.Trace(F)},
        learn=Rate({v: -v + grad(L, v)}, noise={v: sp.sqrt(2 * eta)}),
        start=(Normal(v, cov=sp.Identity(K) * eta),),
    )  # fmt: skip
    tasks = Model(
        name="tasks", state=(v, eta), given=(task, q),
        data=(
            Marginal(x, moments={2: 1, 4: 3}),
            Choice((mu, y), ((sp.ZeroMatrix(N, 1), 1), (sp.OneMatrix(N, 1), -1)), (q, 1 - q)),
        ),
        let={L: case(task, {1: dot(mu, x) * y, 2: norm2(v) * eta})}, learn=Update({v: v - grad(L, v)}, {eta: eta / 2}),
        protocol=(
            Phase(3, bind={task: Choice(task, (1, 2), (q, 1 - q))}), Event({v: 2 * v}),
            Phase(2, bind={q: q / (1 + t), task: 2}), Drop(K, 2),
        ),
        start={v: sp.ZeroMatrix(K, 1), eta: 1},
    )  # fmt: skip
    control = Model(
        name="control", state=(q,), given=(g, T, alpha, N), learn=Rate({q: g * (1 - q) + alpha / N * q}),
        control=Control((g,), q - g**2, T, {g: (0, 1)}), limit=Limit({N: sp.oo}),
    )  # fmt: skip
    best = Model(
        name="best",
        state=v,
        given=alpha,
        data=Normal(y),
        learn=Optimum(mean((norm2(v) - y) ** 2), over=v, subject_to=sp.Eq(norm2(v), alpha)),
    )
    return [once, tasks, control, best]


@pytest.mark.parametrize("format", FORMATS)
def test_every_section_prints(format: str) -> None:
    for m in rich_models():
        shown = describe_model(m, format)
        for name in m.lowered.state:
            assert name.replace("eta", "") in shown
        if format == "latex":
            assert shown.count(r"\left") - shown.count(r"\leftarrow") == shown.count(r"\right")
            assert shown.count("{") == shown.count("}")
    with pytest.raises(InvalidSpec, match="markdown"):
        describe_model(m, "html")


def test_every_section_prints_as_it_was_meant() -> None:
    once, tasks, control, best = (str(m) for m in rich_models())
    assert "dv/dt = grad(L, v) - v + white noise * sqrt(eta)*sqrt(2)" in once
    assert "D ~ Normal: drawn once" in once
    assert "L = trace(F)*norm2(D*s - stop(v))" in once
    assert "facts    F*F.T = eye(N)" in once
    assert "L = eta*delta(task, 2)*norm2(v) + y*delta(task, 1)*dot(mu, x)" in tasks
    assert "for time 3: task ~ Choice: values 1, 2, probabilities q, 1 - q" in tasks
    assert "drop 2 entries of K" in tasks
    assert "0 <= g <= 1" in control
    assert "min over v of mean((norm2(v) - y)**2)" in best


def test_plans_of_every_section_are_json() -> None:
    once, tasks, control, _ = rich_models()
    for m in (once, tasks, control):
        assert json.loads(json.dumps(plan(m)))["name"] == m.name
    assert plan(tasks)["protocol"][0][2][0][1] == "law"
    assert plan(once)["start"][0][0] == "law"
    assert (
        plan(once)["rule"]["noise"] == [("v", ["pow", ["mul", 2, "eta"], ["frac", 1, 2]])]
        or plan(once)["rule"]["noise"][0][0] == "v"
    )


def test_an_entry_is_data(committee: Model) -> None:
    entry = Entry(name="goldt", model=committee, kind="online", values={"K": 2}, claims=(Published("eq. (5)", rate={"u": 1}),))
    assert entry.claims[0].label == "eq. (5)"
    with pytest.raises(InvalidSpec, match="kind"):
        Entry(name="goldt", model=committee, kind="other")
    with pytest.raises(InvalidSpec, match="not a claim"):
        Entry(name="goldt", model=committee, claims=("eq",))  # type: ignore[arg-type]


def test_a_policy_is_a_choice_with_a_column_of_probabilities() -> None:
    """A symbol called T is a symbol, not a transpose, also as a probability."""
    T = scalars("T")
    policy = fn.exp(v) / total(fn.exp(v))
    a = vector("a", K)
    m = Model(
        name="m", state=v, given=T, data=(Choice(a, probs=policy), Choice(q, (1, 2), (T, 1 - T))), learn=Rate({v: q * (a - v)})
    )
    assert m.lowered.shape(m.lowered.draws[0].probs) == ("K", 1)
    assert m.lowered.draws[1].probs == ("T", ("add", 1, ("mul", -1, "T")))
    assert "probabilities T, 1 - T" in str(m)
    assert plan(m)["draws"][1]["probs"] == ["T", ["add", 1, ["mul", -1, "T"]]]
    with pytest.raises(InvalidSpec, match="K x 1"):
        Model(name="m", state=v, data=Choice(a, probs=norm2(v)), learn=Rate({v: a - v}))


def test_rates_of_a_binary_column_and_fixed_ratios() -> None:
    r = vector("r", N)
    m = Model(
        name="m", state=W, given=(r, alpha), data=Marginal(x, values=(1, 0), probs=(r, sp.OneMatrix(N, 1) - r)),
        learn=Rate({W: -alpha * W * x * x.T}), limit=Limit({N: sp.oo, K: sp.oo}, fixed={alpha: K / N}),
    )  # fmt: skip
    assert m.lowered.limit[1] == (("alpha", ("mul", "K", ("pow", "N", -1))),)
    assert "alpha = K/N fixed" in str(m)


def test_moments_of_a_scalar_target_are_named() -> None:
    b = vector("b", N)
    m = Model(
        name="m",
        state=W,
        data=Moments((x, y), {x * x.T: matrix("Sx", N, N), y * x: b}),
        let={L: norm2(W * x) * y},
        learn=Rate({W: -grad(L, W)}),
    )
    assert m.lowered.draws[0].moments[1] == (("mul", "y", "x"), "b")


def test_construction_is_fast(committee: Model) -> None:
    """50 ms is four times the time measured on a slow core; a quadratic check would cost more."""
    import time

    start = time.perf_counter()
    for _ in range(10):
        committee.replace(name="again")
    assert (time.perf_counter() - start) / 10 < 0.05


def test_the_face_is_cheap_and_names_are_found() -> None:
    """Importing derive loads no SymPy; functions are never shadowed by modules of the same name."""
    code = (
        "import sys, derive; assert 'sympy' not in sys.modules; derive.Model; assert 'numba' not in sys.modules; derive.Modell"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[3], check=False
    )
    assert done.returncode == 1
    assert "did you mean 'Model'" in done.stderr
