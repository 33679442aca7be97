"""Emitted files run alone, are the same under every hash seed, and refuse what they cannot be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from codegen import compile, emit
from derive.errors import InvalidSpec
from tests.codegen import flows

ROOT = Path(__file__).resolve().parents[2]
ALONE = """
import importlib.util, sys
import numpy as np
spec = importlib.util.spec_from_file_location("kernel", sys.argv[1])
kernel = importlib.util.module_from_spec(spec)
sys.modules["kernel"] = kernel
spec.loader.exec_module(kernel)
W1, W2, S = np.array([[0.5, 1.0]]), np.array([[2.0]]), np.array([[1.0, -1.0]])
d1, d2 = kernel.rhs(0.0, W1, W2, np.eye(2), S, np.eye(1), 1.0)
assert np.allclose(d1, 2.0 * (S - 2.0 * W1)), d1
assert np.allclose(d2, (S - 2.0 * W1) @ W1.T), d2
assert not [m for m in sys.modules if m.split(".")[0] in ("derive", "codegen", "numerics", "sympy")]
print("alone")
"""
SEEDS = """
import hashlib
from codegen.backends import backend
from codegen.build import build
from codegen.source import source
from tests.codegen import flows
for flow in (flows.deep_linear(3), flows.composites(), flows.committee()):
    for name in ("numpy", "numba", "mpmath"):
        print(hashlib.sha256(source(build(flow).program, backend(name)).encode()).hexdigest())
"""


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_an_emitted_file_runs_without_the_project(backend, tmp_path):
    path = emit(flows.deep_linear(2), tmp_path / "kernel.py", backend)
    done = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", ALONE, str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.strip() == "alone", done.stderr
    assert not done.stderr


def test_text_is_the_same_under_every_hash_seed():
    seeds = ("0", "1", "7", "12345")
    running = [
        subprocess.Popen(
            [sys.executable, "-c", SEEDS],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in seeds
    ]
    texts = [child.communicate(timeout=120)[0] for child in running]
    assert all(child.returncode == 0 for child in running)
    assert len(texts[0].split()) == 9
    assert len(set(texts)) == 1


def test_unknown_backends_systems_and_directories_are_refused(tmp_path):
    with pytest.raises(ValueError, match="choose one of numba, numpy, mpmath"):
        compile(flows.modes(), "fortran")
    with pytest.raises(InvalidSpec, match="compile: str is no system of equations; pass the flow"):
        compile("modes", "numpy")
    with pytest.raises(InvalidSpec, match="does not exist; make it first"):
        emit(flows.modes(), tmp_path / "nowhere" / "kernel.py")


def test_names_must_be_unique_and_equations_complete():
    flow = flows.modes()
    with pytest.raises(InvalidSpec, match="s occurs twice"):
        compile(flow.replace(parameters=(*flow.parameters, flow.parameters[0])), "numpy")
    with pytest.raises(InvalidSpec, match="state u of modes has no right-hand side"):
        compile(flow.replace(rhs={}), "numpy")
