"""The chain at large N: it tends to the equations of the limit, stays exact over long runs, and costs the same per step.

Roads: the chain (exact at finite N) against the averaged equations of `online_limit`, evaluated node by node, stepped by SciPy.
"""

import time

import numpy as np
import pytest
from chain_models import exact_chain
from scipy.integrate import solve_ivp

from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import evaluate
from derive.library.teacher import teacher_student
from derive.online.limit import online_limit
from numerics.simulate.chain import chain

MODEL = teacher_student("erf2", "both", decay=True)
VALUES = {"T": np.array([[1.0]]), "A": np.ones(1), "eta": 0.8, "eta_v": 0.5, "sigma": 0.2, "kappa": 0.1}
START = {"Q": np.array([[0.5, 0.1], [0.1, 0.8]]), "R": np.array([[0.2], [-0.3]]), "v": np.array([1.0, 0.6])}


def flow_end(noise, t):
    """State of the limit equations at time t; the emitted kernels are not used."""
    flow = online_limit(MODEL, noise=noise)
    shapes = {name: np.shape(START[name]) for name, _ in flow}

    def rhs(_, y):
        at, done = {**VALUES, "K": 2, "M": 1}, 0
        for name, shape in shapes.items():
            at[name] = y[done : done + int(np.prod(shape))].reshape(shape)
            done += int(np.prod(shape))
        out = []
        for name, node in flow:
            labels = flow.block(name).indices
            out += [evaluate(node, at, dict(zip(labels, i, strict=True)), NUMPY) for i in np.ndindex(shapes[name])]
        return np.array(out, dtype=float)

    y0 = np.concatenate([START[name].ravel() for name in shapes])
    return solve_ivp(rhs, (0.0, t), y0, rtol=1e-8, atol=1e-10).y[:, -1]


def ends(run):
    return np.concatenate([run.values[name][:, -1].reshape(len(run.status), -1) for name in START], axis=1)


def test_a_million_inputs_follow_the_limit():
    """Deviations shrink like N^(-1/2): the spread at N = 10^4 predicts that at 10^6; the population flow is far outside."""
    data = exact_chain(MODEL)
    assert [name for name, _ in online_limit(MODEL)] == list(START)
    spread = ends(chain(data, VALUES, START, 10**4, 10**4, replicas=24, every=10**4)).std(axis=0, ddof=1)
    large = ends(chain(data, VALUES, START, 10**6, 10**6, replicas=2, every=10**6))
    bound = 6 * spread / 10  # six standard deviations, each known to 15 %
    assert np.all(np.abs(large - flow_end("sgd", 1.0)) < bound)
    assert np.max(np.abs(large - flow_end("none", 1.0)) / bound) > 10  # without the quadratic term it would not pass


def test_cost_per_step_does_not_depend_on_the_dimension():
    data = exact_chain(MODEL)
    seconds = []
    for size in (10**3, 10**9):
        best = np.inf
        for _ in range(3):
            begin = time.perf_counter()
            chain(data, VALUES, START, size, 50_000, every=50_000)
            best = min(best, time.perf_counter() - begin)
        seconds.append(best)
    assert seconds[1] < 3 * seconds[0]  # equal when alone; 3: other processes share the machine


@pytest.mark.parametrize("size", [50, 10**5])
def test_overlaps_stay_those_of_vectors(size):
    """A noise-free student that converges: the Gram matrix tends to a singular one and must not leave the positive cone."""
    data = exact_chain(teacher_student("erf2", "first", noise=False))
    values = {"T": np.eye(1), "A": np.ones(1), "v": np.ones(1), "eta": 1.0}
    run = chain(data, values, {"Q": np.array([[0.5]]), "R": np.array([[0.2]])}, size, 60 * size if size < 1000 else 10 * size)
    assert run.status == ("ok",)
    Q, R = run.values["Q"][0, :, 0, 0], run.values["R"][0, :, 0, 0]
    assert np.all(Q - R**2 > -1e-12)  # 1e-12: rounding of a difference of numbers of order one over 10^6 steps
    assert run.observables["eg"][0, -1] < 0.05 * run.observables["eg"][0, 0]
