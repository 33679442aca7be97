"""What averages over episodes refuse, and signs as polynomials. Two roads for the latter: values at all signs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp

import derive as dv
from derive import InvalidSpec, Model, Normal, UnsupportedNode, Update, fn, had, mean, total
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import Index, Node, add, arr, const, evaluate, fun, mul, power
from derive.indices.sign_algebra import event_of, open_signs
from derive.library.episodes import rl_perceptron

N, T, K = dv.dims("N T K")
w, wstar, X = dv.vector("w", N), dv.vector("wstar", N), dv.matrix("X", N, T)
eta, k, r = dv.scalars("eta k r")
y, ystar, b = dv.vector("y", T), dv.vector("ystar", T), dv.vector("b", T)
Y, YSTAR = fn.sgn(X.T * w / sp.sqrt(N)), fn.sgn(X.T * wstar / sp.sqrt(N))
Z = dv.matrix("Z", N, 4)
ALL = sp.KroneckerDelta(k, T)


def model(reward: Any, step: Any = None, right: Any = None, **more: Any) -> Model:
    settings: dict[str, Any] = {
        "name": "m", "state": (w,), "given": (wstar, eta), "data": (Normal(X),),
        "let": {y: Y, ystar: YSTAR, k: total(fn.step(had(y, ystar)) if right is None else right), r: reward},
        "learn": Update({w: w + eta / sp.sqrt(N) * r * X * y if step is None else step}, dt=1 / N),
        "limit": dv.Limit({N: sp.oo}), "observe": {"reward": mean(r)},
    }  # fmt: skip
    return Model(**{**settings, **more})


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "two events": (lambda: dv.online_limit(model(ALL + sp.KroneckerDelta(total(fn.step(y)), 0))), "two events are counted"),
    "three values": (lambda: dv.online_limit(model(sp.KroneckerDelta(k, 2), right=had(y, ystar) + y)), "takes two values"),
    "gradient of a comparison": (
        lambda: dv.online_limit(model(ALL, step=w + eta * dv.grad(r * total(fn.erf2(X.T * w / sp.sqrt(N))), w))), "write stop"
    ),
    "unknown function": (lambda: dv.online_limit(model(fn.tanh(k))), "list its values with case"),
    "state along the steps": (
        lambda: dv.online_limit(
            model(ALL, state=(w, b), learn=Update({w: w + eta / sp.sqrt(N) * r * X * y, b: b + r / N * y}, dt=1 / N))
        ),
        "a dimension of its own",
    ),
    "columns by number": (
        lambda: dv.online_limit(
            Model(
                name="m", state=(w,), given=(eta,), data=(Normal(Z),),
                learn=Update({w: w + eta / sp.sqrt(N) * Z * fn.sgn(Z.T * w / sp.sqrt(N))}, dt=1 / N),
                limit=dv.Limit({N: sp.oo}),
            )
        ),
        "dims",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_remedy(name: str) -> None:
    build, remedy = REFUSED[name]
    with pytest.raises(UnsupportedNode, match=remedy):
        build()


def test_unknown_rewards() -> None:
    with pytest.raises(InvalidSpec, match="a function"):
        rl_perceptron("most")


A, B = fun("sgn", arr("a")), fun("sgn", arr("b"))
FUNCTIONS: dict[str, Node] = {
    "product": fun("step", mul(A, B)),
    "difference": mul(const(1), fun("abs", add(A, mul(const(-1), B)))),
    "parameter": fun("tanh", add(arr("p"), A, mul(const(2), B))),
    "inverse": power(add(const(3), A, B), -1),
    "raw product": fun("sgn", mul(arr("a"), arr("b"), arr("p"))),
    "raw power": fun("step", mul(power(arr("a"), 3), arr("b"))),
    "nested": fun("sgn", fun("relu", add(A, mul(const(-1), B), const(-1)))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_signs(name: str) -> None:
    node = FUNCTIONS[name]
    opened = open_signs(node, lambda n: n.args[0] in ("a", "b"))
    for p in (0.6, -0.8):
        for a, b_ in ((1.3, 0.4), (1.3, -0.4), (-2.0, 0.1), (-0.3, -0.3)):
            values = {"a": np.float64(a), "b": np.float64(b_), "p": p}
            # rounding of a dozen operations
            assert evaluate(opened, values, {}, NUMPY) == pytest.approx(evaluate(node, values, {}, NUMPY), abs=1e-14)


def test_events_need_two_values_of_one_step() -> None:
    t, s = Index("t", "T"), Index("s", "T")
    here = [fun("sgn", arr(n, t)) for n in ("a", "b")]
    assert event_of(add(here[0], here[1]), t, lambda n: True) is None  # three values
    assert event_of(mul(here[0], fun("sgn", arr("b", s))), t, lambda n: True) is None  # two steps
    found = event_of(add(const(2), mul(const(-3), *here)), t, lambda n: True)
    assert found is not None
    assert (found.low, found.high) == (-1, 5)
