"""Chains through a protocol, functions of time, choices that depend on fields.

Roads: the tape on full weights (`simulate`, `simulate_protocol`), exact maps by hand, and known laws. Streams are seeded; each
comparison of laws fails with probability 1 % at most if the laws are equal.
"""

import numpy as np
import pytest
from chain_models import (
    D,
    Identity,
    K,
    Limit,
    Model,
    N,
    Normal,
    Update,
    W,
    b,
    c,
    eta,
    exact_chain,
    lam,
    mask,
    nu,
    plan,
    single,
    sqrt,
    v,
    w,
    x,
    y,
)
from laws import compare
from sympy import OneMatrix, Rational, oo

from derive import fn
from derive.library.difficulty import curriculum_perceptron
from derive.library.tasks import two_tasks
from derive.spec.laws import Choice, Marginal
from derive.spec.rules import Event, Phase
from derive.spec.sugar import case, dot, had
from derive.spec.symbols import scalars
from numerics.simulate import BindingError, PlanError, simulate, simulate_protocol
from numerics.simulate.chain import chain
from numerics.simulate.chain_protocol import chain_protocol

FALSE_ALARM = 0.01
task, gain = scalars("task gain")
VECTORS = np.random.default_rng(4).normal(size=(3, 12))


def course(*protocol):
    """A vector learns from b or from c, with inputs of variance D."""
    error = case(task, {1: nu, 2: dot(c, x) / sqrt(N)}) - lam
    data = (Normal(x, cov=D * Identity(N)),)
    return single(eta / sqrt(N) * fn.erf2(error) * x, given=(b, c, eta, task, D), data=data, protocol=protocol)


def test_law_of_a_course_with_an_event():
    """Two tasks, two variances, interleaved in the end, and a jump between them; the tape has its weights."""
    model = course(
        Phase(0.5, bind={task: 1, D: 1}),
        Event({w: (w + b) / 2}),
        Phase(0.5, bind={task: 2, D: 2}),
        Phase(0.5, bind={task: Choice(task, (1, 2), (0.25, 0.75)), D: 1}),
    )
    W, B, C = VECTORS
    given, options = {"b": B, "c": C, "eta": 2.0}, {"replicas": 1500, "records": 2}
    theirs = simulate_protocol(plan(model), given, {"w": W}, seed=1, observe=False, **options)
    data = exact_chain(model)
    values = {"T_b": B @ B / 12, "T_b_c": B @ C / 12, "T_c": C @ C / 12, "eta": 2.0}
    start = {"Q_w": W @ W / 12, "R_w_b": W @ B / 12, "R_w_c": W @ C / 12}
    run = chain_protocol(data, values, start, 12, seed=2, **options)
    V = theirs.values["w"][..., 0]
    direct = np.stack([np.sum(V**2, -1), V @ B, V @ C], axis=-1)[:, 1:] / 12
    ours = np.stack([run.values[name] for name in start], axis=-1)[:, 1:]
    assert run.t.tolist() == theirs.t.tolist()
    assert [t for t, _ in run.switches] == [t for t, _ in theirs.switches]
    verdict = compare(ours, direct, FALSE_ALARM)
    assert verdict.passed, verdict


def test_an_event_maps_the_gram_matrix():
    """w -> (w + b) / 2 by hand: Q -> (Q + 2 R + T) / 4, R -> (R + T) / 2."""
    model = course(Phase(1, bind={task: 1, D: 1}), Event({w: (w + b) / 2}), Phase(1, bind={task: 2, D: 1}))
    W, B, C = VECTORS
    values = {"T_b": B @ B / 12, "T_b_c": B @ C / 12, "T_c": C @ C / 12, "eta": 0.5}
    start = {"Q_w": W @ W / 12, "R_w_b": W @ B / 12, "R_w_c": W @ C / 12}
    run = chain_protocol(exact_chain(model), values, start, 12, records=2, replicas=2)
    assert run.t.tolist() == [0.0, 1.0, 1.0, 2.0]
    Q, R, Rc = (run.values[name] for name in start)
    tight = {"rtol": 0, "atol": 1e-14}  # three operations on numbers of order one
    np.testing.assert_allclose(Q[:, 2], (Q[:, 1] + 2 * R[:, 1] + values["T_b"]) / 4, **tight)
    np.testing.assert_allclose(R[:, 2], (R[:, 1] + values["T_b"]) / 2, **tight)
    np.testing.assert_allclose(Rc[:, 2], (Rc[:, 1] + values["T_b_c"]) / 2, **tight)


def test_one_phase_is_the_chain_of_its_model():
    """Same stream, same numbers: a protocol of one phase against the chain that stands in it."""
    W, B, C = VECTORS
    values = {"T_b": B @ B / 12, "T_b_c": B @ C / 12, "T_c": C @ C / 12, "eta": 0.5}
    start = {"Q_w": W @ W / 12, "R_w_b": W @ B / 12, "R_w_c": W @ C / 12}
    data = exact_chain(course(Phase(2, bind={task: 1, D: 3})))
    whole = chain_protocol(data, values, start, 12, records=2, seed=5)
    alone = chain(data["parts"][0][3], values, start, 12, 24, every=24, seed=5)
    for name in start:
        assert whole.values[name].tolist() == alone.values[name].tolist()


