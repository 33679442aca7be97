"""Figures of the two first systems: each line measures one property on two roads and prints the largest deviation.

Run ``python benchmarks/first_light.py`` (about two minutes). The properties are asserted in the tests; this file only shows by
how much they hold.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np

from codegen import compile
from derive import Balanced, Modes, gradient_flow, linear_network, online_limit, reduce, teacher_student
from derive.catalog import load
from derive.flows.check import check_gradient
from derive.matrices.calculus import grad
from derive.matrices.composite import elem
from derive.matrices.poly import Poly, atom
from derive.matrices.words import Atom
from numerics import integrate, verify


def gradients(count: int = 200) -> float:
    """Largest relative deviation of symbolic gradients from central differences, over random nets of one to four layers."""
    rng = np.random.default_rng(0)
    worst = 0.0
    for seed in range(count):
        depth = int(rng.integers(1, 5))
        layers = [Atom(f"W{l}", f"n{l + 1}", f"n{l}") for l in range(depth)]
        x, y = Atom("x", "n0", "p"), Atom("y", f"n{depth}", "p")
        out: Poly = atom(x)
        for layer in layers:
            out = atom(layer) * out
            if rng.random() < 0.5:
                out = elem(str(rng.choice(["tanh", "erf2", "exp", "sin"])), out)
        error = atom(y) - out
        loss = (error.T * error).trace() * (1 if rng.random() < 0.5 else 3) + (atom(layers[0]).T * atom(layers[0])).trace()
        for layer in layers:
            worst = max(worst, check_gradient(loss, layer, grad(loss, layer), seed=seed))
    return worst


def half_times() -> float:
    """Largest relative error of the half time of u' = 2 u (s - u), u0 = 1e-3 ... 1e-16, by the default method."""
    kernel = compile(reduce(gradient_flow(linear_network()), (Modes(white=True), Balanced())).system, backend="numpy")
    worst = 0.0
    for exponent in range(3, 17):
        u0, s = 10.0**-exponent, 1.0
        exact = np.log(s / u0 - 1) / (2 * s)
        times = exact + np.linspace(-1e-2, 1e-2, 401)
        run = integrate(kernel, {"u": np.array([u0])}, {"s": np.array([s]), "tau": 1.0, "tr_Syy": 1.0}, (0.0, 2 * exact), times)
        run.raise_if_failed()
        found = float(np.interp(s / 2, run.values["u"][:, 0], times))
        worst = max(worst, abs(found - exact) / exact)
    return worst


def emitted_bytes() -> int:
    """Number of different texts of the emitted kernels under four hash seeds."""
    code = "import sys; from derive import *; from codegen.kernel import compile\n"
    code += "flows = gradient_flow(linear_network(3)), online_limit(teacher_student())\n"
    code += "for f in flows: sys.stdout.write(compile(f, 'numpy').source)"
    texts = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "7", "12345")
    ]
    return len({t for t in texts if t})


def seconds(*arguments: str, runs: int = 5) -> float:
    """Median wall time of a Python process."""
    taken = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken))


def main() -> None:
    """Print one line per property."""
    print(f"gradients against central differences, 200 random losses:   {gradients():.1e}  (bound 1e-7)")
    print(f"half time of u' = 2u(s - u), u0 = 1e-3 ... 1e-16, relative:  {half_times():.1e}  (bound 1e-6)")
    print(f"different texts of the emitted kernels, four hash seeds:    {emitted_bytes()}  (must be 1)")
    command = "import sys; from numerics.cli import main; sys.argv = ['gradientflow', '--help']; main()"
    print(f"gradientflow --help:                       {seconds('-c', command):.2f} s  (bound 0.5)")
    for line in ("import derive", "from derive import Model"):
        print(f"{line + ':':42s} {seconds('-c', line):.2f} s  (bound 0.9)")
    for depth in (2, 3, 5):
        print(verify(load("saxe_2014_deep_linear", depth=depth)))
    print(verify(load("goldt_2019_teacher_student")))
    flow = online_limit(teacher_student())
    print(
        f"order parameters derived for every K, M: {', '.join(b.name for b in flow.state)}; parameters {len(flow.parameters)}"
    )


if __name__ == "__main__":
    main()
