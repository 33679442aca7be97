r"""Finite-size scaling of one-pass learning, from the overlap chain: N = 10^2 ... 10^6.

Two laws are expected of the generalisation error eg of a two-layer student at a fixed time: its deviation between runs falls
like N^(-1/2), and its mean is off the limit by a bias that falls like N^(-1). Both exponents are fitted with standard errors.
The limit is the flow that `online_limit` derives, compiled and integrated; the runs are exact in law at each N (no weights).

    python benchmarks/chain_sizes.py [--quick] [--out FOLDER]

prints the tables of docs/benchmarks.md; ``--out`` writes a figure as well.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import codegen
from derive import online_limit, teacher_student
from derive.online.chain_plan import exact_chain
from numerics import integrate
from numerics.simulate.chain import chain
from numerics.simulate.stats import exponent

TIME = 1.0
VALUES = {"T": np.eye(2), "A": np.ones(2), "eta": 1.5, "eta_v": 0.5, "sigma": 0.1}
START = {"Q": 0.25 * np.eye(2), "R": np.array([[0.2, 0.0], [0.1, 0.1]]), "v": np.array([1.0, 0.8])}
#: N and number of runs: few runs show a deviation, a bias of 1/N needs many (it is N^(-1/2) of a deviation).
FLUCTUATION = ((100, 2000), (1_000, 1000), (10_000, 400), (100_000, 100), (1_000_000, 48))
BIAS = ((50, 200_000), (100, 200_000), (200, 200_000), (400, 200_000))


def limit() -> float:
    """eg of the limit at the time of comparison."""
    flow = online_limit(teacher_student("erf2", "both"))
    kernel = codegen.compile(flow, backend="numpy")
    end = integrate(kernel, START, VALUES, (0.0, TIME), [0.0, TIME], rtol=1e-10)
    return float(end.observables["eg"][-1])


def runs_at(size: int, runs: int, seed: int) -> tuple[np.ndarray, float]:
    """eg of all runs at the end, and microseconds of processor time per step."""
    data = exact_chain(teacher_student("erf2", "both"))
    begin = time.process_time()
    run = chain(data, VALUES, START, size, round(TIME * size), seed=seed, replicas=runs, every=round(TIME * size))
    assert set(run.status) == {"ok"}
    return run.observables["eg"][:, -1], (time.process_time() - begin) / (runs * TIME * size) * 1e6


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="exponents of fluctuation and bias in N")
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    parser.add_argument("--out", type=Path, help="folder for the figure")
    options = parser.parse_args()
    share = 10 if options.quick else 1
    target = limit()
    runs_at(100, 1, 0)  # compilation
    print(f"eg of the limit at time {TIME:g}: {target:.8f}\n")
    print("|         N |   runs | deviation | mean - limit | standard error | us/step |")
    print("|----------:|-------:|----------:|-------------:|---------------:|--------:|")
    table = []
    for seed, (size, runs) in enumerate((*FLUCTUATION, *BIAS)):
        runs = max(16, runs // share)
        eg, cost = runs_at(size, runs, seed)
        spread, gap = float(eg.std(ddof=1)), float(eg.mean() - target)
        table.append((size, runs, spread, gap, spread / runs**0.5))
        print(f"| {size:9d} | {runs:6d} | {spread:9.2e} | {gap:12.2e} | {table[-1][-1]:14.1e} | {cost:7.2f} |", flush=True)
    wide, deep = table[: len(FLUCTUATION)], table[len(FLUCTUATION) :]
    fall = exponent([r[0] for r in wide], [r[2] for r in wide], [r[1] for r in wide])
    print(
        f"\nfluctuation ~ N^({fall.value:.3f} +- {fall.error:.3f}), expected -1/2; chi-square {fall.chi2:.1f} of {fall.freedom}"
    )
    slope, error = bias_exponent(deep)
    print(f"bias ~ N^({slope:.3f} +- {error:.3f}), expected -1")
    far = max(abs(gap) / e for size, _, _, gap, e in wide if size >= 10_000)
    print(f"N >= 10^4: largest |mean - limit| is {far:.1f} standard errors (the bias is below them)")
    if options.out:
        draw(options.out, table)


def bias_exponent(rows: list[tuple[int, int, float, float, float]]) -> tuple[float, float]:
    """Weighted straight line through log |bias|, with its standard error."""
    x = np.log([r[0] for r in rows])
    y, error = np.log(np.abs([r[3] for r in rows])), np.array([r[4] / abs(r[3]) for r in rows])
    design = np.stack([np.ones_like(x), x], axis=1) / error[:, None]
    cov = np.linalg.inv(design.T @ design)
    return float((cov @ design.T @ (y / error))[1]), float(cov[1, 1] ** 0.5)


def draw(folder: Path, table: list[tuple[int, int, float, float, float]]) -> None:
    """Deviation and bias against N, with lines of slope -1/2 and -1."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5))
    wide, deep = table[: len(FLUCTUATION)], table[len(FLUCTUATION) :]
    for rows, column, label, slope in ((wide, 2, "deviation between runs", -0.5), (deep, 3, "|mean - limit|", -1.0)):
        sizes, values = np.array([r[0] for r in rows], dtype=float), np.abs([r[column] for r in rows])
        bars = [r[4] if column == 3 else r[2] / (2 * (r[1] - 1)) ** 0.5 for r in rows]
        (line,) = axes.loglog(sizes, values[0] * (sizes / sizes[0]) ** slope, lw=1, label=f"slope {slope:g}")
        axes.errorbar(sizes, values, bars, fmt="o", ms=4, color=line.get_color(), label=label)
    axes.set_xlabel("N")
    axes.legend(frameon=False)
    figure.tight_layout()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "chain_sizes.png", dpi=150)


if __name__ == "__main__":
    main()
