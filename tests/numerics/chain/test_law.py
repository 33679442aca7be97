"""The chain has the law of SGD on full weights, at small N where every 1/N term shows; and the test has the power to say no.

Roads: the chain (overlaps only) against the hand-written committee kernel and the tape (full weights, no derivation). All
streams are seeded; the stated false-alarm rates say how a new seed would fare.
"""

import numpy as np
import pytest
from chain_models import N, b, eta, exact_chain, plan, single, w, x
from laws import compare, direct, packed
from scipy.stats import chi2, kstest, norm
from sympy import sqrt

from benchmarks.chain_law import clusters, committee
from benchmarks.chain_mutants import MUTANTS, mutant, mutated_loop
from derive.library.teacher import teacher_student
from derive.spec.sugar import dot
from numerics.simulate import simulate
from numerics.simulate.chain import chain
from numerics.simulate.law import same_law

FALSE_ALARM = 0.005  # of each of the two gates, so 1 % for a law test as a whole
COMMITTEE = exact_chain(teacher_student("erf2", "both", decay=True))


def start_of(K, M, size, seed=5):
    rng = np.random.default_rng(seed)
    teacher = rng.normal(size=(M, size))
    return {"W": 0.8 * rng.normal(size=(K, size)) + 0.3 * teacher[:1], "Wstar": teacher, "v": np.linspace(1.0, 0.6, K)}


def overlaps(start, **rates):
    """(values, state) of the chain from weights."""
    W, T = start["W"], start["Wstar"]
    n = W.shape[1]
    return {"T": T @ T.T / n, "A": np.ones(len(T)), **rates}, {"Q": W @ W.T / n, "R": W @ T.T / n, "v": start["v"]}


def chain_runs(values, state, size, steps, every, runs, seed=2):
    run = chain(COMMITTEE, values, state, size, steps, seed=seed, replicas=runs, every=every)
    return packed(run.values["Q"], run.values["R"], run.values["v"])


@pytest.fixture(scope="module")
def loop(tmp_path_factory):
    return mutated_loop(tmp_path_factory.mktemp("mutants"))


CASES = {"committee": lambda: committee(2, 100), "clusters": lambda: clusters(2, 2, 100)}


@pytest.mark.parametrize("case", CASES)
def test_law_in_sixty_batches(case, loop):
    """Means and covariances of all overlaps at three times; labels, blocks, mini-batches and decay in the second case.

    Roads: the chain against full weights (compiled kernel, plain NumPy). Family-wise false alarm 1 %; `benchmarks/chain_law.py`
    has N up to 400 and K = M = 4.
    """
    made = CASES[case]()
    theirs = made.direct(3000, 1)
    found = {}
    for name in ("", "degrees of freedom off by the rank", "no G"):
        with mutant(loop, name):
            found[name] = same_law(made.chain(3000, 2), theirs, batches=60, false_alarm=0.01)
    assert found[""].passed, found[""].worst
    assert found[""].z.shape == (60, {"committee": 162, "clusters": 270}[case])
    assert not any(verdict.passed for name, verdict in found.items() if name)


def test_law_when_the_student_starts_as_its_teacher():
    """Rank two out of four vectors: the chain must find it, and leave it when label noise pushes."""
    start = start_of(2, 2, 20)
    start["W"], start["v"] = start["Wstar"].copy(), np.ones(2)
    values, state = overlaps(start, eta=1.0, eta_v=0.5, sigma=0.5, kappa=0.0)
    theirs = direct(start, values, 3000, 3, 40, 20)
    verdict = compare(chain_runs(values, state, 20, 40, 20, 3000, seed=4), theirs, FALSE_ALARM)
    assert verdict.passed, verdict
    rest = chain(COMMITTEE, {**values, "sigma": 0.0}, state, 20, 2000)
    for name in state:  # without noise nothing moves; 1e-12: 2000 steps of rounding
        np.testing.assert_allclose(rest.values[name][0, -1], state[name], rtol=0, atol=1e-12)


def test_law_against_the_tape_for_an_activation_without_closed_averages():
    """tanh, one unit: the engine that runs any plan on full weights."""
    model = teacher_student("tanh", "both", noise=False)
    start = start_of(1, 1, 12)
    values, state = overlaps(start, eta=1.5, eta_v=1.0)
    given = {"Wstar": start["Wstar"], "A": np.ones(1), "eta": 1.5, "eta_v": 1.0}
    tape = simulate(plan(model), given, {"W": start["W"], "v": start["v"]}, 24, seed=6, replicas=2000, every=12, observe=False)
    W = tape.values["W"]
    theirs = packed(W @ W.swapaxes(-1, -2) / 12, W @ start["Wstar"].T / 12, tape.values["v"][..., 0])
    run = chain(exact_chain(model), values, state, 12, 24, seed=7, replicas=2000, every=12)
    verdict = compare(packed(run.values["Q"], run.values["R"], run.values["v"]), theirs, FALSE_ALARM)
    assert verdict.passed, verdict


# --------------------------------------------------------------------------------------------------------------- power
SMALL = {"eta": 2.0, "eta_v": 1.0, "sigma": 0.3, "kappa": 2.0}


@pytest.fixture(scope="module")
def small():
    """N = 10: terms of relative order 1/N are a tenth. (values, state, direct runs)."""
    start = start_of(2, 1, 10)
    values, state = overlaps(start, **SMALL)
    return values, state, direct(start, values, 8000, 1, 20, 5)


SUBTLE = "no fluctuation of the length"
MEETING = "columns that never meet"  # one column of one draw meets no other
NAMES = ["the chain itself", *MUTANTS]


@pytest.mark.parametrize(
    "which",
    [n for n, name in enumerate(NAMES) if name not in (SUBTLE, MEETING)],
    ids=[n for n in NAMES if n not in (SUBTLE, MEETING)],
)
def test_a_wrong_term_is_rejected(which, small, loop):
    """The same gate at N = 10 passes the chain and rejects each mutant, by its score or because it leaves the Gram matrices."""
    values, state, theirs = small
    with mutant(loop, NAMES[which] if which else ""):
        ours = chain_runs(values, state, 10, 20, 5, 8000)
    verdict = compare(ours, theirs, FALSE_ALARM)
    assert verdict.passed == (which == 0), verdict


KNOWN = [(NAMES[0], 1), (NAMES[0], 7), (SUBTLE, 1), (NAMES[1], 1), (NAMES[1], 7)]  # at 7 steps the subtle one needs more runs


@pytest.mark.parametrize(("name", "steps"), KNOWN)
def test_a_sum_of_inputs_has_its_known_distribution(name, steps, loop):
    """w <- w + eta x / sqrt N from 0.  By hand: Q N^2 / (eta^2 t) is chi-square with N degrees of freedom, R is normal."""
    which, size, rate = NAMES.index(name), 3, 0.7
    model = single(eta / sqrt(N) * x, observe={"along": dot(w, b) / N})
    start = {"Q": 0.0, "R": 0.0}
    with mutant(loop, name if which else ""):
        run = chain(exact_chain(model), {"T": 2.0, "eta": rate}, start, size, steps, seed=3, replicas=5000, every=steps)
    length = kstest(run.values["Q"][:, -1] * size**2 / (rate**2 * steps), chi2(size).cdf).pvalue
    along = kstest(run.observables["along"][:, -1], norm(scale=rate * np.sqrt(2.0 * steps) / size).cdf).pvalue
    assert (min(length, along) > FALSE_ALARM / 2) == (which == 0), (length, along)
