r"""One-pass learning at any N, exactly in law, without weights: the overlaps as a Markov chain.

For Gaussian inputs and an update that is linear in them, the Gram matrix C of all vectors moves as a Markov chain by itself:
the fields of a step are N(0, C), and what is left of the inputs beside the vectors is a Wishart matrix with D - rank C degrees
of freedom in every block of dimension D (`chain_loop`). With lam the fields, Z the products of all columns of a mini-batch,

    C <- D C D' + (D lam F' + F lam' D') / N + F Z F' / N^2,     theta <- theta + H / N,     D = 1 + G / N,

and later blocks of the update map C and theta once more. The law of the overlaps is that of SGD on full weights, every 1/N term
included, at a cost that does not depend on N. It presupposes that the update is linear in x, which `derive.exact_chain`
establishes; the simulation of full weights remains the independent witness. Imports NumPy and this package, and Numba at the
first call. Imported by `numerics` and users.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chain_arrays import control_table, moving
from .chain_bind import Bound, bind, overlap_block, wiring
from .chain_loop import IMPROPER, INDEFINITE, NONFINITE, OK, advance
from .chain_program import Key, evaluate
from .chain_segments import Segment
from .engine import SimulationResult
from .errors import BindingError
from .families.jit import compiled
from .streams import Stream

Array = NDArray[np.float64]
STATUS = {OK: "ok", NONFINITE: "nonfinite", INDEFINITE: "indefinite", IMPROPER: "improper"}


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
        Written by ``derive.exact_chain(model)``.
    values : mapping name -> array
        Overlaps of the fixed vectors and given arrays of order one: the parameters of the limit equations. Arrays have no
        axes of length 1. A given array may be a function of time; a dimension that no array shows is passed by name.
    state : mapping name -> array
        Overlaps that move and states of order one, with shapes such as (K, K), (K, M), (K,), or one of each for every replica
        along a leading axis.
    N : int
        The scale of the inputs: their dimension, or the sum of dimensions that the ratios of the blocks refer to. No block
        may have more vectors than dimensions.
    steps : int
        Number of steps of the update; 0 records the start.
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
        "ok", "nonfinite", "indefinite" (overlaps that are no longer those of any vectors) or "improper" (probabilities of
        labels that do not sum to 1); after a failure records are NaN.

    Raises
    ------
    PlanError, BindingError, NotSimulable

    Examples
    --------
    A vector w that learns b from its products with inputs of one million entries, w <- w - (w - b).x x / (2 N):

    >>> err = ["add", ["field", "w", "x", []], ["mul", ["const", -1, 1], ["field", "b", "x", []]]]
    >>> one = {"shown": "", "weight": ["const", 1, 1], "places": [], "variances": {"x": ["const", 1, 1]}, "noises": {}, "G": [],
    ...     "F": [{"family": "w", "labels": [], "input": "x", "step": None, "value": ["mul", ["const", -1, 2], err]}], "H": [],
    ...     "masks": {}}
    >>> plan = {"version": 2, "kind": "overlap chain", "name": "lms", "big": "N", "pace": ["const", 1, 1],
    ...     "batch": ["const", 1, 1], "blocks": {"N": ["const", 1, 1]},
    ...     "families": [{"name": "w", "size": 1, "learned": True, "block": "N"},
    ...     {"name": "b", "size": 1, "learned": False, "block": "N"}],
    ...     "overlaps": [{"name": n, "families": f} for n, f in (("Q", ["w", "w"]), ("R", ["w", "b"]), ("T", ["b", "b"]))],
    ...     "states": {}, "given": {}, "inputs": [{"name": "x", "block": "N", "columns": 1}], "noises": [], "masks": [],
    ...     "outcomes": [one], "later": [], "observe": {}}
    >>> run = chain(plan, {"T": 1.0}, {"Q": 0.0, "R": 0.0}, 1_000_000, 200_000, every=200_000)
    >>> bool(abs(run.values["R"][0, -1] - (1 - np.exp(-0.1))) < 1e-3)
    True
    """
    if steps < 0 or replicas < 1 or (every is not None and every < 1):
        raise BindingError("steps must be >= 0; replicas and every at least 1.")
    bound = bind(plan, values, state, int(N), replicas)
    every = every or max(1, steps // 100)
    marks = np.array([*range(0, steps, every), steps], dtype=np.int64)
    kept_C, kept_theta, status = run_chain(bound, marks, seed, range(replicas), progress=progress)
    return SimulationResult(
        name=plan["name"],
        t=np.asarray(marks * bound.dt, dtype=np.float64),
        steps=marks,
        values=named(plan, bound, kept_C, kept_theta),
        observables=observed(bound, kept_C, kept_theta, np.asarray(marks * bound.dt, dtype=np.float64)),
        status=status,
        seed=seed,
    )


def run_chain(
    bound: Bound,
    marks: NDArray[np.int64],
    seed: int,
    replicas: Iterable[int],
    *,
    phase: int = 0,
    begun: float = 0.0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Array, Array, tuple[str, ...]]:
    """Run a bound chain from its start, once for each replica: C and theta at ``marks``, and how every run ended."""
    runs, n, count = bound.C.shape[0], bound.rows, bound.theta.shape[1]
    kept_C, kept_theta = np.full((runs, marks.size, n, n), np.nan), np.full((runs, marks.size, count), np.nan)
    (head, tail), registers = wiring(bound)
    shapes = {name: bound.places.shapes[name] for name in bound.controls}
    times = begun + np.arange(marks[-1] if bound.controls else 0) * bound.dt
    controls = control_table(bound.controls, shapes, times)
    status = []
    for place, replica in enumerate(replicas):
        rng = Stream(root=seed, cell=phase, replica=replica).generator("train")
        moved = (bound.C[place].copy(), bound.theta[place].copy(), registers.copy())
        status.append(STATUS[_kernel()(rng, *head, *moved, *tail, controls, marks, kept_C[place], kept_theta[place])])
        if progress is not None:
            progress(place + 1, runs)
    return kept_C, kept_theta, tuple(status)


def chain_step(
    plan: Mapping[str, Any],
    values: Mapping[str, Any],
    state: Mapping[str, Any],
    N: int,
    fields: Mapping[str, Any],
    products: Any,
    noises: Mapping[str, Any] | None = None,
    outcomes: Sequence[int] = (),
) -> dict[str, Array]:
    """The state after one step with prescribed draws, in matrix form: what the loop and other engines are compared with.

    Parameters
    ----------
    fields : mapping family -> array, shape (K, S)
        V x_s / sqrt N for every family and every column x_s, S = (columns of all inputs) * batch, draw after draw. One
        column and one vector need no axes.
    products : array, shape (S, S)
        x_s . x_t; the number |x|^2 for a single column.
    noises : mapping noise or mask -> array, shape (batch, Z), optional
    outcomes : sequence of int
        Number of the outcome of the labels of every draw; the first one by default.

    Returns
    -------
    dict of arrays
        New overlaps and states, under the names of ``state``.
    """
    bound = bind(plan, values, state, int(N), 1)
    C, theta, n, width = bound.C[0], bound.theta[0], bound.rows, bound.columns * bound.batch
    lam = np.concatenate([np.asarray(fields[f], dtype=np.float64).reshape(-1, width) for f in bound.places.start])
    Z = np.asarray(products, dtype=np.float64).reshape(width, width)
    noise = np.zeros((bound.batch, bound.noise_mean.shape[1]))
    for name, place in bound.places.noises.items():
        noise[:, place] = np.asarray((noises or {})[name]).reshape(bound.batch, -1)
    mask = np.zeros((bound.batch, bound.mask_values.shape[1]))
    for name, place in bound.places.masks.items():
        mask[:, place] = np.asarray((noises or {})[name]).reshape(bound.batch, -1)
    F, G, H = np.zeros((n, width)), np.zeros((n, n)), np.zeros(theta.size)
    for draw in range(bound.batch):
        own = slice(draw * bound.columns, (draw + 1) * bound.columns)
        table = {
            "field": lam[:, own],
            "product": Z[own, own] / N,
            "noise": noise[draw],
            "mask": mask[draw],
            "state": theta,
            "gram": C,
        }
        f, g, h = _evaluated(bound.segments[outcomes[draw] if len(outcomes) else 0], table, n, bound.columns, theta.size)
        F[:, own], G, H = f / bound.batch, G + g / bound.batch, H + h / bound.batch
    D = np.eye(n) + G / N
    cross = D @ lam @ F.T / N
    C, theta = D @ C @ D.T + cross + cross.T + F @ Z @ F.T / N**2, theta + H / N
    for segment in bound.segments[len(bound.outcomes) + 1 :]:
        C, theta = mapped(segment, C, theta, N)
    return {name: x[0, 0] for name, x in named(plan, bound, C[None, None], theta[None, None]).items()}


def mapped(segment: Segment, C: Array, theta: Array, N: int) -> tuple[Array, Array]:
    """C and theta after a map of the state alone."""
    n = len(C)
    _, G, H = _evaluated(segment, {"gram": C, "state": theta}, n, 0, theta.size)
    if not segment.replaces:
        A = np.eye(n) + G / N
        return A @ C @ A.T, theta + H / N
    A, rows, places = np.eye(n), list(segment.rows), list(segment.H)
    A[rows] = G[rows]
    new = theta.copy()
    new[places] = H[places]
    return A @ C @ A.T, new


def _evaluated(segment: Segment, table: Mapping[str, Array], n: int, columns: int, count: int) -> tuple[Array, Array, Array]:
    """F, G and H of one segment."""
    results = iter(
        [float(x) for x in evaluate(segment.program, {key: _looked_up(table, key) for key in segment.program.inputs})]
    )
    F, G, H = np.zeros((n, columns)), np.zeros((n, n)), np.zeros(count)
    for place in segment.F:
        F[place] = next(results)
    for place in segment.G:
        G[place] = next(results)
    for i in segment.H:
        H[i] = next(results)
    return F, G, H


def _looked_up(table: Mapping[str, Array], key: Key) -> Array:
    if key[0] not in table:
        raise BindingError(f"a single step takes no {key[0]}. Pass numbers instead of functions of time.")
    return np.asarray(table[key[0]][(..., *key[1:])])


@cache
def _kernel() -> Callable[..., int]:
    return compiled(advance)


def named(plan: Mapping[str, Any], bound: Bound, C: Array, theta: Array) -> dict[str, Array]:
    """Named arrays of shape (replicas, T, ...) from C and theta along a run."""
    out = {}
    for name in moving(plan):
        i, j = overlap_block(plan, bound, name)
        out[name] = C[:, :, i, j].reshape(*C.shape[:2], *bound.places.shapes[name]).copy()
    for name, place in bound.places.states.items():
        out[name] = theta[:, :, place].reshape(*theta.shape[:2], *bound.places.shapes[name]).copy()
    return out


def observed(bound: Bound, C: Array, theta: Array, t: Array) -> dict[str, Array]:
    """Observables along a run, shape (replicas, T)."""
    shapes = {name: bound.places.shapes[name] for name in bound.controls}
    table = {"gram": C, "state": theta, "control": control_table(bound.controls, shapes, t)[None]}
    out = {}
    for name, program in bound.observables.items():
        (result,) = evaluate(program, {key: _looked_up(table, key) for key in program.inputs})
        out[name] = np.broadcast_to(result, C.shape[:2]).copy()
    return out