def test_phases_of_the_library_run():
    """Curriculum and two tasks: global time, the state handed over, lengths that are no whole number of steps refused."""
    data = exact_chain(curriculum_perceptron(fn.erf2, lengths=(1, 2), difficulties=(1, 4)))
    values = {"T_B": np.eye(1), "eta": 0.5, "kappa": 0.1, "hard": 1.0, "rho": 0.4}
    start = {"Q_W_r": np.eye(2), "Q_W_i": np.eye(2), "R_W_r_B": np.zeros((2, 1))}
    run = chain_protocol(data, values, start, 50, records=3)
    assert run.t.tolist() == [0.0, 0.5, 1.0, 1.0, 2.0, 3.0]
    assert np.all(run.values["Q_W_r"][:, 2] == run.values["Q_W_r"][:, 3])
    assert sorted(run.observables) == ["accuracy", "loss"]
    with pytest.raises(BindingError, match="product is whole"):
        chain_protocol(data, values, start, 51)
    with pytest.raises(PlanError, match="chain_protocol"):
        chain(data, values, start, 50, 10)
    with pytest.raises(BindingError, match="Leave it out"):
        chain_protocol(data, {**values, "Delta": 1.0}, start, 50)
    two = exact_chain(two_tasks(lengths=(1, 1, 1)))
    assert [part[1] for part in two["parts"]] == ["task = 1", "task = 2", "task ~ Choice"]


def test_a_rate_that_is_a_function_of_time():
    """LMS by hand: E[R'] = R + eta(t) (T - R) / N, exactly; a rate that stays at its first value is far outside."""
    model = single(eta / sqrt(N) * (nu - lam) * x)
    size, steps, runs = 30, 60, 20_000
    run = chain(
        exact_chain(model), {"T": 1.0, "eta": lambda t: 1.2 if t < 1 else 0.1}, {"Q": 0.5, "R": 0.2}, size, steps,
        replicas=runs, every=steps, seed=3,
    )  # fmt: skip
    want = 1 - 0.8 * (1 - 1.2 / size) ** 30 * (1 - 0.1 / size) ** 30
    R = run.values["R"][:, -1]
    error = R.std() / np.sqrt(runs)
    assert abs(R.mean() - want) < 4 * error  # false alarm 6e-5
    assert abs(R.mean() - (1 - 0.8 * (1 - 1.2 / size) ** 60)) > 8 * error


def policy():
    """A label whose probability depends on a field."""
    law = Choice(y, (1, -1), ((1 + fn.erf2(lam)) / 2, (1 - fn.erf2(lam)) / 2))
    return Model(
        name="policy", state=(w, gain), given=(b, eta), data=(Normal(x), law), limit=Limit({N: oo}),
        learn=Update({w: w + eta / sqrt(N) * y * fn.step(y * nu) * x, gain: gain + y * nu / N}, dt=1 / N),
    )  # fmt: skip


def release():
    """Every unit's step fails, happens, or happens three times."""
    law = Marginal(mask, values=(0, 1, 3), probs=(Rational(1, 2), Rational(1, 8), Rational(3, 8)))
    error = had(mask, nu * OneMatrix(K, 1) - W * x / sqrt(N))
    return Model(
        name="release", state=(W, v), given=(b, eta), data=(Normal(x), law), limit=Limit({N: oo}),
        learn=Update({W: W + eta / sqrt(N) * error * x.T, v: v + had(mask, mask) * nu**2 / N}, dt=1 / N),
    )  # fmt: skip


@pytest.mark.parametrize(("make", "w0", "theta"), [(policy, VECTORS[:1].T, 0.0), (release, VECTORS[[0, 2]], np.zeros((2, 1)))])
def test_law_of_draws_that_are_not_gaussian(make, w0, theta):
    """Against the tape."""
    model, B, options = make(), VECTORS[1], {"replicas": 2000, "every": 8}
    w_name, o_name = (s.name for s in model.state)
    theirs = simulate(plan(model), {"b": B, "eta": 1.0}, {w_name: w0, o_name: theta}, 24, seed=1, observe=False, **options)
    V = theirs.values[w_name].reshape(2000, 4, -1, 12)
    Q, R, o = V @ V.mT / 12, V @ B / 12, theirs.values[o_name].reshape(2000, 4, -1)
    start = {"Q": Q[0, 0].squeeze(), "R": R[0, 0].squeeze(), o_name: np.squeeze(theta)}
    run = chain(exact_chain(model), {"T": B @ B / 12, "eta": 1.0}, start, 12, 24, seed=2, **options)
    i, j = np.triu_indices(Q.shape[-1])
    direct = np.concatenate([Q[..., i, j], R, o], axis=-1)[:, 1:]
    own = run.values["Q"].reshape(Q.shape)[..., i, j]
    ours = np.concatenate([own, *(run.values[name].reshape(2000, 4, -1) for name in ("R", o_name))], axis=-1)[:, 1:]
    verdict = compare(ours, direct, FALSE_ALARM)
    assert verdict.passed, verdict


def test_probabilities_that_do_not_sum_to_one_end_the_run():
    p = scalars("p")
    fixed = single(eta / sqrt(N) * y * nu * x, given=(b, eta, p), data=(Normal(x), Choice(y, (1, -1), (p, 1))))
    start = {"Q": 0.5, "R": 0.2}
    with pytest.raises(BindingError, match="Pass such weights"):
        chain(exact_chain(fixed), {"T": 1.0, "eta": 1.0, "p": 0.5}, start, 20, 5)
    moving = single(eta / sqrt(N) * y * nu * x, data=(Normal(x), Choice(y, (1, -1), (fn.erf2(lam), fn.erf2(lam)))))
    run = chain(exact_chain(moving), {"T": 1.0, "eta": 1.0}, {"Q": 0.5, "R": 0.2}, 20, 5)
    assert run.status == ("improper",)
