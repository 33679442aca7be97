r"""One-pass learning at any N, exactly in law, without weights: the overlaps as a Markov chain.

For Gaussian inputs and an update that is linear in them, the Gram matrix C of all vectors moves as a Markov chain by itself:
the fields of a step are N(0, C), the rest of |x|^2 is a chi-square with N - rank C degrees of freedom, and

    C <- D C D' + (D lam F' + F lam' D') / N + F F' |x|^2 / N^2,     theta <- theta + H / N,     D = 1 + G / N.

The law of the overlaps is that of SGD on full weights, every 1/N term included, at a cost that does not depend on N. It
presupposes that the update is linear in x, which `derive.online.chain_plan.exact_chain` establishes; the simulation of full
weights remains the independent witness. Imports NumPy and this package, and Numba at the first call. Imported by `numerics`
and users.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chain_bind import Bound, bind, moving, overlap_block
from .chain_loop import INDEFINITE, NONFINITE, OK, advance
from .chain_program import evaluate
from .engine import SimulationResult
from .errors import BindingError
from .families.jit import compiled
from .streams import Stream

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
STATUS = {OK: "ok", NONFINITE: "nonfinite", INDEFINITE: "indefinite"}


def chain(
    plan: Mapping[str, Any],
    values: Mapping[str, Any],
    state: Mapping[str, Any],
    N: int,
    steps: int,
    *,
    seed: int = 0,
    replicas: int = 1,
    every: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationResult:
    """Run the overlap chain.

    Parameters
    ----------
    plan : mapping
        Written by ``derive.online.chain_plan.exact_chain(model)``.
    values : mapping name -> array
        Overlaps of the fixed vectors and given arrays of order one: the parameters of the limit equations. Arrays have no
        axes of length 1.
    state : mapping name -> array
        Overlaps that move and states of order one, with shapes such as (K, K), (K, M), (K,), or one of each for every replica
        along a leading axis.
    N : int
        Dimension of the input; more than the number of vectors.
    steps : int
        Number of inputs; 0 records the start.
    seed, replicas : int
        Replica r uses the stream ``Stream(root=seed, replica=r)``, whatever the number of replicas.
    every : int, optional
        Steps between records; a hundred records by default. The last step is always recorded.
    progress : callable, optional
        Called as ``progress(done, replicas)``.

    Returns
    -------
    SimulationResult
        ``values`` holds the state, (replicas, T, K, K) and so on; ``observables`` those of the plan, (replicas, T). Status
        "ok", "nonfinite", or "indefinite" (overlaps that are no longer those of any vectors); after a failure records are NaN.

    Raises
    ------
    PlanError, BindingError, NotSimulable

    Examples
    --------
    A vector w that learns b from its products with inputs of one million entries, w <- w - (w - b).x x / (2 N):

    >>> err = ["add", ["field", "w", "x", []], ["mul", ["const", -1, 1], ["field", "b", "x", []]]]
    >>> plan = {"version": 1, "kind": "overlap chain", "name": "lms", "big": "N", "pace": ["const", 1, 1],
    ...     "families": [{"name": "w", "size": 1, "learned": True}, {"name": "b", "size": 1, "learned": False}],
    ...     "overlaps": [{"name": n, "families": f} for n, f in (("Q", ["w", "w"]), ("R", ["w", "b"]), ("T", ["b", "b"]))],
    ...     "states": {}, "given": {}, "inputs": [{"name": "x", "variance": ["const", 1, 1]}], "noises": [],
    ...     "F": [{"family": "w", "labels": [], "input": "x", "value": ["mul", ["const", -1, 2], err]}], "G": [], "H": [],
    ...     "observe": {}}
    >>> run = chain(plan, {"T": 1.0}, {"Q": 0.0, "R": 0.0}, 1_000_000, 200_000, every=200_000)
    >>> bool(abs(run.values["R"][0, -1] - (1 - np.exp(-0.1))) < 1e-3)
    True
    """
    if steps < 0 or replicas < 1 or (every is not None and every < 1):
        raise BindingError("steps must be >= 0; replicas and every at least 1.")
    bound = bind(plan, values, state, int(N), replicas)
    every = every or max(1, steps // 100)
    marks = np.array([*range(0, steps, every), steps], dtype=np.int64)
    n, count = bound.rows, bound.theta.shape[1]
    kept_C, kept_theta = np.full((replicas, marks.size, n, n), np.nan), np.full((replicas, marks.size, count), np.nan)
    wiring = _wiring(bound)
    status = []
    for replica in range(replicas):
        rng = Stream(root=seed, replica=replica).generator("train")
        head = (rng, bound.N, bound.variance, bound.C[replica].copy(), bound.theta[replica].copy(), bound.program.start.copy())
        status.append(STATUS[_kernel()(*head, *wiring, marks, kept_C[replica], kept_theta[replica])])
        if progress is not None:
            progress(replica + 1, replicas)
    recorded = _unpack(plan, bound, kept_C, kept_theta)
    return SimulationResult(
        name=plan["name"],
        t=np.asarray(marks * bound.dt, dtype=np.float64),
        steps=marks,
        values=recorded,
        observables=_observables(bound, kept_C, kept_theta),
        status=tuple(status),
        seed=seed,
    )


def chain_step(
    plan: Mapping[str, Any],
    values: Mapping[str, Any],
    state: Mapping[str, Any],
    N: int,
    fields: Mapping[str, Any],
    square: float,
    noises: Mapping[str, Any] | None = None,
) -> dict[str, Array]:
    """The state after one step with prescribed draws, in matrix form: what the loop and other engines are compared with.

    Parameters
    ----------
    fields : mapping family -> array, shape (K,) or ()
        V x / sqrt N for every family.
    square : float
        |x|^2.
    noises : mapping noise -> array, optional

    Returns
    -------
    dict of arrays
        New overlaps and states, under the names of ``state``.
    """
    bound = bind(plan, values, state, int(N), 1)
    C, theta, n = bound.C[0], bound.theta[0], bound.rows
    lam = np.concatenate([np.ravel(np.asarray(fields[family], dtype=np.float64)) for family in bound.start])
    noise = np.zeros(bound.noise_mean.size)
    for name, place in bound.noise_places.items():
        noise[place] = np.ravel((noises or {})[name])
    table = {"field": lam, "noise": noise, "state": theta, "gram": C}
    inputs = {key: square / N if key == ("square",) else table[key[0]][key[1:]] for key in bound.program.inputs}
    results = iter([float(x) for x in evaluate(bound.program, inputs)])
    F, G, H = np.zeros(n), np.zeros((n, n)), np.zeros(theta.size)
    for p in bound.F:
        F[p] = next(results)
    for p, q in bound.G:
        G[p, q] = next(results)
    for i in bound.H:
        H[i] = next(results)
    D = np.eye(n) + G / N
    cross = np.outer(D @ lam, F) / N
    moved = D @ C @ D.T + cross + cross.T + np.outer(F, F) * square / N**2
    return {name: x[0, 0] for name, x in _unpack(plan, bound, moved[None, None], (theta + H / N)[None, None]).items()}


@cache
def _kernel() -> Callable[..., int]:
    return compiled(advance)


def _wiring(bound: Bound) -> tuple[Any, ...]:
    """The arrays that tell the loop where inputs go and where results come from, in the order of its arguments."""
    found = bound.program.inputs
    fields = _integers([found.get(("field", p), -1) for p in range(bound.rows)])
    states = _integers([found.get(("state", i), -1) for i in range(bound.theta.shape[1])])
    noises = _integers([found.get(("noise", i), -1) for i in range(bound.noise_mean.size)])
    grams = _integers([(register, *key[1:]) for key, register in found.items() if key[0] == "gram"]).reshape(-1, 3)
    results = iter(bound.program.outputs)
    F = _integers([(p, next(results)) for p in bound.F]).reshape(-1, 2)
    G = _integers([(p, q, next(results)) for p, q in bound.G]).reshape(-1, 3)
    H = _integers([(i, next(results)) for i in bound.H]).reshape(-1, 2)
    square = found.get(("square",), -1)
    return fields, square, grams, states, noises, bound.noise_root, bound.noise_mean, bound.program.code, F, G, H


def _integers(rows: list[Any]) -> Integers:
    return np.array(rows, dtype=np.int64)


def _unpack(plan: Mapping[str, Any], bound: Bound, C: Array, theta: Array) -> dict[str, Array]:
    """Named arrays of shape (replicas, T, ...) from C and theta along a run."""
    out = {}
    for name in moving(plan):
        i, j = overlap_block(plan, bound, name)
        out[name] = C[:, :, i, j].reshape(*C.shape[:2], *bound.shapes[name]).copy()
    for name, place in bound.places.items():
        out[name] = theta[:, :, place].reshape(*theta.shape[:2], *bound.shapes[name]).copy()
    return out


def _observables(bound: Bound, C: Array, theta: Array) -> dict[str, Array]:
    table = {"gram": C, "state": theta}
    out = {}
    for name, program in bound.observables.items():
        (result,) = evaluate(program, {key: table[key[0]][(..., *key[1:])] for key in program.inputs})
        out[name] = np.broadcast_to(result, C.shape[:2]).copy()
    return out
