"""Two roads to observables: integrate the full flow and observe, or observe its start and integrate the closed system."""

import numpy as np
from scipy.integrate import solve_ivp

from codegen import compile
from derive.matrices.evaluate import evaluate


def solved(flow, start, params, times):
    """States by name, time first."""
    kernel = compile(flow, backend="numpy")
    layout = kernel.layout(start)
    f = kernel.flat_rhs(layout, kernel.arguments({b.name: params[b.name] for b in kernel.parameters if b.name in params}))
    run = solve_ivp(f, (0, times[-1]), layout.pack(start), t_eval=times, method="DOP853", rtol=1e-12, atol=1e-14)
    assert run.success, run.message
    rows = [layout.unpack(column) for column in run.y.T]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


AGREE = 1e-8  # both integrations have rtol 1e-12, and errors grow by a few units of time at most


def assert_same_roads(reduction, params, start, times, moves=0.05):
    """Both roads agree, and go somewhere."""
    off, moved = gap(reduction, params, start, times)
    assert off < AGREE
    assert moved > moves


def gap(reduction, params, start, times):
    """Largest difference of the variables along both roads, relative to the largest value; and how far they moved."""
    full = solved(reduction.full, start, params, times)
    observed = reduction.project_state(params, full)
    closed_start = {n: np.asarray(v) for n, v in reduction.project_state(params, start).items()}
    closed = solved(reduction.system, closed_start, reduction.parameters_from({**params, **start}), times)
    scale = max(np.abs(v).max() for v in closed.values())
    off = max(np.abs(np.squeeze(observed[n]) - np.squeeze(closed[n])).max() for n in closed)
    moved = max(np.abs(v[-1] - v[0]).max() for v in closed.values())
    return off / scale, moved / scale


def watched(reduction, params, start):
    """Observables at a state: from the full state, and from the closed variables."""
    at = {**reduction.parameters_from({**params, **start}), **reduction.project_state(params, start)}
    small = {n: evaluate(p, at) for n, p in reduction.system.observables.items()}
    return {n: evaluate(reduction.full.observables[n], {**params, **start}) for n in small}, small
