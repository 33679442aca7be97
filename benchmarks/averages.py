r"""Random products of functions of Gaussian fields against samples: every rung of the ladder, near-singular laws.

    python benchmarks/averages.py [--cases 2000] [--samples 1000000]

Each case is a product of two to four functions (sgn, step, relu, abs, erf2, x) of four fields, centred or with means, with a
covariance that is random, nearly singular, singular, or has coinciding fields. The deviation is given in standard errors of the
samples; the largest of 2,000 normal deviates is below 4 with probability 0.88, below 4.5 with probability 0.99.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import sympy as sp
from numpy.typing import NDArray

from derive import fn
from derive.gaussian import Average, average

FIELDS = sp.symbols("a b c d", real=True)
KINDS = ("random", "nearly equal", "equal", "opposite", "rank three", "nearly rank two")
_ERF = np.frompyfunc(math.erf, 1, 1)
FUNCTIONS = {
    "sgn": (fn.sgn, np.sign),
    "step": (fn.step, lambda u: np.heaviside(u, 0.5)),
    "relu": (fn.relu, lambda u: np.maximum(u, 0.0)),
    "abs": (fn.abs, np.abs),
    "erf2": (fn.erf2, lambda u: np.interp(u, _GRID, _VALUES)),
    "x": (lambda u: u, lambda u: u),
}
_GRID = np.linspace(-9.0, 9.0, 20_001)  # linear interpolation, error 1e-7
_VALUES = np.asarray(_ERF(_GRID / math.sqrt(2.0)), float)


def covariance(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """A factor B of the covariance B B^T, of a kind of `KINDS`."""
    B = rng.normal(size=(4, 5)) * rng.uniform(0.3, 1.0)
    small = 10.0 ** rng.uniform(-9, -1)
    if kind == "nearly equal":
        B[1] = B[0] + small * rng.normal(size=5)
    elif kind == "equal":
        B[3] = B[2]
    elif kind == "opposite":
        B[0] = -2 * B[3]
    elif kind == "rank three":
        B[2] = B[0] - 2 * B[1]
    elif kind == "nearly rank two":
        B = rng.normal(size=(4, 2)) @ rng.normal(size=(2, 5)) + small * B
    return B


def deviations(cases: int, samples: int, seed: int) -> Iterator[tuple[str, Average, float]]:
    """(description, average, deviation from the samples in standard errors) of random products."""
    rng = np.random.default_rng(seed)
    for n in range(cases):
        kind = KINDS[n % len(KINDS)]
        B = covariance(kind, rng)
        m = rng.normal(size=4) * 0.7 if n % 3 == 2 else np.zeros(4)
        names = [str(x) for x in rng.choice(list(FUNCTIONS), size=int(rng.integers(2, 5)))]
        places = rng.integers(0, 4, size=len(names)) if n % 5 == 0 else rng.permutation(4)[: len(names)]
        product = sp.Mul(*(FUNCTIONS[f][0](FIELDS[p]) for f, p in zip(names, places, strict=True)))
        made = average(product, FIELDS, B @ B.T, m)
        u = B @ rng.normal(size=(5, samples)) + m[:, None]
        value = np.ones(samples)
        for f, p in zip(names, places, strict=True):
            value *= FUNCTIONS[f][1](u[p])
        error = value.std() / math.sqrt(samples) + 1e-6  # interpolation, and events too rare to be sampled
        shown = " ".join(f"{f}({FIELDS[p]})" for f, p in zip(names, places, strict=True))
        yield f"{kind}{', means' * bool(m.any())}: {shown}", made, float((value.mean() - made.value) / error)


def main() -> None:
    """Print the distribution of deviations by rung."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    start = time.perf_counter()
    found = list(deviations(options.cases, options.samples, options.seed))
    rungs = Counter(made.rung for _, made, _ in found)
    for rung in sorted(rungs):
        z = np.array([d for _, made, d in found if made.rung == rung])
        print(f"{rung:14s} {len(z):5d} products, mean z^2 {np.mean(z**2):.2f}, largest |z| {np.max(np.abs(z)):.2f}")
    for shown, made, z in sorted(found, key=lambda x: -abs(x[2]))[:5]:
        print(f"  z = {z:+.2f}  {made.rung}: {shown}")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
