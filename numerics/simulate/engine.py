"""The tape engine: runs any plan, with gradients taken numerically for every single draw.

An update is applied block by block; a block assigns simultaneously from old values, all blocks of a step share its draws, and
definitions are evaluated anew for each block. The first block is averaged over ``batch`` independent draws. A rate is run only
when the caller gives a step ``dt`` and its average is exact (no draw in it, or finite laws that can be enumerated): it is then
full-batch gradient descent, w <- w + dt E[rate].

Replicas run side by side on a batch axis, each with its own streams. This engine is the witness: slow, general and independent
of every derivation; `families` holds the fast ones. Imported by `numerics`; imports NumPy and this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .bind import bind_state
from .errors import BindingError, NotSimulable
from .plan import Plan, read_plan
from .stepping import open_run
from .tape import Array, constant
from .trees import dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationResult:
    """What a simulation recorded.

    Attributes
    ----------
    name : str
        Name of the plan.
    t : array, shape (T,)
        Time: number of steps times the ``dt`` of the rule.
    steps : array of int, shape (T,)
        Number of steps done at each record.
    values : dict of arrays, shape (replicas, T, ...)
        State at the records; vectors are columns.
    observables : dict of arrays, shape (replicas, T, ...)
    status : tuple of str
        "ok" or "nonfinite" for each replica.
    seed : int
    switches : tuple of (time, label)
        Of a protocol: the beginning of every phase after the first.
    dropped : tuple of tuples of int
        Of a protocol: the places deleted by each drop, counted among those present.
    """

    name: str
    t: Array
    steps: np.ndarray
    values: Mapping[str, Array]
    observables: Mapping[str, Array]
    status: tuple[str, ...]
    seed: int
    switches: tuple[tuple[float, str], ...] = ()
    dropped: tuple[tuple[int, ...], ...] = ()


def simulate(
    plan: Mapping[str, Any] | Plan,
    values: Mapping[str, Any],
    state: Mapping[str, Any],
    steps: int,
    *,
    seed: int = 0,
    replicas: int = 1,
    every: int | None = None,
    engine: str = "tape",
    observe: bool = True,
    dt: float | None = None,
    mean_draws: int = 1000,
    open_law: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationResult:
    """Run the learning rule of a plan on random draws.

    Parameters
    ----------
    plan : mapping or Plan
        Plain data, see `read_plan`.
    values, state : mapping name -> array
        Given symbols and initial state; sizes of the dimensions are read off the arrays (or passed in ``values``). A state
        array may have a leading axis of length ``replicas``. A given symbol may be a function of time t -> number or array.
    steps : int
        Number of steps; 0 records the start.
    seed, replicas : int
        Replica r uses the streams of ``Stream(root=seed, replica=r)``, whatever the number of replicas.
    every : int, optional
        Steps between records; a hundred records by default. The last step is always recorded.
    engine : str
        "tape", the only one that runs plans.
    observe : bool
        Whether to evaluate the observables.
    dt : float, optional
        Step of an exactly averaged `Rate`; an `Update` brings its own.
    mean_draws : int
        Samples of a ``mean(...)``, from a stream of its own; a finite law of at most as many outcomes is summed exactly.
    open_law : {None, "normal"}
        How to draw a law of which only moments are known.
    progress : callable, optional
        Called as ``progress(done, steps)`` at each record.

    Returns
    -------
    SimulationResult

    Raises
    ------
    PlanError, BindingError, NotSimulable

    Examples
    --------
    Online least squares, w <- w - eta (w'x - w0'x) x, loses its error at a rate set by eta:

    >>> loss = ["mul", ["frac", 1, 2], ["pow", ["trace", ["matmul", ["T", ["add", "w", ["mul", -1, "w0"]]], "x"]], 2]]
    >>> data = {"version": 1, "name": "lms", "state": {"w": ["N", 1]}, "given": {"w0": ["N", 1], "eta": []},
    ...     "draws": [{"law": "Normal", "symbols": ["x"], "shapes": [["N", 1]]}], "let": [["L", loss]],
    ...     "rule": {"kind": "update", "blocks": [[["w", ["add", "w", ["mul", -1, "eta", ["grad", "L", "w"]]]]]]}}
    >>> run = simulate(data, {"w0": [1.0, -2.0], "eta": 0.1}, {"w": [0.0, 0.0]}, 300, seed=3)
    >>> run.values["w"][0, -1, :, 0].round(6).tolist()
    [1.0, -2.0]
    """
    if engine != "tape":
        raise NotSimulable(f"engine {engine!r}: a plan runs on 'tape'. The kernels of numerics.simulate.families take arrays.")
    if steps < 0 or replicas < 1 or mean_draws < 1 or (every is not None and every < 1):
        raise BindingError("steps must be >= 0; replicas, every and mean_draws at least 1.")
    run = open_run(read_plan(plan), values, state, replicas, seed, dt, mean_draws, open_law)
    every = every or max(1, steps // 100)
    current = bind_state(run.plan, state, run.base.sizes, replicas)
    marks = [*range(0, steps, every), steps]
    kept: dict[str, list[Array]] = {name: [] for name in run.plan.state}
    seen: dict[str, list[Array]] = {name: [] for name in run.plan.observe} if observe else {}
    done = 0
    for mark in marks:
        for number in range(done, mark):
            current = run.advance(current, None, number * run.dt)
        done = mark
        for name, array in current.items():
            kept[name].append(array)
        for name in seen:
            seen[name].append(run.observable(name, current, mark * run.dt))
        if progress is not None:
            progress(done, steps)
    recorded = {name: np.stack(arrays, axis=1) for name, arrays in kept.items()}
    finite = [all(np.all(np.isfinite(array[r])) for array in recorded.values()) for r in range(replicas)]
    return SimulationResult(
        name=run.plan.name,
        t=np.array(marks) * run.dt,
        steps=np.array(marks),
        values=recorded,
        observables={name: np.stack(arrays, axis=1) for name, arrays in seen.items()},
        status=tuple("ok" if good else "nonfinite" for good in finite),
        seed=seed,
    )


def one_step(
    plan: Mapping[str, Any] | Plan,
    values: Mapping[str, Any],
    state: Mapping[str, Any],
    draws: Mapping[str, Any],
    *,
    dt: float | None = None,
) -> dict[str, Array]:
    """The state after one step with prescribed draws: what hand-written steps are compared with.

    Parameters
    ----------
    draws : mapping name -> array
        One value of every draw that the rule uses, or a stack of them along a leading axis (a batch).

    Returns
    -------
    dict of arrays
        New state, shapes as in the plan.
    """
    run = open_run(read_plan(plan), values, state, 1, 0, dt, 1, None)
    nodes = {}
    for law in run.plan.draws:
        for name, shape in zip(law.symbols, law.shapes, strict=True):
            if name in draws:
                target = tuple(dimension(tree, run.base.sizes) for tree in shape)
                nodes[name] = constant(np.asarray(draws[name], dtype=np.float64).reshape(1, -1, *target), len(target))
    stepped = run.advance(bind_state(run.plan, state, run.base.sizes, 1), nodes)
    return {name: array[0] for name, array in stepped.items()}
