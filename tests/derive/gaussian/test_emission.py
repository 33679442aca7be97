"""Local averages as emitted functions. Road one: the printed module of each backend. Road two: `indexed.evaluate`."""

import os
import subprocess
import sys

import numpy as np
import pytest
from mpmath import mpf

from codegen import compile as emit
from derive.gaussian.local import read
from derive.gaussian.quadrature import NUMPY
from derive.indices.indexed import arr, evaluate, fun
from derive.system import Block, Flow

NAMES = (
    "Em[relu|sgn|abs]",
    "E[sgn|sgn|sgn|sgn|x,x,sgn|sgn]",
    "Em[erf2|relu|step]",
    "E[step|step|relu|relu]",
    "E[tanh|x,tanh']",
)


def flow_and_values():
    """Observables that are local averages; fields 1 and 2 of the first coincide."""
    rng = np.random.default_rng(0)
    values, observables = {"q": 1.0}, {}
    for n, name in enumerate(NAMES):
        made = read(name)
        B = rng.normal(size=(len(made.slots), len(made.slots) + 1))
        if n == 0:
            B[1] = B[0]
        C = B @ B.T
        for a in made.arguments:
            i, j = int(a[1]) - 1, int(a[-1]) - 1
            values[f"{a}_{n}"] = 0.5 * rng.normal() if a[0] == "m" else float(C[i, j])
        observables[f"o{n}"] = fun(name, *(arr(f"{a}_{n}") for a in made.arguments))
    parameters = tuple(Block(name=x) for x in values if x != "q")
    state = (Block(name="q", shape=()),)
    return Flow(name="averages", state=state, rhs={"q": arr("q")}, parameters=parameters, observables=observables), values


@pytest.mark.parametrize("backend", ["numpy", "mpmath", pytest.param("numba", marks=pytest.mark.slow)])
def test_backends_agree(backend):
    flow, values = flow_and_values()
    kernel = emit(flow, backend=backend)
    got = kernel.observables(0.0, *(mpf(x) if backend == "mpmath" else x for x in values.values()))
    want = [float(evaluate(node, values, {}, NUMPY)) for node in flow.observables.values()]
    assert np.all(np.abs(want) > 1e-3)
    np.testing.assert_allclose([float(x) for x in got], want, rtol=0, atol=1e-12)  # the same nodes, other order of operations


def test_users_symbols_do_not_meet_the_functions_of_the_module():
    q, angle = arr("snap"), fun("angle", arr("angle"), arr("snap"), arr("nodes14"))
    flow = Flow(
        name="names", state=(Block(name="snap"),), rhs={"snap": q}, parameters=(Block(name="angle"), Block(name="nodes14")),
        observables={"sign4": angle},
    )  # fmt: skip
    assert abs(float(emit(flow, backend="numpy").observables(0.0, 1.0, 0.5, 1.0)[0]) - np.pi / 6) < 1e-15  # one arcsine


@pytest.mark.slow
def test_a_second_process_loads_the_compiled_kernel(tmp_path):
    """Mutual recursion compiles, but crashes when Numba loads it from its cache; so the recursion is written out by level."""
    code = """
from codegen import compile
from derive.gaussian.local import read
from derive.indices.indexed import arr, fun
from derive.system import Block, Flow
made = read("Em[erf2|relu|step]")
values = {a: (0.3 if a[0] == "m" else 2.0 if a[1] == a[-1] else 0.5) for a in made.arguments}
average = fun("Em[erf2|relu|step]", *(arr(a) for a in made.arguments))
flow = Flow(name="f", state=(Block(name="q"),), rhs={"q": arr("q")}, parameters=tuple(Block(name=a) for a in values),
            observables={"o": average})
print(*compile(flow).observables(0.0, 1.0, *values.values()))
"""
    env = {**os.environ, "GRADIENTFLOW_CACHE": str(tmp_path)}
    runs = [subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True) for _ in range(2)]
    assert [r.returncode for r in runs] == [0, 0], runs[-1].stderr
    assert float(runs[0].stdout) == pytest.approx(float(runs[1].stdout), rel=1e-13)  # compiled twice: other order of operations
