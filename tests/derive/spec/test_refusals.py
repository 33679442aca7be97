"""Every mistake is refused at construction, with the symbol's name and the remedy: a table of bad specs.

Each case is a small correct spec with one mistake; `test_the_base_is_correct` shows that the base itself is accepted, so a case
fails for its own mistake. Words of the message are the remedy that the user is to read.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pytest
import sympy as sp

from derive import (
    Choice,
    Event,
    InvalidSpec,
    Limit,
    Marginal,
    Model,
    Moments,
    Normal,
    Phase,
    Rate,
    ShapeMismatch,
    Update,
    activation,
    case,
    dims,
    dot,
    fn,
    grad,
    had,
    matrix,
    mean,
    norm2,
    root,
    scalars,
    stack,
    total,
    vector,
)  # fmt: skip

N, K, M = dims("N K M")
W, V, x, v, z = matrix("W", K, N), matrix("V", M, K), vector("x", N), vector("v", K), vector("z", N)
A, B, Sx, C = matrix("A", K, N), matrix("B", N, N), matrix("Sx", N, N), matrix("C", N, N)
y, f, L, eta, q, p = scalars("y f L eta q p")


def base(**changes: Any) -> Model:
    sections = {
        "name": "base", "state": (W,), "given": (eta,), "data": (Normal(x),), "let": {L: norm2(W * x) / 2},
        "learn": Rate({W: -eta * grad(L, W)}),
    }  # fmt: skip
    return Model(**{**sections, **changes})


def test_the_base_is_correct() -> None:
    assert base().lowered.state == ("W",)


Bad = tuple[str, Callable[[], Any], type[Exception], tuple[str, ...]]
CASES: list[Bad] = [
    ("section", lambda: base(observes={}), InvalidSpec, ("observes", "did you mean 'observe'")),
    ("model name", lambda: base(name="my model"), InvalidSpec, ("my model", "underscores")),
    ("keyword", lambda: matrix("lambda", K, N), InvalidSpec, ("lambda", "'lam'")),
    ("reserved", lambda: scalars("grad"), InvalidSpec, ("grad", "word of the spec")),
    ("odd name", lambda: vector("x y", N), InvalidSpec, ("x y", "letter")),
    ("raw name", lambda: base(given=(eta, sp.Symbol("a b"))), InvalidSpec, ("a b", "letter")),
    ("text", lambda: base(let={L: "norm2(W*x)"}), InvalidSpec, ("let L", "never evaluated")),
    ("text inside", lambda: dot("W", x), InvalidSpec, ("dot", "never evaluated")),
    ("text as value", lambda: base(start={W: "zeros"}), InvalidSpec, ("start W", "never evaluated")),
    ("text as state", lambda: base(state=("W",)), InvalidSpec, ("state", "'W'")),
    ("text in choice", lambda: base(data=(Normal(x), Choice(q, ("a", "b")))), InvalidSpec, ("Choice", "never evaluated")),
    ("array", lambda: base(start={W: np.zeros((2, 2))}), InvalidSpec, ("start W", "given")),
    ("explicit matrix", lambda: base(start={W: sp.eye(2)}), InvalidSpec, ("explicit matrix", "given")),
    ("nan", lambda: base(let={L: norm2(W * x) * sp.nan}), InvalidSpec, ("let L", "nan")),
    ("zoo", lambda: base(learn=Rate({W: sp.zoo * W})), InvalidSpec, ("learn W", "zoo")),
    ("infinity", lambda: base(let={L: norm2(W * x) + sp.oo}), InvalidSpec, ("Limit",)),
    ("imaginary", lambda: base(let={L: sp.I * norm2(W * x)}), InvalidSpec, ("let L", "real")),
    ("long float", lambda: base(let={L: norm2(W * x) * (1 / 3)}), InvalidSpec, ("0.333", "Rational(1, 3)")),
    ("unevaluated", lambda: base(let={L: norm2(W * x) + sp.Sum(p, (p, 0, 3))}), InvalidSpec, ("Sum",)),
    ("entry", lambda: base(let={L: norm2(W * x) * W[0, 0]}), InvalidSpec, ("one-hot",)),
    ("sympy erf", lambda: base(let={L: sp.erf(norm2(W * x))}), InvalidSpec, ("fn.erf2(z)", "erf(z/sqrt(2))")),
    ("sympy tanh", lambda: base(let={L: norm2(sp.tanh(W))}), InvalidSpec, ("fn.tanh",)),
    ("unknown function", lambda: base(let={L: sp.gamma(norm2(W * x))}), InvalidSpec, ("activation('gamma'",)),
    ("piecewise", lambda: base(let={L: sp.Max(norm2(W * x), 0, eta)}), InvalidSpec, ("fn.relu",)),
    ("deep", lambda: base(let={L: norm2(reduce(lambda e, _: fn.tanh(e), range(300), W * x))}), InvalidSpec, ("deep", "`let`")),
    ("two roles", lambda: base(given=(eta, W)), InvalidSpec, ("W", "state", "given")),
    ("listed twice", lambda: base(given=(eta, eta)), InvalidSpec, ("eta", "twice")),
    ("two shapes", lambda: base(given=(eta, matrix("W", K, K))), InvalidSpec, ("W", "K x N", "K x K")),
    ("two assumptions", lambda: base(learn=Rate({W: -scalars("eta", positive=True) * W})), InvalidSpec, ("eta", "same name")),
    ("dimension listed", lambda: base(given=(eta, N)), InvalidSpec, ("N is a dimension", "do not list")),
    ("dimension kind", lambda: base(given=(eta, sp.MatrixSymbol("D", sp.Symbol("n"), 1))), InvalidSpec, ("n", "dims('n')")),
    ("undeclared", lambda: base(let={L: norm2(A * x)}), InvalidSpec, ("let L", "A is not declared", "list it in")),
    ("typo", lambda: base(learn=Rate({W: -scalars("etaa") * W})), InvalidSpec, ("etaa", "did you mean eta")),
    ("bare number", lambda: base(let={L: M * norm2(W * x)}), InvalidSpec, ("M", "as a dimension")),
    ("time", lambda: base(let={L: sp.Symbol("t", real=True) * norm2(W * x)}), InvalidSpec, ("Phase",)),
    ("let order", lambda: base(let={L: f**2, f: norm2(W * x)}), InvalidSpec, ("let L", "f is defined later")),
    ("let itself", lambda: base(let={L: L + norm2(W * x)}), InvalidSpec, ("defined by itself", "root")),
    ("root inside", lambda: base(let={L: 2 * root(L - norm2(W * x))}), InvalidSpec, ("whole definition",)),
    ("law itself", lambda: base(data=Normal(x, cov=x * x.T)), InvalidSpec, ("its own symbol",)),
    ("law order", lambda: base(data=(Normal(x, mean=q * x * 0 + q * z), Normal(q), Normal(z))), InvalidSpec, ("later draw",)),
    ("law order by let", lambda: base(data=(Normal(q, mean=f), Normal(x)), let={f: norm2(x), L: norm2(W * x) * q}),
     InvalidSpec, ("later",)),
    ("grad by given", lambda: base(given=(eta, A), let={L: norm2(W * x) + norm2(A)}, learn=Rate({W: -eta * W + grad(L, A)})),
     InvalidSpec, ("grad by A", "state")),
    ("rule on given", lambda: base(learn=Rate({W: -W, eta: 1 - eta})), InvalidSpec, ("eta is given",)),
    ("no rule", lambda: base(state=(W, v), let={L: dot(v, W * x)}), InvalidSpec, ("v is state", "given")),
    ("no rule at all", lambda: base(learn=None), InvalidSpec, ("no rule",)),
    ("phase on state", lambda: base(protocol=Phase(1, bind={W: A}), given=(eta, A)), InvalidSpec, ("W is state", "Event")),
    ("event on given", lambda: base(protocol=Event({eta: 2 * eta})), InvalidSpec, ("eta is given",)),
    ("fact about state", lambda: base(facts=sp.Eq(W * W.T, sp.Identity(K))), InvalidSpec, ("facts", "W", "start")),
    ("unused given", lambda: base(given=(eta, q)), InvalidSpec, ("q is declared as given but not used",)),
    ("unused draw", lambda: base(data=(Normal(x), Normal(z))), InvalidSpec, ("z is declared as draw",)),
    ("cancelled", lambda: base(given=(eta, q), let={L: norm2(W * x) + 0 * q}), InvalidSpec, ("q", "cancels")),
    ("moment listed", lambda: base(data=Moments(x, {x * x.T: Sx}), given=(eta, Sx)), InvalidSpec, ("Sx", "remove")),
    ("moment of state", lambda: base(data=Moments(x, {W.T * W: Sx})), InvalidSpec, ("average Sx", "W")),
    ("moments empty", lambda: Moments(x, {}), InvalidSpec, ("name the averages",)),
    ("parity", lambda: Moments(x, {x * x.T: Sx}, odd=(z,)), InvalidSpec, ("odd", "z")),
    ("limit of state", lambda: base(limit=Limit({eta: sp.oo, q: sp.oo})), InvalidSpec, ("q",)),
    ("limit value", lambda: Limit({N: 5}), InvalidSpec, ("oo",)),
    ("limit text", lambda: Limit({N: "oo"}), InvalidSpec, ("N", "never evaluated", "SymPy number oo")),
    ("huge power", lambda: base(let={L: norm2(W * x) ** 10**9}), InvalidSpec, ("1000000000", "up to 64")),
    ("tower", lambda: base(let={L: q * sp.Pow(9, sp.Pow(9, 9, evaluate=False), evaluate=False)}), InvalidSpec, ("up to 64",)),
    ("nan in activation", lambda: base(let={L: activation("g", lambda s: sp.nan)(norm2(W * x))}), InvalidSpec, ("'g'", "nan")),
    ("undefined probability", lambda: Choice(q, (1, 2), (float("nan"), 0.5)), InvalidSpec, ("Choice(q)", "add up to 1")),
    ("marginal of a number", lambda: Marginal(x, values=1, probs=1), InvalidSpec, ("values=(0, 1)",)),
    ("marginal of text", lambda: Marginal(x, values="ab"), InvalidSpec, ("values=(0, 1)",)),
    ("text as average", lambda: base(data=Moments(x, {"xx": Sx})), InvalidSpec, ("average Sx", "never evaluated")),
    ("text as observable", lambda: base(observe={"l": "mean(L)"}), InvalidSpec, ("observe 'l'", "never evaluated")),
    ("text as dimension", lambda: matrix("D", "K", N), InvalidSpec, ("D: dimension", "never evaluated")),
    ("text in a product", lambda: norm2("W*x"), InvalidSpec, ("norm2", "never evaluated")),
    ("choice without values", lambda: Choice(q), InvalidSpec, ("Choice(q, (1, -1))",)),
    ("choice lengths", lambda: Choice((q, p), ((1, 2), (3,))), InvalidSpec, ("2 symbols",)),
    ("probabilities", lambda: Choice(q, (1, 2), (0.1, 0.2)), InvalidSpec, ("add up to 1",)),
    ("marginal", lambda: Marginal(x), InvalidSpec, ("exactly one of",)),
    ("set of states", lambda: base(state={W}), InvalidSpec, ("order matters",)),
    ("not a law", lambda: base(data=(x,)), InvalidSpec, ("data", "Normal(x)")),
    ("not a rule", lambda: base(learn={W: -W}), InvalidSpec, ("Rate",)),
    ("batch", lambda: Update({W: W}, batch=0), InvalidSpec, ("batch",)),
    ("builtin activation", lambda: activation("tanh", sp.tanh), InvalidSpec, ("fn.tanh",)),
    ("numpy activation", lambda: activation("g", np.tanh), InvalidSpec, ("SymPy functions",)),
    ("if in activation", lambda: activation("g", lambda s: s if s > 0 else 0), InvalidSpec, ("Piecewise",)),
    ("inner product", lambda: base(let={L: norm2(x.T * x * W)}), ShapeMismatch, ("dot(x, x)",)),
    ("W v", lambda: norm2(W * v), ShapeMismatch, ("N columns of W", "K rows of v", "W.T*v")),
    ("W + x", lambda: base(learn=Rate({W: W + x})), ShapeMismatch, ("K x N", "N x 1")),
    ("square", lambda: base(let={L: total((W * x) ** 2)}), ShapeMismatch, ("fn.sq",)),
    ("rate shape", lambda: base(learn=Rate({W: -W * W.T})), ShapeMismatch, ("learn W", "K x N")),
    ("let number", lambda: base(let={L: x.T * W.T * W * x}), ShapeMismatch, ("let L", "dot(x, W.T*W*x)")),
    ("cov", lambda: base(data=Normal(x, cov=A), given=(eta, A)), ShapeMismatch, ("cov", "N x N")),
    ("trace", lambda: base(let={L: sp.Trace(W * W.T) + sp.Trace(sp.MatMul(W, C))}), ShapeMismatch, ("square",)),
    ("dot", lambda: dot(v, x), ShapeMismatch, ("K x 1", "N x 1")),
    ("dot of numbers", lambda: dot(y, f), ShapeMismatch, ("a*b",)),
    ("had", lambda: had(v, x), ShapeMismatch, ("K x 1", "N x 1")),
    ("stack", lambda: stack(W, v), ShapeMismatch, ("columns",)),
    ("grad of a matrix", lambda: grad(W * x, W), ShapeMismatch, ("number",)),
    ("grad by expression", lambda: grad(L, 2 * W), InvalidSpec, ("symbol",)),
    ("case", lambda: case(q, {1: W, 2: y}), ShapeMismatch, ("branch",)),
    ("add", lambda: fn.add(W, y), ShapeMismatch, ("fn.add",)),
]  # fmt: skip


@pytest.mark.parametrize("bad", CASES, ids=[c[0] for c in CASES])
def test_a_mistake_is_refused_with_its_remedy(bad: Bad) -> None:
    _, build, kind, words = bad
    with pytest.raises(kind) as caught:
        build()
    for word in words:
        assert word in str(caught.value)


def test_a_matrix_of_the_same_name_but_other_dimensions_is_another_symbol() -> None:
    with pytest.raises(InvalidSpec, match="two different symbols"):
        base(let={L: norm2(matrix("W", K, K) * v) + norm2(W * x) + mean(y)})
