"""Fixed points, plateau and stable rates of order-parameter equations, each against a second road."""

from __future__ import annotations

import numpy as np
import pytest

from codegen import compile
from derive.errors import InvalidSpec
from derive.indices.indexed import arr, const
from derive.library.teacher import teacher_student
from derive.online.alike_units import Group, symmetric
from derive.online.limit import online_limit
from derive.system import Block, Flow
from numerics.analysis import NoRestState, find_rest, largest_stable, spectrum_at, symmetric_plateau
from numerics.integrate import integrate

ALIKE = {"u": Group(size="K", families=("K",)), "t": Group(size="M", families=("M",))}


@pytest.fixture(scope="module")
def linear():
    return online_limit(teacher_student("linear", train="first"))


@pytest.fixture(scope="module")
def erf():
    return online_limit(teacher_student(train="first"))


@pytest.mark.parametrize(("K", "want"), [(2, 0.005), (4, 0.01125)])
def test_error_of_a_linear_committee_at_rest(linear, K, want):
    """Roads: Newton on the derived equations; eg = eta sigma^2 K / (4 - 2 eta K) by hand."""
    params = {"A": np.ones(2), "v": np.ones(K), "T": np.eye(2), "eta": 0.1, "sigma": 0.3}
    rest = find_rest(linear, {"Q": np.eye(K), "R": np.eye(K, 2)}, params)
    assert abs(float(rest.observables["eg"]) - want) < 1e-10  # the tolerance of Newton's method, 1e-11
    assert rest.stable
    assert rest.neutral > 0  # only the sum of the units moves


def test_largest_stable_rate_of_a_linear_committee(linear):
    """Roads: bisection on the spectrum; 2 / K by hand, where -2 eta K + eta^2 K^2 changes sign."""
    one = symmetric(linear, ALIKE)
    params = {"A_t": 1.0, "v_u": 1.0, "T_t": 1.0, "T_t_t": 0.0, "K": 4, "M": 2, "sigma": 0.2}
    start = {"Q_u": 1.0, "Q_u_u": 0.0, "R_u_t": 0.3}
    found = largest_stable(one, "eta", start, params, low=0.05, high=2.0, tolerance=1e-4)
    assert abs(found - 0.5) < 1e-3  # the tolerance of the bisection, and of what is taken for zero
    with pytest.raises(InvalidSpec, match="raise high="):
        largest_stable(one, "eta", start, params, low=0.05, high=0.3)


def test_escape_from_the_symmetric_plateau(erf):
    """Roads: eigenvalue at the plateau; growth of a small difference along an integrated trajectory."""
    params = {"A": np.ones(2), "v": np.ones(2), "T": np.eye(2), "eta": 0.3, "sigma": 0.0}
    plateau = symmetric_plateau(erf, ALIKE, {"Q": 0.3 * np.eye(2), "R": np.full((2, 2), 0.3)}, params)
    assert plateau.symmetric.stable
    assert not plateau.full.stable
    assert plateau.full.residual < 1e-12  # the symmetric rest state is one of the full system
    named = plateau.full.direction()
    checkerboard = np.array([named[f"R[{k},{m}]"].real for k in range(2) for m in range(2)])
    assert np.allclose(np.abs(checkerboard), 1.0, atol=1e-6)  # each unit turns to a teacher of its own
    assert np.sign(checkerboard).tolist() in ([1, -1, -1, 1], [-1, 1, 1, -1])
    start = {n: np.array(a) for n, a in plateau.full.state.items()}
    start["R"] += 1e-7 * np.array([[1, -1], [-1, 1]])
    times = np.array([0.0, 60.0, 120.0])
    path = integrate(compile(erf, backend="numpy"), start, params, (0.0, 120.0), times, rtol=1e-11, atol=1e-14)
    gap = np.log(np.abs(path.values["R"][:, 0, 0] - path.values["R"][:, 0, 1]))
    rate = (gap[2] - gap[1]) / 60.0
    assert abs(rate / plateau.full.escape_rate - 1) < 1e-5  # the difference is 1e-6 by then: relative corrections of its square


