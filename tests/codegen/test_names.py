"""Identifiers: from symbol identity; keywords, builtins and the module's own names are mended; no text is run."""

import keyword

import numpy as np
import pytest

from codegen import compile
from codegen.names import RESERVED, Names
from derive.indices.indexed import Index, arr, fun, sum_over
from derive.system import Assumption, Block, Flow, Function, Step

HOSTILE = 'x"""\nimport os\nos.abort()\n"""\\'


def named(*names, **more):
    i = Index("i", "r")
    first = names[0]
    state = tuple(Block(name=n, shape=("r",), indices=(i,)) for n in names)
    rhs = {n: arr(n, i) * arr(first, i) for n in names}
    return Flow(name=more.pop("name", "named"), state=state, rhs=rhs, **more)


@pytest.mark.parametrize(
    ("user", "code"),
    [("lambda", "lambda_"), ("W1", "W1"), ("sum", "sum_"), ("np", "np_"), ("t", "t_"), ("beta", "beta"), ("rhs", "rhs_")],
)
def test_names_are_kept_or_mended(user, code):
    assert Names().of("symbol", user) == code
    kernel = compile(named(user), "numpy")
    assert f"def rhs(t, {code}):" in kernel.source
    assert np.array_equal(kernel.rhs(0.0, np.array([2.0, 3.0]))[0], [4.0, 9.0])


def test_every_keyword_works_in_every_backend():
    for backend in ("numpy", "numba", "mpmath"):
        kernel = compile(named("lambda", "in", "x", "x_", "i", "r", "s1", "A1", "dx"), backend)
        out = kernel.rhs(0.0, *[np.full(2, float(n + 2)) for n in range(9)])
        assert [float(v[0]) for v in out] == [2.0 * (n + 2) for n in range(9)]


def test_two_symbols_never_share_an_identifier():
    names = Names()
    made = [names.of("symbol", n) for n in ("a b", "a_b", "a-b", "λ", "u3bb", *keyword.kwlist)]
    assert len(set(made)) == len(made)
    assert not RESERVED & set(made)
    assert all(m.isidentifier() and m.isascii() for m in made)


def test_text_of_users_stays_text():
    flow = named(
        HOSTILE,
        name=HOSTILE,
        assumptions=(Assumption(text=HOSTILE),),
        steps=(Step(title=HOSTILE, detail=HOSTILE, check=HOSTILE),),
        time=HOSTILE,
        observables={HOSTILE: sum_over(Index("i", "r"), arr(HOSTILE, Index("i", "r")))},
    )
    for backend in ("numpy", "numba"):
        kernel = compile(flow, backend)
        assert np.array_equal(kernel.rhs(0.0, np.array([2.0]))[0], [4.0])


def test_activations_are_printed_with_their_parameters_under_free_names():
    """softplus-like with a parameter, named like a module; against NumPy typed here."""
    i = Index("i", "r")
    body = ("map", "log", ("add", 1, ("map", "exp", ("mul", "beta", "z"))))
    flow = Flow(
        name="activation",
        state=(Block(name="z", shape=("r",), indices=(i,)),),
        rhs={"z": fun("math", arr("z", i))},
        parameters=(Block(name="beta"),),
        functions={"math": Function(name="math", variable="z", body=body)},
    )
    z = np.array([-1.0, 0.0, 2.0])
    for backend in ("numpy", "numba"):
        kernel = compile(flow, backend)
        assert "def math_(" in kernel.source
        assert np.allclose(kernel.rhs(0.0, z, 0.7)[0], np.log1p(np.exp(0.7 * z)), rtol=1e-15, atol=0)  # three operations