def test_units_that_differ_are_refused(erf):
    params = {"A": np.array([1.0, 0.6]), "v": np.ones(2), "T": np.diag([1.0, 2.0]), "eta": 0.3, "sigma": 0.0}
    with pytest.raises(InvalidSpec, match="tell the units apart"):
        symmetric_plateau(erf, ALIKE, {"Q": 0.3 * np.eye(2), "R": np.full((2, 2), 0.3)}, params)


def test_the_spectrum_of_a_matrix_written_by_hand():
    """Roads: differences; the eigenvalues of [[-1, 2], [0, -3]] by hand."""
    a, b = arr("a"), arr("b")
    flow = Flow(
        name="pair",
        state=(Block(name="a"), Block(name="b")),
        rhs={"a": const(2) * b - a + a * b, "b": const(-3) * b + a * a * a},
    )
    rest = spectrum_at(flow, {"a": 0.0, "b": 0.0}, {})
    assert np.allclose(rest.rates, [-1, -3], atol=1e-10)  # differences of fourth order are exact on cubics
    assert rest.stable
    assert rest.direction()["a"] == pytest.approx(1.0)


def test_no_rest_state_is_an_error_with_a_remedy():
    flow = Flow(name="drift", state=(Block(name="a"),), rhs={"a": const(1) + arr("a") * arr("a")})
    with pytest.raises(NoRestState, match="start closer"):
        find_rest(flow, {"a": 0.3}, {})


# ------------------------------------------------------------------------------------------------------- symmetric manifolds
def test_symmetric_equations_are_the_full_ones_at_other_sizes(erf):
    """Roads: the kernel of the numbers; the kernel of the arrays at lifted states, K = 5, M = 3 (derivation checked 2 + 3)."""
    made = symmetric(erf, {"p": Group(size="M", families=("K", "M")), "s": Group(size="L", families=("K",))})
    rng = np.random.default_rng(3)
    numbers = {b.name: float(rng.uniform(0.02, 0.1)) for b in (*made.system.state, *made.system.parameters)}
    numbers |= {"Q_p": 1.1, "Q_s": 0.7, "T_p": 1.3, "R_p": 0.8, "M": 3.0, "L": 2.0, "eta": 0.4, "sigma": 0.3}
    state = made.lift_state(numbers, {})
    params = {"A": np.full(3, numbers["A_p"]), "T": np.where(np.eye(3) > 0, 1.3, numbers["T_p_p"]), "eta": 0.4, "sigma": 0.3}
    params["v"] = np.array([numbers["v_p"]] * 3 + [numbers["v_s"]] * 2)
    full, small = spectrum_at(erf, state, params), made.system
    kernel = compile(erf, backend="numpy")
    layout = kernel.layout(state)
    rates = layout.unpack(kernel.flat_rhs(layout, kernel.arguments(params))(0.0, layout.pack(state)))
    want = made.project_state(numbers, rates)
    inner = spectrum_at(
        small, {b.name: numbers[b.name] for b in small.state}, {b.name: numbers[b.name] for b in small.parameters}
    )
    view = compile(small, backend="numpy")
    at = view.layout({b.name: numbers[b.name] for b in small.state})
    args = view.arguments({b.name: numbers[b.name] for b in small.parameters})
    got = at.unpack(view.flat_rhs(at, args)(0.0, at.pack({b.name: numbers[b.name] for b in small.state})))
    assert all(abs(float(got[n]) - want[n]) < 1e-12 for n in want)  # the same sums in another order
    assert all(np.min(np.abs(full.rates - r)) < 1e-6 for r in inner.rates)  # its spectrum is part of the full one
    assert abs(float(full.observables["eg"]) - float(inner.observables["eg"])) < 1e-12


def test_what_symmetric_refuses(erf):
    with pytest.raises(InvalidSpec, match="units of M are in no group"):
        symmetric(erf, {"u": Group(size="K", families=("K",))})
